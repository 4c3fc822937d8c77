"""A plan changed as somebody asked, sized with what its metrics did lately; and what a metric did."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.unit.agent.planning_desk import CHECKOUT, FLAG, PRODUCTION, Desk, request
from tools.errors import InvalidInput
from tools.flags.base import FlagNotFound
from tools.gates import Direction
from tools.metrics.base import MetricQuery, MetricSourceUnavailable, Reading, UnknownMetric
from tools.plans.model import Facet, Plan, Source
from tools.plans.planner import CannotBeProven
from tools.plans.revision import Changes
from tools.plans.validation import InvalidPlan
from tools.rollouts.staleness import SpecView
from tools.specs.base import Spec

SPEC = CHECKOUT.replace("depends_on: [new-cart, wallet]\n", "")


@dataclass(frozen=True)
class Standing:
    """A rollout, as far as a revision looks at it."""

    plan: Plan
    spec: SpecView | None = None


@pytest.fixture
async def desk() -> Desk:
    made = Desk()
    await made.flag()
    made.specs.put("checkout.md", SPEC)
    made.history("errors")
    return made


async def standing(desk: Desk) -> Standing:
    return Standing((await desk.planner.propose(request())).plan)


async def test_a_change_is_sized_with_fresh_telemetry_and_rests_on_the_persons_words(desk: Desk) -> None:
    view = await standing(desk)
    proposal = await desk.planner.revise(view, Changes(start_at=2), words="start at 2 %, please")
    plan = proposal.plan
    assert [stage.exposure.percent for stage in plan.stages] == [2, 5, 25, 50, 100]
    assert (plan.tags, plan.spec_author, plan.spec_sha256) == (
        view.plan.tags,
        view.plan.spec_author,
        view.plan.spec_sha256,
    )
    (basis,) = (basis for basis in plan.stages[0].basis if basis.of is Facet.EXPOSURE)
    assert (basis.source, basis.text) == (Source.PERSON, "start at 2 %, please")
    assert plan.stages[0].time_limit < view.plan.stages[0].time_limit
    assert proposal.spec is not None
    assert proposal.spec.sha256 == plan.spec_sha256
    assert plan.rationale[-len(proposal.notes) :] == proposal.notes
    assert [reason.startswith("As a whole: ") for reason in plan.rationale].count(True) == 1


async def test_what_policy_refuses_is_no_revision(desk: Desk) -> None:
    with pytest.raises(InvalidPlan, match="policy allows at most 10 %"):
        await desk.planner.revise(await standing(desk), Changes(start_at=20), words="start at 20 %")


async def test_a_changed_spec_is_not_the_one_that_the_plan_was_made_from(desk: Desk) -> None:
    view = await standing(desk)
    desk.specs.put("checkout.md", SPEC.replace("1.8", "3"))
    proposal = await desk.planner.revise(view, Changes(hold=timedelta(hours=2)), words="hold 2 h")
    assert proposal.spec is None
    assert "The spec has changed since this plan was made; ask for a new plan to take that in." in proposal.notes
    assert [rail.margin for rail in proposal.plan.stages[0].guardrails] == [1.8]


async def test_a_spec_that_was_read_in_part_is_none_that_has_changed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, spec = await standing(desk), await desk.specs.read(FLAG)
    found = spec.model_copy(update={"sha256": "0" * 64, "whole": False})

    async def read(_flag: str) -> Spec:
        return found

    monkeypatch.setattr(desk.specs, "read", read)
    proposal = await desk.planner.revise(view, Changes(hold=timedelta(hours=2)), words="hold 2 h")
    assert proposal.spec is None
    (said,) = [note for note in proposal.notes if "spec" in note]
    assert said.startswith("The spec can't be read right now: ")
    assert f"beside {spec.source} could not be looked through" in said
    found = spec.model_copy(update={"whole": False})
    proposal = await desk.planner.revise(view, Changes(hold=timedelta(hours=2)), words="hold 2 h")
    assert proposal.spec is None
    assert not [note for note in proposal.notes if "spec" in note]


async def test_a_broken_spec_does_not_keep_anyone_from_being_more_careful(desk: Desk) -> None:
    view = await standing(desk)
    desk.specs.put("checkout.md", SPEC.replace("flag: new-checkout", "flag: new-checkout\nsecret: 1"))
    proposal = await desk.planner.revise(view, Changes(hold=timedelta(hours=2)), words="hold 2 h")
    assert {stage.bake for stage in proposal.plan.stages} == {timedelta(hours=2)}
    assert [note for note in proposal.notes if note.startswith("The spec can't be read right now")]


async def test_a_silent_metric_is_only_missed_where_a_stage_must_be_sized(desk: Desk) -> None:
    view = await standing(desk)
    desk.clock.advance(timedelta(days=9).total_seconds())
    proposal = await desk.planner.revise(view, Changes(hold=timedelta(hours=2)), words="hold 2 h")
    assert [note for note in proposal.notes if note.startswith("errors can't be measured right now")]
    with pytest.raises(InvalidInput, match="Nothing was measured of errors lately"):
        await desk.planner.revise(view, Changes(start_at=2), words="start at 2 %")


async def test_an_outage_of_the_metrics_does_not_keep_anyone_from_being_more_careful(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await standing(desk)

    async def refuse(query: MetricQuery) -> Reading:
        raise MetricSourceUnavailable("The metrics do not answer.")

    monkeypatch.setattr(desk.source, "read", refuse)
    proposal = await desk.planner.revise(view, Changes(drop_stages=(50,)), words="not half of them")
    assert [stage.exposure.percent for stage in proposal.plan.stages] == [1, 5, 25, 100]
    with pytest.raises(MetricSourceUnavailable):
        await desk.planner.revise(view, Changes(add_metrics=("orders",)), words="guard orders too")


async def test_a_metric_to_be_added_is_measured(desk: Desk) -> None:
    view = await standing(desk)
    with pytest.raises(CannotBeProven, match="orders has 0 exposures"):
        await desk.planner.revise(view, Changes(add_metrics=("orders",)), words="guard orders too")
    desk.history("orders", rate=0.3)
    proposal = await desk.planner.revise(view, Changes(add_metrics=("orders",)), words="guard orders too")
    assert [rail.metric for rail in proposal.plan.stages[0].guardrails] == ["errors", "orders"]
    with pytest.raises(UnknownMetric):
        await desk.planner.revise(view, Changes(add_metrics=("nothing",)), words="guard nothing")


async def test_what_a_metric_did_is_told_with_what_the_spec_says_of_it(desk: Desk) -> None:
    base = await desk.planner.traffic(FLAG, PRODUCTION, "errors")
    assert (base.requests_per_minute, base.base_rate, base.margin) == (6000, 0.01, 1.8)
    assert base.stated == "{metric: errors, direction: increase, margin: 1.8}"
    desk.history("orders", rate=0.3)
    other = await desk.planner.traffic(FLAG, PRODUCTION, "orders")
    assert (other.direction, other.margin, other.stated) == (Direction.DECREASE, None, None)
    with pytest.raises(CannotBeProven, match="refunds has 0 exposures"):
        await desk.planner.traffic(FLAG, PRODUCTION, "refunds")
    with pytest.raises(UnknownMetric):
        await desk.planner.traffic(FLAG, PRODUCTION, "nothing")
    with pytest.raises(FlagNotFound):
        await desk.planner.traffic("nothing", PRODUCTION, "errors")
