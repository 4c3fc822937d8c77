"""Since when does treatment do harm, if it does? What is said of a harm that began long after the first exposures.

The estimate of a change point by CUSUM (Page, 1954): the log likelihood ratio of "the margin away to the worse" against
"as control" is added up from interval to interval and begins anew at zero; the harm that goes on began where it last
did. No decision rests on it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from tools.gates.judging import Counts, Direction
from tools.gates.wealth import BadEvidence

HIGHEST = 50.0
"""The sum is kept below this many nats, so that the end of a harm is seen not long after it."""
WHOLE = 0.9
"""From this part of all exposures on, what was counted since is all there is."""


class Arm(Protocol):
    """What was counted of one arm."""

    @property
    def exposures(self) -> int: ...
    def __add__(self, other: Self, /) -> Self: ...
    def to_json(self) -> list[Any]: ...


A = TypeVar("A", bound=Arm)


@dataclass(frozen=True)
class Onset(Generic[A]):
    """The CUSUM in nats, and what control and treatment have counted since it was last zero: nothing where it is."""

    height: float = 0.0
    since: tuple[A, A] | None = None

    def after(self, step: float, control: A, treatment: A) -> "Onset[A]":
        """With one more interval, whose log likelihood ratio is `step`."""
        height = min(self.height + step, HIGHEST)
        if not height > 0:
            return NO_ONSET
        if self.since is None:
            return Onset(height, (control, treatment))
        return Onset(height, (self.since[0] + control, self.since[1] + treatment))

    def lately(self, exposures: int) -> tuple[A, A] | None:
        """Control and treatment since the harm began; None where there is none, or where it is of all `exposures`."""
        if self.since is None or not all(arm.exposures for arm in self.since):
            return None
        return None if sum(arm.exposures for arm in self.since) >= WHOLE * exposures else self.since

    def to_json(self) -> list[Any]:
        """A plain list that `json.dumps` takes and `from_json` reads back exactly."""
        return [self.height, *(arm.to_json() for arm in self.since or ())]

    @classmethod
    def from_json(cls, plain: Any, read: Callable[[Any], A]) -> Self:
        """What `to_json` wrote, with `read` for an arm. Raises BadEvidence, and what a damaged number raises."""
        first, *arms = plain
        height = float(first)
        if not 0 <= height <= HIGHEST:
            raise BadEvidence("Stored evidence holds a change point that is none; start new evidence.")
        if height == 0:
            return cls()
        control, treatment = map(read, arms)
        return cls(height, (control, treatment))


NO_ONSET: Onset[Any] = Onset()


def step_of_counts(direction: Direction, margin: float, control: Counts, treatment: Counts) -> float:
    """The log likelihood ratio of an interval of a rate."""
    if not control.exposures or not treatment.exposures:
        return 0.0
    events, exposures = control.events + treatment.events, control.exposures + treatment.exposures
    worse = margin if direction is Direction.INCREASE else 1 / margin
    share = treatment.exposures / exposures
    return treatment.events * math.log(worse) - events * math.log1p(share * (worse - 1))


def step_of_difference(difference: float, harm: float, variance: float) -> float:
    """The log likelihood ratio of a normal difference of the arms, which is `harm` where there is any."""
    return harm * (difference - harm / 2) / variance
