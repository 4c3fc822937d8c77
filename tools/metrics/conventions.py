"""Metrics as OpenTelemetry's semantic conventions have them: what a template fills in where a metric is silent. Pure.

Sources: opentelemetry.io/docs/specs/semconv/http/http-metrics (stable: the histogram, its unit, its edges, the status)
and …/registry/attributes/feature-flag (release candidate), whose attributes services are to add to their measurements.
What Prometheus calls them: github.com/prometheus/otlptranslator, and the setting otlp.translation_strategy.

SDKs export cumulative counts unless told otherwise (opentelemetry.io/docs/specs/otel/metrics/sdk_exporters/otlp).
Prometheus and InfluxDB keep them as they come, so that they are counted as counters; Datadog and New Relic take the
differences when they get them, so that there they are added up.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tools.metrics.catalogue import MetricKind

FLAG, VARIANT = "feature_flag.key", "feature_flag.result.variant"
ENVIRONMENT, STATUS = "deployment.environment.name", "http.response.status_code"
HTTP_SERVER = "http.server.request.duration"
EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The upper edges that the convention advises for it."""


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
class _Columns:
    """A histogram of requests in one source's language; without `buckets` it is not counted up to edges there."""

    variant: str
    exposures: str
    events: str
    buckets: str | None
    settle: str | None = None


Template = Callable[[TranslationStrategy], Mapping[str, _Columns]]


def _http_server(strategy: TranslationStrategy) -> Mapping[str, _Columns]:
    datadog = f"{HTTP_SERVER}{{{FLAG}:$flag, env:$environment"
    nrql = f"SELECT count({HTTP_SERVER}) FROM Metric WHERE {FLAG} = '$flag' AND {ENVIRONMENT} = '$environment'"  # noqa: S608
    influxql = (
        f'SELECT increase("count") FROM "{HTTP_SERVER}" '  # noqa: S608 - the values are the source's to fill in
        f"WHERE \"{FLAG}\" = '$flag' AND \"{ENVIRONMENT}\" = '$environment'"
    )
    return {
        "prometheus": _Columns(
            strategy.label(VARIANT),
            _series(strategy, "_count"),
            _series(strategy, "_count", f'"{strategy.label(STATUS)}"=~"5.."'),
            _series(strategy, "_bucket"),
        ),
        "datadog": _Columns(
            VARIANT, f"count:{datadog}}}", f"count:{datadog}, {STATUS}:5*}}", f"{datadog}}}", settle="60s"
        ),
        "newrelic": _Columns(VARIANT, nrql, f"{nrql} AND {STATUS} >= 500", None, settle="90s"),
        "influxdb": _Columns(VARIANT, influxql, f'{influxql} AND "{STATUS}" =~ /^5/', None, settle="20s"),
    }


TEMPLATES: Mapping[str, Template] = {"otel-http-server": _http_server}


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
    columns = TEMPLATES[name](strategy)
    if source not in columns:
        raise ValueError(
            f"has a template, which sources of the type {source!r} have none of: {', '.join(columns)} have"
        )
    parts = _parts(columns[source])
    if kind not in parts:
        raise ValueError(f"is a {kind}, which {name} has none of in {source}; it has {', '.join(parts)}")
    query = metric.get("query", {})
    both = {**parts[kind]["query"], **query} if isinstance(query, Mapping) else query
    return {**parts[kind], **metric, "query": both}


def _parts(columns: _Columns) -> dict[str, dict[str, Any]]:
    """What is filled in, by kind."""
    settle: dict[str, Any] = {} if columns.settle is None else {"settle": columns.settle}
    counted = {"variant": columns.variant, "exposures": columns.exposures}
    requests = {"unit": "requests", **settle}
    parts: dict[str, dict[str, Any]] = {
        MetricKind.RATIO: {"title": "Failed requests", **requests, "query": {**counted, "events": columns.events}},
        MetricKind.MIX: {"title": "Requests", **requests, "query": counted},
    }
    if columns.buckets is not None:
        query = {"variant": columns.variant, "buckets": columns.buckets}
        timed = {"title": "Latency of requests", "unit": "s", "buckets": EDGES_S, **settle}
        parts[MetricKind.LATENCY] = {**timed, "query": query}
    return parts


def _series(strategy: TranslationStrategy, part: str, *more: str) -> str:
    """A selector of the histogram's series, every name quoted."""
    name = f"{strategy.label(HTTP_SERVER)}{'_seconds' if strategy.has_suffixes else ''}{part}"
    open_ = [f'"{strategy.label(FLAG)}"="$flag"', f'"{strategy.label(ENVIRONMENT)}"="$environment"']
    return f'{{"{name}", {", ".join([*open_, *more])}}}'
