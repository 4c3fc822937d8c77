"""A plan as far as its gates go: which metrics guard it and what they did lately, and the stages it has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tools.gates.amounts import Amounts, Latencies, LatencyTraffic, MeanTraffic, Workload
from tools.gates.counts import CountTest
from tools.gates.judging import Direction
from tools.gates.workload import LARGEST_FACTOR, BadQuestion, Traffic


@dataclass(frozen=True)
class Watched:
    """A metric that guards the stages: its traffic, both arms together, what control did, and what it is held to.

    `seen` of control is the rate of a count, the Amounts of a mean, the Latencies of a latency; `requests_per_minute`
    are a mean's units. Raises BadQuestion.
    """

    name: str
    direction: Direction
    margin: float
    requests_per_minute: float
    seen: float | Amounts | Latencies
    dispersion: float = 1.0

    def __post_init__(self) -> None:
        self.traffic(0.5)
        if not 1.001 <= self.margin <= LARGEST_FACTOR:
            raise BadQuestion(f"The margin must be a factor between 1.001 and {LARGEST_FACTOR:g}, not {self.margin}.")

    def traffic(self, share: float) -> Workload:
        """What a stage of that share (a fraction) has to work with."""
        match self.seen:
            case Amounts() as amounts:
                return MeanTraffic(self.requests_per_minute, amounts, share, self.dispersion, self.margin)
            case Latencies() as latencies:
                return LatencyTraffic(
                    self.requests_per_minute, latencies.histogram, share, self.margin, self.dispersion
                )
            case rate:
                return Traffic(self.requests_per_minute, rate, share, self.dispersion, self.margin)

    @property
    def stands_alone(self) -> bool:
        """Whether it guards a stage that leaves nobody to compare with."""
        return isinstance(self.seen, float | int)

    @property
    def typical(self) -> float | None:
        """Control's rate or mean; None of latencies, which do not add up to anything that is lost."""
        match self.seen:
            case Amounts(mean=mean):
                return mean
            case Latencies():
                return None
            case rate:
                return rate

    def worse(self, harm: float) -> float:
        """Treatment's rate, mean or latency over control's when it is `harm` (≥ 1) times worse. Raises BadQuestion."""
        if not 1 <= harm <= LARGEST_FACTOR:
            raise BadQuestion(f"The harm must be a factor between 1 and {LARGEST_FACTOR:g}, not {harm}.")
        largest = self.traffic(0.5).largest_harm(self.direction)
        if harm > largest:
            what, why = ("base rate", "") if self.stands_alone else ("mean", ": the cap cuts it")
            raise BadQuestion(f"A {what} of {self.typical:g} can't become {harm:g} times as high{why}.")
        return harm if self.direction is Direction.INCREASE else 1 / harm


@dataclass(frozen=True)
class Step:
    """A stage: treatment's `share` (a fraction, 1 is everyone), how long it lasts at least and at most, in minutes.

    `min_samples` are the exposures that it needs, one for each watched metric or none at all. In `shadow` users still
    get control's answer. Raises BadQuestion.
    """

    share: float
    bake: float
    limit: float
    min_samples: tuple[int, ...] = ()
    shadow: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise BadQuestion(f"A stage's share must be above 0 and at most 1, not {self.share}.")
        if not 0 <= self.bake <= self.limit < math.inf:
            raise BadQuestion(f"A stage can't last at least {self.bake:g} and at most {self.limit:g} min.")

    @property
    def whole(self) -> bool:
        """Whether nobody is left to compare with."""
        return self.share >= 1 and not self.shadow

    @property
    def book(self) -> str:
        """Which stages carry their evidence on: those that ask the same question."""
        return "whole" if self.whole else "shadow" if self.shadow else "live"


@dataclass(frozen=True)
class Schedule:
    """A plan as far as its gates go: what guards, the stages, and how it is looked at. Times are in minutes.

    Every metric guards every stage, but a stage of everyone only if it stands alone. `sharing` is how many metrics
    share the levels of harm, where more than those watched do. Raises BadQuestion.
    """

    watched: tuple[Watched, ...]
    steps: tuple[Step, ...]
    burn_in: float = 10.0
    check_every: float = 0.25
    alpha_pause: float = CountTest.alpha_pause
    alpha_rollback: float = CountTest.alpha_rollback
    alpha_safe: float = CountTest.alpha_safe
    sharing: int = 0

    def __post_init__(self) -> None:
        if not self.watched or not self.steps:
            raise BadQuestion("A plan needs at least one stage and one metric that guards it.")
        if any(len(step.min_samples) not in (0, len(self.watched)) for step in self.steps):
            raise BadQuestion("A stage needs a smallest sample for each metric, or none.")
        if self.burn_in < 0 or not 0 < self.check_every < math.inf:
            raise BadQuestion("The burn-in must be 0 minutes or more, and the time between two checks above 0.")

    @property
    def weight(self) -> float:
        """Each metric's part of the levels of harm."""
        return 1 / max(self.sharing, len(self.watched))

    def of(self, metric: str) -> Watched:
        """The watched metric of that name. Raises BadQuestion."""
        found = next((one for one in self.watched if one.name == metric), None)
        if found is None:
            raise BadQuestion(f"{metric} guards no stage; {', '.join(one.name for one in self.watched)} do.")
        return found

    def guarding(self, step: Step) -> tuple[Watched, ...]:
        """What guards the stage."""
        return tuple(one for one in self.watched if one.stands_alone or not step.whole)

    def warming(self, index: int) -> float:
        """How much of the burn-in is left when a stage begins whose forerunners took their least time."""
        step = self.steps[index]
        before = sum(other.bake for other in self.steps[:index] if other.shadow is step.shadow)
        return max(self.burn_in - before, 0.0)


def counted(schedule: Schedule, minutes: Sequence[float], book: str) -> list[tuple[float, float]]:
    """Share and minutes beyond the burn-in of each of that book's stages, when the stages last so long."""
    spans, warming = list[tuple[float, float]](), schedule.burn_in
    for step, length in zip(schedule.steps, minutes, strict=True):
        if step.book == book and step.share < 1:
            spans.append((step.share, max(length - warming, 0.0)))
            warming = max(warming - length, 0.0)
    return spans
