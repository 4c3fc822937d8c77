"""Asking people directly: who can answer a question is told of it by direct message, and there what became of it.

A message is written down before it is posted and edited once the question is answered, so that nobody acts on an old
one. It leads to the card, whose buttons decide.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import structlog
from slack_sdk.errors import SlackApiError
from sqlalchemy import update

from bot.blocks.mrkdwn import is_mentionable
from bot.blocks.questions import call
from bot.listeners.links import permalink
from bot.services import Services
from bot.slack import code_of
from tools.records.models import ApprovalCall
from tools.rollouts.approvals import Electors, Status
from tools.rollouts.views import QuestionView

MOST_CALLED = 20
"""How many of the approvers are told directly, and how many of the backup; all are shown the card."""

MESSAGE_LOST = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found"})
NOT_EDITED = "calling.not_edited"

logger = structlog.get_logger(__name__)


class Messenger(Protocol):
    """What is used of Slack's client."""

    async def chat_postMessage(self, *, channel: str, **arguments: Any) -> Any: ...  # noqa: N802 - Slack's name

    async def chat_update(self, *, channel: str, ts: str, **arguments: Any) -> Any: ...

    async def chat_getPermalink(self, *, channel: str, message_ts: str) -> Any: ...  # noqa: N802 - Slack's name


def is_told_directly(services: Services, person: str) -> bool:
    """Whether the person is told by direct message of what waits for them."""
    return services.settings.slack.direct_messages and is_mentionable(person)


class Caller:
    """Calls those who can answer a question, by direct message."""

    def __init__(self, services: Services, slack: Messenger) -> None:
        self._services = services
        self._slack = slack

    async def summon(self, approval_id: str) -> Electors:
        """Have everybody asked who can answer now and was not yet; who that is.

        Raises ApprovalNotFound, PeopleUnavailable.
        """
        electors = await self._services.rollouts.electors(approval_id)
        if electors.is_asked:
            people = (*self._told(electors.approvers), *self._told(electors.backup))
            await self._services.rollouts.call(approval_id, people)
        return electors

    async def tell(self, approval_id: str, person: str) -> None:
        """Post the person's message, or have it say how the question stands now. Raises SlackApiError."""
        asked = await self._services.rollouts.question(approval_id)
        async with self._services.database.read() as session:
            posted = await session.get(ApprovalCall, (approval_id, person))
        if posted is None or (posted.ts is None and asked.status is not Status.PENDING):
            return
        text = call(
            asked,
            person,
            backup=_is_backup(asked, posted),
            link=await permalink(self._slack, asked.rollout),
        )
        if posted.ts is None or posted.channel is None:
            answer = await self._slack.chat_postMessage(
                channel=person, text=text, unfurl_links=False, unfurl_media=False
            )
            await self._keep(approval_id, person, str(answer.get("channel") or person), str(answer["ts"]))
        else:
            await self._edit(posted.channel, posted.ts, text)

    def _told(self, people: Iterable[str]) -> list[str]:
        return [person for person in people if is_told_directly(self._services, person)][:MOST_CALLED]

    async def _edit(self, channel: str, ts: str, text: str) -> None:
        try:
            await self._slack.chat_update(channel=channel, ts=ts, text=text)
        except SlackApiError as error:
            if code_of(error) not in MESSAGE_LOST:
                raise
            logger.info(NOT_EDITED, channel=channel, reason=code_of(error))

    async def _keep(self, approval_id: str, person: str, channel: str, ts: str) -> None:
        async with self._services.database.write() as session:
            await session.execute(
                update(ApprovalCall)
                .where(ApprovalCall.approval_id == approval_id, ApprovalCall.person == person)
                .values(channel=channel, ts=ts)
            )


def _is_backup(asked: QuestionView, posted: ApprovalCall) -> bool:
    """Whether the person was called only once the backup was asked too."""
    escalated = asked.approval.escalated_at
    return escalated is not None and posted.called_at >= escalated
