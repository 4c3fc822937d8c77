"""Who is told, and when, that a gate can't see: soon, however seldom its plan has it checked."""

from datetime import timedelta

import pytest

from tests.unit.rollouts.world import World, make_plan, stage
from tools.metrics.base import MetricQuery, MetricSourceUnavailable, Reading
from tools.rollouts.phases import Phase

A_MINUTE = 60.0
BUDGET_S = 300.0


async def seconds_until(world: World, rollout_id: str, kind: str) -> float:
    """Seconds of the world's clock until it happens, a tick each second."""
    for seconds in range(1, 1000):
        world.clock.advance(1)
        await world.controller.tick()
        if kind in await world.kinds(rollout_id):
            return seconds
    raise AssertionError(f"No {kind} in {seconds} s.")


async def blind_after(world: World, *, check_every: float, seeing: float) -> str:
    """A rollout whose source went away so many seconds after it began to see; its id."""
    plan = make_plan(
        stage(5, bake=3600, limit=36000),
        stage(100),
        check_every=timedelta(seconds=check_every),
        stale_after=timedelta(seconds=max(2 * check_every, 120)),
        blind_budget=timedelta(seconds=BUDGET_S),
    )
    view = await world.started(plan)
    for _ in range(int(2 * check_every + seeing)):
        world.traffic(old=(95, 2), new=(5, 0))
        world.clock.advance(1)
        await world.controller.tick()
    assert (await world.service.get(view.id)).blind_since is None
    world.source.outage = "Prometheus is away"
    return view.id


@pytest.mark.parametrize("seeing", range(0, 15, 3))
async def test_with_checks_as_often_as_by_default_within_a_minute(world: World, seeing: float) -> None:
    rollout_id = await blind_after(world, check_every=15, seeing=seeing)
    assert await seconds_until(world, rollout_id, "metrics.blind") <= A_MINUTE


def hang(world: World, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have each reading take so long from now on, to no avail."""

    async def hung(_query: MetricQuery) -> Reading:
        world.clock.advance(seconds)
        raise MetricSourceUnavailable("Prometheus did not answer in time.")

    world.source.outage = None
    monkeypatch.setattr(world.source, "read", hung)


@pytest.mark.parametrize("hanging", [1, 5, 10, 20, 22])
@pytest.mark.parametrize("seeing", range(0, 15, 3))
async def test_a_source_that_hangs_is_paged_for_within_a_minute_too(
    world: World, monkeypatch: pytest.MonkeyPatch, seeing: float, hanging: float
) -> None:
    rollout_id = await blind_after(world, check_every=15, seeing=seeing)
    hang(world, monkeypatch, hanging)
    since = world.clock.now()
    await seconds_until(world, rollout_id, "metrics.blind")
    assert (world.clock.now() - since).total_seconds() <= A_MINUTE


@pytest.mark.parametrize("hanging", [20, 22])
async def test_a_source_that_hangs_only_once_is_not_paged_for(
    world: World, monkeypatch: pytest.MonkeyPatch, hanging: float
) -> None:
    rollout_id = await blind_after(world, check_every=15, seeing=0)
    with monkeypatch.context() as once:
        hang(world, once, hanging)
        while (await world.service.get(rollout_id)).blind_since is None:
            world.clock.advance(1)
            await world.controller.tick()
    for _ in range(60):
        world.traffic(old=(95, 2), new=(5, 0))
        world.clock.advance(1)
        await world.controller.tick()
    assert "metrics.blind" not in await world.kinds(rollout_id)
    assert (await world.service.get(rollout_id)).blind_since is None


async def test_one_look_however_long_takes_nothing_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout_id = await blind_after(world, check_every=15, seeing=0)
    budget = (await world.service.get(rollout_id)).plan.blind_budget.total_seconds()
    with monkeypatch.context() as once:
        hang(world, once, budget + 1)
        while (await world.service.get(rollout_id)).blind_since is None:
            world.clock.advance(1)
            await world.controller.tick()
    assert (await world.service.get(rollout_id)).phase is Phase.PROGRESSING
    for _ in range(60):
        world.traffic(old=(95, 2), new=(5, 0))
        world.clock.advance(1)
        await world.controller.tick()
    view = await world.service.get(rollout_id)
    assert (view.phase, view.blind_since) == (Phase.PROGRESSING, None)


@pytest.mark.parametrize("check_every", [60, 120, 300])
async def test_with_rarer_ones_within_a_minute_of_the_first_that_is_blind(world: World, check_every: float) -> None:
    rollout_id = await blind_after(world, check_every=check_every, seeing=7)
    await seconds_until(world, rollout_id, "metrics.blind")
    view = await world.service.get(rollout_id)
    assert view.blind_since is not None
    assert (world.clock.now() - view.blind_since).total_seconds() <= A_MINUTE


async def test_it_goes_back_when_its_budget_is_spent_and_not_at_the_check_after(world: World) -> None:
    rollout_id = await blind_after(world, check_every=240, seeing=7)
    await seconds_until(world, rollout_id, "metrics.blind")
    since = (await world.service.get(rollout_id)).blind_since
    assert since is not None
    await seconds_until(world, rollout_id, "rollback.started")
    assert (world.clock.now() - since).total_seconds() <= BUDGET_S + 2
    assert (await world.service.get(rollout_id)).phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
