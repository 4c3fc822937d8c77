"""Databases whose drivers are not async, on a real DuckDB: bounded in time, read-only, silent about secrets."""

import asyncio
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from tools.errors import ConfigurationError
from tools.metrics.base import MetricQuery, MetricSourceUnavailable, Sample, Window
from tools.metrics.catalogue import MetricDefinition
from tools.metrics.sql import engines
from tools.metrics.sql.source import SqlMetricSource

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = MetricQuery("errors", "new-checkout", "production", Window(NOON, NOON + timedelta(minutes=1)))
COUNTED = "SELECT 'new' AS variant, COUNT(*) AS exposures, 0 AS events, MAX(seen_at) AS newest FROM seen"
WINDOWED = "seen_at >= :start AND seen_at < :end"
ENDLESS = f"{COUNTED}, range(10000000), range(1000000) WHERE {WINDOWED}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.duckdb"
    run(path, "CREATE TABLE seen (seen_at TIMESTAMP)", "INSERT INTO seen VALUES ('2026-03-01 12:00:30')")
    return path


def run(path: Path, *statements: str) -> None:
    """As a service that writes."""
    engine = create_engine(f"duckdb:///{path}")
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def source(path: Path, query: str = f"{COUNTED} WHERE {WINDOWED}", **options: Any) -> SqlMetricSource:
    plain = {"name": "errors", "source": "shop", "title": "Errors", "query": query}
    return SqlMetricSource(f"duckdb:///{path}", [MetricDefinition.model_validate(plain)], **options)


async def test_times_without_a_zone_are_utc_whatever_the_machines(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    ours = source(file)
    try:
        reading = await ours.read(MINUTE)
    finally:
        monkeypatch.undo()
        time.tzset()
        await ours.close()
    assert (reading.by_variant, reading.newest) == ({"new": Sample(1)}, NOON + timedelta(seconds=30))


async def test_others_can_write_the_file_between_two_questions(file: Path) -> None:
    ours = source(file)
    for count in range(1, 4):
        assert (await ours.read(MINUTE)).by_variant == {"new": Sample(count)}
        await asyncio.to_thread(run, file, "INSERT INTO seen VALUES ('2026-03-01 12:00:31')")
    await ours.close()


async def test_a_query_that_takes_too_long_is_interrupted_and_leaves_its_thread(file: Path) -> None:
    ours = source(file, ENDLESS, timeout=timedelta(seconds=0.2))
    for _ in range(engines.THREADS + 2):
        started = time.monotonic()
        with pytest.raises(MetricSourceUnavailable, match=r"did not answer within 0\.2 s"):
            await ours.read(MINUTE)
        assert time.monotonic() - started < 2
    await ours.close()
    for _ in range(100):
        if not [one for one in threading.enumerate() if one.name.startswith("sluice-sql")]:
            break
        await asyncio.sleep(0.05)
    assert not [one for one in threading.enumerate() if one.name.startswith("sluice-sql")]


async def test_a_check_names_the_metric_whose_query_is_wrong(file: Path) -> None:
    ours = source(file, f"SELECT variant, n FROM nowhere WHERE {WINDOWED}")
    with pytest.raises(MetricSourceUnavailable, match=r"nowhere.*the metric 'errors'"):
        await ours.check()
    await ours.close()
    well = source(file)
    await well.check()
    await well.close()


async def test_nothing_is_written(file: Path) -> None:
    ours = source(file)
    database = ours._database
    assert isinstance(database, engines.ThreadDatabase)
    with pytest.raises(Exception, match="read-only"):
        await database.ask(text("INSERT INTO seen VALUES (now()) RETURNING 1"), {}, 1)
    await ours.close()


async def test_what_a_driver_raises_of_its_own_is_an_outage_without_secrets(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such project: hunter2")

    ours = SqlMetricSource(f"duckdb:///{file}?motherduck_token=hunter2", [])
    monkeypatch.setattr("duckdb.connect", fail)
    with pytest.raises(MetricSourceUnavailable, match=r"refused \(RuntimeError: no such project: \*\*\*\)") as caught:
        await ours.check()
    await ours.close()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("until", range(185, 200, 3))
async def test_a_secret_that_a_drivers_words_are_cut_in_is_not_begun(
    file: Path, monkeypatch: pytest.MonkeyPatch, until: int
) -> None:
    secret, longer = "hunter2-swordfish", "hunter2-swordfish-and-more"

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("x".ljust(until - len("RuntimeError: ")) + longer)

    ours = SqlMetricSource(f"duckdb:///{file}?access_key={secret}&motherduck_token={longer}", [])
    monkeypatch.setattr("duckdb.connect", fail)
    with pytest.raises(MetricSourceUnavailable) as caught:
        await ours.check()
    await ours.close()
    assert not any(part in str(caught.value) for part in ("hun", "sword", "more"))


def test_a_warehouse_is_bounded_by_its_own_session() -> None:
    url = make_url("snowflake://reader:hunter2@acme/shop/public?warehouse=small")
    assert engines._connect_args(url, 10.0) == {
        "login_timeout": 10,
        "network_timeout": 10,
        "session_parameters": {"STATEMENT_TIMEOUT_IN_SECONDS": 10, "TIMEZONE": "UTC"},
    }


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("duckdb:///:memory:", "in memory"),
        ("duckdb://", "in memory"),
        ("snowflake://reader:hunter2@acme/shop", "install it .such as snowflake-sqlalchemy"),
        ("bigquery://project/dataset?credentials_base64=hunter2", "install it"),
        ("sqlite+pysqlite:///shop.db", "take an async one"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_to_install(url: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        SqlMetricSource(url, [])
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


async def test_only_what_is_elsewhere_rests_and_each_keeps_how_it_answered_last(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = source(file)
    assert (ours.rests, ours.newest_answer) == (False, None)
    await ours.read(MINUTE)
    assert ours.newest_answer is not None
    assert ours.newest_answer.well
    file.unlink()
    with pytest.raises(MetricSourceUnavailable, match="does not exist"):
        await ours.read(MINUTE)
    assert not ours.newest_answer.well
    await ours.close()
    monkeypatch.setattr("tools.metrics.sql.source.IN_FILES", frozenset())
    warehouse = source(file)
    assert warehouse.rests
    await warehouse.close()
