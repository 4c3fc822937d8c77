"""What ended long ago is deleted; what is open stays, however old."""

from datetime import timedelta

from sqlalchemy import select

from tools.clock import ManualClock
from tools.jobs.in_process import Status as JobStatus
from tools.records import outbox
from tools.records.database import Database
from tools.records.models import Job, OutboxMessage, Record
from tools.records.outbox import Kind, Status
from tools.records.retention import KEEP, delete_ended


async def test_what_ended_long_ago_is_deleted_and_nothing_else() -> None:
    database, clock = Database("sqlite://"), ManualClock()
    async with database.engine.begin() as connection:
        await connection.run_sync(Record.metadata.create_all)
    for ending in (Status.DELIVERED, Status.FAILED, None):
        async with database.write() as session:
            await outbox.put(session, Kind.DIRECT, lane="x", at=clock.now())
            await session.flush()
            [message] = (await session.scalars(select(OutboxMessage).where(OutboxMessage.status == Status.OPEN))).all()
            if ending is not None:
                await outbox.settle(session, message, status=ending, at=clock.now())
            ended_at = None if ending is None else clock.now()
            status = JobStatus.QUEUED if ending is None else JobStatus.DONE
            session.add(
                Job(
                    kind="plan",
                    key="x",
                    payload={},
                    status=status,
                    created_at=clock.now(),
                    due_at=clock.now(),
                    ended_at=ended_at,
                )
            )
    clock.advance(KEEP.total_seconds())
    assert await delete_ended(database, now=clock.now()) == 0
    assert await delete_ended(database, now=clock.now() + timedelta(seconds=1)) == 4
    async with database.read() as session:
        assert [one.status for one in await session.scalars(select(OutboxMessage))] == [Status.OPEN]
        assert [one.status for one in await session.scalars(select(Job))] == [JobStatus.QUEUED]
    await database.close()
