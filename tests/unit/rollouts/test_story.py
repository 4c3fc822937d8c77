"""The main job: a flag is carried from 0 to 100 % on evidence, and taken back when the evidence turns."""

from datetime import timedelta

import pytest

from tests.unit.rollouts.world import AIKO, FLAG, JONAS, MIRA, SAM, World, make_plan, stage
from tools.errors import Conflict, NotAllowed
from tools.flags.base import FlagRef, FlagServiceUnavailable
from tools.plans.model import Exposure
from tools.rollouts.approvals import ApprovalClosed
from tools.rollouts.phases import Phase
from tools.rollouts.views import RolloutView

GOOD = {"old": (950, 19), "new": (50, 1)}
GOOD_QUARTER = {"old": (750, 15), "new": (250, 5)}
BAD = {"old": (950, 19), "new": (50, 25)}


async def test_it_goes_from_nothing_to_everyone_on_proof(world: World) -> None:
    view = await world.started()
    assert await world.percent() == 5
    view = await world.live(view.id, 60, **GOOD)
    assert await world.percent() == 25
    view = await world.live(view.id, 30, **GOOD_QUARTER)
    assert view.phase is Phase.WAITING_PROMOTION, "a step of 75 points needs a person"
    assert view.approval is not None
    view = await world.service.approve(view.approval.id, actor=AIKO)
    assert await world.percent() == 100
    view = await world.live(view.id, 60, old=(0, 0), new=(1000, 20))
    assert view.phase is Phase.SUCCEEDED
    assert await world.percent() == 100


async def test_a_breach_rolls_back_at_once_and_is_read_back(world: World) -> None:
    view = await world.started()
    await world.live(view.id, 4, **GOOD)
    view = await world.live(view.id, 4, **BAD)
    assert view.phase is Phase.ROLLED_BACK
    assert await world.percent() == 0
    assert "checkout_errors" in (view.rollback_reason or "")


async def test_a_breach_while_an_approval_is_pending_rolls_back(world: World) -> None:
    view = await world.started(make_plan(stage(5), stage(100)))
    view = await world.live(view.id, 60, **GOOD)
    assert view.phase is Phase.WAITING_PROMOTION
    approval = view.approval
    assert approval is not None
    view = await world.live(view.id, 6, **BAD)
    assert view.phase is Phase.ROLLED_BACK
    with pytest.raises(ApprovalClosed):
        await world.service.approve(approval.id, actor=JONAS)
    assert await world.percent() == 0


async def test_suspected_harm_pauses_before_it_is_proven(world: World) -> None:
    view = await world.started()
    await world.live(view.id, 3, **GOOD)
    phases = []
    for _ in range(40):
        view = await world.live(view.id, 1, old=(950, 19), new=(50, 3))
        phases.append(view.phase)
        if view.phase is Phase.ROLLED_BACK:
            break
    assert Phase.PAUSED in phases
    assert phases[-1] is Phase.ROLLED_BACK
    assert await world.percent() == 0


async def test_no_data_is_no_promotion_and_in_the_end_a_rollback(world: World) -> None:
    view = await world.started()
    view = await world.live(view.id, 6 + 29, old=(0, 0), new=(0, 0))
    assert view.phase is Phase.PROGRESSING
    assert await world.percent() == 5
    kinds = await world.kinds(view.id)
    assert kinds.count("metrics.blind") == 1, "paged once, not at every check"
    view = await world.live(view.id, 3, old=(0, 0), new=(0, 0))
    assert view.phase is Phase.ROLLED_BACK
    assert await world.percent() == 0


async def test_a_source_that_fails_counts_as_blind(world: World) -> None:
    view = await world.started()
    await world.live(view.id, 5, **GOOD)
    world.source.outage = "the metric database is down"
    view = await world.live(view.id, 29, **GOOD)
    assert view.check is not None
    assert "down" in view.check.verdict.why
    assert view.phase is Phase.PROGRESSING
    view = await world.live(view.id, 3, **GOOD)
    assert view.phase is Phase.ROLLED_BACK


async def test_sight_that_comes_back_goes_on_with_the_evidence_so_far(world: World) -> None:
    view = await world.started()
    await world.live(view.id, 20, **GOOD)
    world.source.outage = "the metric database is down"
    await world.live(view.id, 10, **GOOD)
    world.source.outage = None
    view = await world.live(view.id, 1, **GOOD)
    assert "metrics.back" in await world.kinds(view.id)
    assert view.check is not None
    assert view.check.verdict.treatment_n == 30 * 50, "the windows of the outage are read afterwards"


async def test_a_stage_without_proof_pauses_at_its_limit_and_a_resume_gives_it_as_long_again(world: World) -> None:
    view = await world.started(make_plan(stage(5, limit=100), stage(100)))
    view = await world.live(view.id, 11, old=(950, 1), new=(50, 0))
    assert view.phase is Phase.PAUSED
    assert "No proof of safety" in (view.pause_reason or "")
    await world.service.resume(view.id, actor=MIRA)
    view = await world.live(view.id, 9, old=(950, 1), new=(50, 0))
    assert view.phase is Phase.PROGRESSING
    view = await world.live(view.id, 2, old=(950, 1), new=(50, 0))
    assert view.phase is Phase.PAUSED


async def test_bake_time_holds_a_proven_stage(world: World) -> None:
    view = await world.started(make_plan(stage(5, bake=3000), stage(25), stage(100)))
    view = await world.live(view.id, 290, **GOOD)
    assert await world.percent() == 5
    assert view.check is not None
    assert "bake" in view.check.verdict.why
    view = await world.live(view.id, 15, **GOOD)
    assert await world.percent() == 25


class TestHandMadeChanges:
    async def _set(self, world: World, percent: float) -> None:
        state = await world.flags.read(FLAG)
        await world.flags.write(FLAG, Exposure(percent=percent), expected=state.version)

    async def test_a_lowering_is_respected(self, world: World) -> None:
        view = await world.started()
        await self._set(world, 1)
        view = await world.live(view.id, 5, **GOOD)
        assert view.phase is Phase.PAUSED
        assert await world.percent() == 1
        with pytest.raises(NotAllowed):
            await world.service.resume(view.id, actor=MIRA)
        await world.service.resume(view.id, actor=JONAS)
        assert await world.percent() == 5

    async def test_a_raise_pauses_and_pages(self, world: World) -> None:
        view = await world.started()
        await self._set(world, 80)
        view = await world.live(view.id, 1, **GOOD)
        assert view.phase is Phase.PAUSED
        urgent = [message for message in await world.outbox() if message.urgent and message.kind == "alert"]
        assert [message.payload["what"] for message in urgent][1:] == ["exposure.changed_by_hand"]
        await world.service.roll_back(view.id, actor=SAM, reason="who did that?")
        assert await world.percent() == 0

    async def test_a_rollback_never_raises_what_was_lowered_by_hand(self, world: World) -> None:
        await self._set(world, 3)
        view = await world.started()
        await self._set(world, 1)
        await world.service.roll_back(view.id, actor=SAM, reason="enough")
        assert await world.percent() == 1


class TestPeople:
    async def test_the_requester_cannot_approve_nor_can_a_stranger(self, world: World) -> None:
        view = await world.proposed()
        assert view.approval is not None
        for person in (MIRA, SAM):
            with pytest.raises(NotAllowed):
                await world.service.approve(view.approval.id, actor=person)
        assert await world.percent() == 0

    async def test_the_author_of_the_spec_cannot_approve(self, world: World) -> None:
        view = await world.proposed(make_plan(spec_author=JONAS))
        assert view.approval is not None
        with pytest.raises(NotAllowed):
            await world.service.approve(view.approval.id, actor=JONAS)

    async def test_two_approvals_are_two_people(self, world: World) -> None:
        view = await world.proposed(make_plan(tags=("regulated",)))
        assert view.approval is not None
        assert view.approval.needed == 2
        view = await world.service.approve(view.approval.id, actor=JONAS)
        assert view.approval is not None
        assert view.approval.by == (JONAS,)
        with pytest.raises(Conflict):
            await world.service.approve(view.approval.id, actor=JONAS)
        assert await world.percent() == 0
        view = await world.service.approve(view.approval.id, actor=AIKO)
        assert view.phase is Phase.PROGRESSING
        assert await world.percent() == 5

    async def test_a_new_version_voids_the_question_about_the_old(self, world: World) -> None:
        first = await world.proposed()
        second = await world.proposed(make_plan(stage(2), stage(100)))
        assert second.id == first.id
        assert second.plan_version == 2
        assert first.approval is not None
        with pytest.raises(ApprovalClosed):
            await world.service.approve(first.approval.id, actor=JONAS)

    async def test_a_rejection_cancels_a_start(self, world: World) -> None:
        view = await world.proposed()
        assert view.approval is not None
        view = await world.service.reject(view.approval.id, actor=JONAS, reason="not before the holidays")
        assert view.phase is Phase.CANCELLED

    async def test_a_rejection_pauses_a_promotion(self, world: World) -> None:
        view = await self._waiting(world)
        assert view.approval is not None
        view = await world.service.reject(view.approval.id, actor=JONAS, reason="wait for support")
        assert view.phase is Phase.PAUSED
        assert "wait for support" in (view.pause_reason or "")

    async def test_an_approval_that_nobody_gives_expires(self, world: World) -> None:
        view = await self._waiting(world)
        assert view.approval is not None
        world.clock.advance(timedelta(hours=25).total_seconds())
        with pytest.raises(ApprovalClosed):
            await world.service.approve(view.approval.id, actor=JONAS)
        view = await world.live(view.id, 1, **GOOD)
        assert view.phase is Phase.PAUSED
        assert "in time" in (view.pause_reason or "")

    async def test_an_early_promotion_takes_an_approver_who_did_not_ask(self, world: World) -> None:
        view = await world.started()
        view = await world.live(view.id, 3, **GOOD)
        view = await world.service.promote(view.id, actor=MIRA)
        assert view.phase is Phase.WAITING_PROMOTION, "the requester's wish is a question"
        view = await world.service.promote(view.id, actor=JONAS)
        assert await world.percent() == 25
        [promoted] = [event.payload for event in await world.events(view.id) if event.kind == "rollout.promoted"]
        assert promoted["why"].startswith("Before the proof was complete. ")
        assert promoted["asked"] == "the proof of safety is not complete"

    async def test_an_approved_promotion_is_logged_with_the_proof_and_with_why_people_were_asked(
        self, world: World
    ) -> None:
        view = await self._waiting(world)
        assert view.approval is not None
        await world.service.approve(view.approval.id, actor=JONAS)
        [promoted] = [event.payload for event in await world.events(view.id) if event.kind == "rollout.promoted"]
        assert promoted["why"].startswith("Proven safe: ")
        assert promoted["asked"] == view.approval.why

    async def test_nothing_is_promoted_while_the_gate_is_blind(self, world: World) -> None:
        view = await self._waiting(world)
        await world.live(view.id, 10, old=(0, 0), new=(0, 0))
        assert view.approval is not None
        with pytest.raises(Conflict):
            await world.service.approve(view.approval.id, actor=JONAS)
        assert await world.percent() == 5

    async def test_a_free_environment_starts_without_asking(self, world: World) -> None:
        await world.flags.define(FlagRef(FLAG.flag, "development"), "old", "new")
        view = await world.proposed(make_plan(environment="development"))
        assert view.approval is None
        view = await world.service.start(view.id, actor=SAM)
        assert view.phase is Phase.PROGRESSING

    async def test_a_start_without_a_pending_question_asks_again(self, world: World) -> None:
        view = await world.proposed()
        world.clock.advance(timedelta(hours=25).total_seconds())
        await world.controller.tick()
        assert (await world.service.get(view.id)).approval is None
        view = await world.service.start(view.id, actor=MIRA)
        assert view.phase is Phase.PROPOSED
        assert view.approval is not None

    async def test_a_flag_that_rolls_out_cannot_get_a_second_plan(self, world: World) -> None:
        await world.started()
        with pytest.raises(Conflict):
            await world.proposed()

    async def _waiting(self, world: World) -> RolloutView:
        view = await world.started(make_plan(stage(5), stage(100)))
        view = await world.live(view.id, 60, **GOOD)
        assert view.phase is Phase.WAITING_PROMOTION
        return view


class TestKillSwitch:
    async def test_it_ends_a_rollout_at_zero_whatever_was_before(self, world: World) -> None:
        state = await world.flags.read(FLAG)
        await world.flags.write(FLAG, Exposure(percent=3), expected=state.version)
        view = await world.started()
        killed = await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
        assert killed is not None
        assert killed.phase is Phase.ROLLED_BACK
        assert await world.percent() == 0
        assert (await world.service.get(view.id)).phase is Phase.ROLLED_BACK

    async def test_it_needs_no_rollout(self, world: World) -> None:
        state = await world.flags.read(FLAG)
        await world.flags.write(FLAG, Exposure(percent=30), expected=state.version)
        assert await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire") is None
        assert await world.percent() == 0
        assert [event.kind for event in await world.events()] == ["kill.ordered", "kill.completed"]

    async def test_it_names_an_unknown_flag(self, world: World) -> None:
        with pytest.raises(Exception, match="no flag"):
            await world.service.kill("nope", FLAG.environment, actor=SAM, reason="fire")


async def test_a_rollback_waits_for_a_dead_flag_service_and_pages(world: World) -> None:
    view = await world.started()
    real = world.flags.write

    async def dead(*_args: object, **_kwargs: object) -> None:
        raise FlagServiceUnavailable("The flag service is down.")

    world.flags.write = dead  # type: ignore[method-assign]
    view = await world.service.roll_back(view.id, actor=SAM, reason="enough")
    assert view.phase is Phase.ROLLING_BACK
    for _ in range(30):
        world.clock.advance(5)
        await world.controller.tick()
    kinds = await world.kinds(view.id)
    assert kinds.count("rollback.stuck") == 1
    world.flags.write = real  # type: ignore[method-assign]
    world.clock.advance(5)
    await world.controller.tick()
    assert (await world.service.get(view.id)).phase is Phase.ROLLED_BACK
    assert await world.percent() == 0
