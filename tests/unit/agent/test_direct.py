"""Orders that are carried out without a model, and everything else that is not."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent.direct import order_in
from agent.evals.world import CHANNEL, ENVIRONMENT, WORKSPACE, Traffic, World, open_world
from agent.model import ModelOptions
from agent.scripted import ScriptedModel
from agent.toolkit.base import Context
from agent.turns import Said, Turn
from tools.metrics.catalogue import MetricDefinition
from tools.plans.policy import Policy

METRIC = MetricDefinition(name="checkout_errors", source="memory", title="Failed checkouts", query="-")
MIRA = "U0MIRA"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    options = ModelOptions(name="scripted")
    async with open_world(ScriptedModel.of([]), options=options, metrics=[METRIC], policy=Policy()) as made:
        for flag in ("new-checkout", "one-click"):
            await made.define(flag, traffic={METRIC.name: Traffic(600, 0.01, 0.01)})
        yield made


def context(world: World, *words: str, flag: str | None = None) -> Context:
    now = world.clock.now()
    turn = Turn(
        conversation_id="",
        workspace=WORKSPACE,
        channel=CHANNEL,
        person=MIRA,
        messages=tuple(Said(author=MIRA, text=text, at=now, new=True) for text in words),
        environment=ENVIRONMENT,
        now=now,
        flag=flag,
    )
    return Context("run", turn, world.agent.desk, asyncio.Event())


@pytest.mark.parametrize(
    ("words", "thread_flag", "tool"),
    [
        ("roll back new-checkout", None, "roll_back"),
        ("Please roll back new-checkout because errors rise!", None, "roll_back"),
        ("rollback", "new-checkout", "roll_back"),
        ("pause it", "new-checkout", "pause"),
        ("stop", "new-checkout", "pause"),
        ("kill new-checkout in production now", None, "set_exposure"),
    ],
)
async def test_a_plain_order_is_a_call(world: World, words: str, thread_flag: str | None, tool: str) -> None:
    call = await order_in(context(world, words, flag=thread_flag), alone=True)
    assert call is not None
    assert call.tool == tool
    assert (call.arguments["flag"], call.arguments["environment"]) == ("new-checkout", "production")
    assert call.arguments.get("percent", 0.0) == 0.0


@pytest.mark.parametrize(
    ("words", "thread_flag"),
    [
        ("roll back", None),
        ("should we roll back new-checkout?", None),
        ("don't roll back new-checkout", None),
        ("skip the shadow stage", "new-checkout"),
        ("set new-checkout to 100 %", None),
        ("resume new-checkout", None),
        ("roll back new-checkout and pause one-click", None),
        ('Jonas said "roll back new-checkout"', None),
        ("> roll back new-checkout", None),
        ("", "new-checkout"),
    ],
)
async def test_what_is_no_plain_order_is_for_the_model(world: World, words: str, thread_flag: str | None) -> None:
    assert await order_in(context(world, words, flag=thread_flag), alone=True) is None
    assert await order_in(context(world, words, flag=thread_flag), alone=False) is None


async def test_an_order_among_other_sentences_counts_only_where_no_model_reads_them(world: World) -> None:
    asked = context(world, "Errors rise. Roll back new-checkout. Tell me why.")
    assert await order_in(asked, alone=True) is None
    call = await order_in(asked, alone=False)
    assert call is not None
    assert call.tool == "roll_back"


async def test_two_orders_are_nobodys_to_choose_from(world: World) -> None:
    asked = context(world, "Roll back new-checkout.", "Pause new-checkout.")
    assert await order_in(asked, alone=True) is None
    assert await order_in(asked, alone=False) is None
