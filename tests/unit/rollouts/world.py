"""A small world for rollouts: real service, controller and gates, on a real database, with a clock that tests move."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from tests.unit.rollouts.inline import InlineDatabase
from tools.clock import ManualClock
from tools.flags.base import FlagRef, FlagService
from tools.flags.embedded import EmbeddedFlagService
from tools.flags.memory import MemoryFlagService
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics
from tools.plans.model import Exposure, Guardrail, Plan, Stage, Strategy
from tools.plans.policy import Policy
from tools.records import log
from tools.records.database import Database
from tools.records.log import Event
from tools.records.models import OutboxMessage, Record
from tools.rollouts.controller import Controller
from tools.rollouts.service import Place, RolloutService
from tools.rollouts.views import RolloutView
from tools.rollouts.watching import SpecWatcher
from tools.specs.base import SpecSource

FLAG = FlagRef("new-checkout", "production")
ERRORS = "checkout_errors"
MIRA, JONAS, AIKO, SAM = "UMIRA", "UJONAS", "UAIKO", "USAM"
POLICY = Policy(approvers=(MIRA, JONAS, AIKO))
PLACE = Place("T1", "C1")
RAIL = Guardrail(metric=ERRORS, margin=2.0, min_sample=50)


def stage(percent: float, *, bake: float = 60, limit: float = 3600, rail: Guardrail = RAIL) -> Stage:
    """A live stage; `bake` and `limit` in seconds."""
    return Stage(
        exposure=Exposure(percent=percent),
        bake=timedelta(seconds=bake),
        time_limit=timedelta(seconds=limit),
        guardrails=(rail,),
    )


def make_plan(*stages: Stage, **changes: object) -> Plan:
    """A canary plan of 5, 25 and 100 % with checks every 10 s and hardly any burn-in."""
    plan = Plan(
        flag=FLAG.flag,
        environment=FLAG.environment,
        control="old",
        treatment="new",
        strategy=Strategy.CANARY,
        stages=stages or (stage(5), stage(25), stage(100)),
        burn_in=timedelta(seconds=10),
        check_every=timedelta(seconds=10),
        stale_after=timedelta(seconds=60),
        blind_budget=timedelta(seconds=300),
    )
    return plan.model_copy(update=changes)


@dataclass
class World:
    """The parts, and what happens in it."""

    database: Database
    clock: ManualClock
    flags: FlagService
    source: MemoryMetricSource
    service: RolloutService
    controller: Controller
    watcher: SpecWatcher | None = None

    async def proposed(self, plan: Plan | None = None) -> RolloutView:
        """A rollout that Mira asked for."""
        return await self.service.propose(plan or make_plan(), requester=MIRA, place=PLACE, reason="asked")

    async def started(self, plan: Plan | None = None) -> RolloutView:
        """The same, approved by Jonas."""
        view = await self.proposed(plan)
        assert view.approval is not None
        return await self.service.approve(view.approval.id, actor=JONAS)

    async def percent(self) -> float:
        """What the flag service serves."""
        return (await self.flags.read(FLAG)).exposure.percent

    def traffic(self, *, old: tuple[int, int] = (950, 10), new: tuple[int, int] = (50, 0)) -> None:
        """Requests and errors of both variants, just now."""
        at = self.clock.now() - timedelta(milliseconds=1)
        for variant, (exposures, events) in (("old", old), ("new", new)):
            if exposures:
                self.source.add(ERRORS, FLAG.flag, FLAG.environment, Observation(variant, at, exposures, events))

    async def live(self, rollout_id: str, checks: int, **traffic: tuple[int, int]) -> RolloutView:
        """Time passes: each 10 s traffic comes, then the controller looks."""
        for _ in range(checks):
            self.clock.advance(10)
            self.traffic(**traffic)
            await self.controller.tick()
        return await self.service.get(rollout_id)

    async def events(self, rollout_id: str | None = None) -> list[Event]:
        """The decision log."""
        async with self.database.read() as session:
            return [event async for event in log.read(session, rollout_id=rollout_id)]

    async def kinds(self, rollout_id: str) -> list[str]:
        """The kinds of a rollout's events."""
        return [event.kind for event in await self.events(rollout_id)]

    async def outbox(self) -> list[OutboxMessage]:
        """Everything people are to be told."""
        async with self.database.read() as session:
            return list((await session.scalars(select(OutboxMessage).order_by(OutboxMessage.id))).all())


@asynccontextmanager
async def running_world(
    url: str | None = None,
    *,
    embedded: bool = False,
    compare_and_set: bool = True,
    policy: Policy = POLICY,
    other: FlagService | None = None,
    specs: SpecSource | None = None,
) -> AsyncIterator[World]:
    """A world on a fresh database, or on one in memory; with the embedded flag service, one in memory, or another.

    With `specs` it is looked whether those of plans change.
    """
    database, clock = Database(url) if url else InlineDatabase(), ManualClock()
    async with database.engine.begin() as connection:
        await connection.run_sync(Record.metadata.create_all)
    own = EmbeddedFlagService(database, clock) if embedded else MemoryFlagService(compare_and_set=compare_and_set)
    await own.define(FLAG, "old", "new")
    flags = own if other is None else other
    definition = MetricDefinition(name=ERRORS, source="memory", title="Checkout errors", query="-")
    source = MemoryMetricSource([definition])
    metrics = Metrics(Catalogue([definition]), {"memory": source})
    watcher = None if specs is None else SpecWatcher(database, specs, clock, every=timedelta(minutes=5))
    service = RolloutService(database, flags, policy, clock, specs=watcher)
    controller = Controller(database, flags, metrics, policy, clock, owner="test", specs=watcher)
    service.wake = controller.carry_out
    yield World(database, clock, flags, source, service, controller, watcher)
    await database.close()


def by_kind(events: list[Event]) -> Mapping[str, Event]:
    """The newest event of each kind."""
    return {event.kind: event for event in events}
