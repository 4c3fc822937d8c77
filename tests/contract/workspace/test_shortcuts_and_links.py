"""Shortcuts in menus, and links that the app shows more of, with a real Bolt app."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.workspace import RunningWorkspace, Shortcut, running_workspace
from bot.workspace.errors import Refusal
from tests.contract.workspace.conftest import until
from tools.errors import Conflict, NotFound

Json = dict[str, Any]
LINK = "https://rollouts.acme.example/r/1?a=1&b=2"
SECTION: Json = {"type": "section", "text": {"type": "mrkdwn", "text": "*checkout* at 10 %"}}


@pytest.fixture
async def running() -> AsyncIterator[RunningWorkspace]:
    shortcuts = (Shortcut("plan_from", "Plan from this", "message"), Shortcut("start", "Start a rollout", "global"))
    events = ("link_shared", "message.channels")
    async with running_workspace(
        ack_seconds=0.5, retry_delays=(), shortcuts=shortcuts, events=events, unfurl_domains=("acme.example",)
    ) as served:
        yield served


async def test_a_shortcut_of_a_message_brings_the_message(
    running: RunningWorkspace, app: AsyncApp, client: AsyncWebClient
) -> None:
    got: list[Json] = []

    @app.shortcut("plan_from")
    async def plan(ack: AsyncAck, body: Json, client: AsyncWebClient) -> None:
        got.append(body)
        await ack()
        view = {"type": "modal", "title": {"type": "plain_text", "text": "Plan"}, "blocks": [SECTION]}
        await client.views_open(trigger_id=body["trigger_id"], view=view)

    @app.event("message")
    async def message() -> None: ...

    said = running.people.say("releases", "sam", "we should ramp this")
    assert (await running.people.shortcut("plan_from", "mira", channel="releases", ts=said.ts)).ok
    [body] = got
    assert (body["type"], body["message"]["text"], body["message_ts"]) == (
        "message_action",
        "we should ramp this",
        said.ts,
    )
    assert body["channel"] == {"id": "CRELEASES", "name": "releases"}
    await until(lambda: running.workspace.screens.modal_stack("UMIRA0001"))
    with pytest.raises(NotFound):
        await running.people.shortcut("start", "mira", channel="releases", ts=said.ts)
    private = await client.chat_postEphemeral(channel="CRELEASES", user="UMIRA0001", text="psst")
    with pytest.raises(Conflict):
        await running.people.shortcut("plan_from", "mira", channel="releases", ts=private["message_ts"])


async def test_a_global_shortcut_knows_no_channel(running: RunningWorkspace, app: AsyncApp) -> None:
    got: list[Json] = []

    @app.shortcut("start")
    async def start(ack: AsyncAck, body: Json) -> None:
        got.append(body)
        await ack()

    assert (await running.people.shortcut("start", "mira")).ok
    [body] = got
    assert body["type"] == "shortcut"
    assert not {"channel", "message", "response_url"} & set(body)
    with pytest.raises(NotFound):
        await running.people.shortcut("plan_from", "mira")


async def test_links_are_unfurled_and_their_buttons_work(
    running: RunningWorkspace, app: AsyncApp, client: AsyncWebClient
) -> None:
    shared: list[Json] = []
    clicked: list[Json] = []
    button = {"type": "button", "action_id": "open", "text": {"type": "plain_text", "text": "Open"}, "value": "r1"}
    blocks = [SECTION, {"type": "actions", "elements": [button]}]

    @app.event("message")
    async def message() -> None: ...

    @app.event("link_shared")
    async def link_shared(event: Json, client: AsyncWebClient) -> None:
        shared.append(event)
        unfurls = {link["url"]: {"blocks": blocks} for link in event["links"]}
        await client.chat_unfurl(unfurl_id=event["unfurl_id"], source=event["source"], unfurls=unfurls)

    @app.action("open")
    async def opened(ack: AsyncAck, body: Json) -> None:
        clicked.append(body)
        await ack()

    said = running.people.say("releases", "mira", f"look: {LINK} and https://elsewhere.example/x")
    await until(lambda: said.attachments)
    assert [event["links"] for event in shared] == [[{"domain": "rollouts.acme.example", "url": LINK}]]
    [attachment] = said.attachments
    assert (attachment["from_url"], attachment["id"], attachment["is_app_unfurl"]) == (LINK, 1, True)
    assert said.edited_ts is None
    assert (await running.people.click("releases", said.ts, "open", "jonas")).ok
    [body] = clicked
    assert body["container"]["type"] == "message_attachment"
    assert body["app_unfurl"]["from_url"] == LINK

    await client.chat_unfurl(channel="CRELEASES", ts=said.ts, unfurls={LINK: {"text": "gone"}})
    assert [one.get("text") for one in said.attachments] == ["gone"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"unfurls": {}}, "missing_unfurls"),
        ({"unfurls": "[1]"}, "invalid_unfurls_format"),
        ({"unfurls": {LINK: {"text": "x"}}, "channel": "CNONE"}, "cannot_find_channel"),
        ({"unfurls": {LINK: {"text": "x"}}, "ts": "1.2"}, "cannot_find_message"),
        ({"unfurls": {"https://elsewhere.example/x": {"text": "x"}}}, "cannot_unfurl_url"),
        ({"unfurls": {"https://acme.example/not-said": {"text": "x"}}}, "cannot_unfurl_message"),
        ({"unfurls": {LINK: {}}}, "cannot_parse_attachment"),
        ({"unfurls": {LINK: {"blocks": [{"type": "header"}]}}}, "invalid_blocks"),
    ],
)
async def test_what_can_not_be_unfurled_is_refused(
    running: RunningWorkspace, client: AsyncWebClient, arguments: Json, code: str
) -> None:
    said = running.people.say("releases", "mira", f"{LINK} https://elsewhere.example/x")
    with pytest.raises(SlackApiError) as refused:
        await client.api_call("chat.unfurl", json={"channel": "CRELEASES", "ts": said.ts, **arguments})
    assert refused.value.response["error"] == code


async def test_options_that_slack_would_not_show_are_refused(
    running: RunningWorkspace, app: AsyncApp, client: AsyncWebClient
) -> None:
    @app.options("flag")
    async def flags(ack: AsyncAck) -> None:
        await ack(options=[{"text": {"type": "plain_text", "text": "x" * 76}, "value": "x"}])

    menu = {"type": "external_select", "action_id": "flag", "min_query_length": 0}
    posted = await client.chat_postMessage(
        channel="CRELEASES", text="x", blocks=[{"type": "actions", "elements": [menu]}]
    )
    with pytest.raises(Refusal, match="less than 76 characters"):
        await running.people.suggest("flag", "mira", "", channel="releases", ts=posted["ts"])
