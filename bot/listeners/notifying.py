"""What people want to be told by direct message: a dialog, from Home and from `/rollout notify`."""

from collections.abc import Mapping
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot import preferences
from bot.blocks import notifying as dialog
from bot.listeners.handling import handle, handle_once
from bot.listeners.opening import open_dialog, replace_dialog
from bot.listeners.replies import channel_of, person_of, reply, workspace_of
from bot.listeners.sending import whole
from bot.preferences import Preferences
from bot.services import Services


def register(app: AsyncApp, services: Services) -> None:
    """Open the dialog, and keep what was chosen."""

    @app.action(dialog.OPEN)
    async def pressed(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await handle(client, body, lambda: open_notifications(services, client, body))

    @app.view(dialog.NOTIFY, matchers=[whole(dialog.ASKS)])
    async def submitted(ack: AsyncAck, body: dict[str, Any], view: dict[str, Any], client: AsyncWebClient) -> None:
        chosen = dialog.chosen_in(view)
        errors = chosen.faults()
        if errors:
            await ack(response_action="errors", errors=errors)
            return
        await ack()
        await handle_once(services, client, body, lambda: _keep(services, client, body, chosen.preferences()))


async def open_notifications(services: Services, client: AsyncWebClient, body: Mapping[str, Any]) -> None:
    """A dialog at once, for the trigger lives three seconds; then what the person chose before."""
    view_id = await open_dialog(client, body, dialog.loading_dialog())
    if view_id is None:
        return
    home = preferences.home_of(services.settings, workspace_of(body))
    async with services.database.read() as session:
        chosen = await preferences.read(session, home, person_of(body))
    # What it says of the profile is to be so now: the quiet hours that are saved keep the zone.
    zone = preferences.known_zone(str(await services.zones.now_of(person_of(body), workspace=workspace_of(body))))
    await replace_dialog(client, view_id, dialog.notify_dialog(chosen, zone, origin=channel_of(body)))


async def _keep(services: Services, client: AsyncWebClient, body: Mapping[str, Any], chosen: Preferences) -> None:
    home = preferences.home_of(services.settings, workspace_of(body))
    async with services.database.write() as session:
        await preferences.keep(session, home, person_of(body), chosen, at=services.clock.now())
    await reply(client, body, dialog.saved(chosen))
