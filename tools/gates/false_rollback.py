"""The chance that a harmless treatment is rolled back.

Guardrails share the gate's level as `tools.gates.combined` has it: it rolls back from Σ w·E ≥ 1/α, with w one over the
number of metrics that share it, so that P(false rollback) ≤ α for each question that is asked of them (Ville): while
there is a control, in shadow, and at 100 %. What is expected is less, because a plan ends: with P_δ for
the law under the effect δ, and E about 1/(α·w) when a guardrail reaches the level,

    P(false) = Σ_δ π(δ) · E_δ[1/E_τ; τ ≤ T] ≈ α·w · Σ_δ π(δ) · P_δ(τ ≤ T), summed over the guardrails

by a change of measure (Wald, 1945; Siegmund, "Sequential Analysis", 1985, ch. II), for the bets that are placed at
once. E overshoots the level, by a factor of exp(0.583·σ) where a look adds N(σ²/2, σ²) to its log (op. cit., ch. X).

For rates and latencies τ·I is taken to be lognormal with the median and the ninth decile that the calculators were
calibrated to, I being the Kullback-Leibler rate of δ, for latencies half the square of what a standard deviation pays.
The bets on rates are raised near the level, so that they overshoot it by next to nothing however long a look is; where
events are common they are not.
For means δ is half-normal in standard errors, and Z lies beyond what the level needs with the chance that the
calculators were calibrated to; later starts are mixtures of their own. Values that are skewed make that gate more
careful, too.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import NormalDist

import numpy as np

from tools.gates import calculators, means
from tools.gates.amounts import LATENCY_HARM, MEAN_HARM, LatencyTraffic, MeanTraffic, latency_pace
from tools.gates.calculators import Traffic
from tools.gates.counts import COMMON
from tools.gates.judging import BURN_IN_STAKE, OVERSHOOT, harm_prior
from tools.gates.latency import latency_prior
from tools.gates.schedule import Schedule, Watched, counted
from tools.gates.wealth import Floats, Prior

NORMAL = NormalDist()
NINTH_DECILE = NORMAL.inv_cdf(0.9)
# Equally likely sizes of an effect on a mean, in the half-normal mixture of its test.
SIZES = np.array([NORMAL.inv_cdf(0.5 + (step + 0.5) / 128) for step in range(64)])

# What overshooting leaves of rates, whose bets are kept to OVERSHOOT.
LEFT_OF_RATES = 1 / math.sqrt(OVERSHOOT)
# By how many standard deviations of a look a normal walk overshoots a level.
OVERSHOT = 0.583
# What of that was measured where events are common: the bet that wins is only a part of the money.
OVERSHOT_BY_COMMON = 0.65

Spans = Sequence[tuple[float, float]]
"""Share and minutes of each stage that is counted."""


@dataclass(frozen=True)
class Chance:
    """A probability: what holds for sure, and what is expected."""

    bound: float
    expected: float


def false_rollback(schedule: Schedule, minutes: Sequence[float]) -> Chance:
    """The chance that a harmless treatment is rolled back, when the stages last that many minutes each.

    At 100 % what is expected is nothing: there a harmless treatment is as far from the ceiling as the margin is wide.
    """
    books = {step.book for step in schedule.steps}
    bound = len(books) * schedule.alpha_rollback
    expected = sum(
        _false(schedule, one, counted(schedule, minutes, book))
        for book in sorted(books - {"whole"})
        for one in schedule.watched
    )
    return Chance(min(bound, 1.0), min(expected, bound, 1.0))


def _false(schedule: Schedule, one: Watched, spans: Spans) -> float:
    """α·w · Σ_δ π(δ)·P_δ(caught by the end); nothing is where no stage has a control."""
    if not spans:
        return 0.0
    alpha = schedule.alpha_rollback * schedule.weight
    match one.traffic(0.5):
        case Traffic():
            caught = _rate_caught(one, spans, -math.log(alpha), schedule.check_every)
        case MeanTraffic():
            caught = _mean_caught(one, spans, -math.log(alpha), schedule.check_every)
        case LatencyTraffic():
            caught = _latency_caught(one, spans, -math.log(alpha), schedule.check_every)
    return alpha * (1 - BURN_IN_STAKE) * caught


def _rate_caught(one: Watched, spans: Spans, level: float, look: float) -> float:
    prior = harm_prior(one.margin)
    nats = np.zeros(len(prior.factors))
    ratios = one.direction.away(prior.factors)
    for share, length in spans:
        traffic = one.traffic(share)
        assert isinstance(traffic, Traffic), "a rate's traffic"
        nats += length * np.array([calculators.information(traffic, float(ratio)) for ratio in ratios])
    longest, _ = max(spans, key=lambda span: span[1])
    typical = one.traffic(longest)
    assert isinstance(typical, Traffic), "a rate's traffic"
    beyond = [calculators.beyond_harm(typical, float(ratio)) for ratio in ratios]
    median, late = (level + np.array(each) for each in zip(*((nat.median, nat.p90) for nat in beyond), strict=True))
    raised = typical.base_rate < COMMON
    left = LEFT_OF_RATES if raised else _left(_a_look(nats, spans, look)) ** OVERSHOT_BY_COMMON
    return _of_bets(prior, nats, median, late, left)


def _latency_caught(one: Watched, spans: Spans, level: float, look: float) -> float:
    prior = latency_prior(one.margin)
    nats = np.zeros(len(prior.factors))
    for share, length in spans:
        traffic = one.traffic(share)
        assert isinstance(traffic, LatencyTraffic), "a latency's traffic"
        pace = latency_pace(traffic, 1.0)
        nats += length * np.concatenate([pace.shift_pull, pace.tail_pull]) ** 2 / 2
    median = np.full(len(nats), level + LATENCY_HARM[0])
    return _of_bets(prior, nats, median, level + LATENCY_HARM[1], _left(_a_look(nats, spans, look)))


def _a_look(nats: Floats, spans: Spans, look: float) -> Floats:
    """What one look brings of all these nats."""
    return np.asarray(nats / max(sum(length for _, length in spans), 1e-9) * look)


def _left(nats: Floats) -> Floats:
    """What overshooting leaves where a look brings so many nats (G,): their standard deviation is sqrt(2·nats)."""
    return np.asarray(np.exp(-OVERSHOT * np.sqrt(2 * nats)))


def _of_bets(
    prior: Prior, nats: Floats, median: Floats, ninth_decile: Floats | float, left: Floats | float = 1.0
) -> float:
    """With so much information for each bet (G,), of whose chances `left` is left."""
    spread = np.log(ninth_decile / median) / NINTH_DECILE
    deviations = np.log(np.maximum(nats, 1e-9) / median) / spread
    chances = np.array([NORMAL.cdf(float(deviation)) for deviation in deviations])
    return prior.at_once * float(np.exp(prior.log_weights) @ (left * chances))


def _mean_caught(one: Watched, spans: Spans, level: float, look: float) -> float:
    units = sum(one.requests_per_minute * share * length for share, length in spans)
    if units < means.SMALLEST_SAMPLE:
        return 0.0
    weight = sum(one.requests_per_minute * share * (1 - share) * length for share, length in spans)
    looks = max(sum(length for _, length in spans) / look, 1.0)
    total = 0.0
    for money, start in _starts(weight):
        r, a_look = (means.relative_information(w, one.dispersion) for w in (weight - start, weight / looks))
        total += money * _size_caught(r, level - math.log(money), a_look)
    return total


def _starts(weight: float) -> Iterator[tuple[float, float]]:
    """The money on each start until so many effective units are in, and when it was."""
    yield means.FROM_THE_START, 0.0
    for number in count():
        start = means.MeanTest.tightest_at / 2 * 2.0**number
        if start >= weight:
            return
        yield (1 - means.FROM_THE_START) / ((number + 1) * (number + 2)), start


def _size_caught(r: float, level: float, look: float) -> float:
    """With the relative information `r`, over all sizes of the effect."""
    # Where ln E reaches the level; Φ is 1 there.
    needed = math.sqrt(max(2 * (r + 1) / r * (level - math.log(2) + math.log1p(r) / 2), 0.0))
    early, late = MEAN_HARM
    beyond = (SIZES * math.sqrt(r) - needed - early) / ((late - early) / NINTH_DECILE)
    chances = np.array([NORMAL.cdf(float(deviation)) for deviation in beyond])
    return float(np.mean(_left(SIZES**2 * look / 2) * chances))
