"""The command line over a LaunchDarkly: what is there, what can be taken over, what the doctor says."""

from pathlib import Path

import httpx
import pytest

from tests.contract.flags.fake_launchdarkly import TOKEN, FakeLaunchDarkly
from tests.integration.cli.conftest import Sluice

LAUNCHDARKLY = """
[flags]
type = "launchdarkly"
"""


@pytest.fixture
def server(shop: Path, monkeypatch: pytest.MonkeyPatch) -> FakeLaunchDarkly:
    """A LaunchDarkly with a flag that can be taken over, and one that can't."""
    fake = FakeLaunchDarkly()

    async def answer(_transport: object, request: httpx.Request) -> httpx.Response:
        return await fake.handle_async_request(request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    monkeypatch.setenv("SLUICE_LAUNCHDARKLY_TOKEN", TOKEN)
    (shop / "sluice.toml").write_text((shop / "sluice.toml").read_text() + LAUNCHDARKLY)
    fake.define("banner", False, True, description="A banner")
    fake.define("search", False, True)
    fake.change("search", on=True, targets=[{"values": ["mira"], "variation": 1}])
    fake.change("banner", prerequisites=[{"key": "search", "variation": 1}])
    return fake


def test_flags_are_listed_and_taken_over(server: FakeLaunchDarkly, sluice: Sluice, shop: Path) -> None:
    ran = sluice("flags", "list")
    assert ran.status == 0, ran.err
    assert "search can't be set by Sluice: it has individual targets" in ran.out
    ran = sluice("flags", "import")
    assert ran.status == 0, ran.err
    written = (shop / "specs" / "banner.md").read_text()
    assert written == "---\nflag: banner\ndepends_on:\n- search\n---\n# banner\n\nA banner\n"
    assert not (shop / "specs" / "search.md").exists()
    assert server.asked == []


def test_the_doctor_asks_harmlessly_and_says_the_fix(
    server: FakeLaunchDarkly, sluice: Sluice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "launchdarkly answers, services see a change within 5 s" in sluice("doctor").out
    server.approvals.add("production")
    assert "let the role of Sluice's token bypass required approvals" in sluice("doctor").out
    monkeypatch.setenv("SLUICE_LAUNCHDARKLY_TOKEN", "of-nobody")
    ran = sluice("doctor")
    assert "LaunchDarkly does not accept the token: set SLUICE_LAUNCHDARKLY_TOKEN" in ran.out
    assert "of-nobody" not in ran.out + ran.err
    assert server.asked == []
