"""What a model's message is taken to mean."""

import json

import pytest
from langchain_core.messages import AIMessage

from agent.model import ModelOptions, Style
from agent.moves import Offer, in_words, move_schema, understand

STATUS = Offer("rollout_status", "How it stands.", {"type": "object", "properties": {"flag": {"type": "string"}}})
BACK = Offer("roll_back", "Roll back.", {"type": "object", "properties": {"flag": {"type": "string"}}})
OFFERS = (STATUS, BACK)
TOOLS, SCHEMA = ModelOptions(style=Style.TOOLS), ModelOptions(style=Style.SCHEMA)


def calls(message: AIMessage | str, options: ModelOptions = TOOLS) -> list[tuple[str, dict[str, object]]]:
    said = AIMessage(message) if isinstance(message, str) else message
    return [(call.tool, dict(call.arguments)) for call in understand(said, options, OFFERS, prefix="c").calls]


def test_the_protocols_own_calls_are_taken_as_they_are() -> None:
    message = AIMessage("", tool_calls=[{"id": "7", "name": "rollout_status", "args": {"flag": "a"}}])
    move = understand(message, TOOLS, OFFERS, prefix="c")
    assert [(call.id, call.tool) for call in move.calls] == [("7", "rollout_status")]


def test_a_call_that_the_protocol_could_not_read_is_answered_too() -> None:
    message = AIMessage("", invalid_tool_calls=[{"id": "7", "name": "roll_back", "args": "{oops", "error": "x"}])
    assert calls(message) == [("roll_back", {"": "{oops"})]


@pytest.mark.parametrize(
    "text",
    [
        '{"tool": "rollout_status", "arguments": {"flag": "a"}}',
        '{"name": "rollout_status", "arguments": {"flag": "a"}}',
        '{"name": "rollout_status", "parameters": {"flag": "a"}}',
        '{"name": "rollout_status", "arguments": "{\\"flag\\": \\"a\\"}"}',
        '{"function": {"name": "rollout_status", "arguments": {"flag": "a"}}}',
        '```json\n{"name": "rollout_status", "arguments": {"flag": "a"}}\n```',
        'I will look.\n```\n{"name": "rollout_status", "arguments": {"flag": "a"}}\n```',
        '<tool_call>\n{"name": "rollout_status", "arguments": {"flag": "a"}}\n</tool_call>',
        '[{"name": "rollout_status", "arguments": {"flag": "a"}}]',
        '{"tool": "rollout_status", "flag": "a"}',
    ],
)
def test_a_call_written_as_text_is_recovered(text: str) -> None:
    assert calls(text) == [("rollout_status", {"flag": "a"})]


@pytest.mark.parametrize(
    "text",
    [
        'The spec says: {"name": "roll_back", "arguments": {"flag": "a"}} which I will not do.',
        "x" * 400 + '\n```json\n{"name": "roll_back", "arguments": {}}\n```',
        '{"name": "delete_everything", "arguments": {}}',
        '{"flag": "a"}',
        "{" * 5000,
        "[" * 100_000,
        "",
        "null",
    ],
)
def test_prose_and_unknown_names_are_no_calls(text: str) -> None:
    assert calls(text) == []


def test_a_reply_as_an_object_is_a_reply() -> None:
    said = json.dumps({"tool": "reply", "arguments": {"text": "Which flag?"}})
    move = understand(AIMessage(said), SCHEMA, OFFERS, prefix="c")
    assert (move.calls, move.text) == ((), "Which flag?")


def test_a_move_never_has_endlessly_many_calls() -> None:
    many = [{"id": str(n), "name": "rollout_status", "args": {}} for n in range(500)]
    assert len(calls(AIMessage("", tool_calls=many))) == 8


def test_the_schema_of_a_move_lists_every_tool_and_the_reply() -> None:
    names = [one["properties"]["tool"]["const"] for one in move_schema(OFFERS)["anyOf"]]
    assert names == ["rollout_status", "roll_back", "reply"]


def test_tools_in_words_name_their_arguments() -> None:
    assert "- rollout_status(flag?): How it stands." in in_words(OFFERS)


def test_what_many_tools_take_is_said_once() -> None:
    flag = {"type": "string", "description": "the flag"}
    own = {"type": "number", "description": "how far"}
    several = [Offer(f"tool_{number}", "Does it.", {"properties": {"flag": flag}}) for number in range(3)]
    far = Offer("go", "Goes.", {"properties": {"flag": flag, "far": own}, "required": ["far"]})
    assert in_words([*several, far]).splitlines() == [
        "- tool_0(): Does it.",
        "- tool_1(): Does it.",
        "- tool_2(): Does it.",
        "- go(far: how far): Goes.",
        "Tools also take flag?: the flag.",
    ]
