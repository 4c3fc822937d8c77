"""What channels were asked: once a question is closed, each message that asked it says who answered, and when.

A message is edited as cards are; one that asked several questions says of each how it stands.
"""

from collections.abc import Sequence
from dataclasses import replace

import structlog
from slack_sdk.errors import SlackApiError
from sqlalchemy import select

from bot.blocks.mrkdwn import bound
from bot.blocks.news import News, placed, together
from bot.blocks.questions import outcome
from bot.calling import MESSAGE_LOST
from bot.listeners.links import permalink
from bot.names import Names
from bot.posting import Messenger
from bot.services import Services
from bot.slack import code_of, is_trouble_of_slack, retry_after
from tools.records.models import ApprovalPost
from tools.rollouts import approvals
from tools.rollouts.approvals import Status
from tools.rollouts.views import QuestionView

LOST = MESSAGE_LOST | {"is_archived", "not_in_channel", "restricted_action"}
"""Why Slack will never take an edit of a message."""
NOT_EDITED = "asked.not_edited"

logger = structlog.get_logger(__name__)


class Asked:
    """The messages in channels that ask people to decide."""

    def __init__(self, services: Services, slack: Messenger, names: Names) -> None:
        self._services = services
        self._slack = slack
        self._names = names

    async def keep(self, news: Sequence[News], channel: str, ts: str, *, about: tuple[str, str] | None = None) -> None:
        """Write down that the message asks; whoever was called in it is not called again when it is edited."""
        asking = [one for one in news if one.asks is not None]
        if not asking:
            return
        text = together([replace(one, people=()) for one in news], about=about)
        async with self._services.database.write() as session:
            # Before anything refers to them: two that each held a part would wait for one another.
            await approvals.hold(session, [one.asks for one in asking if one.asks is not None])
            for one in asking:
                assert one.asks is not None
                post = ApprovalPost(approval_id=one.asks, channel=channel, ts=ts, text=text, line=placed(one, about))
                await session.merge(post)
                await session.flush()
                # Closed while it was being posted: nobody else knew of the message.
                await approvals.tell_channels(session, one.asks, at=self._services.clock.now(), only_closed=True)

    async def show(self, approval_id: str) -> None:
        """Have every message that asks it say what became of it. Raises SlackApiError."""
        async with self._services.database.read() as session:
            asking = select(ApprovalPost).where(ApprovalPost.approval_id == approval_id)
            places = [(one.channel, one.ts) for one in (await session.scalars(asking)).all()]
        refused: SlackApiError | None = None
        for channel, ts in places:
            try:
                await self._edit(channel, ts, await self._names.quietly(await self._said(channel, ts)))
            except SlackApiError as error:
                if retry_after(error) is not None or is_trouble_of_slack(error):
                    raise
                # What one channel's message is refused for keeps no other from being edited.
                refused = error
        if refused is not None:
            raise refused

    async def _said(self, channel: str, ts: str) -> str:
        """What the message says of its questions, as they stand now."""
        async with self._services.database.read() as session:
            query = select(ApprovalPost).where(ApprovalPost.channel == channel, ApprovalPost.ts == ts)
            posts = (await session.scalars(query.order_by(ApprovalPost.approval_id))).all()
        text = posts[0].text
        for post in posts:
            question = await self._services.rollouts.question(post.approval_id)
            if question.status is not Status.PENDING:
                text = text.replace(post.line, outcome(question, link=await self._way(question, channel)), 1)
        return text

    async def _way(self, question: QuestionView, channel: str) -> str | None:
        """To the card, from another channel than its own."""
        place = question.rollout.place
        return (
            None if place is not None and place.channel == channel else await permalink(self._slack, question.rollout)
        )

    async def _edit(self, channel: str, ts: str, text: str) -> None:
        try:
            await self._slack.chat_update(channel=channel, ts=ts, text=bound(text))
        except SlackApiError as error:
            if code_of(error) not in LOST:
                raise
            logger.info(NOT_EDITED, channel=channel, reason=code_of(error))
