"""A recorded run, played again: the same with its own words, compared with another model, and never an effect."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from sqlalchemy import func, select, update

from agent.evals.scenario import USUAL_PLANNING, USUAL_POLICY
from agent.evals.world import Traffic, World, open_world
from agent.model import ModelOptions, ModelUnavailable, Style, Wording
from agent.replay import NOT_RECORDED, CantReplay, RunNotFound, find, replay
from agent.replay import Record as Recorded
from agent.scripted import ScriptedModel
from agent.turns import Answer, Ending
from tests.unit.agent.planning_desk import Desk, request, talking
from tests.unit.agent.test_planning_talk import SPEC, sketch
from tools.metrics.catalogue import MetricDefinition
from tools.records.database import Database
from tools.records.models import AgentRun, LogEvent, ModelCall, Record, ToolCall

OPTIONS = ModelOptions(name="scripted")
SMALL = OPTIONS.model_copy(update={"style": Style.SCHEMA, "wording": Wording.ROWS})
STATUS = {"name": "rollout_status", "args": {"flag": "new-checkout"}, "id": "1"}
Line = AIMessage | Exception | str
Played = Callable[..., Any]


def calling(*calls: dict[str, Any], text: str = "") -> AIMessage:
    return AIMessage(text, tool_calls=list(calls))


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = Database("sqlite://")
    yield database
    await database.close()


async def spoken(
    database: Database,
    lines: Sequence[Line],
    *,
    options: ModelOptions = OPTIONS,
    says: str = "how is new-checkout doing?",
    act: Callable[[World, asyncio.Event], None] = lambda _world, _stop: None,
) -> Answer:
    """One turn with a model that says these lines, about a flag that is live at its first stage."""
    metric = MetricDefinition(name="checkout_errors", source="telemetry", title="Failed checkouts", query="-")
    model = ScriptedModel.of(lines)
    async with open_world(
        model, options=options, metrics=[metric], policy=USUAL_POLICY, defaults=USUAL_PLANNING, database=database
    ) as world:
        await world.define("new-checkout", traffic={"checkout_errors": Traffic(6000, 0.01, 0.01)})
        view = await world.propose("new-checkout", person="UMIRA")
        assert view.approval is not None
        await world.rollouts.approve(view.approval.id, actor="UJONAS")
        await world.live(timedelta(minutes=2))
        stop = asyncio.Event()
        act(world, stop)
        return await world.say(says, person="UMIRA", stop=stop)


async def rows(database: Database) -> tuple[int, ...]:
    """How many rows there are of what a replay must not write."""
    async with database.read() as session:
        counts = [
            await session.scalar(select(func.count()).select_from(table))
            for table in (AgentRun, ModelCall, ToolCall, LogEvent)
        ]
    return tuple(count or 0 for count in counts)


STEPS: list[Line] = [calling(STATUS), calling(STATUS, {"name": "history", "args": {}, "id": "2"}), "All is well."]


@pytest.mark.parametrize(
    ("lines", "options", "ending"),
    [
        (STEPS, OPTIONS, Ending.ANSWERED),
        ([calling({"name": "nonsense", "args": {"x": [1, {"y": None}]}, "id": "1"}), "Hm."], OPTIONS, Ending.ANSWERED),
        (["", "Better."], OPTIONS, Ending.ANSWERED),
        ([calling(STATUS), "The password is: hunter2hunter2"], OPTIONS, Ending.ANSWERED),
        (['{"tool": "rollout_status", "arguments": {"flag": "new-checkout"}}'], SMALL, Ending.ANSWERED),
        ([calling(STATUS), ModelUnavailable("The model is busy (429).")], OPTIONS, Ending.UNAVAILABLE),
        ([ModelUnavailable("The model is busy (429).")], OPTIONS, Ending.UNAVAILABLE),
        ([calling(STATUS), RuntimeError("boom")], OPTIONS, Ending.FAILED),
        ([calling(STATUS)] * 3, OPTIONS.model_copy(update={"max_calls": 3}), Ending.BOUNDED),
        ([calling(STATUS)] * 3, OPTIONS.model_copy(update={"max_tokens": 100}), Ending.BOUNDED),
    ],
)
async def test_with_the_recorded_outputs_everything_is_the_same(
    database: Database, lines: list[Line], options: ModelOptions, ending: Ending
) -> None:
    answer = await spoken(database, lines, options=options)
    assert answer.ending is ending
    before = await rows(database)
    record = await find(database, answer.run_id)
    replayed = await replay(record, None)
    assert replayed.differences == ()
    assert replayed.notes == ()
    assert replayed.text == answer.text
    assert await rows(database) == before


async def test_a_run_that_was_stopped_before_its_first_move_stops_again(database: Database) -> None:
    answer = await spoken(database, ["never said"], act=lambda _world, stop: stop.set())
    assert answer.ending is Ending.STOPPED
    replayed = await replay(await find(database, answer.run_id), None)
    assert replayed.same
    assert replayed.text == answer.text


async def test_a_run_that_was_stopped_between_two_moves_stops_there_again(database: Database) -> None:
    stops: list[asyncio.Event] = []

    def then_stop(_messages: Sequence[Any]) -> AIMessage:
        stops[0].set()
        return calling(STATUS)

    def prepare(world: World, stop: asyncio.Event) -> None:
        stops.append(stop)
        world.agent.open_model().lines = then_stop  # type: ignore[attr-defined]

    answer = await spoken(database, ["replaced"], act=prepare)
    assert answer.ending is Ending.STOPPED
    replayed = await replay(await find(database, answer.run_id), None)
    assert replayed.differences == ()
    assert replayed.text == answer.text


async def test_an_order_that_asked_no_model_is_the_same_again(database: Database) -> None:
    answer = await spoken(database, [], says="roll back new-checkout")
    assert answer.ending is Ending.ANSWERED
    replayed = await replay(await find(database, answer.run_id), None)
    assert replayed.same
    assert replayed.notes == ("No model was asked in this run: the person's words were an order.",)
    assert replayed.text == answer.text


async def test_another_answer_is_shown_as_a_diff(database: Database) -> None:
    answer = await spoken(database, STEPS)
    record = await find(database, answer.run_id)
    other = ScriptedModel.of([calling(STATUS), "Nothing to worry about."])
    replayed = await replay(record, other)
    assert not replayed.same
    assert [one.of for one in replayed.differences] == ["calls", "answer", "findings"]
    assert list(replayed.differences[1].lines()) == [
        "--- answer, recorded",
        "+++ answer, again",
        "@@ -1 +1 @@",
        "-All is well.",
        "+Nothing to worry about.",
    ]


async def test_a_call_that_was_not_recorded_is_answered_with_that_and_does_nothing(database: Database) -> None:
    answer = await spoken(database, STEPS)
    before = await rows(database)
    other = ScriptedModel.of([calling({"name": "roll_back", "args": {"flag": "new-checkout"}, "id": "1"}), "Done."])
    replayed = await replay(await find(database, answer.run_id), other)
    assert NOT_RECORDED in str(other.asked[1][-1].content)
    assert ("call", 'roll_back(flag="new-checkout")') in [(one.of, one.again) for one in replayed.differences]
    assert await rows(database) == before


async def test_another_model_and_other_prompts_are_said(database: Database) -> None:
    answer = await spoken(database, STEPS)
    async with database.write() as session:
        await session.execute(update(AgentRun).values(prompt_version="system@000000000000"))
    record = await find(database, answer.run_id)
    replayed = await replay(record, ScriptedModel.of(STEPS), OPTIONS.model_copy(update={"name": "another"}))
    assert replayed.same
    first, second = replayed.notes
    assert first.startswith("The prompts are others than then: system@000000000000 was used")
    assert second == "The model is another: scripted then, another now."


@pytest.mark.parametrize(
    ("table", "values", "of"),
    [
        (AgentRun, {"output": {"text": "Something else.", "facts": []}}, {"answer", "findings"}),
        (AgentRun, {"outcome": "bounded"}, {"ending"}),
        (ToolCall, {"tool": "explain"}, {"calls", "call", "findings"}),
        (ToolCall, {"result": {"said": "Everything burns."}}, {"findings"}),
        (ModelCall, {"response": {"type": "ai", "data": {"content": "No.", "type": "ai"}}}, {"calls", "answer"}),
    ],
)
async def test_a_record_that_was_changed_does_not_come_out_the_same(
    database: Database, table: type[Record], values: dict[str, Any], of: set[str]
) -> None:
    answer = await spoken(database, STEPS)
    async with database.write() as session:
        await session.execute(update(table).values(values))
    replayed = await replay(await find(database, answer.run_id), None)
    assert of <= {one.of for one in replayed.differences}


async def test_what_can_not_be_replayed_is_said(database: Database) -> None:
    answer = await spoken(database, STEPS)
    with pytest.raises(RunNotFound, match="There is no run 'nobody'"):
        await find(database, "nobody")
    async with database.write() as session:
        await session.execute(update(AgentRun).values(outcome="running"))
    with pytest.raises(CantReplay, match="has not ended"):
        await find(database, answer.run_id)


async def test_a_live_model_that_is_away_is_an_error(database: Database) -> None:
    answer = await spoken(database, STEPS)
    away = ScriptedModel.of([ModelUnavailable("The model can't be reached.")])
    with pytest.raises(ModelUnavailable, match="can't be reached"):
        await replay(await find(database, answer.run_id), away)


async def test_a_planning_is_compared_in_its_plan() -> None:
    desk = Desk()
    await desk.flag()
    desk.specs.put("checkout.md", SPEC)
    desk.history("errors")
    async with talking(desk, sketch(1, 50, 100)) as talk:
        await talk.planner.propose(request())
        (run,) = await talk.runs()
        record = Recorded(run, await talk.calls(), ())
    assert (await replay(record, None)).same
    other = await replay(record, ScriptedModel.of([sketch(1, 30, 70, 100)]))
    assert [one.of for one in other.differences] == ["plan"]
