"""A planner with everything that it reads from, in memory: specs, flags, metrics, and a model that says its lines."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from agent.model import ModelOptions, Style
from agent.planner import Planner, PlanRequest
from agent.planning.drafter import Drafter
from agent.scripted import Line, ScriptedModel
from tests.unit.rollouts.world import POLICY
from tools.clock import ManualClock
from tools.flags.base import FlagRef
from tools.flags.memory import MemoryFlagService
from tools.gates import Direction
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics
from tools.plans.defaults import PlanningDefaults
from tools.plans.model import Exposure, Strategy
from tools.records.database import Database
from tools.records.models import AgentRun, ModelCall, Record
from tools.specs.memory import MemorySpecSource

PRODUCTION = "production"
PLANNING = PlanningDefaults(slices=240)
"""Fewer pieces of the past than usual, which are quicker to read."""
FLAG = "new-checkout"
CHECKOUT = """---
flag: new-checkout
owner: UAUTHOR
tags: [revenue-critical]
kpis:
  - {metric: errors, direction: increase, margin: 1.8}
depends_on: [new-cart, wallet]
---
# New checkout
"""


class Desk:
    """A planner and what it reads from."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.policy = POLICY
        self.flags = MemoryFlagService()
        self.specs = MemorySpecSource({})
        definitions = [
            MetricDefinition(name="errors", source="m", title="Errors", query="-"),
            MetricDefinition(name="orders", source="m", title="Orders", query="-", direction=Direction.DECREASE),
            MetricDefinition(name="refunds", source="m", title="Refunds", query="-", objective=0.05),
        ]
        self.source = MemoryMetricSource(definitions)
        self.metrics = Metrics(Catalogue(definitions), {"m": self.source})
        self.planner = self.with_drafter(None)

    def with_drafter(self, drafter: Drafter | None) -> Planner:
        """A planner of the same parts."""
        database = drafter.database if drafter is not None else None
        return Planner(self.specs, self.flags, self.metrics, self.policy, PLANNING, self.clock, drafter, database)

    async def flag(self, name: str = FLAG, percent: float = 0) -> None:
        """Define a flag."""
        ref = FlagRef(name, PRODUCTION)
        await self.flags.define(ref, "old", "new")
        await self.flags.write(ref, Exposure(percent=percent), expected=(await self.flags.read(ref)).version)

    def history(self, metric: str, *, per_minute: int = 6000, rate: float = 0.01, variant: str = "old") -> None:
        """A day of the same traffic, a line a minute."""
        for minute in range(24 * 60):
            at = self.clock.now() - timedelta(minutes=minute + 1)
            self.source.add(metric, FLAG, PRODUCTION, Observation(variant, at, per_minute, round(per_minute * rate)))


class Talk:
    """A planner whose model says `lines`, and the rows that are kept of it."""

    def __init__(self, desk: Desk, database: Database, lines: Iterable[Line | str], options: ModelOptions) -> None:
        self.desk = desk
        self.database = database
        self.options = options
        self.model = ScriptedModel.of(lines)
        self.planner = desk.with_drafter(Drafter(options, lambda: self.model, database, desk.clock))

    async def runs(self) -> list[AgentRun]:
        """The runs that were kept."""
        async with self.database.read() as session:
            return list((await session.scalars(select(AgentRun))).all())

    async def calls(self) -> list[ModelCall]:
        """The exchanges that were kept, in order."""
        async with self.database.read() as session:
            return list((await session.scalars(select(ModelCall).order_by(ModelCall.position))).all())


@asynccontextmanager
async def talking(desk: Desk, *lines: Line | str, **options: Any) -> AsyncIterator[Talk]:
    """A talk with a model that says these lines."""
    database = Database("sqlite://")
    async with database.engine.begin() as connection:
        await connection.run_sync(Record.metadata.create_all)
    try:
        chosen = ModelOptions(**{"name": "scripted", "style": Style.SCHEMA, **options})
        yield Talk(desk, database, lines, chosen)
    finally:
        await database.close()


def request(strategy: Strategy | None = None, **changes: Any) -> PlanRequest:
    """Mira asks for a plan."""
    return PlanRequest(FLAG, PRODUCTION, strategy, "UMIRA", **changes)
