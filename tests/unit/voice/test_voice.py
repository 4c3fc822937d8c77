"""How a run is shown while it goes: by streams, by edits, and whatever Slack does about it."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from bot import agent_sessions, texts, voice
from bot.agent_sessions import Manners, Spot
from bot.blocks.conversation import CONFIRM, DISMISS, Question, Rendered, Said, Task, rendered
from bot.blocks.mrkdwn import moment_of
from bot.listeners.answering import bring_up_to_date
from bot.voice import NotDelivered, SlackVoice, Undeliverable
from bot.workspace.blocks import check_message_blocks
from tests.unit.voice.slack import Channel, Shown
from tools.clock import written
from tools.rollouts.confirmations import Action, ConfirmationView, Status

SPOT = Spot("C1", "0.000001", "T1", "U1")
LOOKING = ("c1", "rollout_status", "Looking at the rollout")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def spoken(slack: Channel, manners: Manners | None = None, *, ts: str | None = None, pause: float = 0.0) -> SlackVoice:
    async def opened(ts: str) -> None:
        slack.calls[f"opened {ts}"] += 1

    return SlackVoice(slack, SPOT, manners or Manners(), opened=opened, ts=ts, pause=pause)  # type: ignore[arg-type]


def asked() -> Question:
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    view = ConfirmationView(
        id="f" * 32,
        action=Action.ROLL_BACK,
        flag="new-checkout",
        environment="production",
        rollout_id=None,
        percent=None,
        reason="because",
        person="U1",
        run_id="run",
        status=Status.OPEN,
        created_at=at,
        expires_at=at,
    )
    return Question(view)


def whole(text: str, *tasks: Task) -> Rendered:
    return rendered(Said("run", text, tasks=tasks))


async def test_a_short_answer_is_one_message() -> None:
    slack = Channel()
    async with spoken(slack) as shown:
        await shown.thinking()
        ts = await shown.finish(whole("Hello."))
    assert list(slack.shown) == [ts]
    assert slack.calls["postMessage"] == 1
    assert slack.calls["startStream"] == 0
    assert "Hello." in str(slack.shown[ts].blocks)


async def test_calls_and_words_are_streamed_into_one_message() -> None:
    slack = Channel()
    async with spoken(slack) as shown:
        await until(lambda: slack.sessions)
        await shown.calling(*LOOKING)
        await until(lambda: slack.shown)
        [ts] = slack.shown
        message = slack.shown[ts]
        assert (message.title, message.tasks) == (texts.TASKS, {"c1": ("Looking at the rollout", "in_progress")})
        await shown.called(*LOOKING, failed=False)
        await until(lambda: message.tasks["c1"][1] == "complete")
        await shown.thinking()
        for piece in ("All ", "is we", "ll.\nNo", "body ", "suffers."):
            await shown.saying(piece)
            await asyncio.sleep(0.001)
        await until(lambda: message.text)
        assert message.text == "All is well.\nNobody "[: len(message.text)]
        task = Task("c1", "Looking at the rollout", "complete")
        assert await shown.finish(whole("All is well.\nNobody suffers.", task)) == ts
    assert message.text == "All is well.\nNobody suffers."
    assert [block["type"] for block in message.blocks] == ["context_actions"]
    assert not message.streaming
    assert slack.calls["update"] == slack.calls["postMessage"] == 0
    assert slack.calls[f"opened {ts}"] == 1
    started = dict(slack.arguments)["startStream"]
    assert (started["recipient_team_id"], started["recipient_user_id"]) == ("T1", "U1")


async def test_moments_are_streamed_in_the_zone_of_who_is_answered() -> None:
    async def opened(ts: str) -> None:
        assert ts

    async def zone() -> tzinfo:
        return ZoneInfo("Asia/Tokyo")

    slack, said = Channel(), "Frozen until 01 Mar 2026 20:00 UTC.\nThen it goes on at 02 Mar 2026 20:00 UTC."
    async with SlackVoice(slack, SPOT, Manners(), opened=opened, pause=0.0, zone=zone) as shown:  # type: ignore[arg-type]
        for index in range(0, len(said), 7):
            await shown.saying(said[index : index + 7])
            await asyncio.sleep(0.001)
        await until(lambda: slack.shown)
        await shown.finish(rendered(Said("run", said), await shown.zone()))
    [message] = slack.shown.values()
    assert message.text == "Frozen until 02 Mar 2026 05:00 JST.\nThen it goes on at 03 Mar 2026 05:00 JST."
    assert slack.calls["update"] == 0


async def test_notifications_of_what_is_being_written_hold_the_moment_itself() -> None:
    async def opened(ts: str) -> None:
        assert ts

    async def zone() -> tzinfo:
        return ZoneInfo("Asia/Singapore")

    slack, ends = Channel(), datetime(2026, 12, 24, 14, tzinfo=UTC)
    async with SlackVoice(slack, SPOT, Manners(streams=False), opened=opened, pause=0.0, zone=zone) as shown:  # type: ignore[arg-type]
        await shown.saying(f"The freeze ends {written(ends)}.\n")
        await until(lambda: slack.shown)
        await shown.thinking()
        await shown.saying("It is long.\n")
        await until(lambda: "long" in str(slack.shown["1.000000"].blocks))
    edits = [sent["text"] for method, sent in slack.arguments if method in ("postMessage", "update")]
    assert all(text.startswith(f"The freeze ends {moment_of(ends)}.") for text in edits)
    assert "24 Dec 2026 22:00 UTC+08" in str(slack.shown["1.000000"].blocks)


async def test_words_of_an_earlier_step_are_replaced_by_the_answer() -> None:
    slack = Channel()
    async with spoken(slack) as shown:
        await shown.saying("Let me look. ")
        await until(lambda: slack.shown)
        await shown.thinking()
        ts = await shown.finish(whole("All is well."))
    assert "Let me look" not in str(slack.shown[ts].blocks)
    assert "All is well." in str(slack.shown[ts].blocks)
    assert len(slack.shown) == 1


async def test_nothing_unsafe_is_streamed_not_even_in_halves() -> None:
    slack = Channel()
    secret = "sk-" + "a1b2c3d4" * 4
    written = f"See <!channel> or [this](https://evil.example) with {secret} in it\nand https://a@b.example/ more "
    async with spoken(slack) as shown:
        for index in range(0, len(written), 3):
            await shown.saying(written[index : index + 3])
            await asyncio.sleep(0.001)
        await until(lambda: slack.shown)
        message = next(iter(slack.shown.values()))
        await until(lambda: "b.example" in message.text or "evil" in message.text)
        streamed = message.text
    assert "<!" not in streamed
    assert secret not in streamed
    assert "](" not in streamed


async def test_a_thousand_pieces_are_few_calls() -> None:
    slack = Channel()
    async with spoken(slack, pause=0.05) as shown:
        for number in range(1000):
            await shown.saying(f"word{number} ")
            if number % 100 == 0:
                await asyncio.sleep(0.01)
        await shown.finish(whole("done"))
    assert sum(slack.calls[method] for method in ("startStream", "appendStream", "stopStream", "update")) < 10


@pytest.mark.parametrize("code", ["unknown_method", "missing_scope", "not_allowed"])
async def test_where_slack_has_no_streams_the_message_is_edited_and_nobody_asks_again(code: str) -> None:
    slack, manners = Channel(refusals={"startStream": [code]}), Manners()
    async with spoken(slack, manners) as shown:
        await shown.calling(*LOOKING)
        await until(lambda: slack.shown)
        await shown.called(*LOOKING, failed=True)
        await until(lambda: '"error"' in str(slack.shown["1.000000"].blocks).replace("'", '"'))
        ts = await shown.finish(whole("It failed.", Task("c1", "Looking at the rollout", "error")))
    assert list(slack.shown) == [ts]
    assert texts.STILL_WORKING not in str(slack.shown[ts].blocks)
    async with spoken(slack, manners) as shown:
        await shown.calling(*LOOKING)
        await until(lambda: len(slack.shown) == 2)
    assert slack.calls["startStream"] == 1


async def test_a_stream_that_failed_once_is_tried_for_the_next_run() -> None:
    slack, manners = Channel(refusals={"startStream": ["internal_error"]}), Manners()
    async with spoken(slack, manners) as shown:
        await shown.calling(*LOOKING)
        await until(lambda: slack.shown)
        await shown.finish(whole("Hello."))
    assert manners.streams


@pytest.mark.parametrize("code", ["message_not_in_streaming_state", "internal_error", "ratelimited"])
async def test_a_stream_that_dies_is_recovered_in_the_same_message(code: str) -> None:
    slack = Channel(refusals={"appendStream": [code] * 9})
    async with spoken(slack) as shown:
        await shown.calling(*LOOKING)
        await until(lambda: slack.shown)
        await shown.called(*LOOKING, failed=False)
        await until(lambda: slack.calls["appendStream"])
        ts = await shown.finish(whole("All is well.", Task("c1", "Looking at the rollout", "complete")))
    assert list(slack.shown) == [ts]
    assert not slack.shown[ts].streaming
    assert "All is well." in str(slack.shown[ts].blocks)
    assert "Looking at the rollout" in str(slack.shown[ts].blocks)


async def test_a_stream_that_can_not_be_stopped_is_written_as_a_whole() -> None:
    slack = Channel(refusals={"stopStream": ["internal_error"]})
    async with spoken(slack) as shown:
        await shown.calling(*LOOKING)
        await until(lambda: slack.shown)
        ts = await shown.finish(whole("All is well."))
    assert list(slack.shown) == [ts]
    assert "All is well." in str(slack.shown[ts].blocks)


async def test_an_old_stream_is_ended_and_a_new_message_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice, "STREAM_LASTS_S", 0.0)
    slack = Channel()
    async with spoken(slack) as shown:
        await shown.calling(*LOOKING)
        await until(lambda: slack.shown)
        await shown.calling("c2", "history", "Reading the history")
        await until(lambda: len(slack.shown) == 2)
        first, second = slack.shown
        ts = await shown.finish(whole("All is well.", Task("c2", "Reading the history", "complete")))
    assert ts == second
    assert not slack.shown[first].streaming
    assert slack.shown[second].text == "All is well."
    assert slack.shown[second].tasks["c2"] == ("Reading the history", "complete")


async def test_a_message_that_an_earlier_attempt_left_is_taken_over() -> None:
    slack = Channel()
    left = slack._new(Shown(streaming=True))
    async with spoken(slack, ts=left) as shown:
        assert await shown.finish(whole("All is well.")) == left
    assert not slack.shown[left].streaming
    assert "All is well." in str(slack.shown[left].blocks)


async def test_a_message_that_is_gone_is_posted_anew() -> None:
    slack = Channel()
    async with spoken(slack, ts="9.000000") as shown:
        ts = await shown.finish(whole("All is well."))
    assert list(slack.shown) == [ts]


async def test_what_slack_does_not_take_now_is_said_to_wait() -> None:
    slack = Channel(refusals={"postMessage": ["internal_error"]})
    async with spoken(slack) as shown:
        with pytest.raises(NotDelivered, match="internal_error"):
            await shown.finish(whole("All is well."))


@pytest.mark.parametrize("code", ["channel_not_found", "is_archived", "thread_not_found"])
async def test_what_slack_will_never_take_is_told_apart(code: str) -> None:
    slack = Channel(refusals={"postMessage": [code]})
    async with spoken(slack) as shown:
        with pytest.raises(Undeliverable, match=code):
            await shown.finish(whole("All is well."))


async def test_a_slack_that_never_answers_slows_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_sessions, "CALL_TIMEOUT_S", 0.05)
    slack = Channel(hangs={"sessions.setStatus", "setStatus", "startStream", "postMessage", "update", "stopStream"})
    async with spoken(slack) as shown:
        began = time.monotonic()
        for number in range(200):
            await shown.thinking()
            await shown.calling(f"c{number}", "history", "Reading")
            await shown.called(f"c{number}", "history", "Reading", failed=False)
            await shown.saying("word ")
        assert time.monotonic() - began < 0.5
        with pytest.raises(NotDelivered):
            await shown.finish(whole("All is well."))


class TestThatARunGoesOn:
    """What Slack shows of it: an agent session, with its button to stop, or the older status line."""

    async def test_the_session_is_processing_until_the_answer_stands(self) -> None:
        slack = Channel()
        async with spoken(slack) as shown:
            await until(lambda: slack.sessions)
            await shown.calling(*LOOKING)
            await until(lambda: slack.shown)
            assert slack.sessions == ["processing"]
            await shown.finish(whole("Hello."))
        assert slack.sessions == ["processing", "active"]
        assert slack.statuses == []
        (_, given), *_ = [one for one in slack.arguments if one[0] == "sessions.setStatus"]
        assert given == {"channel_id": "C1", "thread_ts": "0.000001", "initiator_user_id": "U1"}

    async def test_the_session_is_left_whatever_becomes_of_the_run(self) -> None:
        slack = Channel()
        async with spoken(slack) as shown:
            await until(lambda: slack.sessions)
            slack.refusals["postMessage"] = ["internal_error"]
            with pytest.raises(NotDelivered):
                await shown.finish(whole("Hello."))
        vanished = Channel()
        async with spoken(vanished) as shown:
            await until(lambda: vanished.sessions)
            await shown.vanish()
        assert slack.sessions == vanished.sessions == ["processing", "active"]
        assert vanished.statuses == [], "there was no older line to take away"

    async def test_the_session_is_left_when_the_run_breaks(self) -> None:
        async def broken() -> None:
            async with spoken(slack):
                await until(lambda: slack.sessions)
                raise ConnectionError

        slack = Channel()
        with pytest.raises(ConnectionError):
            await broken()
        assert slack.sessions == ["processing", "active"]

    async def test_a_session_that_slack_does_not_leave_at_once_is_left_at_the_second_attempt(self) -> None:
        slack = Channel()
        async with spoken(slack) as shown:
            await until(lambda: slack.sessions)
            slack.refusals["sessions.setStatus"] = ["internal_error"]
            await shown.finish(whole("Hello."))
        assert slack.sessions == ["processing", "active"]

    async def test_a_message_that_an_earlier_attempt_left_is_of_a_session_too(self) -> None:
        slack = Channel()
        left = slack._new(Shown(streaming=True))
        async with spoken(slack, ts=left) as shown:
            await until(lambda: slack.sessions)
            await shown.finish(whole("Hello."))
        assert slack.sessions == ["processing", "active"]

    @pytest.mark.parametrize("code", ["unknown_method", "method_not_supported", "not_authorized", "missing_scope"])
    async def test_where_slack_has_no_sessions_the_older_line_says_so_and_nobody_asks_again(self, code: str) -> None:
        slack, manners = Channel(refusals={"sessions.setStatus": [code]}), Manners()
        for _ in range(2):
            async with spoken(slack, manners) as shown:
                before = len(slack.statuses)
                await until(lambda: len(slack.statuses) > before)  # noqa: B023 - awaited in the same turn
                await shown.finish(whole("Hello."))
        assert slack.calls["sessions.setStatus"] == 1
        assert slack.statuses == [texts.STATUS_THINKING] * 2, "Slack takes the line away when it is answered"

    async def test_a_session_refused_for_this_thread_is_asked_for_in_the_next(self) -> None:
        slack, manners = Channel(refusals={"sessions.setStatus": ["thread_not_found"] * 2}), Manners()
        async with spoken(slack, manners) as shown:
            await until(lambda: slack.statuses)
            await shown.finish(whole("Hello."))
        assert manners.sessions
        assert slack.statuses == [texts.STATUS_THINKING]

    async def test_that_nobody_hears_the_stop_button_is_logged_once(self) -> None:
        slack, manners = Channel(warns=True), Manners()
        with capture_logs() as logs:
            for _ in range(2):
                async with spoken(slack, manners) as shown:
                    await until(lambda: slack.sessions)
                    await shown.finish(whole("Hello."))
        assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["session.no_stop_button"]

    async def test_the_older_line_is_shown_again_before_slack_takes_it_away(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(voice, "STATUS_EVERY_S", 0.01)
        slack = Channel()
        async with spoken(slack, Manners(sessions=False)) as shown:
            await until(lambda: len(slack.statuses) >= 3)
            await shown.vanish()
        assert set(slack.statuses[:-1]) == {texts.STATUS_THINKING}
        assert slack.statuses[-1] == ""

    async def test_a_workspace_without_status_lines_is_not_asked_twice(self) -> None:
        slack, manners = Channel(refusals={"setStatus": ["missing_scope"]}), Manners(sessions=False)
        for _ in range(2):
            async with spoken(slack, manners) as shown:
                await asyncio.sleep(0.001)
                await shown.finish(whole("Hello."))
        assert slack.calls["setStatus"] == 1


@pytest.mark.parametrize("ts", [None, "1.000000"])
async def test_what_slack_refuses_for_its_form_is_said_in_plain_words(ts: str | None) -> None:
    slack = Channel(refusals={"postMessage": ["invalid_blocks"] * 2, "update": ["msg_too_long", "invalid_blocks"]})
    if ts is not None:
        assert slack._new(Shown(streaming=False)) == ts
    async with spoken(slack, ts=ts) as shown:
        assert await shown.finish(whole("**All** is well.\nNobody & <!channel> suffers.")) == "1.000000"
    [message] = slack.shown.values()
    assert message.blocks == []
    assert message.text.startswith("**All** is well.\nNobody &amp;")
    assert "<" not in message.text


@pytest.mark.parametrize("ts", [None, "1.000000"])
async def test_where_slack_refuses_rich_blocks_there_still_is_a_button(ts: str | None) -> None:
    slack = Channel(refusals={"postMessage": ["invalid_blocks"], "update": ["invalid_blocks"]})
    if ts is not None:
        assert slack._new(Shown(streaming=False)) == ts
    said = Said(
        "run", "**Shall** I? & <!channel>", ["It is at 5 %."], [Task("c1", "Rolling back", "pending")], [asked()]
    )
    async with spoken(slack, ts=ts) as shown:
        await shown.finish(rendered(said))
    [message] = slack.shown.values()
    assert [block["type"] for block in message.blocks] == ["section", "context", "section", "actions"]
    assert message.blocks[0]["text"]["text"].startswith("**Shall** I? &amp;")
    assert "It is at 5\\xa0%." in str(message.blocks[1])
    assert [button["action_id"] for button in message.blocks[3]["elements"]] == [CONFIRM, DISMISS]
    assert "<!channel" not in str(message.blocks)
    check_message_blocks(message.blocks, {})


@pytest.mark.parametrize(
    ("refusals", "shown"),
    [
        ([], ["markdown", "context_actions"]),
        (["invalid_blocks"], ["section"]),
        (["invalid_blocks", "invalid_blocks"], []),
        (["internal_error"], []),
        (["ratelimited"], []),
    ],
)
async def test_an_answer_is_brought_up_to_date_in_whatever_blocks_slack_takes(
    refusals: list[str], shown: list[str]
) -> None:
    slack = Channel(refusals={"update": [*refusals]})
    ts = slack._new(Shown())
    with capture_logs() as logs:
        await bring_up_to_date(slack, "C1", ts, whole("Done."))  # type: ignore[arg-type]
    assert [block.type for block in slack.shown[ts].blocks] == shown  # type: ignore[attr-defined]
    assert [line["reason"] for line in logs] == refusals


async def test_what_slack_refuses_even_in_plain_words_is_given_up() -> None:
    slack = Channel(refusals={"postMessage": ["invalid_blocks", "invalid_blocks", "restricted_action"]})
    async with spoken(slack) as shown:
        with pytest.raises(Undeliverable, match="restricted_action"):
            await shown.finish(whole("All is well."))
    assert slack.calls["postMessage"] == 3


async def test_a_plain_answer_that_slack_has_no_time_for_is_kept() -> None:
    slack = Channel(refusals={"postMessage": ["invalid_blocks", "ratelimited"]})
    async with spoken(slack) as shown:
        with pytest.raises(NotDelivered):
            await shown.finish(whole("All is well."))


async def test_an_oversized_piece_is_kept_only_as_far_as_it_is_shown() -> None:
    slack = Channel()
    secret = "xoxb-123456789-abcdefghij"
    piece = "word\n" * ((voice.MOST_STREAMED - 10) // 5) + secret + "\nword" * 300_000
    async with spoken(slack) as shown:
        await shown.saying(piece)
        assert len(shown._saying) == voice.MOST_STREAMED
        await shown.saying(piece)
        await shown.thinking()
        await until(lambda: slack.shown)
        [message] = slack.shown.values()
        await until(lambda: len(message.text) > voice.MOST_STREAMED - 20)
    assert "xoxb" not in message.text
    assert len(message.text) <= voice.MOST_STREAMED


async def test_a_fault_of_ours_while_showing_is_logged_and_the_run_is_shown_on() -> None:
    slack, faults = Channel(), [ConnectionError("the database is away")]

    async def opened(ts: str) -> None:
        if faults:
            raise faults.pop()

    made = SlackVoice(slack, SPOT, Manners(), opened=opened, pause=0.0)  # type: ignore[arg-type]
    with capture_logs() as logs:
        async with made as shown:
            await shown.calling(*LOOKING)
            await until(lambda: slack.shown)
            [message] = slack.shown.values()
            await shown.called(*LOOKING, failed=False)
            await until(lambda: message.tasks["c1"][1] == "complete")
            ts = await shown.finish(whole("All is well.", Task("c1", "Looking at the rollout", "complete")))
    assert list(slack.shown) == [ts]
    assert slack.shown[ts].text == "All is well."
    [line] = [line for line in logs if line["event"] == voice.SHOWING_FAILED]
    assert len(line["reference"]) == 8


async def test_a_tasks_title_mentions_nobody_and_hides_no_address_while_it_is_streamed() -> None:
    slack = Channel()
    title = "Looking at the rollout · <!channel> <https://evil.example|x>\n\u202e"
    async with spoken(slack) as shown:
        await shown.calling("c1", "rollout_status", title)
        await until(lambda: slack.shown)
        [message] = slack.shown.values()
        streamed = message.tasks["c1"][0]
        await shown.finish(whole("All is well.", Task("c1", title, "complete")))
        ended = message.tasks["c1"][0]
    assert streamed == ended
    assert streamed.startswith("Looking at the rollout · @")
    for token in ("<", "|", "\n", "\u202e"):
        assert token not in streamed
