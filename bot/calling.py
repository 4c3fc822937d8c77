"""Asking people directly: who can answer a question is told of it by direct message, and there what became of it.

A message is written down before it is posted and edited once the question is answered, so that nobody acts on an old
one. It leads to the card, whose buttons decide. Who wants no such messages gets none, and what comes in somebody's
quiet hours is asked in one message when these are over.
"""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import structlog
from slack_sdk.errors import SlackApiError
from sqlalchemy import select, update

from bot import preferences
from bot.blocks.mrkdwn import bound, is_mentionable
from bot.blocks.questions import call
from bot.listeners.links import permalink
from bot.quiet import Held
from bot.services import Services
from bot.slack import code_of
from tools.records.models import Approval, ApprovalCall, Rollout
from tools.rollouts.approvals import Electors, Status
from tools.rollouts.views import QuestionView

MOST_CALLED = 20
"""How many of the approvers are told directly, and how many of the backup; all are shown the card."""
MOST_TOGETHER = 10
"""How many questions one message asks."""

MESSAGE_LOST = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found"})
NOT_EDITED = "calling.not_edited"

logger = structlog.get_logger(__name__)


class Messenger(Protocol):
    """What is used of Slack's client."""

    async def chat_postMessage(self, *, channel: str, **arguments: Any) -> Any: ...  # noqa: N802 - Slack's name

    async def chat_update(self, *, channel: str, ts: str, **arguments: Any) -> Any: ...

    async def chat_getPermalink(self, *, channel: str, message_ts: str) -> Any: ...  # noqa: N802 - Slack's name


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
        if electors.is_asked and self._services.settings.slack.direct_messages:
            asked = await self._services.rollouts.question(approval_id)
            home = preferences.home_of(self._services.settings, asked.rollout.workspace)
            approvers, backup = (
                await self._willing(home, electors.approvers),
                await self._willing(home, electors.backup),
            )
            await self._services.rollouts.call(approval_id, (*approvers, *backup))
        return electors

    async def tell(self, approval_id: str, person: str) -> None:
        """Post the person's message, or have it say how its questions stand now. Raises SlackApiError, Held."""
        asked = await self._services.rollouts.question(approval_id)
        async with self._services.database.read() as session:
            posted = await session.get(ApprovalCall, (approval_id, person))
        if posted is None or (posted.ts is None and asked.status is not Status.PENDING):
            return
        if posted.ts is not None and posted.channel is not None:
            await self._edit(posted.channel, posted.ts, await self._said(await self._of_message(posted)))
            return
        await self._wait_for_the_end_of_quiet_hours(person, asked.rollout.workspace)
        calls = await self._unposted(person)
        answer = await self._slack.chat_postMessage(
            channel=person, text=await self._said(calls), unfurl_links=False, unfurl_media=False
        )
        ids = [one.approval_id for one in calls]
        await self._keep(ids, person, str(answer.get("channel") or person), str(answer["ts"]))

    async def _willing(self, home: str, people: Sequence[str]) -> list[str]:
        """Those whom Slack knows and who want to be asked directly, as many as are."""
        known = [person for person in people if is_mentionable(person)]
        async with self._services.database.read() as session:
            unwilling = await preferences.unwilling(session, home, known)
        return [person for person in known if person not in unwilling][:MOST_CALLED]

    async def _wait_for_the_end_of_quiet_hours(self, person: str, workspace: str) -> None:
        async with self._services.database.read() as session:
            home = preferences.home_of(self._services.settings, workspace)
            quiet = (await preferences.read(session, home, person)).quiet
        until = None if quiet is None else quiet.until(self._services.clock.now())
        if until is not None:
            raise Held(until)

    async def _unposted(self, person: str) -> Sequence[ApprovalCall]:
        """What the person is to be asked and was not yet, the oldest first: after quiet hours all in one message."""
        query = (
            select(ApprovalCall)
            .join(Approval, Approval.id == ApprovalCall.approval_id)
            .join(Rollout, Rollout.id == Approval.rollout_id)
            .where(ApprovalCall.person == person, ApprovalCall.ts.is_(None), self._services.rollouts.scope.rows())
            .where(Approval.status == Status.PENDING)
            .where(Approval.expires_at > self._services.clock.now())
            .order_by(ApprovalCall.called_at, ApprovalCall.approval_id)
            .limit(MOST_TOGETHER)
        )
        async with self._services.database.read() as session:
            return (await session.scalars(query)).all()

    async def _of_message(self, posted: ApprovalCall) -> Sequence[ApprovalCall]:
        """Every question that the person's message asks."""
        query = select(ApprovalCall).where(
            ApprovalCall.person == posted.person, ApprovalCall.channel == posted.channel, ApprovalCall.ts == posted.ts
        )
        async with self._services.database.read() as session:
            return (await session.scalars(query.order_by(ApprovalCall.called_at, ApprovalCall.approval_id))).all()

    async def _said(self, calls: Collection[ApprovalCall]) -> str:
        """What the message says of its questions, as they stand now."""
        lines = []
        for one in calls:
            asked = await self._services.rollouts.question(one.approval_id)
            link = await permalink(self._slack, asked.rollout)
            lines.append(call(asked, one.person, backup=_is_backup(asked, one), link=link))
        return bound("\n".join(lines))

    async def _edit(self, channel: str, ts: str, text: str) -> None:
        try:
            await self._slack.chat_update(channel=channel, ts=ts, text=text)
        except SlackApiError as error:
            if code_of(error) not in MESSAGE_LOST:
                raise
            logger.info(NOT_EDITED, channel=channel, reason=code_of(error))

    async def _keep(self, approval_ids: Sequence[str], person: str, channel: str, ts: str) -> None:
        async with self._services.database.write() as session:
            await session.execute(
                update(ApprovalCall)
                .where(ApprovalCall.approval_id.in_(approval_ids), ApprovalCall.person == person)
                .values(channel=channel, ts=ts)
            )


def _is_backup(asked: QuestionView, posted: ApprovalCall) -> bool:
    """Whether the person was called only once the backup was asked too."""
    escalated = asked.approval.escalated_at
    return escalated is not None and posted.called_at >= escalated
