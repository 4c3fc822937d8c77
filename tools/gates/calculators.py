"""What a stage can prove, and how long it takes: the planner's arithmetic for count gates.

Evidence for the truth against a null grows, on average, by the information rate I, in nats a minute. A level α is
reached when ln 1/α nats and what the mixture and chance cost are in. With n_c and n_b requests a minute in treatment
and control, base rate p, true ratio r, null ratio δ₀ and dispersion φ,

    I = K·kl(θ, θ₀)/φ,    K = p·(n_c·r + n_b),    θ = n_c·r/(n_c·r + n_b),    θ₀ = n_c·δ₀/(n_c·δ₀ + n_b)

the smallest Kullback-Leibler rate over all unknown base rates, for Poisson events, which is what `tools.gates.counts`
attains. What is added to ln 1/α below was measured by simulating that test; the tests hold the answers to it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from tools.errors import InvalidInput
from tools.gates.judging import Direction, percent

LARGEST_FACTOR = 100.0
LARGEST_SHARE_PERCENT = 90

# Nats beyond ln 1/α: what the mixture costs, what one event overshoots (a part of the log of the effect), and chance.
HARM_MEDIAN, HARM_OVERSHOOT, HARM_P90 = 0.1, 0.6, 6.0
SAFE_MEDIAN, SAFE_P90 = -0.2, 3.5


class BadQuestion(InvalidInput):
    """A calculator can't answer this; the message says what it needs."""


@dataclass(frozen=True)
class Traffic:
    """What a stage has to work with.

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


@dataclass(frozen=True)
class Minutes:
    """When an answer is there: in half of the rollouts by `median`, in nine of ten by `p90`."""

    median: float
    p90: float


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
    treatment, control = traffic.share, 1 - traffic.share
    events = traffic.requests_per_minute * traffic.base_rate * (treatment * ratio + control)
    truth = treatment * ratio / (treatment * ratio + control)
    null = treatment * null_ratio / (treatment * null_ratio + control)
    divergence = truth * math.log(truth / null) + (1 - truth) * math.log((1 - truth) / (1 - null))
    return max(divergence, 0.0) * events / traffic.dispersion


def time_to_catch(
    traffic: Traffic, direction: Direction, harm: float, *, alpha: float = 0.02, check_minutes: float = 1.0
) -> Minutes:
    """How long until a harm present from the start is proven; `harm` > 1 is how many times worse treatment is.

    Raises BadQuestion.
    """
    _check_factor("harm", harm)
    _check_possible(traffic, direction, harm)
    rate = information(traffic, _worse(direction, harm))
    needed = _level(alpha)
    overshoot = HARM_OVERSHOOT * math.log(harm)
    return _minutes(needed + HARM_MEDIAN + overshoot, needed + HARM_P90, rate, check_minutes)


def time_to_prove(
    traffic: Traffic,
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
    needed = _level(alpha)
    return _minutes(needed + SAFE_MEDIAN, needed + SAFE_P90, information(traffic, truth, null), check_minutes)


def smallest_harm(traffic: Traffic, direction: Direction, minutes: float, *, alpha: float = 0.02) -> float | None:
    """The smallest factor that is caught within `minutes` in nine rollouts of ten, rounded up; None when none is.

    Raises BadQuestion.
    """
    _check_minutes(minutes)
    largest = LARGEST_FACTOR
    if direction is Direction.INCREASE:
        largest = min(largest, 1 / traffic.base_rate)
    return _smallest(lambda harm: time_to_catch(traffic, direction, harm, alpha=alpha).p90 <= minutes, largest)


def minimum_sample(traffic: Traffic, direction: Direction, margin: float, *, alpha: float = 0.05) -> int:
    """Treatment exposures after which the evidence for a treatment equal to control suffices on average.

    A proof on fewer is a lucky one. Raises BadQuestion.
    """
    _check_factor("margin", margin)
    per_exposure = information(traffic, 1.0, _worse(direction, margin)) / (traffic.requests_per_minute * traffic.share)
    return math.ceil(_level(alpha) / per_exposure)


def stage_length(
    traffic: Traffic, direction: Direction, *, margin: float, harm: float, budget_minutes: float
) -> StageLength | Unprovable:
    """How long a stage must be to catch `harm` and to prove `margin`, or what to change when `budget_minutes` is less.

    Raises BadQuestion.
    """
    _check_minutes(budget_minutes)
    needed = _needed(traffic, direction, margin, harm)
    if needed.minutes <= budget_minutes:
        return needed
    share = _larger_share(traffic, direction, margin, harm, budget_minutes)
    wider = _wider_margin(traffic, direction, needed, budget_minutes)
    caught = smallest_harm(traffic, direction, budget_minutes)
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
    traffic: Traffic,
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


def _needed(traffic: Traffic, direction: Direction, margin: float, harm: float) -> StageLength:
    catch, prove = time_to_catch(traffic, direction, harm), time_to_prove(traffic, direction, margin)
    minutes = math.ceil(max(catch.p90, prove.p90))
    return StageLength(minutes, catch, prove, math.ceil(minutes * traffic.requests_per_minute * traffic.share))


def _larger_share(
    traffic: Traffic, direction: Direction, margin: float, harm: float, budget_minutes: float
) -> float | None:
    for hundredths in range(math.floor(traffic.share * 100) + 1, LARGEST_SHARE_PERCENT + 1):
        if _needed(replace(traffic, share=hundredths / 100), direction, margin, harm).minutes <= budget_minutes:
            return hundredths / 100
    return None


def _wider_margin(traffic: Traffic, direction: Direction, needed: StageLength, budget_minutes: float) -> float | None:
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


def _minutes(median_nats: float, p90_nats: float, rate: float, check_minutes: float) -> Minutes:
    wait = check_minutes / 2
    return Minutes(median_nats / rate + wait, p90_nats / rate + wait)


def _worse(direction: Direction, factor: float) -> float:
    return factor if direction is Direction.INCREASE else 1 / factor


def _level(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise BadQuestion(f"The level must lie between 0 and 1, not {alpha}.")
    return -math.log(alpha)


def _check_factor(name: str, factor: float) -> None:
    if not (1.001 <= factor <= LARGEST_FACTOR):
        raise BadQuestion(
            f"The {name} must be a factor between 1.001 and {LARGEST_FACTOR:g} (2 is twice), not {factor}."
        )


def _check_possible(traffic: Traffic, direction: Direction, harm: float) -> None:
    if direction is Direction.INCREASE and traffic.base_rate * harm > 1:
        raise BadQuestion(f"A base rate of {traffic.base_rate:g} can't become {harm:g} times as high.")


def _check_minutes(minutes: float) -> None:
    if not (0 < minutes < math.inf):
        raise BadQuestion(f"The time must be above 0 minutes, not {minutes}.")
