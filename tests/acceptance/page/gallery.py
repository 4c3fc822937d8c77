"""An app that shows what Slack can: every block, every input, stacked modals, shortcuts, links, text that streams."""

import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.workspace import RunningWorkspace, Shortcut, WorkspaceSettings, running_workspace

Json = dict[str, Any]
FLAGS = ("checkout", "checkout-v2", "search", "search-ranking")
UNTIL = 1772539200
"""In seconds: 3 March 2026, 12:00 UTC."""
LINK = "https://rollouts.acme.example/r/7"
SHORTCUTS = (
    Shortcut("plan_from", "Plan a rollout from this", "message", "Reads the message as a wish"),
    Shortcut("start", "Start a rollout", "global", "Asks for flag and environment"),
)


def plain(text: str) -> Json:
    """A plain_text object."""
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> Json:
    """A mrkdwn object."""
    return {"type": "mrkdwn", "text": text}


def options(*names: str) -> list[Json]:
    """Options whose value is their name."""
    return [{"text": plain(name), "value": name} for name in names]


def _input(block_id: str, label: str, element: Json, **more: Any) -> Json:
    named = {"action_id": block_id, **element}
    return {"type": "input", "block_id": block_id, "label": plain(label), "element": named, **more}


def button(action_id: str, text: str, **more: Any) -> Json:
    """A button."""
    return {"type": "button", "action_id": action_id, "text": plain(text), **more}


START: Json = {
    "type": "modal",
    "callback_id": "start",
    "title": plain("Start a rollout"),
    "submit": plain("Start"),
    "close": plain("Cancel"),
    "blocks": [
        _input(
            "flag", "Flag", {"type": "external_select", "min_query_length": 1, "placeholder": plain("Type to find")}
        ),
        _input("where", "Environment", {"type": "static_select", "options": options("staging", "production")}),
        _input("share", "First share, in %", {"type": "number_input", "is_decimal_allowed": False, "max_value": "100"}),
        _input("how", "Strategy", {"type": "radio_buttons", "options": options("Gate by gate", "All at once")}),
        _input("tell", "Tell", {"type": "checkboxes", "options": options("the team", "me")}, optional=True),
        _input("who", "Second approver", {"type": "users_select"}, optional=True),
        _input(
            "room", "Channel", {"type": "conversations_select", "default_to_current_conversation": True}, optional=True
        ),
        _input("day", "From", {"type": "datepicker", "initial_date": "2026-03-02"}, optional=True),
        _input("hour", "At", {"type": "timepicker", "initial_time": "09:00"}, optional=True),
        _input("until", "Until", {"type": "datetimepicker", "initial_date_time": UNTIL}, optional=True),
        _input(
            "why",
            "Why?",
            {"type": "plain_text_input", "multiline": True},
            hint=plain("Everyone in the thread will read this."),
        ),
        {"type": "actions", "block_id": "deeper", "elements": [button("stages", "Edit the stages …")]},
    ],
}
STAGES: Json = {
    "type": "modal",
    "callback_id": "stages",
    "title": plain("Stages"),
    "submit": plain("Use these"),
    "blocks": [
        _input(
            "stages",
            "Stages",
            {"type": "plain_text_input", "dispatch_action_config": {"trigger_actions_on": ["on_character_entered"]}},
            dispatch_action=True,
        )
    ],
}
HOME: Json = {
    "type": "home",
    "blocks": [
        {"type": "header", "text": plain("Rolling out")},
        {"type": "section", "text": mrkdwn("Pressed *0* times")},
        {"type": "actions", "block_id": "home", "elements": [button("count", "Press me", style="primary")]},
    ],
}


def every_block(picture: str) -> list[Json]:
    """One of each block that a message may have; `picture` is an uploaded file's id."""
    rich = {
        "type": "rich_text",
        "elements": [
            {"type": "rich_text_section", "elements": [{"type": "text", "text": "Rich", "style": {"bold": True}}]},
            {
                "type": "rich_text_list",
                "style": "bullet",
                "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "point"}]}],
            },
        ],
    }
    answer = {
        "type": "plan",
        "title": "What I looked at",
        "tasks": [
            {"type": "task_card", "task_id": "t1", "title": "Looking at the rollout", "status": "complete"},
            {"type": "task_card", "task_id": "t2", "title": "Asking the metrics", "status": "error"},
            {"type": "task_card", "task_id": "t3", "title": "Reading the spec", "status": "in_progress"},
            {"type": "task_card", "task_id": "t4", "title": "Lowering it to 5 %", "status": "pending"},
        ],
    }
    rating = {
        "type": "feedback_buttons",
        "action_id": "rate",
        "positive_button": {"text": plain("Good answer"), "value": "good"},
        "negative_button": {"text": plain("Bad answer"), "value": "bad"},
    }
    cell = {"type": "raw_text", "text": "10 %"}
    sure = {"title": plain("Sure?"), "text": plain("It goes on."), "confirm": plain("Yes"), "deny": plain("No")}
    menu = {"type": "overflow", "action_id": "menu", "options": options("One", "Two")}
    return [
        {"type": "header", "text": plain("Everything")},
        {"type": "section", "text": mrkdwn("*Bold* and `code` <!date^1772366400^{date_short_pretty}|1 March>")},
        {"type": "section", "fields": [mrkdwn("*Exposure*\n10 %"), mrkdwn("*Stage*\n1 of 4")], "accessory": menu},
        {"type": "divider"},
        {"type": "image", "slack_file": {"id": picture}, "alt_text": "How both arms went", "title": plain("The chart")},
        {
            "type": "context",
            "elements": [
                {"type": "image", "slack_file": {"id": picture}, "alt_text": "Sluice"},
                mrkdwn("checked just now"),
            ],
        },
        {"type": "table", "rows": [[cell, cell], [cell, cell]], "column_settings": [{"align": "right"}]},
        {"type": "markdown", "text": "## Why\n\n1. it is **proven** safe\n2. so it goes on"},
        rich,
        answer,
        {"type": "alert", "level": "warning", "text": mrkdwn("No data for 2 min")},
        {
            "type": "actions",
            "block_id": "row",
            "elements": [button("go", "Go on", style="primary", confirm=sure), button("open", "Start …")],
        },
        {"type": "context_actions", "elements": [rating]},
    ]


def pixel() -> bytes:
    """A small grey picture, as PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size, row = 8, b"\x00" + b"\x80" * 8
    head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * size)) + chunk(b"IEND", b"")


@dataclass
class Gallery:
    """The workspace, the app's client, and what the app was sent."""

    running: RunningWorkspace
    client: AsyncWebClient
    got: list[Json] = field(default_factory=list)

    async def post(self) -> str:
        """Post every block in #releases; returns the message's ts."""
        uploaded = await self.client.files_upload_v2(
            content=pixel(), filename="chart.png", alt_txt="How both arms went"
        )
        blocks = every_block(uploaded["file"]["id"])
        posted = await self.client.chat_postMessage(channel="CRELEASES", text="Everything", blocks=blocks)
        return str(posted["ts"])


@asynccontextmanager
async def open_gallery(**settings: Any) -> AsyncIterator[Gallery]:
    """The app at work in a workspace of its own."""
    events = (*WorkspaceSettings().events, "link_shared")
    domains = ("acme.example",)
    async with running_workspace(
        shortcuts=SHORTCUTS, events=events, unfurl_domains=domains, retry_delays=(), file_seconds=0, **settings
    ) as running:
        client = AsyncWebClient(token=running.settings.bot_token, base_url=running.api_url)
        gallery = Gallery(running, client)
        handler = AsyncSocketModeHandler(_app(gallery), running.settings.app_token, ping_interval=5)
        await handler.connect_async()
        try:
            yield gallery
        finally:
            await handler.close_async()


def _app(gallery: Gallery) -> AsyncApp:
    app = AsyncApp(client=gallery.client, signing_secret=gallery.running.settings.signing_secret)
    pressed = 0

    async def note(ack: AsyncAck, body: Json) -> None:
        gallery.got.append(body)
        await ack()

    for action in ("go", "menu", "rate"):
        app.action(action)(note)

    @app.action("open")
    async def opened(ack: AsyncAck, body: Json, client: AsyncWebClient) -> None:
        await note(ack, body)
        await client.views_open(trigger_id=body["trigger_id"], view=START)

    @app.shortcut("start")
    async def shortcut(ack: AsyncAck, body: Json, client: AsyncWebClient) -> None:
        await note(ack, body)
        await client.views_open(trigger_id=body["trigger_id"], view=START)

    app.shortcut("plan_from")(note)

    @app.options("flag")
    async def flags(ack: AsyncAck, payload: Json) -> None:
        await ack(options=options(*(name for name in FLAGS if payload["value"] in name)))

    @app.action("stages")
    async def stages(ack: AsyncAck, body: Json, client: AsyncWebClient) -> None:
        await note(ack, body)
        if body["actions"][0]["type"] == "button":
            await client.views_push(trigger_id=body["trigger_id"], view=STAGES)
            return
        typed = body["actions"][0]["value"] or ""
        preview = {"type": "context", "elements": [mrkdwn(f"{len(typed.split(','))} stages")]}
        view = {**STAGES, "blocks": [*STAGES["blocks"], preview]}
        await client.views_update(view_id=body["view"]["id"], view=view)

    @app.view("start")
    async def submitted(ack: AsyncAck, body: Json) -> None:
        gallery.got.append(body)
        reason = body["view"]["state"]["values"]["why"]["why"]["value"]
        if len(reason) < 10:
            await ack(response_action="errors", errors={"why": "Say a little more."})
        else:
            await ack()

    app.view("stages")(note)

    @app.event("app_home_opened")
    async def home(event: Json, client: AsyncWebClient) -> None:
        if event["tab"] == "home":
            await client.views_publish(user_id=event["user"], view=HOME)

    @app.action("count")
    async def count(ack: AsyncAck, body: Json, client: AsyncWebClient) -> None:
        nonlocal pressed
        pressed += 1
        await ack()
        line = {"type": "section", "text": mrkdwn(f"Pressed *{pressed}* times")}
        view = {**HOME, "blocks": [HOME["blocks"][0], line, HOME["blocks"][2]]}
        await client.views_publish(user_id=body["user"]["id"], view=view)

    @app.event("link_shared")
    async def linked(event: Json, client: AsyncWebClient) -> None:
        unfurls = {
            link["url"]: {"blocks": [{"type": "section", "text": mrkdwn("*checkout* at 10 %")}]}
            for link in event["links"]
        }
        await client.chat_unfurl(channel=event["channel"], ts=event["message_ts"], unfurls=unfurls)

    for event in ("message", "app_mention", "reaction_added"):
        app.event(event)(_nothing)
    return app


async def _nothing() -> None: ...
