"""What list_rollouts says, and what only the model reads."""

from sqlalchemy import select

from agent.evals.world import ENVIRONMENT, open_world
from agent.model import ModelOptions, Style, Wording
from agent.scripted import ScriptedModel
from agent.toolkit import list_rollouts
from tests.unit.rollouts.inline import InlineDatabase
from tools.flags.base import FlagRef
from tools.plans.model import Exposure
from tools.plans.policy import Policy
from tools.records.models import ToolCall

ROWS = ModelOptions(name="small", style=Style.SCHEMA, wording=Wording.ROWS)
LISTING = '{"tool": "list_rollouts", "arguments": {}}'


async def listed(**descriptions: str) -> tuple[str, dict[str, str]]:
    """What is said of these flags, the first of which is at 5 %, and the descriptions that the model reads."""
    database = InlineDatabase()
    async with open_world(
        ScriptedModel.of([LISTING]), options=ROWS, metrics=[], policy=Policy(), database=database
    ) as world:
        for flag, description in descriptions.items():
            await world.define(flag, traffic={}, description=description)
        for flag in [*descriptions][:1]:
            ref = FlagRef(flag, ENVIRONMENT)
            await world.flags.write(ref, Exposure(percent=5), expected=(await world.flags.read(ref)).version)
        answer = await world.say("Which flags are there?", person="U0MIRA")
        async with world.database.read() as session:
            call = (await session.scalars(select(ToolCall))).one()
    await database.close()
    described = call.result["data"].get("descriptions_written_by_people", [])
    return answer.text, {one["flag"]: one["description"] for one in described}


async def test_rows_say_which_flags_there_are() -> None:
    assert await listed(cart="", search="") == ("Nothing is rolling out.\nFlags: cart at 5 %, search at 0 %.", {})


async def test_without_a_flag_none_is_named() -> None:
    assert await listed() == ("Nothing is rolling out.", {})


async def test_more_flags_than_are_shown_are_counted() -> None:
    said, _ = await listed(**{f"flag-{number:02}": "" for number in range(list_rollouts.MOST + 2)})
    assert said.endswith("flag-29 at 0 %, … and 2 more.")


async def test_descriptions_are_for_the_model_redacted_and_bounded() -> None:
    said, described = await listed(cart="The new cart; its password: hunter2secret.", long="x " * 1000, z="y" * 2000)
    assert "new cart" not in said
    assert described["cart"] == "The new cart; its password: [hidden]"
    assert len(described["long"]) == list_rollouts.LONGEST_DESCRIPTION
    assert sum(map(len, described.values())) <= list_rollouts.LONGEST_DESCRIPTIONS


async def test_a_flag_that_is_named_like_a_secret_keeps_its_description() -> None:
    described = {"new-access-token": "Shorter lives of tokens", "reset-password": "The new dialog"}
    assert (await listed(**described))[1] == described
