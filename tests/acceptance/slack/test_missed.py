"""What people write while no connection is open is looked up once there is one again, and answered once."""

import sqlite3
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy.exc import InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from structlog.testing import capture_logs

from bot import missed as missed_module
from bot.clients import Clients, NotInstalled
from bot.listeners.messages import Ears
from bot.missed import AROUND, LEFT, LOOK_BACK, MOST_TRIES, NOT_HEARD, Missed, NotHeard
from bot.serve import socket_mode
from bot.services import Services
from bot.slack import retry_after
from bot.threads import Heard, Threads
from bot.vault import KeyLost
from bot.workspace import running_workspace
from tests.acceptance.slack.office import RELEASES, SAM, Office, open_office, until
from tests.acceptance.slack.talking import Told, answers
from tools.rollouts.phases import Phase
from tools.rollouts.store import DatabaseBusy

PRIVATE = "DSAM00001"
DEPARTED = "TLEFT0001"


@pytest.fixture
async def office(tmp_path: Path, blank: Path) -> AsyncIterator[Office]:
    """An office that no connection reaches until one is made."""
    async with (
        running_workspace(retry_delays=(0.0,)) as running,
        open_office(tmp_path, running, blank, socket_mode=False, model=Told.to_say("It is well.", "Yes.")) as opened,
    ):
        yield opened


class Line:
    """Whether there is a connection, as a test says."""

    def __init__(self) -> None:
        self.up = True

    async def __call__(self) -> bool:
        return self.up


async def test_an_order_and_questions_that_nobody_delivered_are_taken_up_once(office: Office) -> None:
    async with socket_mode(office.app, office.services):
        await until(lambda: len(office.running.sockets.connections) == 2)
        await office.started()
        office.running.people.say(PRIVATE, "sam", "How is it?")
        await until(lambda: answers(office, PRIVATE), 15)
        await office.settle()
    await until(lambda: not office.running.sockets.connections)
    bot = office.running.settings.bot_user_id
    office.running.people.say(RELEASES, "mira", "roll it back", thread_ts=office.card().ts)
    office.running.people.say(RELEASES, "mira", "<@UJONAS001> look at this", thread_ts=office.card().ts)
    office.running.people.say(RELEASES, "jonas", f"<@{bot}> is it well?")
    office.running.people.say(RELEASES, "jonas", "Lunch?")
    await office.running.people.idle()
    await office.settle()
    assert (await office.view()).phase is Phase.PROGRESSING, "nothing was delivered"

    async with socket_mode(office.app, office.services):
        await until(lambda: office.running.workspace.call_counts["conversations.replies"] > 0)
        for _ in range(400):
            await office.settle()
            if (await office.view()).phase is Phase.ROLLED_BACK and len(answers(office)) == 2:
                break
        assert (await office.view()).phase is Phase.ROLLED_BACK
        assert len(answers(office)) == 2, "the order and the question, nothing else"
        assert len(answers(office, PRIVATE)) == 1, "what was answered before is not answered again"
    assert await Missed(office.services, Line()).turn() > 0, "Slack has them still"
    await office.settle()
    assert (len(answers(office)), len(answers(office, PRIVATE))) == (2, 1)


async def test_it_is_looked_up_after_each_time_without_a_connection_as_far_back_as_that(office: Office) -> None:
    said = office.running.people.say(PRIVATE, "sam", "Hello?")
    heard = Heard(office.running.settings.team_id, PRIVATE, said.ts, said.ts, SAM, "Hello?")
    await Threads(office.services.database, office.services.clock).hear(heard)
    line, clock = Line(), office.clock
    missed, began = Missed(office.services, line), clock.now()
    assert await missed.turn() > 0
    assert looked_back_to(office) == began - LOOK_BACK, "before the process began there was no connection"
    assert await missed.turn() == 0, "there was a connection all the time"

    clock.advance(600)
    line.up, down_since = False, clock.now()
    for _ in range(3):
        assert await missed.turn() == 0, "Slack can not be asked yet"
        clock.advance(60)
    line.up = True
    office.running.workspace.faults.begin_outage()
    with pytest.raises(SlackApiError):
        await missed.turn()
    office.running.workspace.faults.end_outage()
    assert await missed.turn() > 0, "what Slack did not answer is asked again"
    assert looked_back_to(office) == down_since - AROUND
    assert await missed.turn() == 0

    line.up = False
    await missed.turn()
    clock.advance(5 * 3600)
    line.up = True
    assert await missed.turn() > 0
    assert looked_back_to(office) == clock.now() - LOOK_BACK


async def test_a_place_that_slack_refuses_keeps_no_other_from_being_read(office: Office) -> None:
    threads, team = Threads(office.services.database, office.services.clock), office.running.settings.team_id
    await threads.hear(Heard(team, "CGONE0001", "1.0", "1.0", SAM, "in a channel that is gone"))
    said = office.running.people.say(PRIVATE, "sam", "Hello?")
    await threads.hear(Heard(team, PRIVATE, said.ts, said.ts, SAM, "Hello?"))
    assert await Missed(office.services, Line()).turn() > 0


async def test_what_was_read_before_a_limit_is_heard_and_reading_goes_on_after_it(office: Office) -> None:
    async with socket_mode(office.app, office.services):
        await until(lambda: len(office.running.sockets.connections) == 2)
        await office.started()
    await until(lambda: not office.running.sockets.connections)
    office.running.people.say(RELEASES, "mira", "roll it back", thread_ts=office.card().ts)
    await office.running.people.idle()
    missed = Missed(office.services, Line())
    office.running.workspace.faults.limit("conversations.history", times=1, retry_after=30)
    with pytest.raises(SlackApiError) as limited:
        await missed.turn()
    assert retry_after(limited.value) == timedelta(seconds=30)
    for _ in range(400):
        await office.settle()
        if (await office.view()).phase is Phase.ROLLED_BACK:
            break
    assert (await office.view()).phase is Phase.ROLLED_BACK, "the order waits for no other place"

    replies = office.running.workspace.call_counts["conversations.replies"]
    await missed.turn()
    assert office.running.workspace.call_counts["conversations.replies"] == replies, "threads are not read again"
    assert await missed.turn() == 0, "nothing is left"


@pytest.mark.parametrize("most", [10, 2])
async def test_long_threads_are_read_page_by_page_from_where_a_limit_stopped_it(
    office: Office, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(missed_module, "PER_PAGE", 3)
    monkeypatch.setattr(missed_module, "MOST_PAGES", most)
    threads, team = Threads(office.services.database, office.services.clock), office.running.settings.team_id
    first = office.running.people.say(PRIVATE, "sam", "Hello?")
    await threads.hear(Heard(team, PRIVATE, first.ts, first.ts, SAM, "Hello?"))
    later = [office.running.people.say(PRIVATE, "sam", f"And {one}?", thread_ts=first.ts) for one in range(7)]
    missed = Missed(office.services, Line())
    with capture_logs() as logs:
        heard = await missed.turn()
    known = [await threads.knows(team, PRIVATE, one.ts) for one in later]
    left = [line for line in logs if line["event"] == LEFT]
    if most == 10:
        assert (all(known), left) == (True, [])
        assert heard == 8 + 1, "the thread, and its first message at the top"
    else:
        assert (known, len(left)) == ([True] * 5 + [False] * 2, 1), "what is left is said"


async def test_a_place_is_read_anew_when_the_connection_was_lost_in_between(office: Office) -> None:
    threads, team = Threads(office.services.database, office.services.clock), office.running.settings.team_id
    said = office.running.people.say(PRIVATE, "sam", "Hello?")
    await threads.hear(Heard(team, PRIVATE, said.ts, said.ts, SAM, "Hello?"))
    line = Line()
    missed, counts = Missed(office.services, line), office.running.workspace.call_counts
    office.running.workspace.faults.limit("conversations.history", times=1, retry_after=30)
    with pytest.raises(SlackApiError):
        await missed.turn()
    assert counts["conversations.replies"] == 1
    line.up = False
    assert await missed.turn() == 0
    office.clock.advance(1)
    reply = office.running.people.say(PRIVATE, "sam", "Anybody?", thread_ts=said.ts)
    line.up = True
    await missed.turn()
    assert counts["conversations.replies"] == 2
    assert await threads.knows(team, PRIVATE, reply.ts)


class Left(Clients[AsyncWebClient]):
    """The clients of workspaces, one of which has the app no more."""

    def __init__(self, others: Clients[AsyncWebClient], error: Exception) -> None:
        self._others = others
        self._error = error

    async def of(self, workspace: str) -> AsyncWebClient:
        if workspace == DEPARTED:
            raise self._error
        return await self._others.of(workspace)


@pytest.mark.parametrize("error", [NotInstalled("It is not."), KeyLost("It is lost.")])
async def test_a_workspace_that_the_app_left_keeps_no_other_from_being_read(office: Office, error: Exception) -> None:
    threads = Threads(office.services.database, office.services.clock)
    said = office.running.people.say(PRIVATE, "sam", "Hello?")
    for team in (office.running.settings.team_id, DEPARTED):
        await threads.hear(Heard(team, PRIVATE, said.ts, said.ts, SAM, "Hello?"))
    services = replace(office.services, clients=Left(office.services.clients, error))
    missed = Missed(services, Line())
    assert await missed.turn() > 0
    assert await missed.turn() == 0, "it is not tried for ever"


class Breaking(Ears):
    """Ears that break at what has those words, so many times."""

    def __init__(self, services: Services, words: str, times: int, error: Exception | None = None) -> None:
        super().__init__(services)
        self._words = words
        self._error = error or ZeroDivisionError()
        self.left = times

    async def hear(self, body: Mapping[str, Any], event: Mapping[str, Any], myself: str | None, *, asked: bool) -> None:
        if self._words in str(event.get("text")) and self.left:
            self.left -= 1
            raise self._error
        await super().hear(body, event, myself, asked=asked)


@pytest.mark.parametrize("times", [2, 1000])
async def test_a_message_that_can_not_be_heard_keeps_no_other_from_being_heard(office: Office, times: int) -> None:
    async with socket_mode(office.app, office.services):
        await until(lambda: len(office.running.sockets.connections) == 2)
        await office.started()
    await until(lambda: not office.running.sockets.connections)
    people, team = office.running.people, office.running.settings.team_id
    threads = Threads(office.services.database, office.services.clock)
    first = people.say(PRIVATE, "sam", "Hello?")
    await threads.hear(Heard(team, PRIVATE, first.ts, first.ts, SAM, "Hello?"))
    poison = people.say(PRIVATE, "sam", "What breaks?", thread_ts=first.ts)
    after = people.say(PRIVATE, "sam", "And now?", thread_ts=first.ts)
    people.say(RELEASES, "mira", "roll it back", thread_ts=office.card().ts)
    await people.idle()
    missed = Missed(office.services, Line())
    missed._ears = Breaking(office.services.of_nobody(), "What breaks?", times)
    with capture_logs() as logs, pytest.raises(NotHeard):
        await missed.turn()
    for _ in range(400):
        await office.settle()
        if (await office.view()).phase is Phase.ROLLED_BACK:
            break
    assert (await office.view()).phase is Phase.ROLLED_BACK, "the order waits for no other message"
    assert (await threads.knows(team, PRIVATE, after.ts), await threads.knows(team, PRIVATE, poison.ts)) == (
        True,
        False,
    )
    told = [line for line in logs if line["event"] == NOT_HEARD]
    assert [(line["channel"], line["ts"], len(line["reference"])) for line in told] == [(PRIVATE, poison.ts, 8)]

    with capture_logs() as logs:
        for _ in range(MOST_TRIES - 2):
            with pytest.raises(NotHeard):
                await missed.turn()
        assert await missed.turn() > 0
        assert await missed.turn() == 0, "it is not tried for ever"
    assert await threads.knows(team, PRIVATE, poison.ts) is (times < MOST_TRIES)


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("INSERT", None, sqlite3.OperationalError("database or disk is full")),
        InternalError("INSERT", None, psycopg.errors.ReadOnlySqlTransaction("read-only")),
        PoolTimeout("all connections are in use"),
        DatabaseBusy("Someone else holds this for very long."),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_no_message_is_given_up_for_what_is_no_fault_of_its_own(office: Office, error: Exception) -> None:
    people, team = office.running.people, office.running.settings.team_id
    threads = Threads(office.services.database, office.services.clock)
    first = people.say(PRIVATE, "sam", "Hello?")
    await threads.hear(Heard(team, PRIVATE, first.ts, first.ts, SAM, "Hello?"))
    late = people.say(PRIVATE, "sam", "roll it back", thread_ts=first.ts)
    missed = Missed(office.services, Line())
    missed._ears = Breaking(office.services.of_nobody(), "roll it back", 2 * MOST_TRIES, error)
    for _ in range(2 * MOST_TRIES):
        with pytest.raises(NotHeard):
            await missed.turn()
    assert await missed.turn() > 0
    assert await threads.knows(team, PRIVATE, late.ts)
    assert await missed.turn() == 0


def looked_back_to(office: Office) -> datetime:
    """From when on Slack was asked last for what was said."""
    calls = [call for call in office.running.workspace.calls if call.method.startswith("conversations.")]
    return datetime.fromtimestamp(float(calls[-1].arguments["oldest"]), UTC)
