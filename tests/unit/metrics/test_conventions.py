"""What a template fills in, what overrides it, and what it can't be used for."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.settings import MetricSettings, load_settings
from tools.errors import ConfigurationError
from tools.metrics.conventions import EDGES_S
from tools.metrics.prometheus.promql import parse_series

NAMES = (
    *("otel-http-server", "otel-http-client", "otel-rpc-server", "otel-rpc-client", "otel-db-client"),
    *("otel-messaging-client", "otel-messaging-process"),
)
SOURCES = """
[sources.prometheus]
type = "prometheus"
[sources.shop]
type = "sql"
[sources.newrelic]
type = "newrelic"
"""


def settings(tmp_path: Path, **metric: Any) -> MetricSettings:
    """One metric that is made from the template, with these settings."""
    given = {"source": "prometheus", "template": "otel-http-server"} | metric
    written = "\n".join(f"{key} = {value if isinstance(value, list) else repr(value)}" for key, value in given.items())
    (tmp_path / "sluice.toml").write_text(f"{SOURCES}\n[metrics.errors]\n{written}\n", encoding="utf-8")
    return load_settings(tmp_path / "sluice.toml", {}).metrics["errors"]


def test_a_metric_may_say_no_more_than_its_template(tmp_path: Path) -> None:
    errors, took = settings(tmp_path), settings(tmp_path, kind="latency")
    assert (errors.title, errors.unit, errors.settle) == ("Failed requests", "requests", timedelta(seconds=10))
    assert (took.title, took.unit, took.buckets) == ("Latency of requests", "s", EDGES_S)
    assert parse_series(errors).labels == (
        "deployment_environment_name",
        "feature_flag_key",
        "feature_flag_result_variant",
    )


@pytest.mark.parametrize(
    ("template", "titles", "unit", "edges"),
    [
        ("otel-http-client", ("Failed requests to others", "Latency of requests to others"), "requests", EDGES_S),
        ("otel-rpc-server", ("Failed calls", "Latency of calls"), "calls", EDGES_S),
        ("otel-rpc-client", ("Failed calls to others", "Latency of calls to others"), "calls", EDGES_S),
        (
            "otel-db-client",
            ("Failed database operations", "Latency of database operations"),
            "operations",
            (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
        ),
        (
            "otel-messaging-client",
            ("Failed messaging operations", "Latency of messaging operations"),
            "operations",
            EDGES_S,
        ),
        (
            "otel-messaging-process",
            ("Failed processing of messages", "Latency of processing of messages"),
            "messages",
            EDGES_S,
        ),
    ],
)
def test_each_convention_has_its_own_words_and_edges(
    tmp_path: Path, template: str, titles: tuple[str, str], unit: str, edges: tuple[float, ...]
) -> None:
    failed, took = (settings(tmp_path, template=template, kind=kind) for kind in ("ratio", "latency"))
    assert (failed.title, took.title) == titles
    assert (failed.unit, took.unit, took.buckets) == (unit, "s", edges)


def test_what_the_metric_says_goes_before_it(tmp_path: Path) -> None:
    given = {"title": "Slow", "kind": "latency", "buckets": [0.1, 1]}
    took = settings(tmp_path, **given, **{"query.variant": "arm"})
    assert (took.title, took.buckets, took.unit) == ("Slow", (0.1, 1), "s")
    assert isinstance(took.query, dict)
    assert took.query["variant"] == "arm"
    assert took.query["buckets"].startswith('{"http_server_request_duration_seconds_bucket", ')


def test_a_mix_says_by_what(tmp_path: Path) -> None:
    mix = settings(tmp_path, kind="mix", **{"query.segment": "http_route"})
    assert parse_series(mix).arms == ("feature_flag_result_variant", "http_route")


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ({"template": "otel-http"}, f"'errors' has an unknown template 'otel-http'; there is {', '.join(NAMES)}."),
        ({"template": ["otel-http-server"]}, "has an unknown template"),
        ({"source": "nowhere"}, "has a template, so its source must be one of: prometheus, shop, newrelic."),
        ({"source": "shop"}, "'sql' have none of: prometheus, datadog, newrelic, influxdb have."),
        ({"source": "newrelic", "kind": "latency"}, "is a latency, which otel-http-server has none of in newrelic;"),
        ({"kind": "mean"}, "is a mean, which otel-http-server has none of in prometheus; it has ratio, mix, latency."),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, metric: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings(tmp_path, **metric)
    assert says in str(refused.value)
    assert str(refused.value).startswith("metrics in ")
