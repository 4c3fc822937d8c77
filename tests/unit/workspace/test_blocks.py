"""Blocks and views are refused as Slack refuses them."""

from typing import Any

import pytest
from slack_sdk.models.blocks import (
    ActionsBlock,
    AlertBlock,
    ButtonElement,
    CardBlock,
    CheckboxesElement,
    ConfirmObject,
    ContainerBlock,
    ContextActionsBlock,
    ContextBlock,
    DatePickerElement,
    DividerBlock,
    ExternalDataSelectElement,
    FeedbackButtonObject,
    FeedbackButtonsElement,
    HeaderBlock,
    ImageBlock,
    InputBlock,
    MarkdownBlock,
    MarkdownTextObject,
    Option,
    OverflowMenuElement,
    PlainTextInputElement,
    PlanBlock,
    RichTextBlock,
    RichTextElementParts,
    RichTextListElement,
    RichTextSectionElement,
    SectionBlock,
    StaticSelectElement,
    TableBlock,
    TaskCardBlock,
)
from slack_sdk.models.views import View

from bot.workspace.blocks import check_message_blocks, check_view
from bot.workspace.errors import Refusal
from bot.workspace.records import File

Json = dict[str, Any]
PICTURE = File("F1", "gate.png", 8, "t", 0, "U1", content=b"\x89PNG\r\n\x1a\n", shared=True)
PENDING = File("F2", "late.png", 8, "t", 0, "U1")


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def section(text: str = "hello", **more: Any) -> Json:
    return {"type": "section", "text": mrkdwn(text), **more}


def button(action_id: str = "go", **more: Any) -> Json:
    return {"type": "button", "action_id": action_id, "text": plain("Go"), **more}


def actions(*elements: Json, **more: Any) -> Json:
    return {"type": "actions", "elements": list(elements), **more}


def option(value: str, **more: Any) -> Json:
    return {"text": plain(value), "value": value, **more}


def select(**more: Any) -> Json:
    return {"type": "static_select", "action_id": "s", "options": [option("a")], **more}


def confirm(**more: Any) -> Json:
    whole = {"title": plain("Sure?"), "text": plain("Really"), "confirm": plain("Yes"), "deny": plain("No")}
    return {**whole, **more}


def field(element: Json | None = None, **more: Any) -> Json:
    return {"type": "input", "label": plain("Why"), "element": element or text_input(), **more}


def text_input(**more: Any) -> Json:
    return {"type": "plain_text_input", "action_id": "why", **more}


def modal(*blocks: Json, **more: Any) -> Json:
    return {"type": "modal", "title": plain("Reject"), "submit": plain("Send"), "blocks": list(blocks), **more}


def table(rows: int = 1, columns: int = 1, text: str = "x") -> Json:
    return {"type": "table", "rows": [[{"type": "raw_text", "text": text}] * columns for _ in range(rows)]}


def refusal_of(blocks: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        check_message_blocks(blocks, {"F1": PICTURE, "F2": PENDING})
    return caught.value


ACCEPTED: dict[str, list[Json]] = {
    "nothing": [],
    "50 blocks": [section() for _ in range(50)],
    "3,000 characters": [section("x" * 3000)],
    "10 fields of 1,000": [{"type": "section", "fields": [mrkdwn("x" * 1000) for _ in range(10)]}],
    "a button with 75 characters and 2,000 of value": [actions(button(text=plain("x" * 75), value="v" * 2000))],
    "25 buttons": [actions(*[button(f"b{n}") for n in range(25)])],
    "the same action_id in two blocks": [actions(button()), actions(button())],
    "a confirm dialog at its limits": [
        actions(
            button(
                confirm=confirm(
                    title=plain("t" * 100), text=plain("x" * 300), confirm=plain("y" * 30), deny=plain("n" * 30)
                )
            )
        )
    ],
    "10 context elements": [{"type": "context", "elements": [mrkdwn("x")] * 10}],
    "a header of 150": [{"type": "header", "text": plain("h" * 150)}],
    "markdown of 12,000": [{"type": "markdown", "text": "m" * 12_000}],
    "a table of 100 by 20": [table(100, 20)],
    "100 options": [section(accessory=select(options=[option(str(n)) for n in range(100)]))],
    "an overflow menu of 5": [
        section(accessory={"type": "overflow", "action_id": "o", "options": [option(str(n)) for n in range(5)]})
    ],
    "a shared picture": [{"type": "image", "alt_text": "the gate", "slack_file": {"id": "F1"}}],
    "a picture by its address": [
        {"type": "image", "alt_text": "a", "slack_file": {"url": "http://127.0.0.1:1/files/F1/gate.png"}}
    ],
    "an input": [field()],
}


@pytest.mark.parametrize("blocks", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(blocks: list[Json]) -> None:
    check_message_blocks(blocks, {"F1": PICTURE})


REFUSED: dict[str, tuple[list[Any], str]] = {
    "51 blocks": ([section() for _ in range(51)], "no more than 50 items allowed [json-pointer:/blocks]"),
    "3,001 characters": (
        [section("x" * 3001)],
        "must be less than 3001 characters [json-pointer:/blocks/0/text/text]",
    ),
    "an empty text": ([section("")], "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
    "a section of nothing": ([{"type": "section"}], "must define either `text` or `fields` [json-pointer:/blocks/0]"),
    "11 fields": (
        [{"type": "section", "fields": [mrkdwn("x")] * 11}],
        "no more than 10 items allowed [json-pointer:/blocks/0/fields]",
    ),
    "a field of 2,001": (
        [{"type": "section", "fields": [mrkdwn("x" * 2001)]}],
        "must be less than 2001 characters [json-pointer:/blocks/0/fields/0/text]",
    ),
    "a header of 151": (
        [{"type": "header", "text": plain("h" * 151)}],
        "must be less than 151 characters [json-pointer:/blocks/0/text/text]",
    ),
    "a header in mrkdwn": (
        [{"type": "header", "text": mrkdwn("h")}],
        "unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]",
    ),
    "a button of 76": (
        [actions(button(text=plain("x" * 76)))],
        "must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]",
    ),
    "a button's value of 2,001": (
        [actions(button(value="v" * 2001))],
        "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]",
    ),
    "a button's unknown style": (
        [actions(button(style="default"))],
        "must be a valid enum value [json-pointer:/blocks/0/elements/0/style]",
    ),
    "a button with mrkdwn": (
        [actions(button(text=mrkdwn("Go")))],
        "unsupported type: mrkdwn [json-pointer:/blocks/0/elements/0/text/type]",
    ),
    "an action_id of 256": (
        [actions(button("a" * 256))],
        "must be less than 256 characters [json-pointer:/blocks/0/elements/0/action_id]",
    ),
    "an action_id twice in a block": (
        [actions(button(), button())],
        "`action_id` go already exists [json-pointer:/blocks/0/elements/1/action_id]",
    ),
    "a block_id of 256": (
        [section(block_id="b" * 256)],
        "must be less than 256 characters [json-pointer:/blocks/0/block_id]",
    ),
    "a block_id twice": (
        [section(block_id="b"), section(block_id="b")],
        "`block_id` b already exists [json-pointer:/blocks/1/block_id]",
    ),
    "26 buttons": (
        [actions(*[button(f"b{n}") for n in range(26)])],
        "no more than 25 items allowed [json-pointer:/blocks/0/elements]",
    ),
    "no buttons": ([actions()], "must contain at least 1 item [json-pointer:/blocks/0/elements]"),
    "11 context elements": (
        [{"type": "context", "elements": [mrkdwn("x")] * 11}],
        "no more than 10 items allowed [json-pointer:/blocks/0/elements]",
    ),
    "a button in a context": (
        [{"type": "context", "elements": [button()]}],
        "unsupported type: button [json-pointer:/blocks/0/elements/0/type]",
    ),
    "a picture without alt_text": (
        [{"type": "image", "image_url": "https://x.example/a.png"}],
        "missing required field: alt_text [json-pointer:/blocks/0]",
    ),
    "a picture of nothing": (
        [{"type": "image", "alt_text": "a"}],
        "must define either `image_url` or `slack_file` [json-pointer:/blocks/0]",
    ),
    "a picture from two places": (
        [{"type": "image", "alt_text": "a", "image_url": "https://x.example/a", "slack_file": {"id": "F1"}}],
        "must define only one of `image_url` or `slack_file` [json-pointer:/blocks/0]",
    ),
    "a picture that Slack can't fetch": (
        [{"type": "image", "alt_text": "a", "image_url": "http://127.0.0.1:8080/chart.png"}],
        "downloading image failed [json-pointer:/blocks/0/image_url]",
    ),
    "a picture on a machine without a domain": (
        [{"type": "image", "alt_text": "a", "image_url": "http://metrics:8080/chart.png"}],
        "downloading image failed [json-pointer:/blocks/0/image_url]",
    ),
    "a picture that was not uploaded": (
        [{"type": "image", "alt_text": "a", "slack_file": {"id": "F2"}}],
        "invalid slack file [json-pointer:/blocks/0/slack_file]",
    ),
    "a script's address": (
        [actions(button(url="javascript:alert(1)"))],
        "must be a valid url [json-pointer:/blocks/0/elements/0/url]",
    ),
    "101 options": (
        [section(accessory=select(options=[option(str(n)) for n in range(101)]))],
        "no more than 100 items allowed [json-pointer:/blocks/0/accessory/options]",
    ),
    "an option's text of 76": (
        [section(accessory=select(options=[option("x" * 76)]))],
        "must be less than 76 characters [json-pointer:/blocks/0/accessory/options/0/text/text]",
    ),
    "options and groups": (
        [section(accessory=select(option_groups=[{"label": plain("g"), "options": [option("a")]}]))],
        "must define only one of `options` or `option_groups` [json-pointer:/blocks/0/accessory]",
    ),
    "an initial option from nowhere": (
        [section(accessory=select(initial_option=option("z")))],
        "must exactly match one of the options [json-pointer:/blocks/0/accessory/initial_option]",
    ),
    "an overflow menu of one": (
        [section(accessory={"type": "overflow", "action_id": "o", "options": [option("a")]})],
        "no fewer than 2 items allowed [json-pointer:/blocks/0/accessory/options]",
    ),
    "an overflow menu of 6": (
        [section(accessory={"type": "overflow", "action_id": "o", "options": [option(str(n)) for n in range(6)]})],
        "no more than 5 items allowed [json-pointer:/blocks/0/accessory/options]",
    ),
    "a placeholder of 151": (
        [section(accessory=select(placeholder=plain("p" * 151)))],
        "must be less than 151 characters [json-pointer:/blocks/0/accessory/placeholder/text]",
    ),
    "a confirm title of 101": (
        [actions(button(confirm=confirm(title=plain("t" * 101))))],
        "must be less than 101 characters [json-pointer:/blocks/0/elements/0/confirm/title/text]",
    ),
    "a confirm text of 301": (
        [actions(button(confirm=confirm(text=plain("t" * 301))))],
        "must be less than 301 characters [json-pointer:/blocks/0/elements/0/confirm/text/text]",
    ),
    "a confirm button of 31": (
        [actions(button(confirm=confirm(confirm=plain("t" * 31))))],
        "must be less than 31 characters [json-pointer:/blocks/0/elements/0/confirm/confirm/text]",
    ),
    "a deny button of 31": (
        [actions(button(confirm=confirm(deny=plain("t" * 31))))],
        "must be less than 31 characters [json-pointer:/blocks/0/elements/0/confirm/deny/text]",
    ),
    "markdown of 12,001": (
        [{"type": "markdown", "text": "m" * 12_001}],
        "must be less than 12001 characters [json-pointer:/blocks/0/text]",
    ),
    "two markdown blocks of 6,001": (
        [{"type": "markdown", "text": "m" * 6001}] * 2,
        "markdown blocks must be less than 12001 characters together [json-pointer:/blocks]",
    ),
    "a table of 101 rows": ([table(101)], "no more than 100 items allowed [json-pointer:/blocks/0/rows]"),
    "a table of 21 columns": ([table(1, 21)], "no more than 20 items allowed [json-pointer:/blocks/0/rows/0]"),
    "two tables": ([table(), table()], "only_one_table_allowed [json-pointer:/blocks/1]"),
    "an unknown block": ([{"type": "sparkline"}], "unsupported type: sparkline [json-pointer:/blocks/0/type]"),
    "an unknown element": (
        [actions({"type": "slider", "action_id": "s"})],
        "unsupported type: slider [json-pointer:/blocks/0/elements/0/type]",
    ),
    "a block without a type": ([{"text": plain("x")}], "missing required field: type [json-pointer:/blocks/0]"),
    "a block that is no object": (["section"], "must provide an object [json-pointer:/blocks/0]"),
    "an unknown property": (
        [{"type": "section", "text": {**mrkdwn("x"), "emoji": True}}],
        "invalid additional property: emoji [json-pointer:/blocks/0/text]",
    ),
    "text as a bare string": (
        [{"type": "section", "text": "hello"}],
        "must provide an object [json-pointer:/blocks/0/text]",
    ),
    "a label of 2,001": (
        [field(label=plain("l" * 2001))],
        "must be less than 2001 characters [json-pointer:/blocks/0/label/text]",
    ),
    "a plan's task with an unknown status": (
        [
            {
                "type": "plan",
                "title": "p",
                "tasks": [{"type": "task_card", "task_id": "1", "title": "t", "status": "ok"}],
            }
        ],
        "must be a valid enum value [json-pointer:/blocks/0/tasks/0/status]",
    ),
    "a card with nothing on it": (
        [{"type": "card", "subtitle": plain("s")}],
        "must define either `hero_image` or `title` or `actions` or `body` [json-pointer:/blocks/0]",
    ),
    "an alert of an unknown level": (
        [{"type": "alert", "text": plain("a"), "level": "fatal"}],
        "must be a valid enum value [json-pointer:/blocks/0/level]",
    ),
    "a rich text with an unknown part": (
        [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "blink"}]}]}],
        "unsupported type: blink [json-pointer:/blocks/0/elements/0/elements/0/type]",
    ),
}


@pytest.mark.parametrize(("blocks", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(blocks: list[Any], line: str) -> None:
    refusal = refusal_of(blocks)
    assert refusal.code == "invalid_blocks"
    assert line in refusal.messages
    assert f"[ERROR] {line}" in refusal.as_body()["response_metadata"]["messages"]


def test_too_much_text_over_all_blocks() -> None:
    check_message_blocks([section("x" * 190) for _ in range(50)], {})
    assert refusal_of([section("x" * 2900) for _ in range(5)]).code == "msg_blocks_too_long"


VIEWS_REFUSED: dict[str, tuple[Json, str]] = {
    "a title of 25": (
        modal(section(), title=plain("t" * 25)),
        "must be less than 25 characters [json-pointer:/view/title/text]",
    ),
    "no title": (
        {"type": "modal", "blocks": [section()]},
        "missing required field: title [json-pointer:/view]",
    ),
    "101 blocks": (
        modal(*[section() for _ in range(101)]),
        "no more than 100 items allowed [json-pointer:/view/blocks]",
    ),
    "no blocks": (modal(), "must contain at least 1 item [json-pointer:/view/blocks]"),
    "private_metadata of 3,001": (
        modal(section(), private_metadata="m" * 3001),
        "must be less than 3001 characters [json-pointer:/view/private_metadata]",
    ),
    "a callback_id of 256": (
        modal(section(), callback_id="c" * 256),
        "must be less than 256 characters [json-pointer:/view/callback_id]",
    ),
    "a submit button of 25": (
        modal(section(), submit=plain("s" * 25)),
        "must be less than 25 characters [json-pointer:/view/submit/text]",
    ),
    "inputs without a submit button": (
        {"type": "modal", "title": plain("t"), "blocks": [field()]},
        "missing required field: submit [json-pointer:/view]",
    ),
    "a block_id twice": (
        modal(field(block_id="b"), field(block_id="b")),
        "`block_id` b already exists [json-pointer:/view/blocks/1/block_id]",
    ),
    "markdown": (
        modal({"type": "markdown", "text": "x"}),
        "unsupported type: markdown [json-pointer:/view/blocks/0/type]",
    ),
    "an unknown view": (
        {"type": "workflow", "blocks": [section()]},
        "unsupported type: workflow [json-pointer:/view/type]",
    ),
    "a Home tab with a title": (
        {"type": "home", "title": plain("t"), "blocks": [section()]},
        "invalid additional property: title [json-pointer:/view]",
    ),
    "a file input on the Home tab": (
        {"type": "home", "blocks": [field({"type": "file_input", "action_id": "f"})]},
        "unsupported type: file_input [json-pointer:/view/blocks/0/element/type]",
    ),
    "an impossible length": (
        modal(field(text_input(min_length=10, max_length=5))),
        "min_length must not be greater than max_length [json-pointer:/view/blocks/0/element]",
    ),
    "a number that is none": (
        modal(field({"type": "number_input", "action_id": "n", "is_decimal_allowed": False, "initial_value": "many"})),
        "must be a number [json-pointer:/view/blocks/0/element/initial_value]",
    ),
}


@pytest.mark.parametrize(("view", "line"), VIEWS_REFUSED.values(), ids=VIEWS_REFUSED.keys())
def test_views_refused(view: Json, line: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_view(view, {})
    assert caught.value.code == "invalid_arguments"
    assert line in caught.value.messages


def test_a_view_is_limited_in_bytes() -> None:
    view = modal(*[field(hint=plain("h" * 1990), label=plain("l" * 1990)) for _ in range(100)])
    with pytest.raises(Refusal, match="view_too_large"):
        check_view(view, {})


def test_what_the_sdk_models_make_is_accepted() -> None:
    sure = ConfirmObject(
        title="Roll back?", text="Exposure goes to 0 %.", confirm="Roll back", deny="Keep", style="danger"
    )
    parts = RichTextElementParts
    style = parts.TextStyle(bold=True)
    rich = RichTextBlock(
        elements=[
            RichTextSectionElement(
                elements=[
                    parts.Text(text="hi", style=style),
                    parts.Link(url="https://a.example", text="there"),
                    parts.User(user_id="U1"),
                    parts.Emoji(name="wave"),
                ]
            ),
            RichTextListElement(style="bullet", elements=[RichTextSectionElement(elements=[parts.Text(text="one")])]),
        ]
    )
    feedback = FeedbackButtonsElement(
        action_id="f",
        positive_button=FeedbackButtonObject(text="Good", value="1"),
        negative_button=FeedbackButtonObject(text="Bad", value="0"),
    )
    blocks = [
        HeaderBlock(text="Checkout"),
        SectionBlock(text="*5 %*", fields=["a", "b"], accessory=ButtonElement(action_id="x", text="Why", value="1")),
        ContextBlock(elements=[MarkdownTextObject(text="now")]),
        DividerBlock(),
        ActionsBlock(
            elements=[
                ButtonElement(action_id="a", text="Approve", style="primary", value="1"),
                ButtonElement(action_id="r", text="Roll back", style="danger", confirm=sure),
                StaticSelectElement(action_id="s", placeholder="Pick", options=[Option(value="1", text="One")]),
                OverflowMenuElement(
                    action_id="o", options=[Option(value="1", text="One"), Option(value="2", text="Two")]
                ),
            ]
        ),
        ImageBlock(alt_text="chart", image_url="https://a.example/x.png", title="Chart"),
        MarkdownBlock(text="**hi**"),
        rich,
        TableBlock(rows=[[{"type": "raw_text", "text": "a"}, {"type": "raw_text", "text": "b"}]]),
        PlanBlock(title="Plan", tasks=[TaskCardBlock(task_id="1", title="Read", status="complete")]),
        AlertBlock(text="Breach", level="error"),
        CardBlock(title="Stage 1", body="1 %", actions=[ButtonElement(action_id="c", text="Open")]),
        ContainerBlock(title="Stages", child_blocks=[SectionBlock(text="one")]),
        ContextActionsBlock(elements=[feedback]),
    ]
    check_message_blocks([block.to_dict() for block in blocks], {})
    view = View(
        type="modal",
        title="Start",
        submit="Start",
        close="Cancel",
        callback_id="start",
        private_metadata="{}",
        blocks=[
            InputBlock(label="Flag", element=ExternalDataSelectElement(action_id="flag", min_query_length=0)),
            InputBlock(label="Why", element=PlainTextInputElement(action_id="why", multiline=True), optional=True),
            InputBlock(label="Until", element=DatePickerElement(action_id="until", initial_date="2026-01-01")),
            InputBlock(
                label="Also", element=CheckboxesElement(action_id="also", options=[Option(value="1", text="One")])
            ),
        ],
    )
    check_view(view.to_dict(), {})
