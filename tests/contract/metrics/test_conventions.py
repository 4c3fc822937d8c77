"""Templates of OpenTelemetry's conventions: what is filled in is what each source calls it, and counts it."""

import math
from datetime import timedelta
from typing import Any

import pytest

from bot.settings import Settings
from tests.contract.metrics.benches import ENVIRONMENT, FLAG, NOON
from tests.contract.metrics.fake_datadog import DatadogApi
from tests.contract.metrics.fake_influxdb import InfluxApi
from tests.contract.metrics.fake_newrelic import NerdGraph
from tests.contract.metrics.fake_prometheus import PrometheusApi
from tests.influxdb import DATABASE
from tests.prometheus import Prometheus, Series
from tools.metrics.base import MetricQuery, MetricSource, Reading, Sample, Window
from tools.metrics.catalogue import Catalogue
from tools.metrics.conventions import EDGES_S
from tools.metrics.datadog.source import DatadogMetricSource
from tools.metrics.http_api import Access
from tools.metrics.influxdb.source import InfluxMetricSource
from tools.metrics.newrelic.source import NewRelicMetricSource
from tools.metrics.prometheus.source import PrometheusMetricSource

DOTS = {
    "flag": "feature_flag.key",
    "variant": "feature_flag.result.variant",
    "environment": "deployment.environment.name",
    "status": "http.response.status_code",
}
UNDERSCORES = {name: label.replace(".", "_") for name, label in DOTS.items()}
NAMES = {
    "UnderscoreEscapingWithSuffixes": ("http_server_request_duration_seconds", UNDERSCORES),
    "UnderscoreEscapingWithoutSuffixes": ("http_server_request_duration", UNDERSCORES),
    "NoUTF8EscapingWithSuffixes": ("http.server.request.duration_seconds", DOTS),
    "NoTranslation": ("http.server.request.duration", DOTS),
}
"""What Prometheus calls the histogram and its attributes, by its otlp.translation_strategy."""

REQUESTS = {"200": (4, 7), "500": (0, 2)}
"""How many there had been a minute before noon and three after it, by status."""


def catalogue(source: str, metric: dict[str, Any] | None = None, **options: str) -> Catalogue:
    """One metric of each kind from the template, of a source called as its type is; or that one."""
    plain = {"source": source, "template": "otel-http-server"}
    kinds = {"errors": plain, "took": {**plain, "kind": "latency"}}
    metrics = kinds if metric is None else {"errors": {**plain, **metric}}
    return Settings.model_validate({"sources": {source: {"type": source, **options}}, "metrics": metrics}).catalogue


def fill(server: Prometheus | PrometheusApi, strategy: str) -> None:
    """Requests as an SDK's histogram with the edges of the convention: all took up to 0.1 s."""
    name, labels = NAMES[strategy]
    at = [int((NOON + timedelta(minutes=minute)).timestamp() * 1000) for minute in (-1, 3)]
    series = list[Series]()
    for status, counts in REQUESTS.items():
        values = {"flag": FLAG, "variant": "new", "environment": ENVIRONMENT, "status": status}
        named = {labels[one]: value for one, value in values.items()}
        series.append(({**named, "__name__": f"{name}_count"}, [*zip(at, map(float, counts), strict=True)]))
        for edge in (*EDGES_S, "+Inf"):
            reached = [float(count) if edge == "+Inf" or float(edge) >= 0.1 else 0.0 for count in counts]
            bucket = {**named, "__name__": f"{name}_bucket", "le": str(edge)}
            series.append((bucket, [*zip(at, reached, strict=True)]))
    server.write(series)


async def readings(source: MetricSource, metrics: Catalogue) -> dict[str, Reading]:
    """Of the five minutes from noon; the source is closed."""
    window = Window(NOON, NOON + timedelta(minutes=5))
    found = {one.name: await source.read(MetricQuery(one.name, FLAG, ENVIRONMENT, window)) for one in metrics}
    await source.close()
    return found


@pytest.mark.parametrize("strategy", NAMES)
async def test_prometheus_calls_it_by_its_strategy(strategy: str) -> None:
    api, metrics = PrometheusApi(), catalogue("prometheus", translation_strategy=strategy)
    fill(api, strategy)
    found = await readings(PrometheusMetricSource(Access("http://fake"), metrics, transport=api.transport), metrics)
    assert found["errors"].by_variant == {"new": Sample(5, 2)}
    took = found["took"].by_variant["new"].buckets
    assert [edge for edge, _ in took] == [*EDGES_S, math.inf]
    assert [edge for edge, count in took if count] == [0.1]
    assert found["took"].newest == NOON + timedelta(minutes=3)


@pytest.mark.real
@pytest.mark.parametrize("strategy", ["UnderscoreEscapingWithSuffixes", "UnderscoreEscapingWithoutSuffixes"])
async def test_a_real_one_understands_it(strategy: str, prometheus: Prometheus) -> None:
    """Names with dots need one of 3.0."""
    metrics = catalogue("prometheus", translation_strategy=strategy)
    fill(prometheus, strategy)
    found = await readings(PrometheusMetricSource(Access(prometheus.url), metrics), metrics)
    assert found["errors"].by_variant == {"new": Sample(5, 2)}
    assert [edge for edge, count in found["took"].by_variant["new"].buckets if count] == [0.1]


def test_names_with_dots_are_in_quotes_wherever_they_are() -> None:
    metrics = catalogue("prometheus", translation_strategy="NoTranslation")
    source = PrometheusMetricSource(Access("http://fake"), metrics)
    text = source.expression(MetricQuery("errors", FLAG, ENVIRONMENT, Window(NOON, NOON + timedelta(minutes=1))))
    labels = f'"deployment.environment.name"="{ENVIRONMENT}", "feature_flag.key"="{FLAG}"'
    assert f'{{"http.server.request.duration_count", "http.response.status_code"=~"5..", {labels}}}[60000ms]' in text
    assert 'sum by ("deployment.environment.name", "feature_flag.key", "feature_flag.result.variant")' in text
    assert 'max by ("deployment.environment.name", "feature_flag.key", "feature_flag.result.variant")' in text


async def test_datadog_counts_it_also_up_to_the_edges() -> None:
    api, metrics = DatadogApi(), catalogue("datadog", {})
    latency = catalogue("datadog", {"kind": "latency", "buckets": [0.1, 1]}).get("errors")
    metrics = Catalogue([*metrics, latency.model_copy(update={"name": "took"})])
    for status, took in (("200", 0.05), ("204", 0.07), ("507", 0.7)):
        tags = {DOTS["flag"]: FLAG, DOTS["variant"]: "new", "env": ENVIRONMENT, DOTS["status"]: status}
        api.write("http.server.request.duration", NOON.timestamp(), took, **tags)
    access = Access(None, api.api_key, application_key=api.application_key)
    found = await readings(DatadogMetricSource(access, metrics, transport=api.transport), metrics)
    assert found["errors"].by_variant == {"new": Sample(3, 1)}
    assert found["took"].by_variant["new"].buckets == ((0.1, 2), (1.0, 1), (math.inf, 0))


async def test_new_relic_counts_it() -> None:
    graph, metrics = NerdGraph(), catalogue("newrelic", {})
    for status in (200, 204, 507):
        event = {DOTS["flag"]: FLAG, DOTS["variant"]: "new", DOTS["environment"]: ENVIRONMENT, DOTS["status"]: status}
        at = {"type": "Metric", "timestamp": NOON.timestamp() * 1000, "http.server.request.duration": 0.05}
        graph.events.append({**event, **at})
    access = Access(None, graph.key, account=graph.account)
    found = await readings(NewRelicMetricSource(access, metrics, transport=graph.transport), metrics)
    assert found["errors"].by_variant == {"new": Sample(3, 1)}


@pytest.mark.parametrize("server", ["fake", pytest.param("real", marks=pytest.mark.real)])
async def test_influxdb_counts_what_cumulative_counts_rose_by(server: str, request: pytest.FixtureRequest) -> None:
    """Points as SDKs export them by default: of all that a process has ever counted, one a minute."""
    api, metrics = InfluxApi() if server == "fake" else request.getfixturevalue("influx"), catalogue("influxdb", {})
    for host, began in (("long up", -3), ("came", 2)):
        for minute in range(began, 5):
            for status, often in (("204", 98), ("507", 2)):
                tags = {DOTS["flag"]: FLAG, DOTS["variant"]: "new", DOTS["environment"]: ENVIRONMENT, "host": host}
                count, at = {"count": often * (minute - began + 1.0)}, int(NOON.timestamp()) + 60 * minute
                api.write("http.server.request.duration", tags | {DOTS["status"]: status}, count, at * 10**9)
    there = ("http://fake", api.transport) if isinstance(api, InfluxApi) else (api.url, None)
    access = Access(there[0], database=DATABASE)
    found = await readings(InfluxMetricSource(access, metrics, transport=there[1]), metrics)
    assert found["errors"].by_variant == {"new": Sample(500 + 300, 10 + 6)}
    assert found["errors"].newest == NOON + timedelta(minutes=4)
