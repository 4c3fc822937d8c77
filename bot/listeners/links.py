"""The way from a rollout to its card in Slack."""

from typing import Any, Protocol

from slack_sdk.errors import SlackApiError

from bot.slack import NETWORK_ERRORS
from tools.rollouts.views import RolloutView


class Addresses(Protocol):
    """What is used of Slack's client."""

    async def chat_getPermalink(self, *, channel: str, message_ts: str) -> Any: ...  # noqa: N802 - Slack's name


async def permalink(client: Addresses, view: RolloutView) -> str | None:
    """The address of the rollout's card; None while there is none, or while Slack does not say."""
    if view.place is None or view.place.card_ts is None:
        return None
    try:
        answer = await client.chat_getPermalink(channel=view.place.channel, message_ts=view.place.card_ts)
    except (SlackApiError, *NETWORK_ERRORS):
        return None
    return str(answer["permalink"])
