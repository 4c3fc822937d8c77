"""How many treatments of which a few requests hang for 30 s to 2 minutes are promoted all the same.

Latencies are else what control's are; a stage of 5 % bakes for 30 minutes, ten of them burn-in, with a look a minute
for four hours. What is paused or rolled back first is not promoted.
"""

import numpy as np
import pytest

from tests.benchmarks.conftest import Figures
from tests.unit.gates.latencies import EDGES, Service, histogram, log_normal, simulate
from tools.gates import Harm, Outcome
from tools.gates.latency import LatencyEvidence, LatencyTest, judge, update

pytestmark = pytest.mark.benchmark

TEST = LatencyTest(EDGES)
BURN_IN, BAKE, MINUTES = 10, 30, 240
PIECE = 5


@pytest.mark.parametrize(
    ("requests", "hanging", "streams"),
    [(600, 0.001, 200), (600, 0.003, 200), (600, 0.01, 200), (6000, 0.001, 40)],
)
def test_promotions_of_a_treatment_that_hangs_now_and_then(
    requests: float, hanging: float, streams: int, figures: Figures
) -> None:
    service = Service(log_normal(), requests=requests, hanging=hanging)
    promoted = [
        _promoted(data, stream)
        for first in range(0, streams, PIECE)
        for data in [simulate(service, PIECE, MINUTES, seed=70 + first)]
        for stream in range(PIECE)
    ]
    name = f"promoted though {hanging:.1%} of treatment's requests hang, {requests:,}/min"
    figures.add(name, 100 * float(np.mean(promoted)), "%")


def _promoted(data: dict[str, np.ndarray], stream: int) -> bool:
    evidence = LatencyEvidence.start(TEST)
    for minute in range(MINUTES):
        arms = (histogram(data, arm, stream, minute) for arm in "bc")
        evidence = update(TEST, evidence, *arms, burning_in=minute < BURN_IN)
        verdict = judge(TEST, evidence)
        if verdict.harm is not Harm.NONE:
            return False
        if minute + 1 >= BAKE and verdict.outcome is Outcome.PASS:
            return True
    return False
