"""Dialogs are taken as they are shown: one that was sent with anything else is nobody's, and is answered so."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from bot.blocks import sent
from bot.blocks.sent import Asks

NOT_WHOLE = "slack.dialog_not_whole"

logger = structlog.get_logger(__name__)


def whole(asks: Asks) -> Callable[[dict[str, Any]], Awaitable[bool]]:
    """A matcher for Bolt: whether the dialog was sent with all that it asks for. What it lacks is logged."""

    async def is_whole(view: dict[str, Any]) -> bool:
        found = sent.faults(view, asks)
        if found:
            logger.warning(NOT_WHOLE, dialog=view.get("callback_id"), faults=found)
        return not found

    return is_whole
