"""The way from a rollout to its card in Slack."""

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack import NETWORK_ERRORS
from tools.rollouts.views import RolloutView


async def permalink(client: AsyncWebClient, view: RolloutView) -> str | None:
    """The address of the rollout's card; None while there is none, or while Slack does not say."""
    if view.place is None or view.place.card_ts is None:
        return None
    try:
        answer = await client.chat_getPermalink(channel=view.place.channel, message_ts=view.place.card_ts)
    except (SlackApiError, *NETWORK_ERRORS):
        return None
    return str(answer["permalink"])
