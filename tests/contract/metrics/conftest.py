"""Every metric source, behind one way to give it something to count."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table
from sqlalchemy.ext.asyncio import create_async_engine

from tools.metrics.base import MetricQuery, MetricSource, Window
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.memory import MemoryMetricSource, Observation
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

    source: SqlMetricSource | MemoryMetricSource
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


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
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


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def absent(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MetricSource]:
    """A source that nobody answers for."""
    if request.param == "memory":
        memory = MemoryMetricSource([ERRORS])
        memory.outage = "The shop's metrics are switched off."
        yield memory
        return
    urls = {"sqlite": f"sqlite:///{tmp_path}/missing.db", "postgresql": "postgresql://sluice:hunter2@127.0.0.1:9/shop"}
    source = create_metric_source("sql", Catalogue([ERRORS]), url=urls[request.param])
    yield source
    await source.close()
