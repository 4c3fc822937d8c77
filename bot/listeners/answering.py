"""What people press on an answer of the agent: yes or no to what it understood, and what they think of it."""

from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import select

from bot import texts
from bot.blocks import conversation, dialogs
from bot.blocks.conversation import Rendered, rendered
from bot.listeners.handling import handle, handle_once
from bot.listeners.opening import open_dialog
from bot.listeners.replies import channel_of, person_of, reply, workspace_of
from bot.listeners.sending import whole
from bot.recalling import said_by
from bot.services import Services
from bot.slack import NETWORK_ERRORS, code_of, is_trouble_of_slack, retry_after
from tools.errors import Conflict, NotFound
from tools.records.database import insert_for
from tools.records.models import AgentRun, Conversation, Feedback
from tools.rollouts.service import RolloutService

NOT_UPDATED = "answer.not_updated"
GOOD, BAD = 1, -1

logger = structlog.get_logger(__name__)


def register(app: AsyncApp, services: Services) -> None:
    """Answer the buttons of answers."""

    @app.action(conversation.CONFIRM)
    async def confirmed(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle_once(
            services, client, body, lambda: _decide(services, client, body, action, RolloutService.confirm)
        )

    @app.action(conversation.DISMISS)
    async def dismissed(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle_once(
            services, client, body, lambda: _decide(services, client, body, action, RolloutService.dismiss)
        )

    @app.action(conversation.FEEDBACK)
    async def rated(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        rating, _, run_id = str(action.get("value", "")).partition(":")
        if rating == conversation.BAD:
            # At once, for the trigger lives three seconds; whoever closes the dialog has still said what they think.
            await handle(client, body, lambda: open_dialog(client, body, _why(run_id, body)))
            await handle_once(
                services, client, body, lambda: rate(services.of(workspace_of(body)), run_id, person_of(body), BAD)
            )
            return

        async def thank() -> None:
            await rate(services.of(workspace_of(body)), run_id, person_of(body), GOOD)
            await reply(client, body, texts.FEEDBACK_THANKS)

        await handle_once(services, client, body, thank)

    @app.view(dialogs.FEEDBACK, matchers=[whole(dialogs.ASKS)])
    async def explained(ack: AsyncAck, body: dict[str, Any], view: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()

        async def keep() -> None:
            run_id, _ = dialogs.subject_of(view["private_metadata"])
            mine = services.of(workspace_of(body))
            await rate(mine, run_id, person_of(body), BAD, reason=dialogs.reason_in(view))
            await reply(client, body, texts.FEEDBACK_THANKS)

        await handle_once(services, client, body, keep)


async def rate(services: Services, run_id: str, person: str, rating: int, *, reason: str | None = None) -> None:
    """Keep what a person thinks of an answer; their last word counts. Raises NotFound for an answer that is none."""
    values = {"rating": rating, "reason": reason or None, "at": services.clock.now()}
    async with services.database.write() as session:
        talked_in = select(Conversation.workspace).join(AgentRun, AgentRun.conversation_id == Conversation.id)
        workspace = await session.scalar(talked_in.where(AgentRun.id == run_id))
        if workspace is None or not services.rollouts.scope.sees(workspace):
            raise NotFound(texts.FEEDBACK_UNKNOWN)
        statement = insert_for(session)(Feedback).values(run_id=run_id, person=person, **values)
        await session.execute(
            statement.on_conflict_do_update(index_elements=[Feedback.run_id, Feedback.person], set_=values)
        )


async def _decide(
    services: Services, client: AsyncWebClient, body: dict[str, Any], action: dict[str, Any], decide: Any
) -> None:
    """Do or leave what was asked about, and show on the answer what became of it."""
    confirmation_id, mine = str(action.get("value", "")), services.of(workspace_of(body))
    try:
        await decide(mine.rollouts, confirmation_id, actor=person_of(body))
    except (Conflict, NotFound):
        # What the person saw is not how it is.
        await _show(mine, client, body, confirmation_id)
        raise
    await _show(mine, client, body, confirmation_id)


async def _show(services: Services, client: AsyncWebClient, body: dict[str, Any], confirmation_id: str) -> None:
    """Bring the answer up to date. When Slack does not take it that is logged: what was decided is done."""
    try:
        asked = await services.rollouts.confirmation(confirmation_id)
    except NotFound:
        return
    channel, ts = channel_of(body), body.get("container", {}).get("message_ts")
    if asked.run_id is None or channel is None or not ts:
        return
    zone = await services.zones.of(asked.person, workspace=workspace_of(body))
    await bring_up_to_date(client, channel, str(ts), rendered(await said_by(services, asked.run_id), zone))


async def bring_up_to_date(client: AsyncWebClient, channel: str, ts: str, whole: Rendered) -> None:
    """Write the answer anew, in simple blocks where Slack takes no others. What it does not take at all is logged."""
    for blocks in (whole.blocks, whole.simple):
        try:
            await client.chat_update(channel=channel, ts=ts, text=whole.summary, blocks=blocks)
        except NETWORK_ERRORS as error:
            logger.warning(NOT_UPDATED, channel=channel, reason=type(error).__name__)
            return
        except SlackApiError as error:
            logger.warning(NOT_UPDATED, channel=channel, reason=code_of(error))
            if is_trouble_of_slack(error) or retry_after(error) is not None:
                return
        else:
            return


def _why(run_id: str, body: dict[str, Any]) -> Any:
    return dialogs.feedback_dialog(run_id, channel_of(body))
