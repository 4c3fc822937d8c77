"""Checks of rollouts that ended long ago: those that no decision rested on are deleted.

A rollout of two weeks leaves some eighty thousand checks, a few KB each. What the decision log speaks of stays, and so
does the last check. An event names these with their digests first, so that an audit knows what must still be there.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tools.records import log
from tools.records.database import Database
from tools.records.models import GateCheck, Rollout
from tools.rollouts import checks, store
from tools.rollouts.events import SLUICE, Happening

BATCH = 500
"""Checks in one transaction, so that nobody waits long for the database."""


async def delete_checks(database: Database, *, now: datetime, keep: timedelta) -> int:
    """Delete the checks of rollouts that ended longer than `keep` ago, save those that were acted on; how many."""
    query = select(Rollout.id).where(Rollout.ended_at < now - keep, Rollout.checks_deleted_at.is_(None))
    async with database.read() as session:
        ended = (await session.scalars(query.order_by(Rollout.ended_at))).all()
    return sum([await _delete_of(database, rollout_id, now) for rollout_id in ended])


async def _delete_of(database: Database, rollout_id: str, now: datetime) -> int:
    async def announce(session: AsyncSession) -> list[str]:
        return await _announce(session, await store.load(session, rollout_id), now)

    kept, deleted = await store.transact(database, announce), 0
    while batch := await _delete_batch(database, rollout_id, kept):
        deleted += batch
    async with database.write() as session:
        await session.execute(update(Rollout).where(Rollout.id == rollout_id).values(checks_deleted_at=now))
    return deleted


async def _announce(session: AsyncSession, rollout: Rollout, now: datetime) -> list[str]:
    """Write down, once, which checks are kept; their ids."""
    for event in await log.newest(session, rollout.id, kinds=[Happening.CHECKS_DELETED], limit=1):
        return list(event.payload["kept"])
    acted_on = {event.payload.get("check") async for event in log.read(session, rollout_id=rollout.id)}
    query = select(GateCheck).where(
        GateCheck.rollout_id == rollout.id, GateCheck.id.in_({*acted_on, rollout.last_check_id} - {None})
    )
    kept = {check.id: checks.digest(check) for check in await session.scalars(query.order_by(GateCheck.at))}
    facts: dict[str, Any] = {"flag": rollout.flag, "environment": rollout.environment, "kept": kept}
    # Only the log is told: nobody wants to see a card of long ago move.
    await log.append(session, Happening.CHECKS_DELETED, at=now, actor=SLUICE, rollout_id=rollout.id, payload=facts)
    return list(kept)


async def _delete_batch(database: Database, rollout_id: str, kept: list[str]) -> int:
    some = (
        select(GateCheck.id).where(GateCheck.rollout_id == rollout_id, GateCheck.id.not_in(kept)).limit(BATCH)
    ).scalar_subquery()
    async with database.write() as session:
        gone = await session.execute(delete(GateCheck).where(GateCheck.id.in_(some)).returning(GateCheck.id))
        return len(gone.all())
