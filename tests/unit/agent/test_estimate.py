"""What "what if" is answered with while a plan is there: what the whole plan would do about the harm."""

import math
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from sqlalchemy import select

from agent.evals.world import CHANNEL, WORKSPACE, Traffic, World, open_world
from agent.model import ModelOptions
from agent.planner import PlanRequest
from agent.scripted import ScriptedModel
from tools.clock import in_words
from tools.gates import Direction
from tools.gates.forecast import catch_in_stage
from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.metrics.memory import Observation
from tools.plans.policy import Policy
from tools.records.models import ToolCall
from tools.rollouts.service import Place

METRIC = MetricDefinition(name="errors", source="m", title="Errors", query="-")
CRASHES = MetricDefinition(name="crashes", source="m", title="Crashes", query="-")
REVENUE = MetricDefinition(
    name="revenue",
    source="m",
    title="Revenue",
    query="-",
    kind=MetricKind.MEAN,
    cap=100.0,
    direction=Direction.DECREASE,
)
LATENCY = MetricDefinition(
    name="latency", source="m", title="Latency", query="-", kind=MetricKind.LATENCY, buckets=(0.05, 0.1, 0.25, 0.5)
)
FLAG, MIRA = "new-checkout", "UMIRA"
POLICY = Policy(approvers=("UJONAS", "UAIKO"), free_environments=("production",))


@pytest.fixture
async def asked(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A world whose model asks for an estimate with the given arguments."""
    call = AIMessage("", tool_calls=[{"name": "estimate", "args": {"flag": FLAG, **request.param}, "id": "1"}])
    model = ScriptedModel.of((call, "said"))
    async with open_world(model, options=ModelOptions(name="m"), metrics=[METRIC, CRASHES], policy=POLICY) as world:
        await world.define(FLAG, traffic={one.name: Traffic(3000, 0.01, 0.01) for one in (METRIC, CRASHES)})
        yield world


@pytest.fixture
async def shop() -> AsyncIterator[World]:
    """A world whose plans are guarded by a rate, a mean and a latency, asked what a harm in any would do."""
    call = AIMessage("", tool_calls=[{"name": "estimate", "args": {"flag": FLAG, "harm": 1.4}, "id": "1"}])
    metrics, model = (METRIC, REVENUE, LATENCY), ScriptedModel.of((call, "said"))
    async with open_world(model, options=ModelOptions(name="m"), metrics=metrics, policy=POLICY) as world:
        await world.define(FLAG, traffic={METRIC.name: Traffic(3000, 0.01, 0.01)})
        for slot in range(1, 48):
            at = world.clock.now() - slot * timedelta(minutes=30)
            spent = Observation("classic", at, 9000, total=180_000.0, total_squares=4_860_000.0)
            counts = zip((*LATENCY.buckets, math.inf), (20_000, 45_000, 20_000, 4500, 500), strict=True)
            world.source.add(REVENUE.name, FLAG, "production", spent)
            world.source.add(
                LATENCY.name, FLAG, "production", *(Observation("classic", at, n, bucket=edge) for edge, n in counts)
            )
        yield world


async def answered(world: World) -> str:
    await world.say("What if the errors double?", person=MIRA)
    async with world.database.read() as session:
        [row] = (await session.scalars(select(ToolCall))).all()
    result: dict[str, Any] = row.result
    return str(result["said"])


@pytest.mark.parametrize("asked", [{"harm": 3.0}], indirect=True)
async def test_with_a_plan_it_says_what_the_plan_would_do(asked: World) -> None:
    await asked.propose(FLAG, person=MIRA)
    said = await answered(asked)
    assert "A harm of ×3 is caught after about" in said
    assert "This plan rolls ×3 in errors back in 100 of 100 rollouts, mostly at " in said
    assert "of users and" in said


async def test_means_and_latencies_are_foretold_as_rates_are(shop: World) -> None:
    await shop.propose(FLAG, person=MIRA)
    said = await answered(shop)
    for harm in ("×1.4 in errors", "÷1.4 in revenue", "×1.4 in latency"):
        assert f"This plan rolls {harm} back in " in said
    assert "Without harm this plan is through after about " in said
    # Of everyone, and while there is a control.
    assert "of 100 rollouts, in at most 4." in said


@pytest.mark.parametrize("asked", [{"harm": 2.0, "percent": 5.0}], indirect=True)
async def test_at_another_exposure_it_speaks_of_that_one_only(asked: World) -> None:
    await asked.propose(FLAG, person=MIRA)
    said = await answered(asked)
    assert "at 5 %" in said
    assert "This plan" not in said
    assert "Without harm" not in said


@pytest.mark.parametrize("asked", [{"harm": 2.0}], indirect=True)
async def test_without_a_plan_there_is_none_to_speak_of(asked: World) -> None:
    assert "This plan" not in await answered(asked)


@pytest.mark.parametrize("asked", [{"harm": 3.0, "metric": "errors"}], indirect=True)
async def test_the_level_is_shared_by_what_guards_other_stages_too(asked: World) -> None:
    plan = (await asked.agent.desk.planner.propose(PlanRequest(FLAG, "production", None, MIRA))).plan
    first, *others = plan.stages
    only_errors = tuple(rail for rail in first.guardrails if rail.metric == METRIC.name)
    plan = plan.model_copy(update={"stages": (first.model_copy(update={"guardrails": only_errors}), *others)})
    await asked.rollouts.propose(plan, requester=MIRA, place=Place(WORKSPACE, CHANNEL), reason="-")
    said = await answered(asked)
    base = await asked.agent.desk.planner.traffic(FLAG, "production", METRIC.name)
    traffic = base.traffic(first.exposure.percent, only_errors[0].margin)
    alone, shared = (catch_in_stage(traffic, Direction.INCREASE, 3.0, weight=weight) for weight in (1, 1 / 2))
    assert f"caught after about {in_words(timedelta(minutes=shared.minutes.median))} " in said
    assert f"caught after about {in_words(timedelta(minutes=alone.minutes.median))} " not in said
