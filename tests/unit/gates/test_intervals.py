"""The intervals that are shown: they hold the truth at every moment at once, as often as they promise."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.gates.latencies import EDGES, Service, histogram, log_normal, simulate
from tools.gates.intervals import latency_interval, rate_interval
from tools.gates.latency import Interval, LatencyEvidence, LatencyTest, update, update_all

STREAMS, CHECKS = 400, 120


@pytest.mark.parametrize(
    ("rate", "dispersion", "requests"),
    [(0.05, 1.0, 100), (0.5, 1.0, 100), (0.02, 3.0, 100), (0.005, 1.0, 30), (0.001, 1.0, 300), (0.999, 1.0, 30)],
)
def test_the_truth_lies_in_it_at_every_moment(rate: float, dispersion: float, requests: int) -> None:
    rng = np.random.default_rng(7)
    exposures = np.cumsum(rng.poisson(requests, (STREAMS, CHECKS)), axis=1)
    steps = np.diff(exposures, axis=1, prepend=0)
    # Each event of a burst comes `dispersion` times.
    events = np.cumsum(rng.binomial((steps / dispersion).astype(int), rate) * int(dispersion), axis=1)
    missed = 0
    for seen, happened in zip(exposures, events, strict=True):
        intervals = [rate_interval(int(n), int(x), dispersion=dispersion) for n, x in zip(seen, happened, strict=True)]
        missed += any(not low <= rate <= high for low, high in intervals)
    assert missed / STREAMS <= 0.05


def test_it_narrows_and_holds_what_was_counted() -> None:
    few, many = rate_interval(100, 10), rate_interval(100_000, 10_000)
    assert few[0] < many[0] < 0.1 < many[1] < few[1]
    assert rate_interval(1000, 0)[0] == 0
    assert 0 < rate_interval(1000, 0)[1] < 0.05
    assert rate_interval(1000, 1000)[1] == 1
    assert rate_interval(0, 0) == (0, 1)


@pytest.mark.parametrize(("sums", "slower"), [(True, 1.0), (True, 1.3), (False, 1.0)])
def test_how_much_slower_it_is_lies_in_it_at_every_moment(sums: bool, slower: float) -> None:
    test, streams = LatencyTest(EDGES, sums=sums), 80
    data = simulate(Service(log_normal(), requests=300, share=0.2, slower=slower), streams, 40, seed=3)
    evidences = [LatencyEvidence.start(test)] * streams
    found: list[list[tuple[float, float]]] = [[] for _ in range(streams)]
    for interval in range(40):
        windows = [
            Interval(test, evidence, *(histogram(data, arm, stream, interval, sums=sums) for arm in "bc"))
            for stream, evidence in enumerate(evidences)
        ]
        evidences = update_all(windows)
        for bounds, evidence in zip(found, evidences, strict=True):
            if (now := latency_interval(test, evidence)) is not None:
                bounds.append(now)
    missed = sum(any(not low <= slower <= high for low, high in bounds) for bounds in found)
    narrowed = sum(end[1] - end[0] < (first[1] - first[0]) / 2 for first, *_, end in found)
    # Each end of it holds with 95 %.
    assert missed / streams <= 0.1
    assert narrowed == streams


def test_burstier_latencies_have_a_wider_one_and_few_have_none() -> None:
    test, data = LatencyTest(EDGES), simulate(Service(log_normal(), requests=4000, share=0.2), 1, 10, seed=4)
    evidence = LatencyEvidence.start(test)
    assert latency_interval(test, evidence) is None
    for interval in range(10):
        evidence = update(test, evidence, *(histogram(data, arm, 0, interval) for arm in "bc"))
    narrow, wide = (latency_interval(one, evidence) for one in (test, replace(test, dispersion=4.0)))
    assert narrow is not None
    assert wide is not None
    assert wide[0] < narrow[0] < 1 < narrow[1] < wide[1]
