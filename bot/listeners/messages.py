"""What people write to Sluice: direct messages, mentions, and replies in the threads that it takes part in.

A message becomes a row, and a job of its thread reads it. What is edited, deleted or given an ❌ stops the run that
reads it, and so does Slack's button.
"""

from collections.abc import Mapping
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.context.async_context import AsyncBoltContext
from slack_sdk.web.async_client import AsyncWebClient

from agent.orders import may_order
from agent.turns import Said, Turn
from bot.agent_sessions import AgentSession, Manners, Spot
from bot.listeners import conversing
from bot.listeners.handling import handle, handle_once
from bot.listeners.hearing import is_for_another, words_of
from bot.listeners.replies import workspace_of
from bot.services import Services
from bot.threads import Heard, Threads, Upset, moment_of

SAYING = frozenset({None, "file_share", "thread_broadcast"})
"""Subtypes of messages that say something; the others are changes, deletions and notices."""
FRESH_S, MOMENT_S = 10.0, 1.0
STOP = "x"
"""The reaction ❌."""


def register(app: AsyncApp, services: Services) -> None:
    """Listen to messages and reactions."""
    ears = Ears(services)

    @app.event("app_mention")
    async def mentioned(
        body: dict[str, Any], event: dict[str, Any], context: AsyncBoltContext, client: AsyncWebClient
    ) -> None:
        with services.underway.tracked():
            await handle(client, body, lambda: ears.hear(body, event, context.bot_user_id, asked=True))

    @app.event("message")
    async def written(
        body: dict[str, Any], event: dict[str, Any], context: AsyncBoltContext, client: AsyncWebClient
    ) -> None:
        with services.underway.tracked():
            await handle(client, body, lambda: ears.notice(body, event, context.bot_user_id))

    @app.event("reaction_added")
    async def reacted(
        body: dict[str, Any], event: dict[str, Any], context: AsyncBoltContext, client: AsyncWebClient
    ) -> None:
        if event.get("reaction") == STOP and event.get("user") != context.bot_user_id:
            with services.underway.tracked():
                await handle(client, body, lambda: ears.object_to(body, event))

    @app.event("agent_session_stopped", matchers=[_is_of_a_thread])
    async def stopped(body: dict[str, Any], event: dict[str, Any], client: AsyncWebClient) -> None:
        # Each once: a copy that comes late would stop whoever waited behind the run that was meant.
        await handle_once(services, client, body, lambda: ears.stop(body, event, client))


class Ears:
    """Decides what is meant for Sluice, and writes it down. Every event may come several times, and late."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._threads = Threads(services.database, services.clock)

    async def notice(self, body: Mapping[str, Any], event: Mapping[str, Any], myself: str | None) -> None:
        """A message, or what became of one."""
        match event.get("subtype"):
            case "message_changed":
                message = event.get("message", {})
                if _is_by_a_person(message, myself):
                    await self._await_its_message(body, event, message["ts"])
                    heard = _heard(body, event["channel"], message, myself)
                    upset = await self._threads.change(heard.workspace, heard.channel, heard.ts, heard.text)
                    await self._follow(upset, event)
                    if upset is not None:
                        await self._give_way(upset.conversation_id, heard)
            case "message_deleted":
                await self._await_its_message(body, event, event["deleted_ts"])
                taken_back = self._threads.take_back(workspace_of(body), event["channel"], event["deleted_ts"])
                await self._follow(await taken_back, event)
            case subtype if subtype in SAYING:
                await self.hear(body, event, myself, asked=event.get("channel_type") == "im")

    async def hear(self, body: Mapping[str, Any], event: Mapping[str, Any], myself: str | None, *, asked: bool) -> None:
        """A new message; `asked` if it is meant for Sluice wherever it was said."""
        if not _is_by_a_person(event, myself) or event.get("subtype") not in SAYING:
            return
        heard = _heard(body, event["channel"], event, myself)
        if not asked and not await self._is_said_to_sluice(heard, event.get("text") or "", myself):
            return
        conversation_id = await self._threads.hear(heard)
        if conversation_id is None:
            return
        await conversing.submit(self._services, conversation_id, heard.ts)
        await self._give_way(conversation_id, heard)

    async def object_to(self, body: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Somebody put ❌ on something."""
        item = event.get("item", {})
        if item.get("type") == "message":
            upset = await self._threads.object_to(workspace_of(body), item["channel"], item["ts"], event["user"])
            await self._follow(upset, event)

    async def stop(self, body: Mapping[str, Any], event: Mapping[str, Any], client: AsyncWebClient) -> None:
        """Somebody pressed Slack's button to stop in a thread. Slack shows it until it is told that nothing goes on."""
        spot = Spot(event["channel"], event["thread_ts"], workspace_of(body), event["user"])
        at = moment_of(event["event_ts"])
        upset = await self._threads.stop(spot.workspace, spot.channel, spot.thread, at)
        self._stop(upset)
        if upset is None:
            await AgentSession(client, spot, Manners()).rest(MOMENT_S)

    async def _give_way(self, conversation_id: str, heard: Heard) -> None:
        """Have a message that is an order wait for no run. To find out may take a while, and by then it is kept."""
        if await self._is_order(heard):
            self._stop(await self._threads.make_way(conversation_id, heard.ts, heard.text))

    async def _is_order(self, heard: Heard) -> bool:
        """Whether it plainly orders to lower or hold exposure: that waits neither for a model nor for another run."""
        if not may_order(heard.text):
            return False
        about = await self._threads.about(heard.workspace, heard.channel, heard.thread)
        said = Said(author=heard.author, text=heard.text, at=moment_of(heard.ts), new=True)
        turn = Turn(
            conversation_id="",
            workspace=heard.workspace,
            channel=heard.channel,
            person=heard.author,
            messages=(said,),
            environment=self._services.settings.environment,
            now=self._services.clock.now(),
            flag=about.flag if about is not None else None,
            rollout_id=about.id if about is not None else None,
            rollout_environment=about.environment if about is not None else None,
        )
        return await self._services.agent.is_order(turn)

    async def _is_said_to_sluice(self, heard: Heard, text: str, myself: str | None) -> bool:
        """Whether a message without a mention is: in a thread that Sluice takes part in, and to nobody else."""
        if heard.thread == heard.ts or is_for_another(text, myself=myself):
            return False
        return await self._threads.takes_part(heard.workspace, heard.channel, heard.thread)

    async def _await_its_message(self, body: Mapping[str, Any], event: Mapping[str, Any], ts: str) -> None:
        """What happened to a message may come before the message: give a fresh one a moment."""
        fresh = float(event["event_ts"]) - float(ts) < FRESH_S
        if fresh and not await self._threads.knows(workspace_of(body), event["channel"], ts):
            await self._services.clock.sleep(MOMENT_S)

    async def _follow(self, upset: Upset | None, event: Mapping[str, Any]) -> None:
        """Stop what must stop, and have read what is to be read again."""
        if upset is None:
            return
        self._stop(upset)
        if upset.again:
            await conversing.submit(self._services, upset.conversation_id, str(event["event_ts"]))

    def _stop(self, upset: Upset | None) -> None:
        """Stop the run that must, if it goes on here; in another process it looks for that itself."""
        if upset is not None and upset.run_id is not None:
            self._services.runs.stop(upset.run_id)


async def _is_of_a_thread(event: Mapping[str, Any]) -> bool:
    """Whether a session is a thread's: Sluice begins no other."""
    return bool(event.get("thread_ts"))


def _heard(body: Mapping[str, Any], channel: str, message: Mapping[str, Any], myself: str | None) -> Heard:
    return Heard(
        workspace=workspace_of(body),
        channel=channel,
        thread=message.get("thread_ts") or message["ts"],
        ts=message["ts"],
        author=message["user"],
        text=words_of(message.get("text") or "", myself=myself),
    )


def _is_by_a_person(message: Mapping[str, Any], myself: str | None) -> bool:
    """Whether a person wrote it: two bots that answer each other would never end."""
    return bool(message.get("user")) and not message.get("bot_id") and message["user"] != myself
