"""The decision log as it is stored and read, and ends that were not written by Sluice."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import update
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from tools.clock import ManualClock
from tools.records import log
from tools.records.database import Database
from tools.records.models import Lease, LogEvent, LogHead, Record

EVENTS = 5


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    made, clock = Database("sqlite://"), ManualClock()
    async with made.engine.begin() as connection:
        await connection.run_sync(Record.metadata.create_all)
    async with made.write() as session:
        for i in range(EVENTS):
            await log.append(
                session, f"kind {i % 2}", at=clock.now(), actor="test", rollout_id="r" if i else None, payload={"i": i}
            )
    yield made
    await made.close()


async def found(session: AsyncSession) -> list[str]:
    return [str(fault) for fault in await log.verify(session)]


async def test_what_is_stored_is_all_that_the_hashes_are_made_of(database: Database) -> None:
    async with database.read() as session:
        rows = [row async for row in log.stored(session)]
        of_one = [row async for row in log.stored(session, rollout_id="r")]
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert of_one == rows[1:]
    for row, before in zip(rows, [log.GENESIS, *(row.sha256 for row in rows)], strict=False):
        assert row.previous == before
        parts = row.seq, row.at, row.kind, row.actor, row.rollout_id, row.payload, row.previous
        assert log.event_hash(*parts) == row.sha256


async def test_the_newest_are_the_last_ones_oldest_first(database: Database) -> None:
    async with database.read() as session:
        assert [event.seq for event in await log.newest(session, "r", limit=2)] == [4, 5]
        assert [event.seq for event in await log.newest(session, "r", kinds=["kind 1"], limit=9)] == [2, 4]


async def test_an_event_after_the_recorded_end(database: Database) -> None:
    async with database.write() as session:
        await session.execute(update(LogHead).values(seq=EVENTS - 1))
    async with database.read() as session:
        assert await found(session) == ["event 5: stands after the recorded end: it was not written by Sluice"]


async def test_a_last_event_that_is_not_the_recorded_one(database: Database) -> None:
    async with database.write() as session:
        last = await session.get_one(LogEvent, EVENTS)
        last.actor = "someone"
        last.sha256 = log.event_hash(
            last.seq, last.at, last.kind, last.actor, last.rollout_id, last.payload, last.previous
        )
    async with database.read() as session:
        assert await found(session) == ["event 5: is not the recorded end: it was replaced"]


async def test_a_moment_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="without a time zone"):
        async with database.write() as session:
            session.add(Lease(name="x", owner="x", until=datetime(2026, 1, 1)))  # noqa: DTZ001
    async with database.write() as session:
        session.add(Lease(name="x", owner="x", until=datetime(2026, 1, 1, tzinfo=UTC)))
