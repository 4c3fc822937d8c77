"""Lowering exposure: at once, without an approval, as certain as a rollback; up again only with an approver."""

import pytest

from tests.unit.rollouts.world import FLAG, JONAS, MIRA, SAM, World, by_kind, make_plan, running_world, stage
from tools.errors import Conflict, InvalidInput, NotAllowed
from tools.flags.base import FlagRef, FlagServiceUnavailable
from tools.plans.model import NOT_EXPOSED, Exposure
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase
from tools.rollouts.views import RolloutView

PLAN = make_plan(stage(10, bake=36_000, limit=72_000), stage(50), stage(100))


async def _unavailable(_ref: FlagRef, _exposure: Exposure, *, expected: str) -> None:
    raise FlagServiceUnavailable("The flag service is down.")


async def at_ten(world: World, checks: int = 3) -> RolloutView:
    view = await world.started(PLAN)
    return await world.live(view.id, checks, old=(950, 10), new=(50, 0))


async def test_it_pauses_at_the_lower_exposure_and_says_why(world: World) -> None:
    view = await at_ten(world)
    view = await world.service.lower(view.id, 5, actor=SAM, reason="support is busy")
    assert (view.phase, view.exposure, await world.percent()) == (Phase.PAUSED, Exposure(percent=5), 5)
    assert view.pause_reason == "Lowered to 5 %: support is busy"
    event = by_kind(await world.events(view.id))[Happening.EXPOSURE_LOWERED]
    assert (event.actor, event.payload["before"], event.payload["target"]) == (SAM, "10 %", "5 %")
    view = await world.live(view.id, 3)
    assert (view.phase, await world.percent()) == (Phase.PAUSED, 5), "our own lowering is nobody's hand"


async def test_going_up_again_takes_an_approver(world: World) -> None:
    view = await at_ten(world)
    await world.service.lower(view.id, 5, actor=SAM, reason="busy")
    with pytest.raises(NotAllowed):
        await world.service.resume(view.id, actor=MIRA)
    view = await world.service.resume(view.id, actor=JONAS)
    assert (view.phase, await world.percent()) == (Phase.PROGRESSING, 10)


async def test_a_question_that_is_open_is_void(world: World) -> None:
    view = await at_ten(world)
    view = await world.service.promote(view.id, actor=SAM)
    assert view.approval is not None
    asked = view.approval.id
    view = await world.service.lower(view.id, 8, actor=SAM, reason="not so fast")
    assert (view.phase, view.approval) == (Phase.PAUSED, None)
    with pytest.raises(Conflict, match="no longer asked"):
        await world.service.approve(asked, actor=JONAS)
    assert await world.percent() == 8


async def test_lower_and_lower_again_also_while_paused(world: World) -> None:
    view = await at_ten(world)
    await world.service.pause(view.id, actor=SAM, reason="lunch")
    for percent in (8.0, 2.5):
        view = await world.service.lower(view.id, percent, actor=SAM, reason="less")
        assert (view.phase, await world.percent()) == (Phase.PAUSED, percent)


async def test_to_nothing_is_a_rollback_and_goes_below_what_was_good_before(world: World) -> None:
    await world.flags.write(FLAG, Exposure(percent=3), expected=(await world.flags.read(FLAG)).version)
    view = await at_ten(world)
    view = await world.service.lower(view.id, 0, actor=SAM, reason="fire")
    assert (view.phase, view.exposure, await world.percent()) == (Phase.ROLLED_BACK, NOT_EXPOSED, 0)


async def test_to_nothing_before_the_start_cancels(world: World) -> None:
    view = await world.proposed(PLAN)
    assert (await world.service.lower(view.id, 0, actor=SAM, reason="no")).phase is Phase.CANCELLED


@pytest.mark.parametrize("percent", [10, 11, 100])
async def test_what_is_no_less_is_refused(world: World, percent: float) -> None:
    view = await at_ten(world)
    with pytest.raises(Conflict, match="at 10 % already"):
        await world.service.lower(view.id, percent, actor=SAM, reason="less?")
    assert await world.percent() == 10


@pytest.mark.parametrize("percent", [-1, 101, float("nan"), float("inf"), 0.0001])
async def test_what_is_no_percentage_is_refused(world: World, percent: float) -> None:
    view = await at_ten(world)
    with pytest.raises(InvalidInput):
        await world.service.lower(view.id, percent, actor=SAM, reason="odd")


async def test_before_the_start_and_after_the_end_there_is_nothing_to_lower(world: World) -> None:
    view = await world.proposed(PLAN)
    with pytest.raises(Conflict, match="no exposure to lower"):
        await world.service.lower(view.id, 5, actor=SAM, reason="less")
    await world.service.cancel(view.id, actor=MIRA, reason="no")
    with pytest.raises(Conflict, match="has ended"):
        await world.service.lower(view.id, 5, actor=SAM, reason="less")


async def test_an_outage_delays_it_and_pages_until_it_is_done(world: World) -> None:
    view = await at_ten(world)
    world.flags.write = _unavailable  # type: ignore[method-assign]
    view = await world.service.lower(view.id, 5, actor=SAM, reason="busy")
    assert (view.phase, view.setting) == (Phase.PAUSED, Exposure(percent=5))
    with pytest.raises(Conflict, match="still being lowered"):
        await world.service.resume(view.id, actor=JONAS)
    for _ in range(20):
        world.clock.advance(5)
        world.traffic()
        await world.controller.tick()
    stuck = by_kind(await world.events(view.id))[Happening.EXPOSURE_STUCK]
    assert stuck.payload["target"] == "5 %"
    del world.flags.write  # type: ignore[method-assign]
    world.clock.advance(5)
    await world.controller.tick()
    view = await world.service.get(view.id)
    assert (view.exposure, view.setting, await world.percent()) == (Exposure(percent=5), None, 5)
    assert Happening.CHANGED_BY_HAND not in await world.kinds(view.id)


async def test_harm_rolls_back_all_the_same(world: World) -> None:
    view = await at_ten(world)
    await world.service.lower(view.id, 5, actor=SAM, reason="busy")
    view = await world.live(view.id, 30, old=(950, 10), new=(50, 30))
    assert (view.phase, await world.percent()) == (Phase.ROLLED_BACK, 0)


async def test_a_raise_by_hand_afterwards_is_paged_also_to_where_it_was(world: World) -> None:
    view = await at_ten(world)
    await world.service.lower(view.id, 5, actor=SAM, reason="busy")
    state = await world.flags.read(FLAG)
    await world.flags.write(FLAG, Exposure(percent=10), expected=state.version)
    view = await world.live(view.id, 3)
    hand = by_kind(await world.events(view.id))[Happening.CHANGED_BY_HAND]
    assert (view.phase, hand.payload["raised"]) == (Phase.PAUSED, True)


async def test_where_nothing_is_compared_it_is_watched_until_no_late_write_can_land() -> None:
    async with running_world(compare_and_set=False) as world:
        view = await at_ten(world)
        view = await world.service.lower(view.id, 5, actor=SAM, reason="busy")
        assert (await world.percent(), view.setting) == (5, Exposure(percent=5))
        await world.flags.write(FLAG, Exposure(percent=10), expected="late")
        world.clock.advance(5)
        world.traffic()
        await world.controller.tick()
        assert await world.percent() == 5, "the late write is undone"
        view = await world.live(view.id, 30)
        assert (view.phase, view.setting, view.verify_until) == (Phase.PAUSED, None, None)
        assert Happening.CHANGED_BY_HAND not in await world.kinds(view.id)
        view = await world.service.roll_back(view.id, actor=SAM, reason="enough")
        assert (view.phase, await world.percent()) == (Phase.ROLLING_BACK, 0)
        view = await world.live(view.id, 30)
        assert view.phase is Phase.ROLLED_BACK


async def test_a_kill_and_a_rollback_go_on_top(world: World) -> None:
    view = await at_ten(world)
    await world.service.lower(view.id, 5, actor=SAM, reason="busy")
    ended = await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
    assert ended is not None
    assert (ended.phase, await world.percent()) == (Phase.ROLLED_BACK, 0)
