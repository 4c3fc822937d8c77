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


async def open_dialog(client: AsyncWebClient, body: Mapping[str, Any], view: View) -> str | None:
    """At once, for a trigger lives three seconds; the copy of a delivery finds it used. The id of the opened view."""
    try:
        answer = await client.views_open(trigger_id=body["trigger_id"], view=view)
    except SlackApiError as error:
        if code_of(error) not in TRIGGER_USED:
            logger.warning(DIALOG_NOT_OPENED, reason=code_of(error))
            await reply(client, body, texts.DIALOG_NOT_OPENED)
        return None
    opened: dict[str, Any] = answer["view"]
    return str(opened["id"])


async def replace_dialog(client: AsyncWebClient, view_id: str, view: View) -> None:
    """Show something else in a dialog that is open; when it was closed meanwhile that is logged."""
    try:
        await client.views_update(view_id=view_id, view=view)
    except SlackApiError as error:
        logger.info(DIALOG_NOT_OPENED, reason=code_of(error))
