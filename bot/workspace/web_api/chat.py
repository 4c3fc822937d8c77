"""chat.*: posting, changing and deleting messages; permalinks; streams."""

from copy import deepcopy
from typing import Any

from bot.workspace.blocks import check_message_blocks
from bot.workspace.errors import Refusal
from bot.workspace.inputs import name_blocks
from bot.workspace.records import Channel, Json, Message, Stream
from bot.workspace.state import Workspace
from bot.workspace.web_api.agents import session_status
from bot.workspace.web_api.calling import Call, Methods

MAX_POSTED_TEXT = 40_000
MAX_UPDATED_TEXT = 4_000
MAX_MARKDOWN = 12_000

methods = Methods()


def read_content(workspace: Workspace, arguments: Json) -> tuple[str, list[Json]]:
    """The text and blocks of a message to be posted, checked. Raises `Refusal` in Slack's codes."""
    if arguments.get("attachments"):
        raise Refusal("invalid_attachments", ["this workspace shows blocks, not attachments"])
    text = str(arguments.get("text") or "")
    blocks = arguments.get("blocks") or []
    markdown = arguments.get("markdown_text")
    if markdown:
        if text or blocks:
            raise Refusal("markdown_text_conflict")
        if len(markdown) > MAX_MARKDOWN:
            raise Refusal("msg_too_long")
        return str(markdown), [{"type": "markdown", "text": str(markdown)}]
    if not isinstance(blocks, list):
        raise Refusal("invalid_blocks_format")
    if not text and not blocks:
        raise Refusal("no_text")
    check_message_blocks(blocks, workspace.ready_files())
    return text, deepcopy(blocks)


@methods("chat.postMessage")
def post_message(call: Call) -> Json:
    """Posts into a channel, a thread or a direct message."""
    workspace = call.workspace
    channel = _writable(call)
    text, blocks = read_content(workspace, call.arguments)
    wait = workspace.faults.channel_retry_after(channel.id)
    if wait is not None:
        raise Refusal("ratelimited", extra={"retry_after": wait})
    message = workspace.post(
        Message(
            ts=workspace.next_ts(),
            channel=channel.id,
            user=workspace.settings.bot_user_id,
            text=text[:MAX_POSTED_TEXT],
            blocks=blocks,
            thread_ts=_thread_of(workspace, channel, call.optional("thread_ts")),
            reply_broadcast=call.flag("reply_broadcast"),
            bot_id=workspace.settings.bot_id,
            app_id=workspace.settings.app_id,
            username=call.optional("username"),
            metadata=_metadata(call),
        )
    )
    answer: Json = {"channel": channel.id, "ts": message.ts, "message": workspace.message_json(message)}
    if len(text) > MAX_POSTED_TEXT:
        line = "[WARN] Your message was truncated but still posted. The `text` field accepts up to 40,000 characters."
        answer["response_metadata"] = {"messages": [line], "warnings": ["message_truncated"]}
    return answer


@methods("chat.update")
def update(call: Call) -> Json:
    """Changes a message of the app. Text without blocks removes the blocks, and only then is the message "edited"."""
    workspace = call.workspace
    channel = call.channel()
    message = workspace.message(channel, call.text("ts"))
    if message.bot_id != workspace.settings.bot_id:
        raise Refusal("cant_update_message")
    if len(call.optional("text") or "") > MAX_UPDATED_TEXT:
        raise Refusal("msg_too_long")
    text, blocks = read_content(workspace, call.arguments)
    changes: dict[str, Any] = {"text": text or message.text, "blocks": blocks, "stream": None}
    metadata = _metadata(call)
    if metadata is not None:
        changes["metadata"] = metadata
    workspace.rewrite(message, edited=not blocks, **changes)
    return {
        "channel": channel.id,
        "ts": message.ts,
        "text": message.text,
        "message": workspace.message_json(message),
    }


@methods("chat.delete")
def delete(call: Call) -> Json:
    """Deletes a message of the app."""
    workspace = call.workspace
    channel = call.channel()
    message = workspace.message(channel, call.text("ts"))
    if message.bot_id != workspace.settings.bot_id:
        raise Refusal("cant_delete_message")
    workspace.erase(message)
    return {"channel": channel.id, "ts": message.ts}


@methods("chat.postEphemeral")
def post_ephemeral(call: Call) -> Json:
    """Posts for the eyes of one member of the channel."""
    workspace = call.workspace
    channel = _writable(call)
    viewer = workspace.user(call.text("user"))
    if viewer.id not in channel.members:
        raise Refusal("user_not_in_channel")
    text, blocks = read_content(workspace, call.arguments)
    message = workspace.post(
        Message(
            ts=workspace.next_ts(),
            channel=channel.id,
            user=workspace.settings.bot_user_id,
            text=text[:MAX_POSTED_TEXT],
            blocks=blocks,
            thread_ts=_thread_of(workspace, channel, call.optional("thread_ts")),
            bot_id=workspace.settings.bot_id,
            app_id=workspace.settings.app_id,
            ephemeral_to=viewer.id,
        )
    )
    return {"message_ts": message.ts}


@methods("chat.getPermalink")
def get_permalink(call: Call) -> Json:
    """The address of a message; it opens the local page."""
    workspace = call.workspace
    channel = call.channel()
    message = workspace.message(channel, call.text("message_ts"))
    address = f"{workspace.base_url}/archives/{channel.id}/p{message.ts.replace('.', '')}"
    if message.is_reply:
        address += f"?thread_ts={message.thread_ts}&cid={channel.id}"
    return {"channel": channel.id, "permalink": address}


@methods("chat.startStream")
def start_stream(call: Call) -> Json:
    """Opens a message that is written piece by piece, in a thread."""
    workspace = call.workspace
    channel = _writable(call)
    thread_ts = _thread_of(workspace, channel, call.text("thread_ts"))
    if channel.kind != "im":
        if call.optional("recipient_team_id") is None:
            raise Refusal("missing_recipient_team_id")
        if call.optional("recipient_user_id") is None:
            raise Refusal("missing_recipient_user_id")
    stream = Stream(workspace.clock.now())
    _append(workspace, stream, call)
    message = Message(
        ts=workspace.next_ts(),
        channel=channel.id,
        user=workspace.settings.bot_user_id,
        text=stream.markdown,
        blocks=_stream_blocks(stream),
        thread_ts=thread_ts,
        bot_id=workspace.settings.bot_id,
        app_id=workspace.settings.app_id,
        stream=stream,
    )
    workspace.post(message)
    return {"channel": channel.id, "ts": message.ts}


@methods("chat.appendStream")
def append_stream(call: Call) -> Json:
    """Adds text, tasks or blocks to an open stream."""
    workspace = call.workspace
    channel = call.channel()
    message, stream = workspace.open_stream(channel, call.text("ts"))
    _append(workspace, stream, call)
    _show_stream(workspace, message, stream)
    return {"channel": channel.id, "ts": message.ts}


@methods("chat.stopStream")
def stop_stream(call: Call) -> Json:
    """Ends a stream, with a last piece and blocks below it if given, and sets the session's status if that is."""
    workspace = call.workspace
    channel = call.channel()
    given = call.optional("session_status")
    status = None if given is None else session_status(given, "session_status")
    message, stream = workspace.open_stream(channel, call.text("ts"))
    _append(workspace, stream, call)
    blocks = call.list_of("blocks") or []
    check_message_blocks(blocks, workspace.ready_files())
    stream.blocks.extend(deepcopy(blocks))
    stream.open = False
    _show_stream(workspace, message, stream)
    if status is not None:
        workspace.set_session(channel, message.thread_ts or message.ts, status)
    return {"channel": channel.id, "ts": message.ts, "message": workspace.message_json(message)}


def _writable(call: Call) -> Channel:
    channel = call.channel()
    if call.workspace.settings.bot_user_id not in channel.members:
        raise Refusal("not_in_channel")
    return channel


def _thread_of(workspace: Workspace, channel: Channel, thread_ts: str | None) -> str | None:
    if thread_ts is None:
        return None
    parent = workspace.messages[channel.id].get(thread_ts)
    if parent is None:
        raise Refusal("thread_not_found")
    return parent.thread_ts or parent.ts


def _metadata(call: Call) -> Json | None:
    value = call.arguments.get("metadata")
    if value is None or value == "":
        return None
    if not isinstance(value, dict) or not isinstance(value.get("event_type"), str):
        raise Refusal("invalid_metadata_schema")
    return value


def _append(workspace: Workspace, stream: Stream, call: Call) -> None:
    markdown = call.optional("markdown_text") or ""
    if len(markdown) > MAX_MARKDOWN:
        raise Refusal("msg_too_long")
    stream.markdown += markdown
    for chunk in call.list_of("chunks") or []:
        _append_chunk(workspace, stream, chunk)


def _append_chunk(workspace: Workspace, stream: Stream, chunk: Any) -> None:
    match chunk:
        case {"type": "markdown_text", "text": str(text)}:
            stream.markdown += text
        case {"type": "plan_update", "title": str(title)}:
            stream.plan_title = title
        case {"type": "task_update", "id": str(task_id), "title": str(title), "status": str(status)}:
            task = {"type": "task_card", "task_id": task_id, "title": title, "status": status}
            details = {name: _rich(chunk[name]) for name in ("details", "output") if chunk.get(name)}
            stream.tasks[task_id] = {**stream.tasks.get(task_id, {}), **task, **details}
        case {"type": "blocks", "blocks": list(blocks)}:
            check_message_blocks(blocks, workspace.ready_files())
            stream.blocks.extend(deepcopy(blocks))
        case _:
            raise Refusal("invalid_chunks")


def _rich(text: str) -> Json:
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
    return {"type": "rich_text", "elements": [section]}


def _stream_blocks(stream: Stream) -> list[Json]:
    tasks = list(stream.tasks.values())
    blocks: list[Json] = [{"type": "plan", "title": stream.plan_title, "tasks": tasks}] if stream.plan_title else tasks
    if stream.markdown:
        blocks = [*blocks, {"type": "markdown", "text": stream.markdown}]
    return deepcopy([*blocks, *stream.blocks])


def _show_stream(workspace: Workspace, message: Message, stream: Stream) -> None:
    message.text = stream.markdown
    message.blocks = _stream_blocks(stream)
    name_blocks(message.blocks)
    workspace.publish_message(message)
