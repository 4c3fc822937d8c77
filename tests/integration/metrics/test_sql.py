"""The SQL source on real databases: read-only, bounded in time, exact about time, silent about passwords."""

import asyncio
import itertools
import socket
import sqlite3
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from tools.errors import ConfigurationError
from tools.metrics.base import BadMetricAnswer, MetricQuery, MetricSourceUnavailable, Sample, Window
from tools.metrics.catalogue import MetricDefinition, TimeFormat
from tools.metrics.sql.source import SqlMetricSource

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COUNTED = "SELECT 'control' AS variant, COUNT(*) AS exposures, 0 AS events"
WINDOWED = "at >= :start AND at < :end"

Run = Callable[..., None]
"""Runs a statement, with rows for its placeholders."""


def definition(query: str, times: TimeFormat = TimeFormat.DATETIME) -> MetricDefinition:
    return MetricDefinition(name="errors", source="shop", title="Errors", query=query, time_format=times)


def window(start_s: float, end_s: float) -> MetricQuery:
    inside = Window(NOON + timedelta(seconds=start_s), NOON + timedelta(seconds=end_s))
    return MetricQuery("errors", "new-checkout", "production", inside)


@asynccontextmanager
async def source(url: str, query: str, times: TimeFormat = TimeFormat.DATETIME, **options: Any) -> AsyncIterator[Any]:
    made = SqlMetricSource(url, [definition(query, times)], **options)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    return tmp_path / "the shop's 100 %?.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, sqlite_file: Path) -> Iterator[tuple[str, Run]]:
    """A URL and a way to write behind the source's back; the placeholder is ? on both."""
    if request.param == "sqlite":
        connection = sqlite3.connect(sqlite_file)

        def on_sqlite(statement: str, rows: Sequence[tuple[Any, ...]] = ()) -> None:
            with connection:
                connection.executemany(statement, rows) if rows else connection.execute(statement)

        yield make_url("sqlite://").set(database=str(sqlite_file)).render_as_string(), on_sqlite
        connection.close()
        return
    url = request.getfixturevalue("postgres_url")
    with psycopg.connect(url, autocommit=True) as server:

        def on_postgres(statement: str, rows: Sequence[tuple[Any, ...]] = ()) -> None:
            with server.cursor() as cursor:
                text = statement.replace("?", "%s")
                cursor.executemany(text, rows) if rows else cursor.execute(text)

        yield url, on_postgres


STORED: dict[str, tuple[TimeFormat, dict[str, str], Callable[[datetime], Any]]] = {
    "database's own, with zone": (TimeFormat.DATETIME, {"sqlite": "TEXT", "postgresql": "timestamptz"}, lambda at: at),
    "database's own, without zone": (
        TimeFormat.DATETIME,
        {"sqlite": "TEXT", "postgresql": "timestamp"},
        lambda at: at.replace(tzinfo=None),
    ),
    "epoch with fraction": (TimeFormat.EPOCH, {"sqlite": "REAL", "postgresql": "double precision"}, datetime.timestamp),
    "iso, +00:00": (TimeFormat.ISO, {"sqlite": "TEXT", "postgresql": "text"}, datetime.isoformat),
    "iso, Z": (
        TimeFormat.ISO,
        {"sqlite": "TEXT", "postgresql": "text"},
        lambda at: at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
    ),
}


@pytest.mark.parametrize("stored", list(STORED))
async def test_times_are_compared_as_they_are_stored(database: tuple[str, Run], stored: str) -> None:
    url, run = database
    times, types, store = STORED[stored]
    backend = make_url(url).get_backend_name()
    run(f"CREATE TABLE seen (at {types[backend]}, n integer)")
    moments = [NOON + timedelta(seconds=seconds) for seconds in (0, 0.25, 0.5, 1, 1.000001, 2, 3.75)]
    rows = [(store(moment), 1) for moment in moments]
    if backend == "sqlite" and times is TimeFormat.DATETIME:
        rows = [(moment.strftime("%Y-%m-%d %H:%M:%S.%f"), 1) for moment in moments]
    run("INSERT INTO seen VALUES (?, ?)", rows)
    query = f"{COUNTED}, MAX(at) AS newest FROM seen WHERE {WINDOWED}"
    async with source(url, query, times) as metrics:
        edges = [0, 0.25, 1, 1.000001, 3, 4]
        readings = [await metrics.read(window(*pair)) for pair in itertools.pairwise(edges)]
    assert [reading.by_variant["control"].exposures for reading in readings] == [1, 2, 1, 2, 1]
    newest = [(reading.newest - NOON).total_seconds() for reading in readings]
    assert newest == pytest.approx([0, 0.5, 1, 2, 3.75], abs=1e-5)


async def test_whole_epoch_seconds_are_times_too(database: tuple[str, Run]) -> None:
    url, run = database
    run("CREATE TABLE seen (at bigint, n integer)")
    run("INSERT INTO seen VALUES (?, ?)", [(int(NOON.timestamp()) + second, 1) for second in range(4)])
    query = f"{COUNTED}, MAX(at) AS newest FROM seen WHERE {WINDOWED}"
    async with source(url, query, TimeFormat.EPOCH) as metrics:
        reading = await metrics.read(window(1, 2.5))
    assert reading.by_variant == {"control": Sample(2)}
    assert reading.newest == NOON + timedelta(seconds=2)


async def test_sums_and_buckets_come_as_the_databases_types(database: tuple[str, Run]) -> None:
    url, run = database
    run("CREATE TABLE seen (le double precision, ms numeric, n integer)")
    run("INSERT INTO seen VALUES (?, ?, ?)", [(0.5, 1.5, 3), (0.5, 2.5, 1), (1.0, 9, 2)])
    query = """
        SELECT 'control' AS variant, le AS bucket, SUM(n) AS exposures, 0 AS events, SUM(ms) AS total,
               SUM(ms * ms) AS total_squares
        FROM seen WHERE CAST(:start AS text) <> CAST(:end AS text) GROUP BY le  -- no ';' needed
    """
    async with source(url, query) as metrics:
        reading = await metrics.read(window(0, 1))
    assert reading.by_variant == {"control": Sample(6, 0, 13.0, 89.5, ((0.5, 4), (1.0, 2)))}


ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT 'control' AS variant, SUM(i) AS exposures, 0 AS events FROM n WHERE :start < :end",
    "postgresql": "SELECT 'control' AS variant, 1 AS exposures, 0 AS events FROM pg_sleep(30) WHERE :start < :end",
}


async def test_a_query_without_end_is_ended_by_the_database(database: tuple[str, Run]) -> None:
    url, run = database
    run("CREATE TABLE seen (at text)")
    backend = make_url(url).get_backend_name()
    async with source(url, ENDLESS[backend], TimeFormat.EPOCH, timeout=timedelta(seconds=0.3)) as metrics:
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(MetricSourceUnavailable, match=r"did not answer within 0\.3 s.*'errors'"):
                await metrics.read(window(0, 1))
            assert time.monotonic() - started < 1.5


async def test_the_loop_goes_on_while_a_query_runs(database: tuple[str, Run]) -> None:
    url, run = database
    run("CREATE TABLE seen (at text)")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    backend = make_url(url).get_backend_name()
    async with source(url, ENDLESS[backend], TimeFormat.EPOCH, timeout=timedelta(seconds=0.4)) as metrics:
        with pytest.raises(MetricSourceUnavailable):
            await metrics.read(window(0, 1))
    ticking.cancel()
    assert ticks >= 5


async def test_a_cancelled_read_leaves_the_source_usable(database: tuple[str, Run]) -> None:
    url, run = database
    run("CREATE TABLE seen (at text)")
    backend = make_url(url).get_backend_name()
    async with source(url, ENDLESS[backend], TimeFormat.EPOCH, timeout=timedelta(seconds=0.5)) as metrics:
        reading = asyncio.create_task(metrics.read(window(0, 1)))
        await asyncio.sleep(0.1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await metrics.check()


async def test_nothing_can_be_written(database: tuple[str, Run]) -> None:
    url, run = database
    run("CREATE TABLE seen (n integer)")
    query = f"SELECT 'control' AS variant, 1 AS exposures, 0 AS events WHERE {WINDOWED.replace('at', '1.0')}"
    async with source(url, query, TimeFormat.EPOCH) as metrics:
        async with metrics._database.connected() as connection:
            with pytest.raises(DBAPIError, match=r"read-?only"):
                await connection.exec_driver_sql("INSERT INTO seen VALUES (1)")
        await metrics.check()


async def test_a_query_that_does_something_is_refused(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute("CREATE SEQUENCE drawn")
        server.execute("CREATE TABLE seen (n integer)")
    draws = "SELECT 'control' AS variant, nextval('drawn') AS exposures, 0 AS events WHERE :start < :end"
    deletes = "WITH gone AS (DELETE FROM seen RETURNING n) SELECT 'a' AS variant, n AS exposures, 0 AS events FROM gone"
    for query in (draws, f"{deletes} WHERE :start < :end"):
        async with source(postgres_url, query, TimeFormat.EPOCH) as metrics:
            with pytest.raises(MetricSourceUnavailable, match="refused"):
                await metrics.read(window(0, 1))


async def test_a_check_finds_a_query_that_cannot_run_and_names_its_metric(database: tuple[str, Run]) -> None:
    url, run = database
    run("CREATE TABLE seen (n integer)")
    query = "SELECT variant, exposures, events FROM unseen WHERE :start < :end"
    async with source(url, query, TimeFormat.EPOCH) as metrics:
        with pytest.raises(MetricSourceUnavailable, match=r"refused \(.*unseen.*\): the metric 'errors'"):
            await metrics.check()


async def test_a_missing_column_of_the_answer_is_named(database: tuple[str, Run]) -> None:
    url, run = database
    run("CREATE TABLE seen (n integer)")
    async with source(url, "SELECT 'a' AS variant, n AS exposures FROM seen WHERE :start < :end") as metrics:
        with pytest.raises(BadMetricAnswer, match="'events' is missing"):
            await metrics.read(window(0, 1))


async def test_an_answer_of_a_million_rows_is_cut_off(database: tuple[str, Run]) -> None:
    url, run = database
    run("CREATE TABLE seen (n integer)")
    query = """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
        SELECT CAST(i AS text) AS variant, 1 AS exposures, 0 AS events FROM n WHERE :start < :end
    """
    async with source(url, query, TimeFormat.EPOCH) as metrics:
        with pytest.raises(BadMetricAnswer, match="more than 1000 rows"):
            await metrics.read(window(0, 1))


async def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    async with source(f"sqlite:///{tmp_path}/missing.db", f"SELECT 1 FROM seen WHERE {WINDOWED}") as metrics:
        with pytest.raises(MetricSourceUnavailable, match=r"missing\.db does not exist"):
            await metrics.check()
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_someone_writes_is_read_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE seen (at real)")
        writer.commit()
        query = f"{COUNTED} FROM seen WHERE {WINDOWED}"
        async with source(f"sqlite:///{path}", query, TimeFormat.EPOCH) as metrics:
            for count in range(1, 4):
                writer.execute("INSERT INTO seen VALUES (?)", (NOON.timestamp(),))
                writer.commit()
                writer.execute("BEGIN IMMEDIATE")
                assert (await metrics.read(window(0, 1))).by_variant == {"control": Sample(count)}
                writer.commit()
    writer.close()


async def test_a_locked_file_is_waited_for_no_longer_than_the_timeout(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    writer = sqlite3.connect(path)
    writer.execute("CREATE TABLE seen (at real)")
    writer.commit()
    writer.execute("BEGIN EXCLUSIVE")
    query = f"{COUNTED} FROM seen WHERE {WINDOWED}"
    async with source(f"sqlite:///{path}", query, TimeFormat.EPOCH, timeout=timedelta(seconds=0.3)) as metrics:
        with pytest.raises(MetricSourceUnavailable, match="did not answer within"):
            await metrics.read(window(0, 1))
    writer.close()


async def test_a_file_url_keeps_its_options_and_becomes_read_only(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as writer:
        writer.execute("CREATE TABLE seen (at real)")
    writer.close()
    query = f"{COUNTED} FROM seen WHERE {WINDOWED}"
    url = f"sqlite:///file:{tmp_path}/shop.db?uri=true&mode=rwc&cache=private"
    async with source(url, query, TimeFormat.EPOCH) as metrics:
        assert (await metrics.read(window(0, 1))).by_variant == {"control": Sample(0)}
        async with metrics._database.connected() as connection:
            with pytest.raises(DBAPIError, match="readonly"):
                await connection.exec_driver_sql("INSERT INTO seen VALUES (1)")


@pytest.mark.parametrize("password", ["hunter2", "p@ss/w:rd%"])
async def test_a_wrong_password_is_shown_nowhere(postgres_url: str, password: str) -> None:
    url = make_url(postgres_url).set(password=password)
    async with source(url.render_as_string(False), f"SELECT 1 FROM seen WHERE {WINDOWED}") as metrics:
        with pytest.raises(MetricSourceUnavailable, match="refused") as caught:
            await metrics.check()
    shown = "".join(traceback.format_exception(caught.value))
    for spelling in (password, url.render_as_string(False)):
        assert spelling not in shown


async def test_a_secret_in_the_databases_own_words_is_taken_out(tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()
    url = f"sqlite:///file:{tmp_path}/shop.db?uri=true&access_token=hunter2"
    async with source(url, f"SELECT hunter2 FROM hunter2 WHERE {WINDOWED}") as metrics:
        with pytest.raises(MetricSourceUnavailable, match=r"no such table: \*\*\*") as caught:
            await metrics.check()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


async def test_nobody_at_the_address_is_an_outage() -> None:
    query = f"SELECT 1 FROM seen WHERE {WINDOWED}"
    async with source("postgres://sluice:hunter2@127.0.0.1:9/shop", query) as metrics:
        with pytest.raises(MetricSourceUnavailable, match=r"127\.0\.0\.1:9/shop refused") as caught:
            await metrics.check()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


async def test_an_address_that_never_answers_is_given_up() -> None:
    query = f"SELECT 1 FROM seen WHERE {WINDOWED}"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/shop"
        async with source(url, query, timeout=timedelta(seconds=0.1)) as metrics:
            started = time.monotonic()
            with pytest.raises(MetricSourceUnavailable, match=r"did not answer within 0\.1 s"):
                await metrics.check()
            assert time.monotonic() - started < 4


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("not a url hunter2", "can't be read"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("oracle8://u:hunter2@h/d", "driver 'oracle8'"),
        ("postgresql+psycopg2://u:hunter2@h/d", "driver 'postgresql\\+psycopg2'"),
        ("mysql+asyncmy://u:hunter2@h/d", "driver 'mysql\\+asyncmy'"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        SqlMetricSource(url, [])
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
