"""The package `emulate` at work: Slack's Web API as somebody else understands it."""

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from tests.conftest import NEEDS_SERVERS

EMULATE = "SLUICE_TEST_EMULATE"
"""Names the folder in whose node_modules the package is."""
TOKEN, ONLOOKER = "xoxb-of-the-app", "xoxb-of-an-onlooker"
PEOPLE = ("sluice", "mira", "jonas", "aiko")
STARTS_IN_S = 30


@dataclass(frozen=True)
class Emulated:
    """A workspace in which the app has the scopes of its manifest and no others."""

    client: AsyncWebClient
    onlooker: AsyncWebClient
    """Who may look at everything."""
    channel: str
    people: dict[str, str]
    """Ids by name."""


def package() -> Path:
    """The package's module; skips when it is not installed and not demanded."""
    found = Path(os.environ.get(EMULATE, "")) / "node_modules" / "emulate" / "dist" / "api.js"
    if found.is_file() and shutil.which("node"):
        return found
    missing = f"no other Slack emulator: {EMULATE} is not set"
    if os.environ.get(NEEDS_SERVERS):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture
def _asked_in_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator reads no query string; Slack does too, and slack_sdk puts there what it asks for."""
    asked = AsyncWebClient.api_call

    async def with_body(self: AsyncWebClient, method: str, **arguments: Any) -> AsyncSlackResponse:
        query = arguments.pop("params", None)
        if query is not None:
            given = {name: value for name, value in query.items() if value is not None}
            arguments |= {"http_verb": "POST", "json": given}
        return await asked(self, method, **arguments)

    monkeypatch.setattr(AsyncWebClient, "api_call", with_body)


@pytest.fixture
async def emulated(_asked_in_a_body: None) -> AsyncIterator[Emulated]:
    node = await _started(package())
    assert node.stdout is not None
    try:
        async with asyncio.timeout(STARTS_IN_S):
            url = (await node.stdout.readline()).decode().strip()
        client, onlooker = (AsyncWebClient(token=token, base_url=f"{url}/api/") for token in (TOKEN, ONLOOKER))
        rooms, people = await client.conversations_list(), await client.users_list()
        [channel] = [str(room["id"]) for room in rooms["channels"] if room["name"] == "releases"]
        yield Emulated(client, onlooker, channel, {str(one["name"]): str(one["id"]) for one in people["members"]})
    finally:
        node.kill()
        await node.wait()


async def _started(module: Path) -> asyncio.subprocess.Process:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return await asyncio.create_subprocess_exec(
        "node",
        str(Path(__file__).with_name("emulator.mjs")),
        str(module),
        str(port),
        json.dumps(_seed(_scopes())),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


def _seed(scopes: Sequence[str]) -> dict[str, object]:
    return {
        "users": [{"name": name} for name in PEOPLE],
        "channels": [{"name": "releases"}],
        "tokens": [
            {"token": TOKEN, "type": "bot", "user": PEOPLE[0], "scopes": list(scopes)},
            {"token": ONLOOKER, "type": "bot", "user": PEOPLE[0], "scopes": ["files:read"]},
        ],
        "strict_scopes": True,
    }


def _scopes() -> Sequence[str]:
    manifest = yaml.safe_load(files("bot").joinpath("templates/manifest.yaml").read_text(encoding="utf-8"))
    scopes: Sequence[str] = manifest["oauth_config"]["scopes"]["bot"]
    return scopes
