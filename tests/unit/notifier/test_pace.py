"""What goes out when at the pace that ships: what happened before what only counts on, and nobody waits for others."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import inspect

from bot.clients import OneClient
from bot.notifier import AT_ONCE, Notifier
from bot.pacing import Pace
from tests.unit.notifier.desk import Desk
from tests.unit.notifier.slack import Said
from tests.unit.rollouts.world import MIRA
from tools.records import outbox
from tools.records.models import Conversation, Record, Rollout
from tools.records.outbox import Kind, Status
from tools.rollouts import changes
from tools.rollouts.events import Happening, happened, refresh_card
from tools.rollouts.phases import Phase
from tools.rollouts.store import plan_version

MINUTE = timedelta(minutes=1)
CHANNELS = 20
MANY = 120
EDITS_A_MINUTE = 45


@dataclass
class Crowd:
    """Rollouts under way, each with a card in Slack, and what Slack took when; nothing but the clock's hand moves."""

    desk: Desk
    count: int
    notifier: Notifier
    taken: list[tuple[datetime, Said]] = field(default_factory=list)

    async def change(self, back: Iterable[int], paused: Iterable[int]) -> None:
        """In one moment some are rolled back, and others are paused."""
        now = self.desk.world.clock.now()
        async with self.desk.services.database.write() as session:
            for number in paused:
                rollout = await session.get_one(Rollout, f"r{number}")
                rollout.phase = Phase.PAUSED
                await happened(session, rollout, Happening.PAUSED, at=now, reason=f"of {number}.")
            for number in back:
                rollout = await session.get_one(Rollout, f"r{number}")
                await changes.roll_back(session, rollout, actor=MIRA, at=now, reason=f"of {number}.")

    async def check(self) -> None:
        """Every gate was looked at, and found as before."""
        async with self.desk.services.database.write() as session:
            for number in range(self.count):
                rollout = await session.get_one(Rollout, f"r{number}")
                await refresh_card(session, rollout, at=self.desk.world.clock.now(), minor=True)

    async def deliver(self, seconds: int = 1) -> None:
        """Deliver now, then let the time pass."""
        before = len(self.desk.slack.taken)
        await self.notifier.deliver_due()
        now = self.desk.world.clock.now()
        self.taken += [(now, said) for said in self.desk.slack.taken[before:]]
        self.desk.world.clock.advance(seconds)

    def edits(self, since: int = 0) -> list[tuple[datetime, int]]:
        """When which rollout's card was edited."""
        return [(at, int(said.ts.removesuffix(".9"))) for at, said in self.taken[since:] if said.method == "update"]


async def crowd_of(desk: Desk, count: int) -> Crowd:
    view = await desk.rollout(requester=MIRA)
    await desk.deliver()
    async with desk.services.database.write() as session:
        model = await session.get_one(Rollout, view.id)
        plan, place = await plan_version(session, model), await session.get_one(Conversation, model.conversation_id)
        for number in range(count):
            own = {"channel": f"C{number % CHANNELS}", "card_ts": f"{number}.9", "thread_ts": f"{number}.9"}
            session.add(copied(place, id=f"c{number}", **own))
        await session.flush()
        for number in range(count):
            own = {"flag": f"flag-{number}", "live_key": f"key-{number}", "conversation_id": f"c{number}"}
            session.add(copied(model, id=f"r{number}", phase=Phase.PROGRESSING, **own))
        await session.flush()
        session.add_all([copied(plan, id=f"p{number}", rollout_id=f"r{number}") for number in range(count)])
    desk.slack.taken = [Said("post", f"C{number % CHANNELS}", f"{number}.9", "card") for number in range(count)]
    return Crowd(desk, count, Notifier(desk.services, OneClient(desk.slack), owner=desk.notifier.owner))


async def put_direct(desk: Desk, people: Iterable[str]) -> None:
    """A message to each of them, in a lane of its own."""
    async with desk.services.database.write() as session:
        for number, person in enumerate(people):
            own = {"person": person, "text": "news"}
            await outbox.put(session, Kind.DIRECT, lane=f"lane:{number}", at=desk.services.clock.now(), payload=own)


def copied(row: Record, **changed: Any) -> Any:
    """A row like another."""
    columns = [attribute.key for attribute in inspect(type(row)).column_attrs]
    return type(row)(**({name: getattr(row, name) for name in columns} | changed))


def test_the_pace_that_ships_is_what_slack_documents() -> None:
    pace = Pace()
    assert pace.messages_per_second == 1
    assert pace.edits_per_second * 60 == EDITS_A_MINUTE
    assert EDITS_A_MINUTE + pace.edit_burst <= 60, "tier 3 takes fifty a minute, and some more now and then"


async def test_many_changes_are_all_told_at_the_pace_that_ships(desk: Desk) -> None:
    crowd = await crowd_of(desk, MANY)
    back = range(19, MANY, 30)
    await crowd.change(back, [number for number in range(MANY) if number not in back])
    for _ in range(MANY // CHANNELS):
        await crowd.deliver()
    while Status.OPEN in await desk.statuses():
        await crowd.deliver(seconds=12)

    assert set(await desk.statuses()) == {Status.DELIVERED}
    lines = [(at, said) for at, said in crowd.taken if said.method == "post"]
    assert Counter(said.thread_ts for _, said in lines) == {f"{number}.9": 1 for number in range(MANY)}
    assert set(Counter((said.channel, at) for at, said in lines).values()) == {1}, "one a second in a channel"
    assert lines[-1][0] - lines[0][0] < timedelta(seconds=MANY / CHANNELS), "no channel waits for another"

    edits = crowd.edits()
    assert sorted(number for _, number in edits) == list(range(MANY))
    assert {number for _, number in edits[: len(back)]} == set(back)
    moments = [at for at, _ in edits]
    assert max(sum(at <= one < at + MINUTE for one in moments) for at in moments) <= EDITS_A_MINUTE + Pace().edit_burst
    assert moments[-1] - moments[0] < MINUTE * (MANY / EDITS_A_MINUTE) + timedelta(seconds=12)


async def test_refreshes_share_what_changes_leave(desk: Desk) -> None:
    crowd = await crowd_of(desk, 40)
    changed_at = desk.world.clock.now() + timedelta(seconds=90)
    for second in range(200):
        if second % 15 == 0:
            await crowd.check()
        if desk.world.clock.now() == changed_at:
            since = len(crowd.taken)
            await crowd.change(back=[38], paused=[37, 36])
        await crowd.deliver()

    # What happened is shown at once, the rollback first, though forty refreshes wait.
    first = crowd.edits(since)[:3]
    assert [number for _, number in first][:1] == [38]
    assert {number for _, number in first} == {36, 37, 38}
    assert all(at - changed_at <= timedelta(seconds=1) for at, _ in first)

    # The rest is shared: each card comes round in its turn, however many others its channel has.
    seen = defaultdict[int, list[datetime]](list)
    for at, number in crowd.edits():
        seen[number].append(at)
    assert len(seen) == 40
    a_round = timedelta(minutes=40 / EDITS_A_MINUTE)
    gaps = [later - earlier for moments in seen.values() for earlier, later in pairwise(moments)]
    assert max(gaps) <= a_round + timedelta(seconds=15)
    assert max(map(len, seen.values())) - min(map(len, seen.values())) <= 2


async def test_cards_of_a_busy_channel_are_refreshed_as_often_as_others(desk: Desk) -> None:
    crowd = await crowd_of(desk, 30)
    async with desk.services.database.write() as session:
        for number in range(16):
            (await session.get_one(Conversation, f"c{number}")).channel = "C0"
    desk.slack.taken = [Said("post", "C0" if n < 16 else f"C{n % CHANNELS}", f"{n}.9", "card") for n in range(30)]
    for second in range(150):
        if second % 15 == 0:
            await crowd.check()
        await crowd.deliver()
    often = Counter(number for _, number in crowd.edits())
    assert len(often) == 30
    assert max(often.values()) - min(often.values()) <= 2


async def test_many_direct_messages_hold_up_no_channel(desk: Desk) -> None:
    crowd = await crowd_of(desk, 1)
    people = [f"UPERSON{number:02}" for number in range(20)]
    await put_direct(desk, [people[number % 20] for number in range(4000)])
    view = await desk.services.rollouts.get("r0")
    await desk.note(view, "a note")
    await crowd.deliver()
    assert Counter(said.channel for _, said in crowd.taken) == {"C0": 1} | dict.fromkeys(people, 1)
    await crowd.deliver()
    await desk.note(view, "harm", urgent=True)
    await crowd.deliver()
    assert Counter(said.channel for _, said in crowd.taken) == {"C0": 2} | dict.fromkeys(people, 3)
    assert "harm" in [said.text for _, said in crowd.taken if said.channel == "C0"][-1]


async def test_direct_messages_to_many_people_come_after_what_channels_are_told(desk: Desk) -> None:
    crowd = await crowd_of(desk, 1)
    await put_direct(desk, [f"U{number}" for number in range(1100)])
    await desk.note(await desk.services.rollouts.get("r0"), "a note")
    await crowd.deliver()
    assert [said.channel for _, said in crowd.taken].index("C0") < 3 * AT_ONCE
    assert len(crowd.taken) == 1101


async def test_a_card_promises_no_check_that_is_past(desk: Desk) -> None:
    crowd = await crowd_of(desk, 2)
    now = desk.world.clock.now()
    async with desk.services.database.write() as session:
        for number, due in ((0, now - MINUTE), (1, now + MINUTE)):
            (await session.get_one(Rollout, f"r{number}")).due_at = due
    await crowd.check()
    await crowd.deliver()
    shown = {said.ts: str(said.blocks) for _, said in crowd.taken}
    assert " · next " not in shown["0.9"]
    assert " · next " in shown["1.9"]
