"""A treatment that falls silent is not promoted, however safe it was and however little of the bake is left."""

from datetime import timedelta

import pytest

from tests.unit.rollouts.gatehouse import Gatehouse, rate, stage_of
from tools.gates import Outcome
from tools.plans.model import Guardrail
from tools.rollouts.decisions import Promote

RAIL = Guardrail(metric="errors", min_sample=50, ceiling=0.05)
BOTH_SPEAK, CONTROL_ALONE = {"errors": ((900, 9), (100, 1))}, {"errors": ((900, 9), None)}


@pytest.mark.parametrize("quiet_looks", [1, 2, 8])
async def test_of_two_arms(quiet_looks: int) -> None:
    gate = Gatehouse.of(
        [rate("errors")], stage_of(10, RAIL, bake=1800), stage_of(50, RAIL), stale_after=timedelta(minutes=2)
    )
    await gate.looks(180 - quiet_looks, BOTH_SPEAK, seconds=10)
    found = await gate.looks(quiet_looks, CONTROL_ALONE, seconds=10)
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    assert "Nothing has come of 'new' since 12:" in found.verdict.why
    assert not isinstance(gate.action(found), Promote)
    found = await gate.look(BOTH_SPEAK, seconds=10)
    assert found.verdict.outcome is Outcome.PASS
    assert isinstance(gate.action(found), Promote)


async def test_of_everyone() -> None:
    gate = Gatehouse.of([rate("errors")], stage_of(100, RAIL, bake=1800), stale_after=timedelta(minutes=2))
    await gate.looks(179, {"errors": (None, (1000, 10))}, seconds=10)
    found = await gate.look({}, seconds=10)
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    assert "Nothing has come of 'new'" in found.verdict.why


async def test_a_stage_without_control_is_not_promoted_by_what_came_before() -> None:
    plan = stage_of(10, RAIL, bake=600), stage_of(50, RAIL, bake=20)
    gate = Gatehouse.of([rate("errors")], *plan, stale_after=timedelta(minutes=2))
    await gate.looks(60, BOTH_SPEAK, seconds=10)
    gate.enter(1)
    found = await gate.looks(3, {"errors": (None, (100, 1))}, seconds=10)
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    assert "Nothing has come of 'old' at this stage yet" in found.verdict.why
