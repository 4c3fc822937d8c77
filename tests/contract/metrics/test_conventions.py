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

BY_ERROR = {
    "otel-http-client": "http.client.request.duration",
    "otel-rpc-server": "rpc.server.call.duration",
    "otel-rpc-client": "rpc.client.call.duration",
    "otel-db-client": "db.client.operation.duration",
    "otel-messaging-client": "messaging.client.operation.duration",
    "otel-messaging-process": "messaging.process.duration",
}
"""Templates of which only what failed has an attribute, and what it is called: error.type."""

FAILURES = ("", "", "timeout", "500", "java.net.UnknownHostException")
"""How each of those went; none where all was well."""

REQUESTS = {"200": (4, 7), "500": (0, 2)}
"""How many there had been a minute before noon and three after it, by status."""


def catalogue(source: str, metric: dict[str, Any] | None = None, **options: str) -> Catalogue:
    """One metric of each kind from the template, of a source called as its type is; or that one."""
    plain = {"source": source, "template": "otel-http-server"}
    kinds = {"errors": plain, "took": {**plain, "kind": "latency"}}
    metrics = kinds if metric is None else {"errors": {**plain, **metric}}
    return Settings.model_validate({"sources": {source: {"type": source, **options}}, "metrics": metrics}).catalogue


def went(error: str) -> dict[str, str]:
    """The attributes of a measurement of that outcome."""
    tags = {DOTS["flag"]: FLAG, DOTS["variant"]: "new", DOTS["environment"]: ENVIRONMENT}
    return tags | ({"error.type": error} if error else {})


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


@pytest.mark.parametrize("template", BY_ERROR)
@pytest.mark.parametrize("strategy", NAMES)
async def test_prometheus_tells_failures_by_their_error(template: str, strategy: str) -> None:
    api, name = PrometheusApi(), BY_ERROR[template]
    metrics = catalogue("prometheus", {"template": template}, translation_strategy=strategy)
    suffix = "_seconds" if strategy.endswith("WithSuffixes") else ""
    dots = not strategy.startswith("Underscore")
    at = int((NOON + timedelta(minutes=3)).timestamp() * 1000)
    counts = {error: float(FAILURES.count(error)) for error in FAILURES}
    api.write(
        [
            (
                {label if dots else label.replace(".", "_"): value for label, value in went(error).items()}
                | {"__name__": f"{name if dots else name.replace('.', '_')}{suffix}_count"},
                [(at, count)],
            )
            for error, count in counts.items()
        ]
    )
    found = await readings(PrometheusMetricSource(Access("http://fake"), metrics, transport=api.transport), metrics)
    assert found["errors"].by_variant == {"new": Sample(5, 3)}


@pytest.mark.real
@pytest.mark.parametrize("template", BY_ERROR)
async def test_a_real_one_tells_failures_by_their_error(template: str, prometheus: Prometheus) -> None:
    metrics, name = catalogue("prometheus", {"template": template}), BY_ERROR[template].replace(".", "_")
    at = int((NOON + timedelta(minutes=3)).timestamp() * 1000)
    prometheus.write(
        [
            (
                {label.replace(".", "_"): value for label, value in went(error).items()}
                | {"__name__": f"{name}_seconds_count"},
                [(at, float(FAILURES.count(error)))],
            )
            for error in dict.fromkeys(FAILURES)
        ]
    )
    found = await readings(PrometheusMetricSource(Access(prometheus.url), metrics), metrics)
    assert found["errors"].by_variant == {"new": Sample(5, 3)}


@pytest.mark.parametrize("template", BY_ERROR)
async def test_the_others_tell_failures_by_their_error(template: str) -> None:
    name, at = BY_ERROR[template], NOON.timestamp()
    datadog, graph, influx = DatadogApi(), NerdGraph(), InfluxApi()
    for error in FAILURES:
        tags = went(error)
        datadog.write(name, at, 0.05, env=ENVIRONMENT, **tags)
        graph.events.append({**tags, "type": "Metric", "timestamp": at * 1000, name: 0.05})
    for error in dict.fromkeys(FAILURES):
        for minute in (-1, 1):
            count = {"count": float(FAILURES.count(error)) if minute > 0 else 0.0}
            influx.write(name, went(error) | {"host": "a"}, count, (int(at) + 60 * minute) * 10**9)
    metrics = {source: catalogue(source, {"template": template}) for source in ("datadog", "newrelic", "influxdb")}
    access = Access(None, datadog.api_key, application_key=datadog.application_key)
    sources: dict[str, MetricSource] = {
        "datadog": DatadogMetricSource(access, metrics["datadog"], transport=datadog.transport),
        "newrelic": NewRelicMetricSource(
            Access(None, graph.key, account=graph.account), metrics["newrelic"], transport=graph.transport
        ),
        "influxdb": InfluxMetricSource(
            Access("http://fake", database=DATABASE), metrics["influxdb"], transport=influx.transport
        ),
    }
    for name, source in sources.items():
        found = await readings(source, metrics[name])
        assert found["errors"].by_variant == {"new": Sample(5, 3)}, name


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
