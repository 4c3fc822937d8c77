"""The charts on the cards: drawn apart, uploaded to Slack beside everything else, shown once Slack takes them.

A card never waits for its picture. When it says something new it is drawn and uploaded, private to Sluice; Slack looks
through it for a moment, and refuses blocks with it until then; so the card tries it (`CardPictures`), and shows the one
before, or none, as long as it is refused. What no card shows any more is deleted. The card of a rollout that is being
taken back tries nothing.
Protocol: https://docs.slack.dev/messaging/working-with-files#uploading_files.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from slack_sdk.errors import SlackApiError, SlackRequestError
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.blocks.card import Picture
from bot.clients import Clients, NotInstalled, without_retries
from bot.drawing import Drawn, drawn_apart
from bot.pacing import Pace, Paces
from bot.services import Services
from bot.slack import NETWORK_ERRORS, code_of, is_trouble_of_slack, retry_after
from tools.apart import NotDoneApart
from tools.errors import NotFound
from tools.records import leases, pictures
from tools.records.models import CardPicture, Conversation, GateCheck, Rollout
from tools.rollouts import store
from tools.rollouts.events import refresh_card
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.trace import Course, course
from tools.rollouts.views import RolloutView

DRAWN_EVERY = timedelta(seconds=2)
LEASE = "pictures"
LEASE_FOR = timedelta(seconds=120)
"""Longer than a turn takes."""
AT_ONCE = 4
"""Charts that one process draws: to begin takes it longer than a chart does."""
DELETED_AT_ONCE = 5
POINTS = 300
"""Checks in a chart: more can't be told apart on a card."""
PACE = Pace(messages_per_second=0.5, message_burst=8)
"""Pictures a second: Slack takes about 100 uploads and 50 deletions a minute."""
CALL_TIMEOUT_S = 30

LEAST_SEEN = timedelta(seconds=10)
"""How long treatment must have run for a picture to have anything in it."""
OFTENEST, SELDOMEST = timedelta(seconds=10), timedelta(minutes=3)
"""How often there is a new picture of what goes on as it did: each time it has half as much again to show."""
VERDICT_AFTER = timedelta(seconds=20)
"""For how long a verdict that goes to and fro has but one picture."""
LAST_WITHIN = timedelta(hours=1)
"""For how long after its end a rollout may still get its last picture."""
AGAIN_AFTER = timedelta(minutes=1)
REFUSED_AGAIN_AFTER = timedelta(minutes=10)
DRAWN_IN = LIVE | {Phase.SUCCEEDED, Phase.ROLLED_BACK}
SHOWN_IN = DRAWN_IN | {Phase.ROLLING_BACK}

GONE = frozenset({"file_not_found", "file_deleted"})
GIVEN_UP = "picturing.given_up"
WITHOUT = "picturing.without"
STAYS = "picturing.stays"
UPLOAD_FAILED = "the upload failed"

logger = structlog.get_logger(__name__)


class Uploader(Protocol):
    """What is used of Slack's client."""

    async def files_upload_v2(self, *, filename: str, content: bytes, title: str, highlight_type: str) -> Any: ...

    async def files_delete(self, *, file: str) -> Any: ...


def shown(picture: CardPicture) -> Picture:
    """The picture as the card shows it."""
    return Picture(picture.file_id, picture.says)


class CardPictures:
    """Which pictures a card may show, and what became of it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._complained = False

    async def of_card(self, view: RolloutView) -> Sequence[CardPicture]:
        """The pictures to try, the newest first; one that Slack has shown already is the last."""
        if not self._services.settings.slack.charts or view.phase not in SHOWN_IN:
            return ()
        async with self._services.database.read() as session:
            found = await pictures.of_card(session, view.id, now=self._services.clock.now())
        # Nothing is tried while it is taken back: that card is in a hurry.
        return [one for one in found if one.shown_at is not None or view.phase is not Phase.ROLLING_BACK]

    async def took(self, picture: CardPicture) -> None:
        """Slack shows the card with it."""
        if picture.shown_at is None:
            async with self._services.database.write() as session:
                await pictures.took(session, picture, at=self._services.clock.now())

    async def refused(self, picture: CardPicture) -> None:
        """Slack refused the card, likely for it."""
        async with self._services.database.write() as session:
            given_up = await pictures.refused(session, picture, at=self._services.clock.now())
        if given_up and not self._complained:
            self._complained = True
            logger.warning(GIVEN_UP, file=picture.file_id, rollout=picture.rollout_id)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rollout with a card stands, and what its newest picture shows."""

    rollout_id: str
    workspace: str
    phase: Phase
    stage: int | None
    epoch: int
    outcome: str
    checked_at: datetime
    exposed_since: datetime | None
    shows: str | None
    drawn_at: datetime | None

    @property
    def state(self) -> str:
        """What a picture of it shows, without the verdict."""
        return f"{self.phase}:{self.stage}:{self.epoch}"

    @property
    def now_shows(self) -> str:
        """What a picture of it shows."""
        return f"{self.state}:{self.outcome}"


def urgency(one: Standing, now: datetime) -> int | None:
    """How much a new picture is wanted, 0 the most; None: the one there is says it all."""
    since = one.exposed_since or one.checked_at
    if one.shows is None or one.drawn_at is None:
        return 0 if one.phase not in LIVE or one.checked_at - since >= LEAST_SEEN else None
    if not one.shows.startswith(f"{one.state}:"):
        return 0
    age = now - one.drawn_at
    if one.shows != one.now_shows and age >= VERDICT_AFTER:
        return 1
    old = min(max((one.drawn_at - since) / 2, OFTENEST), SELDOMEST)
    return 2 if one.phase in LIVE and age >= old and one.checked_at > one.drawn_at else None


@dataclass(slots=True)
class _Patience:
    """Until when a rollout's picture, or all of them, is left alone; what has been complained of already."""

    all_until: datetime | None = None
    until: dict[str, datetime] = field(default_factory=dict)
    complaints: set[str] = field(default_factory=set)

    def lasts(self, rollout_id: str, now: datetime) -> bool:
        ends = self.until.get(rollout_id)
        if ends is not None and ends <= now:
            del self.until[rollout_id]
        return ends is not None and now < ends


class Pictures:
    """Draws and uploads what cards lack. Any number of processes may try: a lease lets one of them."""

    def __init__(
        self, services: Services, clients: Clients[Uploader], *, owner: str | None = None, pace: Pace = PACE
    ) -> None:
        self._services = services
        self._clients = clients
        self._owner = owner or secrets.token_hex(8)
        self._paces = Paces(pace)
        self._patience = _Patience()

    async def turn(self) -> int:
        """Draw and upload what is wanted most, have cards try what they may, delete what none shows; how many new."""
        services, now = self._services, self._services.clock.now()
        if not services.settings.slack.charts or (self._patience.all_until or now) > now:
            return 0
        async with services.database.read() as session:
            wanted = self._wanted(await _standings(session, now=now), now)
            is_idle = not (
                wanted or await pictures.untried(session, now=now) or await pictures.retired(session, limit=1)
            )
        if is_idle or not await self._hold_lease(now):
            return 0
        uploaded = await self._draw(wanted) if wanted else 0
        await self._have_tried()
        await self._delete()
        return uploaded

    def _wanted(self, standings: Sequence[Standing], now: datetime) -> list[Standing]:
        ranked = [(urgency(one, now), one) for one in standings if not self._patience.lasts(one.rollout_id, now)]
        wanted = sorted(
            ((rank, one) for rank, one in ranked if rank is not None), key=lambda pair: (pair[0], pair[1].checked_at)
        )
        return [one for _, one in wanted[:AT_ONCE] if self._paces.take(LEASE, now)]

    async def _hold_lease(self, now: datetime) -> bool:
        async with self._services.database.write() as session:
            return bool(await leases.claim(session, [LEASE], owner=self._owner, now=now, ttl=LEASE_FOR))

    # -- new pictures ---------------------------------------------------------------------------------------------

    async def _draw(self, wanted: Sequence[Standing]) -> int:
        courses = [(one, found) for one in wanted if (found := await self._course(one)) is not None]
        try:
            charts = await drawn_apart([found for _, found in courses])
        except NotDoneApart as error:
            self._without(wanted, str(error), AGAIN_AFTER)
            return 0
        uploaded = 0
        for (one, found), chart in zip(courses, charts, strict=True):
            if chart is None:
                self._without([one], "its checks can't be read", REFUSED_AGAIN_AFTER)
            elif await self._upload(one, found, chart):
                uploaded += 1
        return uploaded

    async def _course(self, one: Standing) -> Course | None:
        try:
            return await course(self._services.database, one.rollout_id, most=POINTS)
        except NotFound as error:
            self._without([one], str(error), AGAIN_AFTER)
            return None

    async def _upload(self, one: Standing, found: Course, chart: Drawn) -> bool:
        title = f"{found.flag} in {found.environment}"
        try:
            answer = await (await self._slack(one.workspace)).files_upload_v2(
                filename="gate.png", content=chart.picture, title=title, highlight_type="png"
            )
        except SlackApiError as error:
            self._refused(one, error)
            return False
        except (NotInstalled, SlackRequestError, *NETWORK_ERRORS) as error:
            self._without([one], f"{UPLOAD_FAILED} ({type(error).__name__})", AGAIN_AFTER)
            return False
        at = self._services.clock.now()
        async with self._services.database.write() as session:
            await pictures.add(
                session,
                str(answer["file"]["id"]),
                rollout_id=one.rollout_id,
                shows=one.now_shows,
                says=chart.says,
                at=at,
            )
        return True

    def _refused(self, one: Standing, error: SlackApiError) -> None:
        wait = retry_after(error)
        if wait is not None:
            self._patience.all_until = self._services.clock.now() + wait
        elif is_trouble_of_slack(error):
            self._without([one], UPLOAD_FAILED, AGAIN_AFTER)
        else:
            # What Slack does not let Sluice do, such as uploading at all, is no matter of one rollout.
            self._patience.all_until = self._services.clock.now() + REFUSED_AGAIN_AFTER
            self._without([one], f"Slack refused it: {code_of(error)}", REFUSED_AGAIN_AFTER)

    def _without(self, those: Sequence[Standing], reason: str, wait: timedelta) -> None:
        """Leave the cards as they are for a while; the log has each reason once."""
        until = self._services.clock.now() + wait
        self._patience.until |= {one.rollout_id: until for one in those}
        if reason not in self._patience.complaints:
            self._patience.complaints.add(reason)
            logger.warning(WITHOUT, reason=reason, rollouts=[one.rollout_id for one in those])

    # -- pictures that were uploaded ------------------------------------------------------------------------------

    async def _have_tried(self) -> None:
        now = self._services.clock.now()
        async with self._services.database.write() as session:
            for rollout_id in await pictures.untried(session, now=now):
                await refresh_card(session, await store.load(session, rollout_id, lock=False), at=now, minor=True)

    async def _delete(self) -> None:
        async with self._services.database.read() as session:
            leftover = await pictures.retired(session, limit=DELETED_AT_ONCE)
        for picture, workspace in leftover:
            try:
                await (await self._slack(workspace)).files_delete(file=picture.file_id)
            except NotInstalled:
                logger.warning(STAYS, file=picture.file_id, reason="the app is not installed any more")
            except SlackApiError as error:
                if retry_after(error) is not None or is_trouble_of_slack(error):
                    return
                if code_of(error) not in GONE:
                    logger.warning(STAYS, file=picture.file_id, reason=code_of(error))
            except NETWORK_ERRORS:
                return
            async with self._services.database.write() as session:
                await pictures.forget(session, picture.file_id)

    async def _slack(self, workspace: str) -> Uploader:
        """The workspace's client. Raises NotInstalled."""
        client = await self._clients.of(workspace)
        return without_retries(client, timeout=CALL_TIMEOUT_S) if isinstance(client, AsyncWebClient) else client


async def _standings(session: AsyncSession, *, now: datetime) -> list[Standing]:
    """Every rollout that has a card and a check, and is going on or has just ended."""
    newest = (
        select(
            CardPicture.rollout_id,
            CardPicture.shows,
            CardPicture.uploaded_at,
            func.row_number()
            .over(partition_by=CardPicture.rollout_id, order_by=CardPicture.uploaded_at.desc())
            .label("number"),
        )
        .where(CardPicture.retired_at.is_(None))
        .subquery()
    )
    query = (
        select(
            Rollout.id,
            Conversation.workspace,
            Rollout.phase,
            Rollout.stage,
            Rollout.epoch,
            GateCheck.outcome,
            GateCheck.at,
            Rollout.exposed_since,
            newest.c.shows,
            newest.c.uploaded_at,
        )
        .join(Conversation, Conversation.id == Rollout.conversation_id)
        .join(GateCheck, GateCheck.id == Rollout.last_check_id)
        .outerjoin(newest, (newest.c.rollout_id == Rollout.id) & (newest.c.number == 1))
        .where(
            Conversation.card_ts.is_not(None),
            Rollout.phase.in_(DRAWN_IN),
            or_(Rollout.ended_at.is_(None), Rollout.ended_at > now - LAST_WITHIN),
        )
    )
    rows = (await session.execute(query)).mappings().all()
    return [
        Standing(
            row["id"],
            row["workspace"],
            Phase(row["phase"]),
            row["stage"],
            row["epoch"],
            row["outcome"],
            row["at"],
            row["exposed_since"],
            row["shows"],
            row["uploaded_at"],
        )
        for row in rows
    ]
