"""Home tabs are kept as things are: published when something changed, paced, and never to who does not look."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from slack_sdk.models.views import View
from sqlalchemy import update

from bot import homes
from bot.clients import OneClient
from bot.homes import AT_ONCE, LOOKING, PAUSE, Homes, publish
from bot.services import Services
from tests.unit.notifier.desk import Desk, open_desk
from tests.unit.notifier.slack import refusal
from tests.unit.rollouts.world import AIKO, JONAS, MIRA
from tools.records.models import HomeTab, Rollout

TEAM = "T1"


@dataclass
class Tabs:
    """What Slack shows of the app's Home, by person; `refuses` is raised instead."""

    shown: list[tuple[str, View]] = field(default_factory=list)
    refuses: Exception | None = None
    calls: int = 0

    async def views_publish(self, *, user_id: str, view: View) -> Any:
        self.calls += 1
        if self.refuses is not None:
            raise self.refuses
        self.shown.append((user_id, view))

    async def chat_getPermalink(self, *, channel: str, message_ts: str) -> Any:  # noqa: N802 - Slack's name
        return {"permalink": f"https://acme.slack.com/archives/{channel}/p{message_ts}"}

    @property
    def people(self) -> list[str]:
        return [person for person, _ in self.shown]


@dataclass
class Hall:
    """People who look at their tabs."""

    desk: Desk
    tabs: Tabs
    services: Services
    homes: Homes

    async def opened(self, *people: str) -> None:
        for person in people:
            await publish(self.services.of(TEAM), self.tabs, TEAM, person, opened=True)
        self.tabs.shown.clear()
        self.tabs.calls = 0

    async def turn(self, after: timedelta = PAUSE) -> list[str]:
        """Who sees something new after so long."""
        self.desk.world.clock.advance(after.total_seconds())
        self.tabs.shown.clear()
        published = await self.homes.turn()
        assert published == len(self.tabs.shown)
        return self.tabs.people


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    async with open_desk() as desk:
        tabs = Tabs()
        yield Hall(desk, tabs, desk.services, Homes(desk.services, OneClient(tabs)))


async def test_who_looks_sees_what_changed_once(hall: Hall) -> None:
    await hall.opened(MIRA)
    assert await hall.turn() == []
    await hall.desk.rollout()
    assert await hall.turn() == [MIRA]
    assert await hall.turn() == []


async def test_sight_that_is_lost_and_back_without_an_event_is_seen(hall: Hall) -> None:
    view = await hall.desk.rollout()
    assert view.approval is not None
    await hall.services.rollouts.approve(view.approval.id, actor=JONAS)
    await hall.opened(MIRA)
    await hall.turn()
    for blind_since in (hall.desk.world.clock.now(), None):
        async with hall.services.database.write() as session:
            await session.execute(update(Rollout).where(Rollout.id == view.id).values(blind_since=blind_since))
        assert await hall.turn() == [MIRA]
        assert ("blind since" in str(hall.tabs.shown[-1][1].to_dict())) is (blind_since is not None)
    assert await hall.turn() == []


async def test_who_never_looked_or_not_for_long_is_left_alone(hall: Hall) -> None:
    await hall.opened(MIRA)
    await hall.desk.rollout()
    assert await hall.turn(LOOKING + PAUSE) == []


async def test_a_storm_is_one_new_picture(hall: Hall) -> None:
    await hall.opened(MIRA)
    assert await hall.turn() == []
    for number in range(3):
        await hall.desk.rollout(number)
        await hall.turn(timedelta(seconds=0.1))
    assert hall.tabs.calls == 1, "the first at once, the others after a pause together"
    assert await hall.turn() == [MIRA]
    assert "*3* rollouts open" in str(hall.tabs.shown[-1][1].to_dict())


async def test_many_take_turns(hall: Hall) -> None:
    crowd = [f"U{number:08d}" for number in range(AT_ONCE * 2 + 1)]
    await hall.opened(*crowd)
    await hall.desk.rollout()
    turns = [await hall.turn() for _ in range(4)]
    assert [len(turn) for turn in turns] == [AT_ONCE, AT_ONCE, 1, 0]
    assert sorted(person for turn in turns for person in turn) == crowd


async def test_each_sees_their_own_questions(hall: Hall) -> None:
    await hall.opened(MIRA, JONAS)
    await hall.desk.rollout()
    assert sorted(await hall.turn()) == sorted([JONAS, MIRA])
    seen = {person: str(view.to_dict()) for person, view in hall.tabs.shown}
    assert ("rollout.approve" in seen[JONAS], "rollout.approve" in seen[MIRA]) == (True, False)


async def test_slack_s_wish_to_wait_is_heeded(hall: Hall) -> None:
    await hall.opened(MIRA, JONAS, AIKO)
    await hall.desk.rollout()
    hall.tabs.refuses = refusal("ratelimited", status=429, retry_after=60)
    assert await hall.turn() == []
    assert hall.tabs.calls == 1
    hall.tabs.refuses = None
    assert await hall.turn() == []
    assert len(await hall.turn(timedelta(seconds=60))) == 3


async def test_a_tab_that_slack_will_never_take_is_forgotten(hall: Hall) -> None:
    await hall.opened(MIRA)
    await hall.desk.rollout()
    hall.tabs.refuses = refusal("user_not_found")
    assert await hall.turn() == []
    assert await hall.turn() == []
    assert hall.tabs.calls == 1
    async with hall.services.database.read() as session:
        assert await session.get(HomeTab, (TEAM, MIRA)) is None


async def test_one_process_publishes(hall: Hall) -> None:
    await hall.opened(MIRA)
    await hall.desk.rollout()
    assert await hall.turn() == [MIRA]
    await hall.desk.rollout(1)
    hall.desk.world.clock.advance(PAUSE.total_seconds())
    assert await Homes(hall.services, OneClient(hall.tabs)).turn() == 0, "another process holds the lease"
    assert await hall.turn() == [MIRA]
    assert homes.LEASE_LASTS > PAUSE
