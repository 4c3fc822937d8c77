"""One visit to a connection's thread a statement, and everything else as SQLAlchemy's own adapter has it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import CursorResult, event, text
from sqlalchemy.exc import IntegrityError, OperationalError

from tools.records.database import Database, is_busy


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'here.db'}")
    async with made.write() as session:
        await session.execute(text("CREATE TABLE seats (id INTEGER PRIMARY KEY, guest TEXT UNIQUE)"))
        await session.execute(text("INSERT INTO seats (guest) VALUES ('ada'), ('ben'), ('cy')"))
    yield made
    await made.close()


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What connections' threads were given to do, as it comes."""
    seen = list[str]()
    visit = aiosqlite.Connection._execute

    async def noted(self: aiosqlite.Connection, work: Any, *rest: Any, **named: Any) -> Any:
        seen.append(work.__name__)
        return await visit(self, work, *rest, **named)

    monkeypatch.setattr(aiosqlite.Connection, "_execute", noted)
    return seen


async def guests(database: Database) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(text("SELECT guest FROM seats ORDER BY id")))


async def test_a_statement_is_one_visit_and_so_is_the_end_of_a_transaction(
    database: Database, visits: list[str]
) -> None:
    assert await guests(database) == ["ada", "ben", "cy"]
    assert visits == ["carry_out", "rollback"]
    visits.clear()
    async with database.write() as session:
        await session.execute(text("UPDATE seats SET guest = 'di' WHERE guest = 'cy'"))
        await session.execute(text("DELETE FROM seats WHERE guest = 'ada'"))
    assert visits == ["carry_out", "carry_out", "commit"]
    visits.clear()
    async with database.engine.begin():
        """Nothing is asked."""
    assert visits == []


async def test_a_transaction_begins_with_its_first_statement(database: Database) -> None:
    async with database.write() as session, database.read() as reader:
        await session.execute(text("SELECT 1"))
        with (
            closing(sqlite3.connect(str(database.file), timeout=0)) as late,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            late.execute("BEGIN IMMEDIATE")
        await session.execute(text("DELETE FROM seats"))
        assert await reader.scalar(text("SELECT count(*) FROM seats")) == 3
    assert await guests(database) == []


async def test_what_raises_is_rolled_back(database: Database) -> None:
    async def twice() -> None:
        async with database.write() as session:
            await session.execute(text("DELETE FROM seats WHERE guest = 'cy'"))
            await session.execute(text("INSERT INTO seats (guest) VALUES ('ada')"))

    with pytest.raises(IntegrityError, match="UNIQUE"):
        await twice()
    assert await guests(database) == ["ada", "ben", "cy"]


async def test_after_a_first_statement_that_failed_the_next_are_in_one_transaction_still(database: Database) -> None:
    async with database.write() as session:
        with pytest.raises(OperationalError, match="no such table"):
            await session.execute(text("DELETE FROM nobodys"))
        await session.execute(text("DELETE FROM seats"))
        await session.rollback()
    assert await guests(database) == ["ada", "ben", "cy"]


async def test_after_a_transaction_that_could_not_begin_the_next_statement_begins_it(database: Database) -> None:
    @event.listens_for(database.engine.sync_engine, "connect")
    def hurry(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA busy_timeout=0")

    await database.engine.dispose()
    async with database.write() as session:
        with closing(sqlite3.connect(str(database.file))) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OperationalError) as refused:
                await session.execute(text("DELETE FROM seats"))
        assert is_busy(refused.value)
        await session.execute(text("DELETE FROM seats"))
        await session.rollback()
    assert await guests(database) == ["ada", "ben", "cy"]


@pytest.mark.parametrize("steps", range(30))
async def test_a_write_cancelled_at_any_moment_is_written_whole_or_not_at_all(database: Database, steps: int) -> None:
    async def write() -> None:
        async with database.write() as session:
            await session.execute(text("DELETE FROM seats WHERE guest = 'ada'"))
            await session.execute(text("DELETE FROM seats WHERE guest = 'ben'"))

    writing = asyncio.create_task(write())
    for _ in range(steps):
        await asyncio.sleep(0)
    writing.cancel()
    with suppress(asyncio.CancelledError):
        await writing
    assert await guests(database) in (["ada", "ben", "cy"], ["cy"])
    async with database.write() as session:
        await session.execute(text("DELETE FROM seats"))
    assert await guests(database) == [], "nothing is locked"


async def test_what_a_statement_did_is_told(database: Database) -> None:
    async with database.write() as session:
        changed = await session.execute(text("UPDATE seats SET guest = guest || '!' WHERE id > 1"))
        assert isinstance(changed, CursorResult)
        assert changed.rowcount == 2
        added = await session.execute(text("INSERT INTO seats (guest) VALUES ('di')"))
        assert isinstance(added, CursorResult)
        assert (added.lastrowid, added.rowcount) == (4, 1)
        returned = await session.execute(text("DELETE FROM seats WHERE id < 3 RETURNING id, guest"))
        assert list(returned.keys()) == ["id", "guest"]
        assert returned.fetchone() == (1, "ada")
        assert returned.fetchmany(5) == [(2, "ben!")]
        assert returned.fetchall() == []
        many = await session.execute(text("INSERT INTO seats (guest) VALUES (:g)"), [{"g": "ed"}, {"g": "flo"}])
        assert isinstance(many, CursorResult)
        assert many.rowcount == 2
        nobody = await session.execute(text("SELECT guest FROM seats WHERE id = :id"), {"id": 99})
        assert nobody.first() is None
    assert await guests(database) == ["cy!", "di", "ed", "flo"]


@pytest.mark.parametrize("first", [None, "SELECT 1"])
async def test_a_stream_reads_one_moment(database: Database, first: str | None) -> None:
    query = text("SELECT guest FROM seats ORDER BY id").execution_options(yield_per=1)
    async with database.read() as session:
        if first:
            await session.execute(text(first))
        rows = await session.stream_scalars(query)
        assert await anext(rows) == "ada"
        async with database.write() as writer:
            await writer.execute(text("DELETE FROM seats"))
        assert [one async for one in rows] == ["ben", "cy"]
        assert await session.scalar(text("SELECT count(*) FROM seats")) == 3, "it stands in a transaction"


async def test_a_connection_that_was_lost_is_not_used_again(database: Database) -> None:
    async with database.read() as session:
        connection = await session.connection()
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.close()
        with pytest.raises(OperationalError, match="no active connection") as lost:
            await session.execute(text("SELECT 1"))
    assert lost.value.connection_invalidated
    assert await guests(database) == ["ada", "ben", "cy"]
