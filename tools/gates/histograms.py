"""Latencies as histogram buckets, with or without their sums: the value that latency tests take, and its geometry."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Self

import numpy as np

from tools.gates.judging import BadCounts, BadTest
from tools.gates.wealth import Floats

MOST_BUCKETS = 64
SMALLEST_EDGE, LARGEST_EDGE = 1e-9, 1e12
# How far, in parts of the whole, a sum may lie outside what its buckets allow: scrapes are not atomic.
SUM_TOLERANCE = 0.05
LARGEST_COUNT = 10**15
# Points inside a bucket between which a distribution is read off its interpolated form.
POINTS = 8
# A cumulative share never counts as nearer to 0 or 1 than this, so that its logit is finite.
SMALLEST_SHARE = 1e-5
SMALLEST_SLOPE = 0.5


class ChangedBuckets(BadCounts):
    """A histogram has other buckets than the test was made for."""


class MissingSums(BadCounts):
    """A histogram has no sums, though the test was made for a source that has them."""


@dataclass(frozen=True)
class Histogram:
    """One arm's latencies in one interval.

    `edges` are the buckets' upper edges (inclusive, above 0, rising, the last +inf), `counts` the requests in each
    bucket (not cumulative). `total` and `squares` are the sums of the latencies and of their squares in the same unit;
    both or neither. Raises BadCounts.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    total: float | None = None
    squares: float | None = None

    def __post_init__(self) -> None:
        wrong = wrong_edges(self.edges)
        if wrong:
            raise BadCounts(wrong)
        if len(self.counts) != len(self.edges):
            raise BadCounts(f"{len(self.counts)} counts can't fill {len(self.edges)} buckets: give one for each edge.")
        for edge, count in zip(self.edges, self.counts, strict=True):
            if isinstance(count, bool) or not isinstance(count, int):
                raise BadCounts(f"The number of requests up to {edge:g} must be a whole number, not {count!r}.")
            if not 0 <= count <= LARGEST_COUNT:
                raise BadCounts(
                    f"The number of requests up to {edge:g} can't be {count}: a counter may have restarted; "
                    "skip this interval."
                )
        self._check_sums()

    @classmethod
    def of(
        cls,
        edges: tuple[float, ...],
        pairs: Iterable[tuple[float, int]],
        total: float | None = None,
        squares: float | None = None,
    ) -> Self:
        """From (upper edge, count in the bucket) where empty buckets may be left out; `edges` are all of them.

        Raises ChangedBuckets for an edge that is not among them, BadCounts for what can't have been counted.
        """
        found = dict.fromkeys(edges, 0)
        for edge, count in pairs:
            if edge not in found:
                raise ChangedBuckets(f"A bucket ends at {edge:g}, {_expected(edges)}.")
            found[edge] += count
        return cls(edges, tuple(found.values()), total, squares)

    @cached_property
    def requests(self) -> int:
        """All of them."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """The mean latency, None without sums or requests."""
        return None if self.total is None or not self.requests else self.total / self.requests

    def _check_sums(self) -> None:
        if (self.total is None) != (self.squares is None):
            raise BadCounts("Give the sum of the latencies and the sum of their squares, or neither.")
        if self.total is None or self.squares is None:
            return
        if not (0 <= self.total < math.inf and 0 <= self.squares < math.inf):
            raise BadCounts(
                f"The sums of latencies can't be {self.total} and {self.squares}: a counter may have restarted; "
                "skip this interval."
            )
        low = sum(count * edge for count, edge in zip(self.counts[1:], self.edges, strict=False))
        high = sum(count * edge for count, edge in zip(self.counts, self.edges, strict=True) if count)
        if not low * (1 - SUM_TOLERANCE) <= self.total <= high * (1 + SUM_TOLERANCE):
            raise BadCounts(
                f"The latencies add up to {self.total:g}, but their buckets allow {low:g} to {high:g}: "
                "give sums and edges in the same unit."
            )
        if self.requests and self.squares * (1 + SUM_TOLERANCE) < self.total * (self.total / self.requests):
            raise BadCounts(f"The squares of the latencies can't add up to {self.squares:g}, less than their mean's.")


def wrong_edges(edges: tuple[float, ...]) -> str | None:
    """What is wrong with a bucket layout, in a sentence; None when nothing is."""
    if not 2 <= len(edges) <= MOST_BUCKETS:
        return f"A histogram needs 2 to {MOST_BUCKETS} buckets, not {len(edges)}."
    if edges[-1] != math.inf:
        return f"The last bucket must end at infinity, not at {edges[-1]!r}."
    rising = all(low < high for low, high in pairwise(edges))
    if not (rising and edges[0] >= SMALLEST_EDGE and edges[-2] <= LARGEST_EDGE):
        return f"Upper edges must be above 0 and rise, but they are {_listed(edges)}."
    return None


def check_edges(edges: tuple[float, ...]) -> None:
    """Raises BadTest when the bucket layout makes no sense."""
    wrong = wrong_edges(edges)
    if wrong:
        raise BadTest(wrong)


def check_layout(histogram: Histogram, edges: tuple[float, ...]) -> None:
    """Raises ChangedBuckets when the histogram has other buckets."""
    if histogram.edges != edges:
        raise ChangedBuckets(f"The buckets end at {_listed(histogram.edges)}, {_expected(edges)}.")


@dataclass(frozen=True)
class Layout:
    """Where the buckets lie, each of shape (B,), the finite edges (B − 1,).

    The first bucket's lower edge and the open bucket's upper one are as far away as the neighbouring bucket is wide
    on the log scale.
    """

    finite: Floats
    lower: Floats
    upper: Floats
    log_middle: Floats
    log_width: Floats


@lru_cache(maxsize=64)
def layout(edges: tuple[float, ...]) -> Layout:
    """The geometry of a valid bucket layout."""
    finite = np.array(edges[:-1])
    first, last = (finite[1] / finite[0], finite[-1] / finite[-2]) if len(finite) > 1 else (2.0, 2.0)
    lower = np.concatenate([[finite[0] / first], finite])
    upper = np.concatenate([finite, [finite[-1] * last]])
    return Layout(finite, lower, upper, np.log(lower * upper) / 2, np.log(upper / lower))


def bucket_means(at: Layout, shares: Floats, mean: Floats) -> Floats:
    """The mean latency inside each bucket, (..., B), when `shares` (..., B) have the overall `mean` (...).

    The distribution is interpolated: its logit is taken to be linear in the log of the latency between two edges. Then
    all means are scaled together to give the overall one, each within its bucket. A bucket that is empty in all of them
    starts from its log-middle.
    """
    below = np.clip(np.cumsum(shares, axis=-1)[..., :-1], SMALLEST_SHARE, 1 - SMALLEST_SHARE)
    logits, places = np.log(below / (1 - below)), np.log(at.finite)
    slopes = np.diff(logits, axis=-1) / np.diff(places)
    ends = np.full((*shares.shape[:-1], 1), SMALLEST_SLOPE)
    slopes = np.concatenate([ends, slopes, ends], axis=-1)
    slopes[..., 0] = np.maximum(slopes[..., min(1, slopes.shape[-1] - 1)], SMALLEST_SLOPE)
    slopes[..., -1] = np.maximum(slopes[..., max(-2, -slopes.shape[-1])], SMALLEST_SLOPE)
    # Each bucket is read from the edge below it, the first from the edge above; what is empty is not read.
    anchors = np.concatenate([places[:1], places])
    start = np.concatenate([logits[..., :1], logits], axis=-1)
    used = shares.reshape(-1, shares.shape[-1]).any(axis=0)
    inside = (np.log(at.lower)[:, None] + at.log_width[:, None] * np.linspace(0, 1, POINTS + 1))[used]
    grid = start[..., used, None] + slopes[..., used, None] * (inside - anchors[used, None])
    weights = np.diff(1 / (1 + np.exp(-np.clip(grid, -500, 500))), axis=-1) + 1e-300
    middles = np.exp((inside[:, 1:] + inside[:, :-1]) / 2)
    means = np.broadcast_to(np.exp(at.log_middle), shares.shape).copy()
    means[..., used] = np.einsum("...bp,bp->...b", weights, middles) / weights.sum(axis=-1)
    for _ in range(3):
        whole = np.maximum((shares * means).sum(axis=-1), 1e-300)
        means = np.clip(means * (mean / whole)[..., None], at.lower, at.upper)
    return np.asarray(means)


def survival(shares: Floats) -> Floats:
    """The share above each finite edge: (..., B) gives (..., B − 1)."""
    return np.asarray(np.clip(1 - np.cumsum(shares, axis=-1)[..., :-1], 0.0, 1.0))


def survival_if_slower(at: Layout, shares: Floats, factor: float, *, at_most: bool) -> Floats:
    """The share above each finite edge if every latency were `factor` > 1 times as long, (..., B − 1).

    `at_most`: a bound from above for any distribution, the share above the next edge below edge / factor. Otherwise a
    bound from below: the survival's log is taken to be linear in the log of the latency between two edges. It never
    lies above a log-concave survival function (log-normal, Weibull, gamma, log-logistic, Pareto), but may lie above
    that of latencies which pile up at one end of a bucket.
    """
    above = np.concatenate([np.ones((*shares.shape[:-1], 1)), survival(shares)], axis=-1)
    places = np.log(np.concatenate([at.lower[:1], at.finite]))
    wanted = np.log(at.finite / factor)
    left = np.clip(np.searchsorted(places, wanted + 1e-12, side="right") - 1, 0, len(places) - 2)
    if at_most:
        return np.asarray(np.where(wanted < places[0], 1.0, above[..., left]))
    part = np.clip((wanted - places[left]) / (places[left + 1] - places[left]), 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = (1 - part) * np.log(above[..., left]) + part * np.log(above[..., left + 1])
    between = np.where(above[..., left + 1] > 0, np.exp(logs), 0.0)
    return np.asarray(np.maximum(between, above[..., 1:]))


def _expected(edges: tuple[float, ...]) -> str:
    return f"but this test is for buckets ending at {_listed(edges)}: go back to them, or start the rollout's gate anew"


@lru_cache(maxsize=256)
def layout_digest(edges: tuple[float, ...]) -> str:
    """What tells these upper edges from all others: how many they are, a dash, and 16 digits of their hash."""
    return f"{len(edges)}-{hashlib.sha256(np.array(edges, '<f8').tobytes()).hexdigest()[:16]}"


def buckets_of(digest: str) -> int:
    """How many buckets there are in the layout of that digest. Raises ValueError for what is no digest."""
    return int(digest.partition("-")[0])


def _listed(edges: tuple[float, ...]) -> str:
    shown = ", ".join(f"{edge:g}" for edge in edges[:12])
    return shown if len(edges) <= 12 else f"{shown}, … ({len(edges)} in all)"
