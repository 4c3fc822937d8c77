"""What every listener does once it has acknowledged: each thing once, and an answer to whatever goes wrong.

Errors are answered here and not left to Bolt: a listener that raises right after its `ack()` makes Bolt forget the
acknowledgement, and Slack tells the person that the app did not respond.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot import texts
from bot.blocks.freezing import refusal
from bot.blocks.mrkdwn import escape
from bot.listeners.deliveries import is_first
from bot.listeners.replies import reply
from bot.services import Services
from tools.errors import SluiceError
from tools.rollouts.freezes import Frozen

ERROR_CHARACTERS = 1500

REFUSED = "slack.refused"
FAILED = "slack.failed"

Work = Callable[[], Awaitable[object]]

logger = structlog.get_logger(__name__)


async def handle_once(services: Services, client: AsyncWebClient, body: Mapping[str, Any], work: Work) -> None:
    """Do the work unless this delivery was handled before; whoever caused it is told what went wrong."""
    # Nothing is awaited between the acknowledgement and here, so nothing that was acknowledged goes uncounted.
    with services.underway.tracked():
        await handle(client, body, lambda: _once(services, body, work))


async def handle(client: AsyncWebClient, body: Mapping[str, Any], work: Work) -> None:
    """Do the work; whoever caused it is told what went wrong."""
    try:
        await work()
    except Exception as error:  # noqa: BLE001 - the outermost edge of a listener: logged with a reference
        await explain(error, client, body)


async def explain(error: Exception, client: AsyncWebClient, body: Mapping[str, Any]) -> None:
    """An expected error is its own sentence; any other gets a reference that the person reads and the log has."""
    if isinstance(error, SluiceError):
        logger.info(REFUSED, error=type(error).__name__, reason=str(error))
        # A freeze is said with who made it and with its end in the reader's time zone.
        said = refusal(error.freeze) if isinstance(error, Frozen) else escape(error, ERROR_CHARACTERS)
        await reply(client, body, said)
        return
    reference = secrets.token_hex(4)
    logger.error(FAILED, reference=reference, exc_info=error)
    await reply(client, body, texts.UNEXPECTED.format(reference=reference))


async def _once(services: Services, body: Mapping[str, Any], work: Work) -> None:
    if await is_first(services, body):
        await work()
