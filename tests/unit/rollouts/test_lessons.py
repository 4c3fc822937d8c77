"""What earlier rollouts teach: only those that ended, have something in common, and may be seen."""

from datetime import timedelta

import pytest

from tests.unit.rollouts.world import ERRORS, FLAG, JONAS, MIRA, SAM, World, make_plan, stage
from tools.rollouts.lessons import Lesson, lessons
from tools.rollouts.phases import Phase
from tools.rollouts.scope import Scope
from tools.rollouts.service import Place

GOOD = {"old": (950, 19), "new": (50, 1)}
BAD = {"old": (950, 19), "new": (50, 25)}


def mine(workspace: str) -> Scope:
    return Scope(workspace, shared=True)


async def asked(world: World, **about: object) -> list[Lesson]:
    known: dict[str, object] = {"flag": "other", "tags": (), "metrics": (), "scope": mine("T1"), **about}
    return await lessons(world.database, **known)  # type: ignore[arg-type]


async def rolled_back(world: World) -> None:
    view = await world.started(make_plan(tags=("payments",)))
    view = await world.live(view.id, 30, **GOOD)
    assert view.stage == 1
    view = await world.live(view.id, 20, **BAD)
    assert view.phase is Phase.ROLLED_BACK


async def test_a_rollback_teaches_where_it_was_on_what_and_how_long_proof_took(world: World) -> None:
    await rolled_back(world)
    [lesson] = await asked(world, flag=FLAG.flag, tags=("payments",), metrics=(ERRORS,))
    assert (lesson.phase, lesson.exposure, lesson.metrics, lesson.by_gate) == (
        Phase.ROLLED_BACK,
        "25 %",
        (ERRORS,),
        True,
    )
    assert lesson.shared == (f"the flag {FLAG.flag}", "the tag payments", f"the metric {ERRORS}")
    [(exposure, took)] = lesson.proofs
    assert exposure == "5 %"
    assert timedelta(seconds=60) <= took <= timedelta(seconds=300)
    told = str(lesson)
    assert told.startswith(
        f"new-checkout in production was rolled back by the gate at 25 % on {ERRORS} (01 Jan 2026): "
    )
    assert "Its slowest proof, at 5 %, took" in told


async def test_a_success_and_a_person_s_rollback_teach_too(world: World) -> None:
    view = await world.started(make_plan(stage(5)))
    view = await world.live(view.id, 40, **GOOD)
    assert view.phase is Phase.SUCCEEDED
    await world.flags.write(FLAG, make_plan().stages[0].exposure.model_copy(update={"percent": 0}), expected="2")
    world.clock.advance(60)
    second = await world.started()
    await world.live(second.id, 2, **GOOD)
    await world.service.roll_back(second.id, actor=SAM, reason="I do not like it")
    newest, older = await asked(world, metrics=(ERRORS,))
    assert str(newest).startswith(
        "new-checkout in production was rolled back by a person at 5 % (01 Jan 2026): I do not"
    )
    assert str(older).startswith("new-checkout in production was proven safe (01 Jan 2026). Its slowest proof")


@pytest.mark.parametrize(
    "about",
    [{}, {"tags": ("search",)}, {"metrics": ("latency",)}, {"flag": FLAG.flag, "scope": Scope("T2", shared=True)}],
)
async def test_what_has_nothing_in_common_or_is_another_workspace_s_teaches_nothing(
    world: World, about: dict[str, object]
) -> None:
    await rolled_back(world)
    assert await asked(world, **about) == []


async def test_what_is_under_way_or_never_started_teaches_nothing(world: World) -> None:
    view = await world.proposed()
    assert await asked(world, flag=FLAG.flag) == []
    await world.service.cancel(view.id, actor=MIRA, reason="no")
    assert await asked(world, flag=FLAG.flag) == []


async def test_what_was_made_for_no_workspace_teaches_all(world: World) -> None:
    view = await world.service.propose(make_plan(), requester=MIRA, place=Place("", "C1"), reason="asked")
    assert view.approval is not None
    await world.service.approve(view.approval.id, actor=JONAS)
    await world.service.roll_back(view.id, actor=SAM, reason="enough")
    assert len(await asked(world, flag=FLAG.flag, scope=mine("T9"))) == 1
    assert await asked(world, flag=FLAG.flag, scope=mine("T9"), most=0) == []
