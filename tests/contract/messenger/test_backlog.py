"""After an hour without Slack nothing is lost, and nobody is flooded."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.clients import OneClient
from bot.notifier import Notifier
from bot.workspace import RunningWorkspace, running_workspace
from bot.workspace.records import Message
from tests.unit.notifier.desk import Desk, open_desk
from tests.unit.rollouts.world import JONAS, MIRA
from tools.flags.base import FlagRef
from tools.records.outbox import Status
from tools.rollouts.views import RolloutView

CHANNEL, OTHER = "CRELEASES", "CALERTS01"
HOUR = 3600


@dataclass
class Town:
    """A desk whose notifier speaks to a served workspace; both go by one clock."""

    desk: Desk
    running: RunningWorkspace

    def notifier(self) -> Notifier:
        """A process that delivers."""
        settings = self.running.settings
        client = AsyncWebClient(token=settings.bot_token, base_url=self.running.api_url)
        return Notifier(self.desk.services, OneClient(client))

    async def started(self, number: int, channel: str) -> RolloutView:
        view = await self.desk.rollout(number, channel)
        assert view.approval is not None
        return await self.desk.services.rollouts.approve(view.approval.id, actor=JONAS)

    async def pass_time(self, notifier: Notifier, seconds: int, *, every: int = 1) -> int:
        """How many messages were closed meanwhile."""
        closed = 0
        for _ in range(seconds // every):
            self.desk.world.clock.advance(every)
            closed += await notifier.deliver_due()
        return closed

    def card(self, view: RolloutView) -> Message:
        """The rollout's card."""
        return next(one for one in self.said(view) if not one.is_reply)

    def thread(self, view: RolloutView) -> list[str]:
        """The lines in its thread."""
        return [one.text for one in self.said(view) if one.is_reply]

    def said(self, view: RolloutView) -> list[Message]:
        """Its card and what is in its thread."""
        assert view.place is not None
        workspace = self.running.workspace
        everything = workspace.visible_messages(workspace.channel(view.place.channel))
        [card] = [one for one in everything if view.flag in str(one.blocks[:1])]
        return [one for one in everything if card.ts in (one.ts, one.thread_ts)]


@pytest.fixture(params=["sqlite", "postgresql"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    sqlite = f"sqlite:///{tmp_path / 'sluice.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with open_desk(url) as opened:
        yield opened


@pytest.fixture
async def town(desk: Desk) -> AsyncIterator[Town]:
    async with running_workspace(clock=desk.world.clock, messages_per_second=1.0) as running:
        yield Town(desk, running)


async def test_an_hour_without_slack_becomes_one_edit_and_one_line_a_thread(town: Town, quiet_logs: None) -> None:
    notifier, rollouts = town.notifier(), town.desk.services.rollouts
    views = [await town.started(number, CHANNEL if number else OTHER) for number in range(3)]
    await town.pass_time(notifier, 60, every=5)
    before = {view.id: len(town.thread(view)) for view in views}
    edits = town.running.workspace.call_counts["chat.update"]

    town.running.workspace.faults.begin_outage()
    for number in range(3):
        for view in views:
            await rollouts.pause(view.id, actor=MIRA, reason=f"number {number}")
            await rollouts.resume(view.id, actor=MIRA)
        assert await town.pass_time(notifier, HOUR // 6, every=60) == 0
    back = await rollouts.roll_back(views[1].id, actor=JONAS, reason="errors in Spain")
    # A rollback waits for nobody to hear of it.
    assert (await town.desk.services.flags.read(FlagRef(back.flag, "production"))).exposure.percent == 0
    # The process is killed: it gives up no lease, and another takes over in the middle of the outage.
    other = town.notifier()
    assert await town.pass_time(other, HOUR // 2, every=60) == 0

    town.running.workspace.faults.end_outage()
    await town.pass_time(other, 70, every=5)
    assert set(await town.desk.statuses()) == {Status.DELIVERED}
    assert town.running.workspace.call_counts["chat.update"] == edits + len(views)
    assert "*Rolled back*" in str(town.card(back).blocks)
    for view in views:
        [line] = town.thread(view)[before[view.id] :]
        said = [part.partition("number ")[2][0] for part in line.splitlines() if "number " in part]
        assert said == list("012"), "each, in order"
        assert line.count("resumed it") == 3
        assert ("errors in Spain" in line) is (view.id == back.id)
        assert line.startswith(f"<@{MIRA}> ") is (view.id == back.id), "a rollback still calls whoever asked"
