"""Checks of long ago are deleted, save those that were acted on, and the audit stays whole: on both databases."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from tests.unit.rollouts.world import SAM, World, running_world
from tools.records.models import GateCheck, Rollout
from tools.rollouts import audit, retention
from tools.rollouts.events import Happening
from tools.rollouts.retention import delete_checks

GOOD = {"old": (9500, 190), "new": (500, 10)}
KEEP = timedelta(days=180)
CHECKS = 12
ACTED_ON_AND_LAST = 2


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A rollout that was promoted once and then taken back by hand, KEEP ago and a little more."""
    monkeypatch.setattr(retention, "BATCH", 3)
    sqlite = f"sqlite:///{tmp_path}/retention.db"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with running_world(url) as running:
        view = await running.started()
        await running.live(view.id, CHECKS, **GOOD)
        assert await running.percent() == 25
        await running.service.roll_back(view.id, actor=SAM, reason="enough")
        running.clock.advance(KEEP.total_seconds() + 1)
        yield running


async def clean(world: World) -> int:
    return await delete_checks(world.database, now=world.clock.now(), keep=KEEP)


async def remaining(world: World) -> set[str]:
    async with world.database.read() as session:
        return set((await session.scalars(select(GateCheck.id))).all())


async def acted_on(world: World) -> set[str]:
    return {event.payload["check"] for event in await world.events() if "check" in event.payload}


async def faults(world: World) -> list[str]:
    return [str(fault) for fault in (await audit.verify(world.database)).faults]


async def test_what_was_acted_on_and_the_last_one_stay_and_the_audit_is_whole(world: World) -> None:
    [view] = [await world.service.find("new-checkout", "production")]
    assert view.check is not None
    assert await clean(world) == CHECKS - ACTED_ON_AND_LAST
    assert await remaining(world) == await acted_on(world) | {view.check.id}
    report = await audit.verify(world.database)
    assert (report.faults, report.checks) == ((), ACTED_ON_AND_LAST)
    assert [one.same async for one in audit.replay(world.database, view.id)] == [True] * ACTED_ON_AND_LAST
    assert (await world.service.find("new-checkout", "production")).check == view.check, "its card can still be drawn"


async def test_it_happens_once(world: World) -> None:
    await clean(world)
    assert await clean(world) == 0
    [event] = [event for event in await world.events() if event.kind == Happening.CHECKS_DELETED]
    assert set(event.payload["kept"]) == await remaining(world)


async def test_what_ended_less_long_ago_and_what_goes_on_is_kept(world: World) -> None:
    assert await delete_checks(world.database, now=world.clock.now() - timedelta(seconds=2), keep=KEEP) == 0
    async with world.database.write() as session:
        # As if it were live.
        await session.execute(update(Rollout).values(ended_at=None))
    assert await clean(world) == 0
    assert len(await remaining(world)) == CHECKS


async def test_a_process_that_dies_in_between_is_gone_on_from(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    delete_batch, done = retention._delete_batch, []

    async def dying(*args: object) -> int:
        if done:
            raise RuntimeError("died")
        done.append(await delete_batch(*args))  # type: ignore[arg-type]
        return done[0]

    monkeypatch.setattr(retention, "_delete_batch", dying)
    with pytest.raises(RuntimeError):
        await clean(world)
    assert len(await remaining(world)) == CHECKS - 3
    assert await faults(world) == []
    monkeypatch.undo()
    assert await clean(world) == CHECKS - 3 - ACTED_ON_AND_LAST
    assert await faults(world) == []
    assert [event.kind for event in await world.events()].count(Happening.CHECKS_DELETED) == 1


async def test_of_those_that_are_kept_none_can_be_changed_or_deleted_unseen(world: World) -> None:
    view = await world.service.find("new-checkout", "production")
    assert view.check is not None
    await clean(world)
    async with world.database.write() as session:
        check = await session.get_one(GateCheck, view.check.id)
        [answer] = check.answers
        check.answers = [{**answer, "raw": "other"}]
    assert any("it is not the check that event" in fault for fault in await faults(world))
    async with world.database.write() as session:
        await session.delete(await session.get_one(GateCheck, view.check.id))
    assert any(fault.startswith(f"check {view.check.id}: missing") for fault in await faults(world))
