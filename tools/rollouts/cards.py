"""The messages that rollouts' cards are: which rollouts one shows, and having it brought up to date."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from tools.records.models import Conversation, Rollout
from tools.rollouts.events import refresh_card
from tools.rollouts.scope import Scope


async def shown_on(session: AsyncSession, channel: str, ts: str, *, scope: Scope) -> Sequence[str]:
    """The ids of the rollouts within the scope whose card the message is; none for a message that is no card."""
    return [rollout.id for rollout in (await session.scalars(_of_card(channel, ts, scope))).all()]


async def freshen(session: AsyncSession, channel: str, ts: str, *, scope: Scope, at: datetime) -> None:
    """Have the card that the message is brought up to date; a message that is no card stays as it is."""
    for rollout in (await session.scalars(_of_card(channel, ts, scope))).all():
        await refresh_card(session, rollout, at=at)


def _of_card(channel: str, ts: str, scope: Scope) -> Select[Rollout]:
    placed = select(Rollout).join(Conversation, Conversation.id == Rollout.conversation_id)
    return placed.where(Conversation.channel == channel, Conversation.card_ts == ts, scope.rows())
