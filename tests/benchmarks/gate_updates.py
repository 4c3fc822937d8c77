"""What one check costs a gate: the update of its evidence, the verdict, and what is stored."""

import json
import time
from statistics import median

import numpy as np
import pytest

from tests.benchmarks.conftest import Figures
from tools.gates import CountEvidence, Counts, CountTest, Direction, judge, update

CHECKS = 3000
REQUESTS, SHARE, BASE_RATE = 600, 0.05, 0.005

pytestmark = pytest.mark.benchmark


def test_one_update(figures: Figures) -> None:
    test = CountTest(Direction.INCREASE, 2.0)
    evidence = CountEvidence.start(test)
    updated, judged = [], []
    for control, treatment in zip(_arm(1 - SHARE, seed=1), _arm(SHARE, seed=2), strict=True):
        began = time.perf_counter()
        evidence = update(test, evidence, control, treatment)
        between = time.perf_counter()
        judge(test, evidence)
        updated.append(between - began)
        judged.append(time.perf_counter() - between)
    figures.add(f"one gate update, median of {CHECKS}", median(updated) * 1e6, "µs", target=1000)
    figures.add(f"one gate verdict, median of {CHECKS}", median(judged) * 1e6, "µs")
    figures.add("one gate's evidence as JSON", len(json.dumps(evidence.to_json())) / 1000, "KB", target=4)


def _arm(share: float, seed: int) -> list[Counts]:
    """One arm's minutes in a rollout that does no harm."""
    rng = np.random.default_rng(seed)
    exposures = rng.poisson(REQUESTS * share, CHECKS)
    return [
        Counts(exposed, events)
        for exposed, events in zip(exposures.tolist(), rng.binomial(exposures, BASE_RATE).tolist(), strict=True)
    ]
