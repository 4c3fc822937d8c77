"""Whatever a model understood: what lowers waits for the person's button, unless their own words ordered it."""

import pytest
from langchain_core.messages import AIMessage

from agent.evals.world import Traffic, open_world
from agent.model import ModelOptions
from agent.scripted import ScriptedModel
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


def _is_next(exposure: Exposure, percent: float) -> bool:
    return exposure.percent == percent
