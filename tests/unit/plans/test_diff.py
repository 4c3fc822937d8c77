"""What differs between two plans can be read, and nothing that differs is left out."""

from datetime import timedelta

import pytest

from tests.unit.rollouts.world import RAIL, make_plan, stage
from tools.gates import Direction
from tools.plans.diff import differences
from tools.plans.model import Exposure, Guardrail, OnFail, OnNoData, Strategy

PLAN = make_plan()
ORDERS = Guardrail(metric="orders", direction=Direction.DECREASE, margin=1.5)


def test_plans_that_demand_the_same_differ_in_nothing() -> None:
    assert differences(PLAN, make_plan(rationale=("for another reason",))) == ()


def test_a_stage_and_a_hold_are_told_as_people_would() -> None:
    after = make_plan(
        *(one.model_copy(update={"bake": timedelta(hours=2)}) for one in (stage(2), stage(25), stage(100)))
    )
    assert differences(PLAN, after) == ("Stage 1: 5 % → 2 %", "hold 60 s → 2 h in every stage")


def test_times_that_round_alike_are_told_exactly() -> None:
    before = make_plan(stage(5, limit=36_000), stage(100))
    after = make_plan(stage(5, limit=37_200), stage(100))
    assert differences(before, after) == ("time limit 10 h → 10 h 20 min in stage 1",)


def test_a_change_of_some_stages_names_them() -> None:
    after = make_plan(stage(5), stage(25, bake=120), stage(100, bake=120))
    assert differences(PLAN, after) == ("hold 60 s → 2 min in stages 2, 3",)


def test_other_stages_are_told_in_one_line_and_the_kept_ones_still_compared() -> None:
    after = make_plan(stage(5), stage(10), stage(25, limit=7200), stage(100))
    assert differences(PLAN, after) == (
        "Stages: 5 %, then 25 %, then 100 % → 5 %, then 10 %, then 25 %, then 100 %",
        "time limit 60 min → 2 h in stage 3",
    )


def test_guardrails_that_come_go_and_change() -> None:
    stricter = RAIL.model_copy(update={"margin": 1.5, "min_sample": 5000, "on_fail": OnFail.PAUSE})
    after = make_plan(
        *(stage(percent).model_copy(update={"guardrails": (stricter, ORDERS)}) for percent in (5, 25, 100))
    )
    assert differences(PLAN, after) == (
        "+ orders: must stay above control ÷ 1.5",
        "checkout_errors: margin ×2 → ×1.5 in every stage",
        "checkout_errors: sample 50 → 5,000 in every stage",
        "checkout_errors: on harm roll back → pause in every stage",
    )
    assert "− orders: guards no more" in differences(after, PLAN)


@pytest.mark.parametrize(
    "changes",
    [
        {"flag": "other"},
        {"environment": "staging"},
        {"control": "was"},
        {"treatment": "is"},
        {"strategy": Strategy.FULL},
        {"tags": ("regulated",)},
        {"depends_on": ("cart",)},
        {"burn_in": timedelta(minutes=1)},
        {"stale_after": timedelta(minutes=3)},
        {"blind_budget": timedelta(minutes=9)},
        {"check_every": timedelta(seconds=20)},
        {"spec_author": "UMIRA"},
        {"spec_sha256": "0" * 64},
        {"stages": (stage(5), stage(25))},
        {"stages": (stage(5), stage(25), stage(100, rail=ORDERS))},
        {"stages": (stage(5), stage(25), stage(100).model_copy(update={"exposure": Exposure(percent=99)}))},
        {"stages": (stage(5), stage(25), stage(100, rail=RAIL.model_copy(update={"ceiling": 0.1})))},
        {"stages": (stage(5), stage(25), stage(100, rail=RAIL.model_copy(update={"dispersion": 2.0})))},
        {"stages": (stage(5), stage(25), stage(100, rail=RAIL.model_copy(update={"on_no_data": OnNoData.PAUSE})))},
    ],
)
def test_nothing_that_differs_is_left_out(changes: dict[str, object]) -> None:
    assert differences(PLAN, make_plan(**changes))
