"""Orders as they are heard: whatever it takes to find out what a message is, the message is kept."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import select

from agent.turns import Turn
from bot.listeners.messages import Ears
from bot.runs import Runs
from bot.services import Services
from tools.clock import ManualClock
from tools.records.database import Database
from tools.records.migrate import migrate
from tools.records.models import Message

TS, LATER = "1780000000.000100", "1780000007.000100"
BODY = {"team_id": "T1"}


@dataclass
class Slow:
    """Takes its time to tell what is an order, and may fail."""

    knows: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bool = False

    async def is_order(self, turn: Turn) -> bool:
        self.asked.set()
        if self.fails:
            raise ConnectionError("the flag service is away")
        await self.knows.wait()
        return turn.words == ("roll back",)


@dataclass
class Office:
    """A thread that somebody writes in."""

    database: Database
    agent: Slow
    ears: Ears
    submitted: list[str]

    async def say(self, text: str, ts: str = TS) -> None:
        event = {"channel": "C1", "ts": ts, "thread_ts": TS, "user": "U0MIRA", "text": text}
        await self.ears.hear(BODY, event, "U0SLUICE", asked=True)

    async def edit(self, text: str) -> None:
        message = {"ts": TS, "thread_ts": TS, "user": "U0MIRA", "text": text}
        event = {"subtype": "message_changed", "channel": "C1", "event_ts": LATER, "message": message}
        await self.ears.notice(BODY, event, "U0SLUICE")

    async def delete(self) -> None:
        event = {"subtype": "message_deleted", "channel": "C1", "event_ts": LATER, "deleted_ts": TS}
        await self.ears.notice(BODY, event, "U0SLUICE")

    async def message(self) -> Message:
        async with self.database.read() as session:
            (message,) = (await session.scalars(select(Message))).all()
            return message


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    database, clock = Database(f"sqlite:///{tmp_path / 'sluice.db'}"), ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    await migrate(database)
    agent, submitted = Slow(), list[str]()

    async def submit(kind: str, key: str, payload: Any, *, dedupe: str) -> None:
        submitted.append(dedupe)

    services = SimpleNamespace(
        database=database,
        clock=clock,
        runs=Runs(),
        agent=agent,
        settings=SimpleNamespace(environment="production"),
        jobs=SimpleNamespace(submit=submit),
    )
    yield Office(database, agent, Ears(cast("Services", services)), submitted)
    await database.close()


async def test_a_message_is_kept_and_its_job_submitted_before_it_is_known_whether_it_is_an_order(
    office: Office,
) -> None:
    saying = asyncio.create_task(office.say("roll back"))
    await office.agent.asked.wait()
    assert (await office.message()).text == "roll back"
    assert len(office.submitted) == 1
    assert not (await office.message()).is_order
    office.agent.knows.set()
    await saying
    assert (await office.message()).is_order


async def test_a_message_is_kept_where_nobody_can_tell_whether_it_is_an_order(office: Office) -> None:
    office.agent.fails = True
    with pytest.raises(ConnectionError):
        await office.say("roll back")
    assert (await office.message()).text == "roll back"
    assert len(office.submitted) == 1


async def test_an_order_that_is_deleted_before_it_is_known_to_be_one_is_none(office: Office) -> None:
    saying = asyncio.create_task(office.say("roll back"))
    await office.agent.asked.wait()
    await office.delete()
    office.agent.knows.set()
    await saying
    message = await office.message()
    assert message.deleted_at is not None
    assert not message.is_order


async def test_an_edit_makes_an_order_and_unmakes_it(office: Office) -> None:
    office.agent.knows.set()
    await office.say("roll bakc")
    assert not (await office.message()).is_order
    await office.edit("roll back")
    assert (await office.message()).is_order
    await office.edit("roll back?")
    assert not (await office.message()).is_order


async def test_an_event_that_comes_again_is_read_once(office: Office) -> None:
    office.agent.knows.set()
    await asyncio.gather(*(office.say("roll back") for _ in range(4)))
    assert (await office.message()).is_order
    assert len(office.submitted) == 1
