"""What a stage can prove, and how long it takes: the planner's arithmetic, and that of count gates.

Evidence for the truth against a null grows, on average, by the information rate I, in nats a minute. A level α is
reached when ln 1/α nats and what the mixture and chance cost are in. With n_c and n_b requests a minute in treatment
and control, base rate p, true ratio r, null ratio δ₀ and dispersion φ,

    I = K·kl(θ, θ₀)/φ,    K = p·(n_c·r + n_b),    θ = n_c·r/(n_c·r + n_b),    θ₀ = n_c·δ₀/(n_c·δ₀ + n_b)

the smallest Kullback-Leibler rate over all unknown base rates, for Poisson events. Where events are common it is

    I = min_q [n_c·kl(p·r, δ₀·q) + n_b·kl(p, q)]/φ,    kl of Bernoulli events

Both are what `tools.gates.counts` attains, from whose code they come. What is added to ln 1/α below was measured by
simulating that test; the tests hold the answers to it. Means and latencies: `tools.gates.amounts`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from tools.errors import InvalidInput
from tools.gates.counts import COMMON, compare
from tools.gates.judging import Direction, percent

LARGEST_FACTOR = 100.0
LARGEST_SHARE_PERCENT = 90

# Requests of which the average evidence is taken: the gate takes an arm to have one at least.
MANY = 1e9
# Nats a minute below which an answer never comes.
SLOWEST = 1e-12
# Nats beyond ln 1/α: what the mixture costs, what one event overshoots (a part of the log of an increase), and chance,
# for half of the rollouts and for nine of ten. What chance adds goes with the unevenness, or its root.
HARM_MEDIAN, HARM_OVERSHOOT, HARM_CHANCE = 0.3, 0.23, 4.6
# Where events are common the gate's bets are not raised near the proof.
HARM_MEDIAN_OF_COMMON = 0.55
SAFE_MEDIAN, SAFE_MEDIAN_CHANCE, SAFE_CHANCE = -0.2, 0.6, 3.6


class BadQuestion(InvalidInput):
    """A calculator can't answer this; the message says what it needs."""


@dataclass(frozen=True)
class Minutes:
    """When an answer is there: in half of the rollouts by `median`, in nine of ten by `p90`."""

    median: float
    p90: float


class Workload(Protocol):
    """What a stage has to work with, whatever is measured, and when the gate that judges it has its answers."""

    @property
    def requests_per_minute(self) -> float:
        """Of both arms together, or units a minute where a unit is what is measured."""
        ...

    @property
    def share(self) -> float:
        """Treatment's part of them, above 0 and below 1."""
        ...

    def sharing(self, share: float) -> Self:
        """The same with another share."""
        ...

    def largest_harm(self, direction: Direction) -> float:
        """The largest factor by which treatment can be worse."""
        ...

    def caught(self, ratio: float, alpha: float) -> Minutes:
        """Minutes of data until treatment, `ratio` times control, is proven harmful at that level."""
        ...

    def proven(self, ratio: float, null: float, alpha: float) -> Minutes:
        """Minutes of data until treatment, `ratio` times control, is proven not to be `null` times it."""
        ...

    def sample(self, null: float, alpha: float) -> int:
        """Treatment's exposures after which the evidence for a treatment equal to control suffices on average."""
        ...


@dataclass(frozen=True)
class Traffic:
    """What a stage has to work with where events are counted.

    `requests_per_minute` of both arms together; `base_rate` control's events per request; `share` treatment's part of
    the requests; `dispersion` φ as `estimate_dispersion` gives it. Raises BadQuestion.
    """

    requests_per_minute: float
    base_rate: float
    share: float
    dispersion: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.requests_per_minute < math.inf):
            raise BadQuestion(f"Requests per minute must be above 0, not {self.requests_per_minute}.")
        if not (0 < self.base_rate < 1):
            raise BadQuestion(f"The base rate must lie between 0 and 1 events per request, not {self.base_rate}.")
        if not (0 < self.share < 1):
            raise BadQuestion(f"Treatment's share must lie between 0 and 1, leaving some control, not {self.share}.")
        if not (1 <= self.dispersion < math.inf):
            raise BadQuestion(f"The dispersion must be 1 or more, not {self.dispersion}.")

    def sharing(self, share: float) -> "Traffic":
        """The same with another share. Raises BadQuestion."""
        return replace(self, share=share)

    def largest_harm(self, direction: Direction) -> float:
        """A rate can't exceed 1."""
        return min(LARGEST_FACTOR, 1 / self.base_rate) if direction is Direction.INCREASE else LARGEST_FACTOR

    def caught(self, ratio: float, alpha: float) -> Minutes:
        """From the information rate. Raises BadQuestion."""
        if self.base_rate * ratio > 1:
            raise BadQuestion(f"A base rate of {self.base_rate:g} can't become {ratio:g} times as high.")
        rate, needed, beyond = max(information(self, ratio), SLOWEST), level(alpha), beyond_harm(self, ratio)
        return Minutes((needed + beyond.median) / rate, (needed + beyond.p90) / rate)

    def proven(self, ratio: float, null: float, alpha: float) -> Minutes:
        """From the information rate."""
        rate, needed, uneven = max(information(self, ratio, null), SLOWEST), level(alpha), unevenness(self, ratio, null)
        median = SAFE_MEDIAN + SAFE_MEDIAN_CHANCE * (uneven - 1)
        return Minutes((needed + median) / rate, (needed + SAFE_CHANCE * uneven) / rate)

    def sample(self, null: float, alpha: float) -> int:
        """From the information rate."""
        per_exposure = max(information(self, 1.0, null), SLOWEST) / (self.requests_per_minute * self.share)
        return math.ceil(level(alpha) / per_exposure)


@dataclass(frozen=True)
class StageLength:
    """A stage of `minutes` catches the harm and proves safety, each in nine rollouts of ten.

    `exposures` is how many requests treatment serves in that time.
    """

    minutes: int
    catch: Minutes
    prove: Minutes
    exposures: int


@dataclass(frozen=True)
class Unprovable:
    """The stage can't be proven with this traffic in its time; each offer alone would do, None where it can't.

    `larger_share` is a fraction, `longer_minutes` a length, `wider_margin` a factor; `smallest_harm` is the smallest
    factor that is caught in time as things are. `why` says all of it in a sentence.
    """

    why: str
    needed: StageLength
    budget_minutes: float
    larger_share: float | None
    longer_minutes: int
    wider_margin: float | None
    smallest_harm: float | None


def information(traffic: Traffic, ratio: float, null_ratio: float = 1.0) -> float:
    """Nats a minute by which the truth `ratio` speaks against `null_ratio` (both treatment's rate over control's)."""
    exposures = np.array(MANY * (1 - traffic.share)), np.array(MANY * traffic.share)
    events = exposures[0] * traffic.base_rate, exposures[1] * traffic.base_rate * ratio
    pooled = np.array((events[0] + events[1]) / MANY)
    log_lr, _ = compare(null_ratio, np.array([ratio / null_ratio]), pooled, exposures, events)
    return max(float(log_lr[0]), 0.0) / MANY * traffic.requests_per_minute / traffic.dispersion


def unevenness(traffic: Traffic, ratio: float, null_ratio: float = 1.0) -> float:
    """By how much the evidence varies: its variance over twice its mean, 1 for small effects whatever the traffic.

    More where each event of the smaller arm says much and rarely comes, less where it mostly is their absence that says
    it. Poisson events, for which neither traffic nor the dispersion matters.
    """
    hits, others, factor = traffic.share * ratio, 1 - traffic.share, ratio / null_ratio
    expected = traffic.share * null_ratio / (traffic.share * null_ratio + others)
    other = -math.log1p(expected * (factor - 1))
    hit = math.log(factor) + other
    mean = hits * hit + others * other
    return (hits * hit**2 + others * other**2) / (2 * mean) if mean > 0 else 1.0


def beyond_harm(traffic: Traffic, ratio: float) -> Minutes:
    """What a harm takes beyond ln 1/α, in nats instead of minutes."""
    median = HARM_MEDIAN_OF_COMMON if traffic.base_rate >= COMMON else HARM_MEDIAN
    median += HARM_OVERSHOOT * max(math.log(ratio), 0.0)
    return Minutes(median, median + HARM_CHANCE * math.sqrt(unevenness(traffic, ratio)))


def time_to_catch(
    traffic: Workload, direction: Direction, harm: float, *, alpha: float = 0.02, check_minutes: float = 1.0
) -> Minutes:
    """How long until a harm present from the start is proven; `harm` > 1 is how many times worse treatment is.

    Raises BadQuestion.
    """
    _check_factor("harm", harm)
    return _seen(traffic.caught(_worse(direction, harm), alpha), check_minutes)


def time_to_prove(
    traffic: Workload,
    direction: Direction,
    margin: float,
    *,
    truth: float = 1.0,
    alpha: float = 0.05,
    check_minutes: float = 1.0,
) -> Minutes:
    """How long until treatment is proven within the margin when it is `truth` times control's rate (1: no difference).

    Raises BadQuestion, also when `truth` is not within the margin.
    """
    _check_factor("margin", margin)
    null = _worse(direction, margin)
    if not 0 < truth < math.inf or (truth - null) * (1 - null) <= 0:
        raise BadQuestion(f"A treatment at ×{truth:g} of control is not within the margin ×{null:g}: nothing to prove.")
    return _seen(traffic.proven(truth, null, alpha), check_minutes)


def smallest_harm(traffic: Workload, direction: Direction, minutes: float, *, alpha: float = 0.02) -> float | None:
    """The smallest factor that is caught within `minutes` in nine rollouts of ten, rounded up; None when none is.

    Raises BadQuestion.
    """
    _check_minutes(minutes)
    largest = traffic.largest_harm(direction)
    return _smallest(lambda harm: time_to_catch(traffic, direction, harm, alpha=alpha).p90 <= minutes, largest)


def minimum_sample(traffic: Workload, direction: Direction, margin: float, *, alpha: float = 0.05) -> int:
    """Treatment exposures after which the evidence for a treatment equal to control suffices on average.

    A proof on fewer is a lucky one. Raises BadQuestion.
    """
    _check_factor("margin", margin)
    return traffic.sample(_worse(direction, margin), alpha)


def stage_length(
    traffic: Workload, direction: Direction, *, margin: float, harm: float, budget_minutes: float, alpha: float = 0.02
) -> StageLength | Unprovable:
    """How long a stage must be to catch `harm` and to prove `margin`, or what to change when `budget_minutes` is less.

    `alpha` is the level at which a harm is caught. Raises BadQuestion.
    """
    _check_minutes(budget_minutes)
    needed = _needed(traffic, direction, margin, harm, alpha)
    if needed.minutes <= budget_minutes:
        return needed
    share = _larger_share(traffic, direction, margin, harm, budget_minutes, alpha)
    wider = _wider_margin(traffic, direction, needed, budget_minutes)
    caught = smallest_harm(traffic, direction, budget_minutes, alpha=alpha)
    return Unprovable(
        why=_unprovable(traffic, needed, budget_minutes, share, wider, caught),
        needed=needed,
        budget_minutes=budget_minutes,
        larger_share=share,
        longer_minutes=needed.minutes,
        wider_margin=wider,
        smallest_harm=caught,
    )


def _unprovable(
    traffic: Workload,
    needed: StageLength,
    budget_minutes: float,
    share: float | None,
    wider: float | None,
    caught: float | None,
) -> str:
    offers = [f"give the stage {needed.minutes:,} min"]
    if share is not None:
        offers.append(f"raise treatment's share to {percent(share)}")
    if wider is not None:
        offers.append(f"widen the margin to ×{wider:g}")
    within = "no harm is caught" if caught is None else f"harms from ×{caught:g} are caught"
    return (
        f"This can't be proven with this traffic: {percent(traffic.share)} of {traffic.requests_per_minute:,.4g} "
        f"requests a minute need {needed.minutes:,} min, and {budget_minutes:,.4g} are allowed, in which {within}. "
        f"Either {', or '.join(offers)}."
    )


def _needed(traffic: Workload, direction: Direction, margin: float, harm: float, alpha: float) -> StageLength:
    catch, prove = time_to_catch(traffic, direction, harm, alpha=alpha), time_to_prove(traffic, direction, margin)
    minutes = math.ceil(max(catch.p90, prove.p90))
    return StageLength(minutes, catch, prove, math.ceil(minutes * traffic.requests_per_minute * traffic.share))


def _larger_share(
    traffic: Workload, direction: Direction, margin: float, harm: float, budget_minutes: float, alpha: float
) -> float | None:
    def enough(percent: int) -> bool:
        return _needed(traffic.sharing(percent / 100), direction, margin, harm, alpha).minutes <= budget_minutes

    # The time falls with the share up to about a half, then rises.
    low = math.floor(traffic.share * 100)
    high = next(
        (percent for percent in range(low // 10 * 10 + 10, LARGEST_SHARE_PERCENT + 1, 10) if enough(percent)), 0
    )
    if not high:
        return None
    low = max(low, high - 10)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high / 100


def _wider_margin(traffic: Workload, direction: Direction, needed: StageLength, budget_minutes: float) -> float | None:
    if needed.catch.p90 > budget_minutes:
        return None
    return _smallest(lambda margin: time_to_prove(traffic, direction, margin).p90 <= budget_minutes, LARGEST_FACTOR)


def _smallest(enough: Callable[[float], bool], largest: float) -> float | None:
    """The smallest factor in (1, `largest`] that is `enough`, rounded up to a hundredth; larger ones must be too."""
    low, high = 100, math.floor(largest * 100)
    if high <= low or not enough(high / 100):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle / 100) else (middle, high)
    return high / 100


def _seen(data: Minutes, check_minutes: float) -> Minutes:
    """Counted until the check that sees the data."""
    return Minutes(data.median + check_minutes / 2, data.p90 + check_minutes / 2)


def _worse(direction: Direction, factor: float) -> float:
    return factor if direction is Direction.INCREASE else 1 / factor


def level(alpha: float) -> float:
    """Nats of evidence that a level takes. Raises BadQuestion."""
    if not 0 < alpha < 1:
        raise BadQuestion(f"The level must lie between 0 and 1, not {alpha}.")
    return -math.log(alpha)


def _check_factor(name: str, factor: float) -> None:
    if not (1.001 <= factor <= LARGEST_FACTOR):
        raise BadQuestion(
            f"The {name} must be a factor between 1.001 and {LARGEST_FACTOR:g} (2 is twice), not {factor}."
        )


def _check_minutes(minutes: float) -> None:
    if not (0 < minutes < math.inf):
        raise BadQuestion(f"The time must be above 0 minutes, not {minutes}.")
