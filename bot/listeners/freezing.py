"""Freezing and unfreezing: a dialog, and a button at each freeze that a person may lift."""

import re
from collections.abc import Mapping
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot import texts
from bot.blocks import dialogs
from bot.blocks import freezing as dialog
from bot.blocks.freezing import Filled
from bot.listeners.environments import check, named
from bot.listeners.handling import REFUSED, handle, handle_once
from bot.listeners.opening import open_dialog, replace_dialog
from bot.listeners.parsing import FLAG_NAME, Command
from bot.listeners.replies import channel_of, person_of, reply, workspace_of
from bot.listeners.sending import whole
from bot.services import Services
from tools.errors import NotFound, SluiceError
from tools.plans.policy import is_among
from tools.rollouts import freezes

ID = re.compile(r"[0-9a-f]{32}")

logger = structlog.get_logger(__name__)


def register(app: AsyncApp, services: Services) -> None:
    """Open the dialog, take what was filled in, and lift a freeze."""

    @app.action(dialog.OPEN)
    async def pressed(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle(client, body, lambda: open_freeze(services, client, body, Filled()))

    @app.action(dialog.LIFT)
    async def lifted(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle_once(services, client, body, lambda: _lift(services, client, body, str(action.get("value", ""))))

    @app.view(dialog.FREEZE, matchers=[whole(dialog.ASKS)])
    async def submitted(ack: AsyncAck, body: dict[str, Any], view: dict[str, Any], client: AsyncWebClient) -> None:
        filled = dialog.filled_in(view)
        errors = _faults(services, filled)
        if errors:
            await ack(response_action="errors", errors=errors)
            return
        await ack()
        await handle_once(services, client, body, lambda: _freeze(services, client, body, filled))


def begun(services: Services, workspace: str, command: Command) -> Filled:
    """What the dialog begins with after `/rollout freeze`: an environment, or a flag where it is called otherwise."""
    if command.environment is not None:
        return Filled(environment=command.environment, flag=command.flag)
    known = named(services.settings, workspace)
    meant = next((one for one in known if is_among(command.flag, [one])), None)
    return Filled(known[0], command.flag) if meant is None else Filled(environment=meant)


async def open_freeze(services: Services, client: AsyncWebClient, body: Mapping[str, Any], filled: Filled) -> None:
    """At once, for the trigger lives three seconds; what is in the way takes reading, and is said in it."""
    workspace = workspace_of(body)
    offered = named(services.settings, workspace)
    view_id = await open_dialog(client, body, dialog.freeze_dialog(filled, offered, origin=channel_of(body)))
    if view_id is None:
        return
    mine = services.of(workspace)
    try:
        await mine.rollouts.check_may_freeze(filled.environment or offered[0], actor=person_of(body))
        await check(mine, filled.environment)
    except SluiceError as error:
        logger.info(REFUSED, error=type(error).__name__, reason=str(error))
        await replace_dialog(client, view_id, dialogs.refusal_dialog(str(error)))


def _faults(services: Services, filled: Filled) -> dict[str, str]:
    """What is wrong with what was filled in, by block."""
    errors = {}
    if filled.flag and not FLAG_NAME.fullmatch(filled.flag):
        errors[dialog.FLAG] = texts.FREEZE_FLAG_ODD
    if filled.tag and not FLAG_NAME.fullmatch(filled.tag):
        errors[dialog.TAG] = texts.FREEZE_TAG_ODD
    elif filled.tag and filled.flag:
        errors[dialog.TAG] = texts.FREEZE_FLAG_OR_TAG
    if filled.until is not None and filled.until <= services.clock.now():
        errors[dialog.UNTIL] = texts.UNTIL_PAST
    elif filled.start is not None and filled.until is not None and filled.until <= filled.start:
        errors[dialog.UNTIL] = texts.FREEZE_ENDS_FIRST
    if not filled.reason:
        errors[dialog.REASON] = texts.REASON_MISSING
    return errors


async def _freeze(services: Services, client: AsyncWebClient, body: Mapping[str, Any], filled: Filled) -> None:
    workspace = workspace_of(body)
    wish = freezes.wish(
        environment=filled.environment,
        flag=filled.flag or None,
        tag=filled.tag or None,
        start=filled.start,
        until=filled.until,
        reason=filled.reason,
        workspace=workspace,
    )
    made = await services.rollouts.of(workspace).freeze(wish, actor=person_of(body))
    await reply(client, body, dialog.said(texts.FROZE, made))


async def _lift(services: Services, client: AsyncWebClient, body: Mapping[str, Any], freeze_id: str) -> None:
    if ID.fullmatch(freeze_id) is None:
        raise NotFound(texts.UNKNOWN_BUTTON)
    lifted = await services.rollouts.of(workspace_of(body)).unfreeze(freeze_id, actor=person_of(body))
    await reply(client, body, dialog.said(texts.LIFTED, lifted))
