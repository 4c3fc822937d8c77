"""What an app manifest says that a workspace needs to know once the app is installed in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]


@dataclass(frozen=True)
class SlashCommand:
    """A command that the app registered, with the slash."""

    name: str
    description: str = ""
    usage_hint: str = ""


@dataclass(frozen=True)
class Shortcut:
    """A shortcut that the app registered: in a message's menu, or (`global`) beside the composer."""

    callback_id: str
    name: str
    kind: Literal["message", "global"]
    description: str = ""


@dataclass(frozen=True)
class Prompt:
    """A button in the conversation with the app, and what a person says by pressing it."""

    title: str
    message: str


@dataclass(frozen=True)
class Manifest:
    """The parts of a manifest that show in a workspace. `events` are named as there (message.channels)."""

    commands: tuple[SlashCommand, ...]
    shortcuts: tuple[Shortcut, ...]
    prompts: tuple[Prompt, ...]
    events: tuple[str, ...]
    unfurl_domains: tuple[str, ...]


def read_manifest(plain: Mapping[str, Any]) -> Manifest:
    """The manifest in a parsed manifest file, which Slack's schema already holds for valid."""
    features = plain.get("features", {})
    subscriptions = plain.get("settings", {}).get("event_subscriptions", {})
    suggested = features.get("agent_view", features.get("assistant_view", {})).get("suggested_prompts", [])
    return Manifest(
        commands=tuple(
            SlashCommand(one["command"], one.get("description", ""), one.get("usage_hint", ""))
            for one in features.get("slash_commands", [])
        ),
        shortcuts=tuple(
            Shortcut(one["callback_id"], one["name"], one["type"], one.get("description", ""))
            for one in features.get("shortcuts", [])
        ),
        prompts=tuple(Prompt(one["title"], one["message"]) for one in suggested),
        events=tuple(subscriptions.get("bot_events", [])),
        unfurl_domains=tuple(features.get("unfurl_domains", [])),
    )


BUNDLED = read_manifest(yaml.safe_load(files("bot").joinpath("templates/manifest.yaml").read_text(encoding="utf-8")))
"""The manifest of the app that comes with this workspace."""
