"""Delivers what the outbox holds to Slack, at the pace that Slack takes.

Messages of one lane go out in order; of several, urgent ones first. Cards that are edited go out beside what is posted,
so that no edit, limited or failing, holds up a page. A message is closed only once Slack took it, so
that nothing is lost; it may be told twice when Slack took it and its answer was lost. Slack being away stops nothing
but this; what waited for long goes out as one message a thread. Any number of processes may try: a lease lets one of
them deliver.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import select

from bot.clients import Clients, without_retries
from bot.pacing import Pace, Paces, edits_in, is_of_edits
from bot.posting import Messenger
from bot.quiet import Held
from bot.services import Services
from bot.slack import NETWORK_ERRORS, code_of, is_trouble_of_slack, retry_after
from bot.telling import LINES, Teller
from bot.vault import KeyLost
from tools.errors import SluiceError
from tools.observing import Course, Fact, Work, noted, working
from tools.people.base import PeopleUnavailable
from tools.records import leases, outbox
from tools.records.models import Conversation, OutboxMessage, Rollout
from tools.records.outbox import Kind, Status
from tools.rollouts.phases import Phase

LEASE = "notifier"
BATCH = 1000
EACH = 12
"""Of how many lanes of a channel the heads are looked at in a round: more than a burst has."""
FIRST = (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
LATE = timedelta(minutes=3)
"""What is told later than this takes along what waits behind it in its thread, as one message."""
MOST_TOGETHER = 200
ROUNDS = 100
AT_ONCE = 8
MOST_A_ROUND = 12 * AT_ONCE
"""How many go out before it is asked anew what is urgent."""
CALL_TIMEOUT_S = 10

FIRST_BACKOFF = timedelta(seconds=0.5)
LONGEST_BACKOFF = timedelta(seconds=60)
LONGEST_URGENT_BACKOFF = timedelta(seconds=10)
ATTEMPTS_OF_A_FAULT = 5

UNDELIVERED = "notifier.undelivered"
POSTPONED = "notifier.postponed"
FAULTY = "notifier.faulty"
AWAY = "notifier.slack_away"

REFUSED_APP = frozenset(
    {"account_inactive", "invalid_auth", "missing_scope", "no_permission", "not_allowed_token_type", "not_authed",
     "org_login_required", "token_expired", "token_revoked", "two_factor_setup_required"}
)  # fmt: skip
"""The installation is at fault, not the message: it waits until that is mended."""

WHAT_TO_DO = {
    "channel_not_found": "invite the app to the channel, or name another in the settings",
    "is_archived": "unarchive the channel, or plan the rollout in another",
    "not_in_channel": "invite the app to the channel with /invite",
    "restricted_action": "let the app post in the channel",
    **dict.fromkeys(REFUSED_APP, "reinstall the Slack app and set SLUICE_SLACK_BOT_TOKEN; `sluice doctor` says more"),
}

logger = structlog.get_logger(__name__)


class Notifier:
    """Delivers what is due. Clients are used without retries of their own: waiting is decided here.

    What goes wrong in one of many workspaces holds up no other.
    """

    def __init__(
        self, services: Services, clients: Clients[Messenger], *, owner: str | None = None, pace: Pace | None = None
    ) -> None:
        self._services = services
        self._clock = services.clock
        self._clients = clients
        self._tellers: dict[str, tuple[Messenger, Teller]] = {}
        self.owner = owner or secrets.token_hex(8)
        self._paces = Paces(pace or Pace())
        self._lease_until: datetime | None = None
        self._lease_lock = asyncio.Lock()
        self._outages: dict[tuple[str, bool], _Outage] = {}

    async def deliver_due(self) -> int:
        """Deliver everything that is due and that Slack's pace allows; how many messages were closed."""
        return await self.edit_due() + await self.post_due()

    async def edit_due(self) -> int:
        """Bring the cards up to date that are due, as `deliver_due` does; `post_due` may run at the same time."""
        return await self._rounds(edits=True)

    async def post_due(self) -> int:
        """Post what is due, first cards too, as `deliver_due` does; `edit_due` may run at the same time."""
        return await self._rounds(edits=False)

    async def close(self) -> None:
        """Let another process deliver at once."""
        if self._lease_until is not None:
            self._lease_until = None
            async with self._services.database.write() as session:
                await leases.release(session, [LEASE], owner=self.owner)

    # -- one round: the first message of every lane ---------------------------------------------------------------

    async def _rounds(self, *, edits: bool) -> int:
        closed = 0
        for _ in range(ROUNDS):
            delivered = await self._round(edits=edits)
            closed += delivered
            if not delivered:
                break
        return closed

    async def _round(self, *, edits: bool) -> int:
        async with self._services.database.read() as session:
            messages = await outbox.due(session, now=self._clock.now(), limit=BATCH, each=EACH, first=FIRST)
        if not messages or not await self._hold_lease():
            return 0
        paced = await self._paced(messages, edits=edits)
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(message: OutboxMessage, way: "_Way") -> bool:
            async with gate:
                if self._outage(way).lasts(self._clock.now()) or not await self._hold_lease():
                    return False
                with working(Work.DELIVERY, of=message.kind, about=str(message.id)) as course:
                    closed = await self._deliver(message, way, course)
                    course.outcome = course.outcome if closed else "postponed"
                return closed

        return sum(await asyncio.gather(*(one(message, way) for message, way in paced)))

    async def _paced(self, messages: Sequence[OutboxMessage], *, edits: bool) -> list[tuple[OutboxMessage, "_Way"]]:
        """The edits, or all else, that may go out now, each with the way it takes.

        Edits go side by side; messages one a channel, so that people read them in order and an urgent one is next.
        """
        places = await self._places({message.rollout_id for message in messages if message.rollout_id})
        ways = [(message, self._way(message, places.get(message.rollout_id or ""))) for message in messages]
        waiting = Counter(way.key for _, way in ways)
        now, allowed, served = self._clock.now(), [], set[str]()
        for message, way in ways:
            if way.edits is not edits or way.key in served or self._outage(way).lasts(now):
                continue
            if self._paces.take(way.key, now, waiting=waiting[way.key], minor=message.minor):
                allowed.append((message, way))
                served |= set() if way.edits else {way.key}
            if len(allowed) == MOST_A_ROUND:
                break
        return allowed

    async def _places(self, rollout_ids: set[str]) -> dict[str, Conversation]:
        if not rollout_ids:
            return {}
        async with self._services.database.read() as session:
            query = select(Rollout.id, Conversation).join(Conversation, Conversation.id == Rollout.conversation_id)
            rows = await session.execute(query.where(Rollout.id.in_(rollout_ids)))
            return {row[0]: row[1] for row in rows}

    def _way(self, message: OutboxMessage, place: Conversation | None) -> "_Way":
        workspace, slack = self._workspace_of(message, place), self._services.settings.slack
        is_shown = message.kind == Kind.CARD and place is not None and place.card_ts is not None
        if is_shown or message.kind == Kind.QUESTION:
            return _Way(workspace, edits_in(workspace))
        if message.kind == Kind.DIRECT:
            return _Way(workspace, str(message.payload.get("person")))
        named = message.payload.get("channel") or slack.of(workspace).alerts_channel
        return _Way(workspace, place.channel if place else str(named or message.lane))

    def _workspace_of(self, message: OutboxMessage, place: Conversation | None) -> str:
        """The workspace that it is for; all is for one that is not named where there is only one."""
        if not self._services.settings.slack.many_workspaces:
            return ""
        return place.workspace if place is not None else str(message.payload.get("workspace", ""))

    def _outage(self, way: "_Way") -> "_Outage":
        return self._outages.setdefault((way.workspace, way.edits), _Outage())

    async def _teller(self, workspace: str) -> Teller:
        """Who tells a workspace's people. Raises NotInstalled."""
        client = await self._clients.of(workspace)
        if workspace not in self._tellers or self._tellers[workspace][0] is not client:
            services = self._services.of(workspace) if workspace else self._services
            slack = without_retries(client, timeout=CALL_TIMEOUT_S) if isinstance(client, AsyncWebClient) else client
            self._tellers[workspace] = client, Teller(services, slack, workspace)
        return self._tellers[workspace][1]

    async def _hold_lease(self) -> bool:
        """Whether delivering is this process's, for some seconds at least."""
        ttl = self._services.settings.scheduler.lease
        async with self._lease_lock:
            now = self._clock.now()
            if self._lease_until is not None and now < self._lease_until - ttl * 2 / 3:
                return True
            async with self._services.database.write() as session:
                won = await leases.claim(session, [LEASE], owner=self.owner, now=now, ttl=ttl)
            self._lease_until = now + ttl if won else None
            return bool(won)

    # -- one message ------------------------------------------------------------------------------------------------

    async def _deliver(self, message: OutboxMessage, way: "_Way", course: Course) -> bool:
        """Whether the message was closed, told or not; what waited behind it and was told with it is closed too."""
        course.outcome = "failed"
        try:
            told = await (await self._teller(way.workspace)).tell(message, await self._behind(message))
        except SlackApiError as error:
            return await self._refused(message, way, error)
        except NETWORK_ERRORS as error:
            await self._away(message, way, f"Slack did not answer ({type(error).__name__}).")
            return False
        except Held as held:
            await self._postpone(message, held.until, str(held))
            return False
        except (PeopleUnavailable, KeyLost) as error:
            await self._postpone(message, self._clock.now() + _backoff(message), str(error))
            return False
        except SluiceError as error:
            return await self._undeliverable(message, type(error).__name__, str(error))
        except Exception:
            reference = secrets.token_hex(4)
            logger.exception(FAULTY, reference=reference, message=message.id, kind=message.kind)
            return await self._faulty(message, f"A fault of Sluice; the log has it under {reference}.")
        course.outcome = "delivered"
        self._outage(way).end()
        async with self._services.database.write() as session:
            for one in told:
                await outbox.settle(session, one, status=Status.DELIVERED, at=self._clock.now())
        return True

    async def _behind(self, message: OutboxMessage) -> Sequence[OutboxMessage]:
        """What may be told with a message that is late, so that people are not told of an hour line by line."""
        if message.kind not in LINES or self._clock.now() - message.created_at < LATE:
            return []
        async with self._services.database.read() as session:
            return await outbox.behind(session, message, limit=MOST_TOGETHER)

    # -- when it did not work ---------------------------------------------------------------------------------------

    async def _refused(self, message: OutboxMessage, way: "_Way", error: SlackApiError) -> bool:
        code, wait = code_of(error), retry_after(error)
        if wait is not None:
            noted(Fact.SLACK_LIMIT, wait.total_seconds())
            until = self._clock.now() + wait
            self._paces.hold(way.key, until)
            await self._postpone(message, until, f"Slack asked to wait {wait.total_seconds():.0f} s.")
            return False
        if is_trouble_of_slack(error):
            await self._away(message, way, f"Slack answered {code}.")
            return False
        if code in REFUSED_APP:
            # A wrong token would fail every message there is; they wait until it is mended.
            logger.error(UNDELIVERED, message=message.id, reason=code, what_to_do=WHAT_TO_DO[code])
            until = self._clock.now() + LONGEST_BACKOFF
            self._outage(way).until = until
            await self._postpone(message, until, f"Slack refused the app: {code}.")
            return False
        return await self._undeliverable(message, code, f"Slack refused it: {code}.")

    async def _undeliverable(self, message: OutboxMessage, reason: str, sentence: str) -> bool:
        what_to_do = WHAT_TO_DO.get(reason, sentence)
        logger.error(UNDELIVERED, message=message.id, kind=message.kind, reason=reason, what_to_do=what_to_do)
        await self._settle(message, Status.FAILED, sentence)
        return True

    async def _faulty(self, message: OutboxMessage, sentence: str) -> bool:
        if message.attempts + 1 >= ATTEMPTS_OF_A_FAULT:
            await self._settle(message, Status.FAILED, sentence)
            return True
        await self._postpone(message, self._clock.now() + _backoff(message), sentence)
        return False

    async def _away(self, message: OutboxMessage, way: "_Way", sentence: str) -> None:
        """Slack is not there: this message waits its turn, and after some failures everything of its sort does."""
        now, outage = self._clock.now(), self._outage(way)
        outage.count(now)
        if outage.until is not None:
            logger.warning(AWAY, reason=sentence, until=outage.until.isoformat())
        await self._postpone(message, now + _backoff(message), sentence)

    async def _postpone(self, message: OutboxMessage, until: datetime, sentence: str) -> None:
        logger.info(POSTPONED, message=message.id, kind=message.kind, reason=sentence, until=until.isoformat())
        async with self._services.database.write() as session:
            await outbox.postpone(session, message, until=until, error=sentence)

    async def _settle(self, message: OutboxMessage, status: Status, error: str | None = None) -> None:
        async with self._services.database.write() as session:
            await outbox.settle(session, message, status=status, at=self._clock.now(), error=error)


@dataclass(frozen=True, slots=True)
class _Way:
    """How a message goes out: to which workspace, and at whose pace: a channel's, a person's, the workspace's edits."""

    workspace: str
    key: str

    @property
    def edits(self) -> bool:
        return is_of_edits(self.key)


@dataclass(slots=True)
class _Outage:
    """How often Slack failed in a row, and until when it is left alone for that."""

    failures: int = 0
    until: datetime | None = None

    def lasts(self, now: datetime) -> bool:
        return self.until is not None and now < self.until

    def count(self, now: datetime) -> None:
        self.failures += 1
        if self.failures >= AT_ONCE:
            self.until = now + min(FIRST_BACKOFF * (1 << min(self.failures - AT_ONCE, 6)), LONGEST_URGENT_BACKOFF)

    def end(self) -> None:
        self.failures, self.until = 0, None


def _backoff(message: OutboxMessage) -> timedelta:
    cap = LONGEST_URGENT_BACKOFF if message.urgent else LONGEST_BACKOFF
    doubled: timedelta = FIRST_BACKOFF * (1 << min(message.attempts, 10))
    return min(doubled, cap)
