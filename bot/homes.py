"""Home tabs: what a person is shown, and keeping it as things are while they look.

Slack does not say when somebody leaves the tab, so whoever opened it within the last hour is taken to look at it. It is
published again when what it shows has changed: a few at a time, those that wait longest first, none more often than
every few seconds, so that a storm of changes is one new picture and no flood.
"""

import hashlib
import json
import re
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.models.views import View
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import select, update

from bot.blocks.home import MOST_ROLLOUTS, MOST_WAITING, MOVING, Home, home_view
from bot.clients import Clients, NotInstalled, without_retries
from bot.health import Finding
from bot.listeners.links import Addresses
from bot.services import Services
from bot.slack import NETWORK_ERRORS, code_of, is_trouble_of_slack, retry_after
from bot.vault import KeyLost
from tools.errors import NotFound
from tools.records import leases, log
from tools.records.database import insert_for
from tools.records.models import HomeTab, Rollout
from tools.rollouts.freezes import FreezeView
from tools.rollouts.glance import Glance
from tools.rollouts.views import RolloutView

HOMES_EVERY = timedelta(seconds=2)
LOOKING = timedelta(hours=1)
"""For how long whoever opened the tab is taken to look at it."""
PAUSE = timedelta(seconds=5)
"""A tab is published by itself no more often than that."""
AT_ONCE = 3
"""How many tabs of a workspace a turn publishes: Slack takes some 100 a minute."""
LEASE = "homes"
LEASE_LASTS = timedelta(seconds=15)
PATIENCE_S = 5

MOMENT = re.compile(r"<!date\^[^>]*>")

NOT_PUBLISHED = "slack.home_not_published"

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Scene:
    """What everybody of a workspace sees alike."""

    at: datetime
    glance: Glance
    freezes: Sequence[FreezeView]
    health: Sequence[Finding]


async def scene(services: Services) -> Scene:
    """What there is to see; `services` are those of a workspace."""
    return Scene(
        at=services.clock.now(),
        glance=await services.rollouts.glance(most=MOST_ROLLOUTS),
        freezes=await services.rollouts.freezes(),
        health=services.health.found(services),
    )


class Publisher(Addresses, Protocol):
    """What is used of Slack's client."""

    async def views_publish(self, *, user_id: str, view: View) -> Any: ...


async def publish(services: Services, client: Publisher, workspace: str, person: str, *, opened: bool) -> None:
    """Show a person what is open now; `opened`: because they look. What Slack does not take is logged."""
    at = services.clock.now()
    view = await _view(services, client, await scene(services), person)
    try:
        await client.views_publish(user_id=person, view=view)
    except (SlackApiError, *NETWORK_ERRORS) as error:
        _log_unpublished(person, error)
    else:
        await _note(services, workspace, person, view, at=at, opened=opened)


class Homes:
    """Keeps the tabs of those who look as things are."""

    def __init__(self, services: Services, clients: Clients[Publisher]) -> None:
        self._services = services
        self._clients = clients
        self._clock = services.clock
        self._owner = secrets.token_hex(8)
        self._done = dict[str, str]()
        self._held = dict[str, datetime]()

    async def turn(self) -> int:
        """Publish the tabs that have changed and may be published now; how many that were."""
        now = self._clock.now()
        looking = defaultdict[str, list[HomeTab]](list)
        async with self._services.database.read() as session:
            query = select(HomeTab).where(HomeTab.opened_at > now - LOOKING).order_by(HomeTab.published_at)
            for tab in (await session.scalars(query)).all():
                looking[tab.workspace].append(tab)
        published = 0
        for workspace, tabs in looking.items():
            if self._held.get(workspace, now) <= now:
                published += await self._keep_up(workspace, tabs)
        return published

    async def _keep_up(self, workspace: str, tabs: Sequence[HomeTab]) -> int:
        services, now = self._services.of(workspace), self._clock.now()
        mark = await _mark(services)
        if self._done.get(workspace) == mark or not await self._hold_lease():
            return 0
        try:
            client = await self._clients.of(workspace)
        except (NotInstalled, KeyLost):
            return 0
        seen, published, waiting = await scene(services), 0, False
        asked = without_retries(client, timeout=PATIENCE_S) if isinstance(client, AsyncWebClient) else client
        for tab in tabs:
            if now - tab.published_at < PAUSE or published == AT_ONCE or self._held.get(workspace, now) > now:
                waiting = True
                continue
            view = await _view(services, asked, seen, tab.person)
            if digest(view) != tab.shown:
                published += await self._publish(services, asked, tab, view)
        if not waiting:
            self._done[workspace] = mark
        return published

    async def _publish(self, services: Services, client: Publisher, tab: HomeTab, view: View) -> bool:
        try:
            await client.views_publish(user_id=tab.person, view=view)
        except (SlackApiError, *NETWORK_ERRORS) as error:
            _log_unpublished(tab.person, error)
            if isinstance(error, SlackApiError) and not is_trouble_of_slack(error):
                wait = retry_after(error)
                if wait is None:
                    # Slack will not take it the next time either.
                    await _forget(services, tab)
                    return False
                self._held[tab.workspace] = self._clock.now() + wait
            else:
                self._held[tab.workspace] = self._clock.now() + PAUSE
            return False
        await _note(services, tab.workspace, tab.person, view, at=self._clock.now(), opened=False)
        return True

    async def _hold_lease(self) -> bool:
        """Whether it is this process that publishes."""
        async with self._services.database.write() as session:
            return bool(await leases.claim(session, [LEASE], owner=self._owner, now=self._clock.now(), ttl=LEASE_LASTS))


def digest(view: View) -> str:
    """What a tab shows, without what moves by itself: two that are alike need not be published twice."""
    blocks = view.to_dict()["blocks"]
    still = [MOMENT.sub("", json.dumps(block)) if block.get("block_id") == MOVING else block for block in blocks]
    return hashlib.sha256(json.dumps(still, sort_keys=True).encode()).hexdigest()


async def _mark(services: Services) -> str:
    """Changes whenever something may look otherwise than before."""
    now = services.clock.now()
    async with services.database.read() as session:
        newest, _ = await log.head(session)
        # That metrics are back after a short while is no event.
        without_sight = select(Rollout.id).where(
            Rollout.live_key.is_not(None), Rollout.blind_since.is_not(None), services.rollouts.scope.rows()
        )
        blind = sorted((await session.scalars(without_sight)).all())
    frozen = [(str(one.id), one.reason, one.holds(now)) for one in await services.rollouts.freezes()]
    health = [(one.part, one.name, one.well) for one in services.health.found(services)]
    return json.dumps([newest, blind, frozen, health])


async def _view(services: Services, client: Publisher, seen: Scene, person: str) -> View:
    waiting = seen.glance.waiting_for(person)
    asked = [view for one in waiting[:MOST_WAITING] if (view := await _asked(services, seen, one.rollout_id))]
    stuck = seen.glance.stuck_for(person)
    links = await services.addresses.of(client, [*seen.glance.rollouts, *asked, *stuck[:MOST_WAITING]])
    return home_view(
        Home(
            person=person,
            at=seen.at,
            glance=seen.glance,
            asked=asked,
            waiting=len(waiting),
            freezes=seen.freezes,
            health=seen.health,
            links={id_: link for id_, link in links.items() if link is not None},
            stuck=stuck,
            newcomer=not waiting and not await services.rollouts.has_taken_part(person),
        )
    )


async def _asked(services: Services, seen: Scene, rollout_id: str) -> RolloutView | None:
    shown: Mapping[str, RolloutView] = {view.id: view for view in seen.glance.rollouts}
    if rollout_id in shown:
        return shown[rollout_id]
    try:
        return await services.rollouts.get(rollout_id)
    except NotFound:
        return None


async def _note(services: Services, workspace: str, person: str, view: View, *, at: datetime, opened: bool) -> None:
    """Write down what the person sees now."""
    values = {"published_at": at, "shown": digest(view)}
    async with services.database.write() as session:
        if not opened:
            await session.execute(
                update(HomeTab).where(HomeTab.workspace == workspace, HomeTab.person == person).values(**values)
            )
            return
        values |= {"opened_at": at}
        row = insert_for(session)(HomeTab).values(workspace=workspace, person=person, **values)
        await session.execute(row.on_conflict_do_update(index_elements=["workspace", "person"], set_=values))


async def _forget(services: Services, tab: HomeTab) -> None:
    async with services.database.write() as session:
        found = await session.get(HomeTab, (tab.workspace, tab.person))
        if found is not None:
            await session.delete(found)


def _log_unpublished(person: str, error: Exception) -> None:
    reason = code_of(error) if isinstance(error, SlackApiError) else type(error).__name__
    logger.warning(NOT_PUBLISHED, user=person, reason=reason)
