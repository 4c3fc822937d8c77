"""What another process takes back while a run is on its way has no effect any more, however quick the run is."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from sqlalchemy import func, select

from agent.evals.world import open_world
from agent.model import ModelOptions
from agent.recorder import Recorder, wished_to_stop
from agent.scripted import ScriptedModel
from agent.session import Agent
from agent.turns import Answer, Ending, Turn, Voice
from tools.plans.policy import Policy
from tools.records.models import AgentRun, ToolCall, new_id

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIRA = "U0MIRA"


@dataclass(frozen=True, slots=True)
class Disturbed(Recorder):
    """Somebody elsewhere wants the run to stop as soon as it has begun."""

    async def begin(
        self,
        turn: Turn,
        options: ModelOptions,
        prompt_version: str,
        *,
        run_id: str | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> tuple[str, bool]:
        begun = await Recorder.begin(self, turn, options, prompt_version, run_id=run_id, inputs=inputs)
        async with self.database.write() as session:
            await session.execute(wished_to_stop(session, begun[0], turn.conversation_id, turn.person, at=AT))
        return begun


@dataclass(frozen=True)
class DisturbedAgent(Agent):
    """The agent, with that recorder."""

    @property
    def recorder(self) -> Recorder:
        return Disturbed(self.desk.database, self.desk.clock)


@dataclass(frozen=True)
class EarlyStopped(Agent):
    """The agent, whose runs are stopped before they begin: once their messages are taken."""

    async def run(self, turn: Turn, voice: Voice, stop: asyncio.Event, *, run_id: str | None = None) -> Answer:
        taken = new_id()
        async with self.desk.database.write() as session:
            await session.execute(wished_to_stop(session, taken, turn.conversation_id, turn.person, at=AT))
        stop.set()
        return await Agent.run(self, turn, voice, stop, run_id=taken)


@pytest.mark.parametrize(
    ("words", "tool", "calls"),
    [
        ("Switch off new-checkout", "never-asked", 0),
        ("I wonder about new-checkout", "pause", 0),
        ("I wonder about new-checkout", "propose_plan", 0),
        ("I wonder about new-checkout", "rollout_status", 1),
    ],
)
async def test_nothing_is_carried_out_for_a_run_that_is_to_stop(words: str, tool: str, calls: int) -> None:
    line = AIMessage("", tool_calls=[{"id": "one", "name": tool, "args": {"flag": "new-checkout"}}])
    model, options = ScriptedModel.of([line, "There."]), ModelOptions(name="scripted")
    async with open_world(model, options=options, metrics=[], policy=Policy(approvers=("U0JONAS",))) as world:
        await world.define("new-checkout", traffic={})
        world.agent = DisturbedAgent(**{one.name: getattr(world.agent, one.name) for one in fields(world.agent)})
        answer = await world.say(words, person=MIRA)
        async with world.database.read() as session:
            made = await session.scalar(select(func.count()).select_from(ToolCall))
    assert made == calls
    assert answer.ending is (Ending.ANSWERED if calls else Ending.STOPPED), "reading has no effect"


async def test_a_run_that_is_stopped_before_it_begins_has_one_row_with_what_it_was_asked() -> None:
    options = ModelOptions(name="scripted")
    async with open_world(ScriptedModel.of([]), options=options, metrics=[], policy=Policy()) as world:
        world.agent = EarlyStopped(**{one.name: getattr(world.agent, one.name) for one in fields(world.agent)})
        answer = await world.say("how is it?", person=MIRA)
        async with world.database.read() as session:
            [run] = (await session.scalars(select(AgentRun))).all()
    assert (run.id, run.outcome, run.model) == (answer.run_id, "stopped", "scripted")
    assert run.inputs["turn"]["messages"][0]["text"] == "how is it?"
    assert run.stop_requested_at == AT
    assert run.ended_at is not None
