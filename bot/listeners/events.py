"""Events: a mention is answered with what can be done; every other one is acknowledged, so that Slack sends it once."""

import re
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot import texts
from bot.blocks.help import help_blocks
from bot.listeners.handling import handle_once
from bot.listeners.replies import channel_of, person_of, tell
from bot.services import Services


def register(app: AsyncApp, services: Services) -> None:
    """Answer mentions."""

    @app.event("app_mention")
    async def mentioned(body: dict[str, Any], client: AsyncWebClient) -> None:
        async def help_out() -> None:
            if person := person_of(body):
                await tell(client, user=person, channel=channel_of(body), text=texts.HELP_TITLE, blocks=help_blocks())

        await handle_once(services, client, body, help_out)

    @app.event(re.compile(".*"))
    async def other() -> None:
        """Bolt has acknowledged it."""
