"""Metric sources by the name of their kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from tools.metrics.base import BadSource, MetricSource
from tools.metrics.catalogue import Catalogue
from tools.metrics.datadog.source import DatadogMetricSource
from tools.metrics.http_api import Access
from tools.metrics.influxdb.source import InfluxMetricSource
from tools.metrics.memory import MemoryMetricSource
from tools.metrics.newrelic.source import NewRelicMetricSource
from tools.metrics.prometheus.source import PrometheusMetricSource
from tools.metrics.sql.source import SqlMetricSource

NOWHERE = Access()
SERVER = frozenset({"url", "token", "token_file", "ca_file"})
ALWAYS = frozenset({"timeout"})


@dataclass(frozen=True)
class Kind:
    """How a kind of source is made, and which settings it has."""

    make: Callable[[Catalogue, Access], MetricSource]
    settings: frozenset[str]


def _sql(catalogue: Catalogue, access: Access) -> MetricSource:
    if access.url is None:
        raise BadSource("A metric source of type 'sql' needs the url of its database.", field="url")
    return SqlMetricSource(access.url, catalogue, timeout=access.timeout)


def _memory(catalogue: Catalogue, _access: Access) -> MetricSource:
    return MemoryMetricSource(catalogue)


def _prometheus(catalogue: Catalogue, access: Access) -> MetricSource:
    return PrometheusMetricSource(access, catalogue)


def _datadog(catalogue: Catalogue, access: Access) -> MetricSource:
    return DatadogMetricSource(access, catalogue)


def _newrelic(catalogue: Catalogue, access: Access) -> MetricSource:
    return NewRelicMetricSource(access, catalogue)


def _influxdb(catalogue: Catalogue, access: Access) -> MetricSource:
    return InfluxMetricSource(access, catalogue)


KINDS: Mapping[str, Kind] = {
    "sql": Kind(_sql, frozenset({"url"})),
    "prometheus": Kind(_prometheus, SERVER | {"translation_strategy"}),
    "datadog": Kind(_datadog, SERVER | {"site", "application_key", "application_key_file"}),
    "newrelic": Kind(_newrelic, SERVER | {"region", "account"}),
    "influxdb": Kind(_influxdb, SERVER | {"database", "retention"}),
    "memory": Kind(_memory, frozenset()),
}


def create_metric_source(kind: str, catalogue: Catalogue, access: Access = NOWHERE) -> MetricSource:
    """A source of that kind that answers `catalogue`. Raises BadSource (naming the known kinds) and BadDefinition."""
    if kind not in KINDS:
        raise BadSource(f"A metric source's type must be one of {', '.join(KINDS)}, not {kind!r}.", field="type")
    known = KINDS[kind].settings
    for field in (one.name for one in fields(access)):
        if field not in known | ALWAYS and getattr(access, field) is not None:
            has = ", ".join(sorted(known)) or "nothing to set"
            raise BadSource(f"A metric source of type {kind!r} has no {field}; it has {has}.", field=field)
    return KINDS[kind].make(catalogue, access)
