"""Links to rollouts that people share: a small card below the message."""

import re
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.blocks.unfurls import unfurl_blocks
from bot.listeners.handling import handle_once
from bot.listeners.replies import workspace_of
from bot.manifest import ROLLOUTS_PATH
from bot.services import Services
from bot.slack import NETWORK_ERRORS, code_of
from tools.errors import NotFound

MOST_LINKS = 5
NOT_UNFURLED = "slack.not_unfurled"

logger = structlog.get_logger(__name__)


def register(app: AsyncApp, services: Services) -> None:
    """Show what a link leads to."""

    @app.event("link_shared")
    async def shared(body: dict[str, Any], event: dict[str, Any], client: AsyncWebClient) -> None:
        await handle_once(services, client, body, lambda: _unfurl(services, client, body, event))


def rollout_in(url: str, public_url: str | None) -> str | None:
    """The id of the rollout that the address is of; None for any other address."""
    if public_url is None:
        return None
    found = re.fullmatch(re.escape(public_url) + re.escape(ROLLOUTS_PATH) + r"/([0-9a-f]{32})/?(?:[?#].*)?", url)
    return None if found is None else found[1]


async def _unfurl(services: Services, client: AsyncWebClient, body: dict[str, Any], event: dict[str, Any]) -> None:
    """Show the workspace's own rollouts, and nothing where people of other organisations read too."""
    if body.get("is_ext_shared_channel"):
        return
    mine, unfurls = services.of(workspace_of(body)), dict[str, Any]()
    for link in event.get("links", [])[:MOST_LINKS]:
        url = str(link.get("url", ""))
        rollout_id = rollout_in(url, services.settings.http.public_url)
        if rollout_id is None:
            continue
        try:
            view = await mine.rollouts.get(rollout_id)
        except NotFound:
            continue
        links = await services.addresses.of(client, [view])
        unfurls[url] = {"blocks": [block.to_dict() for block in unfurl_blocks(view, links[view.id])]}
    if unfurls:
        await _show(client, event, unfurls)


async def _show(client: AsyncWebClient, event: dict[str, Any], unfurls: dict[str, Any]) -> None:
    unfurl_id, source = event.get("unfurl_id"), event.get("source")
    try:
        if unfurl_id and source:
            # What is still being written has no place yet.
            await client.chat_unfurl(unfurl_id=str(unfurl_id), source=str(source), unfurls=unfurls)
        else:
            await client.chat_unfurl(channel=str(event["channel"]), ts=str(event["message_ts"]), unfurls=unfurls)
    except (SlackApiError, *NETWORK_ERRORS) as error:
        # The link is there and works: nobody has to be bothered.
        reason = code_of(error) if isinstance(error, SlackApiError) else type(error).__name__
        logger.warning(NOT_UNFURLED, channel=event.get("channel"), reason=reason)
