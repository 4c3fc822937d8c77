"""The things a workspace holds, and how each looks in Slack's JSON."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from bot.workspace.settings import Person

Json = dict[str, Any]
ChannelKind = Literal["channel", "im", "mpim"]


@dataclass
class Channel:
    """A public channel, a direct message (`im`) or a group direct message (`mpim`)."""

    id: str
    name: str
    kind: ChannelKind
    members: list[str]
    created: int
    topic: str = ""

    def as_json(self, viewer: str) -> Json:
        """The conversation object as `viewer` (a user id) sees it."""
        body: Json = {
            "id": self.id,
            "name": self.name,
            "name_normalized": self.name,
            "is_channel": self.kind == "channel",
            "is_group": False,
            "is_im": self.kind == "im",
            "is_mpim": self.kind == "mpim",
            "is_private": self.kind != "channel",
            "is_archived": False,
            "is_general": False,
            "is_member": viewer in self.members,
            "created": self.created,
            "num_members": len(self.members),
            "topic": {"value": self.topic, "creator": "", "last_set": 0},
            "purpose": {"value": "", "creator": "", "last_set": 0},
        }
        if self.kind == "im":
            others = [member for member in self.members if member != viewer]
            body["user"] = others[0] if others else viewer
        return body


@dataclass
class Stream:
    """A message that is still being written. `tasks` are task cards by id, in order of appearance."""

    started_at: datetime
    markdown: str = ""
    plan_title: str | None = None
    tasks: dict[str, Json] = field(default_factory=dict)
    blocks: list[Json] = field(default_factory=list)
    open: bool = True


@dataclass
class Message:
    """A message. `ephemeral_to` is who alone sees it, `attachments` are what its links were unfurled to."""

    ts: str
    channel: str
    user: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    thread_ts: str | None = None
    reply_broadcast: bool = False
    bot_id: str | None = None
    app_id: str | None = None
    username: str | None = None
    subtype: str | None = None
    edited_ts: str | None = None
    metadata: Json | None = None
    files: list[str] = field(default_factory=list)
    reactions: dict[str, list[str]] = field(default_factory=dict)
    ephemeral_to: str | None = None
    stream: Stream | None = None
    attachments: list[Json] = field(default_factory=list)

    @property
    def is_reply(self) -> bool:
        """Whether it lives in a thread below another message."""
        return self.thread_ts is not None and self.thread_ts != self.ts


@dataclass
class File:
    """An uploaded file. `content` is None until its bytes have arrived; `shared` once the upload was completed.

    Blocks may show it from `ready_at` on, when it was looked through, until it is `deleted`.
    """

    id: str
    name: str
    length: int
    upload_token: str
    created: int
    user: str
    title: str = ""
    alt_text: str = ""
    content: bytes | None = None
    shared: bool = False
    ready_at: datetime | None = None
    deleted: bool = False

    @property
    def media_type(self) -> str:
        """The type by its first bytes: only pictures are told apart."""
        content = self.content or b""
        for signature, media_type in _PICTURES.items():
            if content.startswith(signature):
                return media_type
        return "application/octet-stream"

    def as_json(self, base_url: str) -> Json:
        """The file object."""
        address = f"{base_url}/files/{self.id}/{self.name}"
        return {
            "id": self.id,
            "created": self.created,
            "timestamp": self.created,
            "name": self.name,
            "title": self.title or self.name,
            "mimetype": self.media_type,
            "filetype": self.name.rpartition(".")[2] or "binary",
            "user": self.user,
            "size": len(self.content or b""),
            "alt_txt": self.alt_text,
            "url_private": address,
            "url_private_download": address,
            "permalink": address,
            "mode": "hosted",
            "is_external": False,
            "is_public": True,
        }


_PICTURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}


@dataclass
class View:
    """A modal on somebody's screen, or somebody's Home tab. `given` is the view as the app sent it."""

    id: str
    user: str
    given: Json
    hash: str
    root_view_id: str
    previous_view_id: str | None = None

    @property
    def type(self) -> str:
        """`modal` or `home`."""
        return str(self.given["type"])

    @property
    def blocks(self) -> list[Json]:
        """The blocks, each with a block_id."""
        blocks: list[Json] = self.given["blocks"]
        return blocks

    def as_json(self, *, team_id: str, app_id: str, bot_id: str, values: Json | None = None) -> Json:
        """The view object; `values` is `state.values`."""
        given = self.given
        return {
            "id": self.id,
            "team_id": team_id,
            "type": self.type,
            "blocks": self.blocks,
            "private_metadata": given.get("private_metadata", ""),
            "callback_id": given.get("callback_id", ""),
            "state": {"values": values or {}},
            "hash": self.hash,
            "title": given.get("title"),
            "submit": given.get("submit"),
            "close": given.get("close"),
            "clear_on_close": given.get("clear_on_close", False),
            "notify_on_close": given.get("notify_on_close", False),
            "external_id": given.get("external_id", ""),
            "root_view_id": self.root_view_id,
            "previous_view_id": self.previous_view_id,
            "app_id": app_id,
            "app_installed_team_id": team_id,
            "bot_id": bot_id,
        }


def user_json(person: Person, team_id: str, bot_id: str) -> Json:
    """The user object."""
    profile: Json = {
        "title": person.title,
        "real_name": person.real_name,
        "real_name_normalized": person.real_name,
        "display_name": person.name,
        "display_name_normalized": person.name,
        "email": person.email,
        "team": person.team_id or team_id,
    }
    if person.is_bot:
        del profile["email"]
        profile["bot_id"] = bot_id
    return {
        "id": person.id,
        "team_id": person.team_id or team_id,
        "name": person.name,
        "real_name": person.real_name,
        "deleted": False,
        "tz": person.tz,
        "profile": profile,
        "is_admin": False,
        "is_owner": False,
        "is_bot": person.is_bot,
        "is_app_user": False,
        "is_restricted": person.guest_of is not None,
        "is_ultra_restricted": person.guest_of == "one",
    }
