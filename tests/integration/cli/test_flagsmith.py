"""The command line over a Flagsmith: what is there, what can be taken over, what the doctor says."""

from pathlib import Path

import httpx
import pytest

from tests.contract.flags.fake_flagsmith import TOKEN, FakeFlagsmith
from tests.integration.cli.conftest import Sluice

FLAGSMITH = """
[flags]
type = "flagsmith"

[flags.flagsmith]
project = 7
"""


@pytest.fixture
def server(shop: Path, monkeypatch: pytest.MonkeyPatch) -> FakeFlagsmith:
    """A Flagsmith with a flag that can be taken over, and one that can't."""
    fake = FakeFlagsmith()

    async def answer(_transport: object, request: httpx.Request) -> httpx.Response:
        return await fake.handle_async_request(request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    monkeypatch.setenv("SLUICE_FLAGSMITH_TOKEN", TOKEN)
    (shop / "sluice.toml").write_text((shop / "sluice.toml").read_text() + FLAGSMITH)
    fake.define("banner", "new", description="A banner")
    fake.define("search", None)
    return fake


def test_flags_are_listed_and_taken_over(server: FakeFlagsmith, sluice: Sluice, shop: Path) -> None:
    ran = sluice("flags", "list")
    assert ran.status == 0, ran.err
    assert "search can't be set by Sluice: it has no variants" in ran.out
    ran = sluice("flags", "import")
    assert ran.status == 0, ran.err
    assert (shop / "specs" / "banner.md").read_text() == "---\nflag: banner\n---\n# banner\n\nA banner\n"
    assert not (shop / "specs" / "search.md").exists()
    assert server.asked == []


def test_the_doctor_asks_harmlessly_and_says_the_fix(
    server: FakeFlagsmith, sluice: Sluice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "flagsmith answers, services see a change within" in sluice("doctor").out
    server.change_requests.add("Production")
    assert "switch them off for the environment" in sluice("doctor").out
    monkeypatch.setenv("SLUICE_FLAGSMITH_TOKEN", "of-nobody")
    ran = sluice("doctor")
    assert "Flagsmith does not allow it: the API key must be an organisation's" in ran.out
    assert "of-nobody" not in ran.out + ran.err
    assert server.asked == []
