"""A paused rollout is looked at less often while all is well, and loses nothing by it."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from tests.unit.rollouts.world import SAM, World, make_plan
from tools import gates
from tools.gates import Harm, NoData, Outcome, Verdict
from tools.plans.model import LONGEST_PAUSE
from tools.records.models import GateCheck
from tools.rollouts.decisions import PAUSED_SLOWER, next_check
from tools.rollouts.phases import Phase
from tools.rollouts.views import RolloutView

GOOD = {"old": (950, 19), "new": (50, 1)}
BAD = {"old": (950, 19), "new": (50, 25)}
QUIET = Verdict(Outcome.INCONCLUSIVE, "Nothing yet.")


async def paused(world: World) -> RolloutView:
    view = await world.started(make_plan(check_every=timedelta(seconds=10), blind_budget=timedelta(minutes=5)))
    await world.live(view.id, 3, **GOOD)
    await world.service.pause(view.id, actor=SAM, reason="lunch")
    return await world.live(view.id, 1, **GOOD)


async def checks_so_far(world: World) -> int:
    async with world.database.read() as session:
        return (await session.scalars(select(func.count()).select_from(GateCheck))).one()


async def test_it_is_checked_a_fourth_as_often_and_misses_no_data(world: World) -> None:
    view = await paused(world)
    assert view.check is not None
    before, seen = await checks_so_far(world), view.check.verdict.treatment_n
    view = await world.live(view.id, 6 * PAUSED_SLOWER, **GOOD)
    assert await checks_so_far(world) == before + 6
    assert view.check is not None
    assert view.check.verdict.treatment_n == seen + 50 * 6 * PAUSED_SLOWER


async def test_proven_harm_rolls_it_back(world: World) -> None:
    view = await paused(world)
    view = await world.live(view.id, 2 * PAUSED_SLOWER, **BAD)
    assert view.phase is Phase.ROLLED_BACK
    assert await world.percent() == 0


async def test_blind_it_is_checked_as_often_as_any_and_paged_and_rolled_back(world: World) -> None:
    view = await paused(world)
    world.source.outage = "gone"
    await world.live(view.id, PAUSED_SLOWER)
    before = await checks_so_far(world)
    await world.live(view.id, 5)
    assert await checks_so_far(world) == before + 5
    assert "metrics.blind" in await world.kinds(view.id)
    view = await world.live(view.id, 30)
    assert view.phase is Phase.ROLLED_BACK


async def test_a_resumed_one_is_checked_at_once(world: World) -> None:
    view = await paused(world)
    before = await checks_so_far(world)
    await world.service.resume(view.id, actor=SAM)
    await world.controller.tick()
    assert await checks_so_far(world) == before + 1
    await world.live(view.id, 3, **GOOD)
    assert await checks_so_far(world) == before + 4


@pytest.mark.parametrize(
    ("phase", "every", "budget", "verdict", "expected"),
    [
        (Phase.PAUSED, 15, 300, QUIET, 60),
        (Phase.PAUSED, 60, 300, QUIET, 75),  # a quarter of the blind budget
        (Phase.PAUSED, 60, 100, QUIET, 60),  # never more often than the plan says
        (Phase.PAUSED, 120, 7200, QUIET, LONGEST_PAUSE.total_seconds()),
        (Phase.PAUSED, 15, 300, Verdict(Outcome.INCONCLUSIVE, "Hm.", harm=Harm.SUSPECTED), 15),
        (Phase.PAUSED, 15, 300, gates.no_data(NoData.STALE, "Old."), 15),
        (Phase.PROGRESSING, 15, 300, QUIET, 15),
        (Phase.WAITING_PROMOTION, 15, 300, QUIET, 15),
    ],
)
def test_how_long_it_waits(phase: Phase, every: float, budget: float, verdict: Verdict, expected: float) -> None:
    plan = make_plan(check_every=timedelta(seconds=every), blind_budget=timedelta(seconds=budget))
    blind_for = timedelta(0) if verdict.outcome is Outcome.NO_DATA else None
    assert next_check(plan, phase, verdict, blind_for=blind_for) == timedelta(seconds=expected)


@pytest.mark.parametrize(
    ("every", "budget", "blind_for", "expected"),
    [
        (15, 300, 0, 15),
        (60, 300, 0, 40),  # when a person is paged
        (60, 300, 10, 30),
        (60, 300, 41, 60),
        (60, 300, 270, 30),  # when it goes back
        (60, 300, 301, 60),
        (60, 60, 0, 30),
        (600, 300, 0, 40),
        (600, 300, 40, 260),
    ],
)
def test_how_long_it_waits_while_blind(every: float, budget: float, blind_for: float, expected: float) -> None:
    plan = make_plan(check_every=timedelta(seconds=every), blind_budget=timedelta(seconds=budget))
    found = next_check(
        plan, Phase.PROGRESSING, gates.no_data(NoData.STALE, "Old."), blind_for=timedelta(seconds=blind_for)
    )
    assert found == timedelta(seconds=expected)
