"""What Sluice's own metrics cost: a check that is observed beside one that is not, reading the state, a scrape."""

import time
from collections.abc import Awaitable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from statistics import median

import pytest
from prometheus_client import generate_latest

from bot.telemetry.process import observed
from bot.telemetry.state import State
from tests.benchmarks.conftest import Figures
from tests.unit.notifier.desk import open_desk
from tests.unit.rollouts.world import ERRORS, JONAS, MIRA, PLACE, World, make_plan, stage
from tools.flags.base import FlagRef
from tools.flags.memory import MemoryFlagService
from tools.metrics.memory import Observation
from tools.observing import Nobody, observed_by

ROLLOUTS, ROUNDS, WARM_UP = 20, 24, 4
DAY = 86_400.0
MOST_MS = 1.0
"""More processor time for a check."""

pytestmark = pytest.mark.benchmark


async def test_what_being_observed_costs(tmp_path: Path, figures: Figures) -> None:
    async with open_desk(f"sqlite:///{tmp_path / 'sluice.db'}") as desk, observed(desk.services) as instruments:
        flags = [await _started(desk.world, number) for number in range(ROLLOUTS)]
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for number in range(ROUNDS + WARM_UP):
            is_observed = number % 4 in (0, 3)
            with nullcontext() if is_observed else observed_by(Nobody()):
                took = await _tick(desk.world, flags)
            if number >= WARM_UP:
                seconds[is_observed].append(took)
        state = State(desk.services, instruments)
        turns = [await _cost(state.turn()) for _ in range(ROUNDS)]
        began = time.process_time()
        said = generate_latest(instruments.registry)
        figures.add(
            f"a scrape of {len(said) / 1000:.0f} KB, processor time", (time.process_time() - began) * 1000, "ms"
        )
    figures.times("the state read for it, processor time", turns)
    figures.add(f"a check, of {ROLLOUTS} in a tick, processor time", median(seconds[False]) * 1000, "ms")
    more = (median(seconds[True]) - median(seconds[False])) * 1000
    figures.add("more of it for being observed", more, "ms", target=MOST_MS)


async def _started(world: World, number: int) -> str:
    """A rollout that stays in its first stage for long."""
    assert isinstance(world.flags, MemoryFlagService)
    ref = FlagRef(f"flag-{number}", "production")
    await world.flags.define(ref, "old", "new")
    plan = make_plan(stage(5, bake=DAY, limit=2 * DAY), stage(25)).model_copy(update={"flag": ref.flag})
    view = await world.service.propose(plan, requester=MIRA, place=PLACE, reason="asked")
    assert view.approval is not None
    await world.service.approve(view.approval.id, actor=JONAS)
    return ref.flag


async def _tick(world: World, flags: list[str]) -> float:
    """Seconds of the processor's for each of the checks in a tick."""
    world.clock.advance(10)
    at = world.clock.now() - timedelta(milliseconds=1)
    for flag in flags:
        for variant, exposures in (("old", 950), ("new", 50)):
            world.source.add(ERRORS, flag, "production", Observation(variant, at, exposures, 0))
    took = await _cost(world.controller.tick())
    return took / len(flags)


async def _cost(work: Awaitable[object]) -> float:
    began = time.process_time()
    await work
    return time.process_time() - began
