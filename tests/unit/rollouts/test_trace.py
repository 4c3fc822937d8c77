"""What a chart is drawn from: a guardrail's checks in order, thinned out where there are many."""

from datetime import timedelta

import pytest

from tests.unit.rollouts.world import ERRORS, World, make_plan, stage
from tools.gates import Outcome
from tools.rollouts.store import RolloutNotFound
from tools.rollouts.trace import NothingToTrace, course, trace, traced

GOOD = {"old": (950, 19), "new": (50, 1)}
LONG = make_plan(stage(5, bake=600, limit=7200), stage(25), stage(100))


async def test_every_check_is_a_point_in_order(world: World) -> None:
    view = await world.started(LONG)
    await world.live(view.id, 20, **GOOD)
    found = await trace(world.database, view.id, ERRORS)
    times = [point.at for point in found.points]
    assert len(times) == 20
    assert times == sorted(times)
    assert found.guardrail.metric == ERRORS
    counted = [point.verdict.treatment_n for point in found.points]
    assert counted == sorted(counted)
    assert counted[-1] > 50 * 15
    assert [point.exposure.percent for point in found.stages] == [5]


async def test_the_change_of_stage_is_seen(world: World) -> None:
    view = await world.started(LONG)
    await world.live(view.id, 80, **GOOD)
    found = await trace(world.database, view.id)
    assert [(point.stage, point.exposure.percent) for point in found.stages][:2] == [(0, 5), (1, 25)]
    assert any(point.verdict.outcome is Outcome.PASS for point in found.points)


async def test_of_many_checks_some_are_taken_and_always_the_last(world: World) -> None:
    view = await world.started(LONG)
    await world.live(view.id, 30, **GOOD)
    whole = await trace(world.database, view.id, ERRORS)
    thinned = traced(await course(world.database, view.id, most=7), ERRORS)
    assert 6 <= len(thinned.points) <= 8
    assert thinned.last == whole.last
    gaps = {later.at - point.at for point, later in zip(thinned.points, thinned.points[1:], strict=False)}
    assert max(gaps) - min(gaps) <= timedelta(minutes=2), "evenly"


async def test_what_can_not_be_drawn_is_said(world: World) -> None:
    with pytest.raises(RolloutNotFound):
        await trace(world.database, "nothing")
    view = await world.started(LONG)
    with pytest.raises(NothingToTrace, match="has not been checked yet"):
        await trace(world.database, view.id)
    await world.live(view.id, 2, **GOOD)
    with pytest.raises(NothingToTrace, match=rf"is guarded by {ERRORS}"):
        await trace(world.database, view.id, "nonsense")
