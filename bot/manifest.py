"""The manifest of the Slack app: the shipped template, with what the settings decide filled in."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import yaml  # type: ignore[import-untyped]

from tools.errors import ConfigurationError

EVENTS_PATH = "/slack/events"
INSTALL_PATH = "/slack/install"
REDIRECT_PATH = "/slack/oauth_redirect"
ROLLOUTS_PATH = "/rollouts"
"""Below it each rollout has an address that people can share: it leads to the card."""

BOT_SCOPES = frozenset(
    {
        "app_mentions:read",
        "assistant:write",
        "channels:history",
        "channels:read",
        "chat:write",
        "commands",
        "files:write",
        "groups:history",
        "groups:read",
        "im:history",
        "im:read",
        "im:write",
        "links:read",
        "links:write",
        "reactions:read",
        "usergroups:read",
        "users:read",
    }
)
"""What the bot token must be allowed to do; the manifest asks for the same."""


def manifest(
    *, events_url: str | None = None, redirect_url: str | None = None, unfurl_domain: str | None = None
) -> str:
    """The manifest as YAML. With `events_url` Slack calls that address, else it is Socket Mode's; `redirect_url` is
    where browsers come back to after a workspace installed the app; links to `unfurl_domain` are shown as cards."""
    text = (files("bot") / "templates" / "manifest.yaml").read_text(encoding="utf-8")
    if events_url is None and redirect_url is None and unfurl_domain is None:
        return text
    comments, _, _ = text.partition("_metadata:")
    filled: dict[str, Any] = yaml.safe_load(text)
    if events_url is not None:
        _call_over_http(filled, events_url)
    if redirect_url is not None:
        filled["oauth_config"]["redirect_urls"] = [redirect_url]
    if unfurl_domain is not None:
        filled["features"]["unfurl_domains"] = [unfurl_domain]
    body: str = yaml.safe_dump(filled, sort_keys=False, allow_unicode=True, width=120)
    return comments + body


def manifest_for(public_url: str | None, *, http: bool, oauth: bool) -> str:
    """The manifest of an app that is served at that address: `http` or Socket Mode, installed by `oauth` or tokens.

    Raises ConfigurationError without an address where Slack or browsers need one.
    """
    if (http or oauth) and public_url is None:
        raise ConfigurationError(
            "SLUICE_HTTP_PUBLIC_URL is not set: it is where Slack and browsers reach Sluice, such as "
            "https://sluice.example.com."
        )
    return manifest(
        events_url=f"{public_url}{EVENTS_PATH}" if http else None,
        redirect_url=f"{public_url}{REDIRECT_PATH}" if oauth else None,
        unfurl_domain=None if public_url is None else urlsplit(public_url).hostname,
    )


def address_of(rollout_id: str, public_url: str | None) -> str | None:
    """Where a rollout can be linked to from anywhere; None while settings don't say where Sluice is reached."""
    return None if public_url is None else f"{public_url}{ROLLOUTS_PATH}/{rollout_id}"


def _call_over_http(filled: Mapping[str, Any], url: str) -> None:
    settings, features = filled["settings"], filled["features"]
    settings["socket_mode_enabled"] = False
    for section in (settings["event_subscriptions"], settings["interactivity"]):
        section["request_url"] = url
    # Menus that ask the app for their options do so at an address of their own.
    settings["interactivity"]["message_menu_options_url"] = url
    for command in features.get("slash_commands", []):
        command["url"] = url
