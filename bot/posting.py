"""Posting a message to Slack, and what is used of its client for what rollouts have to say."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from slack_sdk.models.blocks import Block

from bot.blocks.mrkdwn import bound


class Messenger(Protocol):
    """What is used of Slack's client."""

    async def chat_postMessage(self, *, channel: str, **arguments: Any) -> Any: ...  # noqa: N802 - Slack's name

    async def chat_update(self, *, channel: str, ts: str, **arguments: Any) -> Any: ...

    async def chat_getPermalink(self, *, channel: str, message_ts: str) -> Any: ...  # noqa: N802 - Slack's name

    async def conversations_history(self, *, channel: str, **arguments: Any) -> Any: ...

    async def users_info(self, *, user: str) -> Any: ...


async def post(
    slack: Messenger,
    channel: str,
    text: str,
    blocks: Sequence[Block | Mapping[str, Any]] = (),
    *,
    thread_ts: str | None = None,
    broadcast: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """Post a message; its timestamp."""
    arguments: dict[str, Any] = {"text": bound(text), "unfurl_links": False, "unfurl_media": False}
    if blocks:
        arguments["blocks"] = [block.to_dict() if isinstance(block, Block) else dict(block) for block in blocks]
    if metadata is not None:
        arguments["metadata"] = dict(metadata)
    if thread_ts is not None:
        arguments |= {"thread_ts": thread_ts, "reply_broadcast": broadcast}
    answer = await slack.chat_postMessage(channel=channel, **arguments)
    return str(answer["ts"])
