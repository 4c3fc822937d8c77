"""A small Slack for the notifier: it keeps messages, and refuses when it is told to, with Slack's own errors."""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_slack_response import AsyncSlackResponse

NO_ANSWER = aiohttp.ServerDisconnectedError()


@dataclass
class Said:
    """One call that Slack took."""

    method: str
    channel: str
    ts: str
    text: str
    thread_ts: str | None = None
    broadcast: bool = False
    blocks: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] | None = None


def spaced(text: str) -> str:
    """The text with plain spaces."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


def refusal(code: str, *, status: int = 200, retry_after: int | None = None) -> SlackApiError:
    """The error that slack_sdk raises for such an answer."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    response = AsyncSlackResponse(
        client=None,
        http_verb="POST",
        api_url="https://slack.com/api/",
        req_args={},
        data={"ok": False, "error": code} if code else "upstream connect error",
        headers=headers,
        status_code=status,
    )
    return SlackApiError(f"The request failed: {code}", response)


@dataclass
class FakeSlack:
    """`refusals` are raised by the next calls, one each; `closed` channels and `broken` methods raise theirs always."""

    taken: list[Said] = field(default_factory=list)
    refusals: deque[Exception] = field(default_factory=deque)
    closed: dict[str, Exception] = field(default_factory=dict)
    broken: dict[str, Exception] = field(default_factory=dict)
    calls: int = 0
    files: set[str] = field(default_factory=set)
    uploaded: list[dict[str, Any]] = field(default_factory=list)
    looked_through: bool = True
    before: Callable[[], Awaitable[None]] | None = None

    async def chat_postMessage(self, *, channel: str, **arguments: Any) -> dict[str, Any]:  # noqa: N802 - Slack's name
        await self._admit("post", channel)
        thread = arguments.get("thread_ts")
        if thread is not None and not self._has(channel, thread):
            raise refusal("thread_not_found")
        self._check_pictures(arguments)
        ts = f"{len(self.taken) + 1}.000000"
        self._take("post", channel, ts, arguments)
        return {"ok": True, "ts": ts}

    async def chat_update(self, *, channel: str, ts: str, **arguments: Any) -> dict[str, Any]:
        await self._admit("update", channel)
        if not self._has(channel, ts):
            raise refusal("message_not_found")
        self._check_pictures(arguments)
        self._take("update", channel, ts, arguments)
        return {"ok": True, "ts": ts}

    async def chat_getPermalink(self, *, channel: str, message_ts: str) -> dict[str, Any]:  # noqa: N802 - Slack's name
        if not self._has(channel, message_ts):
            raise refusal("message_not_found")
        return {"ok": True, "permalink": f"https://acme.slack.com/archives/{channel}/p{message_ts.replace('.', '')}"}

    async def conversations_history(self, *, channel: str, **arguments: Any) -> dict[str, Any]:
        """The newest messages first, as Slack gives them."""
        if "history" in self.broken:
            raise self.broken["history"]
        said = [said for said in reversed(self.of("post")) if said.channel == channel]
        return {"ok": True, "messages": [{"ts": one.ts, "metadata": one.metadata} for one in said]}

    async def users_info(self, *, user: str) -> dict[str, Any]:
        """Everybody is called by the end of their id."""
        if "names" in self.broken:
            raise self.broken["names"]
        return {"ok": True, "user": {"name": user.lower(), "profile": {"display_name": user[1:].title()}}}

    async def files_upload_v2(self, **arguments: Any) -> dict[str, Any]:
        """An upload to nobody; `looked_through`: blocks may show it at once."""
        await self._admit("upload", "")
        self.uploaded.append(arguments)
        file_id = f"F{len(self.uploaded):08d}"
        self.files.add(file_id)
        return {"ok": True, "file": {"id": file_id}}

    async def files_delete(self, *, file: str) -> dict[str, Any]:
        await self._admit("delete", "")
        if file not in self.files:
            raise refusal("file_deleted")
        self.files.remove(file)
        return {"ok": True}

    def of(self, method: str) -> list[Said]:
        """The calls of one kind."""
        return [said for said in self.taken if said.method == method]

    def _has(self, channel: str, ts: str) -> bool:
        return any((said.method, said.ts, said.channel) == ("post", ts, channel) for said in self.taken)

    async def _admit(self, method: str, channel: str) -> None:
        self.calls += 1
        if self.before is not None:
            await self.before()
        if self.refusals:
            raise self.refusals.popleft()
        if channel in self.closed:
            raise self.closed[channel]
        if method in self.broken:
            raise self.broken[method]

    def _check_pictures(self, arguments: dict[str, Any]) -> None:
        shown = {block["slack_file"]["id"] for block in arguments.get("blocks", []) if block["type"] == "image"}
        if shown and not (self.looked_through and shown <= self.files):
            raise refusal("invalid_blocks")

    def _take(self, method: str, channel: str, ts: str, arguments: dict[str, Any]) -> None:
        self.taken.append(
            Said(
                method,
                channel,
                ts,
                spaced(arguments["text"]),
                arguments.get("thread_ts"),
                arguments.get("reply_broadcast", False),
                arguments.get("blocks", []),
                arguments.get("metadata"),
            )
        )
