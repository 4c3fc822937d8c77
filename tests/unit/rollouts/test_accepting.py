"""An approver accepts what a gate finds of a metric: it holds nothing, and everything else counts as ever."""

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.rollouts.gatehouse import Gatehouse, assignments, rate, stage_of
from tools.gates import Direction, Harm, NoData, Outcome
from tools.plans.model import Guardrail, OnFail
from tools.records.models import Acceptance
from tools.rollouts import checks, decisions

ERRORS, CLICKS = "errors", "clicks"
RAIL = Guardrail(metric=ERRORS, margin=2.0, min_sample=50)
OTHER = Guardrail(metric=CLICKS, direction=Direction.DECREASE, margin=1.25, min_sample=50)
FINE = {ERRORS: ((1000, 20), (1000, 20))}
WORSE = {ERRORS: ((1000, 20), (1000, 50))}
"""2.5 times control's: proven harmful within minutes, and not far worse."""
FAR = {ERRORS: ((1000, 20), (1000, 160))}


def house(*rails: Guardrail, **definition: Any) -> Gatehouse:
    metrics = [rate(rail.metric, **(definition if rail.metric == ERRORS else {})) for rail in rails or (RAIL,)]
    return Gatehouse.of(metrics, *(stage_of(percent, *(rails or (RAIL,)), bake=60) for percent in (50, 80)))


def accept(house: Gatehouse, metric: str = ERRORS, *, hours: float = 24, **changes: Any) -> Acceptance:
    row = Acceptance(
        id=f"a{len(house.acceptances)}",
        metric=metric,
        margin=2.0,
        direction="increase",
        made_by="UJONAS",
        made_at=house.at,
        until=house.at + timedelta(hours=hours),
    )
    for name, value in changes.items():
        setattr(row, name, value)
    house.acceptances.append(row)
    return row


async def test_what_is_accepted_neither_rolls_back_nor_pauses_nor_holds() -> None:
    gate = house()
    accept(gate)
    found = await gate.looks(20, WORSE)
    assert (found.by_guardrail[0].outcome, found.by_guardrail[0].harm) == (Outcome.FAIL, Harm.PROVEN)
    assert (found.counted[0].outcome, found.counted[0].harm) == (Outcome.PASS, Harm.NONE)
    assert found.verdict.why.startswith("Accepted until 02 Mar 2026 12:00 UTC, so this holds nothing. Proven harmful:")
    assert isinstance(gate.action(found), decisions.Promote)
    assert gate.row is not None
    assert checks.harm_by_metric(gate.row) == {}


async def test_it_holds_at_later_stages_too_whose_bake_time_and_sample_still_count() -> None:
    gate = house()
    accept(gate)
    await gate.looks(20, WORSE)
    gate.enter(1)
    found = await gate.look(WORSE, seconds=30)
    assert (found.verdict.outcome, "bake time" in found.verdict.why) == (Outcome.INCONCLUSIVE, True)
    few = await gate.look({ERRORS: ((1000, 20), (10, 1))}, seconds=5)
    assert few.verdict.outcome is Outcome.INCONCLUSIVE
    found = await gate.looks(3, WORSE)
    assert (found.verdict.outcome, found.by_guardrail[0].harm) == (Outcome.PASS, Harm.PROVEN)


async def test_a_missing_proof_is_accepted_too() -> None:
    gate = house(RAIL, OTHER)
    same = {ERRORS: ((1000, 20), (1000, 40)), CLICKS: ((1000, 300), (1000, 300))}
    accept(gate)
    found = await gate.looks(8, same)
    assert found.by_guardrail[0].outcome is not Outcome.PASS
    assert found.by_guardrail[1].outcome is Outcome.PASS
    assert found.verdict.outcome is Outcome.PASS
    assert "accepted" in found.verdict.why.lower()


@pytest.mark.parametrize("accepted", [False, True])
async def test_the_evidence_is_the_same_with_and_without_it(accepted: bool) -> None:
    plain, gate = house(), house()
    if accepted:
        accept(gate)
    for numbers in (FINE, WORSE, WORSE, FAR, FINE, {}, WORSE):
        without, found = await plain.look(numbers), await gate.look(numbers)
        assert found.by_guardrail == without.by_guardrail
        kept = {
            key: {name: value for name, value in one.items() if name != "far"} for key, one in found.evidence.items()
        }
        assert kept == without.evidence


@pytest.mark.parametrize(
    "changes",
    [
        {"until": None},
        {"margin": 1.5},
        {"direction": "decrease"},
        {"metric": CLICKS},
    ],
)
async def test_one_that_is_over_or_about_something_else_does_not_count(changes: dict[str, Any]) -> None:
    gate = house()
    row = accept(gate)
    if "until" in changes:
        changes = {"until": row.made_at + timedelta(minutes=5)}
    for name, value in changes.items():
        setattr(row, name, value)
    found = await gate.looks(20, WORSE)
    assert found.counted == found.by_guardrail
    assert isinstance(gate.action(found), decisions.RollBack)


async def test_everything_counts_again_at_the_first_check_after_it() -> None:
    gate = house()
    accept(gate, hours=0.5)
    found = await gate.looks(29, WORSE)
    assert isinstance(gate.action(found), decisions.Promote)
    found = await gate.look(WORSE)
    action = gate.action(found)
    assert isinstance(action, decisions.RollBack)
    assert "far" not in found.evidence["errors:live"]


async def test_far_worse_rolls_back_all_the_same_and_says_so() -> None:
    gate = house()
    accept(gate)
    await gate.looks(5, WORSE)
    for _ in range(10):
        found = await gate.look(FAR)
        if isinstance(action := gate.action(found), decisions.RollBack):
            break
    assert isinstance(action, decisions.RollBack)
    assert "Far worse than what was accepted, by more than ×4" in action.reason


async def test_far_worse_is_not_cried_for_what_was_accepted() -> None:
    gate = house()
    accept(gate)
    for _ in range(120):
        found = await gate.look({ERRORS: ((1000, 20), (1000, 70))})
        assert found.counted[0].harm is Harm.NONE


async def test_blindness_is_never_accepted() -> None:
    gate = house()
    accept(gate)
    await gate.looks(20, WORSE)
    found = await gate.looks(5, {})
    assert found.by_guardrail[0].outcome is Outcome.FAIL
    assert (found.verdict.outcome, found.verdict.harm) == (Outcome.NO_DATA, Harm.NONE)
    assert found.verdict.no_data is NoData.STALE or found.verdict.no_data is not None
    action = gate.action(found, blind_since=gate.at - gate.plan.blind_budget)
    assert isinstance(action, decisions.RollBack)
    assert "Blind for" in action.reason


async def test_the_other_guardrails_roll_back_as_ever() -> None:
    gate = house(RAIL, OTHER)
    accept(gate)
    found = await gate.looks(20, {**WORSE, CLICKS: ((1000, 300), (1000, 200))})
    action = gate.action(found)
    assert isinstance(action, decisions.RollBack)
    assert action.reason.startswith(f"{CLICKS}: Proven harmful")


async def test_what_is_accepted_adds_nothing_to_what_all_show_together() -> None:
    gate = house(RAIL, OTHER)
    accept(gate)
    found = await gate.looks(20, {**WORSE, CLICKS: ((1000, 300), (1000, 290))})
    assert found.by_guardrail[0].harm_e > 1000
    assert found.verdict.harm is Harm.NONE


async def test_a_guardrail_that_only_pauses_pauses_for_far_worse() -> None:
    gate = house(RAIL.model_copy(update={"on_fail": OnFail.PAUSE}))
    accept(gate)
    found = await gate.looks(15, FAR)
    assert isinstance(gate.action(found), decisions.Pause)


async def test_a_fast_burn_of_the_error_budget_rolls_back_all_the_same() -> None:
    gate = house(objective=0.002)
    accept(gate)
    found = await gate.looks(20, {ERRORS: ((1000, 20), (1000, 60))})
    action = gate.action(found)
    assert isinstance(action, decisions.RollBack)
    assert "error budget" in action.reason


async def test_a_mismatch_of_assignments_is_accepted_too() -> None:
    split = Guardrail(metric="split", of_split=True)
    stages = [stage_of(50, RAIL, split)]
    gate = Gatehouse.of([rate(ERRORS), assignments()], *stages)
    counts = {**FINE, "split": (1000, 700)}
    found = await gate.looks(10, counts)
    assert isinstance(gate.action(found), decisions.Pause)
    accept(gate, "split")
    found = await gate.looks(2, counts)
    assert found.by_guardrail[1].harm is Harm.SUSPECTED
    assert isinstance(gate.action(found), decisions.Promote)
    await gate.looks(1, FINE)


async def test_while_burning_in_it_changes_nothing() -> None:
    gate = Gatehouse.of([rate(ERRORS)], stage_of(50, RAIL), burn_in=timedelta(minutes=10))
    accept(gate)
    found = await gate.looks(5, {ERRORS: ((1000, 20), (1000, 600))})
    assert found.counted == found.by_guardrail
    assert isinstance(gate.action(found), decisions.RollBack)
