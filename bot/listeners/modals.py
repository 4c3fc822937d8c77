"""The reasons that people give in modals."""

from collections.abc import Awaitable, Callable
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot import texts
from bot.blocks import dialogs
from bot.listeners.handling import handle_once
from bot.listeners.replies import person_of, workspace_of
from bot.listeners.sending import whole
from bot.services import Services
from tools.rollouts.service import RolloutService

Do = Callable[[RolloutService, str, str, str], Awaitable[object]]
"""What a submission does: takes the person's door, the id it is about, who submitted it, and the reason."""


def register(app: AsyncApp, services: Services) -> None:
    """Take the reason for a rejection or a pause."""
    _takes(app, services, dialogs.REJECT, lambda mine, id_, who, why: mine.reject(id_, actor=who, reason=why))
    _takes(app, services, dialogs.PAUSE, lambda mine, id_, who, why: mine.pause(id_, actor=who, reason=why))


def _takes(app: AsyncApp, services: Services, callback_id: str, do: Do) -> None:
    @app.view(callback_id, matchers=[whole(dialogs.ASKS)])
    async def submitted(ack: AsyncAck, body: dict[str, Any], view: dict[str, Any], client: AsyncWebClient) -> None:
        reason = dialogs.reason_in(view)
        if not reason:
            await ack(response_action="errors", errors={dialogs.REASON: texts.REASON_MISSING})
            return
        await ack()

        async def take() -> None:
            about, _channel = dialogs.subject_of(view["private_metadata"])
            await do(services.rollouts.of(workspace_of(body)), about, person_of(body), reason)

        await handle_once(services, client, body, take)
