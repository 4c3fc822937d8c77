"""Five hundred rollouts change at once, at the pace that ships: all of it is told, and rollbacks are told first."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import inspect

from bot.clients import OneClient
from bot.notifier import Notifier
from bot.workspace import Room, RunningWorkspace, running_workspace
from bot.workspace.records import Message
from tests.acceptance.slack.office import MIRA
from tests.unit.notifier.desk import Desk, open_desk
from tools.records.models import Conversation, Record, Rollout
from tools.records.outbox import Status
from tools.rollouts import changes
from tools.rollouts.events import Happening, Tell, happened
from tools.rollouts.phases import Phase
from tools.rollouts.store import plan_version

NUMBERS = range(500)
BACK = range(19, 500, 60)
"""Those that are rolled back; the others are paused."""
BUSY, ITS_OWN = "CBUSY", 44
QUIET = tuple(f"CQUIET{number:02}" for number in range(19))


@dataclass
class Crowd:
    """Rollouts under way, each with a card in Slack, and who tells of them; Slack goes by the same clock."""

    desk: Desk
    running: RunningWorkspace
    notifier: Notifier
    cards: dict[int, Message]

    async def all_change(self) -> None:
        """In one moment: some are rolled back, the others are paused."""
        now = self.desk.world.clock.now()
        async with self.desk.services.database.write() as session:
            for number in NUMBERS:
                rollout = await session.get_one(Rollout, f"r{number}")
                if number in BACK:
                    await changes.roll_back(session, rollout, actor=MIRA, at=now, reason=f"of {number}.")
                else:
                    rollout.phase = Phase.PAUSED
                    reason = f"of {number}."
                    # As urgent as a rollback is, for somebody must act.
                    await happened(session, rollout, Happening.PAUSED, at=now, tell=Tell.PERSON, reason=reason)

    async def deliver_until_nothing_is_left(self) -> None:
        for _ in range(ITS_OWN):
            await self.notifier.deliver_due()
            self.desk.world.clock.advance(1)
        # Nothing but cards is left, for some minutes.
        while await self.notifier.deliver_due():
            self.desk.world.clock.advance(12)

    def lines(self) -> list[Message]:
        """What was said below the cards, in the order in which Slack took it."""
        workspace = self.running.workspace
        channels = [workspace.visible_messages(workspace.channel(name)) for name in (BUSY, *QUIET)]
        return sorted((one for said in channels for one in said if one.is_reply), key=lambda one: one.ts)

    def edited(self) -> list[str]:
        """The timestamps of the cards in the order in which they were edited."""
        return [str(call.arguments["ts"]) for call in self.running.workspace.calls if call.method == "chat.update"]


def channel_of(number: int) -> str:
    return BUSY if number < ITS_OWN else QUIET[number % len(QUIET)]


@pytest.fixture
async def crowd(quiet_logs: None) -> AsyncIterator[Crowd]:
    rooms = tuple(Room(name, name.lower()) for name in (BUSY, *QUIET))
    async with (
        open_desk("") as desk,
        running_workspace(clock=desk.world.clock, rooms=rooms, messages_per_second=1.0, message_burst=1) as running,
    ):
        cards = {number: posted_card(running, number) for number in NUMBERS}
        await keep_rollouts(desk, cards)
        client = AsyncWebClient(token=running.settings.bot_token, base_url=running.api_url)
        yield Crowd(desk, running, Notifier(desk.services, OneClient(client), owner=desk.notifier.owner), cards)


def posted_card(running: RunningWorkspace, number: int) -> Message:
    """A card that Slack has."""
    workspace, settings = running.workspace, running.settings
    return workspace.post(
        Message(
            ts=workspace.next_ts(),
            channel=channel_of(number),
            user=settings.bot_user_id,
            text=f"flag-{number}",
            bot_id=settings.bot_id,
            app_id=settings.app_id,
        )
    )


async def keep_rollouts(desk: Desk, cards: dict[int, Message]) -> None:
    """A rollout under way for each card."""
    view = await desk.rollout(requester=MIRA)
    await desk.deliver()
    async with desk.services.database.write() as session:
        model = await session.get_one(Rollout, view.id)
        plan, place = await plan_version(session, model), await session.get_one(Conversation, model.conversation_id)
        for number, card in cards.items():
            own = {"channel": card.channel, "card_ts": card.ts, "thread_ts": card.ts}
            session.add(copied(place, id=f"c{number}", **own))
        await session.flush()
        for number in cards:
            own = {"flag": f"flag-{number}", "live_key": f"key-{number}", "conversation_id": f"c{number}"}
            session.add(copied(model, id=f"r{number}", phase=Phase.PROGRESSING, **own))
        await session.flush()
        session.add_all([copied(plan, id=f"p{number}", rollout_id=f"r{number}") for number in cards])


def copied(row: Record, **changed: Any) -> Any:
    """A row like another."""
    columns = [attribute.key for attribute in inspect(type(row)).column_attrs]
    return type(row)(**({name: getattr(row, name) for name in columns} | changed))


async def test_five_hundred_rollouts_that_change_at_once(crowd: Crowd) -> None:
    await crowd.all_change()
    await crowd.deliver_until_nothing_is_left()

    # Every change is told once, in its thread, and every card was edited once.
    assert set(await crowd.desk.statuses()) == {Status.DELIVERED}
    number_of = {card.ts: number for number, card in crowd.cards.items()}
    lines, edited = crowd.lines(), crowd.edited()
    assert sorted(number_of[line.thread_ts or ""] for line in lines) == list(NUMBERS)
    assert all(f"of {number_of[line.thread_ts or '']}." in line.text for line in lines)
    assert sorted(number_of[ts] for ts in edited) == list(NUMBERS)
    shown = [
        ("Rolling back" if number in BACK else "Paused") in str(card.blocks) for number, card in crowd.cards.items()
    ]
    assert all(shown)

    # Slack, which takes one message a second in a channel and no burst, refused none; none waited for another channel.
    assert not crowd.running.workspace.error_counts
    taken = Counter((line.channel, line.ts.partition(".")[0]) for line in lines)
    assert set(taken.values()) == {1}
    began = min(int(second) for _, second in taken)
    for channel in (BUSY, *QUIET):
        seconds = sorted(int(second) for name, second in taken if name == channel)
        assert seconds == list(range(began, began + len(seconds))), channel

    # What people have to hear first is first: in each channel, and among the cards.
    back = {crowd.cards[number].ts for number in BACK}
    assert set(edited[: len(BACK)]) == back
    for channel in (BUSY, *QUIET):
        told = [line.thread_ts in back for line in lines if line.channel == channel]
        assert told == sorted(told, reverse=True), channel

    # The busy channel's cards take turns with the others'.
    last = max(position for position, ts in enumerate(edited) if crowd.cards[number_of[ts]].channel != BUSY)
    assert sum(crowd.cards[number_of[ts]].channel == BUSY for ts in edited[:last]) < 2 * len(NUMBERS) / len(QUIET)
