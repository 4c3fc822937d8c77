"""The bounds of a run hold over everything that it asks a model for, and over the calls of one move."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from sqlalchemy import func, select

from agent.bounds import Budget
from agent.evals.scenario import USUAL_PLANNING, USUAL_POLICY
from agent.evals.world import Traffic, World, open_world
from agent.graph import Course, Exchange, Finding, OutOfBounds, Run, converse
from agent.model import ModelOptions, Style, Wording
from agent.moves import Call
from agent.planner import Planner
from agent.planning.drafter import Drafter
from agent.scripted import ScriptedModel
from agent.turns import Ending, Silent
from tests.unit.agent.planning_desk import CHECKOUT, Desk, request, talking
from tools.metrics.catalogue import MetricDefinition
from tools.records.models import ModelCall, ToolCall

METRIC = MetricDefinition(name="errors", source="m", title="Errors", query="-")
USELESS = "no sketch at all"


def calling(*tools: str, **arguments: Any) -> AIMessage:
    calls = [{"name": tool, "args": arguments, "id": str(number)} for number, tool in enumerate(tools)]
    return AIMessage("", tool_calls=calls)


class Forever(ScriptedModel):
    """A model that never answers."""

    async def _agenerate(self, messages: list[BaseMessage], *rest: Any, **options: Any) -> Any:
        await asyncio.Event().wait()


@dataclass
class Sketching:
    """A world whose planner asks a model too, and the rows that are left."""

    world: World
    sketcher: ScriptedModel

    async def asked(self) -> tuple[int, int]:
        """How often a model was asked, by whomever, and how many tokens that took."""
        tokens = func.sum(ModelCall.input_tokens + ModelCall.output_tokens)
        async with self.world.database.read() as session:
            calls, used = (await session.execute(select(func.count(), tokens).select_from(ModelCall))).one()
        return calls, used or 0

    async def carried_out(self) -> list[ToolCall]:
        async with self.world.database.read() as session:
            return list((await session.scalars(select(ToolCall).order_by(ToolCall.position))).all())


@asynccontextmanager
async def sketching(
    line: Callable[[int], AIMessage], sketcher: ScriptedModel, **bounds: Any
) -> AsyncIterator[Sketching]:
    """The conversation's model says `line` of its move's number; the planner's is the sketcher."""
    options = ModelOptions(name="m", **bounds)
    moves = iter(range(100))
    speaker = ScriptedModel(lines=lambda _messages: line(next(moves)))
    async with open_world(
        speaker, options=options, metrics=[METRIC], policy=USUAL_POLICY, defaults=USUAL_PLANNING
    ) as world:
        for name in ("a-flag", "b-flag", "c-flag"):
            await world.define(name, traffic={METRIC.name: Traffic(600, 0.01, 0.01)})
        desk = world.agent.desk
        drafter = Drafter(options, lambda: sketcher, world.database, world.clock)
        planner = Planner(
            desk.specs, desk.flags, desk.metrics, desk.policy, USUAL_PLANNING, desk.clock, drafter, desk.database
        )
        world.agent = replace(world.agent, desk=replace(desk, planner=planner))
        yield Sketching(world, sketcher)


def plans(number: int) -> AIMessage:
    """Three plans in a move."""
    calls = [
        {"name": "propose_plan", "args": {"flag": flag}, "id": f"{number}-{flag}"}
        for flag in ("a-flag", "b-flag", "c-flag")
    ]
    return AIMessage("", tool_calls=calls)


def useless() -> ScriptedModel:
    return ScriptedModel(lines=lambda _messages: AIMessage(USELESS))


async def test_calls_of_a_sketch_count() -> None:
    async with sketching(plans, useless(), max_calls=3) as made:
        answer = await made.world.say("plan them all", person="UMIRA")
        calls, _ = await made.asked()
        rows = await made.carried_out()
    assert calls == 3
    assert answer.ending is Ending.BOUNDED
    assert "more than 3 steps" in answer.text
    # The calculators' plans stand all the same.
    assert [row.failed for row in rows] == [False, False, False]
    assert "That took more than 3 steps, so this is the calculators' plan." in rows[0].result["said"]


async def test_tokens_of_a_sketch_count() -> None:
    expensive = AIMessage(USELESS, usage_metadata={"input_tokens": 50_000, "output_tokens": 0, "total_tokens": 50_000})
    sketcher = ScriptedModel(lines=lambda _messages: expensive)
    async with sketching(plans, sketcher, max_tokens=60_000) as made:
        answer = await made.world.say("plan them all", person="UMIRA")
        calls, used = await made.asked()
        rows = await made.carried_out()
    assert calls == 3
    assert used < 60_000 + 50_000
    assert answer.ending is Ending.BOUNDED
    assert "more than 60,000 tokens, so this is the calculators' plan" in rows[0].result["said"]


async def test_a_sketch_has_no_more_time_than_its_run() -> None:
    desk = await a_desk()
    async with talking(desk) as talk:
        budget, now = Budget.of(talk.options), asyncio.get_running_loop().time

        def opened() -> ScriptedModel:
            # The facts are there by now.
            budget.deadline = now() + 0.05
            return Forever.of([])

        drafter = Drafter(talk.options, opened, talk.database, desk.clock)
        async with asyncio.timeout(20):
            proposal = await desk.with_drafter(drafter).propose(request(), None, budget)
    assert proposal.notes[0] == "The model did not answer in time, so this is the calculators' plan."


class Unkept:
    """Keeps no exchange."""

    async def model_called(self, exchange: Exchange) -> None:
        """Nothing to keep."""


async def test_once_the_time_is_up_the_rest_of_a_move_is_not_carried_out() -> None:
    options = ModelOptions(name="m")
    budget, course, done = Budget.of(options), Course(), list[str]()

    async def act(call: Call) -> Finding:
        done.append(call.id)
        budget.deadline = 0.0
        return Finding(text='{"said": "Done."}', said="Done.", failed=False)

    async def is_stopped() -> bool:
        return False

    run = Run(
        model=ScriptedModel.of([plans(1)]),
        options=options,
        offers=(),
        act=act,
        keeper=Unkept(),
        voice=Silent(),
        stop=asyncio.Event(),
        is_stopped=is_stopped,
        budget=budget,
    )
    with pytest.raises(OutOfBounds, match="longer than 120 s"):
        await converse(run, [HumanMessage("plan them all")], course)
    assert len(done) == len(course.findings) == 1


async def test_the_last_move_is_carried_out() -> None:
    bounds = {"style": Style.SCHEMA, "wording": Wording.ROWS, "max_calls": 1}
    async with sketching(lambda _: calling("list_rollouts"), useless(), **bounds) as made:
        answer = await made.world.say("what is rolling out?", person="UMIRA")
    assert answer.ending is Ending.ANSWERED
    assert answer.text.startswith("Nothing is rolling out.")


async def test_a_plan_for_a_command_has_bounds_too() -> None:
    desk = await a_desk()
    async with talking(desk, *[USELESS] * 9, max_calls=2) as talk:
        proposal = await talk.planner.propose(request())
        assert len(await talk.calls()) == 2
    assert proposal.notes[0] == "That took more than 2 steps, so this is the calculators' plan."


async def test_a_spent_budget_asks_nothing() -> None:
    desk = await a_desk()
    async with talking(desk, USELESS) as talk:
        budget = Budget.of(talk.options)
        budget.used(talk.options.max_tokens, 0)
        proposal = await talk.planner.propose(request(), None, budget)
        assert await talk.calls() == []
    assert "so this is the calculators' plan" in proposal.notes[0]


async def test_the_graph_of_planning_has_its_own_limit_of_steps() -> None:
    from langgraph.graph import END, START, StateGraph

    desk = await a_desk()
    found = list[Any]()
    async with talking(desk, *[USELESS] * 9) as talk:

        async def plan(_state: dict[str, Any]) -> dict[str, Any]:
            found.append(await talk.planner.propose(request()))
            return {}

        outer = StateGraph(dict)
        outer.add_node("plan", plan)
        outer.add_edge(START, "plan")
        outer.add_edge("plan", END)
        await outer.compile().ainvoke({}, {"recursion_limit": 3})
        assert len(await talk.calls()) == 3
    assert "didn't pass" in found[0].notes[0]


async def a_desk() -> Desk:
    desk = Desk()
    await desk.flag()
    desk.specs.put("checkout.md", CHECKOUT.replace("depends_on: [new-cart, wallet]\n", ""))
    desk.history("errors")
    return desk


@pytest.mark.parametrize(
    ("calls", "tokens", "seconds", "said"),
    [
        (2, 0, 9.0, "That took more than 2 steps"),
        (0, 200, 9.0, "That took more than 200 tokens"),
        (0, 0, -1.0, "That took longer than 9 s"),
        (1, 199, 9.0, None),
    ],
)
async def test_what_is_spent_is_said(calls: int, tokens: int, seconds: float, said: str | None) -> None:
    options = ModelOptions(max_calls=2, max_tokens=200, max_seconds=9)
    budget = Budget(options, asyncio.get_running_loop().time() + seconds, calls, tokens)
    assert budget.spent() == said
