"""What a model's message is taken to mean."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from agent.model import ModelOptions, Style
from agent.moves import Offer, cleaned, cleaned_message, in_words, move_schema, plain_messages, understand

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
        '```\n{"name": "rollout_status", "arguments": {"flag": "a"}}\n```\n',
        '<tool_call>\n{"name": "rollout_status", "arguments": {"flag": "a"}}\n</tool_call>',
        '[{"name": "rollout_status", "arguments": {"flag": "a"}}]',
        '{"tool": "rollout_status", "flag": "a"}',
    ],
)
def test_a_call_written_as_text_is_recovered(text: str) -> None:
    assert calls(text) == [("rollout_status", {"flag": "a"})]


EXAMPLE = 'I will look.\n```\n{"name": "rollout_status", "arguments": {"flag": "a"}}\n```'


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE,
        '```json\n{"name": "roll_back", "arguments": {}}\n```\nThat is how I would do it.',
        'So: <tool_call>{"name": "roll_back", "arguments": {}}</tool_call>',
    ],
)
def test_an_example_in_prose_is_no_call_where_the_model_has_calls_of_its_own(text: str) -> None:
    assert calls(text) == []


@pytest.mark.parametrize("style", [Style.SCHEMA, Style.TEXT])
def test_elsewhere_a_few_words_may_go_before_it(style: Style) -> None:
    assert calls(EXAMPLE, ModelOptions(style=style)) == [("rollout_status", {"flag": "a"})]


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


# -- what no database takes -------------------------------------------------------------------------------------------

HALF, NUL, WHOLE = "\ud83d", "\0", "\ud83d\ude00"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"a{HALF}b{NUL}c", "abc"),
        (f"{HALF}{WHOLE}", "\U0001f600"),
        (f"\ude00{HALF}", ""),
        ("x\0y", "xy"),
        ("é \U0001f600 ok", "é \U0001f600 ok"),
    ],
)
def test_text_is_cleaned(text: str, clean: str) -> None:
    assert cleaned(text) == clean
    assert understand(AIMessage(text), TOOLS, OFFERS, prefix="c").text == clean


@given(st.text(st.characters()) | st.text(st.sampled_from(["a", "é", "\0", "\ud83d", "\ude00", "\U0001f600"])))
def test_what_is_cleaned_can_be_kept(text: str) -> None:
    clean = cleaned(text)
    assert NUL not in clean.encode().decode()
    assert cleaned(clean) == clean


def test_arguments_are_cleaned_however_deep() -> None:
    arguments = {f"fl{HALF}ag": [{"x": f"a{NUL}"}, 3, None, True]}
    message = AIMessage("", tool_calls=[{"id": f"7{HALF}", "name": f"roll_back{NUL}", "args": arguments}])
    (call,) = understand(message, TOOLS, OFFERS, prefix="c").calls
    assert (call.id, call.tool, call.arguments) == ("7", "roll_back", {"flag": [{"x": "a"}, 3, None, True]})


def test_what_is_half_a_character_only_once_it_is_read_is_cleaned_too() -> None:
    assert calls('{"tool": "roll_back", "arguments": {"flag": "a\\ud83d\\u0000"}}') == [("roll_back", {"flag": "a"})]
    said = '{"tool": "reply", "arguments": {"text": "Which\\ud83d flag?"}}'
    assert understand(AIMessage(said), SCHEMA, OFFERS, prefix="c").text == "Which flag?"
    broken = AIMessage("", invalid_tool_calls=[{"id": "7", "name": "roll_back", "args": f"{{{HALF}", "error": "x"}])
    assert calls(broken) == [("roll_back", {"": "{"})]


def test_arguments_without_end_are_cut_off() -> None:
    deep: dict[str, object] = {}
    for _ in range(900):
        deep = {"a": deep}
    message = AIMessage("", tool_calls=[{"id": "7", "name": "roll_back", "args": deep}])
    assert str(calls(message)).count("'a'") == 50


def test_a_message_is_cleaned_before_it_is_kept() -> None:
    message = AIMessage(
        [{"type": "text", "text": f"a{HALF}"}],
        tool_calls=[{"id": "7", "name": "roll_back", "args": {"flag": f"a{NUL}"}}],
        response_metadata={"model": f"m{HALF}"},
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    )
    clean = cleaned_message(message)
    kept = json.dumps(plain_messages([clean]), ensure_ascii=False)
    assert cleaned(kept) == kept
    assert (str(clean.text), clean.usage_metadata) == ("a", message.usage_metadata)
    assert clean.tool_calls[0]["args"] == {"flag": "a"}
