"""Answers that only the person who asked can see, by the first way that is open."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from slack_bolt.context.respond.async_respond import AsyncRespond
from slack_bolt.request.internals import extract_team_id
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import Block
from slack_sdk.web.async_client import AsyncWebClient

from bot.blocks.dialogs import subject_of
from bot.blocks.mrkdwn import bound
from bot.slack import NETWORK_ERRORS, code_of

UNANSWERED = "slack.unanswered"

logger = structlog.get_logger(__name__)


async def reply(
    client: AsyncWebClient, body: Mapping[str, Any], text: str, blocks: Sequence[Block] | None = None
) -> None:
    """Answer a command, a click or a submission; when Slack is away that is logged, for what was asked is done."""
    text, url = bound(text), body.get("response_url")
    if url and await _respond(str(url), text, blocks):
        return
    user, channel = person_of(body), channel_of(body)
    if user:
        await tell(client, user=user, channel=channel, text=text, blocks=blocks)


async def tell(
    client: AsyncWebClient,
    *,
    user: str,
    channel: str | None,
    text: str,
    blocks: Sequence[Block] | None = None,
    thread: str | None = None,
) -> None:
    """Tell a person in a channel or its thread, visible to them alone; by direct message where that can't be done."""
    try:
        if channel is not None:
            try:
                await client.chat_postEphemeral(channel=channel, user=user, thread_ts=thread, text=text, blocks=blocks)
            except SlackApiError:
                await client.chat_postMessage(channel=user, text=text, blocks=blocks)
        else:
            await client.chat_postMessage(channel=user, text=text, blocks=blocks)
    except (SlackApiError, *NETWORK_ERRORS) as error:
        logger.warning(UNANSWERED, user=user, channel=channel, reason=_reason(error))


def person_of(body: Mapping[str, Any]) -> str:
    """Who did it: a Slack user id, empty when nobody did."""
    user = body.get("user")
    if isinstance(user, Mapping):
        return str(user.get("id", ""))
    event = body.get("event")
    return str(body.get("user_id") or (event.get("user", "") if isinstance(event, Mapping) else ""))


def workspace_of(body: Mapping[str, Any]) -> str:
    """Whose app Slack means: the id of the workspace whose token answers; empty where Slack does not say."""
    return extract_team_id(dict(body)) or ""


def channel_of(body: Mapping[str, Any]) -> str | None:
    """Where it was done: for a dialog, where the button was that opened it. None when that is not known."""
    channel, event, view = body.get("channel"), body.get("event"), body.get("view")
    if isinstance(view, Mapping) and view.get("private_metadata"):
        return subject_of(view["private_metadata"])[1]
    if isinstance(channel, Mapping):
        return str(channel["id"])
    if isinstance(event, Mapping):
        return str(event["channel"]) if isinstance(event.get("channel"), str) else None
    return str(body["channel_id"]) if body.get("channel_id") else None


def is_on_home(body: Mapping[str, Any]) -> bool:
    """Whether it was done on somebody's Home tab."""
    view = body.get("view")
    return isinstance(view, Mapping) and view.get("type") == "home"


async def _respond(url: str, text: str, blocks: Sequence[Block] | None) -> bool:
    respond = AsyncRespond(response_url=url)
    try:
        answer = await respond(text=text, blocks=blocks, response_type="ephemeral", replace_original=False)
    except (SlackApiError, *NETWORK_ERRORS):
        return False
    return bool(answer.status_code == 200)


def _reason(error: Exception) -> str:
    return code_of(error) if isinstance(error, SlackApiError) else type(error).__name__
