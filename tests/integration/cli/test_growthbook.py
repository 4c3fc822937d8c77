"""The command line over a GrowthBook: what is there, what can be taken over, what the doctor says."""

from pathlib import Path

import httpx
import pytest

from tests.contract.flags.fake_growthbook import TOKEN, FakeGrowthBook
from tests.integration.cli.conftest import Sluice

GROWTHBOOK = """
[flags]
type = "growthbook"
"""


@pytest.fixture
def server(shop: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGrowthBook:
    """A GrowthBook with a feature that can be taken over, and one that can't."""
    fake = FakeGrowthBook()

    async def answer(_transport: object, request: httpx.Request) -> httpx.Response:
        return await fake.handle_async_request(request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    monkeypatch.setenv("SLUICE_GROWTHBOOK_TOKEN", TOKEN)
    (shop / "sluice.toml").write_text((shop / "sluice.toml").read_text() + GROWTHBOOK)
    fake.define("banner", "false", "boolean", "A banner")
    fake.define("search", "old")
    fake.live["banner"]["prerequisites"] = ["search"]
    return fake


def test_flags_are_listed_and_taken_over(server: FakeGrowthBook, sluice: Sluice, shop: Path) -> None:
    ran = sluice("flags", "list")
    assert ran.status == 0, ran.err
    assert "search can't be set by Sluice: nothing says which value is the new one" in ran.out
    ran = sluice("flags", "import")
    assert ran.status == 0, ran.err
    written = (shop / "specs" / "banner.md").read_text()
    assert written == "---\nflag: banner\ndepends_on:\n- search\n---\n# banner\n\nA banner\n"
    assert not (shop / "specs" / "search.md").exists()
    assert server.asked == []


def test_the_doctor_asks_harmlessly_and_says_the_fix(
    server: FakeGrowthBook, sluice: Sluice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "growthbook answers, services see a change within 60 s" in sluice("doctor").out
    monkeypatch.setenv("SLUICE_GROWTHBOOK_TOKEN", "of-nobody")
    ran = sluice("doctor")
    assert "GrowthBook does not accept the token: set SLUICE_GROWTHBOOK_TOKEN" in ran.out
    assert "of-nobody" not in ran.out + ran.err
    assert server.asked == []
