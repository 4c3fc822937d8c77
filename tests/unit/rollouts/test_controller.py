"""The controller as a process: slow neighbours, faults, shutdown, leases, and what it says when it can't act."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.rollouts.world import (
    ERRORS,
    FLAG,
    JONAS,
    MIRA,
    PLACE,
    POLICY,
    SAM,
    World,
    make_plan,
    running_world,
    stage,
)
from tools.errors import Conflict
from tools.flags.base import FlagRef, FlagServiceUnavailable
from tools.metrics.base import MetricQuery, Reading
from tools.metrics.router import Metrics
from tools.plans.model import Audience, Exposure
from tools.records import leases
from tools.rollouts.controller import Controller
from tools.rollouts.phases import IllegalTransition, Phase, check_transition, words
from tools.rollouts.store import RolloutNotFound

GOOD = {"old": (950, 19), "new": (50, 1)}


class SlowFor:
    """A metric source that does not answer for one flag until it is let."""

    def __init__(self, world: World, flag: str) -> None:
        self._inner = world.source
        self._flag = flag
        self.let = asyncio.Event()

    async def read(self, query: MetricQuery) -> Reading:
        if query.flag == self._flag:
            await self.let.wait()
        return await self._inner.read(query)

    async def check(self) -> None:
        await self._inner.check()

    async def close(self) -> None:
        await self._inner.close()


def controller_of(world: World, source: SlowFor, *, patience: float | None = 0.01) -> Controller:
    metrics = Metrics(world.controller._metrics.catalogue, {"memory": source})
    wait = None if patience is None else timedelta(seconds=patience)
    return Controller(world.database, world.flags, metrics, POLICY, world.clock, owner="slow", patience=wait)


async def second_rollout(world: World) -> str:
    await world.flags.define(FlagRef("other", "production"), "old", "new")
    view = await world.service.propose(make_plan(flag="other"), requester=MIRA, place=PLACE, reason="asked")
    assert view.approval is not None
    return (await world.service.approve(view.approval.id, actor=JONAS)).id


async def test_a_slow_metric_source_does_not_keep_other_rollouts_waiting(world: World) -> None:
    slow, quick = await world.started(), await second_rollout(world)
    source = SlowFor(world, FLAG.flag)
    controller = controller_of(world, source)
    world.clock.advance(10)
    await controller.tick()
    await asyncio.sleep(0.05)
    world.clock.advance(10)
    await controller.tick()
    assert (await world.service.get(quick)).check is not None
    assert (await world.service.get(slow.id)).check is None, "it is still being looked at, once"
    source.let.set()
    await controller.close()
    assert (await world.service.get(slow.id)).check is not None


async def test_closing_interrupts_what_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.rollouts.controller.CLOSE_GRACE_S", 0.01)
    # In a file: what is interrupted may lose its connection, and a database in memory ends with that.
    async with running_world(f"sqlite:///{tmp_path}/sluice.db") as world:
        view = await world.started()
        controller = controller_of(world, SlowFor(world, FLAG.flag))
        world.clock.advance(10)
        await controller.tick()
        await controller.close()
        assert (await world.service.get(view.id)).phase is Phase.PROGRESSING
        world.clock.advance(30)
        view = await world.live(view.id, 1, **GOOD)
        assert view.check is not None, "another controller takes it up"


async def test_a_fault_in_one_rollout_leaves_the_others_watched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.started()
    other = await second_rollout(world)
    real = world.controller.reconcile

    async def faulty(rollout_id: str) -> None:
        if rollout_id != other:
            raise ZeroDivisionError
        await real(rollout_id)

    monkeypatch.setattr(world.controller, "reconcile", faulty)
    world.clock.advance(10)
    assert await world.controller.tick() == 2
    assert (await world.service.get(other)).check is not None


async def test_another_controllers_rollout_is_left_alone(world: World) -> None:
    view = await world.started()
    world.clock.advance(10)
    async with world.database.write() as session:
        await leases.claim(
            session, [f"rollout:{view.id}"], owner="someone", now=world.clock.now(), ttl=timedelta(seconds=15)
        )
    assert await world.controller.tick() == 0
    world.clock.advance(15)
    assert await world.controller.tick() == 1


async def test_an_exposure_that_cannot_be_set_is_paged_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dead(*_args: object, **_options: object) -> None:
        raise FlagServiceUnavailable("The flag service is down.")

    real = world.flags.write
    monkeypatch.setattr(world.flags, "write", dead)
    view = await world.started()
    view = await world.live(view.id, 9, old=(1000, 20), new=(0, 0))
    assert view.phase is Phase.PROGRESSING
    assert view.error == "The flag service is down."
    assert (await world.kinds(view.id)).count("exposure.stuck") == 1
    monkeypatch.setattr(world.flags, "write", real)
    await world.live(view.id, 1, **GOOD)
    assert await world.percent() == 5


async def test_a_kill_that_cannot_be_set_is_paged_and_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    state = await world.flags.read(FLAG)
    await world.flags.write(FLAG, Exposure(percent=30), expected=state.version)
    real = world.flags.write

    async def dead(*_args: object, **_options: object) -> None:
        raise FlagServiceUnavailable("The flag service is down.")

    monkeypatch.setattr(world.flags, "write", dead)
    await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
    for _ in range(20):
        world.clock.advance(5)
        await world.controller.tick()
    assert [event.kind for event in await world.events()] == ["kill.ordered", "rollback.stuck"]
    monkeypatch.setattr(world.flags, "write", real)
    world.clock.advance(5)
    await world.controller.tick()
    assert await world.percent() == 0


async def test_a_kill_during_a_rollback_goes_to_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    state = await world.flags.read(FLAG)
    await world.flags.write(FLAG, Exposure(percent=3), expected=state.version)
    view = await world.started()
    real = world.flags.write

    async def dead(*_args: object, **_options: object) -> None:
        raise FlagServiceUnavailable("The flag service is down.")

    monkeypatch.setattr(world.flags, "write", dead)
    await world.service.roll_back(view.id, actor=SAM, reason="enough")
    again = await world.service.roll_back(view.id, actor=MIRA, reason="enough")
    assert again.phase is Phase.ROLLING_BACK
    await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
    monkeypatch.setattr(world.flags, "write", real)
    world.clock.advance(5)
    await world.controller.tick()
    assert (await world.service.get(view.id)).phase is Phase.ROLLED_BACK
    assert await world.percent() == 0


class TestPromotionNeedsSight:
    async def test_an_old_check_supports_nothing(self, world: World) -> None:
        view = await world.started(make_plan(stage(5), stage(100)))
        view = await world.live(view.id, 60, **GOOD)
        assert view.approval is not None
        world.clock.advance(61)
        with pytest.raises(Conflict, match="not been checked for 61 s"):
            await world.service.approve(view.approval.id, actor=JONAS)

    async def test_nothing_is_promoted_before_the_first_check(self, world: World) -> None:
        view = await world.started()
        with pytest.raises(Conflict, match="not been checked yet"):
            await world.service.promote(view.id, actor=JONAS)

    async def test_suspected_harm_supports_nothing(self, world: World) -> None:
        view = await world.started(make_plan(stage(5), stage(100)))
        view = await world.live(view.id, 3, **GOOD)
        for _ in range(40):
            view = await world.live(view.id, 1, old=(950, 19), new=(50, 3))
            if view.phase is Phase.PAUSED:
                break
        view = await world.service.resume(view.id, actor=JONAS)
        with pytest.raises(Conflict, match="can't support a promotion"):
            await world.service.promote(view.id, actor=JONAS)

    async def test_only_a_progressing_rollout_can_be_promoted(self, world: World) -> None:
        view = await world.proposed()
        with pytest.raises(Conflict, match="only a progressing one"):
            await world.service.promote(view.id, actor=JONAS)


class TestWithoutCompareAndSet:
    async def test_a_rollback_is_watched_until_no_late_write_can_land(self) -> None:
        from tests.unit.rollouts.world import running_world

        async with running_world(compare_and_set=False) as world:
            view = await world.started()
            view = await world.service.roll_back(view.id, actor=SAM, reason="enough")
            assert view.phase is Phase.ROLLING_BACK
            assert view.verify_until is not None
            assert await world.percent() == 0
            await world.flags.write(FLAG, Exposure(percent=5), expected="whatever")
            world.clock.advance(5)
            await world.controller.tick()
            assert await world.percent() == 0, "the late write is taken back"
            for _ in range(12):
                world.clock.advance(5)
                await world.controller.tick()
            view = await world.service.get(view.id)
            assert view.phase is Phase.ROLLED_BACK
            assert (await world.kinds(view.id)).count("rollback.verifying") == 1


def test_everyone_of_a_few_leaves_a_control() -> None:
    assert Exposure(percent=100).leaves_no_control
    assert not Exposure(percent=100, audience=Audience(tenants=("acme",))).leaves_no_control


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_words_and_its_steps(phase: Phase) -> None:
    assert words(phase)
    if phase in (Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.CANCELLED):
        with pytest.raises(IllegalTransition):
            check_transition(phase, Phase.PROGRESSING)
    if phase is Phase.PROGRESSING:
        # To the next stage.
        check_transition(phase, phase)
        return
    with pytest.raises(IllegalTransition, match=f"is {words(phase)} already"):
        check_transition(phase, phase)


async def test_an_unknown_rollout_is_said_to_be_gone(world: World) -> None:
    with pytest.raises(RolloutNotFound):
        await world.service.get("nope")
    with pytest.raises(RolloutNotFound, match="/rollout plan"):
        await world.service.find("nope", "production")


async def test_a_metric_source_with_a_fault_of_its_own_counts_as_blind(world: World) -> None:
    class Faulty(SlowFor):
        async def read(self, query: MetricQuery) -> Reading:
            raise ZeroDivisionError

    view = await world.started()
    controller = controller_of(world, Faulty(world, FLAG.flag), patience=None)
    world.clock.advance(10)
    await controller.tick()
    view = await world.service.get(view.id)
    assert view.check is not None
    assert f"Reading {ERRORS} failed (reference" in view.check.verdict.why
    assert view.blind_since is not None
