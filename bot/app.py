"""The Slack app: the client and the listeners."""

import secrets
from typing import Any

from pydantic import SecretStr
from slack_bolt.async_app import AsyncApp
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from bot.listeners import (
    actions,
    answering,
    commands,
    conversing,
    events,
    home,
    messages,
    modals,
    planning,
    starting,
)
from bot.listeners.handling import explain
from bot.services import Services

CLIENT_TIMEOUT_S = 10
RATE_LIMIT_RETRIES = 2


def build_app(services: Services) -> AsyncApp:
    """The Bolt app with every listener registered, and the job handlers that they submit to."""
    slack = services.settings.slack
    client = AsyncWebClient(token=_text(slack.bot_token), base_url=slack.api_url, timeout=CLIENT_TIMEOUT_S)
    client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=RATE_LIMIT_RETRIES))
    # Without a signing secret nothing that arrives over HTTP may count as signed.
    app = AsyncApp(name="sluice", client=client, signing_secret=_text(slack.signing_secret) or secrets.token_hex(32))
    for feature in (commands, planning, starting, conversing, modals, answering, actions, messages, home, events):
        feature.register(app, services)
    _handle_errors(app)
    return app


def _handle_errors(app: AsyncApp) -> None:
    @app.error
    async def failed(error: Exception, body: dict[str, Any], client: AsyncWebClient) -> None:
        """What goes wrong before a listener has acknowledged."""
        await explain(error, client, body)


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
