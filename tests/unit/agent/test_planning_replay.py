"""A recorded planning comes out as it did, from its row alone; with another model it shows what differs."""

import json
from typing import Any

import pytest

from agent.planning.replaying import plan_again
from agent.scripted import Line, ScriptedModel
from tests.unit.agent.planning_desk import Desk, Talk, request, talking
from tests.unit.agent.test_planning_talk import SPEC, bad_request, rate_limit, sketch
from tools.records.models import AgentRun, ModelCall

REFUNDS = [{"metric": "refunds", "margin": 1.4, "because": "may reject cards"}]


@pytest.fixture
async def desk() -> Desk:
    made = Desk()
    await made.flag()
    made.specs.put("checkout.md", SPEC)
    made.history("errors")
    made.history("refunds", rate=0.06)
    return made


async def recorded(talk: Talk, **wishes: Any) -> tuple[AgentRun, list[ModelCall]]:
    """The rows of a planning, as they are read back from the database."""
    await talk.planner.propose(request(**wishes))
    (run,) = await talk.runs()
    return run, await talk.calls()


@pytest.mark.parametrize(
    "lines",
    [
        [sketch(1, 4, 40, 80, 100, guardrails=REFUNDS)],
        [sketch(50, 100), "nonsense", sketch(1, 50, 100, strategy="shadow")],
        ["", "", ""],
        [rate_limit()],
        [bad_request(), sketch(1, 50, 100)],
        [sketch(50, 100), rate_limit()],
    ],
)
async def test_the_recorded_words_give_the_recorded_plan(desk: Desk, lines: list[Line | str]) -> None:
    async with talking(desk, *lines) as talk:
        run, calls = await recorded(talk, wishes="plan it, token=xoxb-1234567890-abc please, for EU first")
        again = await plan_again(run, calls)
    assert run.output is not None
    assert json.loads(json.dumps(again)) == {name: run.output[name] for name in ("plan", "notes")}


async def test_another_model_gives_another_plan_and_writes_nothing(desk: Desk) -> None:
    async with talking(desk, sketch(1, 50, 100)) as talk:
        run, calls = await recorded(talk)
        again = await plan_again(run, calls, ScriptedModel.of([sketch(1, 30, 70, 100)]))
        assert len(await talk.runs()) == len(await talk.calls()) == 1
    assert [stage["exposure"]["percent"] for stage in again["plan"]["stages"]] == [1, 30, 70, 100]
