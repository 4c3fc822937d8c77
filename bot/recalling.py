"""A run's answer as it is shown, put together from its rows: whenever it is shown again it is the same."""

from collections.abc import Sequence

from slack_sdk.models.blocks import Block
from sqlalchemy import select

from bot.blocks.conversation import Question, Said, Task
from bot.services import Services
from tools.records.models import AgentRun, Confirmation, ToolCall
from tools.rollouts import confirmations


async def said_by(services: Services, run_id: str, text: str | None = None, *, more: Sequence[Block] = ()) -> Said:
    """What the run came to; `text` instead of what it said, if given."""
    async with services.database.read() as session:
        run = await session.get(AgentRun, run_id)
        calls = (
            await session.scalars(select(ToolCall).where(ToolCall.run_id == run_id).order_by(ToolCall.position))
        ).all()
        asked = (
            await session.scalars(
                select(Confirmation).where(Confirmation.run_id == run_id).order_by(Confirmation.created_at)
            )
        ).all()
    output = (run.output if run is not None else None) or {}
    now = services.clock.now()
    return Said(
        run_id=run_id,
        text=str(output.get("text", "")) if text is None else text,
        facts=[str(fact) for fact in output.get("facts", ())],
        tasks=[
            Task(call.id, await services.agent.title(call.tool, call.arguments), "error" if call.failed else "complete")
            for call in calls
        ],
        questions=[Question(confirmations.view(one, at=now), one.decided_at) for one in asked],
        more=more,
    )
