"""The command line of an installation that many workspaces have: the manifest, and whose rollout it is."""

from pathlib import Path

import pytest
import yaml
from cryptography.fernet import Fernet

from tests.integration.cli.conftest import Sluice

OAUTH = {
    "SLUICE_SLACK_CLIENT_ID": "1.2",
    "SLUICE_SLACK_CLIENT_SECRET": "s",
    "SLUICE_SLACK_SIGNING_SECRET": "s",
    "SLUICE_SLACK_ALLOWED_WORKSPACES": "TACME0001,TBETA0001",
    "SLUICE_HTTP_PUBLIC_URL": "https://sluice.example.com/",
    "SLUICE_ENCRYPTION_KEY": Fernet.generate_key().decode(),
}


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Variables that serve many workspaces."""
    for name, value in OAUTH.items():
        monkeypatch.setenv(name, value)


def test_the_manifest_is_printed_as_the_settings_want_it(sluice: Sluice, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sluice("manifest").out.startswith("# The Slack app that Sluice runs as.")
    refused = sluice("manifest", "--http")
    assert (refused.status, refused.out) == (2, "")
    assert "SLUICE_HTTP_PUBLIC_URL is not set" in refused.err
    monkeypatch.setenv("SLUICE_HTTP_PUBLIC_URL", "http://sluice.example.com")
    assert "SLUICE_HTTP_PUBLIC_URL can't be used: write the address" in sluice("manifest", "--http").err
    monkeypatch.setenv("SLUICE_HTTP_PUBLIC_URL", "https://sluice.example.com/")
    made = yaml.safe_load(sluice("manifest", "--http").out)
    assert made["settings"]["interactivity"]["request_url"] == "https://sluice.example.com/slack/events"


@pytest.mark.usefixtures("many")
def test_browsers_come_back_to_an_address_of_ours(sluice: Sluice) -> None:
    made = yaml.safe_load(sluice("manifest").out)
    assert made["oauth_config"]["redirect_urls"] == ["https://sluice.example.com/slack/oauth_redirect"]
    assert made["settings"]["socket_mode_enabled"] is True


@pytest.mark.usefixtures("shop")
def test_where_there_is_one_workspace_none_is_named(sluice: Sluice) -> None:
    assert "leave --workspace out" in sluice("plan", "new-checkout", "--workspace", "TACME0001").err


@pytest.mark.usefixtures("many")
def test_a_plan_is_proposed_in_a_workspace_that_is_named(sluice: Sluice, shop: Path) -> None:
    for named in ([], ["--workspace", "TOTHER001"]):
        refused = sluice("plan", "new-checkout", "--propose", *named)
        assert (refused.status, refused.out) == (2, "")
        assert "say with --workspace which one (TACME0001, TBETA0001)" in refused.err
    assert sluice("plan", "new-checkout", "--propose", "--workspace", "TBETA0001").status == 0
    assert '"workspace": "TBETA0001"' in sluice("status", "new-checkout", "--json").out
