"""Follows the decision log for those who are told beside a rollout's thread: who asked for it, and alert channels.

Where it has come to is a row, moved in the transaction that puts what is to be told into the outbox: each event is
seen once, by whichever process is there. What a person is told is read from the log at delivery, so that what came
while it was held back is one message.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot import preferences
from bot.blocks.answers import card_link
from bot.blocks.lines import line
from bot.blocks.mrkdwn import bound, is_mentionable
from bot.blocks.news import News, mine
from bot.listeners.links import permalink
from bot.preferences import Own
from bot.quiet import Held
from bot.routing import alerts, is_page, route_for
from bot.services import Services
from bot.settings import RouteSettings
from tools.records import log, outbox
from tools.records.database import insert_for
from tools.records.log import Event
from tools.records.models import Conversation, LogCursor, LogEvent, OutboxMessage, Rollout
from tools.rollouts import store
from tools.rollouts.events import Happening, of_workspace
from tools.rollouts.views import RolloutView

CURSOR = "followers"
AT_ONCE = 200
"""How many events are looked at in one transaction, which keeps others from writing."""
MOST_TOLD = 20
"""How many of a person's news one message tells; the newest, and how many there were before."""

KNOWN = frozenset(what.value for what in Happening)
NEEDED = frozenset(
    {
        Happening.APPROVAL_EXPIRED,
        Happening.APPROVAL_REJECTED,
        Happening.CHANGED_BY_HAND,
        Happening.EXPOSURE_STUCK,
        Happening.METRICS_BLIND,
        Happening.PAUSED,
        Happening.ROLLBACK_STARTED,
        Happening.ROLLBACK_STUCK,
        Happening.ROLLED_BACK,
    }
)
OF_INTEREST = {
    Own.NOTHING: frozenset[Happening](),
    Own.NEEDED: NEEDED,
    Own.EVERYTHING: NEEDED
    | {
        Happening.ACCEPTANCE_GIVEN,
        Happening.CANCELLED,
        Happening.DRIFT_FOUND,
        Happening.EXPOSURE_LOWERED,
        Happening.SPEC_CHANGED,
        Happening.FREEZE_HOLDS,
        Happening.FREEZE_OVER,
        Happening.METRICS_BACK,
        Happening.PLAN_REVISED,
        Happening.PROMOTED,
        Happening.RESUMED,
        Happening.STARTED,
        Happening.SUCCEEDED,
    },
}
"""What of their own rollouts a person is told who wants so much."""


class Messenger(Protocol):
    """What is used of Slack's client."""

    async def chat_postMessage(self, *, channel: str, **arguments: Any) -> Any: ...  # noqa: N802 - Slack's name

    async def chat_getPermalink(self, *, channel: str, message_ts: str) -> Any: ...  # noqa: N802 - Slack's name


class Follower:
    """Puts into the outbox what the log's newest events mean for people and channels that follow."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def turn(self) -> int:
        """Look at the events since the last turn; how many there were."""
        async with self._services.database.read() as session:
            cursor, (newest, _) = await session.get(LogCursor, CURSOR), await log.head(session)
        if cursor is not None and cursor.seq >= newest:
            return 0
        async with self._services.database.write() as session:
            return await self._follow(session, newest)

    async def _follow(self, session: AsyncSession, newest: int) -> int:
        # Whoever has never looked begins with what comes: the past was told when it was the present.
        first = insert_for(session)(LogCursor).values(name=CURSOR, seq=newest).on_conflict_do_nothing()
        await session.execute(first)
        cursor = await session.scalar(
            select(LogCursor)
            .where(LogCursor.name == CURSOR)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        assert cursor is not None, "it was just written"
        query = select(LogEvent.seq).where(LogEvent.seq > cursor.seq).order_by(LogEvent.seq).limit(AT_ONCE)
        numbers = (await session.scalars(query)).all()
        if not numbers:
            return 0
        async for event in log.read(session, after=cursor.seq):
            if event.seq > numbers[-1]:
                break
            await self._pass_on(session, event)
        cursor.seq = numbers[-1]
        return len(numbers)

    async def _pass_on(self, session: AsyncSession, event: Event) -> None:
        rollout = None if event.rollout_id is None else await session.get(Rollout, event.rollout_id)
        if rollout is None or event.kind not in KNOWN:
            return
        await self._to_the_requester(session, event, rollout)
        await self._to_the_channel(session, event, rollout)

    async def _to_the_requester(self, session: AsyncSession, event: Event, rollout: Rollout) -> None:
        person, what = rollout.requester, Happening(event.kind)
        if not is_mentionable(person) or event.actor == person:
            return
        home = preferences.home_of(self._services.settings, rollout.workspace)
        chosen = await preferences.read(session, home, person)
        if what not in OF_INTEREST[chosen.own]:
            return
        lane = f"news:{rollout.workspace}:{person}"
        await outbox.put(
            session,
            outbox.Kind.DIRECT,
            lane=lane,
            at=self._services.clock.now(),
            payload={"person": person, "news_after": event.seq - 1, **of_workspace(rollout.workspace)},
            replaces=lane,
            urgent=_is_page(event),
        )

    async def _to_the_channel(self, session: AsyncSession, event: Event, rollout: Rollout) -> None:
        what, at = Happening(event.kind), self._services.clock.now()
        slack = self._services.settings.slack.of(rollout.workspace)
        if not slack.route or not alerts(what, event.actor):
            return
        plan = await store.plan_of(session, rollout)
        route = route_for(slack, plan.environment, plan.tags)
        if route is None:
            return
        place = None if rollout.conversation_id is None else await session.get(Conversation, rollout.conversation_id)
        if place is not None and place.channel == route.channel:
            # Its thread tells the whole channel of it, or sees to it that the channel is told after its quiet hours.
            return
        told = {"what": what.value, "actor": event.actor, "at": event.at.isoformat(), "facts": dict(event.payload)}
        await put_for_channel(session, route, told, rollout, plan.tags, urgent=_is_page(event), at=at)


async def put_for_channel(
    session: AsyncSession,
    route: RouteSettings,
    told: Mapping[str, Any],
    rollout: Rollout | RolloutView,
    tags: Collection[str],
    *,
    urgent: bool,
    at: datetime,
) -> None:
    """Have the route's channel told of it, once the route's quiet hours are over unless it is urgent.

    What waits in quiet hours holds up nothing that another route brings to the same channel.
    """
    hours = "" if route.quiet is None else f":{route.quiet.hours}"
    own = {"channel": route.channel, "tags": list(tags), "about": rollout.id, **of_workspace(rollout.workspace)}
    await outbox.put(
        session,
        outbox.Kind.ALERT,
        lane=f"route:{rollout.workspace}:{route.channel}{hours}",
        at=at,
        payload={**told, **own},
        urgent=urgent,
    )


class NewsTeller:
    """Tells a person what happened to the rollouts that they asked for."""

    def __init__(self, services: Services, slack: Messenger) -> None:
        self._services = services
        self._slack = slack

    async def tell(self, message: OutboxMessage) -> None:
        """Tell what is new since the message was put; nothing to who does not want it any more. Raises Held."""
        person, workspace = str(message.payload["person"]), str(message.payload.get("workspace", ""))
        async with self._services.database.read() as session:
            home = preferences.home_of(self._services.settings, workspace)
            chosen = await preferences.read(session, home, person)
            kinds = OF_INTEREST[chosen.own]
            told = await _events(session, person, workspace, int(message.payload["news_after"]), kinds)
        if not told:
            return
        until = None if chosen.quiet is None else chosen.quiet.until(self._services.clock.now())
        if until is not None and not any(_is_page(event) for event in told):
            raise Held(until)
        newest = [await self._news(event) for event in told[-MOST_TOLD:]]
        text = bound(mine(newest, before=len(told) - len(newest)))
        await self._slack.chat_postMessage(channel=person, text=text, unfurl_links=False, unfurl_media=False)
        await self._told_up_to(message, told[-1].seq)

    async def _news(self, event: Event) -> News:
        link = ""
        if event.rollout_id is not None:
            view = await self._services.rollouts.get(event.rollout_id)
            link = card_link(await permalink(self._slack, view))
        about = str(event.payload.get("flag", "?")), str(event.payload.get("environment", "?"))
        return News(event.at, line(Happening(event.kind), event.actor, event.payload) + link, about=about)

    async def _told_up_to(self, message: OutboxMessage, seq: int) -> None:
        """What comes while it is told keeps the message open, and must not be told the same once more."""
        async with self._services.database.write() as session:
            await session.execute(
                update(OutboxMessage)
                .where(OutboxMessage.id == message.id)
                .values(payload={**message.payload, "news_after": seq})
            )


def _is_page(event: Event) -> bool:
    return is_page(Happening(event.kind), event.actor, event.payload)


async def _events(
    session: AsyncSession, person: str, workspace: str, after: int, kinds: Collection[Happening]
) -> Sequence[Event]:
    """What others did to the person's rollouts after that event, the oldest first."""
    ids = (
        select(LogEvent.rollout_id)
        .join(Rollout, Rollout.id == LogEvent.rollout_id)
        .where(LogEvent.seq > after, LogEvent.kind.in_(kinds), LogEvent.actor != person)
        .where(Rollout.requester == person, Rollout.workspace == workspace)
        .distinct()
    )
    found = list[Event]()
    for rollout_id in (await session.scalars(ids)).all():
        events = [event async for event in log.read(session, rollout_id=rollout_id, after=after)]
        found += [event for event in events if event.kind in kinds and event.actor != person]
    return sorted(found, key=lambda event: event.seq)
