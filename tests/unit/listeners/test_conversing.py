"""A thread's job when things go wrong: what Slack refuses or what breaks keeps no other message waiting."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from agent.model import WITHOUT_A_MODEL, ModelOptions
from agent.recorder import Recorder
from agent.turns import Answer, Ending, Turn
from bot.clients import OneClient
from bot.listeners.conversing import UNDELIVERABLE, Talk
from bot.runs import Runs
from bot.services import Services
from bot.settings import SlackSettings
from bot.threads import MOST_ATTEMPTS, Heard, Threads
from bot.voice import NotDelivered
from bot.zones import Zones
from tests.unit.voice.slack import Channel, Shown
from tools.clock import ManualClock
from tools.records.database import Database
from tools.records.migrate import migrate
from tools.records.models import AgentRun, Message, new_id

FIRST, SECOND = "1780000000.000100", "1780000001.000100"
START = datetime.fromtimestamp(1_780_000_002, UTC)


@dataclass
class Echo:
    """Answers with what was said; `breaks` is how often it fails before anything is written down."""

    recorder: Recorder
    read: list[str] = field(default_factory=list)
    breaks: int = 0
    answer: str = "You said: {words}"

    async def title(self, tool: str, arguments: Any) -> str:
        return tool

    async def run(self, turn: Turn, voice: Any, stop: Any, *, run_id: str) -> Answer:
        if self.breaks:
            self.breaks -= 1
            raise ConnectionError("the database is away")
        words = " ".join(turn.words)
        self.read.append(words)
        await self.recorder.begin(turn, ModelOptions(name="echo"), "", run_id=run_id)
        text = self.answer.format(words=words)
        await self.recorder.end(run_id, Ending.ANSWERED, {"text": text})
        return Answer(run_id, Ending.ANSWERED, text)


class Tokyo:
    """A directory in which everybody lives in Tokyo."""

    async def users_info(self, *, user: str) -> dict[str, Any]:
        return {"user": {"id": user, "tz": "Asia/Tokyo"}}


@dataclass
class Bench:
    """The job, and everything around it."""

    database: Database
    clock: ManualClock
    slack: Channel
    agent: Echo
    talk: Talk
    threads: Threads

    async def hear(self, ts: str, text: str) -> dict[str, str]:
        """A message of the thread; what its job is given."""
        conversation_id = await self.threads.hear(Heard("T1", "C1", FIRST, ts, "U0MIRA", text))
        assert conversation_id is not None
        return {"conversation": conversation_id}

    @property
    def shown(self) -> str:
        """Everything that people see."""
        return "\n".join(f"{message.text} {message.blocks}" for message in self.slack.shown.values())


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Bench]:
    database, clock, slack = Database(f"sqlite:///{directory / 'sluice.db'}"), ManualClock(START), Channel()
    await migrate(database)
    agent = Echo(Recorder(database, clock))
    settings = SimpleNamespace(slack=SlackSettings(), environment="production")
    zones = Zones(OneClient(Tokyo()), clock)
    services = SimpleNamespace(database=database, clock=clock, runs=Runs(), agent=agent, settings=settings, zones=zones)
    talk = Talk(cast("Services", services), OneClient(slack), pause=0.0)  # type: ignore[arg-type]
    yield Bench(database, clock, slack, agent, talk, Threads(database, clock))
    await database.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as made:
        yield made


async def test_an_answer_that_slack_does_not_take_now_holds_up_no_other_message(bench: Bench) -> None:
    job = await bench.hear(FIRST, "how is it?")
    bench.slack.refusals["postMessage"] = ["internal_error"]
    with pytest.raises(NotDelivered):
        await bench.talk.go_on(job)
    await bench.hear(SECOND, "roll back new-checkout")
    bench.slack.refusals["postMessage"] = ["internal_error", "internal_error"]
    with pytest.raises(NotDelivered):
        await bench.talk.go_on(job)
    assert bench.agent.read == ["how is it?", "roll back new-checkout"]
    await bench.talk.go_on(job)
    assert "You said: how is it?" in bench.shown
    assert "You said: roll back new-checkout" in bench.shown
    assert len(bench.agent.read) == len(bench.slack.shown) == 2


async def test_a_session_that_a_dead_process_left_is_left_where_nothing_is_to_be_answered(bench: Bench) -> None:
    job = await bench.hear(FIRST, "how is it?")
    found = await bench.threads.find(job["conversation"])
    assert found is not None
    assert await bench.threads.take(found.conversation, new_id()) is not None, "and then the process died"
    await bench.threads.take_back("T1", "C1", FIRST)
    await bench.talk.go_on(job)
    assert (bench.agent.read, bench.slack.shown) == ([], {})
    assert bench.slack.sessions == ["active"]


async def test_one_refused_answer_does_not_leave_the_next_person_unanswered(bench: Bench) -> None:
    job = await bench.hear(FIRST, "how is it?")
    await bench.threads.hear(Heard("T1", "C1", FIRST, SECOND, "U0SAM", "roll back new-checkout"))
    bench.slack.refusals["postMessage"] = ["ratelimited"]
    with pytest.raises(NotDelivered):
        await bench.talk.go_on(job)
    assert bench.agent.read == ["how is it?", "roll back new-checkout"]
    assert "You said: roll back new-checkout" in bench.shown


async def test_an_answer_that_slack_will_never_take_is_given_up_for_good(bench: Bench) -> None:
    job = await bench.hear(FIRST, "how is it?")
    bench.slack.refusals["postMessage"] = ["invalid_blocks"] * 9
    with capture_logs() as logs:
        await bench.talk.go_on(job)
    assert [line["reason"] for line in logs if line["event"] == UNDELIVERABLE] == ["invalid_blocks"]
    assert bench.slack.calls["postMessage"] == 3, "as it is, in simple blocks, and as plain text"
    found = await bench.threads.find(job["conversation"])
    assert found is not None
    assert not found.undelivered
    bench.slack.refusals.clear()
    await bench.hear(SECOND, "roll back new-checkout")
    await bench.talk.go_on(job)
    assert bench.agent.read == ["how is it?", "roll back new-checkout"]
    assert len(bench.slack.shown) == 1


async def test_what_no_row_can_hold_keeps_no_message_back(bench: Bench) -> None:
    job = await bench.hear(FIRST, "how is\ud83d it\0?")
    assert await bench.threads.change("T1", "C1", FIRST, "and how \ude00was it?") is not None
    await bench.talk.go_on(job)
    async with bench.database.read() as session:
        heard = await session.scalar(select(Message).where(Message.by_sluice.is_(False)))
    assert heard is not None
    assert [*heard.earlier, heard.text] == ["how is it?", "and how was it?"]
    assert "You said: and how was it?" in bench.shown


async def test_a_message_whose_run_could_not_begin_is_found_and_answered(bench: Bench) -> None:
    job = await bench.hear(FIRST, "roll back new-checkout")
    bench.agent.breaks = 1
    with pytest.raises(ConnectionError):
        await bench.talk.go_on(job)
    bench.clock.advance(60)
    assert await bench.threads.left_alone() == [(job["conversation"], FIRST)]
    await bench.talk.go_on(job)
    assert bench.agent.read == ["roll back new-checkout"]
    assert await bench.threads.left_alone() == []


async def test_a_message_that_always_fails_is_given_up_in_plain_words(bench: Bench) -> None:
    job = await bench.hear(FIRST, "how is it?")
    bench.agent.breaks = 99
    for _ in range(MOST_ATTEMPTS):
        with pytest.raises(ConnectionError):
            await bench.talk.go_on(job)
    await bench.talk.go_on(job)
    assert f"interrupted {MOST_ATTEMPTS} times" in bench.shown
    bench.clock.advance(60)
    assert await bench.threads.left_alone() == []


async def test_after_the_last_attempt_the_message_that_was_begun_says_so(bench: Bench) -> None:
    job = await bench.hear(FIRST, "how is it?")
    begun = bench.slack._new(Shown())
    for attempt in range(MOST_ATTEMPTS):
        found = await bench.threads.find(job["conversation"])
        assert found is not None
        assert found.broken is (attempt > 0)
        await bench.threads.recover(found.conversation.id)
        taken = await bench.threads.take(found.conversation, new_id())
        assert taken is not None
        turn = await bench.talk._turn(found.conversation, taken)
        await bench.agent.recorder.begin(turn, ModelOptions(name="echo"), "", run_id=taken.run_id)
        if attempt == 0:
            await bench.threads.says(found.conversation.id, taken.run_id, begun, "")
    await bench.hear(SECOND, "and now?")
    await bench.talk.go_on(job)
    assert bench.agent.read == ["and now?"]
    assert f"interrupted {MOST_ATTEMPTS} times" in str(bench.slack.shown[begun].blocks)
    assert WITHOUT_A_MODEL.split("`")[0].strip() in str(bench.slack.shown[begun].blocks)
    assert "You said: and now?" in bench.shown
    found = await bench.threads.find(job["conversation"])
    assert found is not None
    assert (found.broken, found.undelivered) == (False, False)
    async with bench.database.read() as session:
        outcomes = (await session.scalars(select(AgentRun.outcome).order_by(AgentRun.outcome))).all()
    assert outcomes == ["answered", "failed", "failed", "failed"]


async def test_moments_are_told_in_the_askers_zone_and_kept_in_utc(bench: Bench) -> None:
    bench.agent.answer = "Nothing goes up until 01 Mar 2026 20:00 UTC."
    job = await bench.hear(FIRST, "how is it?")
    await bench.talk.go_on(job)
    [message] = bench.slack.shown.values()
    [markdown] = [block["text"] for block in message.blocks if block["type"] == "markdown"]
    assert markdown == "Nothing goes up until 02 Mar 2026 05:00 JST."
    async with bench.database.read() as session:
        kept = await session.scalar(select(Message.text).where(Message.by_sluice.is_(True)))
        output = await session.scalar(select(AgentRun.output))
    assert kept == bench.agent.answer
    assert output == {"text": bench.agent.answer}
