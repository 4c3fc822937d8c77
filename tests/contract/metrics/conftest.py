"""Every metric source, behind one way to give it something to count."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import Executable, NullPool, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from tests import influxdb
from tests.contract.metrics.benches import (
    COLUMNS,
    ENVIRONMENT,
    ERRORS,
    METRIC,
    OBSERVATIONS,
    Bench,
    datadog_bench,
    events_bench,
    points_bench,
    series_bench,
)
from tests.contract.metrics.fake_datadog import DatadogApi
from tests.contract.metrics.fake_influxdb import InfluxApi
from tests.contract.metrics.fake_newrelic import NerdGraph
from tests.contract.metrics.fake_prometheus import PrometheusApi
from tests.prometheus import Prometheus, running
from tools.metrics.base import MetricSource
from tools.metrics.catalogue import Catalogue
from tools.metrics.http_api import Access
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.registry import create_metric_source
from tools.metrics.sql.source import SqlMetricSource

BY_UNIT = ("memory", "sqlite", "postgresql", "duckdb")
"""The sources that know whose the numbers are."""

AWAY = "http://sluice:hunter2@127.0.0.1:9"
REAL = ("prometheus", "influxdb")
FAKES = ("prometheus fake", "influxdb fake", "datadog fake", "newrelic fake")
COUNTERS = (*FAKES, *(pytest.param(name, marks=pytest.mark.real) for name in REAL))
"""The sources whose queries are tables of selectors."""


@pytest.fixture(scope="session")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[influxdb.InfluxDb]:
    """A real server for all tests of this process, each of which has a measurement of its own."""
    with influxdb.running(tmp_path_factory.mktemp("influxdb")) as server:
        yield server


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A real server for all tests of this process, each of which has counters of its own name."""
    with running(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(params=[*BY_UNIT, *COUNTERS])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Every source."""
    async with _bench(request, tmp_path) as made:
        yield made


@pytest.fixture(params=BY_UNIT)
async def bench_by_unit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Every source that can answer unit by unit."""
    async with _bench(request, tmp_path) as made:
        yield made


Counting = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Bench]]
_COUNTING: Mapping[str, Counting] = {
    "prometheus": lambda request: series_bench(request.getfixturevalue("prometheus")),
    "prometheus fake": lambda _request: series_bench(PrometheusApi()),
    "influxdb": lambda request: points_bench(request.getfixturevalue("influx")),
    "influxdb fake": lambda _request: points_bench(InfluxApi()),
    "datadog fake": lambda _request: datadog_bench(DatadogApi()),
    "newrelic fake": lambda _request: events_bench(NerdGraph()),
}


@asynccontextmanager
async def _bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if (counting := _COUNTING.get(request.param)) is not None:
        async with counting(request) as made:
            yield made
        return
    if request.param == "memory":
        memory = MemoryMetricSource([ERRORS])

        async def remember(flag: str, one: Observation) -> None:
            memory.add(METRIC, flag, ENVIRONMENT, one)

        yield Bench(memory, remember)
        await memory.close()
        return
    if request.param == "duckdb":
        async with _in_threads(f"duckdb:///{tmp_path}/shop.duckdb") as made:
            yield made
        return
    url = f"sqlite:///{tmp_path}/shop.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}[request.param]
    engine = create_async_engine(url.replace(request.param, driver, 1))
    async with engine.begin() as connection:
        await connection.run_sync(OBSERVATIONS.metadata.create_all)

    async def insert(flag: str, one: Observation) -> None:
        async with engine.begin() as connection:
            await connection.execute(_insertion(flag, one))

    source = SqlMetricSource(url, [ERRORS])
    yield Bench(source, insert)
    await source.close()
    await engine.dispose()


ABSENT: Mapping[str, tuple[str, Access]] = {
    "prometheus": ('exposures_total{flag="$flag"}', Access(AWAY)),
    "influxdb": ("SELECT sum(n) FROM shop WHERE flag = '$flag'", Access(AWAY, database="shop")),
    "datadog": ("shop.seen{flag:$flag}", Access("http://127.0.0.1:9", "hunter2", application_key="hunter2")),
    "newrelic": ("SELECT count(*) FROM Shop WHERE flag = '$flag'", Access("http://127.0.0.1:9", "hunter2", account=1)),
}
"""What is asked of servers that are not there."""


@asynccontextmanager
async def _in_threads(url: str) -> AsyncIterator[Bench]:
    """A database whose driver is not async, and which is open for each statement only."""
    engine = create_engine(url, poolclass=NullPool)

    def write(statement: Executable) -> None:
        with engine.begin() as connection:
            connection.execute(statement)

    with engine.begin() as connection:
        OBSERVATIONS.metadata.create_all(connection)

    async def insert(flag: str, one: Observation) -> None:
        await asyncio.to_thread(write, _insertion(flag, one))

    source = SqlMetricSource(url, [ERRORS])
    yield Bench(source, insert)
    await source.close()


def _insertion(flag: str, one: Observation) -> Executable:
    names = ("variant", "at", "exposures", "events", "unit")
    return OBSERVATIONS.insert().values(
        flag=flag, environment=ENVIRONMENT, **{name: getattr(one, name) for name in names}
    )


@pytest.fixture(params=[*BY_UNIT, *ABSENT])
async def absent(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MetricSource]:
    """A source that nobody answers for."""
    if request.param == "memory":
        memory = MemoryMetricSource([ERRORS])
        memory.outage = "The shop's metrics are switched off."
        yield memory
        return
    if request.param in ABSENT:
        selector, access = ABSENT[request.param]
        definition = ERRORS.model_copy(update={"unit_query": None, "query": dict.fromkeys(COLUMNS, selector)})
        server = create_metric_source(request.param, Catalogue([definition]), access)
        yield server
        await server.close()
        return
    urls = {
        "sqlite": f"sqlite:///{tmp_path}/missing.db",
        "duckdb": f"duckdb:///{tmp_path}/missing.duckdb",
        "postgresql": "postgresql://sluice:hunter2@127.0.0.1:9/shop",
    }
    source = create_metric_source("sql", Catalogue([ERRORS]), Access(urls[request.param]))
    yield source
    await source.close()
