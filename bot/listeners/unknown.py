"""What no other listener knows: a button, a dialog or a shortcut of another release. Whoever used it is told, once."""

import re
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot import texts
from bot.listeners.handling import handle_once
from bot.listeners.replies import reply
from bot.services import Services

ANYTHING = re.compile(".*")


def register(app: AsyncApp, services: Services) -> None:
    """Answer what nobody else answers; after everybody else."""

    @app.action(ANYTHING)
    async def pressed(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle_once(services, client, body, lambda: reply(client, body, texts.UNKNOWN_BUTTON))

    @app.view(ANYTHING)
    async def submitted(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle_once(services, client, body, lambda: reply(client, body, texts.UNKNOWN_DIALOG))

    @app.shortcut(ANYTHING)
    async def chosen(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle_once(services, client, body, lambda: reply(client, body, texts.UNKNOWN_DIALOG))

    @app.options(ANYTHING)
    async def typed(ack: AsyncAck) -> None:
        await ack(options=[])
