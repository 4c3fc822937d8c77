"""Gates in unusual places: at 100 % without a control, with metrics that should rise, blind where a pause is enough."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.unit.rollouts.world import FLAG, JONAS, RAIL, World, make_plan, stage
from tools.gates import Direction, Outcome
from tools.plans.model import Exposure, Guardrail, OnNoData, Plan, Strategy
from tools.plans.policy import Policy
from tools.records.models import Rollout
from tools.rollouts.phases import Phase
from tools.rollouts.views import CheckView, RolloutView

GOOD = {"old": (950, 19), "new": (50, 1)}
ALONE = {"old": (0, 0), "new": (1000, 20)}


def checked(view: RolloutView) -> CheckView:
    assert view.check is not None
    return view.check


def straight_to_everyone(rail: Guardrail) -> Plan:
    return make_plan(stage(100, rail=rail, bake=30), strategy=Strategy.FULL)


class TestEveryone:
    async def test_with_a_ceiling_of_its_own_it_succeeds(self, world: World) -> None:
        view = await world.started(straight_to_everyone(RAIL.model_copy(update={"ceiling": 0.1})))
        view = await world.live(view.id, 30, **ALONE)
        if view.approval is not None:
            view = await world.service.approve(view.approval.id, actor=JONAS)
        assert view.phase is Phase.SUCCEEDED

    async def test_above_its_ceiling_it_is_rolled_back(self, world: World) -> None:
        view = await world.started(straight_to_everyone(RAIL.model_copy(update={"ceiling": 0.01})))
        view = await world.live(view.id, 30, old=(0, 0), new=(1000, 60))
        assert view.phase is Phase.ROLLED_BACK
        assert await world.percent() == 0

    async def test_a_control_that_was_never_seen_gives_no_ceiling(self, world: World) -> None:
        view = await world.started()
        await world.live(view.id, 3, old=(0, 0), new=(50, 1))
        await world.flags.write(FLAG, Exposure(percent=100), expected=(await world.flags.read(FLAG)).version)
        view = await world.live(view.id, 3, **ALONE)
        assert view.phase is Phase.PAUSED
        assert "control was never seen before" in checked(view).verdict.why

    async def test_what_should_rise_has_a_floor_from_its_past(self, world: World) -> None:
        rises = RAIL.model_copy(update={"direction": Direction.DECREASE})
        view = await world.started(make_plan(stage(5, rail=rises), stage(100, rail=rises)))
        while view.phase is not Phase.WAITING_PROMOTION:
            view = await world.live(view.id, 1, old=(950, 380), new=(50, 20))
        assert view.approval is not None
        await world.service.approve(view.approval.id, actor=JONAS)
        view = await world.live(view.id, 2, old=(0, 0), new=(1000, 400))
        assert view.phase is Phase.PROGRESSING
        view = await world.live(view.id, 6, old=(0, 0), new=(1000, 20))
        assert view.phase is Phase.ROLLED_BACK


class TestBlind:
    async def test_where_the_plan_says_so_a_pause_is_enough(self, world: World) -> None:
        rail = RAIL.model_copy(update={"on_no_data": OnNoData.PAUSE})
        view = await world.started(make_plan(stage(5, rail=rail), stage(100, rail=rail)))
        await world.live(view.id, 3, **GOOD)
        world.source.outage = "gone"
        view = await world.live(view.id, 35)
        assert view.phase is Phase.PAUSED
        assert (view.pause_reason or "").startswith("Blind for 5 min")
        view = await world.live(view.id, 35)
        assert view.phase is Phase.PAUSED
        assert await world.percent() == 5
        assert (await world.kinds(view.id)).count("metrics.blind") == 1
        assert (await world.kinds(view.id)).count("rollout.paused") == 1

    async def test_carried_evidence_that_is_damaged_is_said_to_be(self, world: World) -> None:
        view = await world.started()
        await world.live(view.id, 3, **GOOD)
        async with world.database.write() as session:
            rollout = await session.get_one(Rollout, view.id)
            key, kept = next(iter(rollout.evidence.items()))
            damaged = {key: {**kept, "in_stage": "many"}}
            await session.execute(update(Rollout).values(evidence=damaged, version=rollout.version + 1))
        view = await world.live(view.id, 1, **GOOD)
        assert checked(view).verdict.outcome is Outcome.ERROR
        assert "can't be read (ValueError)" in checked(view).verdict.why
        async with world.database.read() as session:
            assert (await session.get_one(Rollout, view.id)).evidence == damaged, "it is left as it was found"


class TestPromotion:
    async def test_a_step_that_nobody_could_approve_pauses(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        view = await world.started(make_plan(stage(5), stage(100)))
        monkeypatch.setattr(world.controller, "_policy", Policy(approvers=()))
        view = await world.live(view.id, 60, **GOOD)
        assert view.phase is Phase.PAUSED
        assert "add approvers" in (view.pause_reason or "")

    async def test_the_end_of_a_risky_rollout_is_asked_about_too(self, world: World) -> None:
        view = await world.started(make_plan(stage(5), stage(100, bake=10), tags=("revenue-critical",)))
        while view.phase is not Phase.SUCCEEDED:
            traffic = GOOD if await world.percent() == 5 else ALONE
            view = await world.live(view.id, 1, **traffic)
            assert world.clock.now() - view.created_at < timedelta(hours=1)
            if view.approval is not None:
                view = await world.service.approve(view.approval.id, actor=JONAS)
        [succeeded] = [event for event in await world.events(view.id) if event.kind == "rollout.succeeded"]
        assert succeeded.payload["why"].startswith("Proven safe: ")
        assert await world.percent() == 100
