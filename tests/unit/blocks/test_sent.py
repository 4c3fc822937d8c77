"""What a dialog is sent with is taken only where it is an answer to what the dialog asks."""

import pytest

from bot.blocks.sent import faults
from tests.unit.blocks.sendable import SENDABLE, answered, shown, states_lacking_something

every_dialog = pytest.mark.parametrize("callback_id", SENDABLE)


@every_dialog
def test_what_is_filled_in_is_taken_and_what_may_be_left_empty_can_be(callback_id: str) -> None:
    view = shown(callback_id)
    state = answered(view)
    assert faults({**view, "state": {"values": state}}, SENDABLE[callback_id][1]) == []


@every_dialog
def test_a_state_that_lacks_anything_is_seen(callback_id: str) -> None:
    view, asks = shown(callback_id), SENDABLE[callback_id][1]
    inputs = {block["block_id"] for block in view["blocks"] if block["type"] == "input"}
    assert {block for block, _ in asks} <= inputs
    for values in states_lacking_something(view):
        assert faults({**view, "state": {"values": values}}, asks), values


@every_dialog
@pytest.mark.parametrize("metadata", [None, 7, "", "?", "[]", "{}", '{"id": 7}'])
def test_a_dialog_that_does_not_say_what_it_is_about_is_seen(callback_id: str, metadata: object) -> None:
    view = {**shown(callback_id), "private_metadata": metadata}
    assert faults({**view, "state": {"values": answered(view)}}, SENDABLE[callback_id][1])


@every_dialog
@pytest.mark.parametrize("blocks", [None, [], "words", [None, {"type": "input"}, {"type": "input", "element": 7}]])
def test_another_dialog_in_its_name_is_seen(callback_id: str, blocks: object) -> None:
    view = shown(callback_id)
    assert faults({**view, "blocks": blocks, "state": {"values": answered(view)}}, SENDABLE[callback_id][1])
