"""What a thread's last runs did, a line a call, so that "start it" has something to refer to."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from agent.redaction import redacted
from tools.records.database import Database
from tools.records.models import AgentRun, ToolCall

MOST = 6
LONGEST_ANSWER = 160


async def earlier_calls(database: Database, conversation_id: str) -> tuple[str, ...]:
    """The newest calls of a conversation, the newest last: `rollout_status(flag="new-checkout") → …`."""
    async with database.read() as session:
        query = (
            select(ToolCall)
            .join(AgentRun, AgentRun.id == ToolCall.run_id)
            .where(AgentRun.conversation_id == conversation_id)
            .order_by(AgentRun.started_at.desc(), ToolCall.position.desc())
            .limit(MOST)
        )
        rows = (await session.scalars(query)).all()
    return tuple(_line(row.tool, row.arguments, row.result) for row in reversed(rows))


def _line(tool: str, arguments: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    given = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
    said = " ".join(str(result.get("said", "no answer")).split())
    # Before they are cut, for half a secret looks like none.
    return f"{redacted(tool)}({redacted(given)[:LONGEST_ANSWER]}) → {redacted(said)[:LONGEST_ANSWER]}"
