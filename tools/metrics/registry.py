"""Metric sources by the name of their kind."""

from collections.abc import Callable, Mapping

from tools.metrics.base import BadSource, MetricSource
from tools.metrics.catalogue import Catalogue
from tools.metrics.http_api import Access
from tools.metrics.memory import MemoryMetricSource
from tools.metrics.prometheus import PrometheusMetricSource
from tools.metrics.sql import SqlMetricSource

Factory = Callable[[Catalogue, Access], MetricSource]
NOWHERE = Access()


def _sql(catalogue: Catalogue, access: Access) -> MetricSource:
    if access.url is None:
        raise BadSource("A metric source of type 'sql' needs the url of its database.", field="url")
    for field in ("token", "token_file", "ca_file"):
        if getattr(access, field) is not None:
            raise BadSource(f"A metric source of type 'sql' has no {field}; its url says all.", field=field)
    return SqlMetricSource(access.url, catalogue, timeout=access.timeout)


def _memory(catalogue: Catalogue, _access: Access) -> MetricSource:
    return MemoryMetricSource(catalogue)


def _prometheus(catalogue: Catalogue, access: Access) -> MetricSource:
    return PrometheusMetricSource(access, catalogue)


FACTORIES: Mapping[str, Factory] = {"sql": _sql, "prometheus": _prometheus, "memory": _memory}


def create_metric_source(kind: str, catalogue: Catalogue, access: Access = NOWHERE) -> MetricSource:
    """A source of that kind that answers `catalogue`. Raises BadSource (naming the known kinds) and BadDefinition."""
    if kind not in FACTORIES:
        raise BadSource(f"A metric source's type must be one of {', '.join(FACTORIES)}, not {kind!r}.", field="type")
    return FACTORIES[kind](catalogue, access)
