"""A plan is changed while people look at it, and while it runs: an approval belongs to exactly one version."""

from datetime import timedelta

import pytest

from tests.unit.rollouts.world import AIKO, FLAG, JONAS, MIRA, RAIL, SAM, World, by_kind, make_plan, stage
from tools.errors import Conflict
from tools.gates import Direction
from tools.plans.caution import NotMoreCautious
from tools.plans.model import Basis, Exposure, Facet, Guardrail, Plan, Source
from tools.plans.validation import InvalidPlan
from tools.records.models import PlanVersion
from tools.rollouts import audit, store
from tools.rollouts.approvals import ApprovalClosed
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase
from tools.specs.base import Spec

RUNNING = make_plan(stage(5, bake=60), stage(25), stage(100))
SLOWER = make_plan(stage(5, bake=600, limit=3600), stage(25), stage(100))
SMALLER = make_plan(stage(5), stage(10), stage(25))
GOOD = {"old": (950, 19), "new": (50, 1)}
SPEC = Spec(flag=FLAG.flag, title="Checkout", body="", source="s.md", content="---\n", sha256="0" * 64)


async def test_a_version_before_the_start_makes_older_buttons_void(world: World) -> None:
    view = await world.proposed(RUNNING)
    assert view.approval is not None
    older = view.approval.id
    view = await world.service.revise(view.id, make_plan(stage(2), stage(100)), actor=SAM, reason="start at 2 %")
    assert view.approval is not None
    assert (view.plan_version, view.requester, view.approval.id != older) == (2, SAM, True)
    with pytest.raises(ApprovalClosed):
        await world.service.approve(older, actor=JONAS)
    view = await world.service.approve(view.approval.id, actor=JONAS)
    assert (view.phase, await world.percent()) == (Phase.PROGRESSING, 2)
    revised = by_kind(await world.events(view.id))[Happening.PLAN_REVISED]
    assert revised.payload["changes"][0] == "Stages: 5 %, then 25 %, then 100 % → 2 %, then 100 %"
    assert (revised.payload["reason"], revised.payload["plan_sha256"]) == ("start at 2 %", view.plan.sha256)


async def test_whoever_changed_the_plan_does_not_approve_it(world: World) -> None:
    view = await world.proposed(RUNNING)
    view = await world.service.revise(view.id, SMALLER, actor=JONAS, reason="smaller")
    assert view.approval is not None
    for person in (MIRA, JONAS):
        with pytest.raises(Exception, match="someone else has to approve"):
            await world.service.approve(view.approval.id, actor=person)
    assert (await world.service.approve(view.approval.id, actor=AIKO)).phase is Phase.PROGRESSING


async def test_a_running_plan_becomes_slower_and_the_stage_is_held_for_longer(world: World) -> None:
    view = await world.started(RUNNING)
    view = await world.live(view.id, 3, **GOOD)
    view = await world.service.revise(view.id, SLOWER, actor=SAM, reason="hold ten minutes")
    assert (view.phase, view.plan_version, view.requester) == (Phase.PROGRESSING, 2, MIRA)
    view = await world.live(view.id, 40, **GOOD)
    assert (view.stage, await world.percent()) == (0, 5), "it would have gone on after a minute"
    view = await world.live(view.id, 40, **GOOD)
    assert view.stage == 1
    told = [message.payload["what"] for message in await world.outbox() if message.kind == "note"]
    assert Happening.PLAN_REVISED in told


async def test_a_question_about_a_step_is_asked_anew_by_the_new_plan(world: World) -> None:
    plan = make_plan(stage(5), stage(70), stage(100))
    view = await world.started(plan)
    view = await world.live(view.id, 60, **GOOD)
    assert (view.phase, view.approval is not None) == (Phase.WAITING_PROMOTION, True)
    assert view.approval is not None
    older = view.approval.id
    smaller = make_plan(stage(5), stage(60), stage(70), stage(100))
    view = await world.service.revise(view.id, smaller, actor=SAM, reason="60 % first")
    assert (view.phase, view.approval) == (Phase.PROGRESSING, None)
    with pytest.raises(ApprovalClosed):
        await world.service.approve(older, actor=JONAS)
    assert await world.percent() == 5
    view = await world.live(view.id, 2, **GOOD)
    assert view.approval is not None
    view = await world.service.approve(view.approval.id, actor=JONAS)
    assert await world.percent() == 60


async def test_a_stage_in_force_gets_another_guardrail(world: World) -> None:
    view = await world.started(RUNNING)
    view = await world.live(view.id, 2, **GOOD)
    orders = Guardrail(metric="orders", direction=Direction.DECREASE, margin=1.5)
    guarded = [one.model_copy(update={"guardrails": (*one.guardrails, orders)}) for one in RUNNING.stages]
    view = await world.service.revise(view.id, make_plan(*guarded), actor=SAM, reason="guard orders too")
    assert view.check is not None
    assert len(view.check.guardrails) == 1, "the newest check was of the plan before"
    view = await world.live(view.id, 1, **GOOD)
    assert view.check is not None
    assert [rail.metric for rail, _, _ in view.check.guardrails] == ["checkout_errors", "orders"]


@pytest.mark.parametrize(
    "plan", [make_plan(stage(5), stage(100)), make_plan(stage(10), stage(100)), make_plan(stage(2))]
)
async def test_a_running_plan_becomes_no_bolder(world: World, plan: Plan) -> None:
    view = await world.started(RUNNING)
    with pytest.raises(NotMoreCautious):
        await world.service.revise(view.id, plan, actor=JONAS, reason="faster")
    assert (await world.service.get(view.id)).plan_version == 1


async def test_what_is_no_plan_of_it_is_refused(world: World) -> None:
    view = await world.proposed(RUNNING)
    with pytest.raises(InvalidPlan, match="policy allows at most 10 %"):
        await world.service.revise(view.id, make_plan(stage(40), stage(100)), actor=SAM, reason="40")
    with pytest.raises(Conflict, match="another flag"):
        await world.service.revise(view.id, make_plan(flag="other"), actor=SAM, reason="other")
    with pytest.raises(Conflict, match="nothing to change"):
        await world.service.revise(view.id, RUNNING, actor=SAM, reason="same")
    await world.service.cancel(view.id, actor=MIRA, reason="no")
    with pytest.raises(Conflict, match="propose a new one"):
        await world.service.revise(view.id, SMALLER, actor=SAM, reason="late")


async def test_the_spec_behind_a_version_is_kept_and_goes_on_with_the_next(world: World) -> None:
    first = make_plan(spec_sha256=SPEC.sha256)
    view = await world.proposed(RUNNING)
    view = await world.service.revise(view.id, first, actor=MIRA, reason="with a spec", spec=SPEC)
    held = first.model_copy(
        update={"stages": tuple(one.model_copy(update={"bake": timedelta(minutes=5)}) for one in first.stages)}
    )
    await world.service.revise(view.id, held, actor=MIRA, reason="hold five minutes")
    async with world.database.read() as session:
        rollout = await store.load(session, view.id, lock=False)
        newest = await store.plan_version(session, rollout)
        assert isinstance(newest, PlanVersion)
        assert newest.spec_snapshot_id is not None


async def test_a_plan_that_starts_below_what_is_served_is_refused(world: World) -> None:
    view = await world.proposed(RUNNING)
    state = await world.flags.read(FLAG)
    await world.flags.write(FLAG, Exposure(percent=3), expected=state.version)
    with pytest.raises(Conflict, match="serves 3 % already"):
        await world.service.revise(view.id, make_plan(stage(2), stage(100)), actor=SAM, reason="2")


async def test_the_records_of_a_revised_rollout_are_whole(world: World) -> None:
    why = (Basis(source=Source.PERSON, of=Facet.MARGIN, text="twice is too much"),)
    told = [one.model_copy(update={"guardrails": (RAIL.model_copy(update={"basis": why}),)}) for one in RUNNING.stages]
    view = await world.started(make_plan(*told))
    await world.live(view.id, 2, **GOOD)
    slower = told[0].model_copy(update={"bake": timedelta(minutes=3), "basis": why})
    view = await world.service.revise(view.id, make_plan(slower, *told[1:]), actor=SAM, reason="slower")
    view = await world.live(view.id, 30, **GOOD)
    assert (view.stage, view.plan.stages[0].basis) == (1, why)
    assert (await audit.verify(world.database)).faults == ()
