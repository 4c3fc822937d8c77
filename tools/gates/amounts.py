"""When the gates on means and latencies have their answers: what `tools.gates.calculators` asks of them.

Means. After m minutes, with W = n_c·n_b/(n_c + n_b) for the units of both arms so far, a treatment at `ratio` times
control's mean μ is on average √W·μ·|ratio − null|/(σ·√φ) standard errors away from the null, σ the values' standard
deviation, and the gate's e-value is a function of that and of W alone (`tools.gates.means`). The time is where that
function reaches the level.

Latencies. The gate's own bets (`tools.gates.latency`) are paid out on one average minute: control's histogram, and the
same with all latencies `ratio` times as long, its logit taken to be linear in the log of the latency between two edges.
Each bet then grows at a known rate, and their mixture reaches the level after a known time.

What chance adds was measured by simulating the gates; `tests/unit/gates/test_predictions.py` holds the answers to it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tools.gates import latency, means
from tools.gates.histograms import SMALLEST_SLOPE, Histogram, Layout, layout
from tools.gates.judging import Direction, safe_prior
from tools.gates.scores import Tally
from tools.gates.wealth import Floats, log_sum
from tools.gates.workload import LARGEST_FACTOR, BadQuestion, Minutes, Traffic, level

# Standard errors by which a mean must be further away than the level says: for half of the rollouts, for nine of ten.
MEAN_HARM, MEAN_SAFE = (-0.2, 0.9), (-0.15, 1.0)
# Nats beyond ln 1/α for latencies, as those of the count calculators; of a proof, what chance adds goes with the
# unevenness of its evidence.
LATENCY_HARM, LATENCY_SAFE_MEDIAN, LATENCY_SAFE_CHANCE = (0.0, 4.0), -0.2, 3.6
# Buckets that fewer requests than this come to in a minute are left out of a typical one.
RARE = 0.5
# How much of control is known when a minute is judged.
PAST_MINUTES = 30.0
TINY = 1e-9
# An answer that takes longer never comes.
LONGEST = 1e12


@dataclass(frozen=True)
class Amounts:
    """What units were worth lately: `mean` and standard `deviation` of their values, cut at `cap`. Raises BadQuestion.

    The margin is a part of the mean, so that it must lie above 0.
    """

    mean: float
    deviation: float
    cap: float

    def __post_init__(self) -> None:
        if not 0 < self.mean <= self.cap * (1 + 1e-6):
            raise BadQuestion(f"The mean must lie above 0 and at most at the cap of {self.cap:g}, not at {self.mean}.")
        if not 0 <= self.deviation < math.inf:
            raise BadQuestion(f"The standard deviation must be 0 or more, not {self.deviation}.")


@dataclass(frozen=True)
class Latencies:
    """What latencies were lately: `buckets` are all upper edges but infinity, `counts` the requests in each and above.

    `total` and `squares` are their sums, None where the source gives none. `histogram` raises BadCounts.
    """

    buckets: tuple[float, ...]
    counts: tuple[int, ...]
    total: float | None = None
    squares: float | None = None

    @property
    def histogram(self) -> Histogram:
        """As the gate takes it."""
        return Histogram((*self.buckets, math.inf), self.counts, self.total, self.squares)

    def within(self, part: float) -> float:
        """The smallest edge that at least this part of the requests stays within; infinity where it is not known."""
        reached, wanted = 0, part * sum(self.counts)
        for edge, count in zip((*self.buckets, math.inf), self.counts, strict=True):
            reached += count
            if reached >= wanted:
                return edge
        return math.inf


@dataclass(frozen=True)
class MeanTraffic:
    """What a stage has to work with where a mean is compared: `requests_per_minute` are units of both arms together.

    `dispersion` φ as `means.estimate_dispersion` gives it; on the `margin` no bet on harm depends. Raises BadQuestion.
    """

    requests_per_minute: float
    amounts: Amounts
    share: float
    dispersion: float = 1.0
    margin: float = means.MeanTest.margin

    def __post_init__(self) -> None:
        _check(self.requests_per_minute, self.share, self.dispersion)

    def sharing(self, share: float) -> "MeanTraffic":
        """The same with another share. Raises BadQuestion."""
        return replace(self, share=share)

    def largest_harm(self, direction: Direction) -> float:
        """No mean can exceed the cap."""
        most = self.amounts.cap / self.amounts.mean
        return min(LARGEST_FACTOR, most) if direction is Direction.INCREASE else LARGEST_FACTOR

    @property
    def spread(self) -> float:
        """The standard deviation that control's values count with at least."""
        return max(self.amounts.deviation, means.FINEST_SPREAD * self.amounts.mean)

    def held_to(self, margin: float) -> "MeanTraffic":
        """The same with another margin."""
        return replace(self, margin=margin)

    def check(self, ratio: float) -> None:
        """No mean exceeds the cap. Raises BadQuestion."""
        if ratio * self.amounts.mean > self.amounts.cap:
            raise BadQuestion(f"A mean of {self.amounts.mean:g} can't become {ratio:g} times as high: the cap cuts it.")

    def caught(self, ratio: float, alpha: float) -> Minutes:
        """From the e-value of the average. Raises BadQuestion."""
        self.check(ratio)
        needed = level(alpha) - math.log(means.FROM_THE_START)
        return Minutes(*(self._minutes(ratio, 1.0, needed, chance) for chance in MEAN_HARM))

    def proven(self, ratio: float, null: float, alpha: float) -> Minutes:
        """From the e-value of the average."""
        return Minutes(*(self._minutes(ratio, null, level(alpha), chance) for chance in MEAN_SAFE))

    def sample(self, null: float, alpha: float) -> int:
        """Treatment's units by which half of the rollouts are proven; never below what the gate asks for."""
        minutes = self.proven(1.0, null, alpha).median
        return max(means.SMALLEST_SAMPLE, math.ceil(round(minutes * self.requests_per_minute * self.share, 6)))

    def _minutes(self, ratio: float, null: float, needed: float, chance: float) -> float:
        """When the e-value reaches e^`needed`, at `chance` standard errors less than the average."""
        a_minute = self.requests_per_minute * self.share * (1 - self.share)
        # As the gate takes it: the larger of the arms' variances in both.
        spread = max(1.0, ratio) * self.spread
        noise = self.dispersion * spread**2 * ((1 - self.share) + null**2 * self.share)
        pull = abs(ratio - null) * self.amounts.mean / math.sqrt(noise)

        def enough(minutes: float) -> bool:
            weight = a_minute * minutes
            z = pull * math.sqrt(weight) - chance
            return means.log_e_value(z, means.relative_information(weight, self.dispersion)) >= needed

        return first(enough, means.SMALLEST_SAMPLE / (self.requests_per_minute * self.share))


@dataclass(frozen=True)
class LatencyTraffic:
    """What a stage has to work with where latencies are compared.

    `seen` are control's lately, `margin` what the test is held to, on which its bets on harm depend; `dispersion` φ as
    `scores.estimate_dispersion` gives it. Raises BadQuestion.
    """

    requests_per_minute: float
    seen: Histogram
    share: float
    margin: float = 1.25
    dispersion: float = 1.0

    def __post_init__(self) -> None:
        _check(self.requests_per_minute, self.share, self.dispersion)
        if not self.seen.requests:
            raise BadQuestion("Nothing is known of the latencies: their histogram is empty.")

    def sharing(self, share: float) -> "LatencyTraffic":
        """The same with another share. Raises BadQuestion."""
        return replace(self, share=share)

    def largest_harm(self, direction: Direction) -> float:
        """Anything may take a hundred times as long."""
        return LARGEST_FACTOR

    def held_to(self, margin: float) -> "LatencyTraffic":
        """The same with another margin."""
        return replace(self, margin=margin)

    def check(self, ratio: float) -> None:
        """Anything may take as long as it does."""

    def caught(self, ratio: float, alpha: float) -> Minutes:
        """From the growth of each bet on harm."""
        growth = _harm_growth(self, ratio)
        return Minutes(*(_reached(*growth, level(alpha) + chance) for chance in LATENCY_HARM))

    def proven(self, ratio: float, null: float, alpha: float) -> Minutes:
        """From the growth of each bet on safety."""
        least = latency.SMALLEST_SAMPLE / (self.requests_per_minute * self.share)
        growth, uneven = _safe_growth(self, ratio, null), _unevenness(latency_pace(self.held_to(null), ratio))
        chances = LATENCY_SAFE_MEDIAN, LATENCY_SAFE_CHANCE * uneven
        return Minutes(*(max(_reached(*growth, level(alpha) + chance), least) for chance in chances))

    def sample(self, null: float, alpha: float) -> int:
        """Treatment's requests by which half of the rollouts are proven; never below what the gate asks for."""
        minutes = self.proven(1.0, null, alpha).median
        return max(latency.SMALLEST_SAMPLE, math.ceil(round(minutes * self.requests_per_minute * self.share, 6)))

    def test(self, margin: float) -> latency.LatencyTest:
        """The gate's."""
        return latency.LatencyTest(self.seen.edges, margin, sums=self.seen.total is not None)

    def arms(self, ratio: float) -> tuple[Tally, Tally]:
        """A typical minute of control and of treatment."""
        seen = Tally.of(self.seen)
        slower = Tally(slowed(layout(self.seen.edges), seen.shares, ratio), seen.total * ratio, seen.squares * ratio**2)
        return self._served(seen.shares, seen, 1 - self.share), self._served(slower.counts, slower, self.share)

    @property
    def past(self) -> Tally:
        """Some minutes of control."""
        seen = Tally.of(self.seen)
        return self._times(seen.shares, seen, PAST_MINUTES)

    def _served(self, shares: Floats, sums: Tally, part: float) -> Tally:
        """Without what most minutes have none of: a single outlier weighs more on average than it ever does."""
        above = np.cumsum(shares[::-1])[::-1] * self.requests_per_minute
        kept = np.where(above >= RARE, shares, 0.0)
        last = np.flatnonzero(kept)[-1] if kept.any() else int(np.argmax(shares))
        kept[last] += 1 - kept.sum()
        return self._times(kept, sums, part)

    def _times(self, shares: Floats, sums: Tally, minutes: float) -> Tally:
        requests = self.requests_per_minute * minutes
        return Tally(shares * requests, *(one * (requests / self.seen.requests) for one in (sums.total, sums.squares)))


def slowed(at: Layout, shares: Floats, factor: float) -> Floats:
    """The buckets' shares (B,) when every latency is `factor` times as long.

    The logit of the share below is linear in the log of the latency, between and beyond the edges that have latencies
    on both sides; where there are fewer than two of those, everything stays where it is.
    """
    below = np.cumsum(shares)[:-1]
    known = (below > TINY) & (below < 1 - TINY)
    if known.sum() < 2:
        return shares
    logits, places = np.log(below[known] / (1 - below[known])), np.log(at.finite[known])
    wanted = np.log(at.finite) - math.log(factor)
    slopes = np.maximum(np.diff(logits) / np.diff(places), SMALLEST_SLOPE)
    found = np.interp(wanted, places, logits)
    found += slopes[0] * np.minimum(wanted - places[0], 0) + slopes[-1] * np.maximum(wanted - places[-1], 0)
    return np.asarray(np.diff(np.concatenate([[0.0], 1 / (1 + np.exp(-found)), [1.0]])))


@dataclass(frozen=True)
class LatencyPace:
    """What an average minute does to a gate's bets on latencies, and what chance does, φ counted.

    The bets on harm grow by `harm_growth` (G,). Chance moves the first of them, those on the score, by `shift_pull`
    (S,) for each standard deviation of the score's sum, at a cost of `shift_cost` (S,) that is in their growth; the
    others by `tail_pull` (G − S,) with the number of slow requests; and the bets on safety, which grow by `safe_growth`
    (P,), by `safe_pull` (P,). `mixing` (3, 3) makes these three sums of independent ones.
    """

    harm_growth: Floats
    shift_cost: Floats
    shift_pull: Floats
    tail_pull: Floats
    safe_growth: Floats
    safe_pull: Floats
    mixing: Floats

    @property
    def fair_growth(self) -> Floats:
        """What the bets on harm grow by where there is none (G,), for chance that is taken as normal.

        Totals of few requests are skewed, for which the gate's bets pay: what they cost is more than normal totals
        would bring. A bet that is fair to the gate's own totals is to be fair to those of a walk.
        """
        return -(np.concatenate([self.shift_pull, self.tail_pull]) ** 2) / 2


@lru_cache(maxsize=512)
def latency_pace(traffic: LatencyTraffic, ratio: float) -> LatencyPace:
    """Of a treatment whose latencies are all `ratio` times control's, when safety is asked at the traffic's margin."""
    control, treatment = traffic.arms(ratio)
    test, phi = traffic.test(traffic.margin), traffic.dispersion
    harm = latency.harm_bets(test, traffic.past, control, treatment)
    safe = latency.safe_bets(test, traffic.past, control, treatment)
    pooled, known = control + treatment, traffic.past + control
    at, shifts = layout(test.edges), harm.slopes.shape[-1]
    slow_part = float((pooled.shares * harm.slow).sum())
    slow = math.sqrt(float(pooled.requests) * traffic.share * (1 - traffic.share) * slow_part * (1 - slow_part))
    apart = _deviation_of_means(test, control, treatment)
    values = harm.score.means if test.sums else at.log_middle
    return LatencyPace(
        harm_growth=harm.log_lr / phi,
        shift_cost=harm.cost / phi,
        shift_pull=harm.slopes * harm.deviation / math.sqrt(phi),
        tail_pull=np.log(latency.latency_prior(test.margin).factors[shifts:]) * slow / math.sqrt(phi),
        safe_growth=safe.log_lr / phi,
        safe_pull=safe.slopes * apart / math.sqrt(phi),
        mixing=_mixing(known.shares, harm.score.by_bucket, harm.slow, values),
    )


def _unevenness(pace: LatencyPace) -> float:
    """By how much evidence of safety varies: its variance over twice its mean, of the bet that grows fastest.

    1 where the gate knows how much chance there is; less where it takes it for more (without sums).
    """
    best = int(np.argmax(pace.safe_growth))
    growth = float(pace.safe_growth[best])
    return float(pace.safe_pull[best]) ** 2 / (2 * growth) if growth > 0 else 1.0


def _deviation_of_means(test: latency.LatencyTest, control: Tally, treatment: Tally) -> float:
    """The standard deviation by which chance moves what safety is judged by in one interval."""
    if test.sums:
        spreads = treatment.variance, test.margin**2 * control.variance
    else:
        places = layout(test.edges).log_middle
        spreads = tuple(
            (arm.shares * (places - (arm.shares * places).sum()) ** 2).sum() for arm in (treatment, control)
        )
    return math.sqrt(float(spreads[0] / treatment.requests + spreads[1] / control.requests))


def _mixing(shares: Floats, *scores: Floats) -> Floats:
    """A matrix that makes independent numbers as correlated as these scores of a request (B,) are."""
    centred = np.stack([score - (shares * score).sum() for score in scores])
    products = (centred * shares) @ centred.T
    deviations = np.sqrt(np.maximum(np.diag(products), TINY))
    correlations = products / np.outer(deviations, deviations)
    # A little apart, so that scores that say the same have a root too.
    np.fill_diagonal(correlations, 1 + TINY)
    return np.asarray(np.linalg.cholesky(correlations))


Workload = Traffic | MeanTraffic | LatencyTraffic
"""What a stage has to work with, whatever is measured, and when the gate that judges it has its answers."""


@lru_cache(maxsize=512)
def _harm_growth(traffic: LatencyTraffic, ratio: float) -> tuple[Floats, Floats]:
    """The log of each bet on harm at the start, and what it wins on average in a minute."""
    control, treatment = traffic.arms(ratio)
    test = traffic.test(traffic.margin)
    bets = latency.harm_bets(test, traffic.past, control, treatment)
    prior = latency.latency_prior(test.margin)
    return prior.log_weights + math.log(prior.at_once), bets.log_lr / traffic.dispersion


@lru_cache(maxsize=512)
def _safe_growth(traffic: LatencyTraffic, ratio: float, null: float) -> tuple[Floats, Floats]:
    control, treatment = traffic.arms(ratio)
    bets = latency.safe_bets(traffic.test(null), traffic.past, control, treatment)
    prior = safe_prior(null)
    return prior.log_weights + math.log(prior.at_once), bets.log_lr / traffic.dispersion


def _reached(start: Floats, growth: Floats, needed: float) -> float:
    """After how many minutes bets of these logs, growing at these rates, are worth e^`needed` together."""
    return first(lambda minutes: float(log_sum(start + growth * minutes)) >= needed, 0.0)


def first(enough: Callable[[float], bool], least: float) -> float:
    """The first moment from `least` on that is `enough`, to a thousandth of it; LONGEST where none is."""
    if least > 0 and enough(least):
        return least
    low, high = least, max(2 * least, 1e-3)
    while not enough(high):
        if high > LONGEST:
            return LONGEST
        low, high = high, 2 * high
    while high - low > 0.001 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check(requests_per_minute: float, share: float, dispersion: float) -> None:
    if not (0 < requests_per_minute < math.inf):
        raise BadQuestion(f"Requests per minute must be above 0, not {requests_per_minute}.")
    if not (0 < share < 1):
        raise BadQuestion(f"Treatment's share must lie between 0 and 1, leaving some control, not {share}.")
    if not (1 <= dispersion < math.inf):
        raise BadQuestion(f"The dispersion must be 1 or more, not {dispersion}.")
