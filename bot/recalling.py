"""A run's answer as it is shown, put together from its rows: whenever it is shown again it is the same."""

from collections.abc import Mapping, Sequence

from slack_sdk.models.blocks import Block
from sqlalchemy import select

from agent.turns import NOT_DONE
from bot import texts
from bot.blocks.conversation import Question, Said, Task
from bot.services import Services
from tools.records.models import AgentRun, Confirmation, ToolCall
from tools.rollouts import confirmations
from tools.rollouts.confirmations import Status


async def said_by(services: Services, run_id: str, text: str | None = None, *, more: Sequence[Block] = ()) -> Said:
    """What the run came to; `text` instead of what it said, if given."""
    async with services.database.read() as session:
        run = await session.get(AgentRun, run_id)
        calls = select(ToolCall).where(ToolCall.run_id == run_id).order_by(ToolCall.position)
        called = (await session.scalars(calls)).all()
        asked = select(Confirmation).where(Confirmation.run_id == run_id).order_by(Confirmation.created_at)
        questions = (await session.scalars(asked)).all()
    output = (run.output if run is not None else None) or {}
    now = services.clock.now()
    statuses = {one.id: confirmations.view(one, at=now).status for one in questions}
    return Said(
        run_id=run_id,
        text=str(output.get("text", "")) if text is None else text,
        facts=_facts(called),
        tasks=[await _task(services, call, statuses) for call in called],
        questions=[Question(confirmations.view(one, at=now), one.decided_at) for one in questions],
        more=more,
    )


def _facts(called: Sequence[ToolCall]) -> list[str]:
    """What the calls came to, but for what waits for a button; where all was refused, why."""
    found = [str(call.result["said"]) for call in called if not call.failed and not _asks(call)]
    refused = [NOT_DONE + str(call.result["said"]) for call in called[-1:] if call.failed]
    return found or refused


async def _task(services: Services, call: ToolCall, statuses: Mapping[str, Status]) -> Task:
    title = await services.agent.title(call.tool, call.arguments)
    match statuses.get(_asks(call) or ""):
        case Status.OPEN:
            return Task(call.id, title, "pending")
        case Status.DISMISSED | Status.EXPIRED:
            return Task(call.id, texts.TASK_LEFT.format(title=title), "complete")
        case _:
            return Task(call.id, title, "error" if call.failed else "complete")


def _asks(call: ToolCall) -> str | None:
    """The id of what the call left to a person's button."""
    return call.result.get("confirmation_id")
