"""Every environment that settings name anywhere is one that people may name."""

import pytest

from bot.blocks import starting
from bot.blocks.starting import Wish
from bot.listeners.environments import named
from bot.settings import Settings

TEAM, OTHER = "T0HOUSE01", "T0OTHER01"
PERSON = "U0123ABCDEF"


@pytest.mark.parametrize("vendor", ["unleash", "launchdarkly", "flagsmith", "growthbook", "flagd", "gofeatureflag"])
def test_those_of_the_flag_service_are_known(vendor: str) -> None:
    settings = Settings(flags={"type": vendor, vendor: {"environments": {"staging": "development"}}})
    assert named(settings, TEAM) == ["production", "staging"]


def test_those_of_a_flag_service_that_is_not_used_are_none() -> None:
    settings = Settings(flags={"type": "embedded", "unleash": {"environments": {"staging": "development"}}})
    assert named(settings, TEAM) == ["production"]


def test_those_of_every_other_setting_are_known() -> None:
    settings = Settings(
        environment="prod",
        ofrep={"environments": ["staging"]},
        policy={
            "approval": [{"environments": ["canary"], "approvers": [PERSON]}],
            "freezes": [
                {
                    "start": "2026-12-20T00:00:00Z",
                    "end": "2027-01-02T00:00:00Z",
                    "name": "holidays",
                    "environments": ["eu"],
                }
            ],
            "free_environments": ["sandbox"],
        },
        slack={"route": [{"environment": "us", "channel": "C0ALERTS1"}, {"channel": "C0ALERTS2"}]},
        planning={"reachable": {"asia": {}}},
    )
    assert named(settings, TEAM) == ["prod", "staging", "canary", "eu", "sandbox", "us", "asia"]


def test_one_that_is_capitalised_in_several_ways_is_offered_once() -> None:
    rules = [{"environments": ["Staging", "PRODUCTION"], "approvers": [PERSON]}]
    settings = Settings(ofrep={"environments": ["staging"]}, policy={"approval": rules})
    assert named(settings, TEAM) == ["production", "staging"]


def test_those_of_a_workspace_are_known_in_it_alone() -> None:
    own = {"approvers": [PERSON], "approval": [{"environments": ["theirs"], "approvers": [PERSON]}]}
    settings = Settings(policy={"workspaces": {OTHER: own}})
    assert named(settings, TEAM) == ["production"]
    assert named(settings, OTHER) == ["production", "theirs"]


def chosen(view: object) -> object:
    """The environment that the dialog begins with, and those that it offers."""
    [menu] = [one for one in view.to_dict()["blocks"] if one.get("block_id") == starting.ENVIRONMENT]  # type: ignore[attr-defined]
    element = menu["element"]
    return element.get("initial_option", {}).get("value"), [one["value"] for one in element["options"]]


@pytest.mark.parametrize(
    ("wanted", "begins"),
    [
        ("staging", ("staging", ["production", "staging"])),
        ("other", ("other", ["other", "production", "staging"])),
        ("x" * 151, (None, ["production", "staging"])),
    ],
)
def test_the_dialog_never_begins_with_another_environment_than_was_wanted(wanted: str, begins: object) -> None:
    view = starting.start_dialog(Wish(environment=wanted), ["production", "staging"], origin=None)
    assert chosen(view) == begins


def test_the_menu_of_flags_is_of_the_environment_that_the_dialog_began_with() -> None:
    view = starting.start_dialog(Wish(environment="staging"), ["production", "staging"], origin=None).to_dict()
    assert starting.environment_in(view) == "staging"
    other = {starting.ENVIRONMENT: {starting.ENVIRONMENT: {"selected_option": {"value": "production"}}}}
    assert starting.environment_in({**view, "state": {"values": other}}) == "production"
