"""A thread's job: its unread messages are read and answered, one run of the agent after the other.

The job's key is the conversation, so that a thread has one run at a time; whatever a dead process left behind is taken
up first. A run reads what one person wrote, up to the next person's message: who acts is always who wrote.
"""

from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_sdk.models.blocks import Block
from slack_sdk.web.async_client import AsyncWebClient

from agent.earlier import earlier_calls
from agent.turns import Answer, Ending, Turn
from bot import texts
from bot.agent_sessions import AgentSession, Manners, Spot
from bot.blocks import parts
from bot.blocks.answers import list_blocks
from bot.blocks.conversation import Said, rendered
from bot.blocks.help import help_blocks
from bot.clients import Clients
from bot.recalling import said_by
from bot.services import Services
from bot.threads import Taken, Threads, Unanswered
from bot.voice import NotDelivered, SlackVoice, Undeliverable
from tools.records.models import Conversation, new_id

KIND = "conversation"
UNDELIVERABLE = "conversation.undeliverable"
MOST_LISTED = 5
FORGOTTEN_EVERY = timedelta(minutes=1)
"""How often messages that nobody reads are looked for."""
DIRECT = "D"
"""What ids of direct messages begin with."""

logger = structlog.get_logger(__name__)


def register(_app: AsyncApp, services: Services) -> None:
    """Let the job runner answer threads."""
    talk = Talk(services, services.clients)
    services.jobs.handle(KIND, talk.go_on)


async def submit(services: Services, conversation_id: str, request: str) -> None:
    """Have the thread's unread messages read; the same request is taken once."""
    dedupe = f"{KIND}:{conversation_id}:{request}"
    await services.jobs.submit(KIND, conversation_id, {"conversation": conversation_id}, dedupe=dedupe)


async def take_up_forgotten(services: Services) -> None:
    """Submit jobs for messages that a process wrote down and died before it could, or whose run came to nothing."""
    for conversation_id, oldest in await Threads(services.database, services.clock).left_alone():
        await submit(services, conversation_id, f"{oldest}:{services.clock.now():%H%M}")


class Talk:
    """Answers threads."""

    def __init__(self, services: Services, clients: Clients[AsyncWebClient], *, pause: float = 1.0) -> None:
        self._services = services
        self._clients = clients
        self._threads = Threads(services.database, services.clock)
        self._manners = defaultdict[str, Manners](Manners)
        self._pause = pause

    async def go_on(self, payload: Mapping[str, Any]) -> None:
        """Answer everything that is unread, then show what Slack did not take before.

        Raises NotDelivered when Slack does not take an answer: it is kept, and keeps nobody else's back; and
        NotInstalled where the app is not any more.
        """
        found = await self._threads.find(payload["conversation"])
        if found is None:
            return
        await self._clients.of(found.conversation.workspace)
        conversation, left, waiting = found.conversation, None, list[Unanswered]()
        if found.broken and await self._threads.recover(conversation.id):
            left = await self._threads.left_message(conversation.id)
        if found.broken or found.undelivered:
            waiting = await self._threads.unanswered(conversation.id)
        refused = list[NotDelivered]()
        while await _unless_refused(self._answer_next(conversation, left), refused):
            left = None
        for unanswered in waiting:
            await _unless_refused(self._deliver(conversation, unanswered), refused)
        if found.broken:
            # Slack shows what a dead process began as going on, also where nothing was left to answer.
            slack = await self._clients.of(conversation.workspace)
            await AgentSession(slack, *self._place(conversation, "")).rest(self._pause)
        if refused:
            raise refused[0]

    async def _answer_next(self, conversation: Conversation, left: str | None) -> bool:
        """Whether there may be more to answer. `left` is a message that a dead run had begun."""
        run_id = new_id()
        with self._services.runs.going(run_id) as stop:
            taken = await self._threads.take(conversation, run_id)
            if taken is None:
                return False
            turn = await self._turn(conversation, taken)
            async with await self._voice(conversation, taken.person, run_id, left) as voice:
                answer = await self._services.agent.run(turn, voice, stop, run_id=run_id)
                return await self._say(conversation, voice, answer)

    async def _say(self, conversation: Conversation, voice: SlackVoice, answer: Answer) -> bool:
        """Put the answer in place; whether there is more to read."""
        text = answer.text
        if answer.ending is Ending.STOPPED and not await self._threads.is_awaited(answer.run_id):
            # What was asked was taken back or changed: the next run answers what is asked now.
            if not voice.has_message:
                await voice.vanish()
                return True
            text = texts.STOPPED_ANEW
        more = await self._help(conversation, answer.ending)
        if answer.confirmations:
            said = await said_by(self._services, answer.run_id, text, more=more)
        else:
            said = Said(answer.run_id, text, answer.facts, voice.tasks, more=more)
        return await self._put(conversation, voice, said, about=answer.rollouts[-1] if answer.rollouts else None)

    async def _deliver(self, conversation: Conversation, unanswered: Unanswered) -> bool:
        """Show an answer that Slack did not take before."""
        said = await said_by(self._services, unanswered.run_id, more=await self._help(conversation, unanswered.ending))
        async with await self._voice(conversation, unanswered.person, unanswered.run_id, unanswered.ts) as voice:
            return await self._put(conversation, voice, said)

    async def _put(
        self, conversation: Conversation, voice: SlackVoice, said: Said, *, about: str | None = None
    ) -> bool:
        try:
            ts = await voice.finish(rendered(said, await voice.zone()))
        except Undeliverable as error:
            logger.warning(UNDELIVERABLE, channel=conversation.channel, run=said.run_id, reason=str(error))
            await self._threads.give_up(said.run_id, str(error))
            return True
        return await self._threads.says(conversation.id, said.run_id, ts, said.text, about=about)

    async def _help(self, conversation: Conversation, ending: Ending) -> Sequence[Block]:
        """What is rolling out and what can be typed, where no model can say so."""
        if ending is not Ending.UNAVAILABLE:
            return ()
        views = await self._services.rollouts.of(conversation.workspace).open()
        examples = help_blocks([view.flag for view in views])[1:-1]
        return [*list_blocks(views, most=MOST_LISTED), parts.divider(), *examples]

    async def _voice(self, conversation: Conversation, person: str, run_id: str, ts: str | None) -> SlackVoice:
        async def opened(ts: str) -> None:
            await self._threads.says(conversation.id, run_id, ts, "")

        slack = await self._clients.of(conversation.workspace)
        zone = partial(self._services.zones.of, person, workspace=conversation.workspace)
        spot, manners = self._place(conversation, person)
        return SlackVoice(slack, spot, manners, opened=opened, ts=ts, pause=self._pause, zone=zone)

    def _place(self, conversation: Conversation, person: str) -> tuple[Spot, Manners]:
        """Where the person is answered, and what Slack is known not to do there."""
        thread = str(conversation.thread_ts or conversation.card_ts)
        spot = Spot(conversation.channel, thread, conversation.workspace, person)
        return spot, self._manners[conversation.workspace]

    async def _turn(self, conversation: Conversation, taken: Taken) -> Turn:
        settings, rollout = self._services.settings, taken.rollout
        in_private = conversation.channel.startswith(DIRECT)
        is_first = all(said.new for said in taken.said)
        return Turn(
            conversation_id=conversation.id,
            workspace=conversation.workspace,
            channel=(settings.slack.of(conversation.workspace).releases_channel if in_private else None)
            or conversation.channel,
            person=taken.person,
            messages=taken.said,
            environment=settings.environment,
            now=self._services.clock.now(),
            flag=rollout.flag if rollout is not None else None,
            rollout_id=rollout.id if rollout is not None else None,
            rollout_environment=rollout.environment if rollout is not None else None,
            overtaken=taken.overtaken,
            earlier_calls=() if is_first else await earlier_calls(self._services.database, conversation.id),
        )


async def _unless_refused(answering: Awaitable[bool], refused: list[NotDelivered]) -> bool:
    """Whether there may be more to answer; an answer that Slack does not take is noted, and others may follow."""
    try:
        return await answering
    except NotDelivered as error:
        refused.append(error)
        return True
