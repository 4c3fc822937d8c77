"""What another margin would have meant: the stored checks judged again, nothing measured and nothing written."""

import pytest

from tests.unit.rollouts.world import ERRORS, World, make_plan, stage
from tools.errors import InvalidInput
from tools.rollouts.store import RolloutNotFound
from tools.rollouts.whatif import NeverChecked, with_margin

GOOD = {"old": (950, 19), "new": (50, 1)}
WORSE = {"old": (950, 19), "new": (50, 3)}
LONG = make_plan(stage(5, bake=600, limit=7200), stage(25), stage(100))


async def test_with_the_same_margin_it_is_as_it_was(world: World) -> None:
    view = await world.started()
    await world.live(view.id, 40, **GOOD)
    same = await with_margin(world.database, view.id, ERRORS, 2.0)
    assert same.as_it_would_be == same.as_it_was
    assert "(as it was)" in str(same)
    assert "in fact" not in str(same)


async def test_a_stricter_margin_takes_longer_or_proves_nothing(world: World) -> None:
    view = await world.started(LONG)
    await world.live(view.id, 70, **GOOD)
    usual, strict = [await with_margin(world.database, view.id, ERRORS, margin) for margin in (2.0, 1.05)]
    assert usual.as_it_would_be[0].passed is not None
    assert strict.as_it_would_be[0].passed is None
    assert f"With the margin ×1.05 {ERRORS} would have been not proven" in str(strict)
    assert "in stage 1 (in fact proven safe at 01 Jan 2026 00:10 UTC)" in str(strict)


async def test_a_looser_margin_would_have_passed_where_it_did_not(world: World) -> None:
    view = await world.started(make_plan(stage(5, bake=10, limit=7200, rail=make_plan().stages[0].guardrails[0])))
    await world.live(view.id, 6, old=(950, 19), new=(50, 1))
    tight, loose = [await with_margin(world.database, view.id, ERRORS, margin) for margin in (1.3, 9.0)]
    assert loose.as_it_would_be[0].passed is not None
    assert tight.as_it_would_be[0].passed is None


async def test_harm_is_harm_whatever_the_margin(world: World) -> None:
    view = await world.started(LONG)
    view = await world.live(view.id, 60, **WORSE)
    for margin in (1.2, 2.0, 3.0):
        course = (await with_margin(world.database, view.id, ERRORS, margin)).as_it_would_be[0]
        assert course.suspected is not None


async def test_nothing_is_written(world: World) -> None:
    view = await world.started()
    view = await world.live(view.id, 10, **GOOD)
    before = await world.kinds(view.id)
    await with_margin(world.database, view.id, ERRORS, 1.1)
    assert await world.kinds(view.id) == before
    assert await world.service.get(view.id) == view


async def test_what_can_not_be_told_is_said(world: World) -> None:
    view = await world.proposed()
    with pytest.raises(NeverChecked, match="it was nothing yet"):
        await with_margin(world.database, view.id, ERRORS, 2)
    with pytest.raises(InvalidInput, match=r"between 1\.001 and 100"):
        await with_margin(world.database, view.id, ERRORS, 1)
    with pytest.raises(RolloutNotFound):
        await with_margin(world.database, "nope", ERRORS, 2)
    assert view.approval is not None
    await world.service.approve(view.approval.id, actor="UJONAS")
    await world.live(view.id, 3, **GOOD)
    with pytest.raises(NeverChecked, match=ERRORS):
        await with_margin(world.database, view.id, "latency", 2)
