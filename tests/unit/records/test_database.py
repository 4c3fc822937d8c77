"""Which databases can be used, and what is said of one that somebody else holds."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, OperationalError

from tools.clock import ManualClock
from tools.errors import ConfigurationError
from tools.records import database as databases
from tools.records import leases
from tools.records.database import Database, is_busy, parse_url
from tools.records.models import Lease, Record


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:///x.db", "sqlite+aiosqlite"),
        ("postgres://u:p@h/n", "postgresql+psycopg"),
        ("postgresql+asyncpg://u:p@h/n", "postgresql+psycopg"),
    ],
)
def test_a_url_gets_the_driver_that_is_installed(url: str, driver: str) -> None:
    assert parse_url(url).drivername == driver


@pytest.mark.parametrize(
    ("url", "problem"), [("sluice.db", "can't be read"), ("mysql://u:secret@h/n", "sqlite or postgresql, not 'mysql'")]
)
def test_any_other_is_refused_without_its_password(url: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as refused:
        parse_url(url)
    assert "secret" not in str(refused.value)


async def test_who_waits_too_long_for_another_process_can_be_told_from_who_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "BUSY_TIMEOUT_S", 0)
    url = f"sqlite:///{tmp_path / 'sluice.db'}"
    one, other, clock = Database(url), Database(url), ManualClock()
    async with one.engine.begin() as connection:
        await connection.run_sync(Record.metadata.create_all)
    async with one.write() as session:
        session.add(Lease(name="x", owner="one", until=clock.now()))
        await session.flush()
        with pytest.raises(OperationalError) as refused:
            async with other.write() as late:
                await late.execute(text("DELETE FROM leases"))
        assert is_busy(refused.value)
        async with other.read() as reader:
            assert await reader.get(Lease, "x") is None, "readers see what was there before"
    with pytest.raises(OperationalError, match="no such table") as wrong:
        async with other.write() as session:
            await session.execute(text("DELETE FROM nobodys"))
    assert not is_busy(wrong.value)
    await one.close()
    await other.close()


@pytest.mark.parametrize(
    ("refusal", "busy"),
    [
        (psycopg.errors.LockNotAvailable, True),
        (psycopg.errors.DeadlockDetected, True),
        (psycopg.errors.SerializationFailure, True),
        (psycopg.errors.DiskFull, False),
        (psycopg.errors.AdminShutdown, False),
    ],
)
def test_what_postgresql_refuses_for_others_hold_it_may_be_tried_again(
    refusal: type[psycopg.Error], busy: bool
) -> None:
    assert is_busy(OperationalError("UPDATE x", None, refusal("refused"))) is busy


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
async def test_who_opens_a_new_file_while_another_process_writes_to_it_waits(tmp_path: Path, lock: str) -> None:
    file = tmp_path / "sluice.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute(f"BEGIN {lock}")
        database = Database(f"sqlite:///{file}")
        opening = asyncio.create_task(ask(database))
        await asyncio.sleep(0.1)
        assert not opening.done()
        other.execute("ROLLBACK")
    assert await opening == "wal"
    await database.close()


async def test_who_never_gets_a_new_file_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "BUSY_TIMEOUT_S", 0)
    file = tmp_path / "sluice.db"
    database = Database(f"sqlite:///{file}")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OperationalError) as refused:
            await ask(database)
        assert is_busy(refused.value)
    await database.close()


async def test_a_file_that_may_only_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    file = tmp_path / "sluice.db"
    with closing(sqlite3.connect(file)) as made:
        made.execute("CREATE TABLE x (y)")
    database = Database(f"sqlite:///file:{file}?mode=ro&uri=true")
    with pytest.raises(OperationalError, match="readonly"):
        await ask(database)
    await database.close()


async def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    file = tmp_path / "sluice.db"
    file.write_bytes(b"x" * 1000)
    database = Database(f"sqlite:///{file}")
    with pytest.raises(DatabaseError, match="file is not a database"):
        await ask(database)
    await database.close()


async def ask(database: Database) -> str:
    """The file's mode, asked for as a writer."""
    async with database.write() as session:
        return str(await session.scalar(text("PRAGMA journal_mode")))


async def test_nothing_is_asked_about_no_leases() -> None:
    database, clock = Database("sqlite://"), ManualClock()
    async with database.write() as session:
        # There is not even a table.
        assert await leases.claim(session, [], owner="one", now=clock.now(), ttl=clock.now() - clock.now()) == []
        await leases.release(session, [], owner="one")
    await database.close()
