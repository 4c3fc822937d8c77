"""A whole Sluice in memory: real service, controller, gates, planner and tools, with a clock that is moved by hand."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from agent.desk import Desk
from agent.model import ModelOptions
from agent.planner import Planner
from agent.session import Agent
from agent.toolkit.registry import TOOLS
from agent.turns import Answer, Said, Silent, Turn
from tools.clock import ManualClock
from tools.flags.base import FlagRef
from tools.flags.memory import MemoryFlagService
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics
from tools.plans.planner import PlanningDefaults
from tools.plans.policy import Policy
from tools.records.database import Database
from tools.records.models import Conversation, Record, new_id
from tools.rollouts.controller import Controller
from tools.rollouts.service import RolloutService
from tools.rollouts.views import RolloutView
from tools.specs.memory import MemorySpecSource

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

WORKSPACE = "T0SLUICE"
CHANNEL = "C0RELEASES"
ENVIRONMENT = "production"
SLICE = timedelta(minutes=30)
CHECK_EVERY = timedelta(seconds=10)
CONTROL, TREATMENT = "classic", "express"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a metric counts: requests a minute of everyone, and each variant's rate of events."""

    per_minute: float
    control: float
    treatment: float


@dataclass
class World:
    """The parts, and what happens in it. `say` is how a person speaks in a thread."""

    database: Database
    clock: ManualClock
    flags: MemoryFlagService
    source: MemoryMetricSource
    specs: MemorySpecSource
    controller: Controller
    agent: Agent
    traffic: dict[tuple[str, str], Traffic] = field(default_factory=dict)
    threads: dict[str, str] = field(default_factory=dict)
    said: dict[str, list[Said]] = field(default_factory=dict)

    @property
    def rollouts(self) -> RolloutService:
        """The only door to a change."""
        return self.agent.desk.rollouts

    async def define(self, flag: str, *, environment: str = ENVIRONMENT, traffic: Mapping[str, Traffic]) -> None:
        """A flag with a day of history: control only."""
        await self.flags.define(FlagRef(flag, environment), CONTROL, TREATMENT)
        for metric, counts in traffic.items():
            self.traffic[metric, flag] = counts
            at = self.clock.now() - timedelta(hours=24)
            while at < self.clock.now():
                exposures = round(counts.per_minute * SLICE.total_seconds() / 60)
                events = round(exposures * counts.control)
                self.source.add(metric, flag, environment, Observation(CONTROL, at, exposures, events))
                at += SLICE

    async def live(self, rollout_id: str, length: timedelta) -> RolloutView:
        """Time passes: traffic comes as exposure has it, and the controller looks."""
        end = self.clock.now() + length
        while self.clock.now() < end:
            self.clock.advance(CHECK_EVERY.total_seconds())
            await self._serve()
            await self.controller.tick()
        return await self.rollouts.get(rollout_id)

    async def say(
        self,
        text: str,
        *,
        person: str,
        thread: str = "main",
        rollout: RolloutView | None = None,
        earlier_calls: Sequence[str] = (),
        stop: asyncio.Event | None = None,
    ) -> Answer:
        """A person writes, the agent answers, in a thread that remembers."""
        conversation = await self._conversation(thread)
        messages = self.said.setdefault(thread, [])
        now = self.clock.now()
        turn = Turn(
            conversation_id=conversation,
            workspace=WORKSPACE,
            channel=CHANNEL,
            person=person,
            messages=(*messages, Said(author=person, text=text, at=now, new=True)),
            environment=ENVIRONMENT,
            now=now,
            flag=rollout.flag if rollout is not None else None,
            rollout_id=rollout.id if rollout is not None else None,
            rollout_environment=rollout.environment if rollout is not None else None,
            earlier_calls=tuple(earlier_calls),
        )
        answer = await self.agent.run(turn, Silent(), stop or asyncio.Event())
        messages.append(Said(author=person, text=text, at=now))
        messages.append(Said(author="sluice", text=answer.text, at=self.clock.now(), by_sluice=True))
        return answer

    async def percent(self, flag: str, environment: str = ENVIRONMENT) -> float:
        """What the flag service serves."""
        return (await self.flags.read(FlagRef(flag, environment))).exposure.live_percent

    async def _serve(self) -> None:
        at = self.clock.now() - timedelta(milliseconds=1)
        minutes = CHECK_EVERY.total_seconds() / 60
        for (metric, flag), counts in self.traffic.items():
            share = await self.percent(flag) / 100
            for variant, part, rate in (
                (CONTROL, 1 - share, counts.control),
                (TREATMENT, share, counts.treatment),
            ):
                exposures = round(counts.per_minute * minutes * part)
                if exposures:
                    observation = Observation(variant, at, exposures, round(exposures * rate))
                    self.source.add(metric, flag, ENVIRONMENT, observation)

    async def _conversation(self, thread: str) -> str:
        if thread not in self.threads:
            row = Conversation(
                id=new_id(), workspace=WORKSPACE, channel=CHANNEL, thread_ts=thread, created_at=self.clock.now()
            )
            async with self.database.write() as session:
                session.add(row)
            self.threads[thread] = row.id
        return self.threads[thread]


@asynccontextmanager
async def open_world(
    model: "BaseChatModel | None",
    *,
    options: ModelOptions,
    metrics: Sequence[MetricDefinition],
    policy: Policy,
    defaults: PlanningDefaults | None = None,
    specs: Mapping[str, str] | None = None,
    database: Database | None = None,
    tools: Sequence[Any] = TOOLS,
) -> AsyncIterator[World]:
    """A fresh world, on a database in memory unless another is given (whose tables are made)."""
    database, clock = database or Database("sqlite://"), ManualClock()
    async with database.engine.begin() as connection:
        await connection.run_sync(Record.metadata.create_all)
    flags, source, shelf = MemoryFlagService(compare_and_set=True), MemoryMetricSource(metrics), MemorySpecSource(specs)
    catalogue = Catalogue(metrics)
    router = Metrics(catalogue, {one.source: source for one in metrics})
    rollouts = RolloutService(database, flags, policy, clock)
    controller = Controller(database, flags, router, policy, clock, owner="world")
    rollouts.wake = controller.carry_out
    defaults = defaults or PlanningDefaults(check_every=CHECK_EVERY)
    planner = Planner(shelf, flags, router, policy, defaults, clock)
    desk = Desk(database, clock, flags, router, shelf, policy, planner, rollouts)

    def opened() -> "BaseChatModel":
        from agent.model import open_model

        return model if model is not None else open_model(options)

    yield World(database, clock, flags, source, shelf, controller, Agent(desk, options, opened, tools))
    await database.close()
