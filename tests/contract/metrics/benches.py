"""Ways to give each source something to count."""

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table

from tests import influxdb
from tests.contract.metrics.fake_datadog import DatadogApi, normalised
from tests.contract.metrics.fake_influxdb import InfluxApi
from tests.contract.metrics.fake_newrelic import NerdGraph
from tests.contract.metrics.fake_prometheus import PrometheusApi
from tests.prometheus import Prometheus
from tools.metrics.base import MetricQuery, MetricSource, Window
from tools.metrics.catalogue import MetricDefinition
from tools.metrics.counters import Moments
from tools.metrics.datadog.source import DatadogMetricSource
from tools.metrics.http_api import Access
from tools.metrics.influxdb.influxql import nanoseconds
from tools.metrics.influxdb.source import InfluxMetricSource
from tools.metrics.memory import Observation
from tools.metrics.newrelic.source import NewRelicMetricSource
from tools.metrics.prometheus.source import PrometheusMetricSource

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = ("exposures", "events")
FLAG, ENVIRONMENT, METRIC = "new-checkout", "production", "checkout_errors"

OBSERVATIONS = Table(
    "observations",
    MetaData(),
    Column("flag", String),
    Column("environment", String),
    Column("variant", String),
    Column("at", DateTime(timezone=True)),
    Column("exposures", Integer),
    Column("events", Integer),
    Column("unit", String),
)

ERRORS = MetricDefinition(
    name=METRIC,
    source="shop",
    title="Checkout errors",
    query="""
        SELECT variant, SUM(exposures) AS exposures, SUM(events) AS events, MAX("at") AS newest
        FROM observations
        WHERE flag = :flag AND environment = :environment AND "at" >= :start AND "at" < :end
        GROUP BY variant
    """,
    unit_query="""
        SELECT unit, variant, SUM(exposures) AS exposures, SUM(events) AS events
        FROM observations
        WHERE flag = :flag AND environment = :environment AND "at" >= :start AND "at" < :end
        GROUP BY unit, variant
    """,
)


def query(start_s: float, end_s: float, *, flag: str = FLAG, metric: str = METRIC) -> MetricQuery:
    """The metric in a window given in seconds from noon."""
    window = Window(NOON + timedelta(seconds=start_s), NOON + timedelta(seconds=end_s))
    return MetricQuery(metric, flag, ENVIRONMENT, window)


@dataclass(frozen=True)
class Bench:
    """A source, and a way to add what it counts: flag and observation.

    `grain` is the finest time that it knows, `can_name` whether it can have what is counted for such a flag.
    """

    source: MetricSource
    add: Callable[[str, Observation], Awaitable[None]]
    grain: timedelta = timedelta(microseconds=1)
    can_name: Callable[[str], bool] = field(default=lambda _flag: True)

    async def seen(
        self,
        variant: str | None,
        at_s: float,
        exposures: int,
        events: int = 0,
        *,
        flag: str = FLAG,
        unit: str | None = None,
    ) -> None:
        """Add an observation at a moment given in seconds from noon."""
        await self.add(flag, Observation(variant, NOON + timedelta(seconds=at_s), exposures, events, unit=unit))


_NUMBERS = itertools.count()


@asynccontextmanager
async def series_bench(server: Prometheus | PrometheusApi) -> AsyncIterator[Bench]:
    """Counters that rise with each observation, and are sampled at its moment."""
    suffix = f"{next(_NUMBERS)}_total"
    definition = ERRORS.model_copy(update={"unit_query": None, "query": selectors_of(suffix)})
    reached = defaultdict[tuple[tuple[str, str], ...], int](int)

    async def count(flag: str, one: Observation) -> None:
        at = Moments.of(one.at, one.at).start
        for name, more in (("exposures", one.exposures), ("events", one.events)):
            labels = {"__name__": f"{name}_{suffix}", "flag": flag, "environment": ENVIRONMENT}
            labels |= {"variant": one.variant} if one.variant is not None else {}
            reached[tuple(labels.items())] += more
            server.write([(labels, [(at, float(reached[tuple(labels.items())]))])])

    if isinstance(server, PrometheusApi):
        source = PrometheusMetricSource(Access("http://fake"), [definition], transport=server.transport)
    else:
        source = PrometheusMetricSource(Access(server.url), [definition])
    yield Bench(source, count)
    await source.close()


@asynccontextmanager
async def points_bench(server: influxdb.InfluxDb | InfluxApi) -> AsyncIterator[Bench]:
    """Points with how many there were, in a measurement of their own."""
    measurement, numbers = f"seen{next(_NUMBERS)}", itertools.count()
    conditions = "\"flag\" = '$flag' AND \"environment\" = '$environment'"
    selectors = {name: f'SELECT sum("{name}") FROM "{measurement}" WHERE {conditions}' for name in COLUMNS}
    definition = ERRORS.model_copy(update={"unit_query": None, "query": selectors})

    async def write(flag: str, one: Observation) -> None:
        tags = {"flag": flag, "environment": ENVIRONMENT} | ({} if one.variant is None else {"variant": one.variant})
        fields = {"exposures": float(one.exposures), "events": float(one.events)}
        server.write(measurement, tags, fields, nanoseconds(one.at) + next(numbers) % 1000)

    access = Access("http://fake" if isinstance(server, InfluxApi) else server.url, database=influxdb.DATABASE)
    transport = server.transport if isinstance(server, InfluxApi) else None
    source = InfluxMetricSource(access, [definition], transport=transport)
    yield Bench(source, write)
    await source.close()


@asynccontextmanager
async def datadog_bench(server: DatadogApi) -> AsyncIterator[Bench]:
    """Counts, tagged."""
    scope = "{flag:$flag, env:$environment}"
    definition = ERRORS.model_copy(
        update={"unit_query": None, "query": {name: f"shop.{name}{scope}" for name in COLUMNS}}
    )

    async def write(flag: str, one: Observation) -> None:
        tags = {"flag": flag, "env": ENVIRONMENT} | ({} if one.variant is None else {"variant": one.variant})
        for name in COLUMNS:
            server.write(f"shop.{name}", one.at.timestamp(), getattr(one, name), **tags)

    access = Access(None, server.api_key, application_key=server.application_key)
    source = DatadogMetricSource(access, [definition], transport=server.transport)
    yield Bench(source, write, timedelta(seconds=1), lambda flag: normalised(flag) == flag)
    await source.close()


@asynccontextmanager
async def events_bench(server: NerdGraph) -> AsyncIterator[Bench]:
    """Events that say how many they stand for."""
    conditions = "feature_flag.key = '$flag' AND environment = '$environment'"
    selectors = {name: f"SELECT sum({name}) FROM Checkout WHERE {conditions}" for name in COLUMNS}
    definition = ERRORS.model_copy(update={"unit_query": None, "query": selectors})

    async def write(flag: str, one: Observation) -> None:
        server.events.append(
            {"type": "Checkout", "timestamp": Moments.of(one.at, one.at).start, "feature_flag.key": flag}
            | {"environment": ENVIRONMENT, "variant": one.variant, "exposures": one.exposures, "events": one.events}
        )

    access = Access(None, server.key, account=server.account)
    source = NewRelicMetricSource(access, [definition], transport=server.transport)
    yield Bench(source, write, timedelta(milliseconds=1))
    await source.close()


def selectors_of(suffix: str) -> dict[str, str]:
    matchers = '{flag="$flag", environment="$environment"}'
    return {"exposures": f"exposures_{suffix}{matchers}", "events": f"events_{suffix}{matchers}"}
