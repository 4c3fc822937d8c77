"""The catalogue, the router over it, and sources by name."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.metrics.definitions import definition
from tools.errors import ConfigurationError
from tools.gates import Direction
from tools.metrics.base import MetricQuery, MetricSourceUnavailable, Sample, UnknownMetric, Window
from tools.metrics.catalogue import BadDefinition, Catalogue, MetricKind
from tools.metrics.http_api import Access
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.registry import create_metric_source
from tools.metrics.router import Metrics
from tools.metrics.sql.source import SqlMetricSource

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_what_is_not_said_has_a_safe_default() -> None:
    plain = definition()
    assert (plain.kind, plain.direction, plain.settle) == (MetricKind.RATIO, Direction.INCREASE, timedelta(0))


@pytest.mark.parametrize(
    "change",
    [{"name": "two words"}, {"name": ""}, {"settle": -1}, {"settle": 90_000}, {"kind": "guess"}, {"limit": 3}],
)
def test_a_wrong_definition_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        definition(**change)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "mean"}, "a mean needs a cap"),
        ({"cap": 100.0}, "a mean needs a cap"),
        ({"kind": "mean", "cap": 100.0, "sums": True}, "a mean's always does"),
        ({"kind": "mean", "cap": 100.0, "objective": 0.01}, "a mean has none of"),
        ({"kind": "latency"}, "a latency needs buckets"),
        ({"kind": "latency", "buckets": (0.1,), "unit_query": "SELECT"}, "so it has no unit_query"),
        ({"buckets": (0.1, 0.5)}, "a latency needs buckets"),
        ({"kind": "assignments", "objective": 0.01}, "have no objective"),
        ({"kind": "mix", "objective": 0.01}, "a mix guards nothing and has no objective"),
        ({"kind": "mix", "cap": 10.0}, "a mean needs a cap"),
        ({"kind": "mix", "unit_query": "SELECT"}, "does not replay a mix"),
        ({"kind": "assignments", "cap": 10.0}, "a mean needs a cap"),
        ({"kind": "assignments", "buckets": (0.1,)}, "a latency needs buckets"),
        ({"kind": "assignments", "unit_query": "SELECT"}, "assignments have no unit_query"),
        ({"kind": "latency", "buckets": (0.5, 0.1)}, "must be above 0 and rise"),
        ({"kind": "latency", "buckets": (0.1, 0.5), "direction": "decrease"}, "a latency does harm when it increases"),
    ],
)
def test_what_does_not_go_with_a_kind_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        definition(**change)


def test_means_and_latencies_have_what_their_tests_need() -> None:
    assert definition(kind="mean", cap=250.0, direction="decrease").cap == 250
    latency = definition(kind="latency", buckets=(0.1, 0.5), sums=True)
    assert latency.edges == (0.1, 0.5, math.inf)
    assert definition().edges == ()
    assert definition(kind="assignments").kind is MetricKind.ASSIGNMENTS


def test_a_name_is_defined_once() -> None:
    with pytest.raises(ConfigurationError, match="'checkout_errors' is defined twice"):
        Catalogue([definition(), definition()])


def test_metrics_are_found_by_name_and_by_source() -> None:
    catalogue = Catalogue([definition(), definition(name="orders", source="warehouse")])
    assert catalogue.get("orders").source == "warehouse"
    assert [one.name for one in catalogue.of_source("shop")] == ["checkout_errors"]
    assert len(catalogue) == 2


@pytest.mark.parametrize(
    ("names", "asked", "hint"),
    [
        ([], "errors", "catalogue is empty"),
        (["checkout_errors", "orders"], "chekout_errors", r"Did you mean checkout_errors\?"),
        (["checkout_errors", "orders"], "xyz", r"Known metrics: checkout_errors, orders\."),
    ],
)
def test_an_unknown_name_is_answered_with_what_there_is(names: list[str], asked: str, hint: str) -> None:
    catalogue = Catalogue(definition(name=name) for name in names)
    with pytest.raises(UnknownMetric, match=hint):
        catalogue.get(asked)


def test_a_metric_of_a_source_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="'checkout_errors' names the source 'shop'; known sources: none"):
        Metrics(Catalogue([definition()]), {})


async def test_each_metric_is_answered_by_its_own_source() -> None:
    catalogue = Catalogue([definition(settle=5), definition(name="orders", source="warehouse")])
    shop, warehouse = (MemoryMetricSource(catalogue.of_source(name)) for name in ("shop", "warehouse"))
    warehouse.add("orders", "new-checkout", "production", Observation("control", NOON, 7, 1))
    metrics = Metrics(catalogue, {"shop": shop, "warehouse": warehouse})
    window = Window(NOON, NOON + timedelta(seconds=1))
    reading = await metrics.read(MetricQuery("orders", "new-checkout", "production", window))
    assert reading.by_variant == {"control": Sample(7, 1)}
    assert (await metrics.read(MetricQuery("checkout_errors", "f", "e", window))).by_variant == {}
    assert (metrics.define("checkout_errors").settle, metrics.define("orders").settle) == (
        timedelta(seconds=5),
        timedelta(0),
    )
    with pytest.raises(UnknownMetric):
        await metrics.read(MetricQuery("latency", "f", "e", window))
    await metrics.check()
    warehouse.outage = "The warehouse is closed."
    with pytest.raises(MetricSourceUnavailable, match="closed"):
        await metrics.check()
    await metrics.close()


async def test_sources_are_made_by_kind(tmp_path: Path) -> None:
    catalogue = Catalogue([definition()])
    assert isinstance(create_metric_source("memory", catalogue), MemoryMetricSource)
    sql = create_metric_source("sql", catalogue, Access(f"sqlite:///{tmp_path}/shop.db"))
    assert isinstance(sql, SqlMetricSource)
    await sql.close()
    with pytest.raises(ConfigurationError, match="needs the url"):
        create_metric_source("sql", catalogue)
    with pytest.raises(ConfigurationError, match="one of sql, prometheus, datadog, newrelic, influxdb, memory, not"):
        create_metric_source("oracle", catalogue)


@pytest.mark.parametrize(
    ("kind", "access", "field", "has"),
    [
        ("sql", Access("sqlite:///shop.db", "t"), "token", "it has url"),
        ("memory", Access("http://a"), "url", "nothing to set"),
        (
            "prometheus",
            Access("http://a", site="datadoghq.eu"),
            "site",
            "it has ca_file, token, token_file, translation_strategy, url",
        ),
        ("newrelic", Access(None, "t", account=1, database="shop"), "database", "account, ca_file, region"),
        ("influxdb", Access("http://a", database="shop", account=1), "account", "ca_file, database, retention"),
        (
            "datadog",
            Access(None, "t", application_key="a", region="eu"),
            "region",
            "application_key_file, ca_file, site",
        ),
    ],
)
def test_a_setting_of_another_kind_is_refused(kind: str, access: Access, field: str, has: str) -> None:
    with pytest.raises(ConfigurationError, match=f"of type '{kind}' has no {field}; it has .*{has}|{has}") as refused:
        create_metric_source(kind, Catalogue([]), access)
    assert getattr(refused.value, "field", None) == field


async def test_a_source_of_every_kind_can_be_made_without_asking_anybody() -> None:
    server = Access("http://127.0.0.1:9", "t")
    for kind, access in {
        "prometheus": server,
        "datadog": replace(server, application_key="a", site="us3.datadoghq.com"),
        "newrelic": replace(server, account=1, region="eu"),
        "influxdb": replace(server, database="shop", retention="month"),
    }.items():
        await create_metric_source(kind, Catalogue([]), access).close()


async def test_only_a_source_that_can_answer_by_unit_is_given_a_query_for_it() -> None:
    counters = create_metric_source("prometheus", Catalogue([]), Access("http://127.0.0.1:9"))
    by_unit = definition(unit_query="SELECT")
    with pytest.raises(BadDefinition, match="has a unit_query, which its source can't run"):
        Metrics(Catalogue([by_unit]), {"shop": counters})
    await counters.close()
