"""A plan as the calculators see it, and the sentence that comes of it."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.plans.test_kinds import ALL, LATENCY, REVENUE
from tests.unit.plans.test_kinds import draft as draft_kinds
from tests.unit.plans.test_planner import ERRORS, ORDERS, draft
from tools.gates import Minutes
from tools.gates.blast import BlastRadius, Reach
from tools.gates.false_rollback import Chance
from tools.gates.forecast import HarmForecast, PlanForecast, StageCatch, catch_in_stage, forecast, forecast_harm
from tools.plans.forecasting import as_a_whole, harmless, schedule_of, told
from tools.plans.model import Audience, Guardrail, Strategy
from tools.plans.planner import CannotBeProven


def test_a_plan_becomes_the_stages_that_its_gates_have() -> None:
    plan = draft(ERRORS, ORDERS, strategy=Strategy.SHADOW).plan
    schedule = schedule_of(plan, [ORDERS, ERRORS])
    assert [one.name for one in schedule.watched] == ["orders", "errors"]
    assert [one.margin for one in schedule.watched] == [1.5, 2.0]
    assert [step.shadow for step in schedule.steps] == [True, False, False, False, False, False]
    assert [step.share for step in schedule.steps] == [0.5, 0.01, 0.05, 0.25, 0.5, 1.0]
    assert (schedule.burn_in, schedule.check_every) == (10, 0.25)
    first, rails = schedule.steps[1], {rail.metric: rail for rail in plan.stages[1].guardrails}
    assert first.min_samples == (rails["orders"].min_sample, rails["errors"].min_sample)
    assert timedelta(minutes=first.limit) == plan.stages[1].time_limit


def test_an_audience_that_is_exposed_as_a_whole_still_leaves_others_to_compare_with() -> None:
    plan = draft().plan
    limited = plan.stages[-1].exposure.model_copy(update={"audience": Audience(tenants=("acme",))})
    last = plan.stages[-1].model_copy(update={"exposure": limited})
    assert schedule_of(plan.model_copy(update={"stages": (last,)}), [ERRORS]).steps[0].share == 0.99


def test_bursts_of_the_plan_or_of_late_count_whichever_are_larger() -> None:
    plan = draft(replace(ERRORS, dispersion=3.0)).plan
    assert schedule_of(plan, [ERRORS]).watched[0].dispersion == 3.0
    assert schedule_of(plan, [replace(ERRORS, dispersion=4.0)]).watched[0].dispersion == 4.0


def test_metrics_that_were_not_measured_share_the_level_and_a_split_does_not() -> None:
    plan = draft(ERRORS, ORDERS).plan
    assert schedule_of(plan, [ERRORS]).weight == 0.5
    split = Guardrail(metric="split", of_split=True)
    stages = tuple(stage.model_copy(update={"guardrails": (*stage.guardrails, split)}) for stage in plan.stages)
    assert schedule_of(plan.model_copy(update={"stages": stages}), [ERRORS]).weight == 0.5


def test_a_plan_may_be_guarded_by_all_kinds() -> None:
    plan = draft_kinds().plan
    schedule = schedule_of(plan, ALL)
    assert [(one.name, one.seen) for one in schedule.watched] == [
        ("errors", ERRORS.base_rate),
        ("revenue", REVENUE.values),
        ("latency", LATENCY.values),
    ]
    assert schedule.weight == pytest.approx(1 / 3)
    assert schedule.steps[-1].min_samples[1:] == (0, 0)
    assert [one.name for one in schedule.guarding(schedule.steps[-1])] == ["errors"]
    for metric, harm in (("revenue", "÷1.1 in revenue"), ("latency", "×1.1 in latency")):
        found = forecast_harm(schedule, metric, 1.1)
        assert told(found, plan, harm).startswith(f"This plan rolls {harm} back in ")


def test_a_plan_none_of_whose_metrics_was_measured_foretells_nothing() -> None:
    with pytest.raises(CannotBeProven, match="None of the metrics"):
        schedule_of(draft().plan, [ORDERS])


def test_the_sentence_says_where_when_and_what_was_met() -> None:
    plan = draft().plan
    found = forecast_harm(schedule_of(plan, [ERRORS]), "errors", 2.0)
    sentence = told(found, plan, "×2 in errors")
    assert sentence.startswith("This plan rolls ×2 in errors back in ")
    assert "mostly at 1 %" in sentence
    assert "requests have met it." in sentence


def test_the_sentence_owns_up_to_what_is_missed() -> None:
    reach = Reach(0.05, 0.25)
    blast = BlastRadius(reach, reach, Reach(1000.0, 9000.0), reach, None)
    stages = tuple(StageCatch(0.1 * index, None) for index in range(5))
    found = HarmForecast(0.6, 0.1, 0.3, stages, Minutes(60, 300), blast)
    assert told(found, draft().plan, "×1.2 in errors") == (
        "This plan rolls ×1.2 in errors back in 60 of 100 rollouts, mostly at 100 %, pauses and asks a person in 10, "
        "misses it in 30. It is found after about 60 min (9 of 10 within 5 h), when 5 % (9 of 10 at most 25 %) of "
        "users and 1,000 (9 of 10 at most 9,000) requests have met it."
    )
    nothing = HarmForecast(0.0, 0.0, 1.0, stages, None, None)
    assert "does not catch ×1.01 in errors" in told(nothing, draft().plan, "×1.01 in errors")


def test_a_harmless_plan_has_a_length_and_a_chance_of_being_wrong() -> None:
    chance = Chance(0.04, 0.0123)
    assert harmless(PlanForecast((), Minutes(150, 300), 0.026, chance)) == (
        "Without harm this plan is through after about 2.5 h (9 of 10 within 5 h); in 3 of 100 people are asked. "
        "It rolls back for nothing in about 1.2 of 100 rollouts, in at most 4."
    )
    assert "people are asked" not in harmless(PlanForecast((), Minutes(150, 300), 0.001, chance))
    assert harmless(PlanForecast((), None, 1.0, chance)).startswith("Without harm hardly any rollout is proven in all")


def test_the_plan_s_notes_count_the_burn_in() -> None:
    made = draft()
    rail = made.plan.stages[0].exposure.percent / 100
    caught = catch_in_stage(
        schedule_of(made.plan, [ERRORS]).watched[0].traffic(rail), ERRORS.direction, 2.0, burn_in=10, check_every=0.25
    )
    [note] = [note for note in made.notes if "having met about" in note]
    assert f"{caught.requests.median:,.0f} requests" in note
    assert "the burn-in of 10 min among it" in note


def test_a_plan_says_what_it_does_as_a_whole() -> None:
    sentence = as_a_whole(draft(ERRORS, ORDERS).plan, [ERRORS, ORDERS])
    assert sentence is not None
    found = re.fullmatch(
        r"As a whole: without harm it is through after about ([\d.]+) h, and rolled back for nothing in about "
        r"([\d.]+) of 100 rollouts; a harm as large as its margin is missed in fewer than 1 of 100\.",
        sentence,
    )
    assert found
    precisely = forecast(schedule_of(draft(ERRORS, ORDERS).plan, [ERRORS, ORDERS]))
    assert precisely.whole is not None
    assert float(found[1]) * 60 == pytest.approx(precisely.whole.median, rel=0.05)
    assert float(found[2]) / 100 == pytest.approx(precisely.false_rollback.expected, abs=0.001)


def test_what_the_stages_are_too_short_for_is_owned_up_to() -> None:
    short = [stage.model_copy(update={"time_limit": stage.bake}) for stage in draft().plan.stages]
    hurried = draft().plan.model_copy(update={"stages": tuple(short)})
    assert "without harm it is hardly ever proven in all stages" in str(as_a_whole(hurried, [ERRORS]))
    # Nobody is left to compare a mean with.
    alone = draft_kinds().plan.stages[-1]
    unseen = alone.model_copy(update={"guardrails": draft_kinds().plan.stages[0].guardrails})
    everyone = draft_kinds().plan.model_copy(update={"stages": (unseen,)})
    assert "is missed in about 100 of 100 (most often in revenue)." in str(as_a_whole(everyone, [REVENUE]))


def test_a_harm_is_no_larger_than_can_be_and_what_was_not_measured_foretells_nothing() -> None:
    common = replace(ERRORS, base_rate=0.9)
    assert "a harm as large as its margin is missed" in str(as_a_whole(draft().plan, [common]))
    assert as_a_whole(draft().plan, [ORDERS]) is None
    silent = replace(ERRORS, requests_per_minute=0.0)
    assert str(as_a_whole(draft().plan, [silent])).startswith("What the plan does as a whole can't be foretold: ")
