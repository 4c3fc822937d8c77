"""All metrics behind one door: each is answered by the source that its definition names."""

from collections.abc import Mapping

from tools.metrics.base import MetricQuery, MetricSource, Reading
from tools.metrics.catalogue import BadDefinition, Catalogue, MetricDefinition


class Metrics:
    """A metric source made of several, `sources` by name.

    Raises BadDefinition when a metric names a source that is not there.
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
        self.catalogue = catalogue
        self.sources = dict(sources)

    async def read(self, query: MetricQuery) -> Reading:
        """The metric over the window. Raises UnknownMetric, BadMetricAnswer, MetricSourceUnavailable."""
        return await self.sources[self.catalogue.get(query.metric).source].read(query)

    def define(self, metric: str) -> MetricDefinition:
        """What the catalogue says of the metric. Raises UnknownMetric."""
        return self.catalogue.get(metric)

    async def check(self) -> None:
        """Return when every source can be used. Raises MetricSourceUnavailable of the first that can't."""
        for source in self.sources.values():
            await source.check()

    async def close(self) -> None:
        """Let go of every source's connections."""
        for source in self.sources.values():
            await source.close()
