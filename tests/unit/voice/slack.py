"""The part of Slack's client that a voice uses, as real code: messages, streams, and what can go wrong."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.unit.notifier.slack import refusal


@dataclass
class Shown:
    """A message as people see it."""

    text: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)
    tasks: dict[str, tuple[str, str]] = field(default_factory=dict)
    title: str = ""
    streaming: bool = False


@dataclass
class Channel:
    """One thread. `refusals` has what each method answers next; `hangs` are methods that never answer.

    `sessions` has each status of its agent session, `statuses` each older status line; `warns` where nobody hears the
    button that stops a session.
    """

    shown: dict[str, Shown] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    refusals: dict[str, list[str]] = field(default_factory=dict)
    hangs: set[str] = field(default_factory=set)
    statuses: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    warns: bool = False
    arguments: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def chat_startStream(self, **given: Any) -> dict[str, Any]:  # noqa: N802 - Slack's name
        await self._called("startStream", given)
        ts = self._new(Shown(streaming=True))
        self._take(self.shown[ts], given)
        return {"ts": ts}

    async def chat_appendStream(self, *, ts: str, **given: Any) -> dict[str, Any]:  # noqa: N802
        await self._called("appendStream", given)
        self._take(self._stream(ts), given)
        return {"ts": ts}

    async def chat_stopStream(self, *, ts: str, **given: Any) -> dict[str, Any]:  # noqa: N802
        await self._called("stopStream", given)
        message = self._stream(ts)
        self._take(message, given)
        message.blocks = given.get("blocks") or []
        message.streaming = False
        return {"ts": ts}

    async def chat_postMessage(self, **given: Any) -> dict[str, Any]:  # noqa: N802
        await self._called("postMessage", given)
        return {"ts": self._new(Shown(given["text"], given["blocks"]))}

    async def chat_update(self, *, ts: str, **given: Any) -> dict[str, Any]:
        await self._called("update", given)
        if ts not in self.shown:
            raise refusal("message_not_found")
        if self.shown[ts].streaming:
            raise refusal("streaming_state_conflict")
        self.shown[ts] = Shown(given["text"], given["blocks"])
        return {"ts": ts}

    async def assistant_threads_setStatus(self, *, status: str, **given: Any) -> dict[str, Any]:  # noqa: N802
        await self._called("setStatus", given)
        self.statuses.append(status)
        return {}

    async def agents_sessions_setStatus(self, *, status: str, **given: Any) -> dict[str, Any]:  # noqa: N802
        await self._called("sessions.setStatus", given)
        self.sessions.append(status)
        warned = {"warnings": ["missing_agent_session_stopped_event_subscription"]}
        return {"status": status} | ({"response_metadata": warned} if self.warns else {})

    async def _called(self, method: str, given: dict[str, Any]) -> None:
        self.calls[method] += 1
        self.arguments.append((method, given))
        if method in self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.refusals.get(method):
            raise refusal(self.refusals[method].pop(0))

    def _new(self, message: Shown) -> str:
        ts = f"{len(self.shown) + 1}.000000"
        self.shown[ts] = message
        return ts

    def _stream(self, ts: str) -> Shown:
        if not self.shown[ts].streaming:
            raise refusal("message_not_in_streaming_state")
        return self.shown[ts]

    def _take(self, message: Shown, given: dict[str, Any]) -> None:
        for chunk in given.get("chunks") or ():
            match chunk["type"]:
                case "markdown_text":
                    message.text += chunk["text"]
                case "task_update":
                    message.tasks[chunk["id"]] = (chunk["title"], chunk["status"])
                case "plan_update":
                    message.title = chunk["title"]
