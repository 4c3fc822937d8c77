"""conversations.*: channels, their members and what was said in them."""

from bot.workspace.errors import Refusal
from bot.workspace.records import Channel, Json
from bot.workspace.web_api.calling import Call, Methods
from bot.workspace.web_api.paging import page_of

methods = Methods()
_TYPE_OF_KIND = {"channel": "public_channel", "im": "im", "mpim": "mpim"}


@methods("conversations.info")
def info(call: Call) -> Json:
    """One conversation."""
    return {"channel": call.channel().as_json(call.workspace.settings.bot_user_id)}


@methods("conversations.list")
def list_conversations(call: Call) -> Json:
    """The conversations of the given types (public_channel unless said otherwise)."""
    types = set((call.optional("types") or "public_channel").replace(" ", "").split(","))
    viewer = call.workspace.settings.bot_user_id
    found = [c.as_json(viewer) for c in call.workspace.channels.values() if _TYPE_OF_KIND[c.kind] in types]
    return page_of(call, "channels", found)


@methods("conversations.history")
def history(call: Call) -> Json:
    """Top-level messages, newest first, between `oldest` and `latest`."""
    workspace, channel = call.workspace, _readable(call)
    found = [
        workspace.message_json(message)
        for message in reversed(workspace.visible_messages(channel))
        if (not message.is_reply or message.reply_broadcast) and _within(call, message.ts)
    ]
    return {**page_of(call, "messages", found), "pin_count": 0}


@methods("conversations.replies")
def replies(call: Call) -> Json:
    """A thread: its parent, then its replies, oldest first."""
    workspace, channel = call.workspace, _readable(call)
    ts = call.text("ts")
    parent = workspace.messages[channel.id].get(ts)
    if parent is None or parent.ephemeral_to is not None:
        raise Refusal("thread_not_found")
    thread = [reply for reply in workspace.replies(channel, parent.thread_ts or ts) if _within(call, reply.ts)]
    return page_of(call, "messages", [workspace.message_json(message) for message in (parent, *thread)])


@methods("conversations.open")
def open_conversation(call: Call) -> Json:
    """The direct message with `users` (ids, comma-separated), or the conversation `channel`."""
    reference = call.optional("channel")
    if reference is not None:
        channel = call.workspace.channel(reference)
    else:
        users = call.optional("users")
        if users is None:
            raise Refusal("users_list_not_supplied")
        channel = call.workspace.direct_message(users.replace(" ", "").split(","))
    if call.flag("return_im"):
        return {"channel": channel.as_json(call.workspace.settings.bot_user_id)}
    return {"channel": {"id": channel.id}}


@methods("conversations.members")
def members(call: Call) -> Json:
    """The ids of a conversation's members."""
    return page_of(call, "members", list(call.channel().members))


@methods("conversations.join")
def join(call: Call) -> Json:
    """Makes the app's bot a member of a public channel."""
    channel = call.channel()
    if channel.kind != "channel":
        raise Refusal("method_not_supported_for_channel_type")
    joined = call.workspace.join(channel, call.workspace.settings.bot_user_id)
    body: Json = {"channel": channel.as_json(call.workspace.settings.bot_user_id)}
    return body if joined else {**body, "warning": "already_in_channel"}


def _readable(call: Call) -> Channel:
    channel = call.channel()
    if call.workspace.settings.bot_user_id not in channel.members:
        raise Refusal("not_in_channel")
    return channel


def _within(call: Call, ts: str) -> bool:
    oldest, latest = call.optional("oldest"), call.optional("latest")
    inclusive = call.flag("inclusive")
    after = oldest is None or float(ts) > float(oldest) or (inclusive and ts == oldest)
    before = latest is None or float(ts) < float(latest) or (inclusive and ts == latest)
    return after and before
