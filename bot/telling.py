"""What is said to people, and where: the living card, its thread, the alerts channel, a direct message."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol
from weakref import WeakValueDictionary

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import Block
from sqlalchemy import select, update

from bot import texts
from bot.blocks.answers import card_link
from bot.blocks.card import DECIDING, card, summary
from bot.blocks.lines import line
from bot.blocks.mrkdwn import is_mentionable
from bot.blocks.news import MOST_MENTIONED, News, together
from bot.blocks.questions import nudge
from bot.calling import Caller
from bot.following import NewsTeller
from bot.listeners.links import permalink
from bot.picturing import CardPictures, shown
from bot.quiet import Held
from bot.routing import alerts_channel, is_page, quiet_until
from bot.services import Services
from bot.slack import code_of, is_trouble_of_slack, retry_after
from tools.errors import NotFound, SluiceError
from tools.people.base import PeopleUnavailable
from tools.plans.policy import rule_of
from tools.records import log, outbox
from tools.records.models import Conversation, OutboxMessage, Rollout
from tools.records.outbox import Kind
from tools.rollouts import checks
from tools.rollouts.approvals import Status
from tools.rollouts.events import Happening
from tools.rollouts.expectation import expectations
from tools.rollouts.phases import Phase
from tools.rollouts.views import PlaceView, RolloutView

PATIENCE_WITH_GROUPS = 3
"""How often Slack is asked again who is in a group before its name is said instead."""
MOST_APPROVALS = 6
LOOK_BACK = 12
"""How many decisions are read for a card, which shows the newest of them and looks for where a rollback began."""

CHANNEL_LOST = frozenset({"channel_not_found", "is_archived", "not_in_channel", "restricted_action"})
"""Slack refuses the channel, not the message."""
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

LINES = frozenset({Kind.NOTE, Kind.ALERT, Kind.NUDGE})
"""What is a line in a thread or a channel."""
LONGEST_TOGETHER = 12_000
"""How many characters of lines go into one message; Slack cuts one off at 40,000."""
REPEATABLE = frozenset({Happening.METRICS_BLIND, Happening.EXPOSURE_STUCK, Happening.CHANGED_BY_HAND})
"""What may happen again and again without people being able to do more about it than the first time."""
AGAIN_AFTER = timedelta(minutes=30)
"""When people are pinged of the same again."""
LONGEST_STORM = timedelta(days=1)
UNREADABLE = (LookupError, ValueError, TypeError)
"""How a message fails whose payload another release wrote."""

PACE_OF_A_CARD = 12
"""From how many of the newest checks a card says when the gate should have its verdict."""

MOVED = "notifier.alert_moved"
NO_OUTLOOK = "notifier.no_outlook"

logger = structlog.get_logger(__name__)


class NowhereToTell(NotFound):
    """There is no channel for it; the message says which setting names one."""


class Messenger(Protocol):
    """What is used of Slack's client."""

    async def chat_postMessage(self, *, channel: str, **arguments: Any) -> Any: ...  # noqa: N802 - Slack's name

    async def chat_update(self, *, channel: str, ts: str, **arguments: Any) -> Any: ...

    async def chat_getPermalink(self, *, channel: str, message_ts: str) -> Any: ...  # noqa: N802 - Slack's name

    async def conversations_history(self, *, channel: str, **arguments: Any) -> Any: ...


class Teller:
    """Says what an outbox message holds, rendered from the state at this moment, in a workspace's channels."""

    def __init__(self, services: Services, slack: Messenger, workspace: str = "") -> None:
        self._services = services
        self._channels = services.settings.slack.of(workspace)
        self._slack = slack
        self._caller = Caller(services, slack)
        self._news_teller = NewsTeller(services, slack)
        self._pictures = CardPictures(services)
        self._locks = WeakValueDictionary[str, asyncio.Lock]()

    async def tell(self, message: OutboxMessage, behind: Sequence[OutboxMessage] = ()) -> list[OutboxMessage]:
        """Say it, a line together with the lines `behind` it in its lane; which messages were said.

        Raises SlackApiError, network errors, PeopleUnavailable, NowhereToTell, RolloutNotFound, Held in quiet hours.
        """
        match Kind(message.kind):
            case Kind.CARD:
                await self._tell_card(await self._view(message))
            case Kind.NOTE | Kind.ALERT | Kind.NUDGE:
                return await self._tell_lines(message, behind)
            case Kind.DIRECT if "approval" in message.payload:
                await self._caller.tell(str(message.payload["approval"]), str(message.payload["person"]))
            case Kind.DIRECT if "news_after" in message.payload:
                await self._news_teller.tell(message)
            case Kind.DIRECT:
                await self._post(str(message.payload["person"]), str(message.payload["text"]))
        return [message]

    async def _view(self, message: OutboxMessage) -> RolloutView:
        if message.rollout_id is None:
            raise NowhereToTell("The message names no rollout, so it has neither a card nor a thread.")
        return await self._services.rollouts.get(message.rollout_id)

    async def _tell_card(self, view: RolloutView) -> None:
        """Bring the card up to date, or post it."""
        place = _place_of(view)
        if place.card_ts is not None and await self._edit_card(view, place):
            return
        place, posted = await self._new_card(view.id, instead_of=place.card_ts)
        if not posted:
            await self._edit_card(await self._services.rollouts.get(view.id), place)

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
            place = _place_of(view)
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
        """A new card. It starts the thread, unless the conversation began with a thread that people had started."""
        within = _thread_of(place)

        async def post(text: str, blocks: Sequence[Block]) -> str:
            return await self._post(
                place.channel, text, blocks, thread_ts=within, broadcast=within is not None, metadata=_metadata(view)
            )

        return await self._with_card(view, post)

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

    async def _tell_thread(self, view: RolloutView, text: str, *, broadcast: bool) -> None:
        place = _place_of(view)
        if place.card_ts is None:
            place, _ = await self._new_card(view.id, instead_of=None)
        try:
            await self._post(place.channel, text, thread_ts=place.thread_ts, broadcast=broadcast)
        except SlackApiError as error:
            if code_of(error) not in THREAD_LOST:
                raise
            place, _ = await self._new_card(view.id, instead_of=place.card_ts)
            await self._post(place.channel, text, thread_ts=place.thread_ts, broadcast=broadcast)

    # -- lines ------------------------------------------------------------------------------------------------------

    async def _tell_lines(self, message: OutboxMessage, behind: Sequence[OutboxMessage]) -> list[OutboxMessage]:
        """In the rollout's thread; an alert in its channel too, and in the alerts channel where Slack refuses that."""
        view = await self._view(message) if message.rollout_id is not None else None
        if view is None:
            self._wait_for_the_end_of_quiet_hours(message)
        told, news = await self._news(message, behind, view)
        if not news:
            return told
        text, broadcast = together(news), any(one.broadcast for one in news)
        if view is None:
            await self._post(self._alerts_channel(message), text)
            return told
        if broadcast and self._is_quiet_for(view, told):
            broadcast = False
        try:
            await self._tell_thread(view, text, broadcast=broadcast)
        except SlackApiError as error:
            if not broadcast or code_of(error) not in CHANNEL_LOST:
                raise
            logger.warning(MOVED, channel=view.place and view.place.channel, reason=code_of(error))
            channel = self._channel_for(view.environment, view.plan.tags)
            await self._post(channel, together(news, about=(view.flag, view.environment)))
        return told

    async def _news(
        self, message: OutboxMessage, behind: Sequence[OutboxMessage], view: RolloutView | None
    ) -> tuple[list[OutboxMessage], list[News]]:
        """What the messages have to say, up to the first that has to wait for its own turn; and which these are."""
        told, news = [message], [await self._news_of(message, view)]
        for one in behind:
            if view is None and self._alerts_channel(one) != self._alerts_channel(message):
                break
            try:
                more = await self._news_of(one, view)
            except (SluiceError, *UNREADABLE):
                break
            if len(together([*filter(None, news), *filter(None, [more])])) > LONGEST_TOGETHER:
                break
            told.append(one)
            news.append(more)
        return told, [one for one in news if one is not None]

    async def _news_of(self, message: OutboxMessage, view: RolloutView | None) -> News | None:
        """What a line says and whom it mentions; None for a reminder of a question that was answered meanwhile."""
        if view is None:
            return await self._news_of_another_channel(message)
        match Kind(message.kind):
            case Kind.ALERT if await self._is_repeated(message):
                return News(message.created_at, _line(message))
            case Kind.ALERT:
                people = await self._who_must_act(message, view)
                return News(message.created_at, _line(message), tuple(people), broadcast=True)
            case Kind.NUDGE:
                return await self._nudge(message)
            case _:
                return News(message.created_at, _line(message))

    async def _is_repeated(self, message: OutboxMessage) -> bool:
        """Whether people were pinged of the same a little while ago, so that the thread and the card are enough."""
        if _is_of_its_own(message) or message.rollout_id is None:
            return False
        async with self._services.database.read() as session:
            since = message.created_at - LONGEST_STORM
            before = await outbox.delivered(session, Kind.ALERT, rollout_id=message.rollout_id, since=since)
        same = [one.created_at for one in before if one.payload["what"] == message.payload["what"]]
        pinged = last_ping([at for at in same if at < message.created_at])
        return pinged is not None and message.created_at - pinged < AGAIN_AFTER

    async def _news_of_another_channel(self, message: OutboxMessage) -> News | None:
        """An alert that stands in no thread, with the way to its card; None for a question that was answered."""
        facts, link = _facts(message), ""
        if facts.get("approval") is not None and message.payload.get("about") is not None:
            asked = await self._services.rollouts.question(str(facts["approval"]))
            if asked.status is not Status.PENDING:
                return None
        if message.payload.get("about") is not None:
            view = await self._services.rollouts.get(str(message.payload["about"]))
            link = card_link(await permalink(self._slack, view))
        about = str(facts.get("flag", "?")), str(facts.get("environment", "?"))
        return News(message.created_at, _line(message) + link, about=about, broadcast=True)

    async def _nudge(self, message: OutboxMessage) -> News | None:
        approval_id = str(message.payload["approval"])
        asked = await self._services.rollouts.question(approval_id)
        if asked.status is not Status.PENDING:
            return None
        people = await self._who_can_answer(message, asked.rollout, approval_id)
        said = nudge(asked) if people else f"{nudge(asked)} {texts.NOBODY_CAN_ANSWER}"
        return News(message.created_at, said, tuple(people))

    def _alerts_channel(self, message: OutboxMessage) -> str:
        """Where an alert goes that stands in no thread. Raises NowhereToTell."""
        if message.payload.get("channel"):
            return str(message.payload["channel"])
        facts = _facts(message)
        environments, tags = facts.get("environments"), facts.get("tags")
        first = environments[0] if isinstance(environments, list) and environments else ""
        return self._channel_for(str(facts.get("environment") or first), tags if isinstance(tags, list) else ())

    def _channel_for(self, environment: str, tags: Collection[str]) -> str:
        channel = alerts_channel(self._channels, environment, tags)
        if channel is None:
            raise NowhereToTell("There is no channel for alerts: set SLUICE_SLACK_ALERTS_CHANNEL.")
        return channel

    def _wait_for_the_end_of_quiet_hours(self, message: OutboxMessage) -> None:
        """Raise Held for what the channel is not to be told now; an urgent message takes along what waits before it."""
        until = quiet_until(self._channels, self._alerts_channel(message), self._services.clock.now())
        if until is not None and not message.urgent and not _is_page(message):
            raise Held(until)

    def _is_quiet_for(self, view: RolloutView, told: Sequence[OutboxMessage]) -> bool:
        """Whether only the thread is told, and the channel once its quiet hours are over."""
        place = _place_of(view)
        quiet = quiet_until(self._channels, place.channel, self._services.clock.now())
        return quiet is not None and not any(_is_page(one) for one in told)

    async def _who_must_act(self, message: OutboxMessage, view: RolloutView) -> list[str]:
        """Who is mentioned: those who can approve when they are asked or nobody in Slack asked; else who asked."""
        approvers = rule_of(self._services.settings.policy.of(view.workspace), view.plan).approvers
        # Whoever asked on the command line has no account that Slack could mention.
        askers = [view.requester] if is_mentionable(view.requester) else []
        match Happening(message.payload["what"]):
            case Happening.APPROVAL_REQUESTED:
                return await self._who_can_answer(message, view, str(_facts(message)["approval"]))
            case Happening.ROLLBACK_STUCK:
                return list(dict.fromkeys((*askers, *approvers)))[:MOST_MENTIONED]
            case _:
                return askers or list(approvers[:MOST_MENTIONED])

    async def _who_can_answer(self, message: OutboxMessage, view: RolloutView, approval_id: str) -> list[str]:
        """Who is asked, each of them by direct message too; whom policy names where nobody can say who that is."""
        try:
            electors = await self._caller.summon(approval_id)
        except PeopleUnavailable:
            if message.attempts < PATIENCE_WITH_GROUPS:
                raise
            barred = {view.requester, view.plan.spec_author}
            approvers = rule_of(self._services.settings.policy.of(view.workspace), view.plan).approvers
            return [one for one in approvers if one not in barred][:MOST_MENTIONED]
        if not electors.is_asked:
            return []
        return list(electors.backup if electors.backup else electors.approvers)[:MOST_MENTIONED]

    async def _post(
        self,
        channel: str,
        text: str,
        blocks: Sequence[Block] = (),
        *,
        thread_ts: str | None = None,
        broadcast: bool = False,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Post a message; its timestamp."""
        arguments: dict[str, Any] = {"text": text, "unfurl_links": False, "unfurl_media": False}
        if blocks:
            arguments["blocks"] = [block.to_dict() for block in blocks]
        if metadata is not None:
            arguments["metadata"] = dict(metadata)
        if thread_ts is not None:
            arguments |= {"thread_ts": thread_ts, "reply_broadcast": broadcast}
        answer = await self._slack.chat_postMessage(channel=channel, **arguments)
        return str(answer["ts"])


def last_ping(moments: Sequence[datetime]) -> datetime | None:
    """When people were pinged last of what happened at those moments, the oldest first."""
    pinged: datetime | None = None
    for at in moments:
        if pinged is None or at - pinged >= AGAIN_AFTER:
            pinged = at
    return pinged


def _is_of_its_own(message: OutboxMessage) -> bool:
    """Whether it needs a person each time it happens, as what comes and goes does not."""
    what = Happening(message.payload["what"])
    return what not in REPEATABLE or (what is Happening.CHANGED_BY_HAND and bool(_facts(message).get("raised")))


def _is_page(message: OutboxMessage) -> bool:
    """Whether it is told at any hour."""
    payload = message.payload
    return "what" in payload and is_page(Happening(payload["what"]), str(payload["actor"]))


def _place_of(view: RolloutView) -> PlaceView:
    if view.place is None:
        raise NowhereToTell("The rollout has no channel: plan it from a channel, or set SLUICE_SLACK_RELEASES_CHANNEL.")
    return view.place


def _line(message: OutboxMessage) -> str:
    return line(Happening(message.payload["what"]), str(message.payload["actor"]), _facts(message))


def _facts(message: OutboxMessage) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = message.payload["facts"]
    return facts


def _metadata(view: RolloutView) -> dict[str, Any]:
    return {"event_type": CARD_OF, "event_payload": {"rollout": view.id}}


def _thread_of(place: PlaceView) -> str | None:
    """The thread that people had started, in which the card stands; None where the card starts its own."""
    return place.thread_ts if place.thread_ts != place.card_ts else None
