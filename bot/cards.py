"""The living card of each rollout: posted once, brought up to date, found again, and the thread below it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import Block
from sqlalchemy import select, update

from bot.blocks.card import DECIDING, card, summary
from bot.names import Names
from bot.picturing import CardPictures, shown
from bot.posting import Messenger, post
from bot.services import Services
from bot.slack import code_of, is_trouble_of_slack, retry_after
from tools.errors import NotFound
from tools.records import log
from tools.records.models import Conversation, Rollout
from tools.rollouts import checks
from tools.rollouts.events import Happening
from tools.rollouts.expectation import expectations
from tools.rollouts.phases import Phase
from tools.rollouts.views import PlaceView, RolloutView

MOST_APPROVALS = 6
LOOK_BACK = 12
"""How many decisions are read for a card, which shows the newest of them and looks for where a rollback began."""

CARD_LOST = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
"""The card can't be edited any more, so a new one is posted."""
BLOCKS_REFUSED = "invalid_blocks"
"""Slack's word for blocks with a picture that it does not know yet, or not any more."""
THREAD_LOST = frozenset({"cannot_reply_to_message", "message_not_found", "thread_not_found"})
"""The card that the thread hangs on is gone, so a new one is posted."""

CARD_OF = "sluice_card"
"""The type of the metadata by which a card is known again."""
RECENT = 100
"""How many messages of a channel are looked through for a card."""

PACE_OF_A_CARD = 12
"""From how many of the newest checks a card says when the gate should have its verdict."""

NO_OUTLOOK = "notifier.no_outlook"

logger = structlog.get_logger(__name__)


class NowhereToTell(NotFound):
    """There is no channel for it; the message says which setting names one."""


class CardTeller:
    """Shows rollouts' cards, rendered from the state at this moment, and says what belongs below them.

    Raises SlackApiError, network errors, NowhereToTell, RolloutNotFound.
    """

    def __init__(self, services: Services, slack: Messenger, names: Names) -> None:
        self._services = services
        self._slack = slack
        self._names = names
        self._pictures = CardPictures(services)
        self._locks = WeakValueDictionary[str, asyncio.Lock]()

    async def show(self, view: RolloutView) -> None:
        """Bring the card up to date, or post it."""
        place = place_of(view)
        if place.card_ts is not None and await self._edit_card(view, place):
            return
        place, posted = await self._new_card(view.id, instead_of=place.card_ts)
        if not posted:
            await self._edit_card(await self._services.rollouts.get(view.id), place)

    async def say_below(self, view: RolloutView, text: str, *, broadcast: bool) -> str:
        """Post a line in the card's thread, under a new card where there is none any more; its timestamp."""
        place = place_of(view)
        if place.card_ts is None:
            place, _ = await self._new_card(view.id, instead_of=None)
        try:
            return await post(self._slack, place.channel, text, thread_ts=place.thread_ts, broadcast=broadcast)
        except SlackApiError as error:
            if code_of(error) not in THREAD_LOST:
                raise
            place, _ = await self._new_card(view.id, instead_of=place.card_ts)
            return await post(self._slack, place.channel, text, thread_ts=place.thread_ts, broadcast=broadcast)

    async def _edit_card(self, view: RolloutView, place: PlaceView) -> bool:
        """Whether there was a card to edit."""

        async def edit(text: str, blocks: Sequence[Block]) -> str:
            plain = [block.to_dict() for block in blocks]
            answer = await self._slack.chat_update(
                channel=place.channel, ts=str(place.card_ts), text=text, blocks=plain
            )
            return str(answer["ts"])

        try:
            await self._with_card(view, edit)
        except SlackApiError as error:
            if code_of(error) not in CARD_LOST:
                raise
            return False
        return True

    async def _with_card(self, view: RolloutView, say: Callable[[str, Sequence[Block]], Awaitable[str]]) -> str:
        """Say the card with the newest picture that Slack will show: a card waits for none."""
        async with self._services.database.read() as session:
            decisions = await log.newest(session, view.id, kinds=DECIDING, limit=LOOK_BACK)
            approved = await log.newest(session, view.id, kinds=[Happening.APPROVAL_GRANTED], limit=MOST_APPROVALS)
        now = self._services.clock.now()
        if view.next_check is not None and view.next_check < now:
            # It is late, and a card must not promise what is past.
            view = replace(view, next_check=None)
        shown_as = partial(card, view, decisions, outlook=await self._outlook(view), approved=approved)
        for picture in await self._pictures.of_card(view):
            try:
                answer = await say(summary(view), shown_as(picture=shown(picture)))
            except SlackApiError as error:
                if code_of(error) != BLOCKS_REFUSED:
                    raise
                await self._pictures.refused(picture)
            else:
                await self._pictures.took(picture)
                return answer
        return await say(summary(view), shown_as())

    async def _new_card(self, rollout_id: str, *, instead_of: str | None) -> tuple[PlaceView, bool]:
        """Post a card instead of one that is lost or was never there; where it is, and whether it was posted here.

        A card and a line may both find that there is none: whoever comes second takes the first one's.
        """
        async with self._locks.setdefault(rollout_id, asyncio.Lock()):
            view = await self._services.rollouts.get(rollout_id)
            place = place_of(view)
            if place.card_ts != instead_of:
                return place, False
            standing = await self._standing_card(view, place) if instead_of is None else None
            ts = standing or await self._post_card(view, place)
            return await self._keep(place, ts), standing is None

    async def _standing_card(self, view: RolloutView, place: PlaceView) -> str | None:
        """A card that was posted though nobody wrote down where: the process died, or Slack's answer was lost."""
        try:
            answer = await self._slack.conversations_history(
                channel=place.channel, limit=RECENT, include_all_metadata=True
            )
        except SlackApiError as error:
            if retry_after(error) is not None or is_trouble_of_slack(error):
                raise
            return None
        found = (message for message in answer["messages"] if message.get("metadata") == _metadata(view))
        return next((str(message["ts"]) for message in found), None)

    async def _post_card(self, view: RolloutView, place: PlaceView) -> str:
        """A new card. It starts the thread, unless the conversation began with a thread that people had started.

        It calls nobody, as no edit of it does: whoever has to decide is asked below it.
        """
        within = _thread_of(place)

        async def say(text: str, blocks: Sequence[Block]) -> str:
            return await post(
                self._slack,
                place.channel,
                await self._names.quietly(text),
                await self._names.quietly_in(blocks),
                thread_ts=within,
                broadcast=within is not None,
                metadata=_metadata(view),
            )

        return await self._with_card(view, say)

    async def _keep(self, place: PlaceView, ts: str) -> PlaceView:
        """Write down where the card is. Whoever replied to it before this was written has begun the conversation."""
        thread_ts = _thread_of(place) or ts
        async with self._services.database.write() as session:
            begun = await session.scalar(
                select(Conversation.id).where(
                    Conversation.workspace == place.workspace,
                    Conversation.channel == place.channel,
                    Conversation.thread_ts == thread_ts,
                )
            )
            conversation_id = begun or place.conversation_id
            if conversation_id != place.conversation_id:
                await session.execute(
                    update(Rollout)
                    .where(Rollout.conversation_id == place.conversation_id)
                    .values(conversation_id=conversation_id)
                )
            await session.execute(
                update(Conversation).where(Conversation.id == conversation_id).values(card_ts=ts, thread_ts=thread_ts)
            )
        return PlaceView(conversation_id, place.workspace, place.channel, thread_ts, ts)

    async def _outlook(self, view: RolloutView) -> str | None:
        """When the gate should have its verdict; None where that can't be told, which must not hold up the card."""
        if view.phase is not Phase.PROGRESSING:
            return None
        now = self._services.clock.now()
        try:
            lines = await expectations(self._services.database, view, now=now, newest_checks=PACE_OF_A_CARD)
        except checks.UNREADABLE as error:
            logger.warning(NO_OUTLOOK, rollout=view.id, reason=type(error).__name__)
            return None
        return lines[-1] if lines else None


def place_of(view: RolloutView) -> PlaceView:
    """Where the rollout is talked about. Raises NowhereToTell."""
    if view.place is None:
        raise NowhereToTell("The rollout has no channel: plan it from a channel, or set SLUICE_SLACK_RELEASES_CHANNEL.")
    return view.place


def _metadata(view: RolloutView) -> dict[str, Any]:
    return {"event_type": CARD_OF, "event_payload": {"rollout": view.id}}


def _thread_of(place: PlaceView) -> str | None:
    """The thread that people had started, in which the card stands; None where the card starts its own."""
    return place.thread_ts if place.thread_ts != place.card_ts else None
