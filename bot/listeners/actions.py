"""The card's buttons. A button carries an id and nothing else; what may be done with it is decided here and now."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.models.views import View
from slack_sdk.web.async_client import AsyncWebClient

from bot import texts
from bot.blocks import card, dialogs
from bot.listeners.deliveries import is_first
from bot.listeners.finding import freshen
from bot.listeners.handling import handle, handle_once
from bot.listeners.opening import open_dialog
from bot.listeners.replies import channel_of, person_of, reply
from bot.services import Services
from tools.errors import Conflict, NotAllowed, NotFound, SluiceError
from tools.plans.policy import could_approve

Do = Callable[[str, str], Awaitable[object]]
"""What a button does: takes the id it carries, and who pressed it."""
Ask = Callable[[str, str, str | None], View]
"""The dialog a button opens: takes the id, who pressed it, and the channel."""


def register(app: AsyncApp, services: Services) -> None:
    """Answer every button."""
    rollouts = services.rollouts

    _does(app, services, card.APPROVE, lambda id_, who: rollouts.approve(id_, actor=who))
    _does(app, services, card.START, lambda id_, who: rollouts.start(id_, actor=who))
    _does(app, services, card.PROMOTE, lambda id_, who: rollouts.promote(id_, actor=who))
    _does(app, services, card.RESUME, lambda id_, who: rollouts.resume(id_, actor=who))
    _does(
        app,
        services,
        card.ROLL_BACK,
        lambda id_, who: rollouts.roll_back(id_, actor=who, reason=texts.FROM_THE_CARD),
    )

    def reject(approval_id: str, who: str, channel: str | None) -> View:
        # Whether it is them is only known to the database and to Slack: looked at once the dialog is open.
        if not could_approve(services.settings.policy, who):
            raise NotAllowed(texts.NO_APPROVER)
        return dialogs.reject_dialog(approval_id, channel)

    _asks(app, services, card.REJECT, reject)
    _asks(app, services, card.PAUSE, lambda id_, _who, channel: dialogs.pause_dialog(id_, channel))

    @app.action(re.compile(".*"))
    async def unknown(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await reply(client, body, texts.UNKNOWN_BUTTON)


def _does(app: AsyncApp, services: Services, action_id: str, do: Do) -> None:
    @app.action(action_id)
    async def pressed(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()

        async def act() -> None:
            try:
                await do(str(action.get("value", "")), person_of(body))
            except (Conflict, NotFound):
                # What the person saw is not how it is.
                await _freshen(services, body)
                raise

        await handle_once(services, client, body, act)


def _asks(app: AsyncApp, services: Services, action_id: str, ask: Ask) -> None:
    @app.action(action_id)
    async def pressed(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()

        async def ask_back() -> None:
            try:
                view = ask(str(action.get("value", "")), person_of(body), channel_of(body))
            except SluiceError:
                if await is_first(services, body):
                    raise
                return
            await open_dialog(client, body, view)

        await handle(client, body, ask_back)


async def _freshen(services: Services, body: dict[str, Any]) -> None:
    channel, container = channel_of(body), body.get("container", {})
    if channel is not None and container.get("message_ts"):
        await freshen(services, channel, str(container["message_ts"]))
