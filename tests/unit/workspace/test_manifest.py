"""What a workspace takes from an app's manifest."""

from typing import Any

from bot.workspace.manifest import BUNDLED, Prompt, Shortcut, SlashCommand, read_manifest

PLAIN: dict[str, Any] = {
    "features": {
        "slash_commands": [{"command": "/ramp", "description": "Ramp", "usage_hint": "help"}],
        "shortcuts": [{"name": "Plan", "callback_id": "plan", "type": "message", "description": "Plan from this"}],
        "agent_view": {"suggested_prompts": [{"title": "What?", "message": "What is out?"}]},
        "unfurl_domains": ["acme.example"],
    },
    "settings": {"event_subscriptions": {"bot_events": ["link_shared"]}},
}


def test_commands_shortcuts_prompts_events_and_domains_are_read() -> None:
    manifest = read_manifest(PLAIN)
    assert manifest.commands == (SlashCommand("/ramp", "Ramp", "help"),)
    assert manifest.shortcuts == (Shortcut("plan", "Plan", "message", "Plan from this"),)
    assert manifest.prompts == (Prompt("What?", "What is out?"),)
    assert (manifest.events, manifest.unfurl_domains) == (("link_shared",), ("acme.example",))


def test_a_manifest_that_offers_nothing_gives_nothing() -> None:
    manifest = read_manifest({})
    assert (manifest.commands, manifest.shortcuts, manifest.prompts, manifest.events) == ((), (), (), ())


def test_the_app_of_this_package_is_known() -> None:
    assert [command.name for command in BUNDLED.commands] == ["/rollout"]
