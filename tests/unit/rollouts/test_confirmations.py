"""What was only understood waits for the person's button: one press, fifteen minutes, nobody else's."""

import asyncio

import pytest

from tests.unit.rollouts.world import FLAG, JONAS, SAM, World, by_kind
from tools.errors import Conflict, InvalidInput, NotAllowed, SluiceError
from tools.flags.base import FlagNotFound
from tools.plans.model import Exposure
from tools.records import log
from tools.rollouts.confirmations import (
    TIME_TO_CONFIRM,
    Action,
    ConfirmationClosed,
    ConfirmationNotFound,
    ConfirmationView,
    Status,
)
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase

GOOD = {"old": (950, 19), "new": (50, 1)}


async def ask(world: World, action: Action, rollout_id: str | None, percent: float | None = None) -> ConfirmationView:
    return await world.service.ask_to_confirm(
        action,
        flag=FLAG.flag,
        environment=FLAG.environment,
        rollout_id=rollout_id,
        percent=percent,
        person=SAM,
        reason="you said so",
    )


async def running(world: World) -> str:
    view = await world.started()
    return (await world.live(view.id, 2, **GOOD)).id


async def test_nothing_happens_until_the_button_is_pressed(world: World) -> None:
    rollout = await running(world)
    asked = await ask(world, Action.ROLL_BACK, rollout)
    assert (asked.status, asked.person, asked.rollout_id) == (Status.OPEN, SAM, rollout)
    assert await world.percent() == 5
    view = await world.service.confirm(asked.id, actor=SAM)
    assert view is not None
    assert (view.phase, view.rollback_reason, await world.percent()) == (Phase.ROLLED_BACK, "you said so", 0)
    assert (await world.service.confirmation(asked.id)).status is Status.CONFIRMED
    events = by_kind(await world.events(rollout))
    assert events[Happening.CONFIRMATION_ASKED].actor == events[Happening.CONFIRMATION_GIVEN].actor == SAM
    assert events[Happening.ROLLBACK_STARTED].actor == SAM


@pytest.mark.parametrize(
    ("action", "percent", "phase", "served"),
    [
        (Action.PAUSE, None, Phase.PAUSED, 5),
        (Action.LOWER, 2, Phase.PAUSED, 2),
        (Action.LOWER, 0, Phase.ROLLED_BACK, 0),
        (Action.KILL, None, Phase.ROLLED_BACK, 0),
    ],
)
async def test_each_action_does_what_it_says(
    world: World, action: Action, percent: float | None, phase: Phase, served: float
) -> None:
    asked = await ask(world, action, await running(world), percent)
    view = await world.service.confirm(asked.id, actor=SAM)
    assert view is not None
    assert (view.phase, await world.percent()) == (phase, served)


async def test_a_flag_without_a_rollout_can_be_killed(world: World) -> None:
    await world.flags.write(FLAG, Exposure(percent=30), expected=(await world.flags.read(FLAG)).version)
    asked = await ask(world, Action.KILL, None)
    assert await world.service.confirm(asked.id, actor=SAM) is None
    assert await world.percent() == 0


async def test_nobody_else_presses_it(world: World) -> None:
    asked = await ask(world, Action.KILL, await running(world))
    for act in (world.service.confirm, world.service.dismiss):
        with pytest.raises(NotAllowed):
            await act(asked.id, actor=JONAS)
    assert await world.percent() == 5


async def test_it_runs_out_after_a_quarter_of_an_hour(world: World) -> None:
    asked = await ask(world, Action.KILL, await running(world))
    world.clock.advance(TIME_TO_CONFIRM.total_seconds())
    assert (await world.service.confirmation(asked.id)).status is Status.EXPIRED
    with pytest.raises(ConfirmationClosed, match="ran out of time"):
        await world.service.confirm(asked.id, actor=SAM)
    assert await world.percent() == 5


async def test_a_dismissed_one_does_nothing_for_good(world: World) -> None:
    asked = await ask(world, Action.KILL, await running(world))
    assert (await world.service.dismiss(asked.id, actor=SAM)).status is Status.DISMISSED
    for act in (world.service.confirm, world.service.dismiss):
        with pytest.raises(ConfirmationClosed, match="was dismissed"):
            await act(asked.id, actor=SAM)
    assert await world.percent() == 5


async def test_many_presses_are_one(world: World) -> None:
    rollout = await running(world)
    asked = await ask(world, Action.LOWER, rollout, 2)

    async def press() -> str:
        try:
            await world.service.confirm(asked.id, actor=SAM)
        except SluiceError as refused:
            return type(refused).__name__
        return "done"

    answers = await asyncio.gather(*(press() for _ in range(20)))
    assert sorted(set(answers)) == ["ConfirmationClosed", "done"]
    assert answers.count("done") == 1
    assert (await world.kinds(rollout)).count(Happening.EXPOSURE_LOWERED) == 1


async def test_what_has_ended_meanwhile_is_said_and_the_button_stays(world: World) -> None:
    rollout = await running(world)
    asked = await ask(world, Action.PAUSE, rollout)
    await world.service.roll_back(rollout, actor=JONAS, reason="enough")
    with pytest.raises(Conflict):
        await world.service.confirm(asked.id, actor=SAM)
    assert (await world.service.confirmation(asked.id)).status is Status.OPEN
    with pytest.raises(Conflict, match="has ended"):
        await ask(world, Action.ROLL_BACK, rollout)


async def test_what_makes_no_sense_is_not_asked(world: World) -> None:
    with pytest.raises(InvalidInput, match="no rollout"):
        await ask(world, Action.PAUSE, None)
    rollout = await running(world)
    for percent in (None, -3, 300):
        with pytest.raises(InvalidInput):
            await ask(world, Action.LOWER, rollout, percent)
    with pytest.raises(FlagNotFound):
        await world.service.ask_to_confirm(Action.KILL, flag="nope", environment="production", person=SAM)
    with pytest.raises(ConfirmationNotFound):
        await world.service.confirm("nope", actor=SAM)


async def test_the_log_stays_whole(world: World) -> None:
    asked = await ask(world, Action.KILL, await running(world))
    await world.service.confirm(asked.id, actor=SAM)
    async with world.database.read() as session:
        assert await log.verify(session) == []
