"""Reports of backtests, kept beside the plans that people were shown, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.unit.rollouts.world import MIRA, PLACE, World, make_plan, running_world, stage
from tools.records.models import Backtest
from tools.rollouts.backtesting.keeping import Untested, keep, untested
from tools.rollouts.checks import CODE_VERSION


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    sqlite = f"sqlite:///{tmp_path / 'sluice.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with running_world(url) as running:
        yield running


def report(plan_sha256: str, summary: str = "All is well.") -> dict[str, Any]:
    return {"plan_sha256": plan_sha256, "span": 1209600.0, "summary": summary, "harmless": {"replays": 200}}


async def test_the_newest_report_of_the_plan_in_force_is_shown(world: World) -> None:
    view = await world.proposed()
    digest = view.plan.sha256
    assert await untested(world.database) == [Untested(view.id, digest)]
    assert await keep(world.database, report(digest), at=world.clock.now())
    world.clock.advance(60)
    assert await keep(world.database, report(digest, "Better still."), at=world.clock.now(), actor=MIRA)
    found = (await world.service.get(view.id)).backtest
    assert found is not None
    assert (found.summary, found.at) == ("Better still.", world.clock.now())
    assert await untested(world.database) == []
    events = [event for event in await world.events(view.id) if event.kind == "plan.backtested"]
    assert [(event.actor, event.payload["summary"]) for event in events] == [
        ("sluice", "All is well."),
        (MIRA, "Better still."),
    ]
    async with world.database.read() as session:
        rows = (await session.scalars(select(Backtest).order_by(Backtest.at))).all()
    assert [row.report["summary"] for row in rows] == ["All is well.", "Better still."]
    assert (rows[0].span_seconds, rows[0].replays, rows[0].code_version) == (1209600.0, 200, CODE_VERSION)


async def test_another_plan_has_none_and_a_plan_that_nobody_was_shown_keeps_none(world: World) -> None:
    view = await world.proposed()
    assert await keep(world.database, report(view.plan.sha256), at=world.clock.now())
    other = make_plan(stage(10), stage(100))
    revised = await world.service.propose(other, requester=MIRA, place=PLACE, reason="asked")
    assert revised.id == view.id
    assert revised.backtest is None
    assert await untested(world.database) == [Untested(view.id, other.sha256)]
    assert not await keep(world.database, report("f" * 64), at=world.clock.now())


async def test_a_plan_of_before_keeps_its_report_and_leaves_the_card_alone(world: World) -> None:
    view = await world.proposed()
    await world.service.cancel(view.id, actor=MIRA, reason="no")
    before = await world.kinds(view.id)
    assert await keep(world.database, report(view.plan.sha256), at=world.clock.now())
    assert await world.kinds(view.id) == before
    assert (await world.service.get(view.id)).backtest is not None
