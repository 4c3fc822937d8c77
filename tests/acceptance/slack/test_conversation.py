"""Talking with Sluice in threads, through the real app: what people see, stop, confirm and rate."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.listeners import conversing
from bot.threads import INTERRUPTED, Heard, Threads
from bot.workspace import running_workspace
from bot.workspace.records import Message
from tests.acceptance.slack.office import (
    ALERTS,
    FLAG,
    JONAS,
    MIRA,
    RELEASES,
    SAM,
    Office,
    new_office,
    open_office,
    readable,
    until,
)
from tests.acceptance.slack.talking import Told, answered, answers, call, finished, heard, runs, say_and_hold, tasks
from tools.records.models import Conversation, Feedback
from tools.records.models import Message as Row
from tools.rollouts.phases import Phase

PRIVATE = "DSAM00001"
Open = Callable[[Told], Awaitable[Office]]


@pytest.fixture
async def opened(tmp_path: Path, blank: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def open_it(model: Told) -> Office:
            return await stack.enter_async_context(new_office(tmp_path, blank, model=model))

        yield open_it


def say(
    office: Office, text: str, *, user: str = "mira", channel: str = RELEASES, thread: str | None = None
) -> Message:
    return office.running.people.say(channel, user, text, thread_ts=thread)


class TestAnswering:
    async def test_a_mention_is_answered_in_its_thread_with_what_was_done(self, opened: Open) -> None:
        office = await opened(Told.to_say(call("rollout_status", flag=FLAG), "It serves **nobody** yet."))
        said = say(office, "@sluice how is new-checkout?")
        answer = await answered(office)
        assert answer.thread_ts == said.ts
        assert "It serves **nobody** yet." in readable(answer)
        assert tasks(answer) == [(f"Looking at the rollout · {FLAG}", "complete")]
        assert office.running.workspace.status(office.running.workspace.channel(RELEASES), said.ts) == ""

    async def test_a_reply_in_the_thread_needs_no_mention_and_has_the_history(self, opened: Open) -> None:
        model = Told.to_say("Hello Mira.", "As I said.")
        office = await opened(model)
        said = say(office, "@sluice hello")
        await answered(office)
        say(office, "what did you say?", thread=said.ts)
        answer = await answered(office, 2)
        assert "As I said." in readable(answer)
        assert "Hello Mira." in model.questions[1]
        assert "what did you say?" in model.questions[1]

    async def test_a_direct_message_is_answered_in_its_thread(self, opened: Open) -> None:
        office = await opened(Told.to_say("Hello Sam."))
        said = say(office, "hello", user="sam", channel=PRIVATE)
        answer = await answered(office, channel=PRIVATE)
        assert answer.thread_ts == said.ts

    async def test_in_the_cards_thread_sluice_knows_which_rollout_is_meant(self, opened: Open) -> None:
        model = Told.to_say(call("rollout_status"), "It waits for Jonas.")
        office = await opened(model)
        await office.proposed()
        say(office, "what does it wait for?", thread=office.card().ts)
        answer = await answered(office)
        assert tasks(answer) == [("Looking at the rollout", "complete")]
        assert "From the records" in readable(answer)
        assert f"{FLAG} in production" in readable(answer)

    async def test_a_plan_of_somebody_else_is_not_replaced_without_a_question(self, opened: Open) -> None:
        office = await opened(Told.to_say(call("propose_plan", flag=FLAG, strategy="full"), "It stands."))
        await office.proposed()
        say(office, f"@sluice plan {FLAG}, all at once", user="jonas")
        answer = await answered(office)
        assert f"/rollout plan {FLAG} --env production" in readable(answer)
        view = await office.view()
        assert (view.plan_version, view.requester) == (1, MIRA)

    async def test_a_plan_asked_for_in_private_is_shown_where_releases_are(self, tmp_path: Path, blank: Path) -> None:
        model = Told.to_say(call("propose_plan", flag=FLAG), "The plan stands.", call("rollout_status"), "Not yet.")
        async with AsyncExitStack() as stack:
            running = await stack.enter_async_context(running_workspace())
            office = await stack.enter_async_context(
                open_office(tmp_path, running, blank, model=model, slack={"releases_channel": ALERTS})
            )
            said = say(office, f"plan {FLAG}", user="sam", channel=PRIVATE)
            await answered(office, channel=PRIVATE)
            view = await office.view()
            assert view.place is not None
            assert view.place.channel == ALERTS
            say(office, "has it begun?", user="sam", channel=PRIVATE, thread=said.ts)
            answer = await answered(office, 2, channel=PRIVATE)
        assert tasks(answer) == [("Looking at the rollout", "complete")], "the thread is about that rollout now"

    async def test_nobody_is_answered_who_asks_nothing(self, opened: Open) -> None:
        model = Told.to_say("Hello.")
        office = await opened(model)
        other = say(office, "has anyone seen the new checkout?", user="sam")
        say(office, "I have", user="jonas", thread=other.ts)
        said = say(office, "@sluice hello")
        await answered(office)
        say(office, "@jonas what do you think?", thread=said.ts)
        await heard(office)
        await office.settle()
        assert len(answers(office)) == len(model.asked) == 1

    async def test_a_mention_in_four_copies_is_answered_once(self, opened: Open) -> None:
        office = await opened(Told.to_say("Hello."))
        office.running.workspace.faults.duplicate(4)
        said = say(office, "@sluice hello")
        say(office, "@sluice and now?", thread=said.ts)
        await until(lambda: finished(office), 15)
        await heard(office)
        await office.settle()
        assert sum(len(run.inputs["turn"]["messages"]) for run in await runs(office)) >= 2
        async with office.services.database.read() as session:
            assert len((await session.scalars(select(Row).where(Row.by_sluice.is_(False)))).all()) == 2


class TestQueueing:
    async def test_what_one_person_says_meanwhile_is_read_together_and_anothers_apart(self, opened: Open) -> None:
        model = Told.to_say("First.", "Second.", "Third.", held=True)
        office = await opened(model)
        said = say(office, "@sluice one")
        await until(lambda: model.thinking, 15)
        say(office, "two", thread=said.ts)
        say(office, "three", thread=said.ts)
        say(office, "four", user="sam", thread=said.ts)
        await heard(office)
        model.release()
        await answered(office, 3)
        first, second, third = await runs(office)
        new = [
            [message["text"] for message in run.inputs["turn"]["messages"] if message["new"]]
            for run in (first, second, third)
        ]
        assert new == [["one"], ["two", "three"], ["four"]]
        assert [run.requester for run in (first, second, third)] == [MIRA, MIRA, SAM]

    async def test_two_threads_are_answered_at_the_same_time(self, opened: Open) -> None:
        model = Told.to_say("A.", "B.", held=True)
        office = await opened(model)
        one, two = say(office, "@sluice one"), say(office, "@sluice two", user="sam")
        await until(lambda: model._thinking == 2, 15)
        model.release()
        await answered(office, thread=one.ts)
        await answered(office, thread=two.ts)


class TestStopping:
    async def begun(self, opened: Open, *lines: str) -> tuple[Office, Told, Message]:
        model = Told.to_say(*lines, held=True)
        office = await opened(model)
        said = say(office, "@sluice roll it out")
        await until(lambda: model.thinking, 15)
        return office, model, said

    async def test_an_edit_stops_the_run_and_the_new_words_are_read(self, opened: Open) -> None:
        office, model, said = await self.begun(opened, "Answered.")
        office.running.people.edit(RELEASES, said.ts, "mira", "@sluice roll it out slowly")
        await heard(office)
        model.release()
        answer = await answered(office)
        stopped, run = await runs(office)
        assert (stopped.outcome, run.outcome) == ("stopped", "answered")
        assert "roll it out slowly" in model.questions[-1]
        assert "Answered." in readable(answer)
        async with office.services.database.read() as session:
            [row] = (await session.scalars(select(Row).where(Row.by_sluice.is_(False)))).all()
        assert (row.text, row.earlier) == ("roll it out slowly", ["roll it out"])

    async def test_a_message_that_was_edited_while_it_waited_is_read_as_it_is_now(self, opened: Open) -> None:
        office, model, said = await self.begun(opened, "One.", "Two.")
        more, gone = say(office, "at 5 %", thread=said.ts), say(office, "tomorrow", thread=said.ts)
        await heard(office)
        office.running.people.edit(RELEASES, more.ts, "mira", "at 2 %")
        office.running.people.delete(RELEASES, gone.ts, "mira")
        await heard(office)
        model.release()
        await answered(office, 2)
        _, second = await runs(office)
        assert [one["text"] for one in second.inputs["turn"]["messages"] if one["new"]] == ["at 2 %"]

    async def test_a_deletion_stops_the_run_and_nothing_is_said(self, opened: Open) -> None:
        office, model, said = await self.begun(opened, "Never said.")
        office.running.people.delete(RELEASES, said.ts, "mira")
        await heard(office)
        await until(lambda: not model.thinking)
        await office.settle()
        assert [run.outcome for run in await runs(office)] == ["stopped"]
        assert answers(office) == []
        assert office.running.workspace.status(office.running.workspace.channel(RELEASES), said.ts) == ""

    async def test_a_cross_on_the_message_stops_the_run(self, opened: Open) -> None:
        office, model, said = await self.begun(opened, "Never said.")
        office.running.people.react(RELEASES, said.ts, "sam", "x")
        await heard(office)
        assert model.thinking, "it is not Sam's message"
        office.running.people.react(RELEASES, said.ts, "mira", "x")
        answer = await answered(office)
        assert "I was asked to stop, so I did." in readable(answer)
        assert [run.outcome for run in await runs(office)] == ["stopped"]

    async def test_a_cross_on_the_answer_in_progress_stops_the_run(self, opened: Open) -> None:
        model = Told.to_say(call("list_rollouts"), "Never said.")
        office = await opened(model)
        say_and_hold(model)
        said = say(office, "@sluice what is going on?")
        await until(lambda: answers(office) and model.thinking, 15)
        office.running.people.react(RELEASES, answers(office)[0].ts, "sam", "x")
        answer = await answered(office)
        assert answer.thread_ts == said.ts
        assert "I was asked to stop, so I did." in readable(answer)
        assert len(answers(office)) == 1, "the stop is said in the message that was begun"

    async def test_slacks_stop_button_stops_the_run_for_everyone_in_the_thread(self, opened: Open) -> None:
        office, model, said = await self.begun(opened, "Never said.")
        channel = office.running.workspace.channel(RELEASES)
        await until(lambda: office.running.workspace.can_be_stopped(channel, said.ts))
        office.running.people.stop(RELEASES, "sam", said.ts)
        answer = await answered(office)
        assert "I was asked to stop, so I did." in readable(answer)
        assert not model.thinking
        assert [run.outcome for run in await runs(office)] == ["stopped"]
        assert len(answers(office)) == 1
        assert office.running.workspace.status(channel, said.ts) == "", "Slack leaves it to Sluice to leave the session"

    async def test_slacks_stop_button_ends_an_answer_in_the_message_that_was_begun(self, opened: Open) -> None:
        model = Told.to_say(call("list_rollouts"), "Never said.")
        office = await opened(model)
        say_and_hold(model)
        said = say(office, "@sluice what is going on?")
        await until(lambda: answers(office) and model.thinking, 15)
        office.running.people.stop(RELEASES, "mira", said.ts)
        answer = await answered(office)
        assert "I was asked to stop, so I did." in readable(answer)
        assert "Never said" not in readable(answer)
        assert len(answers(office)) == 1

    async def test_a_stop_that_comes_twice_and_late_stops_nothing_that_was_asked_since(self, opened: Open) -> None:
        office, model, said = await self.begun(opened, "Never said.", "Two.")
        channel, pressed = office.running.workspace.channel(RELEASES), list[Any]()
        await until(lambda: office.running.workspace.can_be_stopped(channel, said.ts))
        tell = office.running.courier.tell
        office.running.courier.tell = lambda payload: (pressed.append(payload), tell(payload))[-1]  # type: ignore[method-assign]
        office.running.people.stop(RELEASES, "mira", said.ts)
        await answered(office)
        [stop] = [one for one in pressed if one["event"]["type"] == "agent_session_stopped"]
        say(office, "and now?", thread=said.ts)
        await until(lambda: model.thinking)
        await until(lambda: office.running.workspace.can_be_stopped(channel, said.ts))
        tell(stop)
        await heard(office)
        assert office.running.workspace.can_be_stopped(channel, said.ts), "the run that goes on still can be stopped"
        [_, second] = await runs(office)
        assert second.stop_requested_at is None
        office.running.people.stop(RELEASES, "mira", said.ts)
        await answered(office, 2)

    async def test_a_stop_that_comes_twice_spares_who_waited_behind_the_stopped_run(self, opened: Open) -> None:
        model, pressed = Told.to_say("Never said.", "Two are paused.", held=True), list[Any]()
        office = await opened(model)
        said = say(office, "@sluice what is going on?")
        channel = office.running.workspace.channel(RELEASES)
        await until(lambda: model.thinking, 15)
        await until(lambda: office.running.workspace.can_be_stopped(channel, said.ts))
        say(office, "@sluice and what is paused?", user="sam", thread=said.ts)
        await heard(office)
        tell = office.running.courier.tell
        office.running.courier.tell = lambda payload: (pressed.append(payload), tell(payload))[-1]  # type: ignore[method-assign]
        office.running.people.stop(RELEASES, "mira", said.ts)
        async with asyncio.timeout(15):
            while len(await runs(office)) < 2 or not model.thinking:
                await asyncio.sleep(0.02)
        [stop] = [one for one in pressed if one["event"]["type"] == "agent_session_stopped"]
        tell(stop)
        await heard(office)
        model.release()
        await until(lambda: len(answers(office)) == 2, 15)
        await office.settle()
        assert [(run.requester, run.outcome) for run in await runs(office)] == [(MIRA, "stopped"), (SAM, "answered")]

    async def test_a_stop_where_nothing_goes_on_leaves_the_session(self, opened: Open) -> None:
        office = await opened(Told.to_say("Hello."))
        said = say(office, "@sluice hello")
        await answered(office)
        channel = office.running.workspace.channel(RELEASES)
        office.running.workspace.set_session(channel, said.ts, "processing")  # as a process that died left it
        office.running.people.stop(RELEASES, "mira", said.ts)
        await heard(office)
        assert office.running.workspace.status(channel, said.ts) == ""
        assert len(answers(office)) == 1
        assert office.private(MIRA) == []

    async def test_a_stop_of_a_run_of_another_process_is_written_in_its_row(self, opened: Open) -> None:
        office, model, said = await self.begun(opened, "Never said.")
        office.services.runs._stops.clear()  # as if another process had it
        channel = office.running.workspace.channel(RELEASES)
        await until(lambda: office.running.workspace.can_be_stopped(channel, said.ts))
        office.running.people.stop(RELEASES, "sam", said.ts)
        answer = await answered(office)
        assert "I was asked to stop, so I did." in readable(answer)
        assert [run.outcome for run in await runs(office)] == ["stopped"]
        assert not model.thinking

    async def test_a_run_that_goes_on_in_another_process_is_asked_to_stop_in_its_row(self, opened: Open) -> None:
        office, model, said = await self.begun(opened, "Never said.")
        office.services.runs._stops.clear()  # as if another process had it
        office.running.people.react(RELEASES, said.ts, "mira", "x")
        await heard(office)
        [run] = await runs(office)
        assert run.stop_requested_at is not None
        model.release()
        await asyncio.sleep(0)


class TestConfirming:
    async def asked(self, opened: Open) -> tuple[Office, Message]:
        office = await opened(Told.to_say(call("roll_back"), "Shall I?"))
        await office.started()
        say(office, "hm, the new one looks odd to me", thread=office.card().ts)
        answer = await answered(office)
        assert (await office.view()).phase is Phase.PROGRESSING
        assert "Roll `new-checkout` back in production?" in readable(answer)
        return office, answer

    async def test_the_button_does_what_was_understood(self, opened: Open) -> None:
        office, answer = await self.asked(opened)
        outcome = await office.running.people.click(RELEASES, answer.ts, "answer.confirm", "mira")
        assert outcome.ok
        await office.settle()
        assert (await office.view()).phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        after = readable(finished(office)[0])
        assert f"<@{MIRA}> confirmed it at" in after
        assert "Shall I?" in after
        assert "answer.confirm" not in str(finished(office)[0].blocks)

    async def test_somebody_elses_click_is_refused(self, opened: Open) -> None:
        office, answer = await self.asked(opened)
        await office.running.people.click(RELEASES, answer.ts, "answer.confirm", "jonas")
        await until(lambda: any("the person who was asked" in one for one in office.private(JONAS)))
        assert (await office.view()).phase is Phase.PROGRESSING
        assert "answer.confirm" in str(finished(office)[0].blocks)

    async def test_leaving_it_leaves_it(self, opened: Open) -> None:
        office, answer = await self.asked(opened)
        await office.running.people.click(RELEASES, answer.ts, "answer.dismiss", "mira")
        await office.settle()
        assert (await office.view()).phase is Phase.PROGRESSING
        assert "left it as it is" in readable(finished(office)[0])

    async def test_too_late_is_said_politely_and_shown(self, opened: Open) -> None:
        office, answer = await self.asked(opened)
        office.clock.advance(16 * 60)
        await office.running.people.click(RELEASES, answer.ts, "answer.confirm", "mira")
        await until(lambda: any("ran out of time" in one for one in office.private(MIRA)))
        assert (await office.view()).phase is Phase.PROGRESSING
        assert "Nobody decided" in readable(finished(office)[0])


class TestFeedback:
    async def kept(self, office: Office) -> list[tuple[str, int, str | None]]:
        async with office.services.database.read() as session:
            rows = (await session.scalars(select(Feedback).order_by(Feedback.person))).all()
            return [(row.person, row.rating, row.reason) for row in rows]

    async def test_thumbs_are_kept_and_the_last_word_counts(self, opened: Open) -> None:
        office = await opened(Told.to_say("Hello."))
        say(office, "@sluice hello")
        answer = await answered(office)
        run = (await runs(office))[0].id
        press = office.running.people.click
        assert (await press(RELEASES, answer.ts, "answer.feedback", "sam", value=f"good:{run}")).ok
        await office.settle()
        assert await self.kept(office) == [(SAM, 1, None)]
        assert any("noted" in one for one in office.private(SAM))

        assert (await press(RELEASES, answer.ts, "answer.feedback", "sam", value=f"bad:{run}")).ok
        await until(lambda: office.running.workspace.screens.modal_stack(SAM))
        await office.settle()
        assert await self.kept(office) == [(SAM, -1, None)], "whoever gives no reason has said so all the same"
        assert (await office.submit(office.dialog(SAM), "it is wrong", user=SAM)).ok
        assert await self.kept(office) == [(SAM, -1, "it is wrong")]

    async def test_no_reason_is_fine(self, opened: Open) -> None:
        office = await opened(Told.to_say("Hello."))
        say(office, "@sluice hello")
        answer = await answered(office)
        run = (await runs(office))[0].id
        await office.running.people.click(RELEASES, answer.ts, "answer.feedback", "sam", value=f"bad:{run}")
        await until(lambda: office.running.workspace.screens.modal_stack(SAM))
        outcome = await office.running.people.submit(office.dialog(SAM).id, SAM, {})
        assert outcome.ok
        await office.settle()
        assert await self.kept(office) == [(SAM, -1, None)]


class TestWithoutAModel:
    async def test_it_says_so_and_what_works_without(self, office: Office) -> None:
        await office.proposed()
        say(office, "@sluice how is it going?", thread=office.card().ts)
        answer = await answered(office)
        assert "No model is configured" in readable(answer)
        assert "--env staging --strategy shadow" in readable(answer)

    async def test_a_plain_order_is_carried_out(self, office: Office) -> None:
        await office.started()
        say(office, f"@sluice roll back {FLAG}")
        answer = await answered(office)
        await office.settle()
        assert (await office.view()).phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        assert "Done." in readable(answer)
        assert "From the records" not in readable(answer), "the same is not said twice"
        [run] = await runs(office)
        assert run.outcome == "answered"

    async def test_an_order_among_other_words_is_carried_out_and_the_rest_is_not_hidden(self, office: Office) -> None:
        await office.started()
        say(office, f"@sluice Customers complain. Roll back {FLAG}. And tell me why it happened.")
        answer = await answered(office)
        await office.settle()
        assert (await office.view()).phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        assert "No model is configured" in readable(answer)

    async def test_a_plain_order_needs_no_answer_of_a_model_that_is_there(self, opened: Open) -> None:
        model = Told.to_say("Never said.")
        office = await opened(model)
        await office.started()
        say(office, "roll it back!", thread=office.card().ts)
        await answered(office)
        await office.settle()
        assert (await office.view()).phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        assert model.asked == []


class TestOrdersWhileAModelThinks:
    async def test_a_plain_order_does_not_wait_for_the_answer_before_it(self, opened: Open) -> None:
        model = Told.to_say("It does well.", "It is back.")
        office = await opened(model)
        await office.started()
        model.hold()
        say(office, "how is it doing?", thread=office.card().ts)
        await until(lambda: model.thinking, 15)
        say(office, "roll back", user="jonas", thread=office.card().ts)
        await until(lambda: finished(office), 15)
        [ordered] = finished(office)
        assert "Done." in readable(ordered)
        assert (await office.view()).phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        await until(lambda: model.thinking, 15)
        model.release()
        answer = await answered(office, 2)
        assert "It does well." in readable(answer), "the question was read again, after the order"

    async def test_what_a_run_has_done_is_not_done_again(self, opened: Open) -> None:
        model = Told.to_say(call("list_rollouts"), "All is well.", "Never said.")
        office = await opened(model)
        await office.started()
        say_and_hold(model)
        say(office, "what is going on?", thread=office.card().ts)
        await until(lambda: answers(office) and model.thinking, 15)
        say(office, "pause it", thread=office.card().ts)
        await until(lambda: len(finished(office)) == 2, 15)
        assert (await office.view()).phase is Phase.PAUSED
        shown = [readable(answer) for answer in finished(office)]
        assert any("I was asked to stop" in one for one in shown)
        assert any("Done." in one for one in shown)
        model.release()
        await office.settle()
        assert len(finished(office)) == 2

    async def test_what_was_said_before_an_order_raises_nothing_after_it(self, opened: Open) -> None:
        model = Told.to_say(call("resume"), "It goes on.")
        office = await opened(model)
        await office.started()
        say(office, "pause it", thread=office.card().ts)
        await until(lambda: finished(office), 15)
        model.hold()
        say(office, "resume it", thread=office.card().ts)
        await until(lambda: model.thinking, 15)
        say(office, "pause it", thread=office.card().ts)
        await until(lambda: len(finished(office)) == 2 and model.thinking, 15)
        model.release()
        await answered(office, 3)
        assert (await office.view()).phase is Phase.PAUSED


class TestUntrustedText:
    async def test_a_model_mentions_nobody_and_hides_no_address(self, opened: Open) -> None:
        text = (
            "<!channel> <!here|x> <@UJONAS001> @everyone [our page](https://evil.example/x) <https://evil.example|ours>"
        )
        office = await opened(Told.to_say(text))
        say(office, "@sluice hello")
        answer = await answered(office)
        shown = readable(answer)
        for token in ("<!", "<@U", "@everyone", "@channel", "](", "|ours"):
            assert token not in shown
        assert "our page (https://evil.example/x)" in shown
        assert "<!" not in answer.text


class TestTroubleOfSlack:
    async def test_a_stream_that_dies_is_recovered_in_the_same_message(self, opened: Open) -> None:
        model = Told.to_say(call("list_rollouts"), "All is well.")
        office = await opened(model)
        say_and_hold(model)
        say(office, "@sluice what is going on?")
        await until(lambda: answers(office) and model.thinking, 15)
        stream = answers(office)[0].stream
        assert stream is not None
        stream.open = False
        model.release()
        answer = await answered(office)
        assert "All is well." in readable(answer)
        assert tasks(answer) == [("Listing rollouts", "complete")]
        assert len(answers(office)) == 1

    @pytest.mark.parametrize("method", ["chat.startStream", "agents.sessions.setStatus", "chat.appendStream"])
    async def test_a_method_that_fails_costs_nothing_but_its_show(self, opened: Open, method: str) -> None:
        office = await opened(Told.to_say(call("list_rollouts"), "All is well."))
        office.running.workspace.faults.limit(method, times=20, retry_after=0)
        say(office, "@sluice what is going on?")
        answer = await answered(office)
        assert "All is well." in readable(answer)
        assert tasks(answer) == [("Listing rollouts", "complete")]

    async def test_an_answer_that_slack_does_not_take_is_shown_when_it_does(self, opened: Open) -> None:
        model = Told.to_say("Here it is.", held=True)
        office = await opened(model)
        say(office, "@sluice hello")
        await until(lambda: model.thinking, 15)
        office.running.workspace.faults.limit("chat.postMessage", times=4, retry_after=0)
        model.release()
        answer = await answered(office)
        assert "Here it is." in readable(answer)
        assert len(await runs(office)) == 1, "the model is not asked again"
        async with office.services.database.read() as session:
            [conversation] = (await session.scalars(select(Conversation))).all()
            [row] = (await session.scalars(select(Row).where(Row.by_sluice.is_(True)))).all()
        assert (row.conversation_id, row.ts, row.text) == (conversation.id, answer.ts, "Here it is.")


class TestStartingAgain:
    async def test_what_a_dead_process_was_reading_is_read_again_in_its_message(
        self, tmp_path: Path, blank: Path
    ) -> None:
        held = Told.to_say(call("list_rollouts"), "Never said.")
        say_and_hold(held)
        async with AsyncExitStack() as stack:
            running = await stack.enter_async_context(running_workspace())
            async with open_office(tmp_path, running, blank, model=held, jobs={"type": "in_process"}) as office:
                said = say(office, "@sluice what is going on?")
                await until(lambda: answers(office) and held.thinking, 15)
            begun = [message for message in office.messages() if message.is_reply]
            assert len(begun) == 1
            office = await stack.enter_async_context(
                open_office(tmp_path, running, None, model=Told.to_say("All is well."), jobs={"type": "in_process"})
            )
            answer = await answered(office)
            dead, run = await runs(office)
        assert (answer.ts, answer.thread_ts) == (begun[0].ts, said.ts)
        assert "All is well." in readable(answer)
        assert (dead.outcome, dead.error) == ("failed", INTERRUPTED)
        assert run.outcome == "answered"

    async def test_a_message_that_nobody_took_is_taken_up(self, opened: Open) -> None:
        office = await opened(Told.to_say("Hello."))
        said = say(office, "hello", user="sam", channel="CPAYMENTS")
        threads = Threads(office.services.database, office.services.clock)
        heard_by_a_dead_process = Heard("", "CPAYMENTS", said.ts, said.ts, SAM, "hello")
        assert await threads.hear(heard_by_a_dead_process) is not None
        await conversing.take_up_forgotten(office.services)
        assert (await runs(office)) == []
        office.clock.advance(10 * 365 * 24 * 3600)
        await conversing.take_up_forgotten(office.services)
        await answered(office, channel="CPAYMENTS")

    async def test_a_reply_that_came_before_the_card_was_written_down_shares_its_conversation(
        self, opened: Open
    ) -> None:
        office = await opened(Told.to_say(call("rollout_status"), "As you see."))
        await office.proposed()
        view = await office.view()
        assert view.place is not None
        async with office.services.database.write() as session:
            conversation = await session.get(Conversation, view.place.conversation_id)
            assert conversation is not None
            conversation.thread_ts = conversation.card_ts = None
        say(office, "@sluice how is it?", thread=office.card().ts)
        await until(lambda: finished(office), 15)
        assert await office.press("approve") is None
        assert len(office.cards()) == 1
        say(office, "and now?", thread=office.card().ts)
        await answered(office, 2)
        second = (await runs(office))[-1]
        assert second.inputs["turn"]["flag"] == FLAG
