"""A rollout that meets everything there is to tell of: it is blind, harmful, stuck and told late, and ends well."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from bot import health
from bot.scheduler import TICK, Scheduler
from bot.telemetry.instruments import Instruments
from bot.telemetry.process import observed
from bot.telemetry.state import State
from tests.unit.notifier.desk import Desk, open_desk
from tests.unit.notifier.slack import refusal
from tests.unit.rollouts.world import ERRORS, FLAG
from tools.flags.base import FlagRef, FlagServiceUnavailable, FlagState
from tools.flags.memory import MemoryFlagService
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.router import Metrics
from tools.observing import Fact, noted
from tools.rollouts.views import RolloutView

BAD = {"new": (50, 40)}
STUCK_S = 70


class OnAndOff(MemoryFlagService):
    """A flag service that may be away."""

    away = False

    async def read(self, ref: FlagRef) -> FlagState:
        if self.away:
            raise FlagServiceUnavailable("It is away.")
        return await super().read(ref)


@dataclass
class Story:
    """What is told of a desk's work."""

    desk: Desk
    flags: OnAndOff
    instruments: Instruments
    state: State
    scheduler: Scheduler

    async def begun(self) -> RolloutView:
        """A rollout in its first stage, seen twice, and people told of it."""
        view = await self.desk.world.started()
        self.desk.slack.refusals.append(refusal("ratelimited", status=429, retry_after=3))
        await self.desk.deliver(1)
        await self.desk.deliver(5)
        view = await self.desk.world.live(view.id, 2)
        await self.scheduler.run(TICK)
        await self.state.turn()
        return view

    async def blind(self, view: RolloutView) -> RolloutView:
        """Its metrics are away for a while."""
        self.desk.world.source.outage = "It is away."
        view = await self.desk.world.live(view.id, 7)
        await self.state.turn()
        return view

    async def stuck(self, view: RolloutView) -> RolloutView:
        """Its harm is seen, and the flag service is away."""
        self.desk.world.source.outage = None
        self.flags.away = True
        for _ in range(6):
            view = await self.desk.world.live(view.id, 1, **BAD)
        await self.desk.world.live(view.id, STUCK_S // 10)
        await self.state.turn()
        return await self.desk.world.service.get(view.id)

    async def over(self, view: RolloutView) -> RolloutView:
        """The flag service is there again."""
        self.flags.away = False
        view = await self.desk.world.live(view.id, 2)
        await self.desk.deliver(5)
        await self.state.turn()
        return view

    def value(self, series: str, /, **labels: str) -> float:
        """A series' value, 0 where there is none."""
        return self.instruments.registry.get_sample_value(f"sluice_{series}", labels) or 0.0


@asynccontextmanager
async def told(folder: Path) -> AsyncIterator[Story]:
    """A story to be told, with a database in `folder`; what concerns the model is told as its recorder does."""
    flags = OnAndOff()
    await flags.define(FLAG, "old", "new")
    async with open_desk(f"sqlite:///{folder / 'sluice.db'}", other=flags) as desk:
        definition = MetricDefinition(name=ERRORS, source="memory", title="Checkout errors", query="-")
        metrics = Metrics(Catalogue([definition]), {"memory": desk.world.source})
        services = replace(desk.services, metrics=metrics)
        async with observed(services) as instruments:
            scheduler = Scheduler(desk.world.clock)
            scheduler.every(timedelta(seconds=1), TICK, lambda: health.tick(services))
            scheduler.every(timedelta(seconds=1), "broken", _fail)
            await scheduler.run("broken")
            await health.look(services)
            for fact in (Fact.MODEL_REQUEST, Fact.MODEL_FAILURE, Fact.MODEL_INPUT, Fact.MODEL_OUTPUT, Fact.MODEL_COST):
                noted(fact, 2.0, of="small")
            yield Story(desk, flags, instruments, State(services, instruments), scheduler)


async def _fail() -> None:
    raise RuntimeError("on purpose")
