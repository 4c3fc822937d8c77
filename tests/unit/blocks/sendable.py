"""Every dialog that can be sent, by its callback id, and what else than its answers could be sent in its name."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from typing import Any

from bot.blocks import accepting, dialogs, editing, freezing, notifying, starting
from bot.blocks.freezing import Filled
from bot.blocks.sent import Asks
from bot.blocks.starting import Wish
from bot.preferences import Preferences
from bot.workspace.inputs import state_values
from tests.unit.blocks.examples import NOW, OPEN, PAUSED, PROPOSED
from tools.plans.editing import Edited
from tools.rollouts.acceptances import Acceptable, Finding

Json = dict[str, Any]
CHANNEL, ABOUT = "CRELEASES", "0" * 32
ABLE = Acceptable((Finding("errors", OPEN, None),), NOW + timedelta(days=7))
TABLE = editing.table_of(PROPOSED, CHANNEL)

SENDABLE: dict[str, tuple[Any, Asks]] = {
    one.callback_id or "": (one, asks)
    for one, asks in (
        (dialogs.reject_dialog(ABOUT, CHANNEL), dialogs.ASKS),
        (dialogs.pause_dialog(ABOUT, CHANNEL), dialogs.ASKS),
        (dialogs.feedback_dialog(ABOUT, CHANNEL), dialogs.ASKS),
        (freezing.freeze_dialog(Filled(), ["production"], origin=CHANNEL), freezing.ASKS),
        (notifying.notify_dialog(Preferences(), "Asia/Tokyo", origin=CHANNEL), notifying.ASKS),
        (accepting.accept_dialog(PAUSED, ABLE, at=NOW, channel=CHANNEL), accepting.ASKS),
        (
            starting.start_dialog(Wish("new-checkout", "production", None, CHANNEL), ["production"], origin=CHANNEL),
            starting.ASKS,
        ),
        (editing.edit_dialog(PROPOSED, TABLE, Edited((), (), None), shadow=True), editing.ASKS),
    )
}
FOREIGN = {"elsewhere": {"elsewhere": {"type": "plain_text_input", "value": "something"}}}
DAMAGED: tuple[object, ...] = (
    None,
    "words",
    7,
    [],
    {},
    {"type": None},
    {"type": []},
    {"type": "rich_text_input", "rich_text_value": {}},
    {"type": "plain_text_input", "value": 7},
    {"type": "number_input", "value": {}},
    {"type": "static_select", "selected_option": None},
    {"type": "static_select", "selected_option": {"value": "of another release"}},
    {"type": "static_select", "selected_option": "words"},
    {"type": "external_select", "selected_option": {"value": 7}},
    {"type": "radio_buttons", "selected_option": {"value": "of another release"}},
    {"type": "checkboxes", "selected_options": [{"value": "9"}]},
    {"type": "checkboxes", "selected_options": "words"},
    {"type": "conversations_select", "selected_conversation": 7},
    {"type": "datetimepicker", "selected_date_time": "tomorrow"},
    {"type": "datetimepicker", "selected_date_time": 10**15},
    {"type": "datetimepicker", "selected_date_time": True},
    {"type": "timepicker", "selected_time": "25:00"},
)
"""States of an element that none of the dialogs' can have."""


def shown(callback_id: str) -> Json:
    """The dialog as Slack shows it."""
    plain: Json = SENDABLE[callback_id][0].to_dict()
    return plain


def answered(view: Json) -> Json:
    """The state of a dialog in which everything that is needed is filled in."""
    state = state_values(view["blocks"], {"reason": "because"})
    return deepcopy(state)


def states_lacking_something(view: Json) -> Iterator[object]:
    """States that are not such a dialog's: empty, foreign, each answer left out or damaged, and no state at all."""
    whole = answered(view)
    inputs = {block["block_id"] for block in view["blocks"] if block["type"] == "input"}
    yield from ({}, FOREIGN, None, [], "words")
    for block in whole:
        if block in inputs:  # what the menus of a row don't say stays as the plan has it
            yield {name: answers for name, answers in whole.items() if name != block}
        for damage in DAMAGED:
            yield {**whole, block: damage}
            yield {**whole, block: dict.fromkeys(whole[block], damage)}
