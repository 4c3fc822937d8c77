"""Is treatment slower than control? For latencies in histogram buckets, with or without their sums.

Harm. In one interval, and given the latencies of both arms together, treatment's n requests are a draw without
replacement when treatment is not slower. A score c that may depend on everything but on who was treatment's then has

    LR(λ) = e^{λ · treatment's total of c} / p_n(λ)

with p_n the mean of the numerator over all draws (`tools.gates.permutation`). It needs no model of the latencies, and
their level may drift. Two scores are bet on. One for a shift of the whole distribution: the log of the bucket's middle,
to which, when there are sums, the deviation of the latency from its bucket's mean is added where that sharpens the
picture, as it does in wide buckets. One for the slow tail: being above the edge nearest the 95th percentile, which is a
count (`tools.gates.counts`). λ follows the size of the slow-down bet on and the spread seen so far.

Of the latencies inside a bucket only the sum is known: their means are interpolated and their spread is spread over the
buckets by width, which makes the bet with sums approximate. The bet from buckets alone is exact.

Safety. With sums: treatment's mean is below margin × control's, by a normal approximation with the variance of control,
which margin² enlarges. The null is a statement about means, tails included. From buckets alone margins are mostly
narrower than buckets, and what a slow-down by the margin would do must be interpolated: the mean score of such a
treatment is bounded from below for log-concave survival functions (`tools.gates.histograms.survival_if_slower`), and
treatment's must be proven to be less. That takes about twice as long as with sums.

Far worse while burning in: treatment's latencies are larger than control's times `burn_in_margin`, bounded from above
by the edges alone.

Sources: Hoeffding (1963); Robbins (1970); Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe
anytime-valid inference" (2023).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Self

import numpy as np

from tools.gates.counts import log_likelihood_ratios, null_share
from tools.gates.dispersion import ENOUGH
from tools.gates.histograms import (
    Histogram,
    Layout,
    MissingSums,
    bucket_means,
    check_edges,
    check_layout,
    layout,
    survival,
    survival_if_slower,
)
from tools.gates.judging import (
    SAFE_LOG_HEADROOM,
    Books,
    Direction,
    Question,
    boostable,
    burn_in_prior,
    check_levels,
    check_version,
    decide,
    log_harm_cap,
    safe_prior,
)
from tools.gates.permutation import log_mean
from tools.gates.verdict import NoData, Outcome, Verdict, no_data
from tools.gates.wealth import RESERVE_HALF_LIFE, BadEvidence, Floats, Prior, Wealth, log_boost, log_total

__all__ = [
    "LatencyEvidence",
    "LatencyTest",
    "Tally",
    "estimate_dispersion",
    "harm_bets",
    "judge",
    "safe_bets",
    "update",
]

VERSION = 1
SMALLEST_SAMPLE = 200
# The share of the money on the tail's bets; the slow-downs of the tail that it is on lie around TYPICAL_TAIL.
TAIL_SHARE, TAIL, TYPICAL_TAIL = 0.06, 0.05, 1.5
# The share of the money on slow-downs far beyond the margin, and what of all of it is placed from the start.
FAR, AT_ONCE = 0.03, 0.93
NEAR_SPREAD = 0.55
# How much of a score may come from the position inside the bucket; the best for the slow-down expected is taken.
INSIDE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# The correlation of bucket and latency is taken to be nearer to 1 than interpolated by this part of what is missing.
CORRELATION_ALLOWANCE = 0.3
LARGEST_BET = 2.0
ONE_BUCKET = 0.002
# Where a normal total may lie, in standard deviations, and the chance of each step from there.
OUTCOME_STEP = 0.25
OUTCOMES = np.arange(-0.5, 6.5, OUTCOME_STEP)
_ABOVE = [math.erfc(end / math.sqrt(2)) / 2 for end in (*OUTCOMES, OUTCOMES[-1] + OUTCOME_STEP)]
OUTCOME_LOG_CHANCES = np.log(-np.diff(_ABOVE))
# Latencies closer together than this part of their mean are not told apart.
FINEST_SPREAD = 0.01
TINY = 1e-12


@dataclass(frozen=True)
class LatencyTest:
    """What is asked of latencies.

    `edges` are the histogram's upper edges, the last +inf; `sums`: the source gives sums and sums of squares. Treatment
    is safe when its latencies are below `margin` × control's. The levels and `burn_in_margin` are as in `CountTest`.
    `dispersion` φ ≥ 1 is how much more control's scores vary from interval to interval than independent requests would
    (`estimate_dispersion`): slow requests come in clusters. Raises BadTest.
    """

    edges: tuple[float, ...]
    margin: float = 1.25
    sums: bool = True
    alpha_pause: float = 0.05
    alpha_rollback: float = 0.02
    alpha_safe: float = 0.05
    dispersion: float = 1.0
    min_sample: int = SMALLEST_SAMPLE
    burn_in_margin: float = 5.0

    def __post_init__(self) -> None:
        check_edges(self.edges)
        check_levels(self)

    @property
    def direction(self) -> Direction:
        """Slower is worse."""
        return Direction.INCREASE

    @property
    def asked(self) -> tuple[tuple[float, ...], float, bool, float]:
        """What evidence is collected for; all else may change on the way."""
        return self.edges, self.margin, self.sums, self.burn_in_margin


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
        if len(tally.counts) != buckets or not np.isfinite(numbers).all() or min(numbers) < 0:
            raise BadEvidence("Stored latencies are damaged; start new evidence.")
        return tally


@dataclass(frozen=True)
class LatencyEvidence:
    """All that is kept between two checks, at most 4 KB as JSON. It may be carried from stage to stage.

    `past` are control's latencies so far, from which the next interval's scores are made; `matched` the weighted sums
    of both arms' means (of their log-middles without sums) and of the weights, which compare within each interval.
    """

    test: tuple[tuple[float, ...], float, bool, float]
    books: Books
    past: Tally
    control: int = 0
    treatment: int = 0
    warming_control: int = 0
    warming_treatment: int = 0
    matched: tuple[float, float, float] = (0.0, 0.0, 0.0)
    intervals: int = 0
    version: int = VERSION

    @classmethod
    def start(cls, test: LatencyTest) -> Self:
        """No interval seen yet."""
        books = Books(*(Wealth.start(prior) for prior in _priors(test.margin)))
        return cls(test.asked, books, Tally.empty(len(test.edges)))

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `json.dumps` takes and `from_json` reads back exactly."""
        edges, margin, sums, burn_in_margin = self.test
        return {
            "version": self.version,
            "edges": list(edges[:-1]),
            "margin": margin,
            "sums": sums,
            "burn_in_margin": burn_in_margin,
            "books": self.books.to_json(),
            "past": self.past.to_json(),
            "requests": [self.control, self.treatment, self.warming_control, self.warming_treatment],
            "matched": list(self.matched),
            "intervals": self.intervals,
        }

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """The evidence that `to_json` wrote. Raises BadEvidence for anything else."""
        check_version(plain, VERSION)
        try:
            edges = (*(float(edge) for edge in plain["edges"]), math.inf)
            margin, books = float(plain["margin"]), plain["books"]
            named = zip(("harm", "burn_in", "safe"), _priors(margin), strict=True)
            control, treatment, warming_control, warming_treatment = (int(number) for number in plain["requests"])
            slower, faster, weight = (float(number) for number in plain["matched"])
            return cls(
                test=(edges, margin, bool(plain["sums"]), float(plain["burn_in_margin"])),
                books=Books(*(Wealth.from_json(books[name], prior) for name, prior in named)),
                past=Tally.from_json(plain["past"], len(edges)),
                control=control,
                treatment=treatment,
                warming_control=warming_control,
                warming_treatment=warming_treatment,
                matched=(slower, faster, weight),
                intervals=int(plain["intervals"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadEvidence(f"Stored evidence is damaged ({error}); start new evidence.") from error


def update(
    test: LatencyTest, evidence: LatencyEvidence, control: Histogram, treatment: Histogram, *, burning_in: bool = False
) -> LatencyEvidence:
    """The evidence after one more interval.

    While `burning_in` the interval counts only towards the burn-in question. Where an arm had no requests there is
    nothing to compare. Intervals must not overlap. Raises ChangedBuckets or MissingSums when a histogram is not what
    the test is for, BadEvidence when `evidence` is of another test; `evidence` is as good as before then.
    """
    check_same_test(test, evidence)
    for histogram in (control, treatment):
        check_layout(histogram, test.edges)
        if test.sums and histogram.total is None and histogram.requests:
            raise MissingSums(
                "The histogram came without the sum of its latencies, which this test is for: let the source give the "
                "sums and sums of squares, or start the rollout's gate anew without."
            )
    arms = Tally.of(control), Tally.of(treatment)
    books, matched = evidence.books, evidence.matched
    if control.requests and treatment.requests:
        books = _paid(test, evidence, *arms, burning_in=burning_in)
        matched = matched if burning_in else _matched(test, matched, *arms)
    seen = replace(
        evidence, books=books, matched=matched, past=evidence.past + arms[0], intervals=evidence.intervals + 1
    )
    if burning_in:
        return replace(
            seen,
            warming_control=evidence.warming_control + control.requests,
            warming_treatment=evidence.warming_treatment + treatment.requests,
        )
    return replace(seen, control=evidence.control + control.requests, treatment=evidence.treatment + treatment.requests)


def judge(test: LatencyTest, evidence: LatencyEvidence) -> Verdict:
    """What the evidence says now; the answer's rates are mean latencies, None without sums.

    Raises BadEvidence when it is of another test.
    """
    check_same_test(test, evidence)
    if not evidence.intervals:
        return no_data(NoData.EMPTY, "No interval has been counted yet.")
    warming = not (evidence.control or evidence.treatment)
    control = evidence.warming_control if warming else evidence.control
    treatment = evidence.warming_treatment if warming else evidence.treatment
    if not treatment:
        return no_data(NoData.NO_TRAFFIC, f"Treatment has had no traffic yet, control {control:,} requests.")
    if not control:
        return no_data(NoData.NO_TRAFFIC, f"Control has had no traffic, treatment {treatment:,} requests.")
    slower, faster, weight = evidence.matched
    means = (slower / weight, faster / weight) if weight and test.sums else (None, None)
    ratio = _ratio(evidence)
    numbers = Verdict(
        outcome=Outcome.INCONCLUSIVE,
        why="",
        treatment_rate=means[0],
        control_rate=means[1],
        ratio=ratio,
        margin=test.margin,
        treatment_n=evidence.treatment,
        control_n=evidence.control,
    )
    shown = "" if means[0] is None or means[1] is None else f", means {means[0]:.4g} and {means[1]:.4g}"
    times = "" if ratio is None else f", ×{ratio:.3g}"
    question = Question(
        facts=f"latencies of {treatment:,} treatment and {control:,} control requests{shown}{times}",
        safe=f"it is below ×{test.margin:.3g}",
        burning_in=warming,
    )
    return decide(test, evidence.books, numbers, question)


def estimate_dispersion(control: Sequence[Histogram]) -> float:
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
    estimate = steps.sum() / expected.sum()
    surprise = steps - estimate * expected
    variance = (surprise**2).sum() + 2 * (surprise[1:] * surprise[:-1]).sum()  # neighbours share an interval
    error = math.sqrt(max(variance, 0.0)) / expected.sum()
    if len(steps) >= ENOUGH and estimate <= 1 + 2 * error:
        return 1.0
    return max(1.0, float(estimate + error))


def check_same_test(test: LatencyTest, evidence: LatencyEvidence) -> None:
    """Raises BadEvidence when `evidence` was collected for other buckets, margins, or with other sums."""
    if test.asked != evidence.test:
        edges, margin, sums, burn_in_margin = evidence.test
        raise BadEvidence(
            f"This evidence is of a test of {len(edges)} buckets {'with' if sums else 'without'} sums, margin "
            f"{margin:g} and burn-in margin {burn_in_margin:g}, which is not the one asked for: start new evidence."
        )


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


@dataclass(frozen=True)
class HarmBets:
    """One interval's bets on harm, before φ.

    `log_lr` (..., G) is what they pay and `information` (...) how far they move the clock. The first of them are on
    the score: `slopes` λ (..., S), their `cost` (..., S), and the standard deviation of treatment's total (...).
    """

    log_lr: Floats
    information: Floats
    slopes: Floats
    cost: Floats
    deviation: Floats

    @property
    def outcomes(self) -> tuple[Floats, Floats]:
        """Some outcomes that the draw might have had: log chances (N,) and log likelihood ratios (..., N, G).

        The total is taken to be normal; each step of it counts as its lower end. What the tail would pay is left out.
        """
        totals = self.deviation[..., None, None] * OUTCOMES[:, None]
        shifted = self.slopes[..., None, :] * totals - self.cost[..., None, :]
        rest = self.log_lr.shape[-1] - self.slopes.shape[-1]
        return OUTCOME_LOG_CHANCES, np.concatenate([shifted, np.full((*shifted.shape[:-1], rest), -np.inf)], axis=-1)


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
    best = np.full(np.shape(mean), -1.0)
    weight, signal = np.zeros_like(best), np.ones_like(best)
    norm = np.ones_like(best)
    for inside in INSIDE:
        size = np.sqrt((1 - inside) ** 2 + inside**2 + 2 * correlation * inside * (1 - inside))
        seen = ((1 - inside) * found + inside * mean / deviation) / size
        mixed = ((1 - inside) * position + inside * place) / size[..., None]
        skew = (shares * mixed**3).sum(axis=-1)
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


def harm_bets(test: LatencyTest, past: Tally, control: Tally, treatment: Tally) -> HarmBets:
    """One interval's bets on harm. `past` are control's latencies before it. Both arms must have requests."""
    at, prior = layout(test.edges), _shift_prior(test.margin)
    pooled = control + treatment
    known = past + pooled
    score = make_score(at, known, typical=0.8 * math.log(test.margin), sums=test.sums)
    slopes = np.minimum(score.signal[..., None] * np.log(prior.factors), LARGEST_BET)
    cost = score.log_cost(slopes, pooled, treatment.requests)
    share = null_share(1.0, control.requests, treatment.requests)
    excess = score.total(treatment) - share * score.total(pooled)
    slow = _slow_tail(known)
    slow_pooled, slow_treatment = ((tally.counts * slow).sum(axis=-1) for tally in (pooled, treatment))
    tail = log_likelihood_ratios(_tail_prior().factors, share, slow_pooled, slow_treatment)
    drawn = pooled.requests * share * (1 - share)
    return HarmBets(
        log_lr=np.concatenate([slopes * excess[..., None] - cost, tail], axis=-1),
        information=drawn * score.signal**2,
        slopes=slopes,
        cost=cost,
        deviation=np.sqrt(drawn * score.variance(pooled)),
    )


def boost(test: LatencyTest, bets: HarmBets, log_started: Floats, log_reserve: Floats, burn_in_log_e: Floats) -> Floats:
    """By how much the bets on harm may be raised before the interval, as a log (`tools.gates.wealth.log_boost`), (...).

    0 where there are clusters: then it is not known what the null would bring.
    """
    cap = log_harm_cap(test.alpha_rollback, burn_in_log_e)
    near = boostable(log_total(log_started, log_reserve), cap) & (bets.deviation > 0)
    if test.dispersion > 1 or not near.any():
        return np.zeros_like(cap)
    return np.where(near, log_boost(log_started, log_reserve, cap, *bets.outcomes), 0.0)


def safe_bets(test: LatencyTest, past: Tally, control: Tally, treatment: Tally) -> tuple[Floats, Floats]:
    """One interval's log LR of each bet on safety, (..., G), and its information, (...); as `harm_bets`."""
    known = past + control
    requests = np.maximum(treatment.requests, 1.0), np.maximum(control.requests, 1.0)
    below = test.margin / safe_prior(test.margin).factors
    if test.sums:
        miss = treatment.total / requests[0] - test.margin * control.total / requests[1]
        precision = 1 / (test.margin**2 * known.variance * (1 / requests[0] + 1 / requests[1]))
        bets, unit = known.mean[..., None] * (below - test.margin), known.mean
    else:
        at, shares = layout(test.edges), known.shares
        steps = np.diff(at.log_middle)
        moved = (steps * (survival_if_slower(at, shares, test.margin, at_most=False) - survival(shares))).sum(axis=-1)
        scores = [(tally.shares * at.log_middle).sum(axis=-1) for tally in (treatment, control)]
        miss = scores[0] - scores[1] - moved
        centre = (shares * at.log_middle).sum(axis=-1)[..., None]
        spread = np.maximum((shares * (at.log_middle - centre) ** 2).sum(axis=-1), TINY)
        # What a slow-down would move is read off control too, so that its chance counts thrice.
        precision = 1 / (np.maximum(spread, FINEST_SPREAD**2) * (1 / requests[0] + 3 / requests[1]))
        bets, unit = np.minimum(-moved[..., None] * (1 - np.log(below) / math.log(test.margin)), 0.0), np.ones(())
    log_lr = precision[..., None] * (bets * miss[..., None] - bets**2 / 2)
    return np.asarray(log_lr), np.asarray(precision * unit**2)


def _burn_in_bets(test: LatencyTest, past: Tally, control: Tally, treatment: Tally) -> tuple[Floats, Floats]:
    """As `harm_bets`, against a treatment `burn_in_margin` times as slow as control."""
    at, shares = layout(test.edges), (past + control).shares
    above = survival_if_slower(at, shares, test.burn_in_margin, at_most=True)
    slower = -np.diff(np.concatenate([np.ones((*above.shape[:-1], 1)), above, np.zeros((*above.shape[:-1], 1))]))
    centre = (shares * at.log_middle).sum(axis=-1)[..., None]
    spread = (shares * ((at.log_middle - centre) ** 2 + at.log_width**2 / 12)).sum(axis=-1)
    bets = np.minimum(np.log(burn_in_prior().factors) / spread[..., None], LARGEST_BET / np.sqrt(spread)[..., None])
    log_u = bets[..., None] * at.log_middle
    won = (treatment.counts[..., None, :] * log_u).sum(axis=-1)
    staked = treatment.requests[..., None] * np.log((slower[..., None, :] * np.exp(log_u - log_u.max())).sum(axis=-1))
    return won - staked - treatment.requests[..., None] * log_u.max(), treatment.requests / spread


def _paid(test: LatencyTest, evidence: LatencyEvidence, control: Tally, treatment: Tally, *, burning_in: bool) -> Books:
    books, past = evidence.books, evidence.past
    harm, burn_in, safe = _priors(test.margin)

    def paid(wealth: Wealth, prior: Prior, log_lr: Floats, information: Floats) -> Wealth:
        return wealth.advance(prior, log_lr / test.dispersion, float(information) / test.dispersion)

    if burning_in:
        return replace(books, burn_in=paid(books.burn_in, burn_in, *_burn_in_bets(test, past, control, treatment)))
    bets = harm_bets(test, past, control, treatment)
    raised = books.harm.raised(float(boost(test, bets, *books.harm.arrays, np.array(books.burn_in.log_e))))
    proof = paid(books.safe, safe, *safe_bets(test, past, control, treatment))
    return replace(
        books,
        harm=paid(raised, harm, bets.log_lr, bets.information),
        safe=proof.capped(SAFE_LOG_HEADROOM - math.log(test.alpha_safe)),
    )


@lru_cache(maxsize=256)
def latency_prior(margin: float) -> Prior:
    """Bets for harm: on shifts of all latencies, typically somewhat less than the margin, then on the slow tail.

    The shifts are log-normal about margin^0.8 (sd 0.45), with a twentieth of the money on what is larger, up to 8
    times. The tail's factors are of the share above the edge.
    """
    shift, tail = _shift_prior(margin), _tail_prior()

    def joined(shifts: Floats, tails: Floats) -> Floats:
        return np.concatenate([math.log1p(-TAIL_SHARE) + shifts, math.log(TAIL_SHARE) + tails])

    return replace(
        shift,
        factors=np.concatenate([shift.factors, tail.factors]),
        log_weights=joined(shift.log_weights, tail.log_weights),
        log_late_weights=joined(shift.log_late_weights, tail.log_late_weights),
    )


@lru_cache(maxsize=256)
def _shift_prior(margin: float) -> Prior:
    steps, centre = np.linspace(-2.0, 2.2, 10), 0.8 * math.log(margin)
    logs = centre * np.exp(NEAR_SPREAD * steps)
    distant = np.geomspace(1.3 * logs[-1], max(math.log(8), 2.6 * logs[-1]), 6)
    near = np.exp(-0.5 * steps**2)
    weights = np.concatenate([(1 - FAR) * near / near.sum(), np.full(len(distant), FAR / len(distant))])
    return Prior(
        factors=np.exp(np.concatenate([logs, distant])),
        log_weights=np.log(weights),
        log_late_weights=np.log(weights),
        at_once=AT_ONCE,
        half_life=RESERVE_HALF_LIFE / centre**2,
    )


@lru_cache(maxsize=1)
def _tail_prior() -> Prior:
    return Prior.around(TYPICAL_TAIL, far=0.3, at_once=AT_ONCE)


def _priors(margin: float) -> tuple[Prior, Prior, Prior]:
    return latency_prior(margin), burn_in_prior(), safe_prior(margin)


def _slow_tail(known: Tally) -> Floats:
    """1 for the buckets above the edge nearest the 95th percentile, 0 below, (..., B)."""
    above = survival(known.shares)
    edge = np.argmin(np.where(above > 0, np.abs(above - TAIL), np.inf), axis=-1)
    return np.asarray(np.arange(known.counts.shape[-1]) > edge[..., None], float)


def _matched(
    test: LatencyTest, sums: tuple[float, float, float], control: Tally, treatment: Tally
) -> tuple[float, float, float]:
    middles = layout(test.edges).log_middle
    means = [
        float(tally.mean) if test.sums else float((tally.shares * middles).sum()) for tally in (treatment, control)
    ]
    weight = float(treatment.requests * control.requests / (treatment.requests + control.requests))
    return sums[0] + weight * means[0], sums[1] + weight * means[1], sums[2] + weight


def _ratio(evidence: LatencyEvidence) -> float | None:
    treatment, control, weight = evidence.matched
    if not weight:
        return None
    sums = evidence.test[2]
    if sums:
        return treatment / control if control else None
    return math.exp((treatment - control) / weight)
