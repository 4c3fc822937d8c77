"""Five hundred rollouts change at once: all is told, at Slack's pace, and no channel waits for another."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import inspect

from bot.pacing import Pace
from tests.unit.notifier.desk import Desk
from tests.unit.notifier.slack import Said
from tests.unit.rollouts.world import MIRA
from tools.records.models import Conversation, Record, Rollout
from tools.records.outbox import Status
from tools.rollouts import changes
from tools.rollouts.events import Happening, happened
from tools.rollouts.phases import Phase
from tools.rollouts.store import plan_version

BUSY, QUIET = 140, 60
CHANNELS = ("CBUSY", *(f"CQUIET{number}" for number in range(6)))
NUMBERS = range(500)
BACK = range(19, 500, 60)
"""Those that are rolled back, the others are paused."""


def channel_of(number: int) -> str:
    return "CBUSY" if number < BUSY else f"CQUIET{number % 6}"


def copied(row: Record, **changed: Any) -> Any:
    """A row like another."""
    columns = [attribute.key for attribute in inspect(type(row)).column_attrs]
    return type(row)(**({name: getattr(row, name) for name in columns} | changed))


async def many_with_cards(desk: Desk) -> None:
    """Rollouts under way whose cards have been posted; `r7` is the seventh, in the thread of its card."""
    view = await desk.rollout(0)
    await desk.deliver()
    desk.slack.taken.clear()
    async with desk.services.database.write() as session:
        model = await session.get_one(Rollout, view.id)
        plan, place = await plan_version(session, model), await session.get_one(Conversation, model.conversation_id)
        for number in NUMBERS:
            ts, channel = f"{number}.5", channel_of(number)
            desk.slack.taken.append(Said("post", channel, ts, "a card"))
            session.add(copied(place, id=f"c{number}", channel=channel, card_ts=ts, thread_ts=ts))
            await session.flush()
            session.add(
                copied(
                    model,
                    id=f"r{number}",
                    flag=f"flag-{number}",
                    live_key=f"key-{number}",
                    conversation_id=f"c{number}",
                    phase=Phase.PROGRESSING,
                )
            )
            await session.flush()
            session.add(copied(plan, id=f"p{number}", rollout_id=f"r{number}"))


async def all_change(desk: Desk) -> None:
    """In one moment: some are rolled back, the others are paused."""
    now = desk.world.clock.now()
    async with desk.services.database.write() as session:
        for number in NUMBERS:
            rollout = await session.get_one(Rollout, f"r{number}")
            if number in BACK:
                await changes.roll_back(session, rollout, actor=MIRA, at=now, reason=f"of {number}.")
            else:
                rollout.phase = Phase.PAUSED
                await happened(session, rollout, Happening.PAUSED, at=now, reason=f"of {number}.")


async def delivered(desk: Desk, *, most: int) -> list[Sequence[Said]]:
    """What Slack took in each second until nothing was left."""
    taken = []
    for second in range(most):
        before = len(desk.slack.taken)
        await desk.deliver(seconds=second and 1)
        taken.append(desk.slack.taken[before:])
        if len(taken[-1]) == 0:
            break
    return taken


async def test_five_hundred_rollouts_that_change_at_once(desk: Desk, quiet_logs: None) -> None:
    await many_with_cards(desk)
    await all_change(desk)
    desk.notifier = desk.another(owner=desk.notifier.owner, pace=Pace(edits_per_second=10))
    seconds = await delivered(desk, most=2 * BUSY)

    # Every change is told once, in its thread, and every card shows it.
    assert set(await desk.statuses()) == {Status.DELIVERED}
    posts = [said for second in seconds for said in second if said.method == "post"]
    assert Counter(said.thread_ts for said in posts) == Counter(f"{number}.5" for number in NUMBERS)
    assert all(f"of {(said.thread_ts or '').removesuffix('.5')}." in said.text for said in posts)
    edits = [said for second in seconds for said in second if said.method == "update"]
    assert Counter(said.ts for said in edits) == Counter(f"{number}.5" for number in NUMBERS)

    # At most one message a second in a channel, and one in every second while any waits there.
    for channel in CHANNELS:
        each = [sum(said.method == "post" and said.channel == channel for said in second) for second in seconds]
        assert each == [1] * sum(each) + [0] * (len(each) - sum(each)), channel

    # What calls people to a rollback is first, in each channel and among the cards.
    back = {f"{number}.5" for number in BACK}
    assert {said.ts for said in edits[: len(BACK)]} == back
    for channel in CHANNELS:
        told = [said.thread_ts in back for said in posts if said.channel == channel]
        assert told == sorted(told, reverse=True)

    # No channel's cards wait for another's: until the last quiet one is done, the busy one gets no more than its turn.
    last = max(position for position, said in enumerate(edits) if said.channel != "CBUSY")
    assert sum(said.channel == "CBUSY" for said in edits[:last]) < 2 * QUIET
