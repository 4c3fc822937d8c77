"""Metrics kept in memory: observations that tests and demonstrations add, answered by the same rules as any source."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tools.metrics.answer import reading_of, units_of
from tools.metrics.base import MetricQuery, MetricSourceUnavailable, Reading, UnitSample
from tools.metrics.catalogue import Catalogue, MetricDefinition, MetricKind, TimeFormat

COLUMNS: tuple[str, ...] = ("variant", "exposures", "events", "total", "total_squares", "newest")


@dataclass(frozen=True, slots=True)
class Observation:
    """What was counted for one variant at one moment (timezone-aware), of a latency in one bucket (its upper edge).

    `segment` is what they are, of a mix; `unit` is whose they are, if that is known.
    """

    variant: str | None
    at: datetime
    exposures: int
    events: int = 0
    total: float = 0.0
    total_squares: float = 0.0
    bucket: float | None = None
    unit: str | None = None
    segment: str | None = None


class MemoryMetricSource:
    """Answers the metrics of `definitions` from what was added. While `outage` is set, it answers nothing."""

    def __init__(self, definitions: Iterable[MetricDefinition]) -> None:
        self._catalogue = Catalogue(definitions)
        self._observations: dict[tuple[str, str, str], list[Observation]] = defaultdict(list)
        self.outage: str | None = None

    def add(self, metric: str, flag: str, environment: str, *observations: Observation) -> None:
        """Add observations of a metric. Raises UnknownMetric."""
        kept = self._observations[self._catalogue.get(metric).name, flag, environment]
        for one in observations:
            insort(kept, one, key=_moment)

    async def read(self, query: MetricQuery) -> Reading:
        """The metric over the window. Raises UnknownMetric, BadMetricAnswer, MetricSourceUnavailable."""
        definition = self._catalogue.get(query.metric)
        await self.check()
        groups = list(_groups(self._inside(query)))
        rows, columns = [_row(group)[:-1] for group in groups], COLUMNS
        if definition.kind is MetricKind.LATENCY:
            rows, columns = [_row(group) for group in groups], (*COLUMNS, "bucket")
        if definition.kind is MetricKind.MIX:
            rows = [(*_row(group)[:-1], group[0].segment) for group in groups]
            columns = (*COLUMNS, "segment")
        plain = definition.model_copy(update={"time_format": TimeFormat.DATETIME})
        return reading_of(plain, columns, rows, query=_shown(query))

    async def read_units(self, query: MetricQuery) -> tuple[UnitSample, ...]:
        """The metric over the window, unit by unit; those of nobody known are together.

        Raises UnknownMetric, BadMetricAnswer, MetricSourceUnavailable.
        """
        definition = self._catalogue.get(query.metric)
        await self.check()
        groups = defaultdict[tuple[str | None, str | None], list[Observation]](list)
        for one in self._inside(query):
            groups[one.variant, one.unit].append(one)
        rows = [(*_row(group)[:-2], unit) for (_, unit), group in groups.items()]
        return units_of(definition, (*COLUMNS[:-1], "unit"), rows)

    def _inside(self, query: MetricQuery) -> list[Observation]:
        seen = self._observations.get((query.metric, query.flag, query.environment), [])
        return seen[_first(seen, query.window.start) : _first(seen, query.window.end)]

    async def check(self) -> None:
        """Return when the source can be used. Raises MetricSourceUnavailable while there is an outage."""
        if self.outage is not None:
            raise MetricSourceUnavailable(self.outage)

    async def close(self) -> None:
        """Nothing is open."""


def _moment(one: Observation) -> datetime:
    return one.at


def _first(observations: list[Observation], moment: datetime) -> int:
    """Where those begin that are not before it."""
    return bisect_left(observations, moment, key=_moment)


def _groups(observations: Iterable[Observation]) -> Iterable[list[Observation]]:
    """Those of one variant, bucket and segment together, in the order of their first moments."""
    groups = defaultdict[tuple[str | None, float | None, str | None], list[Observation]](list)
    for one in observations:
        groups[one.variant, one.bucket, one.segment].append(one)
    return groups.values()


def _row(observations: list[Observation]) -> tuple[object, ...]:
    return (
        observations[0].variant,
        sum(one.exposures for one in observations),
        sum(one.events for one in observations),
        sum(one.total for one in observations),
        sum(one.total_squares for one in observations),
        max(one.at for one in observations),
        observations[0].bucket,
    )


def _shown(query: MetricQuery) -> str:
    window = f"{query.window.start.isoformat()} to {query.window.end.isoformat()}"
    return f"{query.metric} of {query.flag!r} in {query.environment!r} from {window}"
