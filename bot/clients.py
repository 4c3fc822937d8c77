"""Slack's client for each workspace, with that workspace's token."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol, TypeVar

from pydantic import SecretStr
from slack_sdk.http_retry.async_handler import AsyncRetryHandler
from slack_sdk.http_retry.request import HttpRequest
from slack_sdk.http_retry.response import HttpResponse
from slack_sdk.http_retry.state import RetryState
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack import TOO_MANY_REQUESTS, asked_to_wait
from tools.errors import SluiceError
from tools.observing import Fact, noted

TIMEOUT_S = 10
RATE_LIMIT_RETRIES = 2
LONGEST_WAIT = timedelta(seconds=30)
"""How long somebody waits for an answer because Slack asked to; for longer, they are told that it failed."""

ClientT_co = TypeVar("ClientT_co", covariant=True)


class NotInstalled(SluiceError):
    """The app is not installed in the workspace, or not any more."""


class Clients(Protocol[ClientT_co]):
    """The client that speaks for the app in a workspace."""

    async def of(self, workspace: str) -> ClientT_co:
        """The workspace's client. Raises NotInstalled."""
        ...


class OneClient(Clients[ClientT_co]):
    """The same client for every workspace: of an app whose one token the settings have."""

    def __init__(self, client: ClientT_co) -> None:
        self._client = client

    async def of(self, workspace: str) -> ClientT_co:
        """The client."""
        return self._client


class OneToken(Clients[AsyncWebClient]):
    """The client of the settings' token, for every workspace: there is one."""

    def __init__(self, token: SecretStr | None, api_url: str) -> None:
        self._client = None if token is None else open_client(token.get_secret_value(), api_url)

    async def of(self, workspace: str) -> AsyncWebClient:
        """Raises NotInstalled while there is no token."""
        if self._client is None:
            raise NotInstalled("SLUICE_SLACK_BOT_TOKEN is not set.")
        return self._client


def without_retries(client: AsyncWebClient, *, timeout: int) -> AsyncWebClient:
    """The same client for whoever decides about waiting; `timeout` is in seconds."""
    return AsyncWebClient(
        token=client.token, base_url=client.base_url, timeout=timeout, retry_handlers=[], proxy=client.proxy
    )


class Patience(AsyncRetryHandler):
    """Waits for as long as Slack asks to when it had too many requests, and asks again.

    slack_sdk's own handler heeds the first digit of the seconds alone.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        super().__init__(max_retry_count=RATE_LIMIT_RETRIES)
        self._sleep = sleep

    async def _can_retry_async(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        if response is None or response.status_code != TOO_MANY_REQUESTS:
            return False
        return asked_to_wait(response.headers) <= LONGEST_WAIT

    async def prepare_for_next_attempt_async(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> None:
        """Wait."""
        assert response is not None, "what was not answered is not retried"
        noted(Fact.SLACK_LIMIT, asked_to_wait(response.headers).total_seconds())
        state.next_attempt_requested = True
        await self._sleep(asked_to_wait(response.headers).total_seconds())
        state.increment_current_attempt()


def open_client(token: str | None, api_url: str) -> AsyncWebClient:
    """A client that waits a little where Slack asks to."""
    client = AsyncWebClient(token=token, base_url=api_url, timeout=TIMEOUT_S)
    client.retry_handlers.append(Patience())
    return client
