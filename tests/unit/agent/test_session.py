"""A run from words to answer: bounds, stops, faults of the model, and the rows that are left."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from sqlalchemy import select, update

from agent import recorder
from agent.evals.world import Traffic, World, open_world
from agent.model import ModelOptions, Style, Wording
from agent.planner import Planner
from agent.planning.drafter import Drafter
from agent.scripted import ScriptedModel
from agent.turns import Ending
from tools.metrics.catalogue import MetricDefinition
from tools.plans.defaults import PlanningDefaults
from tools.plans.policy import Policy
from tools.records.models import AgentRun, ModelCall, ToolCall

METRIC = MetricDefinition(name="checkout_errors", source="memory", title="Failed checkouts", query="-")
MIRA = "U0MIRA"
OPTIONS = ModelOptions(name="scripted")


def call(tool: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"id": f"id-{tool}", "name": tool, "args": arguments}])


@asynccontextmanager
async def world(*lines: AIMessage | Exception | str, options: ModelOptions = OPTIONS) -> AsyncIterator[World]:
    async with open_world(
        ScriptedModel.of(lines), options=options, metrics=[METRIC], policy=Policy(approvers=("U0JONAS", "U0AIKO"))
    ) as made:
        await made.define("new-checkout", traffic={METRIC.name: Traffic(600, 0.01, 0.01)})
        yield made


async def rows(made: World, table: type[Any]) -> Sequence[Any]:
    async with made.database.read() as session:
        return (await session.scalars(select(table))).all()


async def test_every_exchange_and_call_is_a_row() -> None:
    async with world(call("rollout_status", flag="new-checkout"), "It serves nobody yet.") as made:
        answer = await made.say("How is new-checkout?", person=MIRA)
        runs, calls, exchanges = [await rows(made, table) for table in (AgentRun, ToolCall, ModelCall)]
    assert (answer.ending, answer.text) == (Ending.ANSWERED, "It serves nobody yet.")
    assert [(one.tool, one.arguments, one.failed) for one in calls] == [
        ("rollout_status", {"flag": "new-checkout"}, False)
    ]
    assert [one.position for one in exchanges] == [1, 2]
    assert all(one.prompt_version.startswith("system@") and one.response for one in exchanges)
    (run,) = runs
    assert (run.outcome, run.requester, run.model) == ("answered", MIRA, "scripted")
    assert all(one.input_tokens > 0 for one in exchanges)
    assert run.inputs["turn"]["messages"][-1]["text"] == "How is new-checkout?"


async def test_what_was_refused_is_said_whatever_the_model_makes_of_it() -> None:
    async with world(call("revise_plan", flag="new-checkout", start_at=1.0), "It starts at 1 % now.") as made:
        answer = await made.say("start at 1 %", person=MIRA)
    (fact,) = answer.facts
    assert fact.startswith("Not done: new-checkout has no rollout")


async def test_costs_are_reckoned_from_the_prices() -> None:
    options = OPTIONS.model_copy(update={"input_price": 2.0, "output_price": 10.0})
    line = AIMessage("Hello.", usage_metadata={"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100})
    async with world(line, options=options) as made:
        await made.say("Hi", person=MIRA)
        (exchange,) = await rows(made, ModelCall)
    assert exchange.cost_usd == pytest.approx(0.003)


class TestBounds:
    async def test_a_model_that_never_replies_is_stopped_and_what_was_found_is_said(self) -> None:
        endless = [call("list_rollouts") for _ in range(50)]
        async with world(*endless) as made:
            answer = await made.say("Go on for ever", person=MIRA)
            exchanges = await rows(made, ModelCall)
        assert answer.ending is Ending.BOUNDED
        assert len(exchanges) == 12
        assert "more than 12 steps" in answer.text
        assert "Nothing is rolling out." in answer.text

    async def test_time_is_a_bound(self) -> None:
        class Slow(ScriptedModel):
            async def _agenerate(self, *args: Any, **options: Any) -> Any:
                await asyncio.Event().wait()

        options = OPTIONS.model_copy(update={"max_seconds": 0.05})
        async with open_world(
            Slow.of([]), options=options, metrics=[METRIC], policy=Policy(approvers=("U0JONAS",))
        ) as made:
            answer = await made.say("Hi", person=MIRA)
        assert answer.ending is Ending.BOUNDED
        assert "longer than 0.05 s" in answer.text

    async def test_tokens_are_a_bound(self) -> None:
        options = OPTIONS.model_copy(update={"max_tokens": 100})
        async with world(call("list_rollouts"), "never said", options=options) as made:
            answer = await made.say("Hi", person=MIRA)
        assert answer.ending is Ending.BOUNDED
        assert "100 tokens" in answer.text


class TestStopping:
    async def test_a_stop_ends_the_run_while_the_model_thinks(self) -> None:
        thinking = asyncio.Event()

        class Slow(ScriptedModel):
            async def _agenerate(self, *args: Any, **options: Any) -> Any:
                thinking.set()
                await asyncio.Event().wait()

        stop = asyncio.Event()
        async with open_world(Slow.of([]), options=OPTIONS, metrics=[METRIC], policy=Policy()) as made:
            running = asyncio.create_task(made.say("Hi", person=MIRA, stop=stop))
            await thinking.wait()
            stop.set()
            answer = await running
            (run,) = await rows(made, AgentRun)
        assert (answer.ending, run.outcome) == (Ending.STOPPED, "stopped")

    async def test_a_stop_while_a_plan_is_made_ends_the_run(self) -> None:
        class Slow(ScriptedModel):
            async def _agenerate(self, *args: Any, **options: Any) -> Any:
                stop.set()
                await asyncio.Event().wait()

        stop = asyncio.Event()
        async with world(call("propose_plan", flag="new-checkout"), "never said") as made:
            desk = made.agent.desk
            drafter = Drafter(OPTIONS, lambda: Slow.of([]), made.database, made.clock)
            defaults = PlanningDefaults()
            sources = desk.specs, desk.flags, desk.metrics
            planner = Planner(*sources, desk.policy, defaults, desk.clock, drafter, desk.database)
            made.agent = replace(made.agent, desk=replace(desk, planner=planner))
            answer = await made.say("Plan it", person=MIRA, stop=stop)
            (tool,) = await rows(made, ToolCall)
        assert answer.ending is Ending.STOPPED
        assert tool.failed
        assert answer.rollouts == ()

    async def test_a_stop_that_another_process_wrote_down_ends_a_model_that_thinks(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recorder, "LOOK_EVERY_S", 0.0)

        class Slow(ScriptedModel):
            async def _agenerate(self, *args: Any, **options: Any) -> Any:
                async with made.database.write() as session:
                    await session.execute(update(AgentRun).values(stop_requested_at=made.clock.now()))
                await asyncio.Event().wait()

        async with open_world(Slow.of([]), options=OPTIONS, metrics=[METRIC], policy=Policy()) as made:
            answer = await made.say("Hi", person=MIRA)
        assert answer.ending is Ending.STOPPED

    async def test_a_stop_that_another_process_wrote_down_ends_a_slow_tool(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recorder, "LOOK_EVERY_S", 0.0)

        def lines(_messages: Sequence[BaseMessage]) -> AIMessage:
            return call("list_rollouts")

        async with open_world(ScriptedModel(lines=lines), options=OPTIONS, metrics=[METRIC], policy=Policy()) as made:

            async def stop_and_hang() -> Any:
                async with made.database.write() as session:
                    await session.execute(update(AgentRun).values(stop_requested_at=made.clock.now()))
                await asyncio.Event().wait()

            made.agent.desk.rollouts.open = stop_and_hang  # type: ignore[method-assign]
            answer = await made.say("Hi", person=MIRA)
        assert answer.ending is Ending.STOPPED


def _openai_error(kind: type[openai.APIStatusError], status: int) -> openai.APIStatusError:
    request = httpx.Request("POST", "http://model.example/v1/chat/completions")
    return kind("sk-abcdefghijklmnopqrst was refused", response=httpx.Response(status, request=request), body=None)


class TestTrouble:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (_openai_error(openai.RateLimitError, 429), "busy"),
            (_openai_error(openai.AuthenticationError, 401), "OPENAI_API_KEY"),
            (_openai_error(openai.BadRequestError, 400), "sluice doctor"),
            (_openai_error(openai.NotFoundError, 404), "SLUICE_MODEL"),
            (openai.APITimeoutError(httpx.Request("POST", "http://m")), "in time"),
            (openai.APIConnectionError(request=httpx.Request("POST", "http://m")), "can't be reached"),
            (ValueError("rubbish"), "can't be read"),
        ],
    )
    async def test_the_models_trouble_is_one_plain_sentence(self, error: Exception, said: str) -> None:
        async with world(error) as made:
            answer = await made.say("Hi", person=MIRA)
            (exchange,) = await rows(made, ModelCall)
        assert answer.ending is Ending.UNAVAILABLE
        assert said in answer.text
        assert "/rollout" in answer.text
        assert "sk-abc" not in answer.text + exchange.error

    async def test_a_stream_in_which_nothing_comes(self) -> None:
        class Mute(ScriptedModel):
            async def astream(self, *_: Any, **__: Any) -> AsyncIterator[AIMessageChunk]:
                for chunk in list[AIMessageChunk]():
                    yield chunk

        async with open_world(Mute.of([]), options=OPTIONS, metrics=[METRIC], policy=Policy()) as made:
            answer = await made.say("Hi", person=MIRA)
            (exchange,) = await rows(made, ModelCall)
        assert answer.ending is Ending.UNAVAILABLE
        assert answer.text == exchange.error
        assert answer.text.startswith("The model answered nothing. What works without it:")

    async def test_without_a_model_it_says_what_works(self) -> None:
        async with open_world(None, options=ModelOptions(), metrics=[METRIC], policy=Policy()) as made:
            answer = await made.say("Hi", person=MIRA)
        assert answer.ending is Ending.UNAVAILABLE
        assert "SLUICE_MODEL" in answer.text

    async def test_a_fault_of_ours_has_a_reference(self) -> None:
        async with world(RuntimeError("boom")) as made:
            answer = await made.say("Hi", person=MIRA)
        assert answer.ending is Ending.FAILED
        assert "boom" not in answer.text

    async def test_a_tool_that_breaks_is_answered_and_the_run_goes_on(self) -> None:
        async with world(call("query_metric", flag="new-checkout", metric=METRIC.name), "Sorry.") as made:

            async def broken(*_: Any) -> Any:
                raise ZeroDivisionError("secret internals")

            made.source.read = broken  # type: ignore[method-assign]
            answer = await made.say("How many errors?", person=MIRA)
            (row,) = await rows(made, ToolCall)
        assert (answer.ending, answer.text) == (Ending.ANSWERED, "Sorry.")
        assert row.failed
        assert "went wrong on my side" in row.result["said"]
        assert "secret internals" not in str(row.result)

    async def test_a_fault_before_the_first_move_is_an_answer_with_a_reference(self) -> None:
        async with world() as made:

            async def broken() -> Any:
                raise ZeroDivisionError("secret internals")

            made.rollouts.open = broken  # type: ignore[method-assign]
            answer = await made.say("Hi", person=MIRA)
            (run,) = await rows(made, AgentRun)
        assert (answer.ending, run.outcome) == (Ending.FAILED, "failed")
        assert run.error.removeprefix("reference ") in answer.text

    async def test_an_empty_move_is_asked_about_and_ends(self) -> None:
        async with world(*["" for _ in range(20)]) as made:
            answer = await made.say("Hi", person=MIRA)
        assert answer.ending is Ending.ANSWERED
        assert answer.text


class TestStyles:
    async def test_a_json_move_is_carried_out_and_rows_word_the_answer(self) -> None:
        options = OPTIONS.model_copy(update={"style": Style.SCHEMA, "wording": Wording.ROWS})
        async with world('{"tool": "list_rollouts", "arguments": {}}', options=options) as made:
            answer = await made.say("What is rolling out?", person=MIRA)
        assert answer.text.startswith("Nothing is rolling out.")

    async def test_a_call_in_the_text_is_recovered(self) -> None:
        async with world('{"name": "list_rollouts", "arguments": {}}', "Nothing.") as made:
            answer = await made.say("What is rolling out?", person=MIRA)
            calls = await rows(made, ToolCall)
        assert [one.tool for one in calls] == ["list_rollouts"]
        assert answer.text == "Nothing."

    async def test_a_refused_call_is_tried_again(self) -> None:
        options = OPTIONS.model_copy(update={"style": Style.TEXT, "wording": Wording.ROWS})
        lines = ['{"tool": "query_metric", "arguments": {}}', '{"tool": "list_rollouts", "arguments": {}}']
        async with world(*lines, options=options) as made:
            answer = await made.say("What is rolling out?", person=MIRA)
        assert answer.text.startswith("Nothing is rolling out.")
