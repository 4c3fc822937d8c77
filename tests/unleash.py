"""A real Unleash, where one is named: `make test-real` starts and names it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.conftest import NEEDS_SERVERS

UNLEASH_URL = "SLUICE_TEST_UNLEASH_URL"


@dataclass(frozen=True)
class UnleashServer:
    """The Unleash that `.ci/unleash/server` starts, and its tokens."""

    url: str
    client: httpx.AsyncClient
    admin_token: str = "*:*.of-an-administrator"
    service_token: str = "default:production.of-a-service"

    async def define(self, flag: str) -> None:
        """Make a flag without a strategy; one that is there stays."""
        answer = await self.client.post("features", json={"name": flag, "type": "release"})
        if answer.status_code == httpx.codes.CONFLICT:
            await self.ask("POST", "revive", {"features": [flag]})
        else:
            answer.raise_for_status()

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """A request below the project's path, by other hands than Sluice's."""
        answer = await self.client.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def empty(self) -> None:
        """Archive every flag, without its strategies.

        They are not deleted: that ends this release's process when it is still writing down that they were archived.
        """
        names = [feature["name"] for feature in (await self.ask("GET", "features"))["features"]]
        for name in names:
            feature = await self.ask("GET", f"features/{name}")
            for parent in feature["dependencies"]:
                await self.ask("DELETE", f"features/{name}/dependencies/{parent['feature']}")
            for room in feature["environments"]:
                for strategy in room["strategies"]:
                    await self.ask("DELETE", f"features/{name}/environments/{room['name']}/strategies/{strategy['id']}")
        if names:
            await self.ask("POST", "archive", {"features": names})


@asynccontextmanager
async def named_unleash() -> AsyncIterator[UnleashServer]:
    """An Unleash without flags; skips when none is named and none is demanded."""
    url = os.environ.get(UNLEASH_URL)
    if not url:
        missing = f"no Unleash: {UNLEASH_URL} is not set (make test-real starts one)"
        if os.environ.get(NEEDS_SERVERS):
            pytest.fail(missing)
        pytest.skip(missing)
    headers = {"Authorization": UnleashServer.admin_token}
    async with httpx.AsyncClient(base_url=f"{url}/api/admin/projects/default/", headers=headers) as client:
        server = UnleashServer(url, client)
        await server.empty()
        yield server
