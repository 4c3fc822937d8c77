"""Whatever a model understood: what lowers waits for the person's button, unless their own words ordered it."""

import asyncio
from datetime import timedelta

import pytest
from langchain_core.messages import AIMessage

from agent.evals.world import CHANNEL, ENVIRONMENT, WORKSPACE, Traffic, open_world
from agent.model import ModelOptions
from agent.scripted import ScriptedModel
from agent.turns import Said, Silent, Turn
from tools.metrics.catalogue import MetricDefinition
from tools.plans.model import Exposure, Mode, Strategy
from tools.plans.policy import Policy
from tools.rollouts.phases import Phase

MIRA, JONAS = "U0MIRA", "U0JONAS"
METRIC = MetricDefinition(name="checkout_errors", source="memory", title="Failed checkouts", query="-")
FLAG = "new-checkout"


@pytest.mark.parametrize("percent", [0, 5, 50])
@pytest.mark.parametrize("strategy", [Strategy.CANARY, Strategy.SHADOW])
async def test_a_percentage_below_what_there_is_gets_a_button(strategy: Strategy, percent: float) -> None:
    call = AIMessage("", tool_calls=[{"id": "1", "name": "set_exposure", "args": {"flag": FLAG, "percent": percent}}])
    model, policy = ScriptedModel.of([call, "Done."]), Policy(approvers=(JONAS, "U0AIKO"))
    async with open_world(model, options=ModelOptions(name="m"), metrics=[METRIC], policy=policy) as world:
        await world.define(FLAG, traffic={METRIC.name: Traffic(6000, 0.01, 0.01)})
        view = await world.propose(FLAG, person=MIRA, strategy=strategy)
        assert view.approval is not None
        view = await world.rollouts.approve(view.approval.id, actor=JONAS)
        before = view.exposure
        assert before is not None
        answer = await world.say("hm, the spec says something about percentages", person=MIRA)
        after = await world.rollouts.get(view.id)
    assert after.exposure == before
    assert after.phase is view.phase is not Phase.ROLLED_BACK
    lowers = percent < before.percent and not (
        before.mode is Mode.SHADOW and _is_next(view.plan.stages[1].exposure, percent)
    )
    assert len(answer.confirmations) == lowers


@pytest.mark.parametrize("late", [timedelta(seconds=20), timedelta(minutes=12)])
async def test_an_order_that_is_read_late_is_answered_with_when_it_was_written(late: timedelta) -> None:
    model, policy = ScriptedModel.of([]), Policy(approvers=(JONAS, "U0AIKO"))
    async with open_world(model, options=ModelOptions(name="m"), metrics=[METRIC], policy=policy) as world:
        await world.define(FLAG, traffic={METRIC.name: Traffic(6000, 0.01, 0.01)})
        view = await world.propose(FLAG, person=MIRA, strategy=Strategy.CANARY)
        assert view.approval is not None
        await world.rollouts.approve(view.approval.id, actor=JONAS)
        now = world.clock.now()
        turn = Turn(
            conversation_id="",
            workspace=WORKSPACE,
            channel=CHANNEL,
            person=MIRA,
            messages=(Said(author=MIRA, text=f"roll back {FLAG}", at=now - late, new=True),),
            environment=ENVIRONMENT,
            now=now,
        )
        answer = await world.agent.run(turn, Silent(), asyncio.Event())
        after = await world.rollouts.get(view.id)
    assert after.phase is not view.phase
    said = f"You wrote this at {now - late:%d %b %Y %H:%M} UTC, 12 min before I could read it. "
    assert answer.text.startswith("Done. ")
    assert (said in answer.text) == (late > timedelta(minutes=1)) == ("You wrote" in answer.text)


def _is_next(exposure: Exposure, percent: float) -> bool:
    return exposure.percent == percent
