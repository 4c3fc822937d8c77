"""Metric sources by the name of their kind."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from tools.metrics.base import BadSource, MetricSource
from tools.metrics.catalogue import Catalogue
from tools.metrics.memory import MemoryMetricSource
from tools.metrics.sql import DEFAULT_TIMEOUT, SqlMetricSource

Factory = Callable[[Catalogue, str | None, timedelta], MetricSource]


def _sql(catalogue: Catalogue, url: str | None, timeout: timedelta) -> MetricSource:
    if url is None:
        raise BadSource("A metric source of type 'sql' needs the url of its database.", field="url")
    return SqlMetricSource(url, catalogue, timeout=timeout)


def _memory(catalogue: Catalogue, _url: str | None, _timeout: timedelta) -> MetricSource:
    return MemoryMetricSource(catalogue)


FACTORIES: Mapping[str, Factory] = {"sql": _sql, "memory": _memory}


def create_metric_source(
    kind: str, catalogue: Catalogue, *, url: str | None = None, timeout: timedelta = DEFAULT_TIMEOUT
) -> MetricSource:
    """A source of that kind that answers `catalogue`. Raises BadSource (naming the known kinds) and BadDefinition."""
    if kind not in FACTORIES:
        raise BadSource(f"A metric source's type must be one of {', '.join(FACTORIES)}, not {kind!r}.", field="type")
    return FACTORIES[kind](catalogue, url, timeout)
