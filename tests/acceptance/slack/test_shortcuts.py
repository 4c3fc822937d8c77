"""A message's shortcut plans from it, the conversation suggests what fits, and help speaks of flags that there are."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.blocks import starting
from bot.listeners.prompting import prompts_for
from bot.listeners.shortcuts import MOST_QUOTED, SHORTCUT, named_in
from tests.acceptance.slack.office import ENVIRONMENT, FLAG, MIRA, RELEASES, SAM, Office, new_office, until
from tests.acceptance.slack.talking import Told
from tools.flags.base import FlagRef
from tools.flags.embedded import EmbeddedFlagService


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("Let us roll out `new-checkout`, please.", "new-checkout"),
        ("NEW-CHECKOUT: ready", "new-checkout"),
        ("new-checkout-eu is next after new-checkout.", "new-checkout-eu"),
        ("the new checkout", ""),
        ("", ""),
    ],
)
def test_a_flag_is_named_only_in_full(text: str, flag: str) -> None:
    assert named_in(text, ["new-checkout", "new-checkout-eu", "search"]) == flag


async def test_without_a_model_the_dialog_opens_with_the_flag_that_is_named(office: Office) -> None:
    said = office.running.people.say(RELEASES, SAM, f"Please roll out {FLAG}, the token is xoxb-12345678901")
    assert (await office.running.people.shortcut(SHORTCUT, MIRA, channel=RELEASES, ts=said.ts)).ok
    await office.settle()
    elements = {block["block_id"]: block["element"] for block in office.dialog(MIRA).blocks if "element" in block}
    assert elements[starting.FLAG]["initial_option"]["value"] == FLAG
    assert elements[starting.CHANNEL]["initial_conversation"] == RELEASES
    note = elements[starting.NOTE]["initial_value"]
    assert note.startswith(f"Please roll out {FLAG}")
    assert "xoxb" not in note
    assert (await office.running.people.submit(office.dialog(MIRA).id, MIRA)).ok
    await office.settle()
    assert (await office.view()).requester == MIRA


async def test_a_secret_that_the_quote_is_cut_in_is_not_begun(tmp_path: Path, blank: Path) -> None:
    model = Told.to_say("I would plan it in five stages.")
    async with new_office(tmp_path, blank, model=model) as office:
        before = "x " * MOST_QUOTED
        text = before[: MOST_QUOTED - len("postgres://sluice:hunt")] + "postgres://sluice:hunter2hunter2@db"
        said = office.running.people.say(RELEASES, SAM, text)
        assert (await office.running.people.shortcut(SHORTCUT, MIRA, channel=RELEASES, ts=said.ts)).ok
        await until(lambda: any(message.thread_ts == said.ts and message.is_reply for message in office.messages()))
        await office.settle()
    question = str(model.asked[0][-1].content)
    assert "x x x" in question
    assert "hunt" not in question


async def test_with_a_model_it_is_read_in_the_messages_thread(tmp_path: Path, blank: Path) -> None:
    model = Told.to_say("I would plan it in five stages.")
    async with new_office(tmp_path, blank, model=model) as office:
        said = office.running.people.say(RELEASES, SAM, f"We could ship {FLAG}")
        assert (await office.running.people.shortcut(SHORTCUT, MIRA, channel=RELEASES, ts=said.ts)).ok
        await until(lambda: any(message.thread_ts == said.ts and message.is_reply for message in office.messages()))
        await office.settle()
        assert office.private(MIRA) == ["I read it, and answer in its thread."]
    [answer] = [message for message in office.messages() if message.thread_ts == said.ts and message.is_reply]
    assert "I would plan it in five stages." in str(answer.blocks)
    question = str(model.asked[0][-1].content)
    assert "Plan a rollout from this message:" in question
    assert f"> We could ship {FLAG}" in question


async def test_the_conversation_suggests_what_fits(office: Office) -> None:
    people, prompts = office.running.people, office.running.workspace.prompts
    direct = office.running.workspace.direct_message([MIRA]).id
    people.open_home(MIRA, "messages")
    await until(lambda: direct in prompts)
    await office.settle()
    assert asked(prompts[direct]["prompts"]) == ["What is rolling out right now?", "What can you do?"]
    await office.started()
    people.open_home(MIRA, "messages")
    await until(lambda: len(prompts[direct]["prompts"]) == 3)
    await office.settle()
    assert asked(prompts[direct]["prompts"])[0] == f"Why is {FLAG} held where it is?"


async def test_another_environment_is_named_in_what_is_suggested(office: Office) -> None:
    view = await office.proposed()
    assert asked(prompts_for([view], usual="staging"))[0] == f"Why is the plan for {FLAG} in {ENVIRONMENT} as it is?"
    assert len(prompts_for([view] * 9, usual=ENVIRONMENT)) == 4


async def test_help_speaks_of_flags_that_there_are(office: Office) -> None:
    assert isinstance(office.services.flags, EmbeddedFlagService)
    await office.services.flags.define(FlagRef("search-v3", ENVIRONMENT), "off", "on")
    await office.proposed()
    answer = await office.rollout("help")
    assert f"`/rollout why {FLAG}`" in answer
    assert "`/rollout plan search-v3`" in answer
    assert "checkout-v2" not in answer


def asked(prompts: Sequence[dict[str, str]]) -> list[str]:
    """What is said by pressing each prompt."""
    return [prompt["message"] for prompt in prompts]
