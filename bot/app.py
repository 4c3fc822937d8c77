"""The Slack app: the client, the listeners, and one place for what goes wrong."""

import secrets
from typing import Any

import structlog
from pydantic import SecretStr
from slack_bolt.async_app import AsyncApp
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from bot import texts
from bot.blocks.mrkdwn import escape
from bot.listeners import actions, commands, events, modals, planning
from bot.listeners.replies import reply
from bot.services import Services
from tools.errors import SluiceError

CLIENT_TIMEOUT_S = 10
RATE_LIMIT_RETRIES = 2
ERROR_CHARACTERS = 1500

REFUSED = "slack.refused"
FAILED = "slack.failed"

logger = structlog.get_logger(__name__)


def build_app(services: Services) -> AsyncApp:
    """The Bolt app with every listener registered, and the job handlers that they submit to."""
    slack = services.settings.slack
    client = AsyncWebClient(token=_text(slack.bot_token), base_url=slack.api_url, timeout=CLIENT_TIMEOUT_S)
    client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=RATE_LIMIT_RETRIES))
    # Without a signing secret nothing that arrives over HTTP may count as signed.
    app = AsyncApp(name="sluice", client=client, signing_secret=_text(slack.signing_secret) or secrets.token_hex(32))
    for feature in (commands, planning, modals, actions, events):
        feature.register(app, services)
    _handle_errors(app)
    return app


def _handle_errors(app: AsyncApp) -> None:
    @app.error
    async def failed(error: Exception, body: dict[str, Any], client: AsyncWebClient) -> None:
        """An expected error is its own sentence; anything else gets a reference that the log has too."""
        if isinstance(error, SluiceError):
            logger.info(REFUSED, error=type(error).__name__, reason=str(error))
            await reply(client, body, escape(error, ERROR_CHARACTERS))
            return
        reference = secrets.token_hex(4)
        logger.error(FAILED, reference=reference, exc_info=error)
        await reply(client, body, texts.UNEXPECTED.format(reference=reference))


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
