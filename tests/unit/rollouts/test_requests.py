"""Asking for a percentage is a request: policy and people answer it, and whoever asks has not voted."""

from dataclasses import replace

import pytest

from tests.unit.rollouts.world import FLAG, JONAS, MIRA, POLICY, SAM, World, make_plan, running_world, stage
from tools.errors import InvalidInput
from tools.plans.model import Exposure, Mode, Strategy
from tools.plans.policy import Answer
from tools.rollouts.phases import Phase
from tools.rollouts.requests import ExposureAnswer

GOOD = {"old": (950, 19), "new": (50, 1)}


async def ask(world: World, percent: float, *, actor: str = SAM, workspace: str = "T1") -> ExposureAnswer:
    service = world.service.of(workspace)
    return await service.request_exposure(FLAG.flag, FLAG.environment, percent, actor=actor)


async def test_the_first_stage_is_asked_of_people(world: World) -> None:
    await world.proposed()
    answer = await ask(world, 5, actor=JONAS)
    assert (answer.answer, await world.percent()) == (Answer.APPROVAL, 0)
    assert answer.view is not None
    assert answer.view.approval is not None
    assert (answer.view.approval.by, "needs an approval" in answer.why) == ((), True)


async def test_a_free_environment_answers_by_itself() -> None:
    async with running_world(policy=POLICY.model_copy(update={"free_environments": ("production",)})) as world:
        await world.proposed()
        answer = await ask(world, 5)
        assert (answer.answer, await world.percent()) == (Answer.AUTO, 5)


async def test_the_next_stage_is_asked_of_people_and_an_approver_who_asks_has_not_voted(world: World) -> None:
    view = await world.started()
    await world.live(view.id, 3, **GOOD)
    answer = await ask(world, 25, actor=JONAS)
    assert answer.answer is Answer.APPROVAL
    assert answer.view is not None
    assert answer.view.approval is not None
    assert (answer.view.phase, answer.view.approval.by) == (Phase.WAITING_PROMOTION, ())
    asked = answer.view.approval.id
    again = await ask(world, 25, actor=JONAS)
    assert again.view is not None
    assert again.view.approval is not None
    assert (again.answer, again.view.approval.id, await world.percent()) == (Answer.APPROVAL, asked, 5)


async def test_what_is_so_already_changes_nothing(world: World) -> None:
    view = await world.proposed()
    assert (await ask(world, 0)).why.startswith("It has not started")
    assert view.approval is not None
    view = await world.service.approve(view.approval.id, actor=JONAS)
    answer = await ask(world, 5)
    assert (answer.answer, answer.why) == (Answer.AUTO, "It is at 5 % already, or on its way there")
    assert await world.percent() == 5


@pytest.mark.parametrize("percent", [2, 0])
async def test_less_is_denied_for_a_request_lowers_nothing(world: World, percent: float) -> None:
    view = await world.started()
    await world.live(view.id, 2, **GOOD)
    answer = await ask(world, percent)
    assert (answer.answer, await world.percent()) == (Answer.DENY, 5)
    assert "lowering is an order of its own" in answer.why


@pytest.mark.parametrize(
    ("percent", "why"), [(6, "next step that was approved is 25 %"), (100, "roll back and plan anew")]
)
async def test_any_other_raise_is_denied_with_what_to_do(world: World, percent: float, why: str) -> None:
    view = await world.started()
    await world.live(view.id, 2, **GOOD)
    answer = await ask(world, percent)
    assert (answer.answer, await world.percent()) == (Answer.DENY, 5)
    assert why in answer.why


async def test_before_the_start_another_first_stage_is_a_matter_of_the_plan(world: World) -> None:
    await world.proposed()
    answer = await ask(world, 50)
    assert (answer.answer, answer.why) == (Answer.DENY, "The plan starts at 5 %: revise it to start at 50 %")


async def test_a_paused_or_blind_or_ended_rollout_goes_nowhere(world: World) -> None:
    view = await world.started()
    await world.live(view.id, 2, **GOOD)
    world.clock.advance(3600)
    assert "has not been checked for" in (await ask(world, 25)).why
    await world.service.pause(view.id, actor=SAM, reason="lunch")
    assert "must be resumed first" in (await ask(world, 25)).why
    await world.service.roll_back(view.id, actor=SAM, reason="enough")
    answer = await ask(world, 25)
    assert (answer.answer, "rolled back" in answer.why, await world.percent()) == (Answer.DENY, True, 0)


async def test_the_last_stage_has_no_next(world: World) -> None:
    view = await world.started(make_plan(stage(5, bake=9000, limit=9000)))
    await world.live(view.id, 2, **GOOD)
    assert "last stage" in (await ask(world, 25)).why


async def test_other_workspaces_and_flags_without_a_rollout_see_nothing(world: World) -> None:
    assert (await ask(world, 5)).view is None
    await world.proposed()
    answer = await ask(world, 5, workspace="T2")
    assert (answer.answer, answer.view) == (Answer.DENY, None)
    assert "propose a plan" in answer.why


@pytest.mark.parametrize("percent", [-5, 101, float("nan"), float("inf"), 0.00001])
async def test_what_is_no_percentage_is_refused(world: World, percent: float) -> None:
    await world.proposed()
    with pytest.raises(InvalidInput):
        await ask(world, percent)


async def test_too_few_approvers_deny() -> None:
    async with running_world(policy=POLICY.model_copy(update={"approvers": (MIRA, JONAS)})) as world:
        view = await world.started()
        await world.live(view.id, 2, **GOOD)
        fewer = POLICY.model_copy(update={"approvers": (MIRA,)})
        world.service._context = replace(world.service._context, policy=fewer)
        answer = await ask(world, 25)
        assert (answer.answer, "only 0 people" in answer.why) == (Answer.DENY, True)


async def test_from_shadow_the_next_stage_is_live_though_its_share_is_smaller(world: World) -> None:
    shadow = stage(50).model_copy(update={"exposure": Exposure(percent=50, mode=Mode.SHADOW)})
    view = await world.started(make_plan(shadow, stage(5), stage(100), strategy=Strategy.SHADOW))
    await world.live(view.id, 3, old=(500, 10), new=(500, 10))
    assert (await ask(world, 50)).why.startswith("It is at 50 % in shadow already")
    assert (await ask(world, 60)).answer is Answer.DENY
    answer = await ask(world, 5)
    assert answer.answer is Answer.APPROVAL
    less = await ask(world, 20)
    assert less.answer is Answer.DENY
    assert less.view is not None
    assert less.view.exposure == Exposure(percent=50, mode=Mode.SHADOW)
