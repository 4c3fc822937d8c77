"""The outbox: what people are to be told, written in the transaction of what it tells, delivered later by someone else.

Kinds: `card` (bring the rollout's card up to date), `note` (a line in the rollout's thread), `alert` (a line that
needs a person now), `nudge` (a line that reminds people of an open question), `direct` (to one person only).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tools.records.models import OutboxMessage


class Kind(StrEnum):
    CARD = "card"
    NOTE = "note"
    ALERT = "alert"
    NUDGE = "nudge"
    DIRECT = "direct"


class Status(StrEnum):
    OPEN = "open"
    DELIVERED = "delivered"
    FAILED = "failed"  # it can't be delivered; `error` says why


async def put(
    session: AsyncSession,
    kind: Kind,
    *,
    lane: str,
    at: datetime,
    payload: Mapping[str, Any] | None = None,
    rollout_id: str | None = None,
    replaces: str | None = None,
    urgent: bool = False,
) -> None:
    """Add a message in the caller's transaction, unless an open one with the same `replaces` will say it all.

    A message is rendered from the state at its delivery; raising the open one's generation keeps a delivery that
    is under way from closing it with the older state. An urgent message makes those before it in its lane urgent and
    due at once, however long they were postponed.
    """
    if urgent:
        await session.execute(
            update(OutboxMessage)
            .where(OutboxMessage.lane == lane, OutboxMessage.status == Status.OPEN)
            .where(or_(OutboxMessage.due_at > at, OutboxMessage.urgent.is_(False)))
            .values(urgent=True, due_at=case((OutboxMessage.due_at > at, at), else_=OutboxMessage.due_at))
        )
    if replaces is not None:
        renewed = await session.execute(
            update(OutboxMessage)
            .where(OutboxMessage.replaces == replaces, OutboxMessage.status == Status.OPEN)
            .values(generation=OutboxMessage.generation + 1, urgent=urgent or OutboxMessage.urgent)
            .returning(OutboxMessage.id)
        )
        if renewed.first() is not None:
            return
    session.add(
        OutboxMessage(
            lane=lane,
            kind=kind,
            rollout_id=rollout_id,
            payload=dict(payload or {}),
            replaces=replaces,
            urgent=urgent,
            status=Status.OPEN,
            created_at=at,
            due_at=at,
        )
    )


async def due(session: AsyncSession, *, now: datetime, limit: int = 100) -> Sequence[OutboxMessage]:
    """The first open message of every lane, if it is due: first those with something urgent in line, then the oldest.

    An urgent message waits for those before it in its lane, so they go ahead with it.
    """
    urgent = func.max(case((OutboxMessage.urgent, 1), else_=0))
    heads = (
        select(func.min(OutboxMessage.id).label("id"), urgent.label("urgent"))
        .where(OutboxMessage.status == Status.OPEN)
        .group_by(OutboxMessage.lane)
        .subquery()
    )
    query = (
        select(OutboxMessage)
        .join(heads, heads.c.id == OutboxMessage.id)
        .where(OutboxMessage.due_at <= now)
        .order_by(heads.c.urgent.desc(), OutboxMessage.id)
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def settle(
    session: AsyncSession, message: OutboxMessage, *, status: Status, at: datetime, error: str | None = None
) -> None:
    """Close a message as delivered or failed; one that was renewed since it was read stays open."""
    await session.execute(
        update(OutboxMessage)
        .where(
            OutboxMessage.id == message.id,
            OutboxMessage.status == Status.OPEN,
            OutboxMessage.generation == message.generation,
        )
        .values(status=status, ended_at=at, error=error, attempts=OutboxMessage.attempts + 1)
    )


async def postpone(session: AsyncSession, message: OutboxMessage, *, until: datetime, error: str) -> None:
    """Leave a message open, to be tried again at `until`; at once if it became urgent since it was read."""
    await session.execute(
        update(OutboxMessage)
        .where(OutboxMessage.id == message.id, OutboxMessage.status == Status.OPEN)
        .values(
            due_at=case((OutboxMessage.urgent == message.urgent, until), else_=OutboxMessage.due_at),
            error=error,
            attempts=OutboxMessage.attempts + 1,
        )
    )
