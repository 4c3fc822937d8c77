"""A person's hands and eyes in the workspace on this machine, over its /control addresses."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tools.errors import Conflict, NotFound

CALL_SECONDS = 10.0
_USER = re.compile(r"<@([A-Z0-9]+)>")
_LINK = re.compile(r"<(https?://[^|>]+)(?:\|([^>]+))?>")
_DATE = re.compile(r"<!date\^[^|>]*\|([^>]*)>")


class SlackRefused(Conflict):
    """The workspace or the app did not do what a person asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Button:
    """A button of a message."""

    label: str
    action_id: str
    block_id: str


@dataclass(frozen=True, slots=True)
class Post:
    """A message as people see it, `room` being its channel's name.

    `lines` is what its blocks say, without buttons; a card is a message with a header.
    """

    channel: str
    room: str
    ts: str
    thread_ts: str | None
    user: str
    text: str
    lines: tuple[str, ...]
    buttons: tuple[Button, ...]
    is_card: bool
    is_broadcast: bool

    def button(self, label: str) -> Button | None:
        """The button with that label, None without one."""
        return next((button for button in self.buttons if button.label == label), None)


class Slack:
    """Acts and looks as any member of the workspace."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=CALL_SECONDS, trust_env=False)
        self._names: dict[str, str] = {}

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def connections(self) -> set[int]:
        """The numbers of the app's Socket Mode connections; each connection gets a new one."""
        return {one["number"] for one in (await self._get("/control/connections"))["connections"]}

    async def calls(self) -> int:
        """How many calls the app has made of the Web API."""
        return int((await self._get("/control/calls"))["total"])

    async def command(self, person: str, channel: str, command: str, text: str) -> None:
        """Type a slash command. Raises SlackRefused when the app did not take it."""
        order = {"user": person, "channel": channel, "command": command, "text": text}
        self._check(await self._post("/control/command", order), f"{command} {text}")

    async def click(self, person: str, post: Post, button: Button) -> None:
        """Press a button, and yes to its confirm dialog. Raises SlackRefused when the app did not take it."""
        order = {
            "user": person,
            "channel": post.channel,
            "ts": post.ts,
            "action_id": button.action_id,
            "block_id": button.block_id,
        }
        self._check(await self._post("/control/click", order), f"the button {button.label}")

    async def press(self, switch: str) -> None:
        """Press one of the switches beside the conversation, named by its label. Raises NotFound."""
        labels = [one["label"] for one in (await self._get("/control/state"))["switches"]]
        if switch not in labels:
            raise NotFound(f"The page has no switch {switch!r}; it has {', '.join(labels) or 'none'}.")
        await self._post(f"/control/switches/{labels.index(switch)}", {})

    async def posts(self, channel: str) -> list[Post]:
        """Every message of a channel, threads included, oldest first."""
        if not self._names:
            state = await self._get("/control/state")
            self._names = {one["id"]: one["name"] for one in (*state["users"], *state["channels"])}
        plain = (await self._get(f"/control/channels/{channel}/messages"))["messages"]
        return [read_post(message, self._names) for message in plain]

    async def _get(self, path: str) -> dict[str, Any]:
        return _answer(await self._http.get(path))

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return _answer(await self._http.post(path, json=body))

    def _check(self, outcome: Mapping[str, Any], what: str) -> None:
        if not outcome["ok"]:
            why = outcome["notice"] or outcome["failure"] or outcome["errors"] or "no answer"
            raise SlackRefused(f"{what} did not work: {why}")


def read_post(message: Mapping[str, Any], names: Mapping[str, str]) -> Post:
    """A message of the workspace; `names` are people's and channels' by their ids."""
    blocks = message.get("blocks") or []
    return Post(
        channel=message["channel"],
        room=names.get(message["channel"], message["channel"]),
        ts=message["ts"],
        thread_ts=message.get("thread_ts"),
        user=names.get(message.get("user") or "", "?"),
        text=_plain(message.get("text") or "", names),
        lines=tuple(line for text in _texts(blocks) for line in _plain(text, names).splitlines() if line.strip()),
        buttons=tuple(_buttons(blocks)),
        is_card=any(block["type"] == "header" for block in blocks),
        is_broadcast=bool(message.get("reply_broadcast")),
    )


def _texts(blocks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for block in blocks:
        if block["type"] in ("header", "section", "markdown"):
            yield _text(block.get("text"))
            yield from (_text(field) for field in block.get("fields") or [])
        elif block["type"] == "context":
            yield " · ".join(filter(None, (_text(element) for element in block["elements"])))
        elif block["type"] == "table":
            yield from (" | ".join(_text(cell) for cell in row) for row in block["rows"])


def _buttons(blocks: Sequence[Mapping[str, Any]]) -> Iterator[Button]:
    for block in blocks:
        elements = block.get("elements") or [block.get("accessory") or {}]
        for element in elements:
            if element.get("type") == "button":
                yield Button(element["text"]["text"], element["action_id"], block["block_id"])


def _text(plain: object) -> str:
    if isinstance(plain, str):
        return plain
    return str(plain["text"]) if isinstance(plain, Mapping) and "text" in plain else ""


def _plain(text: str, names: Mapping[str, str]) -> str:
    """Slack's markup as plain text."""
    text = _USER.sub(lambda found: names.get(found[1], found[1]), text)
    text = _DATE.sub(lambda found: found[1], text)
    text = _LINK.sub(lambda found: found[2] or found[1], text)
    text = text.replace("*", "").replace("`", "").replace("\N{NO-BREAK SPACE}", " ")
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _answer(response: httpx.Response) -> dict[str, Any]:
    plain: dict[str, Any] = response.json()
    if response.is_error:
        raise SlackRefused(f"The workspace refused: {plain.get('message', response.status_code)}")
    return plain
