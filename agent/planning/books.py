"""Where the talk about a plan is kept: in a run of its own, under the run of the conversation that asked for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from agent.graph import Exchange
from agent.model import ModelOptions
from agent.planning.dialogue import Book
from agent.planning.proposals import PlanRequest
from agent.planning.wording import prompt_version
from agent.recorder import RUNNING, ModelCalls, Recorder
from agent.redaction import redacted_value
from agent.tracing import is_run
from agent.turns import Ending
from tools.records.models import AgentRun, new_id

PLANNING = "planning"


@dataclass(frozen=True, slots=True)
class RunBook:
    """Keeps the exchanges in the plan's own run, which is closed with it."""

    recorder: Recorder
    calls: ModelCalls

    async def keep(self, exchange: Exchange) -> None:
        """Write it down."""
        await self.calls.model_called(exchange)

    async def close(self, ending: Ending, outcome: Mapping[str, Any], *, error: str | None = None) -> None:
        """Write down what came of it."""
        await self.recorder.end(self.calls.run_id, ending, outcome, error=error)


async def open_book(recorder: Recorder, options: ModelOptions, request: PlanRequest, inputs: Mapping[str, Any]) -> Book:
    """The book of a new run of kind "planning", with everything it starts from.

    The run that asks has its row already; the new one is under it and in its conversation.
    """
    version = prompt_version()
    conversation = select(AgentRun.conversation_id).where(AgentRun.id == request.run_id)
    async with recorder.database.write() as session:
        run = AgentRun(
            id=new_id(),
            conversation_id=await session.scalar(conversation),
            parent_run_id=request.run_id,
            kind=PLANNING,
            requester=request.requester,
            model=options.name or "",
            model_parameters=options.parameters(),
            prompt_version=version,
            inputs=redacted_value(dict(inputs)),
            outcome=RUNNING,
            started_at=recorder.clock.now(),
        )
        session.add(run)
    is_run(run.id)
    return RunBook(recorder, ModelCalls(recorder, run.id, options, version))
