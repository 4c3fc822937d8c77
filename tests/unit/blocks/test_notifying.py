"""The dialog of what a person wants to be told: what it shows, what it takes, and what it refuses."""

import json
from datetime import UTC, datetime, time
from typing import Any

import pytest

from bot import preferences
from bot.blocks.notifying import chosen_in, loading_dialog, notify_dialog, saved
from bot.preferences import Own, Preferences, clock, known_zone
from bot.quiet import QuietHours
from bot.workspace.blocks import check_view
from tests.unit.rollouts.world import World, running_world

NIGHT = QuietHours(time(22), time(7, 30), "Asia/Tokyo", frozenset({0, 4}))
CHOSEN = Preferences(approvals=False, own=Own.NEEDED, quiet=NIGHT)


def sent(zone: str = "Asia/Tokyo", **values: Any) -> dict[str, Any]:
    filled: dict[str, Any] = {
        "approvals": {"selected_option": {"value": "on"}},
        "own": {"selected_option": {"value": "everything"}},
        "quiet_from": {"selected_time": None},
        "quiet_to": {"selected_time": None},
        "quiet_days": {"selected_options": []},
    }
    filled |= values
    return {
        "private_metadata": json.dumps({"id": zone, "channel": None}),
        "state": {"values": {block: {block: value} for block, value in filled.items()}},
    }


@pytest.mark.parametrize("chosen", [Preferences(), CHOSEN])
def test_slack_takes_the_dialog(chosen: Preferences) -> None:
    check_view(notify_dialog(chosen, "Asia/Tokyo", origin="C1").to_dict(), {})
    check_view(loading_dialog().to_dict(), {})


def test_it_begins_with_what_was_chosen() -> None:
    view = notify_dialog(CHOSEN, "Asia/Tokyo", origin=None).to_dict()
    elements = {block["block_id"]: block["element"] for block in view["blocks"] if block["type"] == "input"}
    assert elements["approvals"]["initial_option"]["value"] == "off"
    assert elements["own"]["initial_option"]["value"] == "needed"
    assert (elements["quiet_from"]["initial_time"], elements["quiet_to"]["initial_time"]) == ("22:00", "07:30")
    assert [one["value"] for one in elements["quiet_days"]["initial_options"]] == ["0", "4"]


def test_what_was_sent_is_kept_in_the_person_s_zone() -> None:
    chosen = chosen_in(
        sent(
            quiet_from={"selected_time": "22:00"},
            quiet_to={"selected_time": "07:30"},
            quiet_days={"selected_options": [{"value": "0"}, {"value": "4"}, {"value": "9"}]},
        )
    )
    assert chosen.faults() == {}
    assert chosen.preferences() == Preferences(True, Own.EVERYTHING, NIGHT)


@pytest.mark.parametrize(
    ("values", "block"),
    [
        ({"quiet_from": {"selected_time": "22:00"}}, "quiet_to"),
        ({"quiet_to": {"selected_time": "07:00"}}, "quiet_from"),
        ({"quiet_from": {"selected_time": "22:00"}, "quiet_to": {"selected_time": "07:00"}}, "quiet_days"),
    ],
)
def test_what_makes_no_sense_is_said_where_it_stands(values: dict[str, Any], block: str) -> None:
    assert list(chosen_in(sent(**values)).faults()) == [block]


def test_odd_values_are_the_careful_choice() -> None:
    view = sent("Mars/Olympus", own={"selected_option": {"value": "all of it"}}, quiet_from={"selected_time": "25:99"})
    chosen = chosen_in(view | {"private_metadata": "{"})
    assert (chosen.own, chosen.start, chosen.zone) == (Own.NOTHING, None, "UTC")
    assert (known_zone("Mars/Olympus"), known_zone("../etc/passwd"), clock("7:00")) == ("UTC", "UTC", None)


def test_what_was_kept_is_said() -> None:
    assert saved(CHOSEN) == (
        "Saved. Approvals: off. Your rollouts: what needs me. Quiet hours: 22:00 to 07:30 (Asia/Tokyo)."
    )
    assert "Quiet hours: none." in saved(Preferences())


async def test_choices_are_each_person_s_own() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    async with running_world() as world:
        await _keep(world, "UJONAS", CHOSEN, at)
        await _keep(world, "UJONAS", CHOSEN, at)
        async with world.database.read() as session:
            assert await preferences.read(session, "T1", "UJONAS") == CHOSEN
            assert await preferences.read(session, "T1", "UMIRA") == Preferences()
            assert await preferences.read(session, "T2", "UJONAS") == Preferences()
            assert await preferences.unwilling(session, "T1", ["UJONAS", "UMIRA"]) == {"UJONAS"}


async def _keep(world: World, person: str, chosen: Preferences, at: datetime) -> None:
    async with world.database.write() as session:
        await preferences.keep(session, "T1", person, chosen, at=at)
