"""Opening a dialog."""

from collections.abc import Mapping
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.models.views import View
from slack_sdk.web.async_client import AsyncWebClient

from bot import texts
from bot.listeners.replies import reply
from bot.slack import code_of

TRIGGER_USED = frozenset({"exchanged_trigger_id", "trigger_exchanged"})
DIALOG_NOT_OPENED = "slack.dialog_not_opened"

logger = structlog.get_logger(__name__)


async def open_dialog(client: AsyncWebClient, body: Mapping[str, Any], view: View) -> None:
    """At once, for a trigger lives three seconds; the copy of a delivery finds it used."""
    try:
        await client.views_open(trigger_id=body["trigger_id"], view=view)
    except SlackApiError as error:
        if code_of(error) not in TRIGGER_USED:
            logger.warning(DIALOG_NOT_OPENED, reason=code_of(error))
            await reply(client, body, texts.DIALOG_NOT_OPENED)
