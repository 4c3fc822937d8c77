"""What people write to Sluice: direct messages, and mentions in a channel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import structlog
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import Block
from slack_sdk.web.async_client import AsyncWebClient

from bot import texts
from bot.blocks import parts
from bot.blocks.answers import list_blocks
from bot.blocks.help import help_blocks
from bot.listeners.handling import handle_once
from bot.listeners.replies import UNANSWERED, tell
from bot.services import Services
from bot.slack import NETWORK_ERRORS, code_of

WRITTEN_BY_PEOPLE = (None, "file_share")
"""Subtypes of messages that say something new; the others are changes, deletions and notices."""
MOST_LISTED = 5

Answer = tuple[str, Sequence[Block]]
"""A sentence for notifications, and what is read."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What a person wrote to Sluice, and where: in `thread`, or else at the top of `channel` as the message `ts`."""

    person: str
    channel: str
    ts: str
    thread: str | None
    text: str

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Self:
        """From an event of Slack's."""
        return cls(event["user"], event["channel"], event["ts"], event.get("thread_ts"), event.get("text") or "")


def register(app: AsyncApp, services: Services) -> None:
    """Answer direct messages in their threads, and mentions so that only who wrote them sees it."""

    @app.event("message", matchers=[_is_direct])
    async def written(body: dict[str, Any], event: dict[str, Any], client: AsyncWebClient) -> None:
        async def reply() -> None:
            question = Question.of(event)
            await _post(client, question, await answer(services, question))

        await handle_once(services, client, body, reply)

    @app.event("app_mention", matchers=[_is_by_a_person])
    async def mentioned(body: dict[str, Any], event: dict[str, Any], client: AsyncWebClient) -> None:
        async def reply() -> None:
            question = Question.of(event)
            text, blocks = await answer(services, question)
            await tell(
                client,
                user=question.person,
                channel=question.channel,
                thread=question.thread,
                text=text,
                blocks=blocks,
            )

        await handle_once(services, client, body, reply)


async def answer(services: Services, _question: Question) -> Answer:
    """What Sluice says to what a person wrote, whatever it is: what is rolling out, and what can be typed."""
    views = await services.rollouts.open()
    return texts.HELP_TITLE, parts.message([*list_blocks(views, most=MOST_LISTED), parts.divider(), *help_blocks()])


async def _is_direct(event: dict[str, Any]) -> bool:
    return event.get("channel_type") == "im" and event.get("subtype") in WRITTEN_BY_PEOPLE and _has_author(event)


async def _is_by_a_person(event: dict[str, Any]) -> bool:
    return _has_author(event)


def _has_author(event: Mapping[str, Any]) -> bool:
    """Whether a person wrote it: two bots that answer each other would never end."""
    return bool(event.get("user")) and not event.get("bot_id")


async def _post(client: AsyncWebClient, question: Question, said: Answer) -> None:
    text, blocks = said
    try:
        await client.chat_postMessage(
            channel=question.channel, thread_ts=question.thread or question.ts, text=text, blocks=blocks
        )
    except (SlackApiError, *NETWORK_ERRORS) as error:
        reason = code_of(error) if isinstance(error, SlackApiError) else type(error).__name__
        logger.warning(UNANSWERED, user=question.person, channel=question.channel, reason=reason)
