"""Metric sources by the name of their kind."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from tools.errors import ConfigurationError
from tools.metrics.base import MetricSource
from tools.metrics.catalogue import Catalogue
from tools.metrics.memory import MemoryMetricSource
from tools.metrics.sql import DEFAULT_TIMEOUT, SqlMetricSource

Factory = Callable[[Catalogue, str | None, timedelta], MetricSource]


def _sql(catalogue: Catalogue, url: str | None, timeout: timedelta) -> MetricSource:
    if url is None:
        raise ConfigurationError("A metric source of kind 'sql' needs the url of its database.")
    return SqlMetricSource(url, catalogue, timeout=timeout)


def _memory(catalogue: Catalogue, _url: str | None, _timeout: timedelta) -> MetricSource:
    return MemoryMetricSource(catalogue)


FACTORIES: Mapping[str, Factory] = {"sql": _sql, "memory": _memory}


def create_metric_source(
    kind: str, catalogue: Catalogue, *, url: str | None = None, timeout: timedelta = DEFAULT_TIMEOUT
) -> MetricSource:
    """A source of that kind that answers `catalogue`. Raises ConfigurationError naming the known kinds."""
    if kind not in FACTORIES:
        raise ConfigurationError(f"A metric source's kind must be one of {', '.join(FACTORIES)}, not {kind!r}.")
    return FACTORIES[kind](catalogue, url, timeout)
