"""While a rollout runs its plan may become slower, smaller and better guarded, and nothing else."""

from datetime import timedelta

import pytest

from tests.unit.rollouts.world import RAIL, make_plan, stage
from tools.gates import Direction
from tools.plans.caution import NotMoreCautious, check_caution
from tools.plans.model import (
    Audience,
    Basis,
    Expected,
    Exposure,
    Facet,
    Guardrail,
    Mode,
    OnFail,
    Plan,
    Source,
    Stage,
    Strategy,
)

RUNNING = make_plan(stage(5), stage(25), stage(50), stage(100))
ORDERS = Guardrail(metric="orders", direction=Direction.DECREASE, margin=1.5)
EU = Audience(regions=("eu",))


def limited(one: Stage, audience: Audience) -> Stage:
    return one.model_copy(update={"exposure": one.exposure.model_copy(update={"audience": audience})})


def guarded(one: Stage, *rails: Guardrail) -> Stage:
    return one.model_copy(update={"guardrails": rails})


def shadow(percent: float) -> Stage:
    return stage(5).model_copy(update={"exposure": Exposure(percent=percent, mode=Mode.SHADOW)})


@pytest.mark.parametrize(
    ("at", "revised"),
    [
        (0, RUNNING),
        (0, make_plan(stage(5, bake=7200, limit=14_410), stage(25), stage(50), stage(100))),
        (0, make_plan(stage(5), stage(10), stage(25), stage(50), stage(100))),
        (0, make_plan(stage(5), stage(25))),
        (0, make_plan(stage(5))),
        (0, make_plan(stage(5), stage(20), stage(40), stage(60))),
        (0, make_plan(stage(5), limited(stage(25), EU), stage(50), stage(100))),
        (1, make_plan(stage(5), stage(25, limit=60), stage(50), stage(100))),
        (1, make_plan(stage(5), guarded(stage(25), RAIL, ORDERS), guarded(stage(50), RAIL, ORDERS), stage(100))),
        (1, make_plan(stage(5), stage(25, rail=RAIL.model_copy(update={"min_sample": 900})), stage(50))),
        (3, RUNNING),
    ],
)
def test_slower_smaller_and_better_guarded_plans_are_taken(at: int, revised: Plan) -> None:
    check_caution(RUNNING, revised, at)


@pytest.mark.parametrize(
    ("at", "revised", "sentence"),
    [
        (0, make_plan(stage(2), stage(25), stage(50), stage(100)), "in force at 5 %, and would be at 2 %"),
        (0, make_plan(stage(10), stage(25), stage(50), stage(100)), "in force at 5 %, and would be at 10 %"),
        (1, make_plan(stage(2), stage(25), stage(50), stage(100)), "already done would change"),
        (1, make_plan(stage(5)), "Stage 2 is in force and would be gone"),
        (0, make_plan(stage(5, bake=59), stage(25), stage(50), stage(100)), "Stage 1 would be held for a shorter"),
        (0, make_plan(stage(5, limit=9999), stage(25), stage(50), stage(100)), "unproven for longer"),
        (0, make_plan(stage(5), stage(50), stage(100)), "Stage 2 would be at 50 %; 25 % was approved"),
        (0, make_plan(stage(5), stage(10), stage(60)), "Stage 3 would be at 60 %; 50 % was approved"),
        (0, make_plan(stage(5), stage(25, bake=1), stage(50), stage(100)), "Stage 2 would be held for a shorter"),
        (0, make_plan(stage(5), stage(10, bake=1), stage(25), stage(100)), "Stage 2 would be held for a shorter"),
        (0, make_plan(stage(5), stage(25, rail=ORDERS), stage(50), stage(100)), "guard stage 2 no more"),
        (3, make_plan(*RUNNING.stages[:3], guarded(stage(100), RAIL, ORDERS)), "orders has no control"),
        (3, make_plan(*RUNNING.stages, limited(stage(100), EU)), "after the last one that was approved"),
        (0, make_plan(*RUNNING.stages, tags=("harmless",)), "tags would be another"),
        (0, make_plan(*RUNNING.stages, spec_author=None, environment="staging"), "environment would be another"),
        (0, make_plan(*RUNNING.stages, blind_budget=timedelta(hours=1)), "blind budget would be another"),
        (0, make_plan(*RUNNING.stages, strategy=Strategy.FULL), "strategy would be another"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(at: int, revised: Plan, sentence: str) -> None:
    with pytest.raises(NotMoreCautious, match=sentence):
        check_caution(RUNNING, revised, at)


@pytest.mark.parametrize(
    ("update", "sentence"),
    [
        ({"margin": 1.5}, "another margin"),
        ({"margin": 2.5}, "another margin"),
        ({"direction": Direction.DECREASE}, "another margin"),
        ({"on_fail": OnFail.PAUSE}, "another way"),
        ({"ceiling": 0.5}, "another ceiling"),
        ({"min_sample": 49}, "smaller sample"),
    ],
)
@pytest.mark.parametrize("where", [0, 1, 2])
def test_no_guardrail_is_loosened_in_force_or_to_come(where: int, update: dict[str, object], sentence: str) -> None:
    loosened = RAIL.model_copy(update=update)
    stages = [
        stage(one.exposure.percent, rail=loosened if i == where else RAIL) for i, one in enumerate(RUNNING.stages)
    ]
    with pytest.raises(NotMoreCautious, match=sentence):
        check_caution(RUNNING, make_plan(*stages), 0)


def test_a_shadow_stage_is_not_cut_short_and_an_audience_not_widened() -> None:
    running = make_plan(shadow(50), limited(stage(5), EU), stage(100), strategy=Strategy.SHADOW)
    for stages in (
        (shadow(50), stage(5), stage(100)),
        (shadow(50), limited(stage(5), Audience(regions=("eu", "us"))), stage(100)),
        (shadow(50), limited(stage(5), Audience(tenants=("acme",))), stage(100)),
    ):
        with pytest.raises(NotMoreCautious, match="was approved for that step"):
            check_caution(running, make_plan(*stages, strategy=Strategy.SHADOW), 0)
    narrower = limited(stage(5), Audience(regions=("eu",), tenants=("acme",)))
    check_caution(running, make_plan(shadow(50), narrower, stage(100), strategy=Strategy.SHADOW), 0)
    with pytest.raises(NotMoreCautious, match="was approved for that step"):
        check_caution(make_plan(shadow(5), shadow(50), stage(100)), make_plan(shadow(5), stage(20), stage(100)), 0)


def test_what_was_measured_of_a_new_metric_may_be_added_and_nothing_else_of_it_changes() -> None:
    errors = Expected(metric=RAIL.metric, base_rate=0.01, quietest=90, busiest=110)
    orders = Expected(metric="orders", base_rate=None, quietest=90, busiest=110)
    running = RUNNING.model_copy(update={"expected": (errors,)})
    check_caution(running, running.model_copy(update={"expected": (errors, orders)}), 0)
    for changed in ((), (errors.model_copy(update={"busiest": 900}),)):
        with pytest.raises(NotMoreCautious, match="What the plan was made for would be another"):
            check_caution(running, running.model_copy(update={"expected": changed}), 0)


def test_what_a_plan_rests_on_is_no_difference() -> None:
    why = (Basis(source=Source.PERSON, of=Facet.HOLD, text="hold it"),)
    told = tuple(one.model_copy(update={"basis": why}) for one in RUNNING.stages)
    check_caution(RUNNING, make_plan(*told, rationale=("because",)), 2)
