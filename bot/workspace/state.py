"""The workspace itself, in memory: who is there and what was said; `screens` has what is on whose screen.

Every change goes through a method here; each is published to the feed (for the page) and, where Slack has an event for
it, handed to `announce`. Nothing here waits, so every method is atomic within the event loop.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bot.workspace import events
from bot.workspace.errors import Refusal
from bot.workspace.faults import Faults
from bot.workspace.feed import Feed
from bot.workspace.inputs import name_blocks
from bot.workspace.links import links_in
from bot.workspace.records import Channel, File, Json, Message, Stream, user_json
from bot.workspace.screens import Screens
from bot.workspace.sessions import AgentSession, SessionStatus
from bot.workspace.settings import Person, UserGroup, WorkspaceSettings
from bot.workspace.tickets import TicketOffice
from tools.clock import Clock, SystemClock

STREAM_LIFETIME = timedelta(minutes=5)
STATUS_LIFETIME = timedelta(minutes=2)
CALL_LOG_LENGTH = 5000
WORKING = "is working …"
"""What is shown while a session is processing: an app that has sessions gives no words of its own."""
STOPPED = "agent_session_stopped"


@dataclass(frozen=True)
class ApiCall:
    """One Web API call as it was answered. `error` is Slack's code, None when it was ok."""

    method: str
    arguments: Json
    error: str | None
    at: float


class Workspace:
    """The state of one workspace. `announce(subscription, event)` receives each event the app may want to hear of."""

    def __init__(self, settings: WorkspaceSettings | None = None, clock: Clock | None = None) -> None:
        self.settings = settings or WorkspaceSettings()
        self.clock = clock or SystemClock()
        self.feed = Feed()
        self.base_url = ""
        self.announce: Callable[[str, Json], None] = lambda subscription, event: None
        self.faults = Faults(self.clock, self.settings.messages_per_second, self.settings.message_burst)
        self._last_ts = 0
        self._begin()

    def _begin(self) -> None:
        settings = self.settings
        bot = Person(settings.bot_user_id, settings.bot_name, settings.bot_real_name, "", is_bot=True)
        self.users: dict[str, Person] = {person.id: person for person in (*settings.people, bot)}
        self.groups: dict[str, UserGroup] = {group.id: group for group in settings.groups}
        self.channels: dict[str, Channel] = {}
        self.messages: dict[str, dict[str, Message]] = {}
        self._threads: dict[tuple[str, str], list[str]] = {}
        self.files: dict[str, File] = {}
        self.screens = Screens(settings, self.feed, self.clock, lambda: self.next_id("V"))
        self.statuses: dict[tuple[str, str], Json] = {}
        self.sessions: dict[tuple[str, str], AgentSession] = {}
        self.thread_titles: dict[tuple[str, str], str] = {}
        self.prompts: dict[str, Json] = {}
        self.pressed: dict[str, int] = {}
        self.tickets = TicketOffice(self.clock)
        self.calls: deque[ApiCall] = deque(maxlen=CALL_LOG_LENGTH)
        self.call_counts: Counter[str] = Counter()
        self.error_counts: Counter[str] = Counter()
        self._numbers: Counter[str] = Counter()
        everyone = [person.id for person in settings.people]
        created = int(self.clock.now().timestamp())
        for room in settings.rooms:
            members = [*everyone, bot.id] if room.bot_is_member else list(everyone)
            self._add_channel(Channel(room.id, room.name, "channel", members, created, room.topic))
        for person in settings.people:
            self._add_channel(Channel(f"D{person.id[1:]}", person.name, "im", [person.id, bot.id], created))
            self._suggest(f"D{person.id[1:]}")

    def _add_channel(self, channel: Channel) -> None:
        self.channels[channel.id] = channel
        self.messages[channel.id] = {}

    def _suggest(self, channel: str) -> None:
        prompts = [{"title": prompt.title, "message": prompt.message} for prompt in self.settings.prompts]
        if prompts:
            self.prompts[channel] = {"channel": channel, "title": "", "prompts": prompts}

    def reset(self) -> None:
        """Back to the first moment: nothing said, nothing open, no fault. Timestamps go on rising."""
        self._begin()
        self.faults.clear()
        self.feed.publish("reset", {})

    # --- names and numbers

    def next_ts(self) -> str:
        """A message timestamp: seconds and microseconds, unique and rising."""
        now = int(self.clock.now().timestamp() * 1_000_000)
        self._last_ts = max(now, self._last_ts + 1)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def next_id(self, prefix: str) -> str:
        """An id such as V00000001."""
        self._numbers[prefix] += 1
        return f"{prefix}{self._numbers[prefix]:08d}"

    def ready_files(self) -> dict[str, File]:
        """The files that blocks may show, by id."""
        now = self.clock.now()
        return {
            file.id: file
            for file in self.files.values()
            if not file.deleted and file.ready_at is not None and file.ready_at <= now
        }

    def user(self, user_id: str) -> Person:
        """A member by id. Raises `Refusal` with user_not_found."""
        person = self.users.get(user_id)
        if person is None:
            raise Refusal("user_not_found")
        return person

    def person_named(self, name: str) -> Person:
        """A member by id or by name, as tests and demos like to say it."""
        for person in self.users.values():
            if name in (person.id, person.name):
                return person
        raise Refusal("user_not_found")

    def channel(self, reference: str) -> Channel:
        """A conversation by id, by name with or without #, or by the id of the person to write to."""
        found = self.channels.get(reference)
        if found is not None:
            return found
        if reference in self.users:
            return self.direct_message([reference])
        name = reference.removeprefix("#")
        for channel in self.channels.values():
            if channel.kind == "channel" and channel.name == name:
                return channel
        raise Refusal("channel_not_found")

    def direct_message(self, users: Iterable[str]) -> Channel:
        """The conversation of the app's bot with `users`; made when there is none yet."""
        members = sorted({self.user(user).id for user in users} - {self.settings.bot_user_id})
        if not members:
            raise Refusal("users_list_not_supplied")
        everyone = {*members, self.settings.bot_user_id}
        for channel in self.channels.values():
            if channel.kind != "channel" and set(channel.members) == everyone:
                return channel
        kind = "im" if len(members) == 1 else "mpim"
        name = self.users[members[0]].name if kind == "im" else "-".join(self.users[user].name for user in members)
        created = int(self.clock.now().timestamp())
        channel = Channel(self.next_id("D" if kind == "im" else "G"), name, kind, sorted(everyone), created)  # type: ignore[arg-type]
        self._add_channel(channel)
        self.feed.publish("channel", channel.as_json(self.settings.bot_user_id))
        return channel

    def join(self, channel: Channel, user: str) -> bool:
        """Make `user` a member; False when they were one already."""
        if user in channel.members:
            return False
        channel.members.append(user)
        self.feed.publish("channel", channel.as_json(user))
        return True

    # --- messages

    def message(self, channel: Channel, ts: str) -> Message:
        """A message that everybody in `channel` sees. Raises `Refusal` with message_not_found."""
        found = self.messages[channel.id].get(ts)
        if found is None or found.ephemeral_to is not None:
            raise Refusal("message_not_found")
        return found

    def visible_messages(self, channel: Channel, viewer: str | None = None) -> list[Message]:
        """What `viewer` sees in `channel`, oldest first, thread replies included; None: without ephemeral ones."""
        return [
            message
            for message in self.messages[channel.id].values()
            if message.ephemeral_to is None or message.ephemeral_to == viewer
        ]

    def replies(self, channel: Channel, thread_ts: str) -> list[Message]:
        """The replies below `thread_ts`, oldest first."""
        messages = self.messages[channel.id]
        return [
            messages[ts] for ts in self._threads.get((channel.id, thread_ts), ()) if messages[ts].ephemeral_to is None
        ]

    def post(self, message: Message) -> Message:
        """Add a message and tell everybody concerned."""
        channel = self.channels[message.channel]
        if message.thread_ts is not None and message.thread_ts not in self.messages[channel.id]:
            raise Refusal("thread_not_found")
        name_blocks(message.blocks)
        self.messages[channel.id][message.ts] = message
        if message.is_reply:
            self._threads.setdefault((channel.id, message.thread_ts or ""), []).append(message.ts)
            if self.statuses.pop((channel.id, message.thread_ts or ""), None) is not None:
                self._publish_status(channel, message.thread_ts or "")
        self.publish_message(message)
        if message.ephemeral_to is None:
            self._announce_post(channel, message)
        return message

    def rewrite(self, message: Message, *, edited: bool = True, **changes: Any) -> Message:
        """Change fields of a message in place; `edited` shows the mark that says so."""
        channel = self.channels[message.channel]
        before = self.message_json(message)
        for name, value in changes.items():
            setattr(message, name, value)
        name_blocks(message.blocks)
        if edited:
            message.edited_ts = self.next_ts()
        self.publish_message(message)
        if message.ephemeral_to is None:
            self._announce_change(channel, "message_changed", before, message)
        return message

    def erase(self, message: Message) -> None:
        """Delete a message."""
        channel = self.channels[message.channel]
        before = self.message_json(message)
        del self.messages[channel.id][message.ts]
        if message.is_reply:
            self._threads[channel.id, message.thread_ts or ""].remove(message.ts)
        elif self.sessions.pop((channel.id, message.ts), None) is not None:
            self._publish_status(channel, message.ts)
        self.feed.publish("message_deleted", {"channel": channel.id, "ts": message.ts, "thread_ts": message.thread_ts})
        self._refresh_parent(message)
        if message.ephemeral_to is None:
            self._announce_change(channel, "message_deleted", before, None)

    def react(self, message: Message, user: str, name: str, *, remove: bool = False) -> None:
        """Add or remove a reaction. Raises `Refusal` with already_reacted or no_reaction."""
        users = message.reactions.get(name, [])
        if remove != (user in users):
            raise Refusal("no_reaction" if remove else "already_reacted")
        users = [other for other in users if other != user] if remove else [*users, user]
        if users:
            message.reactions[name] = users
        else:
            del message.reactions[name]
        self.publish_message(message)
        kind = "reaction_removed" if remove else "reaction_added"
        if self._app_listens_in(self.channels[message.channel]):
            self.announce(kind, events.reacted(kind, message, user, name, self.next_ts()))

    def publish_message(self, message: Message) -> None:
        """Tell the page that a message is new or different."""
        self.feed.publish("message", self.page_message(message))
        self._refresh_parent(message)

    def _refresh_parent(self, message: Message) -> None:
        parent = self.messages[message.channel].get(message.thread_ts or "") if message.is_reply else None
        if parent is not None:
            self.feed.publish("message", self.page_message(parent))

    def message_json(self, message: Message) -> Json:
        """The message object as Slack's methods and events carry it (a copy)."""
        settings = self.settings
        body: Json = {
            "type": "message",
            "user": message.user,
            "text": message.text,
            "ts": message.ts,
            "team": settings.team_id,
        }
        if message.blocks:
            body["blocks"] = deepcopy(message.blocks)
        if message.bot_id:
            body["bot_id"] = message.bot_id
            body["app_id"] = message.app_id
            body["bot_profile"] = {
                "id": message.bot_id,
                "app_id": message.app_id,
                "name": settings.bot_real_name,
                "team_id": settings.team_id,
                "deleted": False,
            }
        optional = {
            "subtype": message.subtype,
            "username": message.username,
            "thread_ts": message.thread_ts,
            "metadata": message.metadata,
        }
        body.update({name: value for name, value in optional.items() if value is not None})
        if message.edited_ts:
            body["edited"] = {"user": message.user, "ts": message.edited_ts}
        if message.attachments:
            body["attachments"] = deepcopy(message.attachments)
        if message.files:
            body["files"] = [self.files[file].as_json(self.base_url) for file in message.files]
        if message.reactions:
            body["reactions"] = [
                {"name": name, "users": list(users), "count": len(users)} for name, users in message.reactions.items()
            ]
        if message.ephemeral_to is not None:
            body["is_ephemeral"] = True
        body.update(self._thread_summary(message))
        return body

    def _thread_summary(self, message: Message) -> Json:
        channel = self.channels[message.channel]
        if message.is_reply:
            parent = self.messages[channel.id].get(message.thread_ts or "")
            return {"parent_user_id": parent.user} if parent is not None else {}
        replies = self.replies(channel, message.ts)
        if not replies:
            return {}
        users = list(dict.fromkeys(reply.user for reply in replies))
        return {
            "thread_ts": message.ts,
            "reply_count": len(replies),
            "reply_users": users,
            "reply_users_count": len(users),
            "latest_reply": replies[-1].ts,
        }

    def page_message(self, message: Message) -> Json:
        """The message object with what only the page needs."""
        return {
            **self.message_json(message),
            "channel": message.channel,
            "ephemeral_to": message.ephemeral_to,
            "is_reply": message.is_reply,
            "reply_broadcast": message.reply_broadcast,
            "streaming": message.stream is not None and message.stream.open,
        }

    # --- events of messages

    def _app_listens_in(self, channel: Channel) -> bool:
        return self.settings.bot_user_id in channel.members

    def _announce_post(self, channel: Channel, message: Message) -> None:
        if not self._app_listens_in(channel):
            return
        event = events.posted(channel, self.message_json(message))
        mentioned = f"<@{self.settings.bot_user_id}" in message.text and message.user != self.settings.bot_user_id
        self._announce_links(channel, message)
        if mentioned and channel.kind != "im":
            self.announce("app_mention", {**event, "type": "app_mention"})
        self.announce(events.subscription(channel), {**event, "channel_type": channel.kind})

    def _announce_links(self, channel: Channel, message: Message) -> None:
        links = [] if message.bot_id else links_in(message.text, self.settings.unfurl_domains)
        if links:
            self.announce("link_shared", events.links_shared(message, links))

    def _announce_change(self, channel: Channel, subtype: str, before: Json, message: Message | None) -> None:
        if not self._app_listens_in(channel):
            return
        after = None if message is None else self.message_json(message)
        event = events.changed(channel, subtype, before, after, self.next_ts())
        self.announce(events.subscription(channel), event)

    # --- streams

    def open_stream(self, channel: Channel, ts: str) -> tuple[Message, Stream]:
        """A message that can be appended to. Raises `Refusal` when it is finished or older than five minutes."""
        message = self.message(channel, ts)
        stream = message.stream
        if stream is None or not stream.open:
            raise Refusal("message_not_in_streaming_state")
        if self.clock.now() - stream.started_at > STREAM_LIFETIME:
            stream.open = False
            self.publish_message(message)
            raise Refusal("message_not_in_streaming_state")
        return message, stream

    # --- what the app is doing in a thread

    def set_session(
        self, channel: Channel, thread_ts: str, status: SessionStatus, *, title: str = "", initiator: str | None = None
    ) -> AgentSession:
        """Set the status of the thread's session, which begins with it if there is none."""
        key, now = (channel.id, thread_ts), self.clock.now()
        session = self.sessions.setdefault(key, AgentSession(status, title, initiator, now))
        session.status, session.set_at = status, now
        self._publish_status(channel, thread_ts)
        return session

    def stop_session(self, channel: Channel, thread_ts: str, user: str) -> bool:
        """End what is being streamed in the thread and tell the app; False where there is no button to press.

        The status stays as it is: to change it is the app's part.
        """
        if not self.can_be_stopped(channel, thread_ts):
            return False
        streams = [one for one in self.replies(channel, thread_ts) if one.stream is not None and one.stream.open]
        for message in streams:
            message.stream.open = False  # type: ignore[union-attr]
            self.publish_message(message)
        event = events.session_stopped(channel, thread_ts, user, [one.ts for one in streams], self.next_ts())
        self.announce(STOPPED, event)
        return True

    def can_be_stopped(self, channel: Channel, thread_ts: str) -> bool:
        """Whether Slack shows the button to stop: the app works, and hears of it."""
        session = self.sessions.get((channel.id, thread_ts))
        return STOPPED in self.settings.events and session is not None and session.is_processing(self.clock.now())

    def set_status(self, channel: Channel, thread_ts: str, status: str) -> None:
        """Show the older status line for two minutes or until the app replies; empty clears it."""
        key = (channel.id, thread_ts)
        if status:
            self.statuses[key] = {"status": status, "until": self.clock.now() + STATUS_LIFETIME}
        else:
            self.statuses.pop(key, None)
        self._publish_status(channel, thread_ts)

    def status(self, channel: Channel, thread_ts: str) -> str:
        """What the app is said to be doing now, or an empty string."""
        session = self.sessions.get((channel.id, thread_ts))
        if session is not None and session.is_processing(self.clock.now()):
            return WORKING
        entry = self.statuses.get((channel.id, thread_ts))
        return str(entry["status"]) if entry is not None and self.clock.now() < entry["until"] else ""

    def statuses_json(self) -> list[Json]:
        """What the app is said to be doing, thread by thread, as the page shows it."""
        threads = dict.fromkeys((*self.statuses, *self.sessions))
        shown = [self._status_json(self.channels[channel], thread_ts) for channel, thread_ts in threads]
        return [one for one in shown if one["status"]]

    def _status_json(self, channel: Channel, thread_ts: str) -> Json:
        return {
            "channel": channel.id,
            "thread_ts": thread_ts,
            "status": self.status(channel, thread_ts),
            "stops": self.can_be_stopped(channel, thread_ts),
        }

    def _publish_status(self, channel: Channel, thread_ts: str) -> None:
        self.feed.publish("status", self._status_json(channel, thread_ts))

    # --- bookkeeping

    def record_call(self, method: str, arguments: Json, error: str | None) -> None:
        """Remember a Web API call; `arguments` hold no token."""
        self.calls.append(ApiCall(method, arguments, error, time.monotonic()))
        self.call_counts[method] += 1
        if error is not None:
            self.error_counts[f"{method} {error}"] += 1

    def press(self, index: int) -> None:
        """Remember that a switch was pressed; of those that switch the same thing, the last one counts."""
        self.pressed[self.settings.switches[index].url] = index
        self.feed.publish("switches", {"switches": self.switches_json()})

    def switches_json(self) -> list[Json]:
        """The switches as the page shows them; those of one `group` switch the same thing."""
        switches = self.settings.switches
        groups = list(dict.fromkeys(switch.url for switch in switches))
        return [
            {
                "label": switch.label,
                "description": switch.description,
                "danger": switch.danger,
                "group": groups.index(switch.url),
                "pressed": self.pressed.get(switch.url) == index,
            }
            for index, switch in enumerate(switches)
        ]

    def user_json(self, person: Person) -> Json:
        """The user object."""
        return user_json(person, self.settings.team_id, self.settings.bot_id)
