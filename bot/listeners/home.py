"""The Home tab: published anew whenever a person opens it, and at once after what they did there."""

from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.blocks.home import SEE
from bot.homes import publish
from bot.listeners.handling import handle_once
from bot.listeners.replies import workspace_of
from bot.services import Services


def register(app: AsyncApp, services: Services) -> None:
    """Publish the Home tab of whoever looks at it."""

    @app.event("app_home_opened", matchers=[_is_home])
    async def opened(body: dict[str, Any], event: dict[str, Any], client: AsyncWebClient) -> None:
        workspace = workspace_of(body)

        async def show() -> None:
            await publish(services.of(workspace), client, workspace, str(event["user"]), opened=True)

        await handle_once(services, client, body, show)

    @app.action(SEE)
    async def seen(ack: AsyncAck) -> None:
        """Slack has opened the card itself."""
        await ack()


async def _is_home(event: dict[str, Any]) -> bool:
    """Slack tells also of the Messages tab, which opens with every direct message."""
    return event.get("tab") in (None, "home")
