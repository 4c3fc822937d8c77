"""The port to a metric source: one question (this metric, per variant, over this window), one answer."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable

from tools.errors import ConfigurationError, InvalidInput, NotFound, Unavailable


class UnknownMetric(NotFound):
    """The catalogue has no metric of that name."""


class BadMetricAnswer(InvalidInput):
    """The source answered with something that can't be a count, a sum or a time; the message names the column."""


class MetricSourceUnavailable(Unavailable):
    """The metric source did not answer in time, or refused."""


class TooManyUnits(BadMetricAnswer):
    """More units came in one window than are looked at one by one."""


class BadSource(ConfigurationError):
    """A metric source can't be made as it is described: the field that is wrong, and what would be right."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` (inclusive) to `end` (exclusive), both timezone-aware."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise InvalidInput(f"The window ends ({self.end:%H:%M:%S}) before it starts ({self.start:%H:%M:%S}).")


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """What is asked: a metric by its name in the catalogue, for one flag's variants, over a window.

    `variants` are the flag's, by whose names an answer is told apart also where the source spells them otherwise.
    """

    metric: str
    flag: str
    environment: str
    window: Window
    variants: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Sample:
    """One variant's numbers in a window: units seen, those with the event, and the value's sums and histogram.

    `buckets` are (upper edge in the metric's unit, count in the bucket); empty for metrics without a histogram.
    `segments` are (label, exposures) of what the exposures are made of, None for those without; empty but for a mix.
    """

    exposures: int
    events: int = 0
    total: float = 0.0
    total_squares: float = 0.0
    buckets: tuple[tuple[float, int], ...] = ()
    segments: tuple[tuple[str | None, int], ...] = ()


def together(samples: Iterable[Sample]) -> Sample:
    """All of them as one: of several variants, or of windows that do not overlap."""
    found = list(samples)
    buckets = dict[float, int]()
    for edge, count in (pair for sample in found for pair in sample.buckets):
        buckets[edge] = buckets.get(edge, 0) + count
    segments = dict[str | None, int]()
    for label, count in (pair for sample in found for pair in sample.segments):
        segments[label] = segments.get(label, 0) + count
    return Sample(
        sum(sample.exposures for sample in found),
        sum(sample.events for sample in found),
        math.fsum(sample.total for sample in found),
        math.fsum(sample.total_squares for sample in found),
        tuple(sorted(buckets.items())),
        tuple(sorted(segments.items(), key=lambda pair: str(pair[0]))),
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """A source's answer. `by_variant` has a key for every label found, None for rows with no variant at all.

    `query` is the text that was run with its parameters, `newest` the time of the newest sample seen.
    """

    by_variant: Mapping[str | None, Sample]
    query: str
    newest: datetime | None
    raw: Any = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class UnitSample:
    """One unit's numbers in a window, as `Sample`'s.

    `unit` is the first 64 bits of the SHA-256 of its id, as hex digits: who it is does not leave the source. None: of
    units that are not told apart.
    """

    unit: str | None
    variant: str | None
    exposures: int
    events: int = 0
    total: float = 0.0
    total_squares: float = 0.0

    @property
    def sample(self) -> Sample:
        """Without whose they are."""
        return Sample(self.exposures, self.events, self.total, self.total_squares)


class MetricSource(Protocol):
    """A metric source. Every call is bounded in time and reads only."""

    async def read(self, query: MetricQuery) -> Reading:
        """The metric over the window. Raises UnknownMetric, BadMetricAnswer, MetricSourceUnavailable."""
        ...

    async def check(self) -> None:
        """Return when the source can be used. Raises MetricSourceUnavailable saying what to do."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class UnitSource(Protocol):
    """A metric source that can also say whose the numbers are, for metrics that have a query for it."""

    async def read_units(self, query: MetricQuery) -> tuple[UnitSample, ...]:
        """The metric over the window, unit by unit.

        Raises UnknownMetric, BadMetricAnswer (TooManyUnits among others), MetricSourceUnavailable.
        """
        ...


@runtime_checkable
class BatchSource(Protocol):
    """A metric source that answers many questions by one of its own, where they differ in the flag alone.

    `grain` is the finest window worth asking about: a batch needs windows that are the same.
    """

    grain: timedelta

    async def read_together(self, queries: Sequence[MetricQuery]) -> Sequence[Reading | Exception]:
        """Each question's answer, or why there is none, in their order."""
        ...

    async def check(self) -> None:
        """As a metric source's."""
        ...


@runtime_checkable
class FoldingSource(Protocol):
    """A metric source that spells labels in its own way, such as in small letters, so that several may become one."""

    def fold(self, label: str) -> str:
        """The label as it is kept there. Raises BadMetricAnswer for one that would become nobody knows what."""
        ...


@runtime_checkable
class SlicedSource(Protocol):
    """A metric source that answers many windows side by side by fewer questions than there are windows."""

    async def read_slices(self, query: MetricQuery, step: timedelta) -> Sequence[Reading]:
        """The window's slices of `step`, each as `read` answers it; all may be moved back a little, together.

        Raises UnknownMetric, BadMetricAnswer, MetricSourceUnavailable.
        """
        ...


@dataclass(frozen=True, slots=True)
class Answering:
    """Whether a source answered what it was asked last, and when that was."""

    well: bool
    at: datetime


@runtime_checkable
class RestingSource(Protocol):
    """A metric source that may fall asleep, where `rests`, and costs what it is awake: it is not asked how it is."""

    rests: bool
    newest_answer: Answering | None

    async def read(self, query: MetricQuery) -> Reading:
        """As a metric source's."""
        ...


def slices_of(query: MetricQuery, step: timedelta) -> Iterator[MetricQuery]:
    """The question for each whole step of its window."""
    start = query.window.start
    while start + step <= query.window.end:
        yield replace(query, window=Window(start, start + step))
        start += step


@runtime_checkable
class SpokenSource(Protocol):
    """A metric source with a language in which one text is the whole question."""

    def expression(self, first: MetricQuery, *more: MetricQuery) -> str:
        """What the server is sent for these, which ask for one metric and window. Raises UnknownMetric."""
        ...
