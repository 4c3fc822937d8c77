"""A recorded conversation is played again with the plannings that it asked for, word by word, each a run of its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from sqlalchemy import func, select, update

from agent.evals.scenario import USUAL_PLANNING, USUAL_POLICY
from agent.evals.world import Traffic, open_world
from agent.model import ModelOptions
from agent.planning.books import PLANNING
from agent.planning.wording import instructions
from agent.replay import CUT_OFF, find, replay
from agent.scripted import Line, ScriptedModel
from agent.turns import Answer, Ending
from tests.unit.agent.test_planning_talk import rate_limit, sketch
from tools.metrics.catalogue import MetricDefinition
from tools.records.database import Database
from tools.records.models import AgentRun, ModelCall, ToolCall

METRIC = MetricDefinition(name="errors", source="telemetry", title="Errors", query="-")
OPTIONS = ModelOptions(name="scripted", input_price=1.0, output_price=2.0)
FLAGS = ("a-flag", "b-flag")
GOOD, OTHER, BAD = sketch(1, 50, 100), sketch(1, 30, 70, 100), sketch(50, 100)


def planning(*flags: str) -> AIMessage:
    calls = [{"name": "propose_plan", "args": {"flag": flag}, "id": flag} for flag in flags]
    return AIMessage("", tool_calls=calls)


def speaking(moves: Sequence[Line | str], sketches: Sequence[Line | str]) -> ScriptedModel:
    """A model that converses in these moves, and sketches these sketches."""
    conversation, plans = ScriptedModel.of(moves).lines, ScriptedModel.of(sketches).lines
    return ScriptedModel(lines=lambda said: (plans if said[0].content == instructions() else conversation)(said))


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = Database("sqlite://")
    yield database
    await database.close()


async def spoken(
    database: Database, model: ScriptedModel, *, stop: asyncio.Event | None = None, options: ModelOptions = OPTIONS
) -> Answer:
    """One turn in a world with two flags that nobody has planned for."""
    async with open_world(
        model,
        options=options,
        metrics=[METRIC],
        policy=USUAL_POLICY,
        defaults=USUAL_PLANNING,
        database=database,
        sketches=True,
    ) as world:
        for flag in FLAGS:
            await world.define(flag, traffic={METRIC.name: Traffic(6000, 0.01, 0.01)})
        return await world.say("plan them", person="UMIRA", stop=stop)


async def plannings(database: Database, answer: Answer) -> list[AgentRun]:
    """Those under the answer's run."""
    query = select(AgentRun).where(AgentRun.parent_run_id == answer.run_id, AgentRun.kind == PLANNING)
    async with database.read() as session:
        return [*(await session.scalars(query.order_by(AgentRun.started_at, AgentRun.id))).all()]


async def rows(database: Database) -> tuple[int | None, ...]:
    """How many rows there are of what a replay must not write."""
    async with database.read() as session:
        return tuple(
            [await session.scalar(select(func.count()).select_from(table)) for table in (AgentRun, ModelCall, ToolCall)]
        )


@pytest.mark.parametrize(
    ("moves", "sketches", "asked"),
    [
        ([planning("a-flag"), "Planned."], [GOOD], [1]),
        ([planning("a-flag"), "Planned."], [BAD, "nonsense", GOOD], [3]),
        ([planning("a-flag"), "Planned."], ["", "", ""], [3]),
        ([planning("a-flag"), "Planned."], [BAD, rate_limit()], [2]),
        ([planning(*FLAGS), "Planned."], [GOOD, BAD, OTHER], [1, 2]),
        ([planning("a-flag"), planning("b-flag"), "Planned."], [OTHER, GOOD], [1, 1]),
    ],
)
async def test_with_the_recorded_words_each_planning_is_the_same(
    database: Database, moves: list[Line | str], sketches: list[Line | str], asked: list[int]
) -> None:
    answer = await spoken(database, speaking(moves, sketches))
    assert answer.ending is Ending.ANSWERED
    before = await rows(database)
    record = await find(database, answer.run_id)
    assert record.run.conversation_id is not None
    assert {one.run.conversation_id for one in record.plannings} == {record.run.conversation_id}
    assert sorted(len(planned.exchanges) for planned in record.plannings) == asked
    replayed = await replay(record, None)
    assert (replayed.notes, replayed.differences) == ((), ())
    assert replayed.text == answer.text
    for one in record.plannings:
        assert (await replay(one, None)).same
    assert await rows(database) == before


async def test_a_sketch_that_was_changed_in_its_row_is_found(database: Database) -> None:
    answer = await spoken(database, speaking([planning(*FLAGS), "Planned."], [GOOD, GOOD]))
    first, _ = await plannings(database, answer)
    changed = {"type": "ai", "data": {"content": OTHER, "type": "ai"}}
    async with database.write() as session:
        await session.execute(update(ModelCall).where(ModelCall.run_id == first.id).values(response=changed))
    replayed = await replay(await find(database, answer.run_id), None)
    assert [one.of for one in replayed.differences] == [f"plan of planning {first.id}"]
    shown = "\n".join(replayed.differences[0].lines())
    assert '+    "percent": 30' in shown


@pytest.mark.parametrize(
    ("values", "of"),
    [
        (
            {"response": {"type": "ai", "data": {"content": BAD, "type": "ai"}}},
            {"ending", "plan", "requests to the model"},
        ),
        ({"response": None, "error": "The model is away."}, {"ending", "plan", "notes"}),
    ],
)
async def test_whatever_a_changed_sketch_leads_to_is_shown(
    database: Database, values: dict[str, Any], of: set[str]
) -> None:
    answer = await spoken(database, speaking([planning("a-flag"), "Planned."], [GOOD]))
    (planned,) = await plannings(database, answer)
    async with database.write() as session:
        await session.execute(update(ModelCall).where(ModelCall.run_id == planned.id).values(**values))
    replayed = await replay(await find(database, answer.run_id), None)
    assert {f"{one} of planning {planned.id}" for one in of} <= {one.of for one in replayed.differences}


async def test_facts_that_were_changed_in_the_row_are_found(database: Database) -> None:
    answer = await spoken(database, speaking([planning("a-flag"), "Planned."], [GOOD]))
    (planned,) = await plannings(database, answer)
    facts = {**planned.inputs["facts"], "baselines": [{**planned.inputs["facts"]["baselines"][0], "base_rate": 0.05}]}
    async with database.write() as session:
        await session.execute(
            update(AgentRun).where(AgentRun.id == planned.id).values(inputs={**planned.inputs, "facts": facts})
        )
    replayed = await replay(await find(database, answer.run_id), None)
    assert f"plan of planning {planned.id}" in {one.of for one in replayed.differences}
    assert replayed.notes == ("What the model is told is put together in another way than then.",)


async def test_a_live_model_plans_again_too(database: Database) -> None:
    answer = await spoken(database, speaking([planning("a-flag"), "Planned."], [GOOD]))
    before = await rows(database)
    (planned,) = await plannings(database, answer)
    live = speaking([planning("a-flag"), "Planned."], [OTHER])
    replayed = await replay(await find(database, answer.run_id), live, OPTIONS.model_copy(update={"name": "another"}))
    assert {one.of for one in replayed.differences} == {
        f"{part} of planning {planned.id}" for part in ("plan", "notes")
    }
    assert replayed.notes == ("The model is another: scripted then, another now.",)
    assert await rows(database) == before


async def test_stopping_the_conversation_stops_the_sketch_and_both_are_the_same_again(database: Database) -> None:
    stop = asyncio.Event()

    class Sketching(ScriptedModel):
        async def _agenerate(self, messages: list[BaseMessage], *rest: Any, **options: Any) -> Any:
            if messages[0].content == instructions():
                stop.set()
                await asyncio.Event().wait()
            return await super()._agenerate(messages, *rest, **options)

    answer = await spoken(database, Sketching(lines=ScriptedModel.of([planning("a-flag")]).lines), stop=stop)
    assert answer.ending is Ending.STOPPED
    (planned,) = await plannings(database, answer)
    assert planned.outcome == Ending.STOPPED
    replayed = await replay(await find(database, answer.run_id), None)
    assert (replayed.notes, replayed.differences) == ((), ())


async def test_a_budget_that_was_shared_is_spent_again(database: Database) -> None:
    options = OPTIONS.model_copy(update={"max_calls": 3})
    answer = await spoken(database, speaking([planning(*FLAGS)], ["", ""]), options=options)
    assert answer.ending is Ending.BOUNDED
    assert sorted(one.outcome for one in await plannings(database, answer)) == [Ending.UNAVAILABLE] * 2
    replayed = await replay(await find(database, answer.run_id), None)
    assert (replayed.notes, replayed.differences) == ((), ())


@pytest.mark.parametrize("outcome", ["running", "failed"])
async def test_a_planning_that_died_with_its_process_is_said(database: Database, outcome: str) -> None:
    answer = await spoken(database, speaking([planning("a-flag"), "Planned."], [GOOD]))
    (planned,) = await plannings(database, answer)
    async with database.write() as session:
        await session.execute(update(AgentRun).where(AgentRun.id == planned.id).values(outcome=outcome, output=None))
    replayed = await replay(await find(database, answer.run_id), None)
    assert replayed.notes == (CUT_OFF.format(run=planned.id),)
    assert replayed.same
    assert replayed.text == answer.text
