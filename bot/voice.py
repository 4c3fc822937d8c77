"""How a run of the agent is seen in its thread while it goes: that it works, then a message that is written bit by bit.

The run only tells this voice what is so; one task brings Slack up to date with it, about once a second. So Slack can
neither fail nor slow a run, and what waits for it is never more than one state. A message is streamed where Slack
takes streams (https://docs.slack.dev/reference/methods/chat.startStream) and edited where it does not; a stream that
has died is recovered by editing its message.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self

import structlog
from slack_sdk.models.blocks import Block
from slack_sdk.web.async_client import AsyncWebClient

from agent.redaction import redacted
from bot import agent_sessions, texts
from bot.agent_sessions import (
    NOT_FOR_US,
    NOT_SHOWN,
    STILL_STREAMING,
    AgentSession,
    Manners,
    Refusal,
    Spot,
    attempted,
)
from bot.blocks.conversation import MOST_TITLE, Rendered, Task, rendered_so_far
from bot.blocks.mrkdwn import ELLIPSIS, plain
from bot.blocks.prose import MOST_PROSE, prose, prose_so_far
from tools.errors import Unavailable

STATUS_EVERY_S = 90.0
"""Slack takes an older status line away after two minutes."""
STREAM_LASTS_S = 240.0
"""Slack ends a stream after about five minutes."""
EDITS_SLOWER = 2
BEFORE_BEGINNING = 0.3
"""How long, in pauses, an answer may take before its message is begun: a quick one is posted whole."""
MOST_STREAMED = MOST_PROSE - 500

MESSAGE_LOST = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
SHOWING_FAILED = "voice.showing_failed"

logger = structlog.get_logger(__name__)


class NotDelivered(Unavailable):
    """Slack did not take the answer; it is kept, and can be shown later."""


class Undeliverable(Exception):
    """Slack will never take the answer: its channel or thread is gone, or it refuses even the plain text."""


GONE = frozenset({"channel_not_found", "is_archived", "not_in_channel", "thread_not_found", "cannot_reply_to_message"})


class _Mode(Enum):
    NOTHING = auto()  # no message yet
    STREAM = auto()
    EDITS = auto()


async def _utc() -> tzinfo:
    return UTC


@dataclass(slots=True)
class _Told:
    """What Slack has of the present message: how much of the text, and which state of which task."""

    text: str = ""
    tasks: dict[str, Task] = field(default_factory=dict)


class SlackVoice:
    """Shows one run, for as long as the block runs; `finish` inside it puts the answer in place.

    `opened` is told the timestamp of the message as soon as there is one. `ts` is a message that an earlier attempt
    left, which is taken over. `pause` is how long to wait between two calls, in seconds. `zone` is asked for the zone
    of whoever is answered.
    """

    def __init__(
        self,
        slack: AsyncWebClient,
        spot: Spot,
        manners: Manners,
        *,
        opened: Callable[[str], Awaitable[None]],
        ts: str | None = None,
        pause: float = 1.0,
        zone: Callable[[], Awaitable[tzinfo]] = _utc,
    ) -> None:
        self._slack = slack
        self._spot = spot
        self._manners = manners
        self._session = AgentSession(slack, spot, manners)
        self._opened = opened
        self._ts = ts
        self._pause = pause
        self._ask_zone = zone
        self._zone: tzinfo = UTC
        self._mode = _Mode.NOTHING if ts is None else _Mode.EDITS
        self._tasks: dict[str, Task] = {}
        self._said = list[str]()
        self._saying = ""
        self._told = _Told()
        self._streaming_since = 0.0
        self._news = asyncio.Event()
        self._showing: asyncio.Task[None] | None = None
        self._over = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._showing = asyncio.create_task(self._show(), name="voice")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._hush()
        await self._session.rest(self._pause)

    # -- what the run tells ------------------------------------------------------------------------------------------

    async def thinking(self) -> None:
        """What was said up to now was said before a step; the next text is a new one."""
        if self._saying:
            # Of what was cut off the last word may be half a secret.
            said = redacted(self._saying) if len(self._saying) < MOST_STREAMED else redacted_so_far(self._saying)
            self._said.append(said.strip())
            self._saying = ""

    async def calling(self, call_id: str, tool: str, title: str) -> None:
        self._tell(Task(call_id, title, "in_progress"))

    async def called(self, call_id: str, tool: str, title: str, *, failed: bool) -> None:
        self._tell(Task(call_id, title, "error" if failed else "complete"))

    async def saying(self, piece: str) -> None:
        left = MOST_STREAMED - len(self._saying)
        if left > 0:
            self._saying += (piece if self._saying else piece.lstrip())[:left]
            self._news.set()

    def _tell(self, task: Task) -> None:
        self._tasks[task.id] = task
        self._news.set()

    # -- the end -----------------------------------------------------------------------------------------------------

    async def finish(self, whole: Rendered) -> str:
        """Put the whole answer in place; the timestamp of its message. Raises NotDelivered, Undeliverable."""
        await self._hush()
        if self._mode is _Mode.STREAM and await self._stop_stream(whole):
            return str(self._ts)
        refusal = await self._put(whole.summary, whole.blocks)
        for text, blocks in ((whole.summary, whole.simple), (whole.words, ())):
            if refusal is None or refusal.passes or refusal.code in GONE:
                break
            # Something in it is not to Slack's liking: what there is to press and to read still is worth having.
            logger.warning(NOT_SHOWN, channel=self._spot.channel, reason=refusal.code)
            refusal = await self._put(text, blocks)
        if refusal is None:
            return str(self._ts)
        if refusal.passes:
            raise NotDelivered(f"Slack did not take the answer ({refusal.code}); it is kept and shown when Slack does.")
        raise Undeliverable(refusal.code)

    async def _put(self, text: str, blocks: Sequence[Block]) -> Refusal | None:
        """Write the whole message where it was begun, else anew; why Slack did not take it."""
        if self._ts is not None:
            _, refusal = await self._update(text, blocks)
            if refusal is None or refusal.code not in MESSAGE_LOST:
                return refusal
        answer, refusal = await self._post(text, blocks)
        if answer is not None:
            self._ts = str(answer["ts"])
        return refusal

    async def zone(self) -> tzinfo:
        """The zone of whoever is answered."""
        return await self._ask_zone()

    async def vanish(self) -> None:
        """There is nothing to say: the status line goes; a message that was begun ends as it is."""
        await self._hush()
        if self._mode is _Mode.STREAM:
            await self._call(self._slack.chat_stopStream(channel=self._spot.channel, ts=str(self._ts)))
        elif self._ts is None:
            await self._session.take_line_away()

    @property
    def tasks(self) -> list[Task]:
        """The tool calls so far."""
        return list(self._tasks.values())

    @property
    def has_message(self) -> bool:
        """Whether people see a message of this run already."""
        return self._ts is not None

    async def _stop_stream(self, whole: Rendered) -> bool:
        """Whether the stream ended with the whole answer in it; if not, its message is to be edited."""
        chunks, blocks = list[dict[str, Any]](), list[dict[str, Any]]()
        fits = whole.markdown.startswith(self._told.text) or whole.markdown == self._told.text.rstrip()
        if fits:
            self._tasks = {task.id: task for task in whole.tasks}
            chunks, blocks = self._task_chunks(), _plain(whole.tail)
            chunks += _text_chunks(whole.markdown[len(self._told.text) :])
        stopping = self._slack.chat_stopStream(
            channel=self._spot.channel, ts=str(self._ts), chunks=chunks or None, blocks=blocks or None
        )
        answer, _ = await self._call(stopping)
        return fits and answer is not None

    async def _hush(self) -> None:
        """Show nothing more. A call that is on its way is let come to its end, for else nobody knows what it did."""
        if self._showing is None:
            return
        showing, self._showing = self._showing, None
        self._over.set()
        self._news.set()
        await asyncio.wait({showing}, timeout=2 * agent_sessions.CALL_TIMEOUT_S)
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)

    # -- what Slack is told ------------------------------------------------------------------------------------------

    async def _show(self) -> None:
        """Keep Slack up to date. A fault of ours in it is logged; the run and its final answer go on without it."""
        while not self._over.is_set():
            try:
                await self._follow()
            except Exception:
                logger.exception(SHOWING_FAILED, reference=secrets.token_hex(4), channel=self._spot.channel)
                await self._rest(self._pause)

    async def _follow(self) -> None:
        """Bring Slack up to date again and again."""
        await self._work()
        self._zone = await self.zone()
        while not self._over.is_set():
            try:
                await asyncio.wait_for(self._news.wait(), STATUS_EVERY_S)
            except TimeoutError:
                await self._work()
                continue
            if self._over.is_set():
                return
            if self._mode is _Mode.NOTHING:
                await self._rest(self._pause * BEFORE_BEGINNING)
                if self._over.is_set():
                    return
            self._news.clear()
            await self._catch_up()
            await self._rest(self._pause * (EDITS_SLOWER if self._mode is _Mode.EDITS else 1))

    async def _rest(self, seconds: float) -> None:
        """Wait, unless the run ends meanwhile."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    async def _catch_up(self) -> None:
        chunks = [*self._task_chunks(), *_text_chunks(self._new_text())]
        if not chunks:
            return
        match self._mode:
            case _Mode.NOTHING:
                await self._open(chunks)
            case _Mode.STREAM:
                await self._append(chunks)
            case _Mode.EDITS:
                await self._edit()

    async def _open(self, chunks: Sequence[dict[str, Any]]) -> None:
        if self._manners.streams:
            told = self._now()
            answer, refusal = await self._call(
                self._slack.chat_startStream(
                    channel=self._spot.channel,
                    thread_ts=self._spot.thread,
                    recipient_team_id=self._spot.workspace or None,
                    recipient_user_id=self._spot.person,
                    task_display_mode="plan",
                    chunks=chunks,
                )
            )
            if answer is not None:
                self._mode, self._told = _Mode.STREAM, told
                self._streaming_since = asyncio.get_running_loop().time()
                await self._take(str(answer["ts"]))
                return
            if refusal is not None and refusal.code in NOT_FOR_US:
                self._manners.streams = False
        await self._edit()

    async def _append(self, chunks: Sequence[dict[str, Any]]) -> None:
        told = self._now()
        if asyncio.get_running_loop().time() - self._streaming_since > STREAM_LASTS_S:
            await self._begin_anew()
            return
        answer, _ = await self._call(
            self._slack.chat_appendStream(channel=self._spot.channel, ts=str(self._ts), chunks=chunks)
        )
        if answer is not None:
            self._told = told
        else:
            # Whether Slack has it is not known, or the stream is dead: from here on the message is written as a whole.
            self._mode = _Mode.EDITS
            self._news.set()

    async def _begin_anew(self) -> None:
        """End a stream that Slack would end soon, and go on in a message of its own."""
        await self._call(self._slack.chat_stopStream(channel=self._spot.channel, ts=str(self._ts)))
        self._mode, self._ts = _Mode.NOTHING, None
        self._told = _Told(tasks={id_: task for id_, task in self._told.tasks.items() if task.is_over})
        self._news.set()

    async def _edit(self) -> None:
        """Write the message anew as it is now."""
        told = self._now()
        blocks, summary = rendered_so_far(list(self._tasks.values()), told.text, self._text(UTC))
        if self._ts is not None:
            answer, _ = await self._update(summary, blocks)
        else:
            answer, _ = await self._post(summary, blocks)
            if answer is not None:
                self._mode = _Mode.EDITS
                await self._take(str(answer["ts"]))
        if answer is not None:
            self._told = told

    async def _post(self, summary: str, blocks: Sequence[Block]) -> tuple[Any, Refusal | None]:
        posting = self._slack.chat_postMessage(
            channel=self._spot.channel,
            thread_ts=self._spot.thread,
            text=summary,
            blocks=_plain(blocks),
            unfurl_links=False,
            unfurl_media=False,
        )
        return await self._call(posting)

    async def _update(self, summary: str, blocks: Sequence[Block]) -> tuple[Any, Refusal | None]:
        channel, ts = self._spot.channel, str(self._ts)
        arguments: dict[str, Any] = {"channel": channel, "ts": ts, "text": summary, "blocks": _plain(blocks)}
        answer, refusal = await self._call(self._slack.chat_update(**arguments))
        if refusal is not None and refusal.code == STILL_STREAMING:
            # Nobody told Slack that the stream is over, or Slack did not hear it.
            await self._call(self._slack.chat_stopStream(channel=channel, ts=ts))
            answer, refusal = await self._call(self._slack.chat_update(**arguments))
        return answer, refusal

    async def _take(self, ts: str) -> None:
        self._ts = ts
        await self._opened(ts)

    async def _work(self) -> None:
        """Show that the run goes on. A message shows it too, so only a session is told once there is one."""
        await self._session.work(texts.STATUS_THINKING if self._ts is None else None)

    def _now(self) -> _Told:
        """What there is to tell at this moment."""
        return _Told(self._text(self._zone), dict(self._tasks))

    def _text(self, zone: tzinfo) -> str:
        said = "".join(f"{prose(one, zone=zone)}\n\n" for one in self._said)
        return (said + prose_so_far(redacted_so_far(self._saying), zone=zone))[:MOST_STREAMED]

    def _new_text(self) -> str:
        text = self._text(self._zone)
        # What is redacted now may have been shown otherwise; the end puts it right.
        return text[len(self._told.text) :] if text.startswith(self._told.text) else ""

    def _task_chunks(self) -> list[dict[str, Any]]:
        changed = [task for task in self._tasks.values() if self._told.tasks.get(task.id) != task]
        chunks = [
            {"type": "task_update", "id": task.id, "title": _title(task), "status": task.status} for task in changed
        ]
        if chunks and not self._told.tasks:
            chunks.insert(0, {"type": "plan_update", "title": texts.TASKS})
        return chunks

    async def _call(self, calling: Awaitable[Any]) -> tuple[Any, Refusal | None]:
        """What Slack answered, or why it did not."""
        return await attempted(calling, self._spot.channel)


def redacted_so_far(text: str) -> str:
    """The text without secrets up to its last whole word, for half a secret looks like none."""
    end = max(text.rfind(" "), text.rfind("\n")) + 1
    return redacted(text[:end])


def _title(task: Task) -> str:
    """A task's title, which may hold a model's words, without anything that Slack could take for a token."""
    return prose(plain(task.title, MOST_TITLE)) or ELLIPSIS


def _plain(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    return [block.to_dict() for block in blocks]


def _text_chunks(text: str) -> list[dict[str, Any]]:
    return [{"type": "markdown_text", "text": text}] if text else []
