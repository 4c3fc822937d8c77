"""What a model puts out that no database takes is gone before it is a row, an answer or a plan."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from sqlalchemy import select

from agent.evals.world import open_world
from agent.model import ModelOptions, Style
from agent.moves import cleaned_value
from agent.scripted import ScriptedModel
from agent.turns import Ending
from tests.unit.agent.planning_desk import CHECKOUT, Desk, request, talking
from tools.plans.policy import Policy
from tools.records.models import AgentRun, ModelCall, ToolCall

RUBBISH = "\ud83d\0"


def is_clean(*values: Any) -> bool:
    plain = json.loads(json.dumps(values, default=str))
    return bool(cleaned_value(plain) == plain)


@pytest.mark.parametrize("style", [Style.TOOLS, Style.TEXT])
async def test_a_conversation_leaves_only_what_can_be_kept(style: Style) -> None:
    call = AIMessage(
        f"Looking{RUBBISH}",
        tool_calls=[{"name": f"read_spec{RUBBISH}", "args": {f"fl{RUBBISH}ag": f"x{RUBBISH}"}, "id": f"1{RUBBISH}"}],
    )
    written = '{"tool": "read_spec", "arguments": {"flag": "y\\ud83d\\u0000"}}'
    model = ScriptedModel.of([call, written, f"Fine{RUBBISH}."])
    options = ModelOptions(name="m", style=style)
    async with open_world(model, options=options, metrics=[], policy=Policy()) as world:
        answer = await world.say("and now?", person="UMIRA")
        async with world.database.read() as session:
            runs = (await session.scalars(select(AgentRun))).all()
            exchanges = (await session.scalars(select(ModelCall).order_by(ModelCall.position))).all()
            calls = (await session.scalars(select(ToolCall).order_by(ToolCall.position))).all()
    assert (answer.ending, answer.text) == (Ending.ANSWERED, "Fine.")
    assert [(one.tool, one.arguments) for one in calls] == [("read_spec", {"flag": "x"}), ("read_spec", {"flag": "y"})]
    assert is_clean([run.output for run in runs], [one.result for one in calls])
    assert is_clean(*[[one.request, one.response] for one in exchanges])


async def test_a_sketch_leaves_only_what_can_be_kept() -> None:
    desk = Desk()
    await desk.flag()
    desk.specs.put("checkout.md", CHECKOUT)
    desk.history("errors")
    sketch = {
        "strategy": "canary",
        "because": "",
        "stages": [{"percent": 1}, {"percent": 100}],
        "guardrails": [{"metric": f"or{RUBBISH}ders"}],
        "first_regions": [f"eu{RUBBISH}"],
    }
    async with talking(desk, *[f"{RUBBISH}{json.dumps(sketch)}"] * 3) as talk:
        proposal = await talk.planner.propose(request())
        exchanges, (run,) = await talk.calls(), await talk.runs()
    assert len(exchanges) == 3
    assert is_clean(proposal.notes, proposal.plan.to_json(), run.output)
    assert is_clean(*[one.response for one in exchanges])
