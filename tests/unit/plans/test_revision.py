"""A plan is changed as somebody asks: what is touched is sized anew, what is not stays, and both can be read."""

from contextlib import suppress
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plans.test_planner import ERRORS, FEATURE, ORDERS, draft
from tests.unit.rollouts.world import POLICY
from tools.errors import InvalidInput
from tools.plans.defaults import PlanningDefaults
from tools.plans.diff import differences
from tools.plans.model import Audience, Facet, Mode, Plan, Source, Stage, Strategy
from tools.plans.planner import CannotBeProven, Draft, draft_plan
from tools.plans.revision import Changes, revise_plan
from tools.plans.validation import InvalidPlan, check_plan

USUAL = draft().plan
SHADOW = draft(strategy=Strategy.SHADOW).plan
FULL = draft(strategy=Strategy.FULL).plan
BOTH = draft(ERRORS, ORDERS).plan
WORDS = "please start at 2 %"


def revised(plan: Plan, **changes: object) -> Draft:
    asked = Changes.model_validate(changes)
    return revise_plan(plan, asked, (ERRORS, ORDERS), POLICY, PlanningDefaults(), words=WORDS)


def shown(plan: Plan) -> list[str]:
    return [str(stage.exposure) for stage in plan.stages]


def sources(stage: Stage, of: Facet) -> list[Source]:
    return [basis.source for basis in stage.basis if basis.of is of]


@pytest.mark.parametrize(
    ("plan", "changes", "exposures"),
    [
        (USUAL, {"start_at": 2}, ["2 %", "5 %", "25 %", "50 %", "100 %"]),
        (USUAL, {"start_at": 25}, ["25 %", "50 %", "100 %"]),
        (USUAL, {"stages": (5, 20, 100)}, ["5 %", "20 %", "100 %"]),
        (USUAL, {"stages": (5, 20, 100), "add_stages": (7,)}, ["5 %", "7 %", "20 %", "100 %"]),
        (USUAL, {"drop_stages": (1, 50)}, ["5 %", "25 %", "100 %"]),
        (USUAL, {"add_stages": (10,)}, ["1 %", "5 %", "10 %", "25 %", "50 %", "100 %"]),
        (USUAL, {"regions": ("eu",), "audience_until_stage": 2}, ["1 % of eu", "5 % of eu", "25 %", "50 %", "100 %"]),
        (USUAL, {"strategy": "shadow"}, ["50 % in shadow", "1 %", "5 %", "25 %", "50 %", "100 %"]),
        (USUAL, {"strategy": "full"}, ["100 %"]),
        (SHADOW, {"skip_shadow": True}, ["1 %", "5 %", "25 %", "50 %", "100 %"]),
        (SHADOW, {"strategy": "canary"}, ["1 %", "5 %", "25 %", "50 %", "100 %"]),
        (SHADOW, {"start_at": 2}, ["50 % in shadow", "2 %", "5 %", "25 %", "50 %", "100 %"]),
        (FULL, {"strategy": "canary"}, ["1 %", "5 %", "25 %", "50 %", "100 %"]),
        (FULL, {"strategy": "canary", "stages": (3, 100)}, ["3 %", "100 %"]),
    ],
)
def test_the_stages_are_those_that_were_asked_for(plan: Plan, changes: dict[str, object], exposures: list[str]) -> None:
    made = revised(plan, **changes).plan
    assert shown(made) == exposures
    in_shadow = any(stage.exposure.mode is Mode.SHADOW for stage in made.stages)
    assert in_shadow is (made.strategy is Strategy.SHADOW)


def test_a_new_stage_is_sized_as_a_new_plan_would_size_it() -> None:
    made = revised(USUAL, start_at=2).plan
    fresh = draft_plan(FEATURE, (ERRORS,), POLICY, PlanningDefaults(stages=(2, 5, 25, 50, 100))).plan
    assert made.stages[0].time_limit == fresh.stages[0].time_limit
    assert made.stages[0].guardrails[0].min_sample == fresh.stages[0].guardrails[0].min_sample
    assert made.stages[1:] == USUAL.stages[1:], "what was not asked for stays exactly as it was"


def test_an_audience_goes_to_the_stages_asked_for_and_is_kept_by_those_put_in() -> None:
    narrow = revised(USUAL, regions=("eu",), audience_until_stage=2).plan
    assert shown(revised(narrow, start_at=2).plan)[0] == "2 % of eu"
    assert shown(revised(narrow, add_stages=(10,)).plan)[2] == "10 % of eu"
    assert shown(revised(narrow, tenants=("acme",)).plan)[:3] == ["1 % of acme, eu", "5 % of acme, eu", "25 % of acme"]
    assert shown(revised(narrow, regions=()).plan) == shown(USUAL)
    assert any("traffic above is everyone's" in note for note in revised(USUAL, regions=("eu",)).notes)


def test_a_longer_hold_leaves_time_for_the_proof() -> None:
    everywhere = revised(USUAL, hold=timedelta(hours=2)).plan
    assert {stage.bake for stage in everywhere.stages} == {timedelta(hours=2)}
    assert all(stage.time_limit > stage.bake for stage in everywhere.stages)
    second = revised(USUAL, hold=timedelta(hours=2), hold_stage=2).plan
    assert [stage.bake for stage in second.stages].count(timedelta(hours=2)) == 1
    assert second.stages[1].bake == timedelta(hours=2)
    shorter = revised(USUAL, hold=timedelta(minutes=5)).plan
    assert [stage.time_limit for stage in shorter.stages] == [stage.time_limit for stage in USUAL.stages]


def test_a_stricter_margin_takes_longer_and_more_of_a_sample() -> None:
    made = revised(USUAL, margins={"errors": 1.2}).plan
    assert {rail.margin for stage in made.stages for rail in stage.guardrails} == {1.2}
    assert made.stages[0].time_limit > USUAL.stages[0].time_limit
    assert made.stages[0].guardrails[0].min_sample > USUAL.stages[0].guardrails[0].min_sample


def test_metrics_come_and_go_in_every_stage() -> None:
    added = revised(USUAL, add_metrics=("orders",)).plan
    assert all([rail.metric for rail in stage.guardrails] == ["errors", "orders"] for stage in added.stages)
    assert added.stages[0].guardrails[1].margin == 1.5, "the spec's margin"
    dropped = revised(BOTH, drop_metrics=("errors",)).plan
    assert all([rail.metric for rail in stage.guardrails] == ["orders"] for stage in dropped.stages)


def test_a_lone_stage_for_everyone_gets_ceilings() -> None:
    made = revised(USUAL, stages=(100,)).plan
    assert made.stages[0].guardrails[0].ceiling == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("plan", "changes", "sentence"),
    [
        (USUAL, {}, "nothing would change"),
        (USUAL, {"start_at": 1}, "nothing would change"),
        (USUAL, {"start_at": 0}, "more than 0 %"),
        (USUAL, {"drop_stages": (26,)}, "no stage at 26 %"),
        (FULL, {"drop_stages": (100,)}, "at least one stage"),
        (FULL, {"add_stages": (5,)}, "make it a canary plan"),
        (USUAL, {"skip_shadow": True}, "no shadow stage"),
        (SHADOW, {"skip_shadow": True, "strategy": "shadow"}, "ask for one of the two"),
        (USUAL, {"margins": {"errors": 9}}, "at most ×3"),
        (USUAL, {"margins": {"latency": 2}}, "latency does not guard this plan; it is guarded by errors"),
        (USUAL, {"drop_metrics": ("errors",)}, "at least one guardrail"),
        (USUAL, {"add_metrics": ("errors",)}, "guards this plan already"),
        (USUAL, {"add_metrics": ("latency",)}, "Nothing was measured of latency"),
        (USUAL, {"hold": timedelta(days=30)}, "at most 14 d"),
        (USUAL, {"hold": timedelta(hours=1), "hold_stage": 9}, "no stage 9"),
        (USUAL, {"hold_stage": 2}, "how long stage 2"),
        (USUAL, {"audience_until_stage": 2}, "which regions or tenants"),
        (USUAL, {"add_stages": tuple(range(30, 46))}, "at most 20 stages"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_sentence(plan: Plan, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        revised(plan, **changes)


def test_what_can_not_be_proven_is_said() -> None:
    with pytest.raises(CannotBeProven, match="proves nothing within 14 d"):
        revised(USUAL, start_at=0.001)
    assert any("can't be proven with this traffic" in note for note in revised(USUAL, start_at=0.05).notes)
    assert any("It ends at 20 %" in note for note in revised(USUAL, stages=(5, 20)).notes)


def test_holding_longer_needs_no_telemetry() -> None:
    asked = Changes(hold=timedelta(hours=3))
    made = revise_plan(USUAL, asked, (), POLICY, PlanningDefaults(), words="hold three hours")
    assert made.plan.stages[0].bake == timedelta(hours=3)


def test_what_was_asked_for_rests_on_the_words_and_the_rest_on_what_it_did() -> None:
    made = revised(USUAL, start_at=2, hold=timedelta(hours=1), hold_stage=1, margins={"errors": 1.8}).plan
    first = made.stages[0]
    assert sources(first, Facet.EXPOSURE) == sources(first, Facet.HOLD) == [Source.PERSON]
    assert sources(first, Facet.LIMIT) == [Source.TELEMETRY]
    assert sources(made.stages[1], Facet.EXPOSURE) == [Source.DEFAULT]
    margins = [basis for basis in first.guardrails[0].basis if basis.of is Facet.MARGIN]
    assert [(basis.source, basis.text) for basis in margins] == [(Source.PERSON, WORDS)]
    assert "requests/min" in " ".join(basis.text for basis in first.guardrails[0].basis)


def test_endless_words_are_cut() -> None:
    made = revise_plan(USUAL, Changes(start_at=2), (ERRORS,), POLICY, PlanningDefaults(), words="so " * 9999)
    assert Plan.model_validate(made.plan.to_json()) == made.plan


CHANGES = st.builds(
    Changes,
    strategy=st.none() | st.sampled_from(Strategy),
    start_at=st.none() | st.sampled_from([0.5, 1, 2, 5, 40, 100]),
    stages=st.just(()) | st.sampled_from([(1, 10, 100), (5,), (100,), (50, 5)]),
    drop_stages=st.just(()) | st.sampled_from([(25,), (100,), (1, 5)]),
    add_stages=st.just(()) | st.sampled_from([(3,), (10, 60)]),
    hold=st.none() | st.sampled_from([timedelta(0), timedelta(minutes=5), timedelta(hours=2), timedelta(days=14)]),
    hold_stage=st.none() | st.integers(1, 6),
    regions=st.none() | st.sampled_from([(), ("eu",), ("eu", "us")]),
    tenants=st.none() | st.sampled_from([(), ("acme",)]),
    audience_until_stage=st.none() | st.integers(1, 6),
    skip_shadow=st.booleans(),
    margins=st.dictionaries(st.sampled_from(["errors", "orders"]), st.sampled_from([1.2, 2.5, 9.0]), max_size=2),
    add_metrics=st.just(()) | st.just(("orders",)),
    drop_metrics=st.just(()) | st.just(("errors",)),
)


@settings(max_examples=300, deadline=None)
@given(plan=st.sampled_from([USUAL, SHADOW, FULL, BOTH]), changes=CHANGES)
def test_any_change_gives_a_plan_that_can_be_stored_and_told_apart_or_a_sentence(plan: Plan, changes: Changes) -> None:
    with suppress(InvalidInput):
        made = revise_plan(plan, changes, (ERRORS, ORDERS), POLICY, PlanningDefaults(), words=WORDS).plan
        assert Plan.model_validate(made.to_json()) == made
        assert differences(plan, made), "what changed can be read"
        assert all(rail.margin <= POLICY.loosest_margin for stage in made.stages for rail in stage.guardrails)
        assert not [problem for problem in problems(made) if "time limit" in problem or "margins" in problem]


def problems(plan: Plan) -> tuple[str, ...]:
    try:
        check_plan(plan, POLICY, granularity=0.001, audiences=True, shadow=True)
    except InvalidPlan as refused:
        return refused.problems
    return ()


def test_exposures_rise_whatever_is_asked() -> None:
    made = revised(USUAL, stages=(100, 5, 5, 20), start_at=3).plan
    assert all(before.exposure.percent < after.exposure.percent for before, after in pairwise(made.stages))
    assert made.stages[0].exposure.audience == Audience()
