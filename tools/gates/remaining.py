"""How long the rest of a proof of safety takes, from the evidence that there is.

`tools.gates.calculators` and `amounts` answer that for a gate that begins. Here `DRAWS` courses are sampled that go on
from where the gate's own evidence is: with its own bets or sums, and with what chance does to counts and means.

Which ratio of the arms they have is only estimated. Most treatments do little, so the log of it is taken to be normal
around "no difference" with `USUAL_PART` of the way to the margin as its standard deviation, and what was seen counts by
its own error; each course has another of the ratios that there then may be. Half of the rollouts that are proven at all
are through after `median`, nine of ten after `p90`.

Until treatment has shown what it does, that is the answer for treatments as they mostly are, whatever this one is: one
that is better is through sooner, one that is nearer to the margin later.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tools.gates import latency, means
from tools.gates.amounts import LatencyTraffic, MeanTraffic, first, latency_pace
from tools.gates.calculators import Minutes, Traffic, level
from tools.gates.ceiling import CeilingEvidence, CeilingTest
from tools.gates.ceiling import log_likelihood_ratios as ceiling_ratios
from tools.gates.counts import CountEvidence, CountTest, log_likelihood_ratios
from tools.gates.judging import Direction, safe_prior
from tools.gates.latency import LatencyEvidence, LatencyTest
from tools.gates.means import Matched, MeanEvidence, MeanTest
from tools.gates.walks import spread_of_common
from tools.gates.wealth import Floats, Prior, Wealth, advance, log_total

NORMAL = NormalDist()
# How far off a treatment usually is, as a part of the way from "no difference" to the margin, both as logs.
USUAL_PART = 2 / 3
NINTH_DECILE = NORMAL.inv_cdf(0.9)
# By how many standard errors what is seen must be beyond the null so that no proof is to be expected.
FAR_BEYOND = 1.645
# Events that are added to both what treatment had and what is expected of it, and to what control had: few say little.
DOUBT = 0.5
# No ratio is below this, no doubt below that; errors above are as if nothing was seen.
SMALLEST_RATIO, LEAST_DOUBT, LARGEST_ERROR = 1e-3, 1e-9, 1e3
# Courses, and of which part of them it is not waited for that they are through.
DRAWS, LAST = 160, 0.09
SEED = 20_000
# How long a step is in minutes at least, and as a part of the time so far; after a year nobody waits.
SHORTEST_STEP, STEP_PART, HORIZON = 0.1, 0.1, 366 * 24 * 60.0

Ints = NDArray[np.int64]
Later = Callable[[np.random.Generator, float, Ints], Floats]
"""What the evidence of those courses lacks of the proof after so many more minutes, as a log; 0 or less is enough."""


@dataclass(frozen=True)
class Seen:
    """What is known of the ratio of the arms: as seen, the standard error of its log, without harm, and the null's."""

    ratio: float
    error: float
    alike: float
    null: float

    @property
    def likeliest(self) -> float:
        """The ratio in view of how most treatments are."""
        return math.exp(self._centre)

    @property
    def doubt(self) -> float:
        """What is left unknown of its log, a standard deviation."""
        return math.sqrt(1 - self._trust) * abs(USUAL_PART * self._way)

    @property
    def provable(self) -> bool:
        """Whether the likeliest ratio is on the safe side of the null, and what was seen not far beyond it."""
        side = math.copysign(1.0, self._way)
        within = side * (math.log(self.null) - self._centre) > 0
        return within and side * (self.ratio - self.null) <= FAR_BEYOND * self.error * self.null

    @property
    def ratios(self) -> Floats:
        """What it may be, each as likely as the other and all of them on the safe side of the null (DRAWS,)."""
        side, doubt = math.copysign(1.0, self._way), max(self.doubt, LEAST_DOUBT)
        within = NORMAL.cdf(side * (math.log(self.null) - self._centre) / doubt)
        steps = [NORMAL.inv_cdf(within * (number + 0.5) / DRAWS) for number in range(DRAWS)]
        return np.exp(self._centre + side * doubt * np.array(steps))

    @property
    def _way(self) -> float:
        return math.log(self.null) - math.log(self.alike)

    @property
    def _centre(self) -> float:
        """The log of the likeliest ratio."""
        # Of events the square of the error is about one over their number.
        doubt = DOUBT * min(self.error, LARGEST_ERROR) ** 2
        seen = (max(self.ratio / self.alike, SMALLEST_RATIO) + doubt) / (1 + doubt)
        return math.log(self.alike) + self._trust * math.log(seen)

    @property
    def _trust(self) -> float:
        usual = (USUAL_PART * self._way) ** 2
        return usual / (usual + self.error**2)


def remaining(later: Later) -> Minutes:
    """When half and nine of ten of the courses are through."""
    rng, through = np.random.default_rng(SEED), np.full(DRAWS, HORIZON)
    going, lacking, now = np.arange(DRAWS), later(rng, 0.0, np.arange(DRAWS)), 0.0
    while len(going) > LAST * DRAWS and now < HORIZON:
        step = max(SHORTEST_STEP, STEP_PART * now)
        left = later(rng, step, going)
        there = left <= 0
        # Within a step the evidence is taken to rise evenly.
        through[going[there]] = now + step * np.clip(lacking / np.maximum(lacking - left, LEAST_DOUBT), 0, 1)[there]
        going, lacking, now = going[~there], left[~there], now + step
    return Minutes(float(np.median(through)), float(np.quantile(through, 0.9, method="lower")))


# -- rates ------------------------------------------------------------------------------------------------------------


def seen_of_rate(test: CountTest, evidence: CountEvidence, base_rate: float, ratio: float | None) -> Seen:
    """Of the arms compared within each interval, `ratio`; None before there were events."""
    expected, control = evidence.treatment.exposures * base_rate, evidence.control.events
    error = math.sqrt(test.dispersion * (1 / max(expected, 1e-9) + 1 / (control + DOUBT)))
    return Seen(1.0 if ratio is None else ratio, error, 1.0, test.safe_ratio)


def rate_left(test: CountTest, evidence: CountEvidence, traffic: Traffic, seen: Seen) -> Minutes:
    """Of a rate that is compared with control's."""
    prior, ratios, share = safe_prior(test.margin), seen.ratios, traffic.share
    factors, null = 1 / test.direction.away(prior.factors), test.safe_ratio
    scale = traffic.dispersion * spread_of_common(traffic.base_rate * (share * seen.likeliest + 1 - share))
    a_minute = traffic.requests_per_minute * traffic.base_rate / scale
    relative = np.array(share * null / (share * null + 1 - share))

    def paid(rng: np.random.Generator, minutes: float, going: Ints) -> Floats:
        hits = rng.poisson(a_minute * minutes * share * ratios[going]).astype(float)
        events = hits + rng.poisson(a_minute * minutes * (1 - share), len(going)).astype(float)
        return log_likelihood_ratios(factors, relative, events, hits)

    return remaining(_Bets.of(evidence.books.safe, prior, level(test.alpha_safe), paid).later)


def seen_of_ceiling(test: CeilingTest, evidence: CeilingEvidence) -> Seen:
    """Of everyone against the ceiling, which is the margin away from what control was."""
    alike = 1 / test.margin if test.direction is Direction.INCREASE else test.margin
    usual = alike * evidence.seen.exposures * test.ceiling
    ratio = alike * evidence.seen.events / usual if usual else alike
    return Seen(ratio, math.sqrt(test.dispersion / max(usual, 1e-9)), alike, 1.0)


def ceiling_left(test: CeilingTest, evidence: CeilingEvidence, requests_per_minute: float, seen: Seen) -> Minutes:
    """Of a rate that is held against its ceiling."""
    prior, ratios = safe_prior(test.margin), seen.ratios
    factors, a_minute = 1 / test.direction.away(prior.factors), requests_per_minute * test.ceiling / test.dispersion

    def paid(rng: np.random.Generator, minutes: float, going: Ints) -> Floats:
        expected = np.full(len(going), a_minute * minutes)
        return ceiling_ratios(factors, expected, rng.poisson(expected * ratios[going]).astype(float))

    return remaining(_Bets.of(evidence.books.safe, prior, level(test.alpha_safe), paid).later)


# -- latencies --------------------------------------------------------------------------------------------------------


def seen_of_latency(test: LatencyTest, evidence: LatencyEvidence, ratio: float | None) -> Seen:
    """Of the means of the latencies, or of their log-middles without sums."""
    matched = evidence.matched
    if ratio is None or not matched.weight:
        return Seen(1.0, math.inf, 1.0, test.margin)
    unit = matched.control / matched.weight if test.sums else 1.0
    return Seen(ratio, math.sqrt(latency.spread(test, evidence) / matched.weight) / unit, 1.0, test.margin)


def latency_left(test: LatencyTest, evidence: LatencyEvidence, traffic: LatencyTraffic, seen: Seen) -> Minutes:
    """Of latencies; none before there are as many as the gate asks for."""
    ratios = seen.ratios
    # In between the growth of a bet is all but linear in the ratio.
    known = np.quantile(ratios, [0.0, 0.5, 1.0])
    paces = [latency_pace(traffic, float(ratio)) for ratio in known]
    part = np.interp(ratios, known, [0.0, 1.0, 2.0])[:, None]
    growths = np.stack([pace.safe_growth for pace in paces])
    below = np.minimum(part.astype(int), 1)[:, 0]
    growth = growths[below] + (part - below[:, None]) * (growths[below + 1] - growths[below])
    pull = paces[1].safe_pull

    def paid(rng: np.random.Generator, minutes: float, going: Ints) -> Floats:
        chance = math.sqrt(minutes) * rng.standard_normal((len(going), 1))
        return np.asarray(growth[going] * minutes + chance * pull)

    book = _Bets.of(evidence.books.safe, safe_prior(test.margin), level(test.alpha_safe), paid)
    if not test.sums:
        return _with_sample(remaining(book.later), latency.SMALLEST_SAMPLE - evidence.treatment, traffic)
    matched = evidence.matched
    of_means = MeanTest(
        Direction.INCREASE, means.LARGEST, test.margin, alpha_safe=test.alpha_safe, dispersion=test.dispersion
    )
    mean = matched.control / matched.weight if matched.weight else float(evidence.past.mean)
    by_means = _Courses(of_means, matched, latency.spread(test, evidence), mean, ratios, traffic)

    def later(rng: np.random.Generator, minutes: float, going: Ints) -> Floats:
        # One chance moves both.
        chance = int(rng.integers(2**62))
        lacking = [one.later(np.random.default_rng(chance), minutes, going) for one in (book, by_means)]
        return np.maximum(*lacking)

    return _with_sample(remaining(later), means.SMALLEST_SAMPLE - matched.units, traffic)


# -- means ------------------------------------------------------------------------------------------------------------


def seen_of_mean(test: MeanTest, evidence: MeanEvidence) -> Seen:
    """Of the arms compared within each interval."""
    matched = evidence.matched
    if matched.control <= 0:
        return Seen(1.0, math.inf, 1.0, test.safe_ratio)
    noise = means.spread(test, evidence.control, evidence.treatment) * (matched.treatment_noise + matched.control_noise)
    return Seen(matched.treatment / matched.control, math.sqrt(noise) / matched.control, 1.0, test.safe_ratio)


def mean_left(test: MeanTest, evidence: MeanEvidence, traffic: MeanTraffic, seen: Seen) -> Minutes:
    """Of a mean; none before there are as many units as the gate asks for."""
    spread = max(means.spread(test, evidence.control, evidence.treatment), test.dispersion * traffic.spread**2)
    courses = _Courses(test, evidence.matched, spread, traffic.amounts.mean, seen.ratios, traffic)
    return _with_sample(remaining(courses.later), means.SMALLEST_SAMPLE - evidence.matched.units, traffic)


# -- both -------------------------------------------------------------------------------------------------------------


class _Courses:
    """The arms' matched sums in each course; `spread` is φ times the variance of a value, `mean` that of control's."""

    def __init__(
        self,
        test: MeanTest,
        matched: Matched,
        spread: float,
        mean: float,
        ratios: Floats,
        traffic: MeanTraffic | LatencyTraffic,
    ) -> None:
        sign, null, share = (1 if test.direction is Direction.INCREASE else -1), test.safe_ratio, traffic.share
        self.test, self.weight, self.spent = test, matched.weight, 0.0
        self.weight_a_minute = traffic.requests_per_minute * share * (1 - share)
        self.noise = spread * (matched.treatment_noise + null**2 * matched.control_noise)
        self.noise_a_minute = spread * self.weight_a_minute * ((1 - share) + null**2 * share)
        self.ahead = np.full(DRAWS, sign * (null * matched.control - matched.treatment))
        self.pull, self.worse = sign * (null - ratios) * mean * self.weight_a_minute, sign

    def later(self, rng: np.random.Generator, minutes: float, going: Ints) -> Floats:
        """See `Later`; chance above 0 raises treatment's mean."""
        self.spent += minutes
        chance = rng.standard_normal(len(going)) * math.sqrt(self.noise_a_minute * minutes)
        self.ahead[going] += self.pull[going] * minutes - self.worse * chance
        noise = math.sqrt(max(self.noise + self.noise_a_minute * self.spent, LEAST_DOUBT**2))
        weight, needed = self.weight + self.weight_a_minute * self.spent, level(self.test.alpha_safe)
        information = means.relative_information(weight, self.test.dispersion, self.test.tightest_at)
        # All courses have the same information, and so the same distance that is needed.
        enough = first(lambda z: means.log_e_value(z, information) >= needed, 0.0)
        return np.asarray(enough - self.ahead[going] / noise)


@dataclass
class _Bets:
    """The gate's bets in each course, (DRAWS, G), with their reserves and clocks (DRAWS,), and what time pays them."""

    prior: Prior
    started: Floats
    reserve: Floats
    clock: Floats
    needed: float
    paid: Callable[[np.random.Generator, float, Ints], Floats]

    @classmethod
    def of(
        cls,
        book: Wealth,
        prior: Prior,
        needed: float,
        paid: Callable[[np.random.Generator, float, Ints], Floats],
    ) -> "_Bets":
        """All where the gate's book has them."""
        started, reserve = book.arrays
        return cls(
            prior, np.tile(started, (DRAWS, 1)), np.full(DRAWS, reserve), np.full(DRAWS, book.clock), needed, paid
        )

    def later(self, rng: np.random.Generator, minutes: float, going: Ints) -> Floats:
        """See `Later`."""
        if minutes:
            before = self.started[going], self.reserve[going], self.clock[going]
            after = advance(self.prior, *before, self.paid(rng, minutes, going), np.array(minutes))
            self.started[going], self.reserve[going], self.clock[going] = after
        return np.asarray(self.needed - log_total(self.started[going], self.reserve[going]))


def _with_sample(left: Minutes, lacking: float, traffic: MeanTraffic | LatencyTraffic) -> Minutes:
    """No sooner than treatment has the units or requests that it is `lacking`; they come by chance, too."""
    lacking, a_minute = max(lacking, 0.0), traffic.requests_per_minute * traffic.share
    unlucky = lacking + NINTH_DECILE * math.sqrt(lacking)
    return Minutes(max(left.median, lacking / a_minute), max(left.p90, unlucky / a_minute))
