"""A model that insists on what fails is not asked until it is out of bounds: what the tool said is the answer."""

from langchain_core.messages import AIMessage

from agent.evals.scenario import USUAL_PLANNING, USUAL_POLICY
from agent.evals.world import Traffic, World, open_world
from agent.model import ModelOptions, Style, Wording
from agent.scripted import ScriptedModel
from agent.turns import Answer, Ending
from tools.metrics.catalogue import MetricDefinition

WORDY = ModelOptions(name="m")


def calling(tool: str, **arguments: object) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": tool, "args": arguments, "id": "1"}])


async def answered(*lines: AIMessage | str, options: ModelOptions = WORDY) -> tuple[Answer, ScriptedModel]:
    model = ScriptedModel.of(lines)
    metric = MetricDefinition(name="errors", source="m", title="Errors", query="-")
    async with open_world(
        model, options=options, metrics=[metric], policy=USUAL_POLICY, defaults=USUAL_PLANNING
    ) as world:
        await _prepare(world)
        return await world.say("and now?", person="UMIRA"), model


async def _prepare(world: World) -> None:
    await world.define("a-flag", traffic={"errors": Traffic(600, 0.01, 0.01)})


async def test_the_same_call_that_failed_the_same_way_ends_the_run_with_what_the_tool_said() -> None:
    failing = calling("read_spec", flag="b-flag")
    answer, model = await answered(failing, failing, "never said")
    assert answer.ending is Ending.ANSWERED
    assert "b-flag" in answer.text
    assert len(model.asked) == 2


async def test_another_attempt_is_another_chance() -> None:
    answer, model = await answered(
        calling("read_spec", flag="b-flag"), calling("rollout_status", flag="a-flag"), "Fine."
    )
    assert answer.text == "Fine."
    assert len(model.asked) == 3


async def test_a_call_that_works_may_be_made_again() -> None:
    looking = calling("list_rollouts")
    answer, model = await answered(looking, looking, looking, "Nothing yet.")
    assert answer.text == "Nothing yet."
    assert len(model.asked) == 4


async def test_where_rows_word_the_answer_nothing_is_promised_after_a_refusal() -> None:
    rows = ModelOptions(name="m", style=Style.SCHEMA, wording=Wording.ROWS)
    answer, _ = await answered(calling("read_spec", flag="b-flag"), "I'll roll it back and plan anew.", options=rows)
    assert "roll" not in answer.text
    assert "b-flag" in answer.text
    answer, _ = await answered("You're welcome.", options=rows)
    assert answer.text == "You're welcome."
