"""A notifier at work, with a Slack that is real code and a clock that tests move."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from agent.desk import Desk as ToolsDesk
from agent.planner import Planner
from bot.brain import Brain, SharedModel
from bot.clients import OneClient, OneToken
from bot.notifier import Notifier
from bot.pacing import Pace
from bot.services import Services
from bot.settings import Settings, SlackSettings
from bot.zones import Zones
from tests.unit.notifier.slack import FakeSlack
from tests.unit.rollouts.world import MIRA, POLICY, World, make_plan, running_world
from tools.flags.base import FlagRef, FlagService
from tools.flags.memory import MemoryFlagService
from tools.jobs.memory import MemoryJobs
from tools.metrics.catalogue import Catalogue
from tools.metrics.router import Metrics
from tools.records import outbox
from tools.records.models import OutboxMessage
from tools.records.outbox import Kind, Status
from tools.rollouts.events import Happening
from tools.rollouts.service import Place
from tools.rollouts.views import RolloutView
from tools.rollouts.watching import SpecWatcher
from tools.specs.memory import MemorySpecSource


@dataclass
class Desk:
    """The notifier with what it works on."""

    world: World
    services: Services
    slack: FakeSlack
    notifier: Notifier

    def another(self, **options: Any) -> Notifier:
        """A notifier of another process."""
        return Notifier(self.services, OneClient(self.slack), **options)

    async def rollout(self, number: int = 0, channel: str = "C1", requester: str = MIRA) -> RolloutView:
        """A proposed rollout of a flag of its own."""
        flag = f"flag-{number}"
        flags = self.services.flags
        assert isinstance(flags, MemoryFlagService)
        await flags.define(FlagRef(flag, "production"), "old", "new")
        plan = make_plan().model_copy(update={"flag": flag})
        return await self.services.rollouts.propose(
            plan, requester=requester, place=Place("T1", channel), reason="asked"
        )

    async def put(self, kind: Kind, lane: str = "x", **options: Any) -> None:
        """A message in the outbox."""
        async with self.services.database.write() as session:
            await outbox.put(session, kind, lane=lane, at=self.services.clock.now(), **options)

    async def note(self, view: RolloutView, text: str, *, urgent: bool = False, kind: Kind = Kind.NOTE) -> None:
        """A line in a rollout's thread."""
        payload = told(Happening.METRICS_BACK, why=text)
        await self.put(kind, f"rollout:{view.id}", rollout_id=view.id, payload=payload, urgent=urgent)

    async def messages(self) -> list[OutboxMessage]:
        """The outbox."""
        async with self.services.database.read() as session:
            return list((await session.scalars(select(OutboxMessage).order_by(OutboxMessage.id))).all())

    async def statuses(self) -> list[Status]:
        """How far each message is."""
        return [Status(message.status) for message in await self.messages()]

    async def deliver(self, seconds: float = 0) -> int:
        """Wait so long, then deliver."""
        self.world.clock.advance(seconds)
        return await self.notifier.deliver_due()

    def with_slack(self, **changes: Any) -> "Desk":
        """The same with other Slack settings."""
        settings = Settings(policy=self.services.settings.policy.model_dump(), slack=SlackSettings(**changes))
        services = replace(self.services, settings=settings)
        return replace(self, services=services, notifier=Notifier(services, OneClient(self.slack)))


def told(what: Happening, **facts: Any) -> dict[str, Any]:
    """An outbox payload."""
    return {"what": what.value, "actor": "sluice", "at": "2026-01-01T00:00:00+00:00", "facts": facts}


@asynccontextmanager
async def open_desk(url: str = "sqlite://", *, other: FlagService | None = None) -> AsyncIterator[Desk]:
    """A desk on a fresh database, with flags in memory or in another service."""
    async with running_world(url, other=other) as world:
        settings = Settings(
            policy=POLICY.model_dump(), slack=SlackSettings(alerts_channel="CALERTS", direct_messages=False)
        )
        specs, metrics = MemorySpecSource(), Metrics(Catalogue([]), {})
        planner = Planner(specs, world.flags, metrics, settings.policy, settings.planning, world.clock)
        tools_desk = ToolsDesk(
            world.database, world.clock, world.flags, metrics, specs, settings.policy, planner, world.service
        )
        services = Services(
            settings=settings,
            clock=world.clock,
            database=world.database,
            flags=world.flags,
            metrics=metrics,
            specs=specs,
            watcher=SpecWatcher(world.database, specs, world.clock, every=settings.specs.look_every),
            jobs=MemoryJobs(world.clock),
            rollouts=world.service,
            controller=world.controller,
            planner=planner,
            agent=Brain(tools_desk, settings.model, SharedModel(settings.model)),
            clients=OneToken(None, settings.slack.api_url),
            zones=Zones(OneToken(None, settings.slack.api_url), world.clock),
        )
        slack = FakeSlack()
        pace = Pace(message_burst=100, edit_burst=100)
        yield Desk(world, services, slack, Notifier(services, OneClient(slack), pace=pace))
