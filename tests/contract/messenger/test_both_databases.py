"""What Slack sends is handled once, and what people are told is told in order, on SQLite and on PostgreSQL."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from bot.listeners.deliveries import is_first
from tests.unit.notifier.desk import Desk, open_desk
from tests.unit.notifier.test_asked import asking, now_says
from tests.unit.rollouts.world import JONAS
from tools.records.outbox import Kind, Status
from tools.rollouts import approvals
from tools.rollouts.views import RolloutView


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


async def test_a_question_that_is_answered_while_its_message_is_written_down_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await desk.rollout()
    meeting = Meeting()
    monkeypatch.setattr(approvals, "tell_channels", meeting.tell_channels)
    _, granted = await asyncio.gather(desk.deliver(), approve_once(meeting.kept, desk, view))
    assert granted.approval is None
    await desk.deliver()
    assert "✔ Approved by Jonas" in now_says(desk, asking(desk))[-1]
    asked = [one for one in await desk.messages() if one.kind in (Kind.NOTE, Kind.QUESTION)]
    assert {(one.status, one.attempts) for one in asked} == {(Status.DELIVERED, 1)}, "at the first try"


class Meeting:
    """Has the end of a question meet the message that asks it: each has written, and neither has yet committed."""

    def __init__(self) -> None:
        self.kept, self._closing = asyncio.Event(), asyncio.Event()
        self._tell_channels = approvals.tell_channels

    async def tell_channels(self, session: AsyncSession, approval_id: str, **options: Any) -> None:
        if options.get("only_closed"):
            self.kept.set()
            # Where the end waits for the message, as it should, it doesn't come.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), 0.3)
        else:
            self._closing.set()
        await self._tell_channels(session, approval_id, **options)


async def approve_once(kept: asyncio.Event, desk: Desk, view: RolloutView) -> RolloutView:
    assert view.approval is not None
    await kept.wait()
    return await desk.services.rollouts.approve(view.approval.id, actor=JONAS)
