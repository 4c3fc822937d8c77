"""What a stage can prove, how long it takes, what it catches: the planner's arithmetic.

How long a stage must be comes of closed forms (`tools.gates.workload`, `tools.gates.amounts`), which know of harms of
about the margin's size and are asked many times while planning. When any harm is caught comes of courses of the gate's
own walk (`tools.gates.catching`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from tools.gates.amounts import Workload
from tools.gates.catching import FEW_COURSES, times_to_catch
from tools.gates.judging import Direction, percent
from tools.gates.workload import LARGEST_FACTOR, BadQuestion, Minutes, Traffic, information, level

__all__ = [
    "LARGEST_FACTOR",
    "BadQuestion",
    "Minutes",
    "StageLength",
    "Traffic",
    "Unprovable",
    "Workload",
    "information",
    "level",
    "minimum_sample",
    "smallest_harm",
    "stage_length",
    "time_to_catch",
    "time_to_prove",
]

LARGEST_SHARE_PERCENT = 90
# In minutes; nobody waits longer.
A_YEAR = 366 * 24 * 60
# How near the smallest harm is looked for: a part of what it adds.
NEAR = 0.03
# What is tried next when a harm is caught too rarely, times what it adds.
FURTHER = 1.3


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
class Question:
    """What a stage is to do: catch a `harm` at the level `alpha`, and prove the `margin`."""

    direction: Direction
    margin: float
    harm: float
    alpha: float

    def needed(self, traffic: Workload) -> StageLength:
        """How long that takes, by the closed forms."""
        data = traffic.caught(_worse(self.direction, self.harm), self.alpha)
        catch, prove = _seen(data, 1.0), time_to_prove(traffic, self.direction, self.margin)
        minutes = math.ceil(max(catch.p90, prove.p90))
        return StageLength(minutes, catch, prove, math.ceil(minutes * traffic.requests_per_minute * traffic.share))


@dataclass(frozen=True)
class Unprovable:
    """The stage can't be proven with this traffic in its time; each offer alone would do, None where it can't.

    What would do is only looked for when somebody asks; all of it takes some tenths of a second.
    """

    traffic: Workload
    question: Question
    needed: StageLength
    budget_minutes: float

    @property
    def longer_minutes(self) -> int:
        """The length that would do."""
        return self.needed.minutes

    @cached_property
    def larger_share(self) -> float | None:
        """The fraction that would do."""

        def enough(percent: int) -> bool:
            return self.question.needed(self.traffic.sharing(percent / 100)).minutes <= self.budget_minutes

        # The time falls with the share up to about a half, then rises.
        low = math.floor(self.traffic.share * 100)
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

    @cached_property
    def wider_margin(self) -> float | None:
        """The factor that would do."""
        if self.needed.catch.p90 > self.budget_minutes:
            return None
        traffic, direction = self.traffic, self.question.direction
        return _smallest(
            lambda margin: time_to_prove(traffic, direction, margin).p90 <= self.budget_minutes, LARGEST_FACTOR
        )

    @cached_property
    def smallest_harm(self) -> float | None:
        """The smallest factor that is caught in time as things are."""
        return smallest_harm(self.traffic, self.question.direction, self.budget_minutes, alpha=self.question.alpha)

    @property
    def why(self) -> str:
        """All of it in a sentence."""
        longer = "over a year" if self.longer_minutes > A_YEAR else f"{self.longer_minutes:,} min"
        offers = [] if self.longer_minutes > A_YEAR else [f"give the stage {longer}"]
        if self.larger_share is not None:
            offers.append(f"raise treatment's share to {percent(self.larger_share)}")
        if self.wider_margin is not None:
            offers.append(f"widen the margin to ×{self.wider_margin:g}")
        caught = self.smallest_harm
        would_do = f"Either {', or '.join(offers)}" if offers else "Only more traffic would do"
        within = "no harm is caught" if caught is None else f"harms from ×{caught:g} are caught"
        return (
            f"This can't be proven with this traffic: {percent(self.traffic.share)} of "
            f"{self.traffic.requests_per_minute:,.4g} requests a minute need {longer}, and "
            f"{self.budget_minutes:,.4g} min are allowed, in which {within}. {would_do}."
        )


def time_to_catch(
    traffic: Workload, direction: Direction, harm: float, *, alpha: float = 0.02, check_minutes: float = 1.0
) -> Minutes:
    """How long until a harm present from the start is proven; `harm` > 1 is how many times worse treatment is.

    The bets are those of a gate that is held to the traffic's margin. It takes a tenth of a second, and more the
    longer the answer is. Raises BadQuestion.
    """
    _check_factor("harm", harm)
    ratio = _worse(direction, harm)
    traffic.check(ratio)
    level(alpha)
    return times_to_catch(traffic, direction, ratio, alpha, check_minutes)


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

    In hundredths, below 1.2 in thousandths. As `time_to_catch`; it takes up to half a second. Raises BadQuestion.
    """
    _check_minutes(minutes)
    level(alpha)
    largest = math.floor(traffic.largest_harm(direction) * 100) / 100

    def enough(harm: float) -> bool:
        ratio = _worse(direction, harm)
        caught = times_to_catch(traffic, direction, ratio, alpha, patience=minutes, courses=FEW_COURSES)
        return caught.p90 <= minutes

    if largest <= 1 or not enough(largest):
        return None
    # From about where the closed form has it, outwards and then back.
    guess = _smallest(lambda harm: _seen(traffic.caught(_worse(direction, harm), alpha), 1.0).p90 <= minutes, largest)
    low, high = 1.0, guess or largest
    while high < largest and not enough(high):
        low, high = high, min(_rounded(1 + FURTHER * (high - 1)), largest)
    while low == 1.0 and (less := _rounded(1 + (high - 1) / FURTHER)) < high:
        low, high = (1.0, less) if enough(less) else (less, high)
    while low < (middle := _rounded((low + high) / 2)) < high and high - low > NEAR * (high - 1):
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _rounded(factor: float) -> float:
    """Up to a hundredth, below 1.2 to a thousandth."""
    digits = 2 if factor >= 1.2 else 3
    parts = 10.0**digits
    return math.ceil(factor * parts - 1e-6) / parts


def minimum_sample(traffic: Workload, direction: Direction, margin: float, *, alpha: float = 0.05) -> int:
    """Treatment exposures after which the evidence for a treatment equal to control suffices in half of the rollouts.

    A proof on fewer is a lucky one. Raises BadQuestion.
    """
    _check_factor("margin", margin)
    return traffic.sample(_worse(direction, margin), alpha)


def stage_length(
    traffic: Workload, direction: Direction, *, margin: float, harm: float, budget_minutes: float, alpha: float = 0.02
) -> StageLength | Unprovable:
    """How long a stage must be to catch `harm` and to prove `margin`, or what to change when `budget_minutes` is less.

    `alpha` is the level at which a harm is caught, which is of about the margin's size. Raises BadQuestion.
    """
    _check_minutes(budget_minutes)
    _check_factor("harm", harm)
    held, question = traffic.held_to(margin), Question(direction, margin, harm, alpha)
    needed = question.needed(held)
    return needed if needed.minutes <= budget_minutes else Unprovable(held, question, needed, budget_minutes)


def _smallest(enough: Callable[[float], bool], largest: float) -> float | None:
    """The smallest factor in (1, `largest`] that is `enough`, as `_rounded`; larger ones must be too."""
    low, high = 1.0, largest
    if not enough(high):
        return None
    while low < (middle := _rounded((low + high) / 2)) < high:
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _seen(data: Minutes, check_minutes: float) -> Minutes:
    """Counted until the check that sees the data."""
    return Minutes(data.median + check_minutes / 2, data.p90 + check_minutes / 2)


def _worse(direction: Direction, factor: float) -> float:
    return factor if direction is Direction.INCREASE else 1 / factor


def _check_factor(name: str, factor: float) -> None:
    if not (1.001 <= factor <= LARGEST_FACTOR):
        raise BadQuestion(
            f"The {name} must be a factor between 1.001 and {LARGEST_FACTOR:g} (2 is twice), not {factor}."
        )


def _check_minutes(minutes: float) -> None:
    if not (0 < minutes < math.inf):
        raise BadQuestion(f"The time must be above 0 minutes, not {minutes}.")
