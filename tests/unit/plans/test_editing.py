"""A plan as a table: what is touched is sized anew, what is wrong is said at its row, and what is too short is said."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.plans.test_planner import ERRORS, ORDERS, draft
from tests.unit.rollouts.world import POLICY
from tools.plans.defaults import PlanningDefaults
from tools.plans.editing import Edited, Row, edit_plan, rows_of
from tools.plans.model import Facet, Mode, Plan, Source, Strategy
from tools.plans.revision import Changes, revise_plan
from tools.plans.sizing import Baseline
from tools.plans.validation import check_plan

USUAL = draft(ERRORS, ORDERS).plan
SHADOW = draft(strategy=Strategy.SHADOW).plan
FULL = draft(strategy=Strategy.FULL).plan
MINUTES, HOURS = timedelta(minutes=1), timedelta(hours=1)
WORDS = "slower in the first week"
NO_MARGINS: Mapping[str, float] = {}


def check(plan: Plan) -> None:
    check_plan(plan, POLICY, granularity=0.001, audiences=True, shadow=True)


def edited(
    rows: Sequence[Row],
    plan: Plan = USUAL,
    *,
    margins: Mapping[str, float] = NO_MARGINS,
    measured: Sequence[Baseline] = (ERRORS, ORDERS),
    in_force: int | None = None,
) -> Edited:
    return edit_plan(plan, rows, margins, measured, POLICY, PlanningDefaults(), check, words=WORDS, in_force=in_force)


def changed(number: int, plan: Plan = USUAL, **values: object) -> list[Row]:
    rows = list(rows_of(plan))
    rows[number] = replace(rows[number], **values)  # type: ignore[arg-type]
    return rows


def faults(found: Edited) -> dict[int, str]:
    return {number: " ".join(row.faults) for number, row in enumerate(found.rows, start=1) if row.faults}


@pytest.mark.parametrize("plan", [USUAL, SHADOW, FULL])
def test_what_nobody_touched_is_the_same_plan(plan: Plan) -> None:
    found = edited(rows_of(plan), plan)
    assert tuple(row.stage for row in found.rows) == plan.stages
    assert found.unchanged is not None
    assert found.draft is None


def test_a_row_that_was_touched_is_sized_as_when_somebody_asks_in_words() -> None:
    found = edited(changed(0, percent=2.0))
    asked = revise_plan(USUAL, Changes(start_at=2), (ERRORS, ORDERS), POLICY, PlanningDefaults(), words=WORDS)
    assert found.draft is not None
    assert found.draft.plan == asked.plan
    assert found.draft.notes == asked.notes


def test_a_new_row_takes_after_the_one_before_it() -> None:
    rows = list(rows_of(USUAL))
    found = edited([rows[0], Row(None, 3.0, Mode.LIVE, 30 * MINUTES, None), *rows[1:]])
    assert found.draft is not None
    put_in = found.draft.plan.stages[1]
    assert (str(put_in.exposure), put_in.bake) == ("3 %", 30 * MINUTES)
    assert [rail.metric for rail in put_in.guardrails] == ["errors", "orders"]
    assert found.draft.plan.stages[2:] == USUAL.stages[1:]


def test_a_limit_of_somebodys_own_is_kept_and_said_to_be_theirs() -> None:
    found = edited(changed(0, limit=30 * HOURS))
    assert found.draft is not None
    first = found.draft.plan.stages[0]
    assert first.time_limit == 30 * HOURS
    assert [basis.source for basis in first.basis if basis.of is Facet.LIMIT] == [Source.PERSON]
    assert rows_of(found.draft.plan)[0].limit == 30 * HOURS
    assert rows_of(USUAL)[0].limit is None


def test_a_stage_that_is_too_short_is_said_to_be_and_may_be_sent() -> None:
    found = edited(changed(0, limit=30 * MINUTES))
    assert [row.is_too_short for row in found.rows] == [True, False, False, False, False]
    assert found.rows[0].needed is not None
    assert found.rows[0].needed > 30 * MINUTES
    assert found.draft is not None
    assert found.draft.notes[0].startswith("Stage 1 is not likely to be proven within its 30 min: errors needs ")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (changed(1, percent=0.0), {2: "Enter a percentage above 0, and at most 100."}),
        (changed(1, percent=None), {2: "Enter a percentage above 0, and at most 100."}),
        (changed(1, percent=30.0), {3: "25 % comes after 30 %: each stage must expose more than the one before."}),
        (changed(0, hold=timedelta(days=15)), {1: "A stage takes at most 14 d."}),
        (
            changed(0, hold=2 * HOURS, limit=HOURS),
            {1: "the time limit is shorter than the bake time; make it at least as long."},
        ),
        (
            changed(0, percent=4.0005),
            {1: "4.0005 % is finer than the flag service can serve; use multiples of 0.001 %."},
        ),
    ],
)
def test_what_is_wrong_is_said_at_its_row(rows: list[Row], said: dict[int, str]) -> None:
    found = edited(rows)
    assert faults(found) == said
    assert found.draft is None


def test_the_first_live_stage_is_held_to_policy_at_its_own_row() -> None:
    found = edited(changed(1, SHADOW, percent=30.0), SHADOW)
    assert faults(found)[2].startswith("The first live stage is 30 %; policy allows at most")


def test_the_strategy_follows_from_the_rows() -> None:
    found = edited(changed(0, mode=Mode.SHADOW))
    assert found.draft is not None
    assert found.draft.plan.strategy is Strategy.SHADOW
    without_shadow = edited(rows_of(SHADOW)[1:], SHADOW)
    assert without_shadow.draft is not None
    assert without_shadow.draft.plan.strategy is Strategy.CANARY


def test_another_margin_sizes_every_stage_anew() -> None:
    found = edited(rows_of(USUAL), margins={"errors": 1.5})
    assert found.draft is not None
    assert {rail.margin for stage in found.draft.plan.stages for rail in stage.guardrails} == {1.5}
    assert found.rows[0].needed is not None
    assert found.draft.plan.stages[0].guardrails[0].min_sample > USUAL.stages[0].guardrails[0].min_sample
    assert edited(rows_of(USUAL), margins={"errors": 90.0}).faults == (
        f"Policy allows a margin of at most ×{POLICY.loosest_margin:g}, so errors can't have ×90.",
    )


def test_a_silent_metric_keeps_nobody_from_holding_longer_but_from_new_shares() -> None:
    longer = edited(changed(0, hold=2 * HOURS), measured=(ERRORS,))
    assert longer.draft is not None
    assert (longer.rows[0].needed, longer.usual) == (None, None)
    larger = edited(changed(0, percent=2.0), measured=(ERRORS,))
    assert faults(larger) == {1: "Nothing was measured of orders lately, so no stage can be sized with it."}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (changed(1, percent=4.0), {2: "Stage 2 is in force at 5 %, and would be at 4 %."}),
        (changed(2, percent=26.0), {3: "Stage 3 would be at 26 %; 25 % was approved for that step."}),
        (changed(2, hold=MINUTES), {3: "Stage 3 would be held for a shorter time."}),
    ],
)
def test_a_running_plan_can_only_become_more_cautious(rows: list[Row], said: dict[int, str]) -> None:
    found = edited(rows, in_force=1)
    assert {number: text.split(" While ")[0] for number, text in faults(found).items()} == said
    assert edited(changed(1, hold=2 * HOURS), in_force=1).draft is not None


def test_all_stages_together_take_what_each_takes() -> None:
    found = edited(changed(0, percent=2.0))
    assert found.usual is not None
    assert found.longest is not None
    assert found.usual >= sum((row.stage.bake for row in found.rows if row.stage is not None), timedelta())
    assert found.longest > found.usual


@pytest.mark.parametrize("rows", [(), rows_of(USUAL) * 5])
def test_no_stage_and_too_many_are_no_plan(rows: Sequence[Row]) -> None:
    found = edited(rows)
    assert found.draft is None
    assert len(found.faults) == 1
