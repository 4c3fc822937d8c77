"""Checks messages' blocks and views as Slack does, and refuses them in Slack's codes.

Limits: https://docs.slack.dev/reference/block-kit/blocks and https://docs.slack.dev/reference/views.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bot.workspace.elements import (
    ACCESSORY,
    ACTION_ELEMENT,
    BUTTON,
    CONTEXT_ACTION,
    CONTEXT_ELEMENT,
    ID,
    IMAGE_ELEMENT,
    INPUT_ELEMENT,
    RICH_TEXT,
    SLACK_FILE,
    TABLE_CELL,
    URL_SOURCE,
    picture_url,
)
from bot.workspace.errors import Refusal
from bot.workspace.records import File, Json
from bot.workspace.schema import (
    Rule,
    Surface,
    Surroundings,
    array,
    at,
    boolean,
    either,
    exactly_one,
    obj,
    one_of,
    only_on,
    plain,
    string,
    text,
    typed,
    url,
)

MAX_MESSAGE_BLOCKS = 50
MAX_VIEW_BLOCKS = 100
MAX_MARKDOWN = 12_000
MAX_TABLE_CHARACTERS = 10_000
MAX_VIEW_BYTES = 250_000
# Slack does not publish the formula behind msg_blocks_too_long; this one agrees with the measurements that were
# reported to the SDK's maintainers (9,597 characters in 50 blocks accepted, 11,341 in 45 blocks refused).
MAX_MESSAGE_CHARACTERS = 12_000
CHARACTERS_PER_BLOCK = 20


def _block(kind: str, required: Mapping[str, Rule], optional: Mapping[str, Rule], *extra: Rule) -> Rule:
    return obj({"type": one_of(kind), **required}, {"block_id": ID, **optional}, *extra)


def _file_input_only_in_modals(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
    if value["element"]["type"] == "file_input" and around.surface != "modal":
        yield at(f"{pointer}/element/type", "unsupported type: file_input")


_TASK_CARD = _block(
    "task_card",
    {"task_id": string(), "title": string()},
    {
        "details": RICH_TEXT,
        "output": RICH_TEXT,
        "sources": array(URL_SOURCE, least=0),
        "status": one_of("pending", "in_progress", "complete", "error"),
    },
)
_CARD = _block(
    "card",
    {},
    {
        "hero_image": IMAGE_ELEMENT,
        "icon": IMAGE_ELEMENT,
        "title": text(most=150),
        "subtitle": text(most=150),
        "body": text(most=200),
        "actions": array(typed({"button": BUTTON}), most=5),
    },
    either("hero_image", "title", "actions", "body"),
)
_MESSAGE_ONLY: tuple[Surface, ...] = ("message",)
_SIMPLE: dict[str, Rule] = {
    "section": _block(
        "section",
        {},
        {
            "text": text(most=3000),
            "fields": array(text(most=2000), most=10),
            "accessory": ACCESSORY,
            "expand": boolean,
        },
        either("text", "fields"),
    ),
    "divider": _block("divider", {}, {}),
    "header": _block("header", {"text": plain(most=150)}, {}),
    "context": _block("context", {"elements": array(CONTEXT_ELEMENT, most=10)}, {}),
    "actions": _block("actions", {"elements": array(ACTION_ELEMENT, most=25)}, {}),
    "image": _block(
        "image",
        {"alt_text": string(most=2000)},
        {"image_url": picture_url, "slack_file": SLACK_FILE, "title": plain(most=2000)},
        exactly_one("image_url", "slack_file"),
    ),
    "input": _block(
        "input",
        {"label": plain(most=2000), "element": INPUT_ELEMENT},
        {"hint": plain(most=2000), "optional": boolean, "dispatch_action": boolean},
        _file_input_only_in_modals,
    ),
    "rich_text": RICH_TEXT,
    "video": _block(
        "video",
        {"alt_text": string(), "title": plain(most=200), "thumbnail_url": url(), "video_url": url()},
        {
            "author_name": string(most=50),
            "description": plain(most=200),
            "provider_icon_url": url(),
            "provider_name": string(),
            "title_url": url(),
        },
    ),
    "markdown": only_on(_MESSAGE_ONLY, _block("markdown", {"text": string(most=MAX_MARKDOWN)}, {})),
    "table": only_on(
        _MESSAGE_ONLY,
        _block(
            "table",
            {"rows": array(array(TABLE_CELL, most=20), most=100)},
            {
                "column_settings": array(
                    obj({}, {"align": one_of("left", "center", "right"), "is_wrapped": boolean}), most=20, least=0
                )
            },
        ),
    ),
    "context_actions": only_on(
        _MESSAGE_ONLY, _block("context_actions", {"elements": array(CONTEXT_ACTION, most=5)}, {})
    ),
    "task_card": only_on(_MESSAGE_ONLY, _TASK_CARD),
    "plan": only_on(
        _MESSAGE_ONLY,
        _block("plan", {"title": string()}, {"tasks": array(typed({"task_card": _TASK_CARD}), least=0)}),
    ),
    "card": _CARD,
    "carousel": _block("carousel", {"elements": array(typed({"card": _CARD}), most=10)}, {}),
    "alert": _block(
        "alert",
        {"text": text(most=3000)},
        {"level": one_of("default", "info", "warning", "error", "success")},
    ),
}


def _no_divider_when_collapsible(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
    if value.get("is_collapsible") and value.get("has_header_divider"):
        yield at(f"{pointer}/has_header_divider", "not allowed when `is_collapsible` is true")


_CONTAINER = _block(
    "container",
    {"child_blocks": array(typed(_SIMPLE), most=10)},
    {
        "title": plain(most=150),
        "rich_text_title": RICH_TEXT,
        "subtitle": text(most=150),
        "width": one_of("narrow", "standard", "wide", "full"),
        "icon": IMAGE_ELEMENT,
        "is_collapsible": boolean,
        "default_collapsed": boolean,
        "has_header_divider": boolean,
    },
    either("title", "rich_text_title"),
    _no_divider_when_collapsible,
)
BLOCK = typed({**_SIMPLE, "container": _CONTAINER})
_MESSAGE_BLOCKS = array(BLOCK, most=MAX_MESSAGE_BLOCKS, least=0)
_VIEW_BLOCKS = array(BLOCK, most=MAX_VIEW_BLOCKS)
_VIEW_COMMON: dict[str, Rule] = {
    "private_metadata": string(most=3000, least=0),
    "callback_id": string(most=255, least=0),
    "external_id": string(most=255, least=0),
}


def _submit_for_inputs(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
    if "submit" not in value and any(block["type"] == "input" for block in value["blocks"]):
        yield at(pointer, "missing required field: submit")


_MODAL = obj(
    {"type": one_of("modal"), "title": plain(most=24), "blocks": _VIEW_BLOCKS},
    {
        "submit": plain(most=24),
        "close": plain(most=24),
        "clear_on_close": boolean,
        "notify_on_close": boolean,
        "submit_disabled": boolean,
        **_VIEW_COMMON,
    },
    _submit_for_inputs,
)
_HOME = obj({"type": one_of("home"), "blocks": _VIEW_BLOCKS}, _VIEW_COMMON)
_VIEW = typed({"modal": _MODAL, "home": _HOME})


def check_message_blocks(blocks: list[Any], files: Mapping[str, File]) -> None:
    """Raises `Refusal` with invalid_blocks or msg_blocks_too_long when Slack would not post these blocks."""
    complaints = list(_MESSAGE_BLOCKS(blocks, "/blocks", Surroundings("message", files)))
    if not complaints:
        complaints = [*_repeated_ids(blocks, "/blocks"), *_too_much_of_a_kind(blocks)]
    if complaints:
        raise Refusal("invalid_blocks", complaints)
    size = sum(_text_length(block) + CHARACTERS_PER_BLOCK for block in blocks if block["type"] not in _COUNTED_APART)
    if size > MAX_MESSAGE_CHARACTERS:
        raise Refusal("msg_blocks_too_long")


def check_view(view: Json, files: Mapping[str, File]) -> None:
    """Raises `Refusal` with invalid_arguments or view_too_large when Slack would not show this view."""
    kind = view.get("type")
    around = Surroundings("home" if kind == "home" else "modal", files)
    complaints = list(_VIEW(view, "/view", around))
    if not complaints:
        complaints = list(_repeated_ids(view["blocks"], "/view/blocks"))
    if complaints:
        raise Refusal("invalid_arguments", complaints)
    if len(json.dumps(view).encode()) > MAX_VIEW_BYTES:
        raise Refusal("view_too_large")


_COUNTED_APART = frozenset({"markdown", "table"})


def _too_much_of_a_kind(blocks: list[Json]) -> Iterator[str]:
    markdown = sum(len(block["text"]) for block in blocks if block["type"] == "markdown")
    if markdown > MAX_MARKDOWN:
        yield at("/blocks", f"markdown blocks must be less than {MAX_MARKDOWN + 1} characters together")
    tables = [index for index, block in enumerate(blocks) if block["type"] == "table"]
    for index in tables[1:]:
        yield at(f"/blocks/{index}", "only_one_table_allowed")
    for index in tables:
        if _text_length(blocks[index]) > MAX_TABLE_CHARACTERS:
            yield at(f"/blocks/{index}", f"must be less than {MAX_TABLE_CHARACTERS + 1} characters")


def _text_length(value: Any) -> int:
    if isinstance(value, list):
        return sum(_text_length(item) for item in value)
    if isinstance(value, dict):
        own = len(value["text"]) if isinstance(value.get("text"), str) else 0
        return own + sum(_text_length(item) for item in value.values() if isinstance(item, (dict, list)))
    return 0


def _repeated_ids(blocks: list[Json], pointer: str) -> Iterator[str]:
    """block_id is unique in a message or view; action_id within its block."""
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        block_id = block.get("block_id")
        if block_id in seen:
            yield at(f"{pointer}/{index}/block_id", f"`block_id` {block_id} already exists")
        if block_id is not None:
            seen.add(block_id)
        yield from _repeated_action_ids(block, f"{pointer}/{index}")


def _repeated_action_ids(block: Json, pointer: str) -> Iterator[str]:
    seen: set[str] = set()
    for group in ("elements", "actions"):
        for index, element in enumerate(block.get(group, [])):
            action_id = element.get("action_id")
            if action_id in seen:
                yield at(f"{pointer}/{group}/{index}/action_id", f"`action_id` {action_id} already exists")
            if action_id is not None:
                seen.add(action_id)
