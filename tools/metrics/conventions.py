"""Metrics as OpenTelemetry's semantic conventions have them: what a template fills in where a metric is silent. Pure.

Sources: opentelemetry.io/docs/specs/semconv (1.44), of each histogram its unit and edges and what tells a failure:
http/http-metrics and db/database-metrics (stable), rpc/rpc-metrics (release candidate), messaging/messaging-metrics
(development); and registry/attributes/feature-flag (release candidate), whose attributes services are to add to their
measurements. Of flags themselves the conventions have events alone, and no metrics.
What Prometheus calls them: github.com/prometheus/otlptranslator, and the setting otlp.translation_strategy.

SDKs export cumulative counts unless told otherwise (opentelemetry.io/docs/specs/otel/metrics/sdk_exporters/otlp).
Prometheus and InfluxDB keep them as they come, so that they are counted as counters; Datadog and New Relic take the
differences when they get them, so that there they are added up.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tools.metrics.catalogue import MetricKind

FLAG, VARIANT = "feature_flag.key", "feature_flag.result.variant"
ENVIRONMENT = "deployment.environment.name"
EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The upper edges that the conventions advise, but for databases."""

DATABASE_EDGES_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)


class TranslationStrategy(StrEnum):
    """What a Prometheus makes of OpenTelemetry's names, under the names of its own setting."""

    UNDERSCORES = "UnderscoreEscapingWithSuffixes"
    UNDERSCORES_WITHOUT_SUFFIXES = "UnderscoreEscapingWithoutSuffixes"
    DOTS = "NoUTF8EscapingWithSuffixes"
    DOTS_WITHOUT_SUFFIXES = "NoTranslation"

    @property
    def has_suffixes(self) -> bool:
        """Whether names end in their unit."""
        return self in (TranslationStrategy.UNDERSCORES, TranslationStrategy.DOTS)

    def label(self, attribute: str) -> str:
        """What an attribute is called."""
        underscores = (TranslationStrategy.UNDERSCORES, TranslationStrategy.UNDERSCORES_WITHOUT_SUFFIXES)
        return re.sub(r"[^a-zA-Z0-9_]", "_", attribute) if self in underscores else attribute


@dataclass(frozen=True, slots=True)
class _Failure:
    """An attribute by which what failed is told, and its condition in each source's language."""

    attribute: str
    prometheus: str
    datadog: str
    nrql: str
    influxql: str


_SERVER_ERROR = _Failure("http.response.status_code", '=~"5.."', ":5*", ">= 500", "=~ /^5/")
_ANY_ERROR = _Failure("error.type", '!=""', ":*", "IS NOT NULL", "=~ /./")
"""Only what failed has the attribute; a client's failure may have no status at all."""


@dataclass(frozen=True, slots=True)
class _Histogram:
    """A convention's histogram of how long something took, in seconds; in words what of it is counted."""

    name: str
    unit: str
    counted: str
    failure: _Failure = _ANY_ERROR
    edges: tuple[float, ...] = EDGES_S

    @property
    def inside(self) -> str:
        """What is counted, within a title."""
        return f"{self.counted[0].lower()}{self.counted[1:]}"


TEMPLATES: Mapping[str, _Histogram] = {
    "otel-http-server": _Histogram("http.server.request.duration", "requests", "Requests", _SERVER_ERROR),
    "otel-http-client": _Histogram("http.client.request.duration", "requests", "Requests to others"),
    "otel-rpc-server": _Histogram("rpc.server.call.duration", "calls", "Calls"),
    "otel-rpc-client": _Histogram("rpc.client.call.duration", "calls", "Calls to others"),
    "otel-db-client": _Histogram(
        "db.client.operation.duration", "operations", "Database operations", edges=DATABASE_EDGES_S
    ),
    "otel-messaging-client": _Histogram("messaging.client.operation.duration", "operations", "Messaging operations"),
    "otel-messaging-process": _Histogram("messaging.process.duration", "messages", "Processing of messages"),
}


@dataclass(frozen=True, slots=True)
class _Columns:
    """A histogram in one source's language; without `buckets` it is not counted up to edges there."""

    variant: str
    exposures: str
    events: str
    buckets: str | None
    settle: str | None = None


def filled_in(
    metric: Mapping[str, Any], source: str, strategy: TranslationStrategy = TranslationStrategy.UNDERSCORES
) -> dict[str, Any]:
    """The metric's settings with what its template has and they do not say, for a source of that type.

    Raises ValueError, the rest of a sentence that begins with the metric, for a template that is not known or that has
    nothing of the metric's kind there.
    """
    name, kind = str(metric["template"]), str(metric.get("kind", MetricKind.RATIO))
    if name not in TEMPLATES:
        raise ValueError(f"has an unknown template {name!r}; there is {', '.join(TEMPLATES)}")
    histogram = TEMPLATES[name]
    columns = _columns(histogram, strategy)
    if source not in columns:
        raise ValueError(
            f"has a template, which sources of the type {source!r} have none of: {', '.join(columns)} have"
        )
    parts = _parts(histogram, columns[source])
    if kind not in parts:
        raise ValueError(f"is a {kind}, which {name} has none of in {source}; it has {', '.join(parts)}")
    query = metric.get("query", {})
    both = {**parts[kind]["query"], **query} if isinstance(query, Mapping) else query
    return {**parts[kind], **metric, "query": both}


def _columns(histogram: _Histogram, strategy: TranslationStrategy) -> Mapping[str, _Columns]:
    """What counts it, by the type of source."""
    name, failure = histogram.name, histogram.failure
    failed = f'"{strategy.label(failure.attribute)}"{failure.prometheus}'
    datadog = f"{name}{{{FLAG}:$flag, env:$environment"
    nrql = f"SELECT count({name}) FROM Metric WHERE {FLAG} = '$flag' AND {ENVIRONMENT} = '$environment'"  # noqa: S608
    influxql = (
        f'SELECT increase("count") FROM "{name}" '  # noqa: S608 - the values are the source's to fill in
        f"WHERE \"{FLAG}\" = '$flag' AND \"{ENVIRONMENT}\" = '$environment'"
    )
    return {
        "prometheus": _Columns(
            strategy.label(VARIANT),
            _series(name, strategy, "_count"),
            _series(name, strategy, "_count", failed),
            _series(name, strategy, "_bucket"),
        ),
        "datadog": _Columns(
            VARIANT,
            f"count:{datadog}}}",
            f"count:{datadog}, {failure.attribute}{failure.datadog}}}",
            f"{datadog}}}",
            settle="60s",
        ),
        "newrelic": _Columns(VARIANT, nrql, f"{nrql} AND {failure.attribute} {failure.nrql}", None, settle="90s"),
        "influxdb": _Columns(
            VARIANT, influxql, f'{influxql} AND "{failure.attribute}" {failure.influxql}', None, settle="20s"
        ),
    }


def _parts(histogram: _Histogram, columns: _Columns) -> dict[str, dict[str, Any]]:
    """What is filled in, by kind."""
    settle: dict[str, Any] = {} if columns.settle is None else {"settle": columns.settle}
    counted = {"variant": columns.variant, "exposures": columns.exposures}
    unit = {"unit": histogram.unit, **settle}
    events = {**counted, "events": columns.events}
    parts: dict[str, dict[str, Any]] = {
        MetricKind.RATIO: {"title": f"Failed {histogram.inside}", **unit, "query": events},
        MetricKind.MIX: {"title": histogram.counted, **unit, "query": counted},
    }
    if columns.buckets is not None:
        query = {"variant": columns.variant, "buckets": columns.buckets}
        timed = {"title": f"Latency of {histogram.inside}", "unit": "s", "buckets": histogram.edges, **settle}
        parts[MetricKind.LATENCY] = {**timed, "query": query}
    return parts


def _series(histogram: str, strategy: TranslationStrategy, part: str, *more: str) -> str:
    """A selector of the histogram's series, every name quoted."""
    name = f"{strategy.label(histogram)}{'_seconds' if strategy.has_suffixes else ''}{part}"
    open_ = [f'"{strategy.label(FLAG)}"="$flag"', f'"{strategy.label(ENVIRONMENT)}"="$environment"']
    return f'{{"{name}", {", ".join([*open_, *more])}}}'
