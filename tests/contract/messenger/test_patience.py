"""A listener's client waits as long as Slack asks to, and not for ever."""

from collections.abc import AsyncIterator

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.clients import LONGEST_WAIT, RATE_LIMIT_RETRIES, Patience, open_client
from bot.slack import code_of
from bot.workspace import RunningWorkspace, running_workspace


@pytest.fixture
async def running() -> AsyncIterator[RunningWorkspace]:
    async with running_workspace() as workspace:
        yield workspace


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(running: RunningWorkspace, waits: list[float]) -> AsyncWebClient:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    client = open_client(running.settings.bot_token, running.api_url)
    client.retry_handlers = [Patience(sleep) if isinstance(one, Patience) else one for one in client.retry_handlers]
    return client


async def post(client: AsyncWebClient) -> str:
    return str((await client.chat_postMessage(channel="CRELEASES", text="hello"))["ts"])


async def test_all_digits_of_the_seconds_count(
    client: AsyncWebClient, running: RunningWorkspace, waits: list[float]
) -> None:
    running.workspace.faults.limit("chat.postMessage", times=1, retry_after=27)
    assert await post(client)
    assert waits == [27]


async def test_it_is_asked_again_twice(client: AsyncWebClient, running: RunningWorkspace, waits: list[float]) -> None:
    running.workspace.faults.limit("chat.postMessage", times=9, retry_after=1)
    with pytest.raises(SlackApiError) as caught:
        await post(client)
    assert code_of(caught.value) == "ratelimited"
    assert waits == [1] * RATE_LIMIT_RETRIES


async def test_nobody_is_kept_waiting_for_minutes(
    client: AsyncWebClient, running: RunningWorkspace, waits: list[float]
) -> None:
    wait = int(LONGEST_WAIT.total_seconds()) + 1
    running.workspace.faults.limit("chat.postMessage", times=1, retry_after=wait)
    with pytest.raises(SlackApiError):
        await post(client)
    assert waits == []
