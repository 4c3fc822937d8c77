"""The evaluation routes on a real port, over an embedded service."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette

from bot.ofrep import ofrep_routes
from tools.clock import SystemClock
from tools.flags.embedded import EmbeddedFlagService
from tools.records.database import Database
from tools.records.migrate import migrate


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[EmbeddedFlagService]:
    database = Database(f"sqlite:///{tmp_path / 'flags.sqlite'}")
    await migrate(database)
    yield EmbeddedFlagService(database, SystemClock())
    await database.close()


@pytest.fixture
async def address(service: EmbeddedFlagService) -> AsyncIterator[str]:
    async with serving(service) as address:
        yield address


@asynccontextmanager
async def serving(service: EmbeddedFlagService, tokens: Sequence[str] = ()) -> AsyncIterator[str]:
    """The base address for OFREP clients of the environment `production`."""
    app = Starlette(routes=ofrep_routes(service, "production", tokens))
    config = uvicorn.Config(app, "127.0.0.1", 0, lifespan="off", log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        _, port = server.servers[0].sockets[0].getsockname()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running
