"""A served workspace, and the unmodified Slack clients pointed at it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.workspace import RunningWorkspace, running_workspace


async def until(condition: Callable[[], object], seconds: float = 3.0) -> None:
    """Wait until `condition()` holds; fail when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was awaited did not happen"
        await asyncio.sleep(0.005)


def app_for(running: RunningWorkspace) -> AsyncApp:
    """A Bolt app of the workspace, without listeners."""
    client = AsyncWebClient(token=running.settings.bot_token, base_url=running.api_url)
    return AsyncApp(client=client, signing_secret=running.settings.signing_secret)


async def connect(app: AsyncApp, running: RunningWorkspace) -> AsyncSocketModeHandler:
    """Connect an app over Socket Mode; the caller closes the handler."""
    before = len(running.sockets.connections)
    handler = AsyncSocketModeHandler(app, running.settings.app_token, ping_interval=0.2)
    await handler.connect_async()
    await until(lambda: len(running.sockets.connections) == before + 1)
    return handler


@pytest.fixture
async def running() -> AsyncIterator[RunningWorkspace]:
    async with running_workspace(ack_seconds=0.5, retry_delays=(0.0, 0.0)) as served:
        yield served


@pytest.fixture
def client(running: RunningWorkspace) -> AsyncWebClient:
    return AsyncWebClient(token=running.settings.bot_token, base_url=running.api_url)


@pytest.fixture
async def app(running: RunningWorkspace) -> AsyncIterator[AsyncApp]:
    """A Bolt app, connected over Socket Mode."""
    app = app_for(running)
    handler = await connect(app, running)
    yield app
    await handler.close_async()
