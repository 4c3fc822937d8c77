"""What happens between the executor's steps: slow services, orders that change their mind, hands on the flag."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from tests.unit.rollouts.world import FLAG, JONAS, POLICY, SAM, World, by_kind, make_plan, running_world, stage
from tools.flags.base import ApprovalRequired, FlagRef, FlagServiceUnavailable, FlagState, FlagVersionConflict
from tools.plans.model import Exposure
from tools.records.models import Intent
from tools.records.outbox import Kind
from tools.rollouts.controller import Controller
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase
from tools.rollouts.store import IntentStatus


def during_the_first(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str, happens: Callable[[], Awaitable[object]]
) -> None:
    """Have something happen right after the flag service's next `call` was answered."""
    real, pending = getattr(world.flags, call), [happens]

    async def watched(*args: object, **options: object) -> object:
        answer = await real(*args, **options)
        if pending:
            await pending.pop()()
        return answer

    monkeypatch.setattr(world.flags, call, watched)


async def by_hand(world: World, percent: float) -> None:
    state = await type(world.flags).read(world.flags, FLAG)  # type: ignore[arg-type]
    await type(world.flags).write(world.flags, FLAG, Exposure(percent=percent), expected=state.version)  # type: ignore[arg-type]


async def intents(world: World) -> list[tuple[str, str]]:
    async with world.database.read() as session:
        rows = await session.scalars(select(Intent))
        return [(row.purpose, row.status) for row in rows]


async def test_a_flag_service_that_does_not_answer_is_given_up_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_ref: FlagRef) -> FlagState:
        await asyncio.Event().wait()
        raise AssertionError

    view = await world.started()
    impatient = Controller(
        world.database,
        world.flags,
        world.controller._metrics,
        POLICY,
        world.clock,
        owner="impatient",
        flag_timeout=timedelta(seconds=0.01),
    )
    world.service.wake = impatient.carry_out
    monkeypatch.setattr(world.flags, "read", hang)
    view = await world.service.roll_back(view.id, actor=SAM, reason="enough")
    assert view.phase is Phase.ROLLING_BACK
    assert view.error == "The flag service did not answer within 0.01 s."
    monkeypatch.undo()
    world.clock.advance(5)
    await impatient.tick()
    assert (await world.service.get(view.id)).phase is Phase.ROLLED_BACK


async def test_a_raise_that_is_no_longer_wanted_once_the_flag_was_read_is_not_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.proposed()
    assert view.approval is not None
    wrote: list[float] = []
    real = world.flags.write

    async def noted(ref: FlagRef, exposure: Exposure, *, expected: str) -> None:
        wrote.append(exposure.percent)
        await real(ref, exposure, expected=expected)

    async def start_then_roll_back() -> None:
        during_the_first(world, monkeypatch, "read", lambda: world.service.roll_back(view.id, actor=SAM, reason="no"))

    monkeypatch.setattr(world.flags, "write", noted)
    during_the_first(world, monkeypatch, "read", start_then_roll_back)
    await world.service.approve(view.approval.id, actor=JONAS)
    assert (await world.service.get(view.id)).phase is Phase.ROLLED_BACK
    assert wrote == [0]
    assert sorted(await intents(world)) == [("roll_back", IntentStatus.DONE), ("start", IntentStatus.VOID)]


async def test_a_hand_that_is_quicker_than_the_start_is_respected(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.proposed()
    assert view.approval is not None
    during_the_first(world, monkeypatch, "write", lambda: by_hand(world, 2))
    view = await world.service.approve(view.approval.id, actor=JONAS)
    assert view.phase is Phase.PAUSED
    assert await world.percent() == 2
    assert Happening.CHANGED_BY_HAND in await world.kinds(view.id)
    assert await intents(world) == [("start", IntentStatus.VOID)]


async def test_a_start_that_meets_a_hand_and_a_rollback_at_once_gives_way_to_both(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.proposed()
    assert view.approval is not None

    async def hand_then_roll_back() -> None:
        await by_hand(world, 2)
        during_the_first(world, monkeypatch, "read", lambda: world.service.roll_back(view.id, actor=SAM, reason="no"))

    during_the_first(world, monkeypatch, "write", hand_then_roll_back)
    await world.service.approve(view.approval.id, actor=JONAS)
    assert (await world.service.get(view.id)).phase is Phase.ROLLED_BACK
    assert await world.percent() == 0
    assert Happening.PAUSED not in await world.kinds(view.id)


@pytest.mark.parametrize("seeing", [True, False])
async def test_a_start_that_the_service_took_late_is_blind_for_as_long_as_any_other(
    world: World, monkeypatch: pytest.MonkeyPatch, seeing: bool
) -> None:
    async def away(_ref: FlagRef, _exposure: Exposure, *, expected: str) -> None:
        raise FlagServiceUnavailable(f"It takes none for version {expected}.")

    with monkeypatch.context() as outage:
        outage.setattr(world.flags, "write", away)
        view = await world.started(make_plan(stage(5, bake=3600, limit=36000), stage(100)))
        await world.live(view.id, 50)
    assert "metrics.blind" in await world.kinds(view.id)
    await world.live(view.id, 1)
    traffic = {} if seeing else {"old": (0, 0), "new": (0, 0)}
    view = await world.live(view.id, 25, **traffic)
    assert (view.phase, await world.percent()) == (Phase.PROGRESSING, 5)
    view = await world.live(view.id, 30, **traffic)
    assert (view.phase is Phase.ROLLED_BACK) is not seeing


async def test_a_flag_that_keeps_changing_is_tried_again_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def always_changed(*_args: object, **_options: object) -> None:
        raise FlagVersionConflict("It changed meanwhile.")

    view = await world.started()
    with monkeypatch.context() as patch:
        patch.setattr(world.flags, "write", always_changed)
        view = await world.service.roll_back(view.id, actor=SAM, reason="enough")
        assert view.error == "The flag keeps changing while it is being set."
    world.clock.advance(5)
    await world.controller.tick()
    assert (await world.service.get(view.id)).phase is Phase.ROLLED_BACK


REFUSED = "Flag new-checkout in production can't be set by Sluice: its vendor wants changes to be approved."


def refusing(world: World, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have the flag service want approvals of its own from now on; the percentages that it is asked to serve."""
    asked: list[float] = []

    async def refuse(_ref: FlagRef, exposure: Exposure, *, expected: str) -> None:
        asked.append(exposure.percent)
        raise ApprovalRequired(REFUSED)

    monkeypatch.setattr(world.flags, "write", refuse)
    return asked


async def test_a_raise_that_the_service_wants_approved_pauses_and_is_asked_for_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.started()
    with monkeypatch.context() as approvals:
        asked = refusing(world, approvals)
        view = await world.live(view.id, 12)
        assert (view.phase, view.pause_reason) == (Phase.PAUSED, f"25 % could not be set. {REFUSED}")
        assert view.pause_ends is not None
        assert view.pause_ends.startswith("Approve the change in the flag service, or let Sluice's token bypass")
        assert asked == [25]
    assert await world.percent() == 5
    events = by_kind(await world.events(view.id))
    assert REFUSED in str(events[Happening.PAUSED].payload["reason"])
    assert Happening.EXPOSURE_STUCK not in events
    alerts = [message for message in await world.outbox() if message.kind == Kind.ALERT]
    assert [message.payload["what"] for message in alerts] == [Happening.APPROVAL_REQUESTED, Happening.PAUSED]
    await world.service.resume(view.id, actor=JONAS)
    assert await world.percent() == 25


async def test_a_start_that_the_service_wants_approved_goes_on_with_what_was_set_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.proposed()
    assert view.approval is not None
    with monkeypatch.context() as approvals:
        refusing(world, approvals)
        view = await world.service.approve(view.approval.id, actor=JONAS)
    assert (view.phase, await world.percent()) == (Phase.PAUSED, 0)
    await by_hand(world, 5)
    view = await world.live(view.id, 1)
    assert view.phase is Phase.PAUSED
    assert Happening.CHANGED_BY_HAND not in await world.kinds(view.id)
    await world.service.resume(view.id, actor=JONAS)
    assert (await world.live(view.id, 12)).phase is Phase.PROGRESSING
    assert await world.percent() == 25


async def test_a_rollback_that_the_service_wants_approved_pages_at_once_and_is_tried_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.started()
    with monkeypatch.context() as approvals:
        asked = refusing(world, approvals)
        await world.service.roll_back(view.id, actor=SAM, reason="enough")
        [stuck] = [event for event in await world.events(view.id) if event.kind == Happening.ROLLBACK_STUCK]
        assert stuck.payload["error"] == f"Until Sluice is let, only a person can set 0 % there. {REFUSED}"
        view = await world.live(view.id, 12)
        assert (view.phase, len(asked) > 5) == (Phase.ROLLING_BACK, True)
        assert (await world.kinds(view.id)).count(Happening.ROLLBACK_STUCK) == 1
    assert (await world.live(view.id, 1)).phase is Phase.ROLLED_BACK
    assert await world.percent() == 0


async def test_a_kill_that_the_service_wants_approved_pages_at_once_and_is_tried_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await by_hand(world, 30)
    with monkeypatch.context() as approvals:
        refusing(world, approvals)
        await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        stuck = by_kind(await world.events())[Happening.ROLLBACK_STUCK]
        assert stuck.payload["error"] == f"Until Sluice is let, only a person can set 0 % there. {REFUSED}"
    world.clock.advance(5)
    await world.controller.tick()
    assert await world.percent() == 0


async def test_a_late_write_does_not_undo_a_kill_without_a_rollout() -> None:
    async with running_world(compare_and_set=False) as world:
        await by_hand(world, 30)
        await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        assert await world.percent() == 0
        for _ in range(6):
            await by_hand(world, 30)
            world.clock.advance(10)
            await world.controller.tick()
            assert await world.percent() == 0
        assert [event.kind for event in await world.events()] == [Happening.KILL_ORDERED, Happening.KILLED]
        assert await intents(world) == [("kill", IntentStatus.OPEN)]
        world.clock.advance(10)
        await world.controller.tick()
        assert await intents(world) == [("kill", IntentStatus.DONE)]
        await by_hand(world, 30)
        world.clock.advance(10)
        await world.controller.tick()
        assert await world.percent() == 30


async def test_what_people_want_long_after_a_kill_is_not_taken_for_a_late_write() -> None:
    async with running_world(compare_and_set=False) as world:
        await by_hand(world, 30)
        await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        # Nobody was there to watch.
        world.clock.advance(3600)
        await by_hand(world, 30)
        await world.controller.tick()
        assert await world.percent() == 30
        assert await intents(world) == [("kill", IntentStatus.DONE)]


async def away(*_args: object, **_options: object) -> FlagState:
    raise FlagServiceUnavailable("It can't be reached.")


async def ticks(world: World, seconds: int) -> None:
    for _ in range(seconds // 5):
        world.clock.advance(5)
        await world.controller.tick()


async def test_a_kill_is_watched_until_it_was_looked_at_after_the_last_late_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_world(compare_and_set=False) as world:
        await by_hand(world, 30)
        await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        await ticks(world, 20)
        await by_hand(world, 30)
        with monkeypatch.context() as outage:
            outage.setattr(world.flags, "read", away)
            await ticks(world, 600)
            assert await intents(world) == [("kill", IntentStatus.OPEN)]
        await ticks(world, 10)
        assert await world.percent() == 0
        assert await intents(world) == [("kill", IntentStatus.DONE)]
        assert [event.kind for event in await world.events()] == [Happening.KILL_ORDERED, Happening.KILLED]


@pytest.mark.parametrize("call", ["read", "write"])
async def test_only_a_kill_that_is_known_to_be_undone_is_stuck(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    async with running_world(compare_and_set=False) as world:
        await by_hand(world, 30)
        await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        await by_hand(world, 30)
        with monkeypatch.context() as outage:
            outage.setattr(world.flags, call, away)
            await ticks(world, 120)
        kinds = [event.kind for event in await world.events()]
        assert kinds.count(Happening.ROLLBACK_STUCK) == (call == "write")
        await ticks(world, 10)
        assert await world.percent() == 0


async def test_a_rollback_that_was_read_back_is_stuck_only_where_its_watch_does_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_world(compare_and_set=False) as world:
        view = await world.started()
        await world.service.roll_back(view.id, actor=SAM, reason="enough")
        await ticks(world, 30)
        with monkeypatch.context() as outage:
            outage.setattr(world.flags, "read", away)
            await ticks(world, 80)
            assert Happening.ROLLBACK_STUCK not in await world.kinds(view.id)
            await ticks(world, 15)
            assert (await world.kinds(view.id)).count(Happening.ROLLBACK_STUCK) == 1
        await ticks(world, 10)
        assert (await world.service.get(view.id)).phase is Phase.ROLLED_BACK


async def stuck(world: World) -> int:
    return [event.kind for event in await world.events()].count(Happening.ROLLBACK_STUCK)


@pytest.mark.parametrize("of", ["kill", "rollback"])
async def test_what_is_undone_after_it_was_stuck_is_paged_again_when_it_can_not_be_set(
    monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    async with running_world(compare_and_set=False) as world:
        view = await world.started() if of == "rollback" else None
        await by_hand(world, 5)
        with monkeypatch.context() as outage:
            outage.setattr(world.flags, "write", away)
            if view is None:
                await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
            else:
                await world.service.roll_back(view.id, actor=SAM, reason="enough")
            await ticks(world, 60)
            assert await stuck(world) == 1
        await ticks(world, 5)
        assert await world.percent() == 0
        await by_hand(world, 5)
        with monkeypatch.context() as outage:
            outage.setattr(world.flags, "write", away)
            await ticks(world, 55)
            assert await stuck(world) == 1
            await ticks(world, 3600)
            assert await stuck(world) == 2
            alerts = [message for message in await world.outbox() if message.kind == Kind.ALERT]
            assert [message.payload["what"] for message in alerts].count(Happening.ROLLBACK_STUCK) == 2
        await ticks(world, 10)
        assert await world.percent() == 0


async def test_a_rollback_that_was_stuck_before_it_was_read_back_is_paged_when_its_watch_does_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_world(compare_and_set=False) as world:
        view = await world.started()
        with monkeypatch.context() as outage:
            outage.setattr(world.flags, "write", away)
            await world.service.roll_back(view.id, actor=SAM, reason="enough")
            await ticks(world, 65)
        await ticks(world, 5)
        assert (await world.percent(), await stuck(world)) == (0, 1)
        monkeypatch.setattr(world.flags, "read", away)
        await ticks(world, 600)
        assert await stuck(world) == 2


@pytest.mark.parametrize("of", ["lowering", "rollback"])
async def test_what_is_undone_is_stuck_from_then_on(monkeypatch: pytest.MonkeyPatch, of: str) -> None:
    async with running_world(compare_and_set=False) as world:
        view = await world.started()
        view = await world.live(view.id, 12)
        if of == "lowering":
            await world.service.lower(view.id, 5, actor=SAM, reason="busy")
        else:
            await world.service.roll_back(view.id, actor=SAM, reason="enough")
        told = {Happening.ROLLBACK_STUCK, Happening.EXPOSURE_STUCK}
        await ticks(world, 30)
        await by_hand(world, 50)
        monkeypatch.setattr(world.flags, "write", away)
        await ticks(world, 60)
        assert told.isdisjoint(await world.kinds(view.id))
        await ticks(world, 10)
        assert not told.isdisjoint(await world.kinds(view.id))


@pytest.mark.parametrize("of", ["kill", "rollback"])
async def test_what_is_undone_is_set_again_while_the_database_takes_no_writes(
    monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    async with running_world(compare_and_set=False) as world:
        if of == "rollback":
            await world.service.roll_back((await world.started()).id, actor=SAM, reason="enough")
        else:
            await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        await by_hand(world, 30)
        monkeypatch.setattr(world.database, "write", full)
        for _ in range(2):
            world.clock.advance(10)
            with suppress(OperationalError):
                await world.controller.tick()
        assert await world.percent() == 0


def full() -> None:
    raise OperationalError("UPDATE intents", None, Exception("The disk is full."))


@pytest.mark.parametrize("noted", [True, False])
async def test_a_kill_that_is_undone_is_set_again_however_long_that_could_not_be(
    monkeypatch: pytest.MonkeyPatch, *, noted: bool
) -> None:
    async with running_world(compare_and_set=False) as world:
        await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        await by_hand(world, 30)
        with monkeypatch.context() as outage:
            outage.setattr(world.flags, "write", away)
            if noted:
                await ticks(world, 20)
                world.clock.advance(600)
            else:
                outage.setattr(world.database, "write", full)
                await ticks(world, 600)
        await ticks(world, 10)
        assert await world.percent() == 0


@pytest.mark.parametrize("compares", [True, False])
async def test_a_kill_that_was_seen_to_hold_is_set_no_more_while_the_database_takes_no_writes(
    monkeypatch: pytest.MonkeyPatch, *, compares: bool
) -> None:
    async with running_world(compare_and_set=compares) as world:
        with monkeypatch.context() as outage:
            outage.setattr(world.flags, "write", away)
            await by_hand(world, 30)
            await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        with monkeypatch.context() as outage:
            outage.setattr(world.database, "write", full)
            await ticks(world, 100)
            assert await world.percent() == 0
            await by_hand(world, 30)
            await ticks(world, 600)
            assert await world.percent() == 30
        await ticks(world, 10)
        assert (await world.percent(), await intents(world)) == (30, [("kill", IntentStatus.DONE)])


async def test_a_lowering_is_set_while_the_database_takes_no_writes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.live((await world.started()).id, 12)
    with monkeypatch.context() as outage:
        outage.setattr(world.flags, "write", away)
        await world.service.lower(view.id, 1, actor=SAM, reason="busy")
    with monkeypatch.context() as outage:
        outage.setattr(world.database, "write", full)
        world.clock.advance(10)
        with suppress(OperationalError):
            await world.controller.tick()
        assert await world.percent() == 1
    await ticks(world, 10)
    assert ("lower", IntentStatus.DONE) in await intents(world)


async def test_nothing_is_raised_while_the_database_takes_no_writes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as outage:
        outage.setattr(world.flags, "write", away)
        await world.started()
    with monkeypatch.context() as outage:
        outage.setattr(world.database, "write", full)
        world.clock.advance(10)
        with suppress(OperationalError):
            await world.controller.tick()
        assert await world.percent() == 0
    await ticks(world, 10)
    assert await world.percent() > 0


async def test_a_rollout_that_starts_after_a_kill_is_not_taken_for_a_late_write() -> None:
    async with running_world(compare_and_set=False) as world:
        await by_hand(world, 30)
        await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        view = await world.started()
        assert await intents(world) == [("kill", IntentStatus.DONE), ("start", IntentStatus.DONE)]
        view = await world.live(view.id, 2)
        assert (view.phase, await world.percent()) == (Phase.PROGRESSING, 5)


async def test_a_kill_that_is_under_way_is_not_begun_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real, let, reads = world.flags.read, asyncio.Event(), 0

    async def slow(ref: FlagRef) -> FlagState:
        nonlocal reads
        reads += 1
        await let.wait()
        return await real(ref)

    await by_hand(world, 30)

    async def later(_rollout_id: str | None) -> None:
        """Nobody carries it out at once."""

    world.service.wake = later
    await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
    monkeypatch.setattr(world.flags, "read", slow)
    controller = Controller(
        world.database,
        world.flags,
        world.controller._metrics,
        POLICY,
        world.clock,
        owner="patient",
        patience=timedelta(seconds=0.01),
    )
    await controller.tick()
    await controller.tick()
    assert reads == 1
    let.set()
    await controller.close()
    assert await world.percent() == 0
    await controller.close()


async def test_a_rollback_that_fails_by_a_fault_is_tried_on_and_paged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def faulty(_ref: FlagRef) -> FlagState:
        raise ZeroDivisionError("secret-of-a-fault")

    view = await world.started()
    with monkeypatch.context() as fault:
        fault.setattr(world.flags, "read", faulty)
        view = await world.service.roll_back(view.id, actor=SAM, reason="enough")
        assert view.phase is Phase.ROLLING_BACK
        assert view.error is not None
        assert "fault of Sluice" in view.error
        assert "secret" not in view.error
        for _ in range(7):
            world.clock.advance(10)
            await world.controller.tick()
        [stuck] = [event for event in await world.events(view.id) if event.kind == Happening.ROLLBACK_STUCK]
        assert "fault of Sluice" in str(stuck.payload["error"])
    world.clock.advance(5)
    await world.controller.tick()
    assert (await world.service.get(view.id)).phase is Phase.ROLLED_BACK


async def test_a_kill_that_fails_by_a_fault_is_tried_on_and_paged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def faulty(*_args: object, **_options: object) -> None:
        raise ZeroDivisionError

    await by_hand(world, 30)
    with monkeypatch.context() as fault:
        fault.setattr(world.flags, "write", faulty)
        await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        for _ in range(7):
            world.clock.advance(10)
            await world.controller.tick()
        assert Happening.ROLLBACK_STUCK in by_kind(await world.events())
    world.clock.advance(5)
    await world.controller.tick()
    assert await world.percent() == 0


async def test_a_look_that_is_cut_short_is_no_fault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled(_ref: FlagRef) -> FlagState:
        raise asyncio.CancelledError

    view = await world.started()
    monkeypatch.setattr(world.flags, "read", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await world.service.roll_back(view.id, actor=SAM, reason="enough")
    assert (await world.service.get(view.id)).error is None


async def test_a_raise_that_a_look_at_the_flag_confirms_is_confirmed_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.proposed()
    real = world.flags.write

    async def landed_unseen(*args: object, **options: object) -> None:
        await real(*args, **options)  # type: ignore[arg-type]
        raise FlagServiceUnavailable("The answer was lost.")

    with monkeypatch.context() as lossy:
        lossy.setattr(world.flags, "write", landed_unseen)
        assert view.approval is not None
        await world.service.approve(view.approval.id, actor=JONAS)
    assert await intents(world) == [("start", IntentStatus.OPEN)]
    with monkeypatch.context() as stumbling:
        stumbling.setattr(world.controller._executor, "carry_out", _nothing)
        world.clock.advance(10)
        await world.controller.tick()
    assert (await world.kinds(view.id)).count(Happening.EXPOSURE_CONFIRMED) == 1
    assert await intents(world) == [("start", IntentStatus.DONE)]
    await ticks(world, 5)
    assert (await world.kinds(view.id)).count(Happening.EXPOSURE_CONFIRMED) == 1


async def _nothing(_intent_id: str) -> None:
    """As a tick does when it finds an intent put off."""
