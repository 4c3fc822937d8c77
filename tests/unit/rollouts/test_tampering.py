"""What an audit and a replay say of rows that were made up or mangled."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from tests.unit.rollouts.world import World, make_plan, stage
from tools.records.models import GateCheck, PlanVersion
from tools.rollouts import audit, checks

GOOD = {"old": (950, 19), "new": (50, 1)}


@pytest.fixture
async def rollout_id(world: World) -> str:
    view = await world.started()
    await world.live(view.id, 4, **GOOD)
    return view.id


async def faults(world: World) -> list[str]:
    return [str(fault) for fault in (await audit.verify(world.database)).faults]


async def change_newest(world: World, change: Callable[[GateCheck], None]) -> str:
    async with world.database.write() as session:
        check = (await session.scalars(select(GateCheck).order_by(GateCheck.at.desc()).limit(1))).one()
        change(check)
        return check.id


async def test_a_plan_that_was_added_by_hand(world: World, rollout_id: str) -> None:
    plan = make_plan(stage(50), stage(100))
    async with world.database.write() as session:
        session.add(
            PlanVersion(
                rollout_id=rollout_id,
                version=2,
                sha256=plan.sha256,
                body=plan.to_json(),
                author="someone",
                reason="-",
                created_at=world.clock.now(),
            )
        )
    assert await faults(world) == [
        f"plan 2 of rollout {rollout_id}: no event speaks of it: it was not written by Sluice"
    ]


async def test_evidence_that_its_answers_do_not_give(world: World, rollout_id: str) -> None:
    def change(check: GateCheck) -> None:
        check.evidence = {key: {**kept, "in_stage": 7} for key, kept in check.evidence.items()}

    changed = await change_newest(world, change)
    assert f"check {changed} of rollout {rollout_id}: its evidence is not what its answers give: it was edited" in (
        await faults(world)
    )


async def test_a_verdict_of_another_release_may_be_its_own(world: World, rollout_id: str) -> None:
    def change(check: GateCheck) -> None:
        check.code_version = "0.0.1"
        check.verdict = {**check.verdict, "gate": {**check.verdict["gate"], "why": "Otherwise."}}

    await change_newest(world, change)
    [fault] = await faults(world)
    assert fault.endswith(f"or release 0.0.1 judged otherwise than {checks.CODE_VERSION}")


async def test_a_row_of_another_release_that_cannot_be_judged_here_may_be_its_own(
    world: World, rollout_id: str
) -> None:
    def change(check: GateCheck) -> None:
        check.code_version = "9.0.0"
        check.inputs = {**check.inputs, "of_a_later_release": 1}

    changed = await change_newest(world, change)
    where = f"check {changed} of rollout {rollout_id}: it can't be judged again: it was edited"
    assert await faults(world) == [f"{where}, or release 9.0.0 judged otherwise than {checks.CODE_VERSION}"]


async def test_a_check_that_cannot_be_judged_any_more_is_replayed_as_that(world: World, rollout_id: str) -> None:
    def mangle(check: GateCheck) -> None:
        check.inputs = {**check.inputs, "guardrails": "none"}

    mangled = await change_newest(world, mangle)
    replayed = [one async for one in audit.replay(world.database, rollout_id)]
    assert [one.same for one in replayed] == [True, True, True, False]
    assert (replayed[-1].check_id, replayed[-1].again) == (mangled, None)
    assert replayed[-1].why == "The row can't be judged any more."


async def test_a_check_with_what_is_no_number_is_different_and_no_crash(world: World, rollout_id: str) -> None:
    def poison(check: GateCheck) -> None:
        check.evidence = {key: {**kept, "in_stage": float("nan")} for key, kept in check.evidence.items()}

    poisoned = await change_newest(world, poison)
    assert any(fault.startswith(f"check {poisoned} ") for fault in await faults(world))
