"""The Home tab: published anew whenever a person opens it."""

import asyncio
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.blocks.home import MOST_SHOWN, home_view
from bot.listeners.handling import handle_once
from bot.listeners.links import permalink
from bot.listeners.replies import workspace_of
from bot.services import Services
from bot.slack import NETWORK_ERRORS, code_of

HOME_NOT_PUBLISHED = "slack.home_not_published"

logger = structlog.get_logger(__name__)


def register(app: AsyncApp, services: Services) -> None:
    """Publish the Home tab of whoever looks at it."""

    @app.event("app_home_opened", matchers=[_is_home])
    async def opened(body: dict[str, Any], event: dict[str, Any], client: AsyncWebClient) -> None:
        await handle_once(
            services, client, body, lambda: publish(services.of(workspace_of(body)), client, str(event["user"]))
        )


async def publish(services: Services, client: AsyncWebClient, person: str) -> None:
    """Show a person what is open now. When Slack does not take it the tab stays as it was, which is logged."""
    views = await services.rollouts.open()
    shown = views[:MOST_SHOWN]
    links = await asyncio.gather(*(permalink(client, view) for view in shown))
    view = home_view(views, {one.id: link for one, link in zip(shown, links, strict=True)}, at=services.clock.now())
    try:
        await client.views_publish(user_id=person, view=view)
    except (SlackApiError, *NETWORK_ERRORS) as error:
        reason = code_of(error) if isinstance(error, SlackApiError) else type(error).__name__
        logger.warning(HOME_NOT_PUBLISHED, user=person, reason=reason)


async def _is_home(event: dict[str, Any]) -> bool:
    """Slack tells also of the Messages tab, which opens with every direct message."""
    return event.get("tab") in (None, "home")
