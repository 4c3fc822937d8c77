"""Plans of means, latencies and splits: what is sized, what guards which stage, and what is refused."""

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import TypeAdapter

from tests.unit.plans.test_planner import ERRORS, FEATURE
from tests.unit.rollouts.world import POLICY
from tools.errors import InvalidInput
from tools.gates import Direction
from tools.gates.amounts import Amounts, Latencies
from tools.metrics.catalogue import MetricKind
from tools.metrics.units import in_unit
from tools.plans.defaults import PlanningDefaults
from tools.plans.kinds import Kinds, control_faults
from tools.plans.model import Expected, Exposure, Guardrail, Mode, OnFail, Part, Plan, Source, Strategy
from tools.plans.planner import Baseline, CannotBeProven, Draft, draft_plan
from tools.plans.revision import Changes, revise_plan
from tools.plans.sizing import rail_of
from tools.plans.validation import InvalidPlan, check_plan

REVENUE = Baseline("revenue", Direction.DECREASE, 6000, None, 1.0, None, values=Amounts(21.43, 12.0, 100.0), unit="EUR")
LATENCY = Baseline(
    "latency",
    Direction.INCREASE,
    6000,
    None,
    1.0,
    None,
    values=Latencies((0.05, 0.1, 0.25), (3000, 5000, 1700, 300)),
    unit="s",
)
KINDS: Kinds = {
    "errors": MetricKind.RATIO,
    "revenue": MetricKind.MEAN,
    "latency": MetricKind.LATENCY,
    "split": MetricKind.ASSIGNMENTS,
}
ALL = (ERRORS, REVENUE, LATENCY)


def draft(*baselines: Baseline, strategy: Strategy | None = None, tags: tuple[str, ...] = ()) -> Draft:
    feature = replace(FEATURE, tags=tags)
    made = draft_plan(feature, baselines or ALL, POLICY, PlanningDefaults(), strategy, KINDS)
    check(made.plan)
    return made


def revised(plan: Plan, changes: Changes, *baselines: Baseline) -> Draft:
    made = revise_plan(plan, changes, baselines or ALL, POLICY, PlanningDefaults(), words="as asked", kinds=KINDS)
    check(made.plan)
    return made


def check(plan: Plan) -> None:
    check_plan(plan, POLICY, granularity=0.001, audiences=True, shadow=True, kinds=KINDS)


def guards(plan: Plan) -> list[tuple[float, list[str]]]:
    return [(stage.exposure.percent, [rail.metric for rail in stage.guardrails]) for stage in plan.stages]


def test_the_split_watches_every_live_stage_with_a_control_and_only_pauses() -> None:
    plan = draft(strategy=Strategy.SHADOW).plan
    assert plan.stages[0].exposure.mode is Mode.SHADOW
    watched = [any(rail.of_split for rail in stage.guardrails) for stage in plan.stages]
    assert watched == [False, *[True] * (len(plan.stages) - 2), False]
    split = plan.stages[1].guardrails[-1]
    assert (split.metric, split.on_fail, split.min_sample) == ("split", OnFail.PAUSE, 1)
    assert Plan.model_validate(plan.to_json()) == plan


def test_a_plan_of_rates_alone_has_the_hash_that_it_had() -> None:
    plain = draft(ERRORS).plan.to_json()
    assert all("of_split" not in rail for rail in plain["stages"][-1]["guardrails"])


@pytest.mark.parametrize(
    ("base", "tags", "margin", "source"),
    [
        (LATENCY, (), 1.25, Source.DEFAULT),
        (LATENCY, ("revenue-critical",), 1.1, Source.POLICY),
        (replace(LATENCY, margin=1.4), (), 1.4, Source.SPEC),
        (replace(LATENCY, margin=9.0), (), 3.0, Source.POLICY),
        (REVENUE, (), 1.02, Source.TELEMETRY),
        (replace(REVENUE, requests_per_minute=100), (), 1.1, Source.TELEMETRY),
        (replace(REVENUE, requests_per_minute=0.5), (), 1.5, Source.DEFAULT),
    ],
)
def test_margins_where_the_spec_does_not_say_otherwise(
    base: Baseline, tags: tuple[str, ...], margin: float, source: Source
) -> None:
    rail = rail_of(base, tags, POLICY, PlanningDefaults())
    assert (rail.margin, rail.basis[-1].source) == (margin, source)


def test_a_stricter_margin_is_one_that_the_shared_level_proves() -> None:
    quiet = replace(ERRORS, requests_per_minute=150)
    risky = ("revenue-critical",)
    assert [rail_of(quiet, risky, POLICY, PlanningDefaults(), sharing=among).margin for among in (1, 5)] == [1.5, 2.0]
    others = tuple(replace(LATENCY, metric=f"latency-{number}") for number in range(4))
    feature = replace(FEATURE, tags=risky)
    for baselines, margin in (((quiet,), 1.5), ((quiet, *others), 2.0)):
        plan = draft_plan(feature, baselines, POLICY, PlanningDefaults()).plan
        assert plan.stages[0].guardrails[0].margin == margin


@pytest.mark.parametrize("base", [REVENUE, LATENCY])
def test_a_policy_stricter_than_the_usual_margin_binds(base: Baseline) -> None:
    strict = POLICY.model_copy(update={"loosest_margin": 1.01})
    assert rail_of(base, (), strict, PlanningDefaults()).margin == 1.01


def test_less_traffic_takes_longer_and_bursts_too() -> None:
    for base in (REVENUE, LATENCY):
        rail = rail_of(replace(base, margin=1.05), (), POLICY, PlanningDefaults())
        quiet = replace(rail, baseline=replace(rail.baseline, requests_per_minute=600.0))
        bursty = replace(rail, baseline=replace(rail.baseline, dispersion=10.0))
        assert rail.needed(5) < quiet.needed(5)
        assert rail.needed(5) < bursty.needed(5)
        assert rail.needed(5) > timedelta(0)


def test_what_was_measured_is_said_in_its_unit() -> None:
    assert REVENUE.measured == "a mean of 21.43 EUR"
    assert LATENCY.measured == "19 of 20 within 0.25 s"
    whole = Latencies((0.05, 0.1), (10, 10, 80), total=40.0, squares=50.0)
    assert replace(LATENCY, values=whole).measured == "a mean of 0.4 s (19 of 20 over 0.1 s)"
    assert [in_unit(value, "ms") for value in (1234.56, 999.96, 0.00001234)] == ["1,235 ms", "1,000 ms", "1.234e-05 ms"]
    assert in_unit(2.0, "") == "2"


def test_a_baseline_is_a_rate_or_has_values() -> None:
    with pytest.raises(InvalidInput, match="needs a base rate or what its values were"):
        replace(REVENUE, values=None)
    with pytest.raises(InvalidInput, match="needs a base rate or what its values were"):
        replace(REVENUE, base_rate=0.1)


def test_baselines_come_back_from_where_they_are_kept() -> None:
    kept = TypeAdapter(list[Baseline])
    assert kept.validate_json(kept.dump_json([*ALL])) == [*ALL]


def test_without_a_rate_everyone_is_out_of_reach() -> None:
    made = draft(REVENUE)
    assert made.plan.stages[-1].exposure.percent == 50
    assert any(note.startswith("It ends at 50 %, not with everyone: at 100 % nobody is left") for note in made.notes)
    with pytest.raises(CannotBeProven, match="Once everyone is exposed nobody is left to compare with"):
        draft(REVENUE, strategy=Strategy.FULL)
    with pytest.raises(CannotBeProven, match="Once everyone is exposed nobody is left to compare with"):
        revised(made.plan, Changes(add_stages=(100,)), REVENUE)


# -- what is refused --------------------------------------------------------------------------------------------------


def test_guardrails_that_lack_their_control_are_refused_with_what_to_do() -> None:
    plan = draft().plan
    everywhere = [stage.model_copy(update={"guardrails": plan.stages[0].guardrails[:3]}) for stage in plan.stages]
    with pytest.raises(InvalidPlan, match="revenue and latency can only be compared with a control: leave them out of"):
        check(plan.model_copy(update={"stages": tuple(everywhere)}))
    alone = [stage.model_copy(update={"guardrails": plan.stages[0].guardrails[1:2]}) for stage in plan.stages]
    with pytest.raises(InvalidPlan, match="revenue can only be compared with a control: end below 100 %, or let a"):
        check(plan.model_copy(update={"stages": tuple(alone)}))


def test_everyone_of_an_audience_leaves_a_control() -> None:
    plan = draft(ERRORS).plan
    [eu] = [
        Exposure.model_validate({"percent": 100, "audience": {"regions": ["eu"]}}),
    ]
    first = plan.stages[0]
    rails = draft().plan.stages[0].guardrails[:3]
    check(plan.model_copy(update={"stages": (first, first.model_copy(update={"exposure": eu, "guardrails": rails}))}))


def test_a_split_is_watched_as_one_and_nothing_else_is() -> None:
    plan = draft().plan
    first = plan.stages[0]
    *others, split = first.guardrails
    for rails in (
        (*others, split.model_copy(update={"of_split": False})),
        (others[0].model_copy(update={"of_split": True}), *others[1:]),
    ):
        with pytest.raises(InvalidPlan, match="so its guardrail must"):
            check(plan.model_copy(update={"stages": (first.model_copy(update={"guardrails": rails}),)}))


# -- revisions --------------------------------------------------------------------------------------------------------


def test_a_revision_keeps_what_guards_which_stage() -> None:
    plan = draft().plan
    beside, alone = ["errors", "revenue", "latency", "split"], ["errors"]
    held = revised(plan, Changes(hold=timedelta(hours=3))).plan
    assert guards(held) == guards(plan)
    assert held.stages[0].guardrails == plan.stages[0].guardrails
    between = revised(plan, Changes(add_stages=(75,))).plan
    assert guards(between)[-2:] == [(75, beside), (100, alone)]
    strict = revised(plan, Changes(margins={"revenue": 1.01}))
    assert guards(strict.plan) == guards(plan)
    assert "At 100 % nobody is left to compare with, so revenue and latency do not guard that stage." in strict.notes


def test_a_revision_without_telemetry_still_knows_who_needs_a_control() -> None:
    plan = draft().plan
    held = revised(plan, Changes(hold=timedelta(hours=3)), ERRORS).plan
    assert guards(held) == guards(plan)


def test_dropping_the_only_rate_takes_the_last_stage_away() -> None:
    plan = draft(ERRORS, REVENUE).plan
    with pytest.raises(CannotBeProven, match="plan it in stages that end below 100 %"):
        revised(plan, Changes(drop_metrics=("errors",)))
    made = revised(plan, Changes(drop_metrics=("errors",), drop_stages=(100,)))
    assert made.plan.stages[-1].exposure.percent == 50


def test_adding_a_mean_guards_all_but_the_last_stage() -> None:
    plan = draft(ERRORS).plan
    made = revised(plan, Changes(add_metrics=("revenue",))).plan
    assert {tuple(metrics) for percent, metrics in guards(made) if percent < 100} == {("errors", "revenue", "split")}
    assert guards(made)[-1] == (100, ["errors"])


def test_what_requests_are_made_of_guards_nothing_and_stays_in_a_plan_that_is_changed() -> None:
    mix = Expected(metric="regions", base_rate=None, quietest=1, busiest=9, mix=(Part(segment="eu", share=0.6),))
    kinds = {**KINDS, "regions": MetricKind.MIX}
    plan = draft_plan(FEATURE, ALL, POLICY, PlanningDefaults(), kinds=kinds, mixes=(mix,)).plan
    assert plan.expected[-1] == mix
    changed = revise_plan(
        plan, Changes(drop_metrics=("revenue",)), ALL, POLICY, PlanningDefaults(), words="-", kinds=kinds
    )
    assert mix in changed.plan.expected
    guarded = plan.stages[0].model_copy(update={"guardrails": (Guardrail(metric="regions"),)})
    faults = list(control_faults(plan.model_copy(update={"stages": (guarded,)}), kinds))
    assert faults == ["Stage 1: regions says what requests are made of, which guards nothing; leave it out."]
