"""The pictures on the cards: which one a card shows or may try, and which are to be deleted."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tools.records.models import CardPicture, Conversation, Rollout

READY_AFTER = timedelta(seconds=1.5)
"""Slack looks through what was uploaded before blocks may show it, which takes about a second."""
MOST_TRIES = 6
"""How often a card is refused for its picture before the picture is given up: about two minutes."""


async def add(
    session: AsyncSession, file_id: str, *, rollout_id: str, shows: str, says: str, at: datetime
) -> CardPicture:
    """Write down a picture that was uploaded at `at`."""
    picture = CardPicture(
        file_id=file_id, rollout_id=rollout_id, shows=shows, says=says, uploaded_at=at, try_at=at + READY_AFTER
    )
    session.add(picture)
    await session.flush()
    return picture


async def of_card(session: AsyncSession, rollout_id: str, *, now: datetime) -> Sequence[CardPicture]:
    """What the rollout's card may show, the newest first: one that may be tried now, and the one that it shows."""
    query = select(CardPicture).where(
        CardPicture.rollout_id == rollout_id,
        CardPicture.retired_at.is_(None),
        CardPicture.shown_at.is_not(None) | (CardPicture.try_at <= now),
    )
    return (await session.scalars(query.order_by(CardPicture.uploaded_at.desc()))).all()


async def took(session: AsyncSession, picture: CardPicture, *, at: datetime) -> None:
    """The card shows it now, so those from before it are on no card any more."""
    await session.execute(
        update(CardPicture)
        .where(CardPicture.file_id == picture.file_id, CardPicture.shown_at.is_(None))
        .values(shown_at=at)
    )
    await session.execute(
        update(CardPicture)
        .where(
            CardPicture.rollout_id == picture.rollout_id,
            CardPicture.uploaded_at <= picture.uploaded_at,
            CardPicture.file_id != picture.file_id,
            CardPicture.retired_at.is_(None),
        )
        .values(retired_at=at)
    )


async def refused(session: AsyncSession, picture: CardPicture, *, at: datetime) -> bool:
    """Slack would not show it: it is too early, or too late. Whether it was given up."""
    tries = picture.tries + 1
    over = picture.shown_at is not None or tries >= MOST_TRIES
    await session.execute(
        update(CardPicture)
        .where(CardPicture.file_id == picture.file_id)
        .values(tries=tries, try_at=at + READY_AFTER * (1 << tries), retired_at=at if over else None)
    )
    return over


async def untried(session: AsyncSession, *, now: datetime) -> Sequence[str]:
    """The rollouts whose cards may try a picture now that they do not show yet."""
    query = select(CardPicture.rollout_id).where(
        CardPicture.shown_at.is_(None), CardPicture.retired_at.is_(None), CardPicture.try_at <= now
    )
    return (await session.scalars(query.distinct())).all()


async def retired(session: AsyncSession, *, limit: int) -> Sequence[tuple[CardPicture, str]]:
    """Some that no card shows any more, each with its workspace, those first that are so the longest."""
    query = (
        select(CardPicture, func.coalesce(Conversation.workspace, ""))
        .join(Rollout, Rollout.id == CardPicture.rollout_id)
        .outerjoin(Conversation, Conversation.id == Rollout.conversation_id)
        .where(CardPicture.retired_at.is_not(None))
        .order_by(CardPicture.retired_at)
    )
    return [(row[0], row[1]) for row in (await session.execute(query.limit(limit))).all()]


async def forget(session: AsyncSession, file_id: str) -> None:
    """It was deleted."""
    await session.execute(delete(CardPicture).where(CardPicture.file_id == file_id))
