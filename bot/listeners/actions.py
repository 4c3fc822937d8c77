"""The card's buttons. A button carries an id and nothing else; what may be done with it is decided here and now."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import select

from bot import texts
from bot.blocks import card, dialogs
from bot.homes import publish
from bot.listeners import planning
from bot.listeners.deliveries import is_first
from bot.listeners.finding import freshen
from bot.listeners.handling import REFUSED, handle, handle_once
from bot.listeners.opening import open_dialog, replace_dialog
from bot.listeners.replies import channel_of, is_on_home, person_of, workspace_of
from bot.services import Services
from tools.errors import Conflict, NotAllowed, NotFound, SluiceError
from tools.plans.policy import could_approve
from tools.records.models import Approval, Rollout
from tools.rollouts import cards
from tools.rollouts.service import RolloutService

Do = Callable[[RolloutService, str, str], Awaitable[object]]
"""What a button does: takes the person's door, the id it carries, and who pressed it."""

ID = re.compile(r"[0-9a-f]{32}")
SHOWN = 64
"""How much of a value that is none of ours the log shows."""
TAMPERED = "slack.unknown_value"

logger = structlog.get_logger(__name__)


def register(app: AsyncApp, services: Services) -> None:
    """Answer every button."""
    _does(app, services, card.APPROVE, Approval, lambda mine, id_, who: mine.approve(id_, actor=who))
    _does(app, services, card.START, Rollout, lambda mine, id_, who: mine.start(id_, actor=who))
    _does(app, services, card.PROMOTE, Rollout, lambda mine, id_, who: mine.promote(id_, actor=who))
    _does(app, services, card.RESUME, Rollout, lambda mine, id_, who: mine.resume(id_, actor=who))
    _does(
        app,
        services,
        card.ROLL_BACK,
        Rollout,
        lambda mine, id_, who: mine.roll_back(id_, actor=who, reason=texts.FROM_THE_CARD),
    )
    _does(
        app,
        services,
        card.CANCEL,
        Rollout,
        lambda mine, id_, who: mine.cancel(id_, actor=who, reason=texts.DROPPED_FROM_THE_CARD),
    )
    _does(app, services, card.KEEP_PLAN, Rollout, lambda mine, id_, who: mine.keep_plan(id_, actor=who))
    _rejects(app, services)
    _pauses(app, services)
    _plans_anew(app, services)


def _does(app: AsyncApp, services: Services, action_id: str, of: type[Approval] | type[Rollout], do: Do) -> None:
    @app.action(action_id)
    async def pressed(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()

        async def act() -> None:
            about = id_of(body, action)
            mine = services.of(workspace_of(body))
            await check_shown(mine, body, action, of)
            try:
                await do(mine.rollouts, about, person_of(body))
            except (Conflict, NotFound):
                # What the person saw is not how it is.
                await _freshen(mine, body)
                raise
            finally:
                if is_on_home(body):
                    await publish(mine, client, workspace_of(body), person_of(body), opened=True)

        await handle_once(services, client, body, act)


def _rejects(app: AsyncApp, services: Services) -> None:
    @app.action(card.REJECT)
    async def pressed(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        """The dialog is opened at once; whether the person may answer takes reading, and is said in it."""
        await ack()

        async def ask_why() -> None:
            about, who, workspace = id_of(body, action), person_of(body), workspace_of(body)
            if not could_approve(services.settings.policy.of(workspace), who):
                raise NotAllowed(texts.NO_APPROVER)
            view_id = await open_dialog(client, body, dialogs.reject_dialog(about, channel_of(body)))
            if view_id is None:
                return
            try:
                mine = services.of(workspace)
                await check_shown(mine, body, action, Approval)
                await mine.rollouts.check_may_answer(about, actor=who)
            except SluiceError as error:
                logger.info(REFUSED, error=type(error).__name__, reason=str(error))
                await replace_dialog(client, view_id, dialogs.refusal_dialog(str(error)))

        await handle(client, body, lambda: told_once(services, body, ask_why))


def _pauses(app: AsyncApp, services: Services) -> None:
    @app.action(card.PAUSE)
    async def pressed(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()

        async def ask_why() -> None:
            await open_dialog(client, body, dialogs.pause_dialog(id_of(body, action), channel_of(body)))

        await handle(client, body, lambda: told_once(services, body, ask_why))


def _plans_anew(app: AsyncApp, services: Services) -> None:
    @app.action(card.PLAN_ANEW)
    async def pressed(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()

        async def act() -> None:
            about, who, workspace = id_of(body, action), person_of(body), workspace_of(body)
            mine = services.of(workspace)
            await check_shown(mine, body, action, Rollout)
            view = await mine.rollouts.get(about)
            order = planning.Order(
                flag=view.flag,
                environment=view.environment,
                strategy=view.plan.strategy,
                requester=who,
                workspace=workspace,
                channel=view.place.channel if view.place is not None else channel_of(body) or who,
                spec=None if view.spec is None else view.spec.source or None,
                again=True,
                instead=view.plan_version,
            )
            await planning.submit(mine, order, request=f"{about}:{view.plan_version}:{who}:{body.get('trigger_id')}")

        await handle_once(services, client, body, act)


async def told_once(services: Services, body: dict[str, Any], ask: Callable[[], Awaitable[None]]) -> None:
    """Open a dialog; a refusal is said once, however often Slack delivers the click."""
    try:
        await ask()
    except SluiceError:
        if await is_first(services, body):
            raise


def id_of(body: dict[str, Any], action: dict[str, Any]) -> str:
    """The id that the button carries. Raises NotFound for what is none."""
    value = str(action.get("value", ""))
    if ID.fullmatch(value) is None:
        raise _tampered(body, action)
    return value


async def check_shown(
    services: Services, body: dict[str, Any], action: dict[str, Any], of: type[Approval] | type[Rollout]
) -> None:
    """Raise NotFound for an id of something that is not on the card where the button was pressed.

    What does not exist for the workspace is left to who looks it up, and a message that is no card to the id alone.
    """
    channel, ts = channel_of(body), body.get("container", {}).get("message_ts")
    async with services.database.read() as session:
        about = Rollout.id if of is Rollout else Approval.rollout_id
        rollout_id = await session.scalar(select(about).where(of.id == str(action["value"])))
        shown = await cards.shown_on(session, str(channel), str(ts), scope=services.rollouts.scope)
    if rollout_id is not None and shown and rollout_id not in shown:
        raise _tampered(body, action)


def _tampered(body: dict[str, Any], action: dict[str, Any]) -> NotFound:
    logger.warning(
        TAMPERED,
        action=action.get("action_id"),
        value=str(action.get("value", ""))[:SHOWN],
        person=person_of(body),
        channel=channel_of(body),
    )
    return NotFound(texts.UNKNOWN_BUTTON)


async def _freshen(services: Services, body: dict[str, Any]) -> None:
    channel, container = channel_of(body), body.get("container", {})
    if channel is not None and container.get("message_ts"):
        await freshen(services, channel, str(container["message_ts"]))
