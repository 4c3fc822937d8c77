"""Starting a rollout in a dialog: from `/rollout`, a shortcut or a button; what is sent becomes a plan as any other."""

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.models.blocks import Option
from slack_sdk.models.views import View
from slack_sdk.web.async_client import AsyncWebClient

from agent.moves import cleaned
from agent.redaction import redacted
from bot import texts
from bot.blocks import dialogs
from bot.blocks import starting as dialog
from bot.blocks.mrkdwn import plain_name
from bot.blocks.starting import Wish
from bot.listeners import environments, planning
from bot.listeners.handling import REFUSED, handle, handle_once
from bot.listeners.opening import open_dialog, replace_dialog
from bot.listeners.replies import channel_of, person_of, reply, workspace_of
from bot.listeners.sending import whole
from bot.routing import card_channel
from bot.services import Services
from tools.errors import NotFound, SluiceError
from tools.flags.base import FlagState
from tools.rollouts.phases import LIVE, Phase

SHORTCUT = "rollout_start"
"""The callback id of the global shortcut, as the manifest names it."""
PATIENCE_S = 2.0
"""How long anything is waited for before Slack is answered, which waits three seconds."""
REMEMBERED = timedelta(seconds=15)
"""How long a list of flags serves who types on."""
FLAGS_UNKNOWN = "slack.flags_not_listed"
PLACES = ("C", "G")
"""What ids of channels begin with in which a plan can be posted."""

logger = structlog.get_logger(__name__)


def register(app: AsyncApp, services: Services) -> None:
    """Open the dialog, offer flags while one types, and take what was filled in."""
    menu = FlagMenu(services)

    @app.shortcut(SHORTCUT)
    async def chosen(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle(client, body, lambda: open_start(services, client, body, Wish()))

    @app.action(dialog.OPEN)
    async def pressed(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle(client, body, lambda: open_start(services, client, body, Wish()))

    @app.options(dialog.FLAGS)
    async def typed(ack: AsyncAck, body: dict[str, Any]) -> None:
        environment = dialog.environment_in(body.get("view") or {}) or services.settings.environment
        await ack(options=await menu.options(environment, str(body.get("value") or "")))

    @app.view(dialog.START, matchers=[whole(dialog.ASKS)])
    async def submitted(ack: AsyncAck, body: dict[str, Any], view: dict[str, Any], client: AsyncWebClient) -> None:
        wish = dialog.wish_in(view)
        errors = await _faults(services.of(workspace_of(body)), client, wish)
        if errors:
            await ack(response_action="errors", errors=errors)
            return
        await ack()
        await handle_once(services, client, body, lambda: _plan(services, client, body, wish))


async def open_start(services: Services, client: AsyncWebClient, body: Mapping[str, Any], wish: Wish) -> None:
    """Open the dialog with what is known already; nothing is read first, for the trigger lives three seconds.

    Whether there is the environment that was typed takes reading, and is said in it.
    """
    view_id = await open_dialog(client, body, filled_dialog(services, body, wish))
    if view_id is None:
        return
    try:
        await environments.check(services.of(workspace_of(body)), wish.environment)
    except SluiceError as error:
        logger.info(REFUSED, error=type(error).__name__, reason=str(error))
        await replace_dialog(client, view_id, dialogs.refusal_dialog(str(error)))


def filled_dialog(services: Services, body: Mapping[str, Any], wish: Wish) -> View:
    """The dialog with what is known already."""
    origin, workspace, settings = channel_of(body), workspace_of(body), services.settings
    slack = settings.slack.of(workspace)
    environment = wish.environment or settings.environment
    place = origin if origin is not None and origin.startswith(PLACES) else card_channel(slack, environment, ())
    begun = replace(wish, environment=environment, channel=wish.channel or place)
    named = environments.named(settings, workspace)
    return dialog.start_dialog(begun, named, origin=origin, routed=bool(slack.route))


class FlagMenu:
    """The flags of an environment as options; a list that was read serves for a moment, while somebody types."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known = dict[str, tuple[datetime, Sequence[FlagState]]]()

    async def options(self, environment: str, typed: str) -> list[Option]:
        """What to offer for what was typed; where there is nothing, an option that says why."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                flags = await self._flags(environment)
        except (SluiceError, TimeoutError) as error:
            logger.warning(FLAGS_UNKNOWN, environment=environment, reason=str(error) or type(error).__name__)
            return [dialog.no_option(texts.START_FLAGS_UNKNOWN)]
        found = dialog.flag_options(_fitting(flags, typed.strip()))
        return found or [dialog.no_option(texts.START_NO_FLAGS.format(environment=plain_name(environment)))]

    async def _flags(self, environment: str) -> Sequence[FlagState]:
        now = self._services.clock.now()
        until, flags = self._known.get(environment, (now, ()))
        if until <= now:
            flags = await self._services.flags.list(environment)
            self._known[environment] = (now + REMEMBERED, flags)
        return flags


def _fitting(flags: Sequence[FlagState], typed: str) -> list[FlagState]:
    """Those that begin with what was typed, then those that have it anywhere, else those that are called nearly so."""
    wanted = typed.lower()
    beginning = [one for one in flags if one.ref.flag.lower().startswith(wanted)]
    inside = [one for one in flags if wanted in one.ref.flag.lower() and one not in beginning]
    if beginning or inside:
        return [*beginning, *inside]
    by_name = {one.ref.flag.lower(): one for one in flags}
    return [by_name[near] for near in difflib.get_close_matches(wanted, list(by_name), n=5)]


async def _faults(services: Services, client: AsyncWebClient, wish: Wish) -> dict[str, str]:
    """What is wrong with what was filled in, by block; what can't be found out in time is found out when planning."""
    if not wish.flag:
        return {dialog.FLAG: texts.START_FLAG_MISSING}
    if wish.channel is None:
        return {dialog.CHANNEL: texts.START_CHANNEL_MISSING}
    try:
        async with asyncio.timeout(PATIENCE_S):
            if await _is_under_way(services, wish):
                said = texts.START_UNDER_WAY.format(
                    flag=plain_name(wish.flag), environment=plain_name(wish.environment)
                )
                return {dialog.FLAG: said}
            if not await planning.is_member(client, wish.channel):
                return {dialog.CHANNEL: texts.START_NOT_A_MEMBER}
    except TimeoutError:
        return {}
    return {}


async def _is_under_way(services: Services, wish: Wish) -> bool:
    try:
        found = await services.rollouts.find(wish.flag, wish.environment)
    except NotFound:
        return False
    return found.phase in LIVE | {Phase.ROLLING_BACK}


async def _plan(services: Services, client: AsyncWebClient, body: Mapping[str, Any], wish: Wish) -> None:
    assert wish.channel is not None
    order = planning.Order(
        flag=wish.flag,
        environment=wish.environment,
        strategy=wish.strategy,
        requester=person_of(body),
        workspace=workspace_of(body),
        channel=wish.channel,
        wishes=redacted(cleaned(wish.note)),
    )
    text, blocks = await planning.take(services, client, order, request=str(body["view"]["id"]))
    await reply(client, body, text, blocks)
