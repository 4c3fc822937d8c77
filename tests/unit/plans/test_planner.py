"""The calculators' planner: stages and lengths follow from traffic, base rate, harm and risk."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tests.unit.gates.rollouts import watch_everyone
from tests.unit.rollouts.world import POLICY
from tools.gates import Direction
from tools.gates.amounts import Latencies
from tools.gates.courses import Ending
from tools.gates.schedule import Step, Watched
from tools.plans.defaults import PlanningDefaults
from tools.plans.forecasting import as_a_whole
from tools.plans.model import Audience, Mode, Strategy
from tools.plans.planner import Baseline, CannotBeProven, Draft, Feature, draft_plan
from tools.plans.sizing import Rail
from tools.plans.validation import check_plan

FEATURE = Feature("new-checkout", "production", "old", "new", (), (), None, None, Audience())
ERRORS = Baseline("errors", Direction.INCREASE, 6000, 0.005, 1.0, None)
ORDERS = Baseline("orders", Direction.DECREASE, 6000, 0.03, 1.0, 1.5)


def draft(*baselines: Baseline, tags: tuple[str, ...] = (), strategy: Strategy | None = None) -> Draft:
    made = draft_plan(replace(FEATURE, tags=tags), baselines or (ERRORS,), POLICY, PlanningDefaults(), strategy)
    check_plan(made.plan, POLICY, granularity=0.001, audiences=True, shadow=True)
    return made


def percents(made: Draft) -> list[float]:
    return [stage.exposure.percent for stage in made.plan.stages]


def test_much_traffic_starts_small_and_ends_with_everyone() -> None:
    made = draft()
    assert percents(made) == [1, 5, 25, 50, 100]
    assert made.plan.strategy is Strategy.CANARY


def test_little_traffic_starts_larger_and_takes_longer() -> None:
    busy, quiet = draft(), draft(replace(ERRORS, requests_per_minute=300))
    assert percents(quiet)[0] > percents(busy)[0]
    limits = [{stage.exposure.percent: stage.time_limit for stage in made.plan.stages} for made in (busy, quiet)]
    assert limits[1][25] > limits[0][25]


def test_too_little_traffic_is_said_before_the_start_with_what_would_help() -> None:
    made = draft(replace(ERRORS, requests_per_minute=30))
    assert any("can't be proven with this traffic" in note for note in made.notes)
    with pytest.raises(CannotBeProven, match="proves nothing"):
        draft(replace(ERRORS, requests_per_minute=1))


def test_risk_takes_smaller_steps_stricter_margins_and_longer_bakes() -> None:
    usual, risky = draft(), draft(tags=("revenue-critical",))
    assert risky.plan.stages[0].guardrails[0].margin < usual.plan.stages[0].guardrails[0].margin
    assert risky.plan.stages[0].bake > usual.plan.stages[0].bake
    assert percents(risky)[0] <= percents(usual)[0]


def test_the_margin_of_the_spec_holds_as_far_as_policy_allows() -> None:
    assert draft(replace(ERRORS, margin=1.7)).plan.stages[0].guardrails[0].margin == 1.7
    assert draft(replace(ERRORS, margin=50)).plan.stages[0].guardrails[0].margin == POLICY.loosest_margin


def test_bursts_take_longer() -> None:
    calm, bursty = draft(), draft(replace(ERRORS, dispersion=3.0))
    assert bursty.plan.stages[-2].time_limit >= calm.plan.stages[-2].time_limit
    assert bursty.plan.stages[0].guardrails[0].dispersion == 3.0


def test_every_metric_guards_every_stage_and_the_slowest_sets_the_length() -> None:
    made = draft(ERRORS, ORDERS)
    for stage in made.plan.stages:
        assert [rail.metric for rail in stage.guardrails] == ["errors", "orders"]
        assert stage.time_limit >= stage.bake > timedelta(0)


def test_a_shadow_plan_starts_in_shadow_and_then_goes_live() -> None:
    made = draft(strategy=Strategy.SHADOW)
    assert [stage.exposure.mode for stage in made.plan.stages][:2] == [Mode.SHADOW, Mode.LIVE]


def test_a_full_plan_has_a_ceiling_and_says_that_everyone_is_exposed() -> None:
    made = draft(ORDERS, strategy=Strategy.FULL)
    assert percents(made) == [100]
    assert made.plan.stages[0].guardrails[0].ceiling == pytest.approx(0.02)
    assert any("Everyone is exposed at once" in note for note in made.notes)


def test_the_notes_say_what_a_harm_would_touch() -> None:
    assert any("having met about" in note for note in draft().notes)
    assert "6,000 requests/min" in draft().plan.rationale[0]


def test_nothing_to_guard_with_is_refused() -> None:
    with pytest.raises(CannotBeProven, match="No metric guards"):
        draft_plan(FEATURE, (), POLICY, PlanningDefaults())


def test_a_first_stage_is_made_where_no_candidate_is_small_enough() -> None:
    made = draft_plan(FEATURE, (ERRORS,), POLICY, PlanningDefaults(stages=(50, 100)))
    assert percents(made)[0] == POLICY.largest_first_exposure


@pytest.mark.parametrize(
    ("baseline", "margin"),
    [
        (replace(ERRORS, requests_per_minute=200), 2.0),
        (replace(ERRORS, requests_per_minute=600), 1.5),
        (replace(ORDERS, requests_per_minute=400), 1.25),
    ],
)
def test_the_time_to_prove_everyone_safe_is_what_rollouts_take(baseline: Baseline, margin: float) -> None:
    """Nine of ten simulated rollouts at 100 %, within a quarter."""
    assert baseline.base_rate is not None
    minutes = Rail(baseline, margin, ()).watch() / timedelta(minutes=1)
    one = Watched(baseline.metric, baseline.direction, margin, baseline.requests_per_minute, baseline.base_rate)
    seen = watch_everyone(one, Step(1.0, 1, 4 * minutes), 1.0, 150, seed=71)
    assert (seen.ending == Ending.PROMOTED).mean() > 0.95
    assert np.quantile(seen.lengths[:, 0], 0.9) == pytest.approx(minutes, rel=0.25)


def test_a_metric_too_bursty_for_any_stage_is_refused_in_a_sentence() -> None:
    assert draft(replace(ERRORS, requests_per_minute=1e7, dispersion=1000.0), strategy=Strategy.FULL)
    for strategy in (Strategy.CANARY, Strategy.SHADOW, Strategy.FULL):
        with pytest.raises(CannotBeProven, match=r"errors comes in bursts of φ = 3,275, .* beyond φ = 1,000\. Count"):
            draft(replace(ERRORS, dispersion=3274.9), strategy=strategy)


@pytest.mark.parametrize(("rate", "ceiling"), [(2e-7, 4e-7), (3.614456e-9, 7.22891e-9), (0.0123456789, 0.0246914)])
def test_the_ceiling_of_a_rare_event_is_not_rounded_to_nothing(rate: float, ceiling: float) -> None:
    made = draft(replace(ERRORS, base_rate=rate), strategy=Strategy.FULL)
    assert made.plan.stages[0].guardrails[0].ceiling == pytest.approx(ceiling, rel=1e-9)


@pytest.mark.parametrize(("pace", "rate"), [(0.001, 1e-9), (0.001, 1e-320), (2.0, 1e-4)])
def test_what_no_stage_can_prove_once_everyone_is_exposed_is_said(pace: float, rate: float) -> None:
    seldom = replace(ERRORS, requests_per_minute=pace, base_rate=rate)
    made = draft(seldom, strategy=Strategy.FULL)
    assert any("At 100 % errors can't be proven in any stage's length" in note for note in made.notes)
    assert any("then a person is asked" in basis.text for basis in made.plan.stages[0].basis)
    assert not any("any stage's length" in note for note in draft(ERRORS, strategy=Strategy.FULL).notes)


UNTOLD = "How long slow takes at 50 % can't be foretold"
HALVES = PlanningDefaults(stages=(50,))


def latencies(pace: float) -> Baseline:
    seen = Latencies((0.1, 0.25, 0.5, 1.0), (400, 300, 200, 90, 10), 300.0, 150.0)
    return Baseline("slow", Direction.INCREASE, pace, None, 1.0, 1.5, values=seen)


def by_halves(pace: float) -> Draft:
    return draft_plan(FEATURE, (latencies(pace),), POLICY.model_copy(update={"largest_first_exposure": 50.0}), HALVES)


def test_times_of_latencies_are_not_foretold_of_hardly_any_traffic() -> None:
    assert latencies(30.0).why_untold(5) is None
    assert latencies(29.0).why_untold(5) is not None
    assert latencies(29.0).why_untold(96) is not None
    assert latencies(0.001).why_untold(100) is None
    made = by_halves(2.9)
    assert any(UNTOLD in note for note in made.notes)
    assert not any("is caught after" in note for note in made.notes)
    assert all(any(UNTOLD in basis.text for basis in stage.basis) for stage in made.plan.stages)
    assert UNTOLD in str(as_a_whole(made.plan, [latencies(2.9)]))


@pytest.mark.parametrize("pace", [0.001, 0.2])
def test_a_plan_that_latencies_of_hardly_any_traffic_prove_nothing_for_is_refused(pace: float) -> None:
    with pytest.raises(CannotBeProven, match=f"proves nothing.*{UNTOLD}"):
        by_halves(pace)
