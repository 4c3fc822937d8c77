"""A model that says what it was given to say, when a test lets it; and what was said in a thread."""

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from pydantic import PrivateAttr
from sqlalchemy import select, text

from agent import prompts
from agent.model import ModelUnavailable
from agent.scripted import Line, ScriptedModel
from bot.workspace.records import Message
from tests.acceptance.slack.office import RELEASES, Office, listening, until
from tools.records.models import AgentRun


def call(tool: str, **arguments: Any) -> AIMessage:
    """A line that calls a tool."""
    return AIMessage("", tool_calls=[{"id": f"call-{tool}", "name": tool, "args": arguments}])


class Told(ScriptedModel):
    """Says its lines in conversations, and sketches no plans; it thinks for as long as it is held.

    `asked` has what it was asked for.
    """

    _free: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)
    _thinking: int = PrivateAttr(default=0)

    @classmethod
    def to_say(cls, *lines: Line | str, held: bool = False) -> "Told":
        """One that says these lines, then that it has no more to say."""
        left = list(lines)

        def next_line(_messages: Sequence[BaseMessage]) -> Line:
            line = left.pop(0) if left else "Nothing more."
            return AIMessage(line) if isinstance(line, str) else line

        model = cls(lines=next_line)
        if not held:
            model.release()
        return model

    def hold(self) -> None:
        """Let it think until it is released."""
        self._free.clear()

    def release(self) -> None:
        """Let it speak."""
        self._free.set()

    @property
    def thinking(self) -> bool:
        """Whether it is being waited for."""
        return self._thinking > 0

    @property
    def questions(self) -> list[str]:
        """The last message of each request."""
        return [str(messages[-1].content) for messages in self.asked]

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> Any:
        if str(messages[0].content) != prompts.load("system").text:
            raise ModelUnavailable("This model only talks; plans come from the calculators.")
        self._thinking += 1
        try:
            await self._free.wait()
        finally:
            self._thinking -= 1
        return await super()._agenerate(messages, *args, **options)


def say_and_hold(model: Told) -> None:
    """Let the model say a line, and then think until it is released."""
    lines = model.lines

    def then_hold(messages: Sequence[BaseMessage]) -> Line:
        model.hold()
        return lines(messages)

    model.lines = then_hold


def answers(office: Office, channel: str = RELEASES, thread: str | None = None) -> list[Message]:
    """What Sluice said in a channel's threads (cards and their notes left out), as far as it is written."""
    return [
        message
        for message in office.messages(channel)
        if message.user == office.running.settings.bot_user_id
        and message.is_reply
        and message.thread_ts == (thread or message.thread_ts)
        and any(block["type"] in ("context_actions", "markdown", "task_card", "plan") for block in message.blocks)
    ]


def finished(office: Office, channel: str = RELEASES, thread: str | None = None) -> list[Message]:
    """Those that are whole."""
    return [
        message
        for message in answers(office, channel, thread)
        if any(block["type"] == "context_actions" for block in message.blocks)
    ]


async def answered(office: Office, count: int = 1, channel: str = RELEASES, thread: str | None = None) -> Message:
    """The newest of `count` whole answers, once there are so many."""
    await until(lambda: len(finished(office, channel, thread)) >= count, 15)
    await office.settle()
    whole = finished(office, channel, thread)
    assert len(whole) == count
    return whole[-1]


async def heard(office: Office) -> None:
    """Return when everything that was said, changed or pressed so far has been taken in."""
    await office.running.people.idle()
    await until(lambda: not listening())


def tasks(message: Message) -> list[tuple[str, str]]:
    """The title and state of each tool call that a message shows."""
    cards = [
        one for block in message.blocks for one in ([block] if block["type"] == "task_card" else block.get("tasks", []))
    ]
    return [(card["title"], card["status"]) for card in cards]


async def runs(office: Office) -> list[AgentRun]:
    """Every run, the oldest first."""
    async with office.services.database.read() as session:
        return list((await session.scalars(select(AgentRun).order_by(text("rowid")))).all())
