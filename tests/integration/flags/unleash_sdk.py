"""A service that asks Unleash for its flag with UnleashClient, unmodified."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache

from tests.unleash import UnleashServer

REFRESH_S = 1
SEEN_WITHIN_S = 20


@dataclass(frozen=True)
class Sdk:
    """The client, and whom it serves a flag."""

    client: UnleashClient
    flag: str

    def exposed(self, keys: int, **properties: str) -> set[str]:
        """The users of so many that are served the flag."""
        return {
            user for user in self._users(keys) if self.client.is_enabled(self.flag, self._context(user, properties))
        }

    def variants(self, keys: int) -> set[str]:
        """The variants that so many users are served."""
        return {str(self.client.get_variant(self.flag, {"userId": user})["name"]) for user in self._users(keys)}

    async def sees(self, condition: Callable[[], bool]) -> None:
        """Return once the client has a state that meets the condition."""
        async with asyncio.timeout(SEEN_WITHIN_S):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.05)

    @staticmethod
    def _users(keys: int) -> list[str]:
        return [f"user-{number}" for number in range(keys)]

    @staticmethod
    def _context(user: str, properties: dict[str, str]) -> dict[str, object]:
        return {"userId": user, "properties": properties}


@asynccontextmanager
async def running_sdk(server: UnleashServer, flag: str, folder: Path) -> AsyncIterator[Sdk]:
    """The client, which looks every second what has changed."""
    client = UnleashClient(
        url=f"{server.url}/api",
        app_name="shop",
        custom_headers={"Authorization": server.service_token},
        refresh_interval=REFRESH_S,
        disable_metrics=True,
        disable_registration=True,
        cache=FileCache("shop", directory=str(folder)),
    )
    await asyncio.to_thread(partial(client.initialize_client))
    try:
        yield Sdk(client, flag)
    finally:
        await asyncio.to_thread(client.destroy)
