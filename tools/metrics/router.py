"""All metrics behind one door: each is answered by the source that its definition names."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from tools.errors import SluiceError
from tools.metrics.base import (
    BadMetricAnswer,
    BatchSource,
    FoldingSource,
    MetricQuery,
    MetricSource,
    Reading,
    SlicedSource,
    UnitSample,
    UnitSource,
    Window,
    slices_of,
)
from tools.metrics.batching import Batching
from tools.metrics.catalogue import BadDefinition, Catalogue, MetricDefinition
from tools.observing import Work, working

AT_ONCE = 100
"""Slices in one question, so that others are answered in between."""


class Metrics:
    """A metric source made of several, `sources` by name.

    Raises BadDefinition when a metric names a source that is not there, or that can't answer it unit by unit though the
    metric has a query for that.
    """

    def __init__(self, catalogue: Catalogue, sources: Mapping[str, MetricSource]) -> None:
        for definition in catalogue:
            if definition.source not in sources:
                known = ", ".join(sorted(sources)) or "none"
                raise BadDefinition(
                    f"The metric {definition.name!r} names the source {definition.source!r}; known sources: {known}.",
                    metric=definition.name,
                    field="source",
                )
            if definition.unit_query is not None and not isinstance(sources[definition.source], UnitSource):
                raise BadDefinition(
                    f"The metric {definition.name!r} has a unit_query, which its source can't run; remove it.",
                    metric=definition.name,
                    field="unit_query",
                )
        self.catalogue = catalogue
        self.sources = dict(sources)
        self._folding = {name: one for name, one in sources.items() if isinstance(one, FoldingSource)}
        self._batching = {name: Batching(one) for name, one in sources.items() if isinstance(one, BatchSource)}

    async def read(self, query: MetricQuery) -> Reading:
        """The metric over the window. Raises UnknownMetric, BadMetricAnswer, MetricSourceUnavailable.

        BadMetricAnswer among others where the source can't tell the query's variants apart.
        """
        name = self.catalogue.get(query.metric).source
        names = self._names(name, query)
        with working(Work.METRIC_READ, of=name, about=query.metric):
            return _named(await (self._batching.get(name) or self.sources[name]).read(query), names)

    async def read_together(self, queries: Sequence[MetricQuery]) -> list[Reading | Exception]:
        """Each question's answer, or why there is none: what `read` raises."""
        # Of a tick's thousands, most were read ahead: those need no task each.
        found = [self._at_hand(query) for query in queries]
        asked = (self.read(query) for query, one in zip(queries, found, strict=True) if one is None)
        waited = iter(await asyncio.gather(*asked, return_exceptions=True))
        return [_excepting(next(waited)) if one is None else one for one in found]

    def _at_hand(self, query: MetricQuery) -> Reading | SluiceError | None:
        """What can be said without asking."""
        try:
            name = self.catalogue.get(query.metric).source
            names = self._names(name, query)
        except SluiceError as error:
            return error
        if (batching := self._batching.get(name)) is None or (found := batching.take(query)) is None:
            return None
        with working(Work.METRIC_READ, of=name, about=query.metric):
            return _named(found, names)

    async def read_slices(self, query: MetricQuery, step: timedelta) -> AsyncGenerator[Reading]:
        """The metric over each whole step of the window, one after the other. Raises what `read` does."""
        name = self.catalogue.get(query.metric).source
        source, slices, names = self.sources[name], list(slices_of(query, step)), self._names(name, query)
        if not isinstance(source, SlicedSource):
            for one in slices:
                yield await self.read(one)
            return
        for some in (slices[i : i + AT_ONCE] for i in range(0, len(slices), AT_ONCE)):
            whole = replace(query, window=Window(some[0].window.start, some[-1].window.end))
            with working(Work.METRIC_READ, of=name, about=query.metric):
                readings = await source.read_slices(whole, step)
            for reading in readings:
                yield _named(reading, names)

    async def read_units(self, query: MetricQuery) -> tuple[UnitSample, ...]:
        """The metric over the window, unit by unit, for a metric with a unit_query.

        Raises UnknownMetric, BadMetricAnswer (TooManyUnits among others), MetricSourceUnavailable.
        """
        source = self.sources[self.catalogue.get(query.metric).source]
        assert isinstance(source, UnitSource), "a metric with a unit_query has a source that can answer it"
        return await source.read_units(query)

    def define(self, metric: str) -> MetricDefinition:
        """What the catalogue says of the metric. Raises UnknownMetric."""
        return self.catalogue.get(metric)

    async def check(self) -> None:
        """Return when every source can be used. Raises MetricSourceUnavailable of the first that can't."""
        for source in self.sources.values():
            await source.check()

    async def close(self) -> None:
        """Let go of every source's connections."""
        for batching in self._batching.values():
            await batching.close()
        for source in self.sources.values():
            await source.close()

    def _names(self, source: str, query: MetricQuery) -> Mapping[str | None, str]:
        """The query's variants by what the source makes of their names; none where it keeps names as they are.

        Raises BadMetricAnswer where it can't tell them apart.
        """
        folding, names = self._folding.get(source), dict[str | None, str]()
        if folding is None:
            return names
        for variant in query.variants:
            kept = folding.fold(variant)
            if kept in names:
                raise BadMetricAnswer(
                    f"{query.metric} can't be read by variant: the variants {names[kept]!r} and {variant!r} of "
                    f"{query.flag} are both kept as {kept!r}: call one of them otherwise."
                )
            names[kept] = variant
        return names


def _excepting(found: Reading | BaseException) -> Reading | Exception:
    """An answer or an error; whoever is told to stop stops."""
    if isinstance(found, Reading | Exception):
        return found
    raise found


def _named(reading: Reading, names: Mapping[str | None, str]) -> Reading:
    """The answer by the variants' own names."""
    if not names:
        return reading
    return replace(reading, by_variant={names.get(label, label): one for label, one in reading.by_variant.items()})
