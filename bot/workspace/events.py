"""What Slack's events about messages look like."""

from bot.workspace.records import Channel, Json, Message


def subscription(channel: Channel) -> str:
    """What an app subscribes to, to hear of the messages of such a channel."""
    return f"message.{'channels' if channel.kind == 'channel' else channel.kind}"


def posted(channel: Channel, message: Json) -> Json:
    """Somebody said something; `message` as Slack's methods carry it."""
    return {**message, "channel": channel.id, "event_ts": message["ts"]}


def changed(channel: Channel, subtype: str, before: Json, after: Json | None, ts: str) -> Json:
    """A message was edited, or deleted where there is none `after`."""
    event: Json = {
        "type": "message",
        "subtype": subtype,
        "hidden": True,
        "channel": channel.id,
        "channel_type": channel.kind,
        "ts": ts,
        "event_ts": ts,
        "previous_message": before,
    }
    return {**event, "deleted_ts": before["ts"]} if after is None else {**event, "message": after}


def reacted(kind: str, message: Message, user: str, name: str, ts: str) -> Json:
    """A reaction was added or removed, as `kind` says."""
    return {
        "type": kind,
        "user": user,
        "reaction": name,
        "item": {"type": "message", "channel": message.channel, "ts": message.ts},
        "item_user": message.user,
        "event_ts": ts,
    }


def links_shared(message: Message, links: list[Json]) -> Json:
    """Somebody shared links of domains that the app unfurls."""
    event: Json = {
        "type": "link_shared",
        "channel": message.channel,
        "is_bot_user_member": True,
        "user": message.user,
        "message_ts": message.ts,
        "unfurl_id": f"{message.channel}-{message.ts}",
        "source": "conversations_history",
        "links": links,
        "event_ts": message.ts,
    }
    return {**event, "thread_ts": message.thread_ts} if message.is_reply else event


def session_stopped(channel: Channel, thread_ts: str, user: str, streams: list[str], ts: str) -> Json:
    """Somebody pressed the button that stops what the app does in a thread; `streams` are what Slack ended for it."""
    return {
        "type": "agent_session_stopped",
        "channel": channel.id,
        "thread_ts": thread_ts,
        "user": user,
        "streaming_message_ts": streams,
        "event_ts": ts,
    }
