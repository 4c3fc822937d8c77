"""A plan that can't be carried out is refused with sentences that say what to change."""

from datetime import timedelta

import pytest

from tests.unit.rollouts.world import POLICY, RAIL, make_plan, stage
from tools.plans.model import Audience, Exposure, Guardrail, Mode, Plan, Stage, Strategy
from tools.plans.validation import InvalidPlan, check_plan


def problems(
    plan: Plan,
    *,
    granularity: float = 0.001,
    audiences: bool = True,
    shadow: bool = True,
    delay: timedelta = timedelta(0),
) -> str:
    try:
        check_plan(plan, POLICY, granularity=granularity, audiences=audiences, shadow=shadow, delay=delay)
    except InvalidPlan as error:
        return " ".join(error.problems)
    return ""


def shadow(percent: float) -> Stage:
    return stage(5).model_copy(update={"exposure": Exposure(percent=percent, mode=Mode.SHADOW)})


def test_a_sound_plan_is_accepted() -> None:
    assert problems(make_plan()) == ""
    assert problems(make_plan(shadow(50), stage(5), stage(100), strategy=Strategy.SHADOW)) == ""


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (make_plan(treatment="old"), "two variants"),
        (make_plan(check_every=timedelta(0)), "more than 0 s"),
        (make_plan(stale_after=timedelta(seconds=1)), "stale before the next check"),
        (make_plan(stage(5), stage(5)), "must expose more"),
        (make_plan(stage(5), shadow(50), strategy=Strategy.SHADOW), "shadow stages come before live"),
        (make_plan(strategy=Strategy.SHADOW), "starts with a shadow stage"),
        (make_plan(shadow(5), stage(10)), "canary plan has no shadow stages"),
        (make_plan(stage(5, rail=RAIL.model_copy(update={"margin": 1.0005}))), "gates tell apart ×1.001 or more"),
        (make_plan(strategy=Strategy.FULL), "A full plan has one stage"),
        (make_plan(stage(100), strategy=Strategy.FULL), "give each guardrail a ceiling"),
        (make_plan(stage(5, bake=60, limit=10)), "shorter than the bake time"),
        (make_plan(stage(5, bake=0, limit=0)), "time limit must be more than 0 s"),
        (make_plan(stage(0)), "more than 0 %"),
        (make_plan(stage(5).model_copy(update={"guardrails": (RAIL, RAIL)})), "guarded twice"),
        (make_plan(stage(20)), "policy allows at most 10 %"),
        (make_plan(stage(5, rail=Guardrail(metric="errors", margin=9))), "policy allows at most ×3"),
    ],
)
def test_each_fault_has_its_sentence(plan: Plan, sentence: str) -> None:
    assert sentence in problems(plan)


def test_what_the_flag_service_cannot_do_is_said_before_the_start() -> None:
    assert "multiples of 1 %" in problems(make_plan(stage(2.5)), granularity=1)
    narrow = stage(5).model_copy(update={"exposure": Exposure(percent=5, audience=Audience(regions=("eu",)))})
    assert "audience" in problems(make_plan(narrow), audiences=False)
    assert "shadow variant" in problems(make_plan(shadow(5), strategy=Strategy.SHADOW), shadow=False)
    short = stage(5).model_copy(update={"bake": timedelta(seconds=10)})
    said = problems(make_plan(short), delay=timedelta(seconds=15))
    assert "Stage 1: services take up to 15 s to see a change; bake at least that long." in said
    assert not problems(make_plan(short), delay=timedelta(seconds=10))


def test_a_full_plan_with_a_ceiling_is_accepted_and_free_environments_have_no_limits() -> None:
    rail = Guardrail(metric="errors", ceiling=0.02)
    assert problems(make_plan(stage(100, rail=rail), strategy=Strategy.FULL)) == ""
    assert problems(make_plan(stage(60), environment="development")) == ""


def test_the_message_names_every_fault_at_once() -> None:
    found = problems(make_plan(stage(0), treatment="old"))
    assert "two variants" in found
    assert "Stage 1" in found
