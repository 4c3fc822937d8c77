"""A call that is cancelled while it connects leaves no connection open (an open one is a warning, and so an error)."""

import asyncio
import gc
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tools.records.database import Database

STEPS = 40
"""More turns of the event loop than it takes to connect and ask."""


async def ask(database: Database) -> None:
    async with database.read() as session:
        await session.execute(text("SELECT 1"))


def finish(threads: set[threading.Thread]) -> None:
    """Wait for the end of connections' threads."""
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive(), "a connection's thread never ended"


@pytest.mark.parametrize("file", ["there.db", None])
async def test_a_call_cancelled_at_any_moment_leaves_nothing_open(tmp_path: Path, file: str | None) -> None:
    others = set(threading.enumerate())
    for steps in range(STEPS):
        database = Database(f"sqlite:///{tmp_path / file}" if file else "sqlite://")
        asking = asyncio.create_task(ask(database))
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await database.close()
        del asking, database
        finish(set(threading.enumerate()) - others)
    gc.collect()


async def test_a_file_that_cannot_be_opened_is_an_error_and_no_more(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}")
    with pytest.raises(OperationalError, match="unable to open database file"):
        await ask(database)
    await database.close()
    gc.collect()


async def test_who_still_works_with_the_database_when_it_is_closed_leaves_nothing_open(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'sluice.db'}")
    reading, closed = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with database.read() as session:
            await session.execute(text("SELECT 1"))
            reading.set()
            await closed.wait()
            await session.execute(text("SELECT 1"))

    working = asyncio.create_task(work())
    await reading.wait()
    await database.close()
    closed.set()
    with pytest.raises(OperationalError, match="no active connection"):
        await working
    del working
    gc.collect()
