"""A whole Sluice in memory: real service, controller, gates, planner and tools, with a clock that is moved by hand."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from agent.desk import Desk
from agent.earlier import earlier_calls
from agent.model import ModelOptions
from agent.planner import Planner, PlanRequest
from agent.planning.drafter import Drafter
from agent.session import Agent
from agent.toolkit.registry import TOOLS
from agent.turns import Answer, Said, Silent, Turn, Voice
from tools.clock import ManualClock
from tools.flags.base import FlagRef
from tools.flags.memory import MemoryFlagService
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics
from tools.plans.defaults import PlanningDefaults
from tools.plans.model import Strategy
from tools.plans.policy import Policy
from tools.records.database import Database
from tools.records.models import Conversation, Record, new_id
from tools.rollouts.controller import Controller
from tools.rollouts.service import Place, RolloutService
from tools.rollouts.views import RolloutView
from tools.specs.memory import MemorySpecSource

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

WORKSPACE = "T0SLUICE"
CHANNEL = "C0RELEASES"
ENVIRONMENT = "production"
SLICE = timedelta(minutes=30)
CHECK_EVERY = timedelta(seconds=10)
SLICES = 240
"""Fewer pieces of a metric's past than usual, because thousands of plans are made here."""
CONTROL, TREATMENT = "classic", "express"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a metric counts: requests a minute of everyone, and each variant's rate of events."""

    per_minute: float
    control: float
    treatment: float


@dataclass(frozen=True, slots=True)
class Still:
    """A world at one moment, to go on from as often as one likes: making a history takes longer than copying it."""

    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    flags: MemoryFlagService
    source: MemoryMetricSource
    at: datetime
    refs: Sequence[FlagRef]
    traffic: Mapping[tuple[str, FlagRef], Traffic]
    about: Mapping[str, str]
    said: Mapping[str, Sequence[Said]]


@dataclass
class World:
    """The parts, and what happens in it. `say` is how a person speaks in a thread.

    `about` has the rollout that each thread is about; `source.outage` is how the metrics go away.
    """

    database: Database
    clock: ManualClock
    flags: MemoryFlagService
    source: MemoryMetricSource
    specs: MemorySpecSource
    controller: Controller
    agent: Agent
    check_every: timedelta = CHECK_EVERY
    refs: list[FlagRef] = field(default_factory=list)
    traffic: dict[tuple[str, FlagRef], Traffic] = field(default_factory=dict)
    threads: dict[str, str] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    said: dict[str, list[Said]] = field(default_factory=dict)

    @property
    def rollouts(self) -> RolloutService:
        """The only door to a change."""
        return self.agent.desk.rollouts

    async def define(
        self,
        flag: str,
        *,
        environment: str = ENVIRONMENT,
        description: str = "",
        traffic: Mapping[str, Traffic],
        labels: Sequence[str] = (),
    ) -> None:
        """A flag with a day of history: control only, and a little under each of the `labels` as variants."""
        ref = FlagRef(flag, environment)
        await self.flags.define(ref, CONTROL, TREATMENT, description)
        self.refs.append(ref)
        for metric, counts in traffic.items():
            self.traffic[metric, ref] = counts
            at = self.clock.now() - timedelta(hours=24)
            while at < self.clock.now():
                exposures = round(counts.per_minute * SLICE.total_seconds() / 60)
                events = round(exposures * counts.control)
                self.source.add(metric, flag, environment, Observation(CONTROL, at, exposures, events))
                for label in labels:
                    self.source.add(metric, flag, environment, Observation(label, at, 10, 1))
                at += SLICE

    async def propose(
        self, flag: str, *, person: str, environment: str = ENVIRONMENT, strategy: Strategy | None = None
    ) -> RolloutView:
        """A plan is made by command and put before people."""
        desk = self.agent.desk
        proposal = await desk.planner.propose(PlanRequest(flag, environment, strategy, person))
        place = Place(WORKSPACE, CHANNEL)
        return await self.rollouts.propose(
            proposal.plan, requester=person, place=place, reason="Asked for by command", spec=proposal.spec
        )

    async def live(self, length: timedelta) -> None:
        """Time passes: traffic comes as exposure has it, and the controller looks."""
        end = self.clock.now() + length
        while self.clock.now() < end:
            self.clock.advance(self.check_every.total_seconds())
            await self._serve()
            await self.controller.tick()

    def hear(self, text: str, *, person: str, thread: str = "main") -> None:
        """Somebody writes in a thread, and not to Sluice."""
        self.said.setdefault(thread, []).append(Said(author=person, text=text, at=self.clock.now()))

    async def say(
        self,
        *texts: str,
        person: str,
        thread: str = "main",
        stop: asyncio.Event | None = None,
        voice: Voice | None = None,
    ) -> Answer:
        """A person writes, the agent answers, in a thread that remembers its messages and the rollout it is about."""
        self.clock.advance(1)
        conversation = await self._conversation(thread)
        messages = self.said.setdefault(thread, [])
        now = self.clock.now()
        about = self.about.get(thread)
        rollout = await self.rollouts.get(about) if about is not None else None
        turn = Turn(
            conversation_id=conversation,
            workspace=WORKSPACE,
            channel=CHANNEL,
            person=person,
            messages=(*messages, *(Said(author=person, text=text, at=now, new=True) for text in texts)),
            environment=ENVIRONMENT,
            now=now,
            flag=rollout.flag if rollout is not None else None,
            rollout_id=rollout.id if rollout is not None else None,
            rollout_environment=rollout.environment if rollout is not None else None,
            earlier_calls=await earlier_calls(self.database, conversation),
        )
        answer = await self.agent.run(turn, voice or Silent(), stop or asyncio.Event())
        messages.extend(Said(author=person, text=text, at=now) for text in texts)
        messages.append(Said(author="sluice", text=answer.text, at=self.clock.now(), by_sluice=True))
        if answer.rollouts:
            self.about[thread] = answer.rollouts[-1]
        return answer

    async def still(self) -> Still:
        """How everything stands, before anybody has spoken to Sluice."""
        async with self.database.read() as session:
            rows = {
                table.name: [dict(row) for row in (await session.execute(select(table))).mappings()]
                for table in Record.metadata.sorted_tables
            }
        flags, source = deepcopy(self.flags), deepcopy(self.source)
        said = {thread: [*messages] for thread, messages in self.said.items()}
        return Still(rows, flags, source, self.clock.now(), [*self.refs], {**self.traffic}, {**self.about}, said)

    async def percent(self, flag: str, environment: str = ENVIRONMENT) -> float:
        """What the flag service serves."""
        return (await self.flags.read(FlagRef(flag, environment))).exposure.live_percent

    async def _serve(self) -> None:
        at = self.clock.now() - timedelta(milliseconds=1)
        minutes = self.check_every.total_seconds() / 60
        for (metric, ref), counts in self.traffic.items():
            share = await self.percent(ref.flag, ref.environment) / 100
            for variant, part, rate in (
                (CONTROL, 1 - share, counts.control),
                (TREATMENT, share, counts.treatment),
            ):
                exposures = round(counts.per_minute * minutes * part)
                if exposures:
                    observation = Observation(variant, at, exposures, round(exposures * rate))
                    self.source.add(metric, ref.flag, ref.environment, observation)

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
    still: Still | None = None,
    sketches: bool = False,
) -> AsyncIterator[World]:
    """A fresh world, or one that goes on from `still`; with `sketches` the model is asked for plans too.

    It is on a database of its own in memory unless another is given: that is emptied, and left open.
    """
    given, database, clock = database, database or Database("sqlite://"), ManualClock()
    await _fill(database, still.rows if still is not None else {})
    flags, source, shelf = MemoryFlagService(compare_and_set=True), MemoryMetricSource(metrics), MemorySpecSource(specs)
    if still is not None:
        flags, source, clock = deepcopy(still.flags), deepcopy(still.source), ManualClock(still.at)
    catalogue = Catalogue(metrics)
    router = Metrics(catalogue, {one.source: source for one in metrics})
    rollouts = RolloutService(database, flags, policy, clock, kinds={metric.name: metric.kind for metric in metrics})
    controller = Controller(database, flags, router, policy, clock, owner="world")
    rollouts.wake = controller.carry_out
    defaults = defaults or PlanningDefaults(check_every=CHECK_EVERY, slices=SLICES)

    def opened() -> "BaseChatModel":
        from agent.model import open_model

        return model if model is not None else open_model(options)

    drafter = Drafter(options, opened, database, clock) if sketches else None
    planner = Planner(shelf, flags, router, policy, defaults, clock, drafter)
    desk = Desk(database, clock, flags, router, shelf, policy, planner, rollouts)
    agent = Agent(desk, options, opened, tools)
    world = World(database, clock, flags, source, shelf, controller, agent, defaults.check_every)
    if still is not None:
        world.refs, world.traffic, world.about = [*still.refs], {**still.traffic}, {**still.about}
        world.said = {thread: [*messages] for thread, messages in still.said.items()}
    try:
        yield world
    finally:
        if given is None:
            await database.close()


async def _fill(database: Database, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Every table, with these rows and no others."""
    async with database.engine.begin() as connection:
        await connection.run_sync(Record.metadata.create_all)
        for table in reversed(Record.metadata.sorted_tables):
            await connection.execute(table.delete())
        for table in Record.metadata.sorted_tables:
            if rows.get(table.name):
                await connection.execute(table.insert(), list(rows[table.name]))
