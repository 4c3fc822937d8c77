"""Overriding what a gate finds: a dialog that reads the findings first, and a button that has them count again."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot import texts
from bot.blocks import accepting as dialog
from bot.blocks import dialogs
from bot.blocks.answers import card_link
from bot.blocks.mrkdwn import moment_of, name
from bot.listeners.deliveries import is_first
from bot.listeners.finding import find
from bot.listeners.handling import REFUSED, handle, handle_once
from bot.listeners.links import permalink
from bot.listeners.opening import open_dialog, replace_dialog
from bot.listeners.parsing import Command
from bot.listeners.replies import channel_of, person_of, reply, workspace_of
from bot.listeners.sending import whole
from bot.services import Services
from tools.errors import NotFound, SluiceError

ID = re.compile(r"[0-9a-f]{32}")

Meant = Callable[[], Awaitable[str]]
"""Finds out which rollout is meant."""

logger = structlog.get_logger(__name__)


def register(app: AsyncApp, services: Services) -> None:
    """Open the dialog, take what was filled in, and take it back."""

    @app.action(dialog.ACCEPT)
    async def pressed(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle(client, body, lambda: _pressed(services, client, body, str(action.get("value", ""))))

    @app.action(dialog.WITHDRAWN)
    async def withdrawn(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        about = str(action.get("value", ""))
        await handle_once(services, client, body, lambda: _withdraw(services, client, body, about))

    @app.view(dialog.SUBMITTED, matchers=[whole(dialog.ASKS)])
    async def submitted(ack: AsyncAck, body: dict[str, Any], view: dict[str, Any], client: AsyncWebClient) -> None:
        errors = _faults(services, view)
        if errors:
            await ack(response_action="errors", errors=errors)
            return
        await ack()
        await handle_once(services, client, body, lambda: _accept(services, client, body, view))


async def open_for_command(
    services: Services, client: AsyncWebClient, body: Mapping[str, Any], command: Command
) -> None:
    """What `/rollout accept` opens: which rollout is meant takes reading too."""
    view_id = await open_dialog(client, body, dialog.loading_dialog(channel_of(body)))
    if view_id is not None:
        mine = services.of(workspace_of(body))

        async def meant() -> str:
            return (await find(mine, command.flag, command.environment, subcommand=command.subcommand)).id

        await _fill(mine, client, body, view_id, meant)


async def _pressed(services: Services, client: AsyncWebClient, body: Mapping[str, Any], rollout_id: str) -> None:
    if ID.fullmatch(rollout_id) is None:
        if await is_first(services, body):
            raise NotFound(texts.UNKNOWN_BUTTON)
        return
    view_id = await open_dialog(client, body, dialog.loading_dialog(channel_of(body)))
    if view_id is not None:

        async def meant() -> str:
            return rollout_id

        await _fill(services.of(workspace_of(body)), client, body, view_id, meant)


async def _fill(mine: Services, client: AsyncWebClient, body: Mapping[str, Any], view_id: str, meant: Meant) -> None:
    """Show what could be accepted, or why nothing can."""
    try:
        rollout_id = await meant()
        able = await mine.rollouts.acceptable(rollout_id, actor=person_of(body))
        view = await mine.rollouts.get(rollout_id)
        found = dialog.accept_dialog(view, able, at=mine.clock.now(), channel=channel_of(body))
    except SluiceError as error:
        logger.info(REFUSED, error=type(error).__name__, reason=str(error))
        found = dialogs.refusal_dialog(str(error))
    await replace_dialog(client, view_id, found)


def _faults(services: Services, view: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with what was filled in, by block; all else is for the service to say."""
    errors, now, until = {}, services.clock.now(), dialog.until_in(view)
    longest = services.settings.policy.longest_acceptance
    if until is None or until <= now:
        errors[dialog.UNTIL] = texts.UNTIL_PAST
    elif until > now + longest:
        errors[dialog.UNTIL] = texts.ACCEPT_TOO_LONG.format(longest=texts.duration(longest))
    if not dialog.reason_in(view):
        errors[dialog.REASON] = texts.REASON_MISSING
    return errors


async def _accept(
    services: Services, client: AsyncWebClient, body: Mapping[str, Any], filled: Mapping[str, Any]
) -> None:
    rollout_id, _ = dialogs.subject_of(filled["private_metadata"])
    metric, until = dialog.metric_in(filled), dialog.until_in(filled)
    assert until is not None, "what has none was refused"
    view = await services.rollouts.of(workspace_of(body)).accept(
        rollout_id, metric, until=until, reason=dialog.reason_in(filled), actor=person_of(body)
    )
    said = texts.ACCEPTED.format(
        metric=name(metric),
        flag=name(view.flag),
        environment=name(view.environment),
        until=moment_of(until),
        link=card_link(await permalink(client, view)),
    )
    await reply(client, body, said)


async def _withdraw(services: Services, client: AsyncWebClient, body: Mapping[str, Any], acceptance_id: str) -> None:
    if ID.fullmatch(acceptance_id) is None:
        raise NotFound(texts.UNKNOWN_BUTTON)
    withdrawn, view = await services.rollouts.of(workspace_of(body)).withdraw_acceptance(
        acceptance_id, actor=person_of(body)
    )
    said = texts.WITHDRAWN.format(
        metric=name(withdrawn.metric), flag=name(view.flag), environment=name(view.environment)
    )
    await reply(client, body, said)
