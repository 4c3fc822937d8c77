"""Conversations as rows, on SQLite and PostgreSQL alike: read once, in order, by one run, and not for ever."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from agent.model import ModelOptions
from agent.recorder import RUNNING, Recorder
from agent.stopping import Stopped
from agent.turns import Ending, Said, Turn
from bot.threads import (
    ANSWER_KEEPS,
    INTERRUPTED,
    LONGEST_RUN,
    MOST_ATTEMPTS,
    MOST_HISTORY,
    Heard,
    Taken,
    Threads,
    Upset,
)
from tools.clock import ManualClock
from tools.records.database import Database
from tools.records.migrate import migrate
from tools.records.models import AgentRun, Conversation, Message, ToolCall, new_id

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST = Heard("T1", "C1", "1772366400.000100", "1772366400.000100", "U0MIRA", "one")
MIRA, SAM = "U0MIRA", "U0SAM"


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    sqlite = request.param == "sqlite"
    made = Database(f"sqlite:///{tmp_path / 'sluice.db'}" if sqlite else request.getfixturevalue("postgres_url"))
    await migrate(made)
    yield made
    await made.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def threads(database: Database, clock: ManualClock) -> Threads:
    return Threads(database, clock)


def more(number: int, text: str, author: str = MIRA) -> Heard:
    """A later message of the same thread."""
    return replace(FIRST, ts=f"1772366400.{number:06d}", author=author, text=text)


async def heard(threads: Threads, *messages: Heard) -> str:
    """The conversation in which these were said."""
    found = [await threads.hear(message) for message in messages]
    assert found[0] is not None
    return found[0]


async def ordered(threads: Threads, order: Heard) -> Upset | None:
    """What has to stop for an order that was just heard."""
    conversation = await threads.hear(order)
    assert conversation is not None
    return await threads.make_way(conversation, order.ts, order.text)


async def take(threads: Threads, conversation: str, run_id: str | None = None) -> Taken | None:
    """What a run takes."""
    found = await threads.find(conversation)
    assert found is not None
    return await threads.take(found.conversation, run_id or new_id())


def new(taken: Taken | None) -> list[str]:
    """The messages that were taken."""
    assert taken is not None
    return [said.text for said in taken.said if said.new]


async def run(
    database: Database,
    conversation: str,
    run_id: str,
    outcome: str = RUNNING,
    *,
    kind: str = "conversation",
    **values: Any,
) -> None:
    """A run's row, as the agent writes it."""
    row = AgentRun(
        id=run_id,
        conversation_id=conversation,
        kind=kind,
        requester=MIRA,
        model="",
        model_parameters={},
        prompt_version="",
        inputs={},
        outcome=outcome,
        started_at=START,
        **values,
    )
    async with database.write() as session:
        session.add(row)


def turn(conversation: str) -> Turn:
    """What Mira's run starts from."""
    said = Said(author=MIRA, text="one", at=START, new=True)
    return Turn(
        conversation_id=conversation,
        workspace="T1",
        channel="C1",
        person=MIRA,
        messages=(said,),
        environment="production",
        now=START,
    )


async def test_a_message_is_written_down_once_however_often_it_comes(threads: Threads, database: Database) -> None:
    found = await asyncio.gather(*(threads.hear(FIRST) for _ in range(8)))
    assert len([one for one in found if one is not None]) == 1
    async with database.read() as session:
        assert len((await session.scalars(select(Conversation))).all()) == 1
    assert await threads.takes_part("T1", "C1", FIRST.thread)
    assert not await threads.takes_part("T2", "C1", FIRST.thread)
    assert not await threads.takes_part("T1", "C1", "1772366400.999999")


async def test_one_persons_consecutive_messages_are_taken_by_exactly_one_run(threads: Threads) -> None:
    conversation = await heard(
        threads, FIRST, more(200, "two"), more(300, "three", SAM), more(400, "four"), more(150, "between")
    )
    taken = await asyncio.gather(*(take(threads, conversation) for _ in range(3)))
    read = sorted((tuple(new(found)), found.person) for found in taken if found is not None)
    assert read == [(("four",), MIRA), (("one", "between", "two"), MIRA), (("three",), SAM)]
    assert await take(threads, conversation) is None


async def test_an_edit_of_what_is_being_read_stops_the_run_and_is_read_again(
    threads: Threads, database: Database
) -> None:
    conversation = await heard(threads, FIRST, more(200, "two"))
    await take(threads, conversation, "run")
    await run(database, conversation, "run")
    assert await threads.change("T1", "C1", FIRST.ts, "one") is None, "Slack also tells of changes that change no word"
    upset = await threads.change("T1", "C1", FIRST.ts, "ONE")
    assert upset is not None
    assert (upset.run_id, upset.again) == ("run", True)
    assert not await threads.is_awaited("run")
    async with database.read() as session:
        assert (await session.get_one(AgentRun, "run")).stop_requested_at == START
    taken = await take(threads, conversation, "next")
    assert new(taken) == ["ONE", "two"]


async def test_an_edit_of_what_was_answered_is_only_kept(threads: Threads, database: Database) -> None:
    conversation = await heard(threads, FIRST)
    await take(threads, conversation, "run")
    await run(database, conversation, "run", "answered")
    upset = await threads.change("T1", "C1", FIRST.ts, "ONE")
    assert upset is not None
    assert (upset.run_id, upset.again) == (None, False)
    assert await take(threads, conversation, "next") is None


async def test_what_was_taken_back_is_not_read_and_the_rest_is(threads: Threads, database: Database) -> None:
    conversation = await heard(threads, FIRST, more(200, "two"))
    await take(threads, conversation, "run")
    await run(database, conversation, "run")
    upset = await threads.take_back("T1", "C1", FIRST.ts)
    assert upset is not None
    assert upset.run_id == "run"
    assert await threads.take_back("T1", "C1", FIRST.ts) is None, "it is gone already"
    taken = await take(threads, conversation, "next")
    assert new(taken) == ["two"]


async def test_who_may_object(threads: Threads, database: Database) -> None:
    conversation = await heard(threads, FIRST, more(200, "two"))
    assert await threads.object_to("T1", "C1", FIRST.ts, SAM) is None
    await take(threads, conversation, "run")
    await run(database, conversation, "run")
    await threads.says(conversation, "run", "1772366400.000900", "")
    assert await threads.object_to("T1", "C1", FIRST.ts, SAM) is None
    for ts, person in ((FIRST.ts, MIRA), ("1772366400.000900", SAM)):
        upset = await threads.object_to("T1", "C1", ts, person)
        assert upset is not None
        assert (upset.run_id, upset.again) == ("run", False)
    assert await threads.is_awaited("run"), "what was objected to is answered by saying so"


async def test_everyone_in_a_thread_may_stop_what_goes_on_in_it(threads: Threads, database: Database) -> None:
    pressed = START + timedelta(seconds=1)
    assert await threads.stop("T1", "C1", FIRST.thread, pressed) is None, "nobody knows the thread"
    conversation = await heard(threads, FIRST, more(200, "two", SAM))
    assert await threads.stop("T1", "C1", FIRST.thread, pressed) is None, "nothing goes on"
    await take(threads, conversation, "run")
    for _ in range(2):
        assert await threads.stop("T1", "C1", FIRST.thread, pressed) == Upset(conversation, "run")
    async with database.read() as session:
        assert (await session.get_one(AgentRun, "run")).stop_requested_at == START
    assert await threads.is_awaited("run"), "a stop is answered by saying so"
    async with database.write() as session:
        await session.execute(update(AgentRun).values(outcome=Ending.STOPPED.value))
    assert await threads.stop("T1", "C1", FIRST.thread, pressed) is None
    assert new(await take(threads, conversation, "next")) == ["two"], "what others wrote is read all the same"


async def test_a_stop_that_comes_late_stops_nothing_that_was_said_since(threads: Threads, database: Database) -> None:
    conversation = await heard(threads, replace(FIRST, ts="1772366460.000100"))
    await take(threads, conversation, "run")
    await run(database, conversation, "run")
    assert await threads.stop("T1", "C1", FIRST.thread, START + timedelta(seconds=59)) == Upset(conversation)
    async with database.read() as session:
        assert (await session.get_one(AgentRun, "run")).stop_requested_at is None
    assert await threads.stop("T1", "C1", FIRST.thread, START + timedelta(seconds=61)) == Upset(conversation, "run")


async def test_an_unread_message_that_is_objected_to_is_never_read(threads: Threads) -> None:
    conversation = await heard(threads, FIRST)
    assert await threads.object_to("T1", "C1", FIRST.ts, MIRA) is None
    assert await take(threads, conversation, "run") is None


async def test_what_a_dead_process_was_reading_is_read_again_but_not_for_ever(
    threads: Threads, database: Database, clock: ManualClock
) -> None:
    conversation = await heard(threads, FIRST)
    for attempt in range(MOST_ATTEMPTS):
        taken = await take(threads, conversation, f"run-{attempt}")
        assert taken is not None
        await run(database, conversation, f"run-{attempt}")
        await threads.says(conversation, f"run-{attempt}", "1772366400.000900", "")
        found = await threads.find(conversation)
        assert found is not None
        assert found.broken
        await threads.recover(conversation)
        assert await threads.left_message(conversation) == "1772366400.000900"
    assert await take(threads, conversation, "run") is None
    found = await threads.find(conversation)
    assert found is not None
    assert (found.broken, found.undelivered) == (False, True)
    [unanswered] = await threads.unanswered(conversation)
    assert (unanswered.run_id, unanswered.ending) == (f"run-{MOST_ATTEMPTS - 1}", Ending.FAILED)
    assert unanswered.ts == "1772366400.000900"
    async with database.read() as session:
        ended = (await session.scalars(select(AgentRun))).all()
    assert {(one.outcome, one.error) for one in ended} == {("failed", INTERRUPTED)}


async def test_what_was_taken_by_a_process_that_died_before_its_run_began_is_read_again_but_not_for_ever(
    threads: Threads,
) -> None:
    conversation = await heard(threads, FIRST)
    for attempt in range(MOST_ATTEMPTS):
        assert await take(threads, conversation, f"never-begun-{attempt}") is not None
        assert await threads.recover(conversation) is (attempt < MOST_ATTEMPTS - 1)
    assert await take(threads, conversation, "run") is None
    assert len(await threads.unanswered(conversation)) == 1


async def test_a_planning_that_died_with_its_run_is_closed_and_is_no_attempt_of_its_own(
    threads: Threads, database: Database
) -> None:
    conversation = await heard(threads, FIRST)
    for attempt in range(MOST_ATTEMPTS):
        assert await take(threads, conversation, f"run-{attempt}") is not None
        await run(database, conversation, f"run-{attempt}")
        planning = {"kind": "planning", "parent_run_id": f"run-{attempt}"}
        await run(database, conversation, f"planning-{attempt}", **planning)
        assert await threads.recover(conversation) is (attempt < MOST_ATTEMPTS - 1)
    async with database.read() as session:
        ended = (await session.scalars(select(AgentRun))).all()
    assert len(ended) == 2 * MOST_ATTEMPTS
    assert {(one.outcome, one.error) for one in ended} == {("failed", INTERRUPTED)}
    # The plannings have no answer that Slack could lack.
    assert [one.run_id for one in await threads.unanswered(conversation)] == [f"run-{MOST_ATTEMPTS - 1}"]


async def test_a_planning_that_outlived_its_run_is_closed_and_nothing_is_read_again(
    threads: Threads, database: Database
) -> None:
    conversation = await heard(threads, FIRST)
    await take(threads, conversation, "run")
    await run(database, conversation, "run", "answered", output={"text": "Here."}, ended_at=START)
    await run(database, conversation, "planning", kind="planning", parent_run_id="run")
    found = await threads.find(conversation)
    assert found is not None
    assert found.broken
    assert not await threads.recover(conversation)
    found = await threads.find(conversation)
    assert found is not None
    assert not found.broken
    async with database.read() as session:
        assert (await session.get_one(AgentRun, "run")).outcome == "answered"
        assert (await session.get_one(AgentRun, "planning")).error == INTERRUPTED


TAKING_BACK: dict[str, Callable[[Threads, str, str], Awaitable[Upset | None]]] = {
    "edited": lambda threads, channel, ts: threads.change("T1", channel, ts, "ONE"),
    "deleted": lambda threads, channel, ts: threads.take_back("T1", channel, ts),
    "crossed": lambda threads, channel, ts: threads.object_to("T1", channel, ts, MIRA),
}


@pytest.mark.parametrize("how", TAKING_BACK)
async def test_what_is_taken_back_before_its_run_has_begun_stops_the_run_as_it_begins(
    threads: Threads, database: Database, clock: ManualClock, how: str
) -> None:
    conversation = await heard(threads, FIRST, more(200, "two"))
    await take(threads, conversation, "run")
    upset = await TAKING_BACK[how](threads, "C1", FIRST.ts)
    assert upset is not None
    assert upset.run_id == "run"
    recorder = Recorder(database, clock)
    assert await recorder.begin(turn(conversation), ModelOptions(name="m"), "v1", run_id="run") == ("run", True)
    assert await recorder.is_stopped("run")
    async with database.read() as session:
        begun = await session.get_one(AgentRun, "run")
    assert (begun.requester, begun.model, begun.prompt_version, begun.outcome) == (MIRA, "m", "v1", RUNNING)


async def test_a_run_that_nobody_took_anything_back_from_begins(
    threads: Threads, database: Database, clock: ManualClock
) -> None:
    conversation = await heard(threads, FIRST)
    await take(threads, conversation, "run")
    recorder = Recorder(database, clock)
    assert await recorder.begin(turn(conversation), ModelOptions(name="m"), "v1", run_id="run") == ("run", False)
    await recorder.end("run", Ending.ANSWERED, {"text": "Here."})
    upset = await threads.take_back("T1", "C1", FIRST.ts)
    assert upset is not None
    assert (upset.run_id, upset.again) == (None, False)
    assert not await recorder.is_stopped("run")


@pytest.mark.parametrize("how", TAKING_BACK)
async def test_a_message_that_is_taken_and_taken_back_at_once_is_either_unread_or_its_run_stops(
    threads: Threads, database: Database, clock: ManualClock, how: str
) -> None:
    for number in range(8):
        ts = f"177236640{number}.000100"
        conversation = await heard(threads, replace(FIRST, channel=f"C{number}", thread=ts, ts=ts))
        deed = TAKING_BACK[how](threads, f"C{number}", ts)
        taken, _ = await asyncio.gather(take(threads, conversation, f"run-{number}"), deed)
        if taken is not None and new(taken) == ["one"]:
            begun = Recorder(database, clock).begin(
                turn(conversation), ModelOptions(name="m"), "v1", run_id=f"run-{number}"
            )
            assert await begun == (f"run-{number}", True)


async def test_what_somebody_stopped_is_not_read_again_when_its_process_dies(
    threads: Threads, database: Database
) -> None:
    conversation = await heard(threads, FIRST)
    await take(threads, conversation, "run")
    await run(database, conversation, "run")
    await threads.object_to("T1", "C1", FIRST.ts, MIRA)
    assert not await threads.recover(conversation)
    assert await take(threads, conversation, "next") is None
    [unanswered] = await threads.unanswered(conversation)
    assert (unanswered.run_id, unanswered.ending) == ("run", Ending.STOPPED)


async def test_an_answer_that_was_given_up_waits_no_longer(threads: Threads, database: Database) -> None:
    conversation = await heard(threads, FIRST)
    await take(threads, conversation, "run")
    await run(database, conversation, "run", "answered", output={"text": "Here."}, ended_at=START)
    assert len(await threads.unanswered(conversation)) == 1
    await threads.give_up("run", "invalid_blocks")
    assert await threads.unanswered(conversation) == []
    async with database.read() as session:
        assert (await session.get_one(AgentRun, "run")).output == {"text": "Here.", "refused": "invalid_blocks"}


async def test_an_answer_that_slack_did_not_take_waits_for_a_while(
    threads: Threads, database: Database, clock: ManualClock
) -> None:
    conversation = await heard(threads, FIRST)
    await take(threads, conversation, "run")
    await run(database, conversation, "run", "answered", output={"text": "Here."}, ended_at=START)
    [unanswered] = await threads.unanswered(conversation)
    assert (unanswered.run_id, unanswered.person, unanswered.ts) == ("run", MIRA, None)
    found = await threads.find(conversation)
    assert found is not None
    assert (found.broken, found.undelivered) == (False, True)
    await threads.says(conversation, "run", "1772366400.000900", "")
    [unanswered] = await threads.unanswered(conversation)
    assert unanswered.ts == "1772366400.000900"
    clock.advance(ANSWER_KEEPS.total_seconds() + 1)
    assert await threads.unanswered(conversation) == []
    clock.at = START
    await threads.says(conversation, "run", "1772366400.000900", "Here.")
    assert await threads.unanswered(conversation) == []


async def test_history_is_what_was_read_and_answered_the_newest_of_it(threads: Threads, database: Database) -> None:
    conversation = await heard(threads, *(more(number, f"m{number}") for number in range(100, 130)))
    await take(threads, conversation, "run")
    await run(database, conversation, "run", "answered")
    await threads.says(conversation, "run", "1772366400.000200", "Answered.")
    await threads.says(conversation, "other", "1772366400.000201", "")
    await threads.take_back("T1", "C1", "1772366400.000129")
    await heard(threads, more(300, "new"), more(301, "newer"), more(302, "another's", SAM))
    taken = await take(threads, conversation, "next")
    assert taken is not None
    assert len(taken.said) == MOST_HISTORY
    assert [(said.text, said.by_sluice, said.new) for said in taken.said[-4:]] == [
        ("m128", False, False),
        ("Answered.", True, False),
        ("new", False, True),
        ("newer", False, True),
    ]


async def test_messages_that_nobody_took_are_found(threads: Threads, database: Database, clock: ManualClock) -> None:
    conversation = await heard(threads, FIRST, more(200, "two"))
    assert await threads.left_alone() == []
    clock.advance(timedelta(minutes=1).total_seconds())
    assert await threads.left_alone() == [(conversation, FIRST.ts)]
    await take(threads, conversation, "run")
    assert await threads.left_alone() == [(conversation, FIRST.ts)], "a run that has not begun may never begin"
    await run(database, conversation, "run")
    assert await threads.left_alone() == []
    clock.advance(LONGEST_RUN.total_seconds())
    assert await threads.left_alone() == [(conversation, FIRST.ts)], "a run that does not end may have died"


async def test_what_is_looked_for_once_a_minute_is_not_looked_for_in_the_whole_history(
    threads: Threads, database: Database
) -> None:
    asked = list[tuple[str, Any]]()

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "messages" in statement:
            asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await threads.left_alone()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    [(statement, parameters)] = asked
    is_sqlite = database.engine.dialect.name == "sqlite"
    async with database.engine.connect() as connection:
        if not is_sqlite:
            # Of a table with next to nothing in it everything is read at once, unless that is forbidden.
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explained = f"EXPLAIN {'QUERY PLAN ' if is_sqlite else ''}{statement}"
        plan = "\n".join(str(row) for row in await connection.exec_driver_sql(explained, parameters))
    assert "ix_messages_run_id" in plan or not is_sqlite
    assert "ix_messages_of_people" in plan
    assert "SCAN messages" not in plan
    assert "Seq Scan on messages" not in plan


async def test_a_thread_is_about_the_rollout_that_was_talked_about_last_unless_it_is_a_cards(
    threads: Threads, database: Database
) -> None:
    conversation = await heard(threads, FIRST)
    await threads.says(conversation, "run", "1772366400.000900", "Here.", about="r1")
    async with database.write() as session:
        await session.execute(update(Conversation).values(card_ts="1772366400.000100"))
    await threads.says(conversation, "run", "1772366400.000901", "There.", about="r2")
    found = await threads.find(conversation)
    assert found is not None
    assert found.conversation.about == "r1"


async def test_whoever_says_something_learns_whether_there_is_more_to_read(threads: Threads) -> None:
    conversation = await heard(threads, FIRST)
    await take(threads, conversation, "run")
    assert not await threads.says(conversation, "run", "1772366400.000900", "Here.")
    await heard(threads, more(200, "two"))
    assert await threads.says(conversation, "run", "1772366400.000900", "Here.")


async def test_a_message_of_sluices_is_nobodys_to_edit(threads: Threads, database: Database) -> None:
    conversation = await heard(threads, FIRST)
    await threads.says(conversation, "run", "1772366400.000900", "Here.")
    assert await threads.change("T1", "C1", "1772366400.000900", "There.") is None
    assert await threads.take_back("T1", "C1", "1772366400.000900") is None
    async with database.read() as session:
        rows = (await session.scalars(select(Message).where(Message.by_sluice.is_(True)))).all()
    assert [row.text for row in rows] == ["Here."]


async def test_no_secret_is_written_down(threads: Threads, database: Database) -> None:
    secret = "xoxb-1234567890-abcdefghij"
    conversation = await heard(threads, replace(FIRST, text=f"roll back, token={secret} leaked"))
    await threads.change("T1", "C1", FIRST.ts, f"roll back, {secret} leaked")
    async with database.read() as session:
        (message,) = (await session.scalars(select(Message))).all()
    assert secret not in str((message.text, message.earlier))
    assert new(await take(threads, conversation)) == ["roll back, [hidden] leaked"]


async def test_an_order_is_read_before_all_else_and_alone(threads: Threads) -> None:
    conversation = await heard(threads, FIRST, more(2, "two"), more(4, "four"))
    assert await ordered(threads, more(3, "roll back")) is None, "nothing goes on"
    assert new(await take(threads, conversation)) == ["roll back"]
    assert new(await take(threads, conversation)) == ["two", "four", "one"]


@pytest.mark.parametrize(
    ("then", "author", "read"),
    [
        ("wait, don't", MIRA, ["roll back", "wait, don't"]),
        ("No!", MIRA, ["roll back", "No!"]),
        ("errors explode", MIRA, ["roll back"]),
        ("wait, don't", SAM, ["roll back"]),
    ],
)
async def test_an_order_is_read_with_what_its_author_takes_it_back_with(
    threads: Threads, then: str, author: str, read: list[str]
) -> None:
    conversation = await heard(threads, more(2, "two"), more(4, then, author))
    await ordered(threads, more(3, "roll back"))
    assert new(await take(threads, conversation)) == read


async def test_what_was_said_before_an_order_that_was_read_is_overtaken(threads: Threads) -> None:
    conversation = await heard(threads, more(2, "two"))
    await ordered(threads, more(3, "pause it"))
    order, overtaken = await take(threads, conversation), await take(threads, conversation)
    await heard(threads, replace(FIRST, ts="1772366401.000000"), more(4, "four", SAM))
    after = await take(threads, conversation)
    assert order is not None
    assert overtaken is not None
    assert after is not None
    assert [new(order), new(overtaken), new(after)] == [["pause it"], ["two"], ["four"]]
    assert [order.overtaken, overtaken.overtaken, after.overtaken] == [False, True, False]


async def test_an_order_stops_what_is_read_before_it_and_has_it_read_again(
    threads: Threads, database: Database, clock: ManualClock
) -> None:
    conversation = await heard(threads, FIRST)
    await take(threads, conversation, "run")
    await run(database, conversation, "run")
    assert await ordered(threads, more(200, "roll back")) == Upset(conversation, "run", again=True)
    assert await Recorder(database, clock).is_stopped("run")
    assert new(await take(threads, conversation)) == ["roll back"]
    assert new(await take(threads, conversation)) == ["one"]


async def test_an_order_stops_a_run_that_is_about_to_begin(
    threads: Threads, database: Database, clock: ManualClock
) -> None:
    conversation = await heard(threads, FIRST)
    await take(threads, conversation, "run")
    assert await ordered(threads, more(200, "roll back")) == Upset(conversation, "run", again=True)
    begun = Recorder(database, clock).begin(turn(conversation), ModelOptions(name="m"), "v1", run_id="run")
    assert await begun == ("run", True)


async def test_what_a_stopped_run_has_done_is_not_done_again(
    threads: Threads, database: Database, clock: ManualClock
) -> None:
    conversation = await heard(threads, FIRST)
    await take(threads, conversation, "run")
    await run(database, conversation, "run")
    recorder = Recorder(database, clock)
    await recorder.tool_called(recorder.tool_call("run", 0, "propose_plan", {}))
    assert await ordered(threads, more(200, "roll back")) == Upset(conversation, "run", again=False)
    assert new(await take(threads, conversation)) == ["roll back"]
    assert await take(threads, conversation) is None


async def test_what_an_order_stops_has_either_acted_or_never_does(
    threads: Threads, database: Database, clock: ManualClock
) -> None:
    conversation = await heard(threads, FIRST)
    await take(threads, conversation, "run")
    await run(database, conversation, "run")
    recorder = Recorder(database, clock)
    assert await ordered(threads, more(200, "roll back")) == Upset(conversation, "run", again=True)
    with pytest.raises(Stopped):
        await recorder.tool_called(recorder.tool_call("run", 0, "propose_plan", {}))
    async with database.read() as session:
        assert (await session.scalars(select(ToolCall))).all() == []


async def test_an_order_that_is_heard_while_a_run_takes_its_messages_stops_that_run(
    threads: Threads, database: Database, clock: ManualClock
) -> None:
    inside, on = asyncio.Event(), asyncio.Event()

    class Slow(Threads):
        async def _said_before(self, session: AsyncSession, conversation_id: str, most: int) -> list[Said]:
            inside.set()
            await on.wait()
            return await Threads._said_before(self, session, conversation_id, most)

    conversation = await heard(threads, FIRST)
    taking = asyncio.create_task(take(Slow(database, clock), conversation, "run"))
    await inside.wait()
    ordering = asyncio.create_task(ordered(threads, more(200, "roll back")))
    await asyncio.wait({ordering}, timeout=0.3)
    on.set()
    assert new(await taking) == ["one"]
    assert await ordering == Upset(conversation, "run", again=True)


async def test_an_order_never_stops_an_order(threads: Threads, database: Database) -> None:
    assert await ordered(threads, replace(FIRST, text="roll back")) is None
    conversation = await heard(threads, more(200, "two"))
    await take(threads, conversation, "run")
    await run(database, conversation, "run")
    assert await ordered(threads, more(300, "pause it", SAM)) is None


async def test_only_what_is_still_said_and_unread_is_an_order(threads: Threads) -> None:
    order = replace(FIRST, text="roll back")
    conversation = await heard(threads, order, more(200, "two", SAM))
    await threads.change("T1", "C1", FIRST.ts, "how is it?")
    await take(threads, conversation, "run")
    assert await threads.make_way(conversation, order.ts, order.text) is None
    assert await threads.make_way(conversation, order.ts, "how is it?") is None, "it is being read"
    assert await ordered(threads, more(300, "pause it", SAM)) == Upset(conversation, "run", again=True)
    assert await threads.take_back("T1", "C1", more(300, "").ts) is not None
    assert await threads.make_way(conversation, more(300, "").ts, "pause it") is None
    assert new(await take(threads, conversation)) == ["how is it?"]


async def test_an_order_that_was_edited_is_none_until_it_is_found_to_be_one_again(threads: Threads) -> None:
    conversation = await heard(threads, FIRST)
    await ordered(threads, more(200, "roll back", SAM))
    await threads.change("T1", "C1", more(200, "").ts, "how is it?")
    assert new(await take(threads, conversation)) == ["one"]


async def test_a_thread_is_about_the_rollout_whose_card_stands_in_it(threads: Threads) -> None:
    assert await threads.about("T1", "C1", FIRST.thread) is None
    await heard(threads, FIRST)
    assert await threads.about("T1", "C1", FIRST.thread) is None
