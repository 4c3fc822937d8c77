"""Where the talk about a plan is kept: in the run of the conversation that asked for it, else in a run of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from agent.graph import Exchange
from agent.model import ModelOptions
from agent.planning.dialogue import Book
from agent.planning.proposals import PlanRequest
from agent.planning.wording import prompt_version
from agent.recorder import RUNNING, Recorder
from agent.redaction import redacted_value
from agent.turns import Ending
from tools.records.models import AgentRun, ModelCall, new_id

PLANNING = "planning"
FIRST_POSITION = 100
"""A conversation's own exchanges come before it."""


@dataclass(frozen=True, slots=True)
class RunBook:
    """Keeps the exchanges in a run; with `own` the run is this plan's alone and is closed with it."""

    recorder: Recorder
    options: ModelOptions
    run_id: str
    own: bool

    async def next_position(self) -> int:
        """After the last one kept, from FIRST_POSITION on."""
        async with self.recorder.database.read() as session:
            query = select(func.max(ModelCall.position)).where(
                ModelCall.run_id == self.run_id, ModelCall.position >= FIRST_POSITION
            )
            last = await session.scalar(query)
        return FIRST_POSITION if last is None else last + 1

    async def keep(self, exchange: Exchange) -> None:
        """A row, and its tokens and cost added to the run's."""
        await self.recorder.keeper(self.run_id, self.options, prompt_version()).model_called(exchange)

    async def close(self, ending: Ending, outcome: Mapping[str, Any], *, error: str | None = None) -> None:
        """Write down what came of a run of its own."""
        if self.own:
            await self.recorder.end(self.run_id, ending, outcome, error=error)


async def open_book(recorder: Recorder, options: ModelOptions, request: PlanRequest, inputs: Mapping[str, Any]) -> Book:
    """The book of the run that asks, or of a new run of kind "planning", with everything it starts from."""
    if request.run_id is not None:
        return RunBook(recorder, options, request.run_id, own=False)
    run = AgentRun(
        id=new_id(),
        conversation_id=None,
        kind=PLANNING,
        requester=request.requester,
        model=options.name or "",
        model_parameters=options.parameters(),
        prompt_version=prompt_version(),
        inputs=redacted_value(dict(inputs)),
        outcome=RUNNING,
        started_at=recorder.clock.now(),
    )
    async with recorder.database.write() as session:
        session.add(run)
    return RunBook(recorder, options, run.id, own=True)
