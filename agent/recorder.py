"""Keeps every run as rows: what it was given, each exchange with the model, each tool call before it has an effect."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import case, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from agent.graph import Exchange
from agent.model import ModelOptions
from agent.moves import plain_messages
from agent.redaction import redacted_value
from agent.stopping import Stopped
from agent.toolkit.base import Result
from agent.turns import Ending, Turn
from tools.clock import Clock
from tools.observing import Fact, noted
from tools.records.database import Database, insert_for
from tools.records.models import AgentRun, ModelCall, ToolCall, new_id

RUNNING = "running"
CONVERSATION = "conversation"
LONGEST_ARGUMENT = 4000
LOOK_EVERY_S = 1.0
NOT_WATCHED = "agent.not_watched"
# Tables and separate parameters, for the statements stay the same and are built once: a third of a write's time.
_RUNS, _MODEL_CALLS, _TOOL_CALLS = AgentRun.__table__, ModelCall.__table__, ToolCall.__table__

UNBEGUN: Mapping[str, Any] = {
    "kind": CONVERSATION,
    "model": "",
    "model_parameters": {},
    "prompt_version": "",
    "inputs": {},
}
"""What is known of a run that has not begun."""


logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes a run down."""

    database: Database
    clock: Clock

    async def begin(
        self,
        turn: Turn,
        options: ModelOptions,
        prompt_version: str,
        *,
        run_id: str | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> tuple[str, bool]:
        """The new run's id (the one given, else a new one), and whether somebody wants it to stop already.

        `inputs` is what it starts from besides its turn. It may begin again, from other inputs.
        """
        given = {
            "conversation_id": turn.conversation_id or None,
            "kind": CONVERSATION,
            "requester": turn.person,
            "model": options.name or "",
            "model_parameters": options.parameters(),
            "prompt_version": prompt_version,
            "inputs": redacted_value({**(inputs or {}), "turn": turn.model_dump(mode="json")}),
            "started_at": self.clock.now(),
        }
        row = {"id": run_id or new_id(), "outcome": RUNNING, **given}
        async with self.database.write() as session:
            inserted = insert_for(session)(_RUNS)
            anew = {name: inserted.excluded[name] for name in given}
            statement = inserted.on_conflict_do_update(index_elements=[_RUNS.c.id], set_=anew)
            wished_at = await session.scalar(statement.returning(_RUNS.c.stop_requested_at), row)
        return row["id"], wished_at is not None

    async def end(self, run_id: str, ending: Ending, output: Mapping[str, Any], *, error: str | None = None) -> bool:
        """Close the run; whether it had begun: one that was to stop before has a row, with next to nothing in it."""
        closed = (
            update(AgentRun)
            .where(AgentRun.id == run_id)
            .values(outcome=ending.value, output=redacted_value(dict(output)), error=error, ended_at=self.clock.now())
            .returning(AgentRun.prompt_version)
        )
        async with self.database.write() as session:
            return bool(await session.scalar(closed))

    async def is_stopped(self, run_id: str) -> bool:
        """Whether somebody wants the run to stop, perhaps in another process."""
        async with self.database.read() as session:
            query = select(AgentRun.stop_requested_at).where(AgentRun.id == run_id)
            return (await session.scalar(query)) is not None

    def tool_call(self, run_id: str, position: int, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The row of a call that has no answer yet."""
        now = self.clock.now()
        return {
            "id": new_id(),
            "run_id": run_id,
            "position": position,
            "tool": tool[:100],
            "arguments": redacted_value(bounded(arguments)),
            "result": {},
            "failed": True,
            "started_at": now,
            "ended_at": now,
        }

    async def tool_called(self, call: Mapping[str, Any]) -> None:
        """Write a call down before it has an effect; one that only reads is written down with its answer.

        Raises Stopped where the run is to stop, and writes nothing: who stops it sees the call, or it never happens.
        """
        wished_at = select(AgentRun.stop_requested_at).where(AgentRun.id == call["run_id"])
        async with self.database.write() as session:
            if await session.scalar(wished_at.with_for_update(key_share=True)) is not None:
                raise Stopped
            await session.execute(insert_for(session)(_TOOL_CALLS), dict(call))

    async def tool_answered(self, call: Mapping[str, Any], result: Result) -> None:
        """Write the call's answer down."""
        answer = {
            "result": redacted_value(result.model_dump(mode="json")),
            "failed": result.failed,
            "ended_at": self.clock.now(),
        }
        async with self.database.write() as session:
            inserted = insert_for(session)(_TOOL_CALLS)
            anew = {name: inserted.excluded[name] for name in answer}
            answered = inserted.on_conflict_do_update(index_elements=[_TOOL_CALLS.c.id], set_=anew)
            await session.execute(answered, {**call, **answer})

    def keeper(self, run_id: str, options: ModelOptions, prompt_version: str) -> "ModelCalls":
        """What writes this run's exchanges down."""
        return ModelCalls(self, run_id, options, prompt_version)


def wished_to_stop(
    session: AsyncSession, run_id: str, conversation_id: str, requester: str, *, at: datetime
) -> ReturningInsert[str]:
    """The statement that asks a run of a conversation to stop, even one whose row is not written yet; its outcome."""
    row = {
        **UNBEGUN,
        "id": run_id,
        "conversation_id": conversation_id,
        "requester": requester,
        "outcome": RUNNING,
        "started_at": at,
        "stop_requested_at": at,
    }
    inserted = insert_for(session)(AgentRun).values(row)
    stop = case((AgentRun.outcome == RUNNING, inserted.excluded.stop_requested_at), else_=AgentRun.stop_requested_at)
    asked = inserted.on_conflict_do_update(index_elements=[AgentRun.id], set_={"stop_requested_at": stop})
    return asked.returning(AgentRun.outcome)


@asynccontextmanager
async def watched(recorder: Recorder, run_id: str, stop: asyncio.Event) -> AsyncIterator[None]:
    """While the block runs `stop` is set once another process wants the run to stop, also while a model thinks."""
    watching = asyncio.create_task(_watch(recorder, run_id, stop), name="watch")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(recorder: Recorder, run_id: str, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            if await recorder.is_stopped(run_id):
                stop.set()
        except SQLAlchemyError as error:
            # The run's own next row meets the same trouble, and says so; this only looks again.
            logger.warning(NOT_WATCHED, run=run_id, error=type(error).__name__)


@dataclass(frozen=True, slots=True)
class ModelCalls:
    """Writes the exchanges of one run down."""

    recorder: Recorder
    run_id: str
    options: ModelOptions
    prompt_version: str

    async def model_called(self, exchange: Exchange) -> None:
        """One row an exchange."""
        response = plain_messages([exchange.response])[0] if exchange.response is not None else None
        row = {
            "id": new_id(),
            "run_id": self.run_id,
            "position": exchange.position,
            "model": self.options.name or "",
            "parameters": self.options.parameters(),
            "prompt_version": self.prompt_version,
            "request": redacted_value(plain_messages(exchange.request)),
            "response": redacted_value(response),
            "error": exchange.error,
            "input_tokens": exchange.input_tokens,
            "output_tokens": exchange.output_tokens,
            "cost_usd": self.options.cost(exchange.input_tokens, exchange.output_tokens),
            "latency_s": exchange.latency_s,
            "started_at": self.recorder.clock.now() - timedelta(seconds=exchange.latency_s),
        }
        _note(exchange, self.options)
        async with self.recorder.database.write() as session:
            await session.execute(insert_for(session)(_MODEL_CALLS), row)


def _note(exchange: Exchange, options: ModelOptions) -> None:
    model = options.name or ""
    noted(Fact.MODEL_REQUEST, exchange.latency_s, of=model)
    if exchange.error is not None:
        noted(Fact.MODEL_FAILURE, of=model)
    noted(Fact.MODEL_INPUT, exchange.input_tokens, of=model)
    noted(Fact.MODEL_OUTPUT, exchange.output_tokens, of=model)
    noted(Fact.MODEL_COST, options.cost(exchange.input_tokens, exchange.output_tokens), of=model)


def bounded(value: Any, depth: int = 6) -> Any:
    """Arguments as a row may keep them: nothing endless, nothing that is no JSON."""
    if isinstance(value, str):
        return value[:LONGEST_ARGUMENT]
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {str(key)[:200]: bounded(one, depth - 1) for key, one in list(value.items())[:50]}
    if isinstance(value, list | tuple):
        return [bounded(one, depth - 1) for one in list(value)[:50]]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)[:100]
    if isinstance(value, float):
        return value if abs(value) < 1e300 else str(value)
    return str(value)[:LONGEST_ARGUMENT]
