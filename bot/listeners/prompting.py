"""What Slack suggests to ask in the conversation with Sluice: what fits what is rolling out now.

The conversation's tab says when it is opened. An app with `agent_view` names no thread when it sets prompts:
https://docs.slack.dev/reference/methods/assistant.threads.setSuggestedPrompts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot import texts
from bot.blocks.mrkdwn import plain_name
from bot.listeners.handling import handle_once
from bot.listeners.replies import workspace_of
from bot.services import Services
from bot.slack import NETWORK_ERRORS, code_of
from tools.rollouts.phases import Phase
from tools.rollouts.views import RolloutView

MOST_PROMPTS = 4
MOST_TITLE = 60
NOT_SUGGESTED = "slack.prompts_not_set"
URGENT = (
    Phase.ROLLING_BACK,
    Phase.PAUSED,
    Phase.WAITING_PROMOTION,
    Phase.PROGRESSING,
    Phase.PROPOSED,
)
"""Phases that there are questions about, the most urgent first."""

logger = structlog.get_logger(__name__)


def register(app: AsyncApp, services: Services) -> None:
    """Suggest what to ask to whoever opens the conversation."""

    @app.event("app_home_opened", matchers=[_is_conversation])
    async def opened(body: dict[str, Any], event: dict[str, Any], client: AsyncWebClient) -> None:
        mine = services.of(workspace_of(body))
        await handle_once(services, client, body, lambda: suggest(mine, client, str(event["channel"])))


async def suggest(services: Services, client: AsyncWebClient, channel: str) -> None:
    """Set the prompts. When Slack does not take them those of the manifest stay, which is logged."""
    prompts = prompts_for(await services.rollouts.open(), usual=services.settings.environment)
    try:
        await client.assistant_threads_setSuggestedPrompts(
            channel_id=channel, title=texts.PROMPTS_TITLE, prompts=prompts
        )
    except (SlackApiError, *NETWORK_ERRORS) as error:
        reason = code_of(error) if isinstance(error, SlackApiError) else type(error).__name__
        logger.info(NOT_SUGGESTED, channel=channel, reason=reason)


def prompts_for(views: Sequence[RolloutView], *, usual: str) -> list[dict[str, str]]:
    """At most four: about the rollouts that most need somebody, then what can always be asked.

    `usual` is the environment that goes without saying.
    """
    asked = [view for phase in URGENT for view in views if view.phase is phase]
    about = [_question(view, usual) for view in asked[: MOST_PROMPTS - len(texts.PROMPTS_ALWAYS)]]
    return [{"title": one[:MOST_TITLE], "message": one} for one in (*about, *texts.PROMPTS_ALWAYS)]


def _question(view: RolloutView, usual: str) -> str:
    flag = plain_name(view.flag)
    named = (
        flag
        if view.environment == usual
        else texts.PROMPT_ELSEWHERE.format(flag=flag, environment=plain_name(view.environment))
    )
    return texts.PROMPTS[view.phase].format(flag=named)


async def _is_conversation(event: Mapping[str, Any]) -> bool:
    return event.get("tab") == "messages"
