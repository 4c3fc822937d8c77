"""The command line over an Unleash: what is there, what can be taken over, what the doctor says."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.flags.fake_unleash import TOKEN, FakeUnleash
from tests.integration.cli.conftest import Sluice

UNLEASH = """
[flags]
type = "unleash"

[flags.unleash]
url = "https://unleash.example.com"
"""
TWICE: dict[str, Any] = {
    "id": "1",
    "name": "flexibleRollout",
    "disabled": False,
    "title": None,
    "segments": [],
    "constraints": [],
    "variants": [],
    "parameters": {"rollout": "30", "stickiness": "default", "groupId": "search"},
}


@pytest.fixture
def server(shop: Path, monkeypatch: pytest.MonkeyPatch) -> FakeUnleash:
    """An Unleash with a flag that can be taken over, one that can't, and one that has a spec."""
    fake = FakeUnleash()

    async def answer(_transport: object, request: httpx.Request) -> httpx.Response:
        return await fake.handle_async_request(request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    monkeypatch.setenv("SLUICE_UNLEASH_TOKEN", TOKEN)
    (shop / "sluice.toml").write_text((shop / "sluice.toml").read_text() + UNLEASH)
    fake.define("banner", description="A banner\n---\nfor the sale.")
    fake.define("search")
    fake.define("checkout")
    fake.environment("search").update(enabled=True, strategies=[TWICE, TWICE | {"id": "2"}])
    fake.flags["banner"]["dependencies"] = [{"feature": "search"}]
    (shop / "specs").mkdir(exist_ok=True)
    (shop / "specs" / "checkout.md").write_text("---\nflag: checkout\n---\n# Checkout\n")
    return fake


def test_lists_what_is_there_and_what_it_cannot_set(server: FakeUnleash, sluice: Sluice) -> None:
    ran = sluice("flags", "list")
    assert ran.status == 0, ran.err
    rows = {line.split()[0]: line for line in ran.out.splitlines()}
    assert "0 %" in rows["banner"]
    assert "at most 60 %" in ran.out
    assert "search can't be set by Sluice: it has 2 strategies; leave one gradual rollout." in ran.out


def test_import_writes_a_spec_for_each_that_can_be_set(server: FakeUnleash, sluice: Sluice, shop: Path) -> None:
    ran = sluice("flags", "import")
    assert ran.status == 0, ran.err
    assert "wrote specs/banner.md" in ran.out
    assert "has one" in ran.out
    assert "none: it has 2 strategies" in ran.out
    written = (shop / "specs" / "banner.md").read_text()
    assert written == "---\nflag: banner\ndepends_on:\n- search\n---\n# banner\n\nA banner\nfor the sale.\n"
    assert not (shop / "specs" / "search.md").exists()
    assert "has one" in sluice("flags", "import").out
    assert server.asked == []


def test_what_cannot_be_set_is_not_planned(server: FakeUnleash, sluice: Sluice) -> None:
    ran = sluice("plan", "search")
    assert ran.status == 1
    assert "Flag search in production can't be set by Sluice: it has 2 strategies" in ran.err


def test_the_doctor_asks_harmlessly_and_says_the_fix(
    server: FakeUnleash, sluice: Sluice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "unleash answers, services see a change within 15 s" in sluice("doctor").out
    monkeypatch.setenv("SLUICE_UNLEASH_TOKEN", "of-nobody")
    ran = sluice("doctor")
    assert "Unleash does not accept the token: set SLUICE_UNLEASH_TOKEN to an admin token." in ran.out
    assert "of-nobody" not in ran.out + ran.err
    assert server.asked == []


def test_a_setting_that_is_missing_is_named(
    server: FakeUnleash, sluice: Sluice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLUICE_UNLEASH_TOKEN")
    ran = sluice("flags", "list")
    assert ran.status != 0
    assert "set SLUICE_UNLEASH_TOKEN, or flags.unleash.token_file" in ran.err
