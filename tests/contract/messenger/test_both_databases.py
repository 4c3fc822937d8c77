"""What Slack sends is handled once, and what people are told is told in order, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.listeners.deliveries import is_first
from tests.unit.notifier.desk import Desk, open_desk
from tools.records.outbox import Status


@pytest.fixture(params=["sqlite", "postgresql"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    sqlite = f"sqlite:///{tmp_path / 'sluice.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with open_desk(url) as opened:
        yield opened


async def test_of_many_copies_at_once_exactly_one_is_the_first(desk: Desk) -> None:
    copies = [{"command": "/rollout", "trigger_id": f"{number % 3}.x"} for number in range(30)]
    firsts = await asyncio.gather(*(is_first(desk.services, copy) for copy in copies))
    assert sum(firsts) == 3


async def test_messages_are_delivered_urgent_ones_first(desk: Desk) -> None:
    views = [await desk.rollout(number) for number in range(3)]
    await desk.deliver()
    for view in views:
        await desk.note(view, f"of {view.flag}")
    await desk.note(views[2], "fire", urgent=True)
    await desk.deliver()
    assert set(await desk.statuses()) == {Status.DELIVERED}
    notes = [said.text.rpartition(": ")[2] for said in desk.slack.taken[6:]]
    assert notes == ["of flag-2", "fire", "of flag-0", "of flag-1"], "after what stood before it"


async def test_of_two_processes_one_delivers(desk: Desk) -> None:
    await desk.rollout()
    closed = await asyncio.gather(desk.another(owner="a").deliver_due(), desk.another(owner="b").deliver_due())
    assert sorted(closed) == [0, 2]
    assert len(desk.slack.taken) == 2
