"""What an attentive stranger tried: promotions without data, gates that go quiet, approvals of one's own."""

from datetime import timedelta

import pytest

from tests.unit.rollouts.world import AIKO, ERRORS, FLAG, JONAS, MIRA, PLACE, RAIL, SAM, World, make_plan, stage
from tools.errors import Conflict, NotAllowed
from tools.flags.base import FlagServiceUnavailable
from tools.metrics.base import UnknownMetric
from tools.metrics.catalogue import MetricDefinition
from tools.plans.model import Audience, Exposure, OnFail
from tools.plans.policy import Answer, Policy, may_promote, may_start
from tools.plans.validation import InvalidPlan
from tools.rollouts.approvals import ApprovalClosed
from tools.rollouts.executor import reaches_more
from tools.rollouts.phases import Phase

GOOD = {"old": (950, 19), "new": (50, 1)}
QUARTER = {"old": (750, 15), "new": (250, 5)}
BROKEN = {"old": (750, 15), "new": (250, 250)}
SILENT = {"old": (750, 15), "new": (0, 0)}


async def at_a_quarter(world: World, bake: float = 60) -> str:
    """A rollout that was just promoted to 25 % with plenty of evidence from before."""
    view = await world.started(make_plan(stage(5), stage(25, bake=bake), stage(60), stage(100)))
    for _ in range(80):
        await world.live(view.id, 1, **GOOD)
        if await world.percent() == 25:
            return view.id
    raise AssertionError("never promoted")


class TestAStageNeedsDataOfItsOwn:
    async def test_data_that_settles_late_is_waited_for(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        rollout_id = await at_a_quarter(world)
        late = world.controller._metrics.define(ERRORS).model_copy(update={"settle": timedelta(seconds=120)})
        monkeypatch.setattr(world.controller._metrics, "define", lambda _metric: late)
        for _ in range(30):
            view = await world.live(rollout_id, 1, **BROKEN)
            assert await world.percent() <= 25, "promoted on the evidence of the stage before"
        assert view.phase is Phase.ROLLED_BACK

    async def test_a_treatment_that_falls_silent_is_not_promoted(self, world: World) -> None:
        rollout_id = await at_a_quarter(world, bake=20)
        for _ in range(5):
            await world.live(rollout_id, 1, **SILENT)
            assert await world.percent() == 25

    async def test_the_minimum_sample_counts_at_this_stage(self, world: World) -> None:
        rail = RAIL.model_copy(update={"min_sample": 2000})
        view = await world.started(make_plan(stage(5, rail=rail), stage(25, rail=rail), stage(100, rail=rail)))
        while await world.percent() < 25:
            view = await world.live(view.id, 1, **GOOD)
        view = await world.live(view.id, 7, **QUARTER)
        assert view.phase is Phase.PROGRESSING
        view = await world.live(view.id, 3, **QUARTER)
        assert view.phase is Phase.WAITING_PROMOTION


class TestAGateNeverGoesQuiet:
    async def test_a_metric_that_is_gone_from_the_settings(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        view = await world.started()
        await world.live(view.id, 3, **GOOD)

        def define(metric: str) -> MetricDefinition:
            raise UnknownMetric(f"No metric is called {metric!r}.")

        monkeypatch.setattr(world.controller._metrics, "define", define)
        view = await world.live(view.id, 1, **GOOD)
        assert view.check is not None
        assert "No metric is called" in view.check.verdict.why
        view = await world.live(view.id, 31, **GOOD)
        assert view.phase is Phase.ROLLED_BACK

    async def test_evidence_that_cannot_be_read(self, world: World) -> None:
        view = await world.started()
        await world.live(view.id, 3, **GOOD)
        await self._damage(world, view.id, {"until": "yesterday"})
        view = await world.live(view.id, 1, **GOOD)
        assert view.check is not None
        assert "can't be read" in view.check.verdict.why
        assert view.blind_since is not None

    async def test_evidence_of_another_release_starts_anew(self, world: World) -> None:
        view = await world.started()
        view = await world.live(view.id, 10, **GOOD)
        evidence = await self._evidence(world, view.id)
        await self._damage(world, view.id, {"gate": {**evidence["gate"], "version": 99}})
        view = await world.live(view.id, 1, **GOOD)
        assert view.check is not None
        assert "not counted" in view.check.verdict.why
        assert view.check.verdict.treatment_n == 50

    async def test_a_clock_that_was_ahead(self, world: World) -> None:
        view = await world.started()
        world.clock.advance(1000)
        await world.live(view.id, 3, **GOOD)
        world.clock.at -= timedelta(seconds=900)
        view = await world.live(view.id, 1, **GOOD)
        await world.controller.reconcile(view.id)
        view = await world.service.get(view.id)
        assert view.check is not None
        assert "which is not yet" in view.check.verdict.why

    async def test_a_flag_service_that_cannot_be_read(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        view = await world.started()
        await world.live(view.id, 3, **GOOD)

        async def dead(_ref: object) -> None:
            raise FlagServiceUnavailable("The flag service is down.")

        with monkeypatch.context() as patch:
            patch.setattr(world.flags, "read", dead)
            view = await world.live(view.id, 60, **GOOD)
        assert await world.percent() == 5
        assert (await world.kinds(view.id)).count("metrics.blind") == 1
        assert view.phase is Phase.PROGRESSING, "users are not at risk, so nothing is taken back"
        await world.live(view.id, 1, **GOOD)
        assert await world.percent() == 25

    async def _evidence(self, world: World, rollout_id: str) -> dict[str, dict[str, object]]:
        from tools.rollouts import store

        async with world.database.read() as session:
            rollout = await store.load(session, rollout_id, lock=False)
            return dict(rollout.evidence[f"{ERRORS}:live"])

    async def _damage(self, world: World, rollout_id: str, changes: dict[str, object]) -> None:
        from tools.rollouts import store

        async with world.database.write() as session:
            rollout = await store.load(session, rollout_id)
            rollout.evidence = {f"{ERRORS}:live": {**rollout.evidence[f"{ERRORS}:live"], **changes}}


class TestAcceptedHarm:
    async def test_more_harm_than_was_accepted_pauses_again(self, world: World) -> None:
        rail = RAIL.model_copy(update={"on_fail": OnFail.PAUSE})
        view = await world.started(make_plan(stage(5, rail=rail), stage(100, rail=rail)))
        for _ in range(60):
            view = await world.live(view.id, 1, old=(950, 19), new=(50, 3))
            if view.phase is Phase.PAUSED:
                break
        view = await world.service.resume(view.id, actor=JONAS)
        view = await world.live(view.id, 1, old=(950, 19), new=(50, 1))
        assert view.phase is Phase.PROGRESSING, "what was accepted does not pause again at once"
        view = await world.live(view.id, 6, old=(950, 19), new=(50, 40))
        assert view.phase is Phase.PAUSED
        assert "Proven harmful" in (view.pause_reason or "")


class TestOnesOwnApproval:
    async def test_proposing_it_again_for_somebody_does_not_make_it_theirs_to_approve(self, world: World) -> None:
        await world.proposed()
        view = await world.service.propose(make_plan(), requester=SAM, place=PLACE, reason="again")
        assert view.approval is not None
        with pytest.raises(NotAllowed):
            await world.service.approve(view.approval.id, actor=MIRA)
        await world.service.approve(view.approval.id, actor=AIKO)

    def test_who_asks_on_the_command_line_needs_one_more(self) -> None:
        policy = Policy(approvers=(MIRA, JONAS, AIKO))
        assert may_start(policy, make_plan(), requester="cli:jonas").needed == 2

    async def test_an_author_who_wishes_for_a_promotion_asks(self, world: World) -> None:
        view = await world.started(make_plan(spec_author=AIKO))
        view = await world.live(view.id, 3, **GOOD)
        view = await world.service.promote(view.id, actor=AIKO)
        assert view.phase is Phase.WAITING_PROMOTION
        assert view.approval is not None
        assert view.approval.by == ()


class TestAudiencesAndTags:
    def test_reaching_others_is_asked_about(self) -> None:
        narrow = Exposure(percent=10, audience=Audience(tenants=("acme",)))
        wide = stage(100).model_copy(update={"exposure": Exposure(percent=10)})
        plan = make_plan(stage(10).model_copy(update={"exposure": narrow}), wide)
        assert may_promote(Policy(approvers=(MIRA, JONAS)), plan, 1, requester=SAM).answer is Answer.APPROVAL

    def test_capitals_do_not_hide_a_tag(self) -> None:
        policy = Policy(approvers=(MIRA, JONAS, AIKO))
        assert may_start(policy, make_plan(tags=("Regulated",)), requester=SAM).needed == 2

    def test_what_a_hand_raises(self) -> None:
        five = Exposure(percent=5)
        acme = Exposure(percent=5, audience=Audience(tenants=("acme",)))
        assert reaches_more(five, acme)
        assert reaches_more(Exposure(percent=6), five)
        assert not reaches_more(Exposure(percent=0), five)

    async def test_one_metric_has_one_margin(self, world: World) -> None:
        other = RAIL.model_copy(update={"margin": 3.0})
        with pytest.raises(InvalidPlan, match="different margins"):
            await world.proposed(make_plan(stage(5), stage(100, rail=other)))


async def test_a_kill_withdraws_the_question_about_the_start(world: World) -> None:
    view = await world.proposed()
    assert view.approval is not None
    await world.service.kill(FLAG.flag, FLAG.environment, actor=SAM, reason="fire")
    assert (await world.service.get(view.id)).phase is Phase.CANCELLED
    with pytest.raises((ApprovalClosed, Conflict)):
        await world.service.approve(view.approval.id, actor=JONAS)
    assert await world.percent() == 0


async def test_a_flag_that_a_hand_took_to_nothing_stays_paused(world: World) -> None:
    view = await world.started()
    await world.live(view.id, 3, **GOOD)
    await world.flags.write(FLAG, Exposure(percent=0), expected=(await world.flags.read(FLAG)).version)
    view = await world.live(view.id, 60, old=(1000, 20), new=(0, 0))
    assert view.phase is Phase.PAUSED
    assert "metrics.blind" not in await world.kinds(view.id)


async def test_lowered_from_everyone_to_half_goes_on(world: World) -> None:
    view = await world.started(make_plan(stage(5), stage(100)))
    view = await world.live(view.id, 60, **GOOD)
    assert view.approval is not None
    await world.service.approve(view.approval.id, actor=JONAS)
    await world.live(view.id, 3, old=(0, 0), new=(1000, 20))
    await world.flags.write(FLAG, Exposure(percent=50), expected=(await world.flags.read(FLAG)).version)
    view = await world.live(view.id, 5, old=(500, 10), new=(500, 10))
    assert view.phase is Phase.PAUSED
    await world.service.resume(view.id, actor=JONAS)
    assert await world.percent() == 100
    view = await world.live(view.id, 40, old=(0, 0), new=(1000, 20))
    assert view.phase is Phase.SUCCEEDED
