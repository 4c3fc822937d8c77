import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gates.latencies import EDGES, log_normal
from tools.errors import InvalidInput
from tools.gates import BadCounts, BadTest
from tools.gates.histograms import (
    ChangedBuckets,
    Histogram,
    bucket_means,
    check_edges,
    check_layout,
    layout,
    survival_if_slower,
)

SMALL = (10.0, 100.0, math.inf)


def test_a_histogram_counts_its_requests_and_has_a_mean() -> None:
    histogram = Histogram(SMALL, (3, 4, 1), 500.0, 60_000.0)
    assert (histogram.requests, histogram.mean) == (8, 62.5)
    assert Histogram(SMALL, (3, 4, 1)).mean is None
    assert Histogram(SMALL, (0, 0, 0), 0.0, 0.0).mean is None


def test_empty_buckets_may_be_left_out_and_strange_ones_may_not() -> None:
    assert Histogram.of(SMALL, [(100.0, 4), (10.0, 3)]) == Histogram(SMALL, (3, 4, 0))
    with pytest.raises(ChangedBuckets, match="ends at 50, but this test is for buckets ending at 10, 100, inf"):
        Histogram.of(SMALL, [(50.0, 4)])


@pytest.mark.parametrize(
    ("counts", "total", "squares", "words"),
    [
        ((1, 2), None, None, "2 counts can't fill 3 buckets"),
        ((1, -2, 0), None, None, "up to 100 can't be -2: a counter may have restarted"),
        ((1, 2.0, 0), None, None, "whole number, not 2.0"),
        ((1, math.nan, 0), None, None, "whole number, not nan"),
        ((1, True, 0), None, None, "whole number, not True"),
        ((1, 10**16, 0), None, None, "a counter may have restarted"),
        ((1, 2, 0), 120.0, None, "or neither"),
        ((1, 2, 0), math.nan, 1.0, "can't be nan"),
        ((1, 2, 0), -5.0, 1.0, "can't be -5"),
        ((1, 2, 0), 120.0, math.inf, "can't be 120.0 and inf"),
        ((1, 2, 0), 0.12, 1.0, "add up to 0.12, but their buckets allow 20 to 210"),
        ((1, 2, 0), 120.0, 1000.0, "less than their mean's"),
        ((0, 0, 0), 5.0, 25.0, "allow 0 to 0"),
    ],
)
def test_what_cannot_have_been_counted_is_refused(counts: Any, total: Any, squares: Any, words: str) -> None:
    with pytest.raises(BadCounts, match=words) as caught:
        Histogram(SMALL, counts, total, squares)
    assert isinstance(caught.value, InvalidInput)


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ((math.inf,), "2 to 64"),
        ((1.0, 2.0), "end at infinity"),
        ((2.0, 1.0, math.inf), "rise"),
        ((1.0, 1.0, math.inf), "rise"),
        ((0.0, 1.0, math.inf), "above 0"),
        ((-1.0, 1.0, math.inf), "above 0"),
        ((math.nan, 1.0, math.inf), "above 0"),
        ((1.0, math.inf, math.inf), "above 0 and rise"),
    ],
)
def test_senseless_edges_are_refused(edges: tuple[float, ...], words: str) -> None:
    with pytest.raises(BadTest, match=words):
        check_edges(edges)
    with pytest.raises(BadCounts, match=words):
        Histogram(edges, tuple(0 for _ in edges))


def test_another_layout_is_named() -> None:
    with pytest.raises(ChangedBuckets, match="end at 1, 2, inf, but this test is for buckets ending at 10, 100, inf"):
        check_layout(Histogram((1.0, 2.0, math.inf), (0, 0, 0)), SMALL)


@pytest.mark.parametrize("median", [30.0, 80.0, 240.0])
@pytest.mark.parametrize("spread", [0.3, 0.6, 1.2])
def test_the_means_inside_buckets_are_about_right(median: float, spread: float) -> None:
    latencies = log_normal(median, spread)(np.random.default_rng(1), 200_000)
    place = np.searchsorted(EDGES, latencies)
    counts = np.bincount(place, minlength=len(EDGES)).astype(float)
    means = bucket_means(layout(EDGES), counts / counts.sum(), np.array(latencies.mean()))
    inner = (counts > 0.02 * len(latencies)) & (np.arange(len(EDGES)) > 0)
    for bucket in np.nonzero(inner)[0]:
        assert means[bucket] == pytest.approx(latencies[place == bucket].mean(), rel=0.12)


@given(st.lists(st.integers(0, 1000), min_size=12, max_size=12), st.floats(1.01, 8))
def test_a_slow_down_is_bounded_on_both_sides(counts: list[int], factor: float) -> None:
    shares = np.array(counts, float) / max(sum(counts), 1)
    above = 1 - np.cumsum(shares)[:-1]
    low = survival_if_slower(layout(EDGES), shares, factor, at_most=False)
    high = survival_if_slower(layout(EDGES), shares, factor, at_most=True)
    assert (above - 1e-9 <= low).all()
    assert (low <= high + 1e-9).all()
    assert (high <= 1).all()


@pytest.mark.parametrize("spread", [0.3, 0.6, 1.2])
def test_what_a_slow_down_moves_is_bounded_for_log_normal_latencies(spread: float) -> None:
    latencies = log_normal(80, spread)(np.random.default_rng(2), 400_000)
    shares = np.bincount(np.searchsorted(EDGES, latencies), minlength=len(EDGES)) / len(latencies)
    truth = np.array([(latencies * 1.25 > edge).mean() for edge in EDGES[:-1]])
    assert (survival_if_slower(layout(EDGES), shares, 1.25, at_most=False) <= truth + 2e-3).all()
    assert (survival_if_slower(layout(EDGES), shares, 1.25, at_most=True) >= truth).all()
