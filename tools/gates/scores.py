"""Scores of latencies: a number for each request, of which histograms and sums give an arm's total.

The log of the bucket's middle is one, and where there are sums the latency itself is another. Mixed they say more than
either: buckets see little of latencies that crowd into few of them, sums little of heavy-tailed ones. Of the latencies
inside a bucket only the sum over all buckets is known: their means are interpolated (`tools.gates.histograms`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, Self

import numpy as np

from tools.gates.dispersion import Settled, beyond_chance, cautious
from tools.gates.histograms import Histogram, Layout, bucket_means, check_layout, layout
from tools.gates.permutation import log_mean
from tools.gates.wealth import BadEvidence, Floats, computable

# How much of a score may come from the position inside the bucket; the best for the slow-down expected is taken.
INSIDE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# The correlation of bucket and latency is taken to be nearer to 1 than interpolated by this part of what is missing.
CORRELATION_ALLOWANCE = 0.3
# Latencies closer together than this part of their mean are not told apart.
FINEST_SPREAD = 0.01
# The share of its width² that a bucket blurs by: it matters where hardly any latency lies outside one bucket.
ONE_BUCKET = 0.002
TINY = 1e-12


@dataclass(frozen=True)
class Tally:
    """Histograms as arrays: `counts` (..., B), `total` and `squares` (...), zeros where the test has no sums."""

    counts: Floats
    total: Floats
    squares: Floats

    @classmethod
    def of(cls, histogram: Histogram) -> Self:
        """One histogram, without leading dimensions."""
        sums = histogram.total or 0.0, histogram.squares or 0.0
        return cls(np.array(histogram.counts, float), np.array(sums[0]), np.array(sums[1]))

    @classmethod
    def of_all(cls, histograms: Sequence[Histogram]) -> Self:
        """N histograms of one layout; the first dimension is N."""
        counts = np.fromiter(chain.from_iterable([histogram.counts for histogram in histograms]), float)
        return cls(
            counts.reshape(len(histograms), -1),
            np.array([histogram.total or 0.0 for histogram in histograms]),
            np.array([histogram.squares or 0.0 for histogram in histograms]),
        )

    @classmethod
    def stacked(cls, tallies: Sequence["Tally"]) -> Self:
        """N of them as arrays whose first dimension is N."""
        return cls(
            np.array([tally.counts for tally in tallies]),
            np.fromiter((tally.total for tally in tallies), float),
            np.fromiter((tally.squares for tally in tallies), float),
        )

    def apart(self) -> list["Tally"]:
        """What `stacked` put together."""
        return [Tally(*row) for row in zip(self.counts, self.total, self.squares, strict=True)]

    @classmethod
    def empty(cls, buckets: int) -> Self:
        """No request."""
        return cls(np.zeros(buckets), np.array(0.0), np.array(0.0))

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.counts + other.counts, self.total + other.total, self.squares + other.squares)

    @property
    def requests(self) -> Floats:
        return np.asarray(self.counts.sum(axis=-1))

    @property
    def shares(self) -> Floats:
        """Of the requests by bucket, (..., B)."""
        return np.asarray(self.counts / np.maximum(self.requests, 1.0)[..., None])

    @property
    def mean(self) -> Floats:
        return np.asarray(self.total / np.maximum(self.requests, 1.0))

    @property
    def variance(self) -> Floats:
        """Of the latencies, at least (FINEST_SPREAD × mean)²."""
        found = self.squares / np.maximum(self.requests, 1.0) - self.mean**2
        return np.asarray(np.maximum(found, (FINEST_SPREAD * self.mean) ** 2 + TINY**2))

    def to_json(self) -> list[Any]:
        """`[counts, total, squares]`."""
        return [[int(count) for count in self.counts], float(self.total), float(self.squares)]

    @classmethod
    def from_json(cls, plain: Any, buckets: int) -> Self:
        """What `to_json` wrote. Raises BadEvidence for anything else."""
        try:
            counts, total, squares = plain
            tally = cls(np.array([float(count) for count in counts]), np.array(float(total)), np.array(float(squares)))
        except (TypeError, ValueError, OverflowError) as error:
            raise BadEvidence(f"Stored latencies are damaged ({error}); start new evidence.") from error
        numbers = [*tally.counts, tally.total, tally.squares]
        if len(tally.counts) != buckets or not computable(*numbers) or min(numbers) < 0:
            raise BadEvidence("Stored latencies are damaged; start new evidence.")
        return tally


@dataclass(frozen=True)
class Score:
    """A number for each request, with a mean of about 0 and a variance of about 1 over the pooled requests.

    `by_bucket` (..., B) is the score at the bucket's mean latency, `inside` (..., B) its variance within the bucket,
    `slope` (...) what it rises by per unit of latency there (0: buckets only), `means` (..., B) the buckets' mean
    latencies, and `signal` (...) how far the mean score moves per unit of the log of all latencies.
    """

    by_bucket: Floats
    inside: Floats
    slope: Floats
    means: Floats
    signal: Floats

    def total(self, tally: Tally) -> Floats:
        """The requests' scores added up, (...)."""
        placed = (tally.counts * self.by_bucket).sum(axis=-1)
        return np.asarray(placed + self.slope * (tally.total - (tally.counts * self.means).sum(axis=-1)))

    def variance(self, tally: Tally) -> Floats:
        """Of one request's score, (...)."""
        shares = tally.shares
        centre = (shares * self.by_bucket).sum(axis=-1)[..., None]
        return np.asarray((shares * ((self.by_bucket - centre) ** 2 + self.inside)).sum(axis=-1))

    def log_cost(self, bets: Floats, pooled: Tally, drawn: Floats) -> Floats:
        """ln of the mean of e^{λ·(total − its mean)} over all draws of `drawn` requests, for `bets` λ (..., G)."""
        share = drawn / np.maximum(pooled.requests, 1.0)
        # Inside a bucket too, the draw is without replacement.
        inside = ((1 - share)[..., None] * self.inside)[..., None, :]
        log_u = bets[..., None] * self.by_bucket[..., None, :] + (bets**2)[..., None] / 2 * inside
        placed = share * (pooled.counts * self.by_bucket).sum(axis=-1)
        return np.asarray(log_mean(log_u, pooled.counts, drawn) - bets * placed[..., None])


def make_score(at: Layout, pooled: Tally, *, typical: float, sums: bool) -> Score:
    """The score for a shift of all latencies whose log is about `typical`, from the pooled requests so far.

    Of the position of the bucket (its log-middle) and the latency itself, each standardised, that mixture is taken
    whose expected growth is largest. With correlation ρ, signals d and third moment κ of the mixture m, the growth is
    about (m·d)²·(1 − typical·(m·d)·κ/3) / (m'Rm): an exponential bet on a skewed score has to pay for the skew.
    """
    shares = pooled.shares
    position = at.log_middle - (shares * at.log_middle).sum(axis=-1)[..., None]
    spread = np.maximum((shares * position**2).sum(axis=-1), TINY)
    position = position / np.sqrt(spread)[..., None]
    # The mean log-middle moves by about as much as the latencies' log, unless hardly anything lies outside one bucket.
    found = np.sqrt(spread) / (spread + ONE_BUCKET * (shares * at.log_width**2).sum(axis=-1))
    if not sums:
        none = np.zeros_like(position)
        return Score(position, none, np.zeros_like(spread), none, found)
    mean, deviation = pooled.mean, np.sqrt(pooled.variance)
    means = bucket_means(at, shares, mean)
    place = (means - mean[..., None]) / deviation[..., None]
    correlation = np.clip((shares * position * place).sum(axis=-1), 0.0, 1.0)
    correlation = correlation + CORRELATION_ALLOWANCE * (1 - correlation)
    moments = _third_moments(shares, position, place)
    best = np.full(np.shape(mean), -1.0)
    weight, signal = np.zeros_like(best), np.ones_like(best)
    norm = np.ones_like(best)
    for inside in INSIDE:
        size = np.sqrt((1 - inside) ** 2 + inside**2 + 2 * correlation * inside * (1 - inside))
        seen = ((1 - inside) * found + inside * mean / deviation) / size
        parts = (1 - inside) ** 3, 3 * (1 - inside) ** 2 * inside, 3 * (1 - inside) * inside**2, inside**3
        skew = sum(part * moment for part, moment in zip(parts, moments, strict=True)) / (size * size * size)
        growth = seen**2 * np.clip(1 - typical * seen * skew / 3, 0.1, 1.0)
        better = growth > best
        best, weight = np.where(better, growth, best), np.where(better, inside, weight)
        signal, norm = np.where(better, seen, signal), np.where(better, size, norm)
    slope = weight / (norm * deviation)
    by_bucket = (((1 - weight) / norm)[..., None]) * position + slope[..., None] * (means - mean[..., None])
    within = np.maximum(pooled.squares / np.maximum(pooled.requests, 1.0) - (shares * means**2).sum(axis=-1), 0.0)
    width = (at.upper - at.lower) ** 2
    spread_out = width / np.maximum((shares * width).sum(axis=-1), TINY)[..., None]
    return Score(by_bucket, (slope**2 * within)[..., None] * spread_out, slope, means, signal)


def _third_moments(shares: Floats, one: Floats, other: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """The means of one³, one²·other, one·other² and other³ over the requests, (...), of scores (..., B)."""
    weighed, squares = shares * one, (one * one, one * other, other * other)
    return (
        (weighed * squares[0]).sum(axis=-1),
        (weighed * squares[1]).sum(axis=-1),
        (weighed * squares[2]).sum(axis=-1),
        (shares * other * squares[2]).sum(axis=-1),
    )


def estimate_dispersion(control: Sequence[Histogram], *, settled: Settled = cautious) -> float:
    """How much more control's mean scores vary between intervals than those of independent requests would, at least 1.

    `control` in order of time, of one layout, with sums in all intervals or in none. As for counts, one standard error
    is added where there are clusters or too few intervals to rule them out. Intervals without requests are left out.
    Give it control's or past latencies only.
    """
    counted = [histogram for histogram in control if histogram.requests]
    if len(counted) < 2:
        return 1.0
    sums = all(histogram.total is not None for histogram in counted)
    for histogram in counted:
        check_layout(histogram, counted[0].edges)
    tallies = [Tally.of(histogram) for histogram in counted]
    whole = tallies[0]
    for tally in tallies[1:]:
        whole = whole + tally
    score = make_score(layout(counted[0].edges), whole, typical=0.1, sums=sums)
    means = np.array([float(score.total(tally) / tally.requests) for tally in tallies])
    steps = np.diff(means) ** 2
    expected = np.array([float(1 / one.requests + 1 / other.requests) for one, other in pairwise(tallies)])
    expected *= float(score.variance(whole))
    if not expected.sum() > 0:
        return 1.0
    return float(settled(*beyond_chance(steps, expected), len(steps)))
