"""What is asked of a backtest, and what it answers."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from tools.clock import in_words
from tools.errors import InvalidInput
from tools.gates import Direction, Minutes
from tools.metrics.catalogue import MetricKind

USUAL_HARMS = {
    MetricKind.RATIO: (1.5, 2.0, 5.0),
    MetricKind.LATENCY: (1.1, 1.25, 1.5),
    MetricKind.MEAN: (1.05, 1.1, 1.25),
}
"""By how much treatment is made worse where nobody says: rates and latencies are far from alike."""
TYPICAL = {MetricKind.RATIO: 2.0, MetricKind.LATENCY: 1.25, MetricKind.MEAN: 1.1}
"""What the summary speaks of, where it was replayed."""
ORDER = (MetricKind.RATIO, MetricKind.LATENCY, MetricKind.MEAN)
MOST_NAMED = 2
"""Of how many metrics the summary says how long each one's harm goes on."""
SEED = 14_000
DOUBT = 0.05
HALVINGS = 40


class NothingToReplay(InvalidInput):
    """A plan or a question that no history can answer."""


class Ending(StrEnum):
    """How a replay ends."""

    PROMOTED = "promoted"  # to the plan's end
    ROLLED_BACK = "rolled_back"
    ASKED = "asked"  # suspected, or not proven within a stage's limit: a person decides


class Dealt(StrEnum):
    """How a metric's history was dealt to the arms."""

    UNITS = "units"  # each user was put into an arm by hash, as the flag does
    COUNTS = "counts"  # counts were drawn, in lumps as large as the history's bursts


@dataclass(frozen=True)
class Asked:
    """How many replays without harm, and for each size of harm.

    `harms` are factors above 1, for all kinds of metrics; empty for none, None for the usual ones of each kind. Raises
    NothingToReplay.
    """

    replays: int = 200
    harms: tuple[float, ...] | None = None
    seed: int = SEED

    def __post_init__(self) -> None:
        if not 1 <= self.replays <= 10_000:
            raise NothingToReplay(f"There must be 1 to 10,000 replays, not {self.replays:,}.")
        if not all(1.001 <= harm <= 100 for harm in self.harms or ()):
            raise NothingToReplay("A harm is a factor between 1.001 and 100; 2 means twice as many events.")

    def harms_to(self, kind: MetricKind) -> tuple[float, ...]:
        """The factors by which metrics of that kind are made worse, the smallest first."""
        return tuple(sorted(USUAL_HARMS[kind] if self.harms is None else self.harms))


@dataclass(frozen=True)
class Hurt:
    """What a replay makes worse: metrics of one kind and direction, one in each replay, by a factor above 1."""

    kind: MetricKind
    direction: Direction
    metrics: tuple[str, ...]
    factor: float

    @property
    def sign(self) -> str:
        """`×2`, or `÷2` where less is harm."""
        return f"{'×' if self.direction is Direction.INCREASE else '÷'}{self.factor:g}"

    def to(self, metric: str) -> str:
        """The harm to that metric, in words for a sentence."""
        if self.kind is not MetricKind.RATIO or self.factor != 2:
            return f"{metric} {self.sign}"
        return f"{'a doubling' if self.direction is Direction.INCREASE else 'a halving'} of {metric}"


@dataclass(frozen=True)
class StageCatch:
    """How many were rolled back in a stage, and how long after its begin, in minutes; None when none was."""

    exposure: str
    caught: int
    minutes: Minutes | None


@dataclass(frozen=True)
class MetricCatch:
    """How many of the replays that hurt a metric were rolled back, and after how many minutes; None: none was.

    The rest is as in `Replayed`, of these replays.
    """

    metric: str
    replays: int
    caught: int
    minutes: Minutes | None
    asked: int = 0
    promoted: int = 0
    by_stage: tuple[StageCatch, ...] = ()
    curve: tuple[float, ...] = ()

    @property
    def slowness(self) -> tuple[bool, float]:
        """By what the slowest is found: what is mostly missed is slower than whatever is mostly caught."""
        return 2 * self.caught < self.replays, math.inf if self.minutes is None else self.minutes.median


@dataclass(frozen=True)
class Replayed:
    """What became of the replays with one harm (None: without).

    `minutes` are those from the start to the rollback, and `curve` is the part that is rolled back by each tenth of the
    longest of them. `by_metric` tells apart which of the metrics was hurt.
    """

    hurt: Hurt | None
    replays: int
    rolled_back: int
    asked: int
    promoted: int
    minutes: Minutes | None
    by_stage: tuple[StageCatch, ...]
    curve: tuple[float, ...]
    by_metric: tuple[MetricCatch, ...] = ()

    @property
    def at_most(self) -> float:
        """What the part that is rolled back does not exceed, with 95 % confidence (Clopper and Pearson, 1934).

        It is of more replays of the same history, and says nothing of other days.
        """
        if self.rolled_back == self.replays:
            return 1.0
        low, high = self.rolled_back / self.replays, 1.0
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._chance_of_so_few(middle) > DOUBT else (low, middle)
        return high

    def _chance_of_so_few(self, part: float) -> float:
        """That no more than these are rolled back, if `part` of all are."""
        trials = self.replays

        def log_chance(few: int) -> float:
            ways = math.lgamma(trials + 1) - math.lgamma(few + 1) - math.lgamma(trials - few + 1)
            return ways + few * math.log(part) + (trials - few) * math.log1p(-part)

        return sum(math.exp(log_chance(few)) for few in range(self.rolled_back + 1))


@dataclass(frozen=True)
class Source:
    """The history of a metric that was replayed, and how bursty it is, besides what the plan reckons with.

    `units` are the users that were told apart. `level` is events per request of a rate, the mean of amounts, and None
    of latencies.
    """

    metric: str
    kind: MetricKind
    dealt: Dealt
    units: int | None
    requests_per_minute: float
    level: float | None
    dispersion: float
    planned_dispersion: float
    silent: float


@dataclass(frozen=True)
class LeftOut:
    """A metric that guards the plan and could not be replayed, and why, in a sentence."""

    metric: str
    why: str


@dataclass(frozen=True)
class Report:
    """All of it: `span` is how long the history is, `looked_every` the time between two looks at a gate."""

    flag: str
    environment: str
    plan_sha256: str
    span: timedelta
    looked_every: timedelta
    sources: tuple[Source, ...]
    left_out: tuple[LeftOut, ...]
    harmless: Replayed
    harmful: tuple[Replayed, ...]

    @property
    def summary(self) -> str:
        """One line for the plan's card."""
        first = (
            f"Over the last {_spoken(self.span)} these gates would have rolled back {self.harmless.rolled_back} of "
            f"{self.harmless.replays:,} times"
        )
        rest = f" Not replayed: {', '.join(one.metric for one in self.left_out)}." if self.left_out else ""
        shown = min(self.harmful, key=_untypical, default=None)
        caught = "" if shown is None else _caught(shown)
        return f"{first}{caught}.{rest}"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, durations in seconds."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain | {"summary": self.summary}


def _untypical(one: Replayed) -> tuple[int, bool, float]:
    """How little the summary speaks of it: of rates first, of more before fewer, of what is nearest to the usual."""
    assert one.hurt is not None
    hurt = one.hurt
    return ORDER.index(hurt.kind), hurt.direction is Direction.DECREASE, abs(hurt.factor - TYPICAL[hurt.kind])


def _caught(one: Replayed) -> str:
    """What became of the harm, metric by metric, or where they are many of the slowest: never of all together."""
    assert one.hurt is not None
    found = sorted((catch for catch in one.by_metric if catch.replays), key=lambda catch: catch.slowness)
    missed = [catch.metric for catch in found if not catch.caught]
    if missed:
        more = f" and {len(missed) - MOST_NAMED} more" if len(missed) > MOST_NAMED else ""
        return f", and would not have caught {one.hurt.to(', '.join(missed[:MOST_NAMED]) + more)}"
    if len(found) <= MOST_NAMED:
        return f" and caught {' and '.join(f'{one.hurt.to(catch.metric)} {_when(catch)}' for catch in found)}"
    slowest = found[-1]
    return f" and caught {one.hurt.to(slowest.metric)}, the slowest of {len(found)} metrics, {_when(slowest)}"


def _when(catch: MetricCatch) -> str:
    """`in 6 min at 5 %`: half of those caught by then, and where most of them."""
    assert catch.minutes is not None
    where = max(catch.by_stage, key=lambda stage: stage.caught)
    part = "" if catch.caught == catch.replays else f" ({catch.caught:,} of {catch.replays:,} times)"
    return f"in {in_words(timedelta(minutes=max(1, round(catch.minutes.median))))} at {where.exposure}{part}"


def _spoken(span: timedelta) -> str:
    """`14 days`, `36 hours`, `90 minutes`."""
    for size, unit in ((timedelta(days=1), "days"), (timedelta(hours=1), "hours")):
        if span >= 2 * size:
            return f"{span / size:.3g} {unit}"
    return f"{span / timedelta(minutes=1):.0f} minutes"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value.total_seconds() if isinstance(value, timedelta) else value
