"""A real Unleash, where one is named: `make test-real` starts and names it."""

import asyncio
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from tests.conftest import NEEDS_SERVERS, POSTGRES_URL

UNLEASH_URL = "SLUICE_TEST_UNLEASH_URL"
SERVER = str(Path(__file__).parent.parent / ".ci" / "unleash" / "server")


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


class OwnUnleash:
    """An Unleash of a test's own, which it may kill and start again: on the same port, with what it had stored."""

    def __init__(self, folder: Path, database: str) -> None:
        self._folder = folder
        self._database = database
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self._port = str(one.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start it; return when it answers."""
        await self._run("start", str(self._folder), self._database)

    def kill(self) -> None:
        """End it as a machine's failure would."""
        os.kill(int((self._folder / "pid").read_text()), signal.SIGKILL)

    async def stop(self) -> None:
        """End it in peace."""
        await self._run("stop", str(self._folder))

    async def _run(self, *arguments: str) -> None:
        environment = os.environ | {"HTTP_PORT": self._port}
        running = await asyncio.create_subprocess_exec(SERVER, *arguments, env=environment, stdout=DEVNULL, stderr=PIPE)
        said = (await running.communicate())[1]
        assert running.returncode == 0, said.decode()


@asynccontextmanager
async def own_unleash(folder: Path) -> AsyncIterator[OwnUnleash]:
    """One with a database of its own, beside the named one; skips as that does."""
    _named(UNLEASH_URL, "Unleash")
    postgres = make_url(_named(POSTGRES_URL, "PostgreSQL"))
    database = f"unleash_{uuid4().hex}"
    with psycopg.connect(postgres.render_as_string(False), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        server = OwnUnleash(folder / "unleash", postgres.set(database=database).render_as_string(False))
        await server.start()
        try:
            yield server
        finally:
            await server.stop()
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))


@asynccontextmanager
async def talking_to(url: str) -> AsyncIterator[UnleashServer]:
    """An Unleash at an address, without flags."""
    headers = {"Authorization": UnleashServer.admin_token}
    async with httpx.AsyncClient(base_url=f"{url}/api/admin/projects/default/", headers=headers) as client:
        server = UnleashServer(url, client)
        await server.empty()
        yield server


@asynccontextmanager
async def named_unleash() -> AsyncIterator[UnleashServer]:
    """The Unleash that is named, without flags; skips when none is and none is demanded."""
    async with talking_to(_named(UNLEASH_URL, "Unleash")) as server:
        yield server


def _named(variable: str, what: str) -> str:
    address = os.environ.get(variable)
    if address:
        return address
    missing = f"no {what}: {variable} is not set (make test-real starts one)"
    if os.environ.get(NEEDS_SERVERS):
        pytest.fail(missing)
    pytest.skip(missing)
