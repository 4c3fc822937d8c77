"""How long a proof takes once everyone is exposed, within a quarter of what the gate's own code takes."""

import math

import numpy as np
import pytest

from tests.unit.gates.rollouts import events_of
from tools.gates import CeilingEvidence, CeilingTest, Counts, Direction, update_ceiling
from tools.gates.wealth import Floats
from tools.plans.sizing import Baseline, Rail

UP, DOWN = Direction.INCREASE, Direction.DECREASE
# The ninth decile of so many answers has a standard error of some 5 %.
STREAMS, LOOKS = 400, 50


def proven(test: CeilingTest, requests: float, rate: float) -> Floats:
    """The minute amid which each of the rollouts is proven safe against the ceiling."""
    rng, found = np.random.default_rng(91), np.full(STREAMS, math.inf)
    for stream in range(STREAMS):
        exposed = rng.poisson(requests, 2 * LOOKS)
        evidence = CeilingEvidence.start(test)
        events = events_of(rng, exposed.astype(float), rate, test.dispersion).astype(int)
        for minute, counts in enumerate(map(Counts, exposed.tolist(), events.tolist())):
            evidence = update_ceiling(test, evidence, counts)
            if evidence.books.safe.log_e >= -math.log(test.alpha_safe):
                found[stream] = minute + 0.5
                break
    return found


@pytest.mark.parametrize(
    ("rate", "direction", "margin", "dispersion"),
    [
        (0.005, UP, 1.25, 1.0),
        (0.005, UP, 2.0, 1.0),
        (0.005, UP, 10.0, 1.0),
        (0.02, UP, 1.05, 1.0),
        (0.005, UP, 2.0, 3.0),
        (0.01, DOWN, 10.0, 1.0),
        (0.1, DOWN, 1.1, 1.0),
        (0.1, DOWN, 2.0, 1.0),
        (0.3, UP, 1.5, 1.0),
        (0.6, DOWN, 1.25, 1.0),
    ],
)
def test_nine_of_ten_are_proven_at_100_percent_when_the_plan_says(
    rate: float, direction: Direction, margin: float, dispersion: float
) -> None:
    def rail(requests: float) -> Rail:
        return Rail(Baseline("errors", direction, requests, rate, dispersion, None), margin, ())

    requests = rail(1.0).watch().total_seconds() / 60 / LOOKS
    foretold = rail(requests).watch().total_seconds() / 60
    test = CeilingTest(direction, rate * float(direction.away(np.array(margin))), margin, dispersion=dispersion)
    found = proven(test, requests, rate)
    assert foretold == pytest.approx(np.quantile(found, 0.9, method="higher"), rel=0.25)
