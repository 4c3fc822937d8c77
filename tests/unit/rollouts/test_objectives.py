"""A rate with an objective is judged by the comparison and by how fast treatment spends the error budget."""

import json
import math
from datetime import timedelta

import pytest

from tests.unit.rollouts.gatehouse import Gatehouse, rate, stage_of
from tools.gates import Harm, Outcome
from tools.plans.model import Guardrail, OnFail
from tools.rollouts import checks
from tools.rollouts.decisions import Pause, Promote, RollBack

RAIL = Guardrail(metric="errors", min_sample=50)
WITH, WITHOUT = [rate("errors", objective=0.001)], [rate("errors")]
CALM = ((9500, 9), (500, 0))
# Both arms burn the budget of 0.1 % at ×20.
INCIDENT = ((9500, 190), (500, 10))
# Treatment burns at ×16, control at ×8, of which few requests tell little.
FAST = ((1250, 10), (62, 1))


def gate(definitions: object = WITH, percent: float = 5, rail: Guardrail = RAIL, **changes: object) -> Gatehouse:
    return Gatehouse.of(definitions, stage_of(percent, rail), stage_of(50, rail), **changes)


def budget_of(house: Gatehouse, book: str = "live") -> dict[str, object]:
    found: dict[str, object] = house.rollout.evidence[f"errors:{book}"]["budget"]
    return found


async def first_fail(house: Gatehouse, numbers: object, most: int = 400) -> tuple[int, checks.Assessment]:
    for look in range(1, most + 1):
        found = await house.look({"errors": numbers})
        if found.verdict.outcome is Outcome.FAIL:
            return look, found
    raise AssertionError("never failed")


async def test_while_the_budget_is_kept_the_verdict_says_how_fast_it_is_spent() -> None:
    house = gate()
    found = await house.looks(300, {"errors": ((9500, 5), (500, 0))})
    assert found.verdict.outcome is Outcome.PASS
    assert found.verdict.why.endswith("The error budget of 0.1 % burns at ×0 over 360 min.")
    assert isinstance(house.action(found), Promote)


async def test_a_fast_burn_that_is_treatments_rolls_back_before_the_comparison_alone_would() -> None:
    soon, found = await first_fail(gate(), FAST)
    late, alone = await first_fail(gate(WITHOUT), FAST)
    assert soon < late
    assert found.verdict.harm_e < 50
    assert "The error budget of 0.1 % burns at ×16" in found.verdict.why
    assert "×14.4 or more on both. It rolls back." in found.verdict.why
    assert "budget" not in alone.verdict.why
    house = gate()
    assert isinstance(house.action((await first_fail(house, FAST))[1]), RollBack)


async def test_a_shared_incident_pauses_and_does_not_roll_back() -> None:
    house, actions = gate(), []
    await house.looks(60, {"errors": CALM})
    for _ in range(120):
        found = await house.look({"errors": INCIDENT})
        actions.append(house.action(found))
    assert not any(isinstance(action, RollBack) for action in actions)
    # Until the budget is seen to burn, arms that fail alike are a proof; from then on they are none.
    burning = next(index for index, action in enumerate(actions) if isinstance(action, Pause))
    assert burning <= 30
    assert all(isinstance(action, Pause) for action in actions[burning:])
    assert (found.verdict.outcome, found.verdict.harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
    assert "may be an incident that both arms share" in found.verdict.why


async def test_a_slow_burn_pauses() -> None:
    house, actions = gate(), []
    for _ in range(120):
        found = await house.look({"errors": ((9500, 76), (500, 4))})
        actions.append(house.action(found))
    assert any(isinstance(action, Pause) for action in actions)
    assert not any(isinstance(action, RollBack | Promote) for action in actions)
    assert "×6 or more on both. It pauses." in found.verdict.why


async def test_nothing_is_promoted_while_the_budget_burns() -> None:
    """The comparison has its proof: both arms burn alike."""
    house = gate()
    found = await house.looks(300, {"errors": ((9500, 76), (500, 4))})
    assert found.verdict.safe_e > 20
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    assert isinstance(house.action(found), Pause)


async def test_a_guardrail_that_only_pauses_does_so_for_a_fast_burn_too() -> None:
    house = gate(rail=RAIL.model_copy(update={"on_fail": OnFail.PAUSE}))
    _, found = await first_fail(house, ((5000, 25), (250, 5)))
    assert isinstance(house.action(found), Pause)


async def test_at_100_percent_a_fast_burn_rolls_back_below_the_ceiling_too() -> None:
    rail = RAIL.model_copy(update={"ceiling": 0.1})
    house = Gatehouse.of(WITH, stage_of(100, rail))
    look, found = await first_fail(house, (None, (1000, 20)))
    assert look == 1
    assert found.verdict.harm_e < 20
    assert "It rolls back." in found.verdict.why
    calm = Gatehouse.of(WITH, stage_of(100, rail))
    found = await calm.looks(60, {"errors": (None, (1000, 1))})
    assert found.verdict.outcome is Outcome.PASS
    slow = Gatehouse.of(WITH, stage_of(100, rail))
    found = await slow.looks(60, {"errors": (None, (1000, 8))})
    assert isinstance(slow.action(found), Pause)


async def test_what_comes_while_it_burns_in_spends_nothing() -> None:
    house = gate(burn_in=timedelta(minutes=10))
    found = await house.looks(9, {"errors": ((9500, 9), (500, 10))})
    assert budget_of(house)["recent"] == [[minutes, 0.0, [[0, 0]]] for minutes in (5.0, 30.0, 60.0, 360.0)]
    assert "budget" not in found.verdict.why


async def test_all_that_is_carried_stays_small() -> None:
    house = gate()
    for minutes in range(400):
        await house.look({"errors": ((10**7 + minutes, 10**4), (10**6 + minutes, 10**3 - minutes))})
        house.forget()
    carried = house.rollout.evidence["errors:live"]
    assert len(json.dumps([carried["gate"], carried["budget"]]).encode()) <= 4096


async def test_another_objective_starts_anew_and_is_named() -> None:
    house = gate()
    await house.looks(5, {"errors": CALM})
    house.definitions = [rate("errors", objective=0.01)]
    found = await house.look({"errors": CALM})
    assert found.verdict.why.endswith("What its error budget was spent on before is not counted.")
    assert budget_of(house)["allowed"] == 0.01
    assert found.verdict.treatment_n == 6 * 500


async def test_an_objective_that_comes_and_goes() -> None:
    house = gate(WITHOUT)
    await house.looks(5, {"errors": CALM})
    assert "budget" not in house.rollout.evidence["errors:live"]
    house.definitions = WITH
    found = await house.look({"errors": CALM})
    assert "not counted" not in found.verdict.why
    assert found.verdict.treatment_n == 6 * 500
    assert budget_of(house)["allowed"] == 0.001
    house.definitions = WITHOUT
    found = await house.look({"errors": CALM})
    assert "budget" not in found.verdict.why


@pytest.mark.parametrize("wrong", [(500, -1), (500, math.nan), (5, 6), (-500, 0)])
async def test_bad_input_is_an_error_and_leaves_both_evidences(wrong: tuple[float, float]) -> None:
    house = gate()
    await house.looks(5, {"errors": CALM})
    before = house.rollout.evidence["errors:live"]
    found = await house.look({"errors": (CALM[0], wrong)})
    assert found.verdict.outcome is Outcome.ERROR
    assert house.rollout.evidence["errors:live"] == before


@pytest.mark.parametrize("damage", [{"version": 1}, {"recent": [[60.0, 0.0, [[1, 5]]]]}, {"allowed": None}])
async def test_a_damaged_budget_starts_anew(damage: dict[str, object]) -> None:
    house = gate()
    await house.looks(5, {"errors": CALM})
    budget_of(house).update(damage)
    found = await house.look({"errors": CALM})
    assert found.verdict.why.endswith("What its error budget was spent on before is not counted.")
    assert found.verdict.treatment_n == 6 * 500


async def test_a_window_of_no_length_spends_nothing() -> None:
    house = gate([rate("errors", objective=0.001, settle=timedelta(minutes=5))])
    found = await house.look({"errors": CALM})
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    assert budget_of(house)["recent"] == [[minutes, 0.0, [[0, 0]]] for minutes in (5.0, 30.0, 60.0, 360.0)]
