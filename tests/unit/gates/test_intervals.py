"""The interval of a rate: it holds the truth at every moment at once, as often as it promises."""

import numpy as np
import pytest

from tools.gates.intervals import rate_interval

STREAMS, CHECKS = 400, 300


@pytest.mark.parametrize(("rate", "dispersion"), [(0.05, 1.0), (0.5, 1.0), (0.02, 3.0)])
def test_the_truth_lies_in_it_at_every_moment(rate: float, dispersion: float) -> None:
    rng = np.random.default_rng(7)
    exposures = np.cumsum(rng.poisson(100, (STREAMS, CHECKS)), axis=1)
    steps = np.diff(exposures, axis=1, prepend=0)
    # Each event of a burst comes `dispersion` times.
    events = np.cumsum(rng.binomial((steps / dispersion).astype(int), rate) * int(dispersion), axis=1)
    # It is asymptotic: of use from some dozens of bursts on.
    first = int(30 * dispersion / rate / 100)
    missed = 0
    for seen, happened in zip(exposures, events, strict=True):
        intervals = [
            rate_interval(int(n), int(x), dispersion=dispersion)
            for n, x in zip(seen[first:], happened[first:], strict=True)
        ]
        missed += any(not low <= rate <= high for low, high in intervals)
    assert missed / STREAMS <= 0.05


def test_it_narrows_and_holds_what_was_counted() -> None:
    few, many = rate_interval(100, 10), rate_interval(100_000, 10_000)
    assert few[0] < many[0] < 0.1 < many[1] < few[1]
    assert rate_interval(1000, 0)[0] == 0
    assert 0 < rate_interval(1000, 0)[1] < 0.05
    assert rate_interval(1000, 1000)[1] == 1
    assert rate_interval(0, 0) == (0, 1)
