"""What is said to people, and where: the card, the thread below it, the alerts channel, a direct message."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError

from bot import preferences
from bot.asked import Asked
from bot.blocks.answers import card_link
from bot.blocks.lines import line
from bot.blocks.mrkdwn import is_mentionable
from bot.blocks.news import MOST_MENTIONED, News, together
from bot.blocks.questions import nudge, shortfall
from bot.calling import Caller
from bot.cards import CardTeller, NowhereToTell, place_of
from bot.following import NewsTeller, put_for_channel
from bot.listeners.links import permalink
from bot.names import Names
from bot.posting import Messenger, post
from bot.quiet import Held
from bot.routing import alerts_channel, came_to_nothing, is_page, quiet_until, route_for
from bot.services import Services
from bot.slack import code_of
from tools.errors import SluiceError
from tools.people.base import PeopleUnavailable
from tools.plans.policy import rule_of
from tools.records import outbox
from tools.records.models import OutboxMessage
from tools.records.outbox import Kind
from tools.rollouts.approvals import Status
from tools.rollouts.events import Happening
from tools.rollouts.views import RolloutView

PATIENCE_WITH_GROUPS = 3
"""How often Slack is asked again who is in a group before its name is said instead."""
CHANNEL_LOST = frozenset({"channel_not_found", "is_archived", "not_in_channel", "restricted_action"})
"""Slack refuses the channel, not the message."""
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

MOVED = "notifier.alert_moved"

logger = structlog.get_logger(__name__)


class Teller:
    """Says what an outbox message holds, rendered from the state at this moment, in a workspace's channels."""

    def __init__(self, services: Services, slack: Messenger, workspace: str = "") -> None:
        self._services = services
        self._channels = services.settings.slack.of(workspace)
        self._slack = slack
        self._caller = Caller(services, slack)
        self._news_teller = NewsTeller(services, slack)
        self._names = Names(slack, services.clock)
        self._cards = CardTeller(services, slack, self._names)
        self._asked = Asked(services, slack, self._names)

    async def tell(self, message: OutboxMessage, behind: Sequence[OutboxMessage] = ()) -> list[OutboxMessage]:
        """Say it, a line together with the lines `behind` it in its lane; which messages were said.

        Raises SlackApiError, network errors, PeopleUnavailable, NowhereToTell, RolloutNotFound, Held in quiet hours.
        """
        match Kind(message.kind):
            case Kind.CARD:
                await self._cards.show(await self._view(message))
            case Kind.NOTE | Kind.ALERT | Kind.NUDGE:
                return await self._tell_lines(message, behind)
            case Kind.QUESTION:
                await self._asked.show(str(message.payload["approval"]))
            case Kind.DIRECT if "approval" in message.payload:
                await self._caller.tell(str(message.payload["approval"]), str(message.payload["person"]))
            case Kind.DIRECT if "news_after" in message.payload:
                await self._news_teller.tell(message)
            case Kind.DIRECT:
                await post(self._slack, str(message.payload["person"]), str(message.payload["text"]))
        return [message]

    async def _view(self, message: OutboxMessage) -> RolloutView:
        if message.rollout_id is None:
            raise NowhereToTell("The message names no rollout, so it has neither a card nor a thread.")
        return await self._services.rollouts.get(message.rollout_id)

    # -- lines ------------------------------------------------------------------------------------------------------

    async def _tell_lines(self, message: OutboxMessage, behind: Sequence[OutboxMessage]) -> list[OutboxMessage]:
        """In the rollout's thread; an alert in its channel too, and in the alerts channel where Slack refuses that."""
        view = await self._view(message) if message.rollout_id is not None else None
        if view is None:
            self._wait_for_the_end_of_quiet_hours(message)
        told, news = await self._news(message, behind, view)
        if not news:
            return told
        at_any_hour = any(_is_page(one) for one in told)
        called = await self._reachable(news, "" if view is None else view.workspace, at_any_hour=at_any_hour)
        text, broadcast = await self._said(news, called), any(one.broadcast for one in news)
        if view is None:
            channel = self._alerts_channel(message)
            await self._asked.keep(news, channel, await post(self._slack, channel, text))
            return told
        waits = broadcast and self._is_quiet_for(view, told)
        broadcast = broadcast and not waits
        try:
            ts = await self._cards.say_below(view, text, broadcast=broadcast)
            await self._asked.keep(news, place_of(view).channel, ts)
        except SlackApiError as error:
            if not broadcast or code_of(error) not in CHANNEL_LOST:
                raise
            logger.warning(MOVED, channel=view.place and view.place.channel, reason=code_of(error))
            channel = self._channel_for(view.environment, view.plan.tags)
            about = view.flag, view.environment
            ts = await post(self._slack, channel, await self._said(news, called, about=about))
            await self._asked.keep(news, channel, ts, about=about)
        if waits:
            await self._tell_the_channel_later(view, told)
        return told

    async def _said(
        self, news: Sequence[News], called: Collection[str], *, about: tuple[str, str] | None = None
    ) -> str:
        """The message that says it all; whoever did something is named, and only who has to do something called."""
        return await self._names.quietly(together(news, about=about), besides=called)

    async def _reachable(self, news: Sequence[News], workspace: str, *, at_any_hour: bool) -> frozenset[str]:
        """Those of the people whom the news are for who are called now, and not named: it is no quiet hour of theirs.

        What they asked to be told directly is held until it is over.
        """
        people = frozenset(person for one in news for person in one.people)
        if at_any_hour:
            return people
        async with self._services.database.read() as session:
            home, now = preferences.home_of(self._services.settings, workspace), self._services.clock.now()
            return people - await preferences.resting(session, home, people, at=now)

    async def _news(
        self, message: OutboxMessage, behind: Sequence[OutboxMessage], view: RolloutView | None
    ) -> tuple[list[OutboxMessage], list[News]]:
        """What the messages have to say, up to the first that has to wait for its own turn; and which these are."""
        told, news = [message], [await self._news_of(message, view)]
        for one in behind:
            try:
                if view is None and self._alerts_channel(one) != self._alerts_channel(message):
                    break
                more = await self._news_of(one, view)
            except (SluiceError, *UNREADABLE):
                break
            if len(together([*filter(None, news), *filter(None, [more])])) > LONGEST_TOGETHER:
                break
            told.append(one)
            news.append(more)
        return told, [one for one in news if one is not None]

    async def _news_of(self, message: OutboxMessage, view: RolloutView | None) -> News | None:
        """What a line says and whom it mentions; None for a question that was answered meanwhile."""
        if view is None:
            return await self._news_of_another_channel(message)
        match Kind(message.kind):
            case Kind.ALERT if await self._is_answered(_asks(message)):
                return None
            case Kind.ALERT if await self._is_repeated(message):
                return News(message.created_at, _line(message))
            case Kind.ALERT:
                people, note = await self._who_must_act(message, view)
                said = f"{_line(message)} {note}".rstrip()
                return News(message.created_at, said, tuple(people), broadcast=True, asks=_asks(message))
            case Kind.NUDGE:
                return await self._nudge(message)
            case _:
                return News(message.created_at, _line(message))

    async def _is_answered(self, approval_id: str | None) -> bool:
        """Whether it is a question that nobody has to decide any more."""
        if approval_id is None:
            return False
        return (await self._services.rollouts.question(approval_id)).status is not Status.PENDING

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
        if await self._is_answered(_asks(message)):
            return None
        if message.payload.get("about") is not None:
            view = await self._services.rollouts.get(str(message.payload["about"]))
            link = card_link(await permalink(self._slack, view))
        about = str(facts.get("flag", "?")), str(facts.get("environment", "?"))
        return News(message.created_at, _line(message) + link, about=about, broadcast=True, asks=_asks(message))

    async def _nudge(self, message: OutboxMessage) -> News | None:
        approval_id = str(message.payload["approval"])
        asked = await self._services.rollouts.question(approval_id)
        if asked.status is not Status.PENDING:
            return None
        people, note = await self._who_can_answer(message, asked.rollout, approval_id)
        return News(message.created_at, f"{nudge(asked)} {note}".rstrip(), tuple(people))

    def _alerts_channel(self, message: OutboxMessage) -> str:
        """Where an alert goes that stands in no thread. Raises NowhereToTell."""
        return str(message.payload.get("channel") or self._channel_for(*_kind_of_flag(message)))

    def _channel_for(self, environment: str, tags: Collection[str]) -> str:
        channel = alerts_channel(self._channels, environment, tags)
        if channel is None:
            raise NowhereToTell("There is no channel for alerts: set SLUICE_SLACK_ALERTS_CHANNEL.")
        return channel

    # -- quiet hours ------------------------------------------------------------------------------------------------

    def _wait_for_the_end_of_quiet_hours(self, message: OutboxMessage) -> None:
        """Raise Held for what the channel is not to be told now; an urgent message takes along what waits before it."""
        environment, tags = _kind_of_flag(message)
        now = self._services.clock.now()
        until = quiet_until(self._channels, self._alerts_channel(message), environment, tags, now)
        if until is not None and not message.urgent and not _is_page(message):
            raise Held(until)

    def _is_quiet_for(self, view: RolloutView, told: Sequence[OutboxMessage]) -> bool:
        """Whether only the thread is told, and the channel once its quiet hours are over."""
        now = self._services.clock.now()
        quiet = quiet_until(self._channels, place_of(view).channel, view.environment, view.plan.tags, now)
        return quiet is not None and not any(_is_page(one) for one in told)

    async def _tell_the_channel_later(self, view: RolloutView, told: Sequence[OutboxMessage]) -> None:
        """Whoever keeps an alert to its thread has the channel told of it: nobody else knows that it was kept there."""
        route = route_for(self._channels, view.environment, view.plan.tags)
        assert route is not None, "quiet hours are a route's"
        async with self._services.database.write() as session:
            for one in told:
                if one.kind == Kind.ALERT:
                    at = self._services.clock.now()
                    await put_for_channel(session, route, one.payload, view, view.plan.tags, urgent=False, at=at)

    # -- who is called ----------------------------------------------------------------------------------------------

    async def _who_must_act(self, message: OutboxMessage, view: RolloutView) -> tuple[list[str], str]:
        """Who is mentioned: those who can approve when they are asked or nobody in Slack asked; else who asked.

        Of a question that came to nothing nobody else has to do anything. And what is said where they are too few.
        """
        approvers = rule_of(self._services.settings.policy.of(view.workspace), view.plan).approvers
        # Whoever asked on the command line has no account that Slack could mention.
        askers = [view.requester] if is_mentionable(view.requester) else []
        match Happening(message.payload["what"]):
            case Happening.APPROVAL_REQUESTED:
                return await self._who_can_answer(message, view, str(_facts(message)["approval"]))
            case Happening.ROLLBACK_STUCK:
                return list(dict.fromkeys((*askers, *approvers)))[:MOST_MENTIONED], ""
            case _ if message.payload["actor"] in askers:
                # Whoever did it knows.
                return [], ""
            case what if came_to_nothing(what, str(message.payload["actor"]), _facts(message)):
                return askers, ""
            case _:
                return askers or list(approvers[:MOST_MENTIONED]), ""

    async def _who_can_answer(
        self, message: OutboxMessage, view: RolloutView, approval_id: str
    ) -> tuple[list[str], str]:
        """Who is asked, each of them by direct message too; whom policy names where nobody can say who that is.

        And what is said where they are too few.
        """
        try:
            electors = await self._caller.summon(approval_id)
        except PeopleUnavailable:
            if message.attempts < PATIENCE_WITH_GROUPS:
                raise
            barred = {view.requester, view.plan.spec_author}
            approvers = rule_of(self._services.settings.policy.of(view.workspace), view.plan).approvers
            return [one for one in approvers if one not in barred][:MOST_MENTIONED], ""
        if not electors.is_asked:
            return [], ""
        people = electors.backup if electors.backup else electors.approvers
        return list(people[:MOST_MENTIONED]), shortfall(electors)


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
    return "what" in payload and is_page(Happening(payload["what"]), str(payload["actor"]), _facts(message))


def _asks(message: OutboxMessage) -> str | None:
    """The approval that an alert asks for."""
    approval_id = _facts(message).get("approval")
    is_question = message.payload["what"] == Happening.APPROVAL_REQUESTED and approval_id is not None
    return str(approval_id) if is_question else None


def _kind_of_flag(message: OutboxMessage) -> tuple[str, Collection[str]]:
    """The environment and the tags of the flag that an alert is about which stands in no thread, as far as it says."""
    facts = _facts(message)
    environments, tags = facts.get("environments"), message.payload.get("tags", facts.get("tags"))
    first = environments[0] if isinstance(environments, list) and environments else ""
    return str(facts.get("environment") or first), tags if isinstance(tags, list) else ()


def _line(message: OutboxMessage) -> str:
    return line(Happening(message.payload["what"]), str(message.payload["actor"]), _facts(message))


def _facts(message: OutboxMessage) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = message.payload["facts"]
    return facts
