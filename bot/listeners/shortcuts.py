"""A message's shortcut, "Plan a rollout from this": its text is what is asked for, and who used it is who asks.

With a model it is answered in the message's thread, as a mention there is; without one the dialog that starts a rollout
opens, with the flag that the text names.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.context.async_context import AsyncBoltContext
from slack_sdk.web.async_client import AsyncWebClient

from agent.moves import cleaned
from agent.redaction import redacted
from bot import texts
from bot.blocks import starting as dialog
from bot.blocks.mrkdwn import plain
from bot.blocks.starting import Wish
from bot.listeners import conversing, planning
from bot.listeners.finding import served_flags
from bot.listeners.handling import handle, handle_once
from bot.listeners.hearing import words_of
from bot.listeners.opening import open_dialog, replace_dialog
from bot.listeners.replies import channel_of, person_of, reply, workspace_of
from bot.listeners.starting import filled_dialog
from bot.services import Services
from bot.threads import Heard, Threads

SHORTCUT = "rollout_plan_from_message"
"""The callback id of the shortcut, as the manifest names it."""
MOST_QUOTED = 3000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}")


def register(app: AsyncApp, services: Services) -> None:
    """Answer the shortcut."""

    @app.shortcut(SHORTCUT)
    async def used(ack: AsyncAck, body: dict[str, Any], context: AsyncBoltContext, client: AsyncWebClient) -> None:
        await ack()
        text = words_of(str(body.get("message", {}).get("text") or ""), myself=context.bot_user_id)
        if services.settings.model.name is None:
            await handle(client, body, lambda: _ask_in_dialog(services, client, body, text))
        else:
            await handle_once(services, client, body, lambda: _ask_in_thread(services, client, body, text))


def named_in(text: str, flags: Iterable[str]) -> str:
    """The flag that the text names, the longest where it names several; empty where it names none."""
    words = {word.rstrip(".:/-").lower() for word in _NAME.findall(text)}
    return max((flag for flag in flags if flag.lower() in words), key=len, default="")


async def _ask_in_thread(services: Services, client: AsyncWebClient, body: Mapping[str, Any], text: str) -> None:
    """Have the agent read it as said by who used the shortcut; it is quoted, for somebody else may have written it."""
    channel, message = str(channel_of(body)), body["message"]
    if not text:
        await reply(client, body, texts.SHORTCUT_EMPTY)
        return
    if not await planning.is_member(client, channel):
        await reply(client, body, texts.NOT_A_MEMBER)
        return
    quoted = "\n".join(f"> {line}" for line in redacted(text)[:MOST_QUOTED].splitlines())
    heard = Heard(
        workspace=workspace_of(body),
        channel=channel,
        thread=str(message.get("thread_ts") or message["ts"]),
        ts=str(body["action_ts"]),
        author=person_of(body),
        text=f"{texts.SHORTCUT_REQUEST}\n{quoted}",
    )
    conversation_id = await Threads(services.database, services.clock).hear(heard)
    if conversation_id is not None:
        await conversing.submit(services, conversation_id, heard.ts)
        await reply(client, body, texts.SHORTCUT_HEARD)


async def _ask_in_dialog(services: Services, client: AsyncWebClient, body: Mapping[str, Any], text: str) -> None:
    view_id = await open_dialog(client, body, dialog.loading_dialog(channel_of(body)))
    if view_id is None:
        return
    note = plain(redacted(cleaned(text)), dialog.MOST_NOTE)
    wish = Wish(flag=named_in(text, await served_flags(services)), note=note)
    await replace_dialog(client, view_id, filled_dialog(services, body, wish))
