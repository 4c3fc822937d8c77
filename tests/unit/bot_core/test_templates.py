"""What `sluice init` writes is what Slack and Sluice accept."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.doctor import BOT_SCOPES
from bot.init import template, write_files
from bot.settings import Settings, load_settings
from bot.workspace.settings import DEFAULT_EVENTS
from tools.errors import Conflict

COMMENTED = re.compile(r"^# (?=\[|\w+ = |\"\"\"|SELECT|FROM|WHERE|GROUP)", re.MULTILINE)


@pytest.fixture
def manifest() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(template("manifest.yaml"))
    return parsed


class TestManifest:
    """The limits are those of the manifest's reference."""

    def test_it_has_no_part_that_slack_does_not_know(self, manifest: dict[str, Any]) -> None:
        assert set(manifest) == {"_metadata", "display_information", "features", "oauth_config", "settings"}
        assert set(manifest["features"]) == {"app_home", "bot_user", "slash_commands", "agent_view"}
        assert set(manifest["settings"]) == {
            "event_subscriptions",
            "interactivity",
            "org_deploy_enabled",
            "socket_mode_enabled",
            "token_rotation_enabled",
        }

    def test_texts_fit(self, manifest: dict[str, Any]) -> None:
        about, features = manifest["display_information"], manifest["features"]
        assert len(about["name"]) <= 35
        assert len(about["description"]) <= 140
        assert re.fullmatch(r"#[0-9a-f]{6}", about["background_color"])
        assert len(features["bot_user"]["display_name"]) <= 80
        assert len(features["agent_view"]["agent_description"]) <= 300
        assert len(features["agent_view"]["suggested_prompts"]) <= 4
        assert all(set(prompt) == {"title", "message"} for prompt in features["agent_view"]["suggested_prompts"])

    def test_it_registers_the_command(self, manifest: dict[str, Any]) -> None:
        (command,) = manifest["features"]["slash_commands"]
        assert command["command"] == "/rollout"
        assert len(command["description"]) <= 2000
        assert len(command["usage_hint"]) <= 1000
        assert command["should_escape"] is False, "Slack would turn a flag such as cart.io into a link"

    def test_it_asks_for_the_scopes_that_the_doctor_checks(self, manifest: dict[str, Any]) -> None:
        scopes = manifest["oauth_config"]["scopes"]["bot"]
        assert set(scopes) == BOT_SCOPES
        assert len(scopes) == len(set(scopes))

    def test_it_subscribes_to_what_people_do(self, manifest: dict[str, Any]) -> None:
        events = manifest["settings"]["event_subscriptions"]["bot_events"]
        assert {*DEFAULT_EVENTS, "message.groups"} <= set(events)

    def test_it_uses_socket_mode_and_buttons(self, manifest: dict[str, Any]) -> None:
        assert manifest["settings"]["socket_mode_enabled"] is True
        assert manifest["settings"]["interactivity"]["is_enabled"] is True


class TestSettingsFile:
    def test_it_is_accepted_as_it_is(self, tmp_path: Path) -> None:
        write_files(tmp_path, force=False)
        settings = load_settings(tmp_path / "sluice.toml", {})
        assert settings.model_dump() == Settings().model_dump()

    def test_what_it_shows_in_comments_is_accepted_too(self, tmp_path: Path) -> None:
        path = tmp_path / "sluice.toml"
        text = COMMENTED.sub("", template("sluice.toml"))
        text = text.replace('url = "postgresql://sluice:PASSWORD@db.example.com/sluice"\n', "", 1)
        path.write_text(text, encoding="utf-8")
        settings = load_settings(path, {})
        assert list(settings.sources) == ["shop"]
        assert list(settings.metrics) == ["checkout_errors"]

    def test_its_commented_values_are_the_defaults(self) -> None:
        shown = tomllib.loads(
            COMMENTED.sub("", template("sluice.toml")).replace(
                'url = "postgresql://sluice:PASSWORD@db.example.com/sluice"\n', "", 1
            )
        )
        defaults = Settings()
        for section in ("http", "planning", "scheduler", "policy", "flags", "specs", "jobs", "ofrep"):
            again = Settings.model_validate({section: shown[section]})
            assert getattr(again, section) == getattr(defaults, section), section


def test_nothing_is_overwritten_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "sluice.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(Conflict, match="--force"):
        write_files(tmp_path, force=False)
    assert (tmp_path / "sluice.toml").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "manifest.yaml").exists()
    write_files(tmp_path, force=True)
    assert "Settings of Sluice" in (tmp_path / "sluice.toml").read_text(encoding="utf-8")
