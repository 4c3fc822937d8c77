"""Every metric source, behind one way to give it something to count."""

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table
from sqlalchemy.ext.asyncio import create_async_engine

from tests.contract.metrics.fake_prometheus import PrometheusApi
from tests.prometheus import Prometheus, running
from tools.metrics.base import MetricQuery, MetricSource, Window
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.http_api import Access
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.prometheus import PrometheusMetricSource
from tools.metrics.promql import Moments
from tools.metrics.registry import create_metric_source
from tools.metrics.sql import SqlMetricSource

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
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
        SELECT variant, SUM(exposures) AS exposures, SUM(events) AS events, MAX(at) AS newest
        FROM observations
        WHERE flag = :flag AND environment = :environment AND at >= :start AND at < :end
        GROUP BY variant
    """,
    unit_query="""
        SELECT unit, variant, SUM(exposures) AS exposures, SUM(events) AS events
        FROM observations
        WHERE flag = :flag AND environment = :environment AND at >= :start AND at < :end
        GROUP BY unit, variant
    """,
)


def query(start_s: float, end_s: float, *, flag: str = FLAG, metric: str = METRIC) -> MetricQuery:
    """The metric in a window given in seconds from noon."""
    window = Window(NOON + timedelta(seconds=start_s), NOON + timedelta(seconds=end_s))
    return MetricQuery(metric, flag, ENVIRONMENT, window)


@dataclass(frozen=True)
class Bench:
    """A source, and a way to add what it counts: flag and observation."""

    source: MetricSource
    add: Callable[[str, Observation], Awaitable[None]]

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


BY_UNIT = ("memory", "sqlite", "postgresql")
"""The sources that know whose the numbers are."""

_NUMBERS = itertools.count()
COUNTERS = ("prometheus fake", "prometheus")
AWAY = "http://sluice:hunter2@127.0.0.1:9"


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A real server for all tests of this process, each of which has counters of its own name."""
    with running(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(params=[*BY_UNIT, "prometheus fake", pytest.param("prometheus", marks=pytest.mark.real)])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Every source."""
    async with _bench(request, tmp_path) as made:
        yield made


@pytest.fixture(params=BY_UNIT)
async def bench_by_unit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Every source that can answer unit by unit."""
    async with _bench(request, tmp_path) as made:
        yield made


@asynccontextmanager
async def _counters(server: Prometheus | PrometheusApi) -> AsyncIterator[Bench]:
    """Counters that rise with each observation, and are sampled at its moment."""
    suffix = f"{next(_NUMBERS)}_total"
    definition = ERRORS.model_copy(update={"unit_query": None, "query": _selectors(suffix)})
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


def _selectors(suffix: str) -> dict[str, str]:
    matchers = '{flag="$flag", environment="$environment"}'
    return {"exposures": f"exposures_{suffix}{matchers}", "events": f"events_{suffix}{matchers}"}


@asynccontextmanager
async def _bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param in COUNTERS:
        is_real = request.param == "prometheus"
        async with _counters(request.getfixturevalue("prometheus") if is_real else PrometheusApi()) as made:
            yield made
        return
    if request.param == "memory":
        memory = MemoryMetricSource([ERRORS])

        async def remember(flag: str, one: Observation) -> None:
            memory.add(METRIC, flag, ENVIRONMENT, one)

        yield Bench(memory, remember)
        await memory.close()
        return
    url = f"sqlite:///{tmp_path}/shop.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}[request.param]
    engine = create_async_engine(url.replace(request.param, driver, 1))
    async with engine.begin() as connection:
        await connection.run_sync(OBSERVATIONS.metadata.create_all)

    async def insert(flag: str, one: Observation) -> None:
        async with engine.begin() as connection:
            await connection.execute(
                OBSERVATIONS.insert().values(
                    flag=flag,
                    environment=ENVIRONMENT,
                    variant=one.variant,
                    at=one.at,
                    exposures=one.exposures,
                    events=one.events,
                    unit=one.unit,
                )
            )

    source = SqlMetricSource(url, [ERRORS])
    yield Bench(source, insert)
    await source.close()
    await engine.dispose()


@pytest.fixture(params=[*BY_UNIT, "prometheus"])
async def absent(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MetricSource]:
    """A source that nobody answers for."""
    if request.param == "memory":
        memory = MemoryMetricSource([ERRORS])
        memory.outage = "The shop's metrics are switched off."
        yield memory
        return
    if request.param == "prometheus":
        definition = ERRORS.model_copy(update={"unit_query": None, "query": _selectors("total")})
        server = create_metric_source("prometheus", Catalogue([definition]), Access(AWAY))
        yield server
        await server.close()
        return
    urls = {"sqlite": f"sqlite:///{tmp_path}/missing.db", "postgresql": "postgresql://sluice:hunter2@127.0.0.1:9/shop"}
    source = create_metric_source("sql", Catalogue([ERRORS]), Access(urls[request.param]))
    yield source
    await source.close()
