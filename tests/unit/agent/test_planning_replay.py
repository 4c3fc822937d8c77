"""A recorded planning comes out as it did, from its row alone; with another model it shows what differs."""

import asyncio
import json
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from agent.bounds import Budget
from agent.planning.replaying import plan_again
from agent.scripted import Line, OutOfLines, ScriptedModel
from agent.stopping import Stopped
from agent.turns import Ending
from tests.unit.agent.planning_desk import Desk, Talk, request, talking
from tests.unit.agent.test_planning_talk import SPEC, bad_request, rate_limit, sketch
from tools.records.models import AgentRun, ModelCall

REFUNDS = [{"metric": "refunds", "margin": 1.4, "because": "may reject cards"}]


@pytest.fixture
async def desk() -> Desk:
    made = Desk()
    await made.flag()
    made.specs.put("checkout.md", SPEC)
    made.history("errors")
    made.history("refunds", rate=0.06)
    return made


async def recorded(talk: Talk, **wishes: Any) -> tuple[AgentRun, list[ModelCall]]:
    """The rows of a planning, as they are read back from the database."""
    await talk.planner.propose(request(**wishes))
    (run,) = await talk.runs()
    return run, await talk.calls()


@pytest.mark.parametrize(
    "lines",
    [
        [sketch(1, 4, 40, 80, 100, guardrails=REFUNDS)],
        [sketch(50, 100), "nonsense", sketch(1, 50, 100, strategy="shadow")],
        ["", "", ""],
        [rate_limit()],
        [bad_request(), sketch(1, 50, 100)],
        [sketch(50, 100), rate_limit()],
    ],
)
async def test_the_recorded_words_give_the_recorded_plan(desk: Desk, lines: list[Line | str]) -> None:
    async with talking(desk, *lines) as talk:
        run, calls = await recorded(talk, wishes="plan it, token=xoxb-1234567890-abc please, for EU first")
        again = await plan_again(run, calls)
    assert run.output is not None
    assert json.loads(json.dumps(again.outcome)) == {name: run.output[name] for name in ("plan", "notes")}
    assert (again.ending, again.asked) == (run.outcome, len(calls) or 1)


async def test_a_budget_that_others_used_up_ends_it_again(desk: Desk) -> None:
    async with talking(desk, bad_request(), sketch(1, 50, 100), max_calls=8) as talk:
        budget = Budget.of(talk.options)
        budget.calls = 7
        await talk.planner.propose(request(), None, budget)
        (run,), calls = await talk.runs(), await talk.calls()
        again = await plan_again(run, calls)
    assert (again.ending, again.asked, len(calls)) == (Ending.UNAVAILABLE, 1, 1)
    assert again.outcome["notes"][0] == "That took more than 8 steps, so this is the calculators' plan."
    assert run.output is not None
    assert run.output["notes"] == [*again.outcome["notes"]]


async def test_a_record_ends_where_it_ended_whatever_the_budget(desk: Desk) -> None:
    async with talking(desk, "nonsense", sketch(1, 50, 100)) as talk:
        run, calls = await recorded(talk)
        run.model_parameters = {**run.model_parameters, "max_calls": 1, "max_tokens": 100}
        again = await plan_again(run, calls)
    assert (again.ending, again.asked) == (Ending.ANSWERED, 2)


class Stopping(ScriptedModel):
    """A model that says its lines, and after them waits until it is stopped."""

    stop: asyncio.Event

    async def _agenerate(self, messages: list[BaseMessage], *rest: Any, **options: Any) -> Any:
        try:
            return await super()._agenerate(messages, *rest, **options)
        except OutOfLines:
            self.stop.set()
            await asyncio.Event().wait()


@pytest.mark.parametrize("lines", [[], [sketch(50, 100)], [bad_request()]])
async def test_what_was_stopped_stops_again(desk: Desk, lines: list[Line | str]) -> None:
    stop = asyncio.Event()
    async with talking(desk) as talk:
        talk.model = Stopping(lines=ScriptedModel.of(lines).lines, stop=stop)
        with pytest.raises(Stopped):
            await talk.planner.propose(request(), stop)
        (run,), calls = await talk.runs(), await talk.calls()
        again = await plan_again(run, calls)
    assert (run.outcome, len(calls)) == (Ending.STOPPED, len(lines) + 1)
    assert (again.ending, again.outcome, again.asked) == (Ending.STOPPED, {}, len(calls))


async def test_what_was_stopped_after_its_last_answer_has_no_plan_again(desk: Desk) -> None:
    async with talking(desk, sketch(1, 50, 100)) as talk:
        run, calls = await recorded(talk)
        run.outcome = Ending.STOPPED
        again = await plan_again(run, calls)
    assert (again.ending, again.outcome, again.asked) == (Ending.STOPPED, {}, 1)


async def test_what_broke_breaks_again(desk: Desk) -> None:
    async with talking(desk, sketch(50, 100), RuntimeError("a bug")) as talk:
        with pytest.raises(RuntimeError):
            await talk.planner.propose(request())
        (run,), calls = await talk.runs(), await talk.calls()
        again = await plan_again(run, calls)
    assert (again.ending, again.outcome, again.asked) == (Ending.FAILED, {}, 2)


async def test_a_fault_of_ours_is_one_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_given: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("agent.planning.graph.draw", broken)
    async with talking(desk, sketch(1, 50, 100)) as talk:
        with pytest.raises(ZeroDivisionError):
            await talk.planner.propose(request())
        (run,), calls = await talk.runs(), await talk.calls()
        again = await plan_again(run, calls)
        assert again.ending is Ending.FAILED
        run.error = "RuntimeError"
        with pytest.raises(ZeroDivisionError):
            await plan_again(run, calls)


async def test_another_model_gives_another_plan_and_writes_nothing(desk: Desk) -> None:
    async with talking(desk, sketch(1, 50, 100)) as talk:
        run, calls = await recorded(talk)
        again = await plan_again(run, calls, ScriptedModel.of([sketch(1, 30, 70, 100)]))
        assert len(await talk.runs()) == len(await talk.calls()) == 1
    assert [stage["exposure"]["percent"] for stage in again.outcome["plan"]["stages"]] == [1, 30, 70, 100]
