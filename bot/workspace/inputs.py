"""What a person filled in: plain values as Slack's `state.values`, and the checks that Slack's own client makes."""

import base64
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bot.workspace.records import Json

REQUIRED = "Please complete this required field."
_WITHOUT_ELEMENTS = frozenset({"rich_text", "carousel"})
_NOT_INTERACTIVE = frozenset({"image", "plain_text", "mrkdwn"})
_TEXT_INPUTS = frozenset({"plain_text_input", "email_text_input", "url_text_input", "number_input"})
_ONE_OPTION = frozenset({"static_select", "external_select", "radio_buttons"})
_MANY_OPTIONS = frozenset({"multi_static_select", "multi_external_select", "checkboxes"})
_PLAIN = {
    "datepicker": ("selected_date", "initial_date"),
    "timepicker": ("selected_time", "initial_time"),
    "datetimepicker": ("selected_date_time", "initial_date_time"),
    "users_select": ("selected_user", "initial_user"),
    "channels_select": ("selected_channel", "initial_channel"),
    "conversations_select": ("selected_conversation", "initial_conversation"),
    "multi_users_select": ("selected_users", "initial_users"),
    "multi_channels_select": ("selected_channels", "initial_channels"),
    "multi_conversations_select": ("selected_conversations", "initial_conversations"),
}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True)
class Placed:
    """An element with an action_id, where it stands. `block` is the block around it."""

    block: Json
    element: Json

    @property
    def block_id(self) -> str:
        """The id of the block around it."""
        return str(self.block["block_id"])

    @property
    def action_id(self) -> str:
        """Its action_id."""
        return str(self.element["action_id"])


def placed_elements(blocks: list[Json]) -> Iterator[Placed]:
    """Every interactive element of `blocks`, in order, also inside cards and containers."""
    for block in blocks:
        for element in _elements(block):
            if "action_id" in element:
                yield Placed(block, element)
        yield from placed_elements(_inner_blocks(block))


def name_blocks(blocks: list[Json]) -> None:
    """Give a block_id to every block and an action_id to every element that has none, as Slack does, also inside."""
    for block in blocks:
        block.setdefault("block_id", _random_id())
        for element in _elements(block):
            if element.get("type") not in _NOT_INTERACTIVE:
                element.setdefault("action_id", _random_id())
        name_blocks(_inner_blocks(block))


def _random_id() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(4)).decode().rstrip("=")


def _elements(block: Json) -> list[Json]:
    if block.get("type") in _WITHOUT_ELEMENTS:
        return []
    single = [block[name] for name in ("accessory", "element") if name in block]
    return [*single, *block.get("elements", []), *block.get("actions", [])]


def _inner_blocks(block: Json) -> list[Json]:
    inner: list[Json] = block.get("elements" if block.get("type") == "carousel" else "child_blocks", [])
    return inner


def state_values(blocks: list[Json], given: Mapping[str, Any]) -> Json:
    """`state.values` of `blocks`.

    `given` maps an action_id, or a block_id and then an action_id, to a plain value: the text, an option's value, a
    list of these, a date. What is not given keeps its initial value.
    """
    values: Json = {}
    for placed in placed_elements(blocks):
        state = element_state(placed, given)
        if state is not None:
            values.setdefault(placed.block_id, {})[placed.action_id] = state
    return values


def element_state(placed: Placed, given: Mapping[str, Any]) -> Json | None:
    """The state of one element, or None when it has none (a button, an overflow menu)."""
    element, kind = placed.element, placed.element["type"]
    missing = object()
    raw = _lookup(placed, given, missing)
    if kind in _TEXT_INPUTS:
        value = element.get("initial_value") if raw is missing else raw
        return {"type": kind, "value": None if value in (None, "") else str(value)}
    if kind in _ONE_OPTION:
        option = element.get("initial_option") if raw is missing else _option(element, raw)
        return {"type": kind, "selected_option": option}
    if kind in _MANY_OPTIONS:
        options = (
            element.get("initial_options", []) if raw is missing else [_option(element, item) for item in raw or []]
        )
        return {"type": kind, "selected_options": options}
    if kind == "rich_text_input":
        return {"type": kind, "rich_text_value": element.get("initial_value") if raw is missing else _rich_text(raw)}
    if kind in _PLAIN:
        selected, initial = _PLAIN[kind]
        return {"type": kind, selected: element.get(initial) if raw is missing else raw}
    return None


def complaints(blocks: list[Json], values: Json) -> dict[str, str]:
    """What Slack's client says before it submits a modal: block_id → sentence."""
    found: dict[str, str] = {}
    for block in blocks:
        if block.get("type") != "input":
            continue
        element = block["element"]
        state = values.get(block["block_id"], {}).get(element["action_id"], {})
        complaint = _complaint(block, element, state)
        if complaint:
            found[block["block_id"]] = complaint
    return found


def _complaint(block: Json, element: Json, state: Json) -> str | None:
    content = next((value for name, value in state.items() if name != "type"), None)
    if content in (None, "", []):
        return None if block.get("optional") else REQUIRED
    match element["type"]:
        case "number_input":
            return _number_complaint(element, str(content))
        case "email_text_input" if not _EMAIL.fullmatch(str(content)):
            return "This doesn't look like an email address."
        case "url_text_input" if not str(content).startswith(("http://", "https://")):
            return "This doesn't look like a URL."
        case "plain_text_input" if len(str(content)) < int(element.get("min_length") or 0):
            return f"Please enter at least {element['min_length']} characters."
        case "plain_text_input" if len(str(content)) > int(element.get("max_length") or 3000):
            return f"Please enter at most {element.get('max_length') or 3000} characters."
    return None


def _number_complaint(element: Json, content: str) -> str | None:
    try:
        number = float(content) if element.get("is_decimal_allowed") else int(content)
    except ValueError:
        return "Please enter a number." if element.get("is_decimal_allowed") else "Please enter a whole number."
    least, most = element.get("min_value"), element.get("max_value")
    if least is not None and number < float(least):
        return f"Please enter a number of at least {least}."
    if most is not None and number > float(most):
        return f"Please enter a number of at most {most}."
    return None


def _rich_text(raw: Any) -> Json | None:
    """What was typed as a rich_text block with one section; one that is given as a block stays as it is."""
    if raw in (None, "") or isinstance(raw, dict):
        return raw or None
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": str(raw)}]}
    return {"type": "rich_text", "elements": [section]}


def _lookup(placed: Placed, given: Mapping[str, Any], missing: object) -> Any:
    in_block = given.get(placed.block_id)
    if isinstance(in_block, Mapping) and placed.action_id in in_block:
        return in_block[placed.action_id]
    return given.get(placed.action_id, missing)


def _option(element: Json, raw: Any) -> Json | None:
    """The element's option with the value `raw`; an external select's option is given whole."""
    if raw is None or raw == "":
        return None
    if isinstance(raw, dict):
        return raw
    groups = element.get("option_groups") or []
    options = [*element.get("options", []), *(option for group in groups for option in group["options"])]
    for option in options:
        if option.get("value") == raw:
            return dict(option)
    if element["type"].endswith("external_select"):
        return {"text": {"type": "plain_text", "text": str(raw)}, "value": str(raw)}
    raise LookupError(f"{element['action_id']} has no option {raw!r}")
