"""What a dialog was sent with, held against what it asks for.

Slack gives the state of each input, also of one that was left empty:
https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload. What is otherwise was not sent by a
dialog of this release, and to take what it lacks for a choice would undo what somebody chose.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TEXT, NUMBER = "plain_text_input", "number_input"
MENU, SEARCH, RADIO, BOXES = "static_select", "external_select", "radio_buttons", "checkboxes"
PLACE, MOMENT, CLOCK = "conversations_select", "datetimepicker", "timepicker"

Asks = Mapping[tuple[str, str], str]
"""A dialog's inputs: the type of each element by its block's id and its own."""

_LAST_MOMENT = 253_402_300_800
"""The end of the year 9999, in seconds since 1970."""
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def faults(view: Mapping[str, Any], asks: Asks) -> list[str]:
    """What is not as the dialog has it, in a few words each; nothing where it was sent as it is shown."""
    state, shown = view.get("state"), dict(_elements(view.get("blocks")))
    values = state.get("values") if isinstance(state, dict) else None
    if not isinstance(values, dict):
        return ["no state"]
    found = [f"{block}: not in the dialog" for (block, id_), kind in asks.items() if not _has(shown, block, id_, kind)]
    if not _is_ours(view.get("private_metadata")):
        found.append("private metadata: damaged")
    for (block, id_), element in shown.items():
        if element.is_input and not _answers(values, block).get(id_):
            found.append(f"{block}: not in the state")
    for block in values:
        answers = _answers(values, block).items()
        if not answers or not all(_is_sound(answer, shown.get((block, id_))) for id_, answer in answers):
            found.append(f"{block}: damaged")
    return found


@dataclass(frozen=True, slots=True)
class _Element:
    """An element of the dialog. `values` are the choices that it offers, None where they are not in the dialog."""

    kind: object
    is_input: bool
    is_optional: bool
    values: Sequence[object] | None


def _elements(blocks: object) -> Iterator[tuple[tuple[str, str], _Element]]:
    """What can be filled in, by its block's id and its own."""
    for block in _dicts(blocks):
        is_input = block.get("type") == "input"
        for one in _dicts([block.get("element")] if is_input else block.get("elements")):
            values = [option.get("value") for option in _dicts(one["options"])] if one.get("options") else None
            element = _Element(one.get("type"), is_input, block.get("optional") is True, values)
            yield (str(block.get("block_id")), str(one.get("action_id"))), element


def _dicts(given: object) -> list[dict[str, Any]]:
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _has(shown: Mapping[tuple[str, str], _Element], block: str, id_: str, kind: str) -> bool:
    element = shown.get((block, id_))
    return element is not None and element.is_input and element.kind == kind


def _is_ours(metadata: object) -> bool:
    """Whether it says what the dialog is about, as all of Sluice's do."""
    try:
        about = json.loads(metadata) if isinstance(metadata, str) else None
    except ValueError:
        return False
    return isinstance(about, dict) and isinstance(about.get("id"), str)


def _answers(values: Mapping[str, Any], block: str) -> Mapping[str, Any]:
    answers = values.get(block)
    return answers if isinstance(answers, dict) else {}


def _is_sound(answer: object, shown: _Element | None) -> bool:
    """Whether an element's state is one of its type, and chosen among what is offered."""
    kind = answer.get("type") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(kind, str) or kind not in _CONTENT:
        return False
    if shown is not None and shown.kind != kind:
        return False
    name, is_content = _CONTENT[kind]
    content = answer.get(name)
    if content is None:
        # To leave a text, a place or a moment empty that is needed is answered at the input itself.
        return shown is None or shown.is_optional or kind not in (MENU, RADIO)
    if not is_content(content):
        return False
    chosen = content if isinstance(content, list) else [content]
    return shown is None or shown.values is None or all(one["value"] in shown.values for one in chosen)


def _is_text(content: object) -> bool:
    return isinstance(content, str)


def _is_option(content: object) -> bool:
    return isinstance(content, dict) and isinstance(content.get("value"), str)


def _are_options(content: object) -> bool:
    return isinstance(content, list) and all(_is_option(one) for one in content)


def _is_moment(content: object) -> bool:
    return isinstance(content, int) and not isinstance(content, bool) and 0 <= content < _LAST_MOMENT


def _is_clock(content: object) -> bool:
    return isinstance(content, str) and _CLOCK.fullmatch(content) is not None


_CONTENT: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    TEXT: ("value", _is_text),
    NUMBER: ("value", _is_text),
    MENU: ("selected_option", _is_option),
    SEARCH: ("selected_option", _is_option),
    RADIO: ("selected_option", _is_option),
    BOXES: ("selected_options", _are_options),
    PLACE: ("selected_conversation", _is_text),
    MOMENT: ("selected_date_time", _is_moment),
    CLOCK: ("selected_time", _is_clock),
}
"""What of an element's state it holds, by its type, and whether that is such a thing."""
