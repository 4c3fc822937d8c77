"""The outbox: what people are to be told, written in the transaction of what it tells, delivered later by someone else.

Kinds: `card` (bring the rollout's card up to date), `note` (a line in the rollout's thread), `alert` (a line that
needs a person now), `nudge` (a line that reminds people of an open question), `question` (have the messages that asked
it say what became of it), `direct` (to one person only).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tools.records.models import Conversation, OutboxMessage, Rollout


class Kind(StrEnum):
    CARD = "card"
    NOTE = "note"
    ALERT = "alert"
    NUDGE = "nudge"
    QUESTION = "question"
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
    minor: bool = False,
) -> None:
    """Add a message in the caller's transaction, unless an open one with the same `replaces` will say it all.

    A `minor` one tells of nothing that happened, and gives way to all others.

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
            .values(
                generation=OutboxMessage.generation + 1,
                urgent=urgent or OutboxMessage.urgent,
                minor=OutboxMessage.minor if minor else False,
            )
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
            minor=minor,
            status=Status.OPEN,
            created_at=at,
            due_at=at,
        )
    )


async def due(
    session: AsyncSession, *, now: datetime, limit: int = 100, each: int = 25, first: Sequence[str] = ()
) -> Sequence[OutboxMessage]:
    """The first open message of every lane, if it is due, `each` of a channel and `limit` in all.

    First those with something urgent in line, and of them those of rollouts in the phases `first`; then the channels
    and people in turn, each with its oldest, channels before people, so that none waits until another has nothing left.
    New messages and edits of cards take turns apart, as Slack limits them apart. An urgent message waits for those
    before it in its lane, so they go ahead with it. What is minor comes last, the oldest first wherever it is.
    """
    urgent = func.max(case((OutboxMessage.urgent, 1), else_=0))
    heads = (
        select(func.min(OutboxMessage.id).label("id"), urgent.label("urgent"))
        .where(OutboxMessage.status == Status.OPEN)
        .group_by(OutboxMessage.lane)
        .subquery()
    )
    ahead = case((Rollout.phase.in_(first), heads.c.urgent), else_=0)
    is_direct = OutboxMessage.kind == Kind.DIRECT
    talk = case((is_direct, OutboxMessage.payload["person"].as_string()), else_=Conversation.channel)
    is_edit = case(
        (OutboxMessage.kind == Kind.QUESTION, True),
        (OutboxMessage.kind == Kind.CARD, Conversation.card_ts.is_not(None)),
        else_=False,
    )
    turn = func.row_number().over(
        partition_by=(func.coalesce(talk, OutboxMessage.lane), is_edit),
        order_by=(ahead.desc(), heads.c.urgent.desc(), OutboxMessage.minor, OutboxMessage.id),
    )
    queue = (
        select(heads.c.id, heads.c.urgent, ahead.label("ahead"), turn.label("turn"))
        .join(OutboxMessage, OutboxMessage.id == heads.c.id)
        .outerjoin(Rollout, Rollout.id == OutboxMessage.rollout_id)
        .outerjoin(Conversation, Conversation.id == Rollout.conversation_id)
        .where(OutboxMessage.due_at <= now)
        .subquery()
    )
    query = (
        select(OutboxMessage)
        .join(queue, queue.c.id == OutboxMessage.id)
        .where(queue.c.turn <= each)
        .order_by(
            queue.c.ahead.desc(),
            queue.c.urgent.desc(),
            OutboxMessage.minor,
            case((OutboxMessage.minor, 0), else_=queue.c.turn),
            is_direct,
            OutboxMessage.id,
        )
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def behind(session: AsyncSession, message: OutboxMessage, *, limit: int) -> Sequence[OutboxMessage]:
    """The open messages that wait behind one in its lane, the oldest first."""
    query = (
        select(OutboxMessage)
        .where(OutboxMessage.lane == message.lane, OutboxMessage.status == Status.OPEN, OutboxMessage.id > message.id)
        .order_by(OutboxMessage.id)
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def delivered(session: AsyncSession, kind: Kind, *, rollout_id: str, since: datetime) -> Sequence[OutboxMessage]:
    """The messages of a kind that people were told of a rollout and that were made since then, the oldest first."""
    query = select(OutboxMessage).where(
        OutboxMessage.rollout_id == rollout_id,
        OutboxMessage.kind == kind,
        OutboxMessage.status == Status.DELIVERED,
        OutboxMessage.created_at >= since,
    )
    return (await session.scalars(query.order_by(OutboxMessage.id))).all()


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
