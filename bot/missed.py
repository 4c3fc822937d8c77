"""What people wrote while no connection to Slack was open: Slack delivers nothing of that later, so it is looked up.

Read are the threads and direct messages that Sluice takes part in, and the mentions in the channels where it talks, as
far back as the connections were down and half an hour at most. Each message goes the way of one that is delivered,
which takes it once, and it goes as soon as its place was read. Where Slack wants to be left alone, reading goes on
after that from where it stopped. https://docs.slack.dev/reference/methods/conversations.replies
"""

import asyncio
import math
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import func, select
from sqlalchemy.exc import InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bot.clients import NotInstalled, without_retries
from bot.listeners.messages import Ears
from bot.services import Services
from bot.slack import NETWORK_ERRORS, code_of, is_trouble_of_slack, retry_after
from bot.vault import KeyLost
from tools.errors import Unavailable
from tools.records.models import Conversation, Message, Rollout

LOOK_BACK = timedelta(minutes=30)
"""How long ago what is answered may have been written: later an answer, and an order, would surprise."""
AROUND = timedelta(seconds=10)
"""A connection is found lost only a little after it was."""
TALKED_WITHIN = timedelta(days=7)
"""Threads in which nobody wrote for so long are not looked at, unless their rollout is open."""
MOST_THREADS, MOST_CHANNELS = 50, 20
PER_PAGE, MOST_PAGES = 100, 10
LOOKED_AT_EVERY_S = 1.0
AGAIN_AFTER_S = 15.0
MOST_TRIES = 3
"""How often a message is tried that can't be heard: what is wrong may pass, and may be the message itself."""
NO_FAULT_OF_THE_MESSAGE = (Unavailable, OperationalError, InternalError, PoolTimeout)
"""What passes, as a database does that is full, locked or only to be read: tried until the message is too old."""
CALL_TIMEOUT_S = 30
DIRECT = "D"

READ = "missed.read"
NOT_READ = "missed.not_read"
NOT_HEARD = "missed.not_heard"
LEFT = "missed.left"
PLACE_LOST = "missed.place_lost"
WORKSPACE_LOST = "missed.workspace_lost"

Connected = Callable[[], Awaitable[bool]]

logger = structlog.get_logger(__name__)


class NotHeard(Exception):
    """A message could not be heard, which the log has; everything else was, and the next turn tries it again."""


class Connection(Protocol):
    """What is used of a Socket Mode client."""

    async def is_connected(self) -> bool: ...


async def any_connected(connections: Sequence[Connection]) -> bool:
    """Whether Slack has a way to deliver."""
    return any([await one.is_connected() for one in connections])


@dataclass(frozen=True, slots=True)
class _Place:
    """A thread, or without one what stands at the top of a channel."""

    workspace: str
    channel: str
    thread: str | None = None


@dataclass(frozen=True, slots=True)
class _App:
    """Who asks, and whose the token is: the workspace, and the app's own user in it."""

    client: AsyncWebClient
    team: str
    user: str


@dataclass(slots=True)
class _Reading:
    """How far a place was read: begun when, from when on, the next page, and what is not yet heard."""

    began: datetime
    since: datetime
    cursor: str = ""
    pages: int = 0
    unheard: list[Mapping[str, Any]] = field(default_factory=list)


class Missed:
    """Looks up what was written while `connected` was false; what was written before the process began too."""

    def __init__(self, services: Services, connected: Connected) -> None:
        self._services = services
        self._connected = connected
        self._ears = Ears(services.of_nobody())
        self._down_since: datetime | None = services.clock.now() - LOOK_BACK
        self._up_since: datetime | None = None
        self._begun: dict[_Place, _Reading] = {}
        self._read: dict[_Place, datetime] = {}
        self._tries = Counter[tuple[_Place, str]]()

    async def watch(self) -> None:
        """Look each second whether there is a connection, and once there is again, for what was missed."""
        while True:
            wait = LOOKED_AT_EVERY_S
            try:
                await self.turn()
            except (SlackApiError, *NETWORK_ERRORS) as error:
                reason = code_of(error) if isinstance(error, SlackApiError) else type(error).__name__
                logger.warning(NOT_READ, reason=reason)
                wait = _pause_after(error)
            except NotHeard:
                wait = AGAIN_AFTER_S
            except Exception:
                logger.exception(NOT_READ, reference=secrets.token_hex(4))
                wait = AGAIN_AFTER_S
            await self._rest(wait)

    async def _rest(self, seconds: float) -> None:
        """Wait, and see all the while whether there is a connection."""
        for _ in range(math.ceil(seconds / LOOKED_AT_EVERY_S)):
            await asyncio.sleep(LOOKED_AT_EVERY_S)
            await self._is_up()

    async def turn(self) -> int:
        """How many messages were heard, if the connections were down and one is up again.

        Raises what Slack does, and NotHeard, once everything else was read: the next turn goes on from there.
        """
        if not await self._is_up() or self._down_since is None:
            return 0
        since = max(self._down_since - AROUND, self._services.clock.now() - LOOK_BACK)
        up_since = self._up_since
        heard = await self._catch_up(since)
        if self._up_since != up_since:
            return heard
        self._down_since = None
        self._begun.clear()
        self._read.clear()
        self._tries.clear()
        return heard

    async def _is_up(self) -> bool:
        """Whether there is a connection; where there is none, places that were read before must be read anew."""
        now = self._services.clock.now()
        if await self._connected():
            self._up_since = self._up_since or now
            return True
        self._down_since, self._up_since = self._down_since or now, None
        self._begun.clear()
        return False

    async def _catch_up(self, since: datetime) -> int:
        """Hear place by place what was written since then and is not known; how many messages Slack had."""
        heard, apps, troubles = 0, dict[str, _App | None](), dict[str, Exception]()
        unheard: NotHeard | None = None
        for place in await self._places():
            if place.workspace in troubles or self._is_read(place):
                continue
            if not await self._is_up():
                return heard
            try:
                if place.workspace not in apps:
                    apps[place.workspace] = await self._app(place.workspace)
                if (app := apps[place.workspace]) is not None:
                    heard += await self._hear_place(place, app, since)
            except (SlackApiError, *NETWORK_ERRORS) as error:
                # Other workspaces have limits of their own.
                troubles[place.workspace] = error
            except NotHeard as error:
                unheard = error
        logger.info(READ, since=since.isoformat(), messages=heard, complete=not troubles and unheard is None)
        if troubles:
            raise max(troubles.values(), key=_pause_after)
        if unheard is not None:
            raise unheard
        return heard

    def _is_read(self, place: _Place) -> bool:
        """Whether it was read since there is a connection."""
        at = self._read.get(place)
        return at is not None and self._up_since is not None and at >= self._up_since

    async def _hear_place(self, place: _Place, app: _App, since: datetime) -> int:
        """The oldest first: a thread comes so, page by page; what stands at the top of a channel comes newest first."""
        now, heard, failed = self._services.clock.now(), 0, False
        reading = self._begun.setdefault(place, _Reading(now, max(since, self._read.get(place, since) - AROUND)))
        while True:
            messages, reading.cursor = await _page(app.client, place, reading)
            reading.unheard += [message for message in messages if _is_new(message, reading.since)]
            reading.pages += 1
            is_last = not reading.cursor or reading.pages >= MOST_PAGES
            if place.thread is not None or is_last:
                heard += len(reading.unheard)
                for message in sorted(reading.unheard, key=lambda one: str(one["ts"])):
                    failed |= not await self._hear_or_log(place, app, message)
                reading.unheard.clear()
            if is_last:
                break
        if reading.cursor:
            logger.warning(LEFT, channel=place.channel, thread=place.thread, pages=reading.pages)
        self._begun.pop(place, None)
        if failed:
            raise NotHeard
        self._read[place] = reading.began
        return heard

    async def _app(self, workspace: str) -> _App | None:
        """None where the app has no way in any more, which is no reason to miss what other workspaces have."""
        try:
            client = without_retries(await self._services.clients.of(workspace), timeout=CALL_TIMEOUT_S)
            who = await client.auth_test()
        except (NotInstalled, KeyLost) as error:
            reason = type(error).__name__
        except SlackApiError as error:
            if retry_after(error) is not None or is_trouble_of_slack(error):
                raise
            reason = code_of(error)
        else:
            return _App(client, str(who["team_id"]), str(who["user_id"]))
        logger.info(WORKSPACE_LOST, workspace=workspace, reason=reason)
        return None

    async def _hear_or_log(self, place: _Place, app: _App, message: Mapping[str, Any]) -> bool:
        """Whether nothing is left to try: what is wrong with one message keeps no other waiting, and is in the log.

        Raises what Slack does.
        """
        try:
            await self._hear(place, app, message)
        except (SlackApiError, *NETWORK_ERRORS):
            raise
        except NO_FAULT_OF_THE_MESSAGE as error:
            reason = type(error).__name__
            logger.warning(NOT_HEARD, channel=place.channel, ts=str(message["ts"]), reason=reason)
            return False
        except Exception:
            ts = str(message["ts"])
            self._tries[place, ts] += 1
            tries = self._tries[place, ts]
            logger.exception(NOT_HEARD, channel=place.channel, ts=ts, tries=tries, reference=secrets.token_hex(4))
            return tries >= MOST_TRIES
        return True

    async def _hear(self, place: _Place, app: _App, message: Mapping[str, Any]) -> None:
        asked = place.channel.startswith(DIRECT) or f"<@{app.user}>" in str(message.get("text") or "")
        event = {**message, "channel": place.channel}
        with self._services.underway.tracked():
            await self._ears.hear({"team_id": app.team, "event": event}, event, app.user, asked=asked)

    async def _places(self) -> list[_Place]:
        """Where Sluice talks: threads, those with the newest messages first, then channels."""
        newest = func.max(Message.said_at).label("newest")
        query = (
            select(Conversation, newest)
            .outerjoin(Message, Message.conversation_id == Conversation.id)
            .outerjoin(Rollout, Rollout.conversation_id == Conversation.id)
            .where(Conversation.thread_ts.is_not(None))
            .where((Message.said_at > self._services.clock.now() - TALKED_WITHIN) | Rollout.live_key.is_not(None))
            .group_by(Conversation.id)
            .order_by(func.coalesce(func.max(Message.said_at), Conversation.created_at).desc())
            .limit(MOST_THREADS)
        )
        async with self._services.database.read() as session:
            talks = (await session.scalars(query)).all()
        threads = [_Place(one.workspace, one.channel, one.thread_ts) for one in talks]
        tops = dict.fromkeys(_Place(one.workspace, one.channel) for one in talks)
        return [*dict.fromkeys(threads), *list(tops)[:MOST_CHANNELS]]


async def _page(client: AsyncWebClient, place: _Place, reading: _Reading) -> tuple[Sequence[Mapping[str, Any]], str]:
    """What stands there, and where the next page begins.

    Nothing where Slack refuses the place, which is no reason to miss the others.
    """
    bounds: dict[str, Any] = {"oldest": f"{reading.since.timestamp():.6f}", "limit": PER_PAGE}
    if reading.cursor:
        bounds["cursor"] = reading.cursor
    try:
        if place.thread is None:
            answer = await client.conversations_history(channel=place.channel, **bounds)
        else:
            answer = await client.conversations_replies(channel=place.channel, ts=place.thread, **bounds)
    except SlackApiError as error:
        if retry_after(error) is not None or is_trouble_of_slack(error):
            raise
        logger.info(PLACE_LOST, channel=place.channel, reason=code_of(error))
        return (), ""
    return list(answer["messages"]), str((answer.get("response_metadata") or {}).get("next_cursor") or "")


def _pause_after(error: Exception) -> float:
    """For how many seconds to leave Slack alone."""
    asked = retry_after(error) if isinstance(error, SlackApiError) else None
    return AGAIN_AFTER_S if asked is None else asked.total_seconds()


def _is_new(message: Mapping[str, Any], since: datetime) -> bool:
    """Slack gives a thread's first message with its replies however old it is."""
    return float(message["ts"]) >= since.timestamp()
