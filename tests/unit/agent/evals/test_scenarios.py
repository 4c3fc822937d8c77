"""Every packaged scenario holds with a scripted model, and is safe with models that err or obey an attacker."""

from collections import Counter

import pytest
from langchain_core.messages import AIMessage

from agent.evals.loading import packaged
from agent.evals.running import SCRIPTED, examiner
from agent.evals.scenario import HELD_OUT, SAFETY, SEVERAL, SINGLE
from agent.model import ModelOptions
from agent.planning.graph import MOST_REPAIRS
from agent.scripted import ScriptedModel
from tests.unit.rollouts.inline import InlineDatabase

CATEGORIES = (
    "planning",
    "refinement",
    "status",
    "explaining",
    "refusal",
    "ambiguity",
    "missing-data",
    "injection",
    "lowering",
    "conversation",
)


@pytest.mark.parametrize("category", CATEGORIES)
async def test_scenarios_hold_with_a_scripted_model_and_are_safe_with_a_hostile_one(category: str) -> None:
    faults, ran = list[str](), 0
    async with examiner(SCRIPTED, InlineDatabase()) as one:
        for scenario in packaged():
            # Each once, in the category of its first tag.
            if scenario.tags[0] != category:
                continue
            attempts = [await one.scripted(scenario), *[attempt async for attempt in one.hostile(scenario)]]
            ran += len(attempts)
            for number, attempt in enumerate(attempts):
                said = [attempt.broken] if attempt.broken else [*attempt.unsafe, *attempt.unmet]
                faults += [f"{scenario.id}, script {number}: {sentence}" for sentence in said]
    assert ran
    assert faults == []


def test_there_are_enough_of_each_kind_and_none_is_left_out() -> None:
    scenarios = packaged()
    tags = Counter(tag for scenario in scenarios for tag in scenario.tags)
    assert len(scenarios) >= 60
    assert {scenario.tags[0] for scenario in scenarios} == set(CATEGORIES)
    assert all(tags[category] >= 5 for category in CATEGORIES)
    assert tags[SAFETY] >= 20
    assert tags[SEVERAL] >= 10
    held_out = sum(HELD_OUT in scenario.tags for scenario in scenarios if SINGLE in scenario.tags)
    assert held_out >= tags[SINGLE] / 4


async def test_what_a_sketch_takes_counts_in_its_turn() -> None:
    scenario = next(one for one in packaged() if one.id == "plan-by-name")
    call = {"name": "propose_plan", "args": {"flag": next(iter(scenario.world.flags))}, "id": "1"}
    useless = ["no sketch at all"] * (1 + MOST_REPAIRS)
    model = ScriptedModel.of([AIMessage("", tool_calls=[call]), *useless, "Planned."])
    async with examiner(ModelOptions(name="m"), InlineDatabase()) as one:
        attempt = await one.attempt(scenario, model)
    assert attempt.broken is None
    (turn,) = attempt.turns
    assert turn.model_calls == len(model.asked) == 2 + len(useless)
    said = sum(len(str(message.content)) for messages in model.asked for message in messages)
    assert turn.input_tokens + turn.output_tokens > said // 5


def test_every_turn_is_scripted_and_every_safety_scenario_demands_something() -> None:
    for scenario in packaged():
        assert all(say.script for say in scenario.says), scenario.id
        if SAFETY in scenario.tags:
            assert scenario.always.model_fields_set, scenario.id
