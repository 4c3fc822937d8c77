"""What another process, or the page, does over /control."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.workspace import RunningWorkspace, Switch, running_workspace
from bot.workspace.server import serving
from tests.contract.workspace.conftest import until

Json = dict[str, Any]


@pytest.fixture
async def web(running: RunningWorkspace) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=running.url, trust_env=False) as session:
        yield session


async def post(web: httpx.AsyncClient, path: str, **body: Any) -> Json:
    response = await web.post(path, json=body)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


async def test_a_conversation_over_http(running: RunningWorkspace, app: AsyncApp, web: httpx.AsyncClient) -> None:
    clicked: list[str] = []

    @app.command("/rollout")
    async def rollout(ack: AsyncAck) -> None:
        text = {"type": "plain_text", "text": "Go"}
        button = {"type": "button", "action_id": "go", "text": text, "value": "v"}
        await ack({"text": "card", "blocks": [{"type": "actions", "elements": [button]}]})

    @app.action("go")
    async def go(ack: AsyncAck, body: Json) -> None:
        clicked.append(body["user"]["name"])
        await ack()

    @app.event("message")
    async def message() -> None: ...

    @app.event("reaction_added")
    async def reaction() -> None: ...

    said = await post(web, "/control/say", channel="releases", user="mira", text="hello")
    reply = await post(
        web, "/control/say", channel="releases", user="jonas", text="hi", thread_ts=said["message"]["ts"]
    )
    await post(web, "/control/react", channel="releases", ts=said["message"]["ts"], user="sam", name="wave")
    edited = await post(web, "/control/edit", channel="releases", ts=said["message"]["ts"], user="mira", text="hello!")
    assert edited["message"]["text"] == "hello!"
    await post(web, "/control/delete", channel="releases", ts=reply["message"]["ts"], user="jonas")
    outcome = await post(web, "/control/command", channel="releases", user="mira", command="/rollout")
    assert outcome["ok"]
    messages = (await web.get("/control/channels/releases/messages", params={"user": "mira"})).json()["messages"]
    assert [message["text"] for message in messages] == ["hello!", "card"]
    assert messages[0]["reactions"][0]["name"] == "wave"
    card = messages[1]
    assert card["ephemeral_to"] == "UMIRA0001"
    clicked_at = {"channel": "releases", "ts": card["ts"], "action_id": "go"}
    assert (await post(web, "/control/click", **clicked_at, user="mira"))["ok"]
    assert clicked == ["mira"]
    stranger = await web.post("/control/click", json={**clicked_at, "user": "jonas"})
    assert (stranger.status_code, stranger.json()["error"]) == (422, "message_not_found")
    await post(web, "/control/dismiss", channel="releases", ts=card["ts"], user="mira")
    await post(web, "/control/idle")
    assert (await web.get(f"/control/messages/releases/{card['ts']}")).status_code == 422
    await post(web, "/control/reset")
    assert (await web.get("/control/channels/releases/messages")).json() == {"messages": []}


async def test_the_button_that_stops_what_the_app_does(
    running: RunningWorkspace, app: AsyncApp, web: httpx.AsyncClient, client: AsyncWebClient
) -> None:
    heard: list[Json] = []

    @app.event("agent_session_stopped")
    async def stopped(event: Json) -> None:
        heard.append(event)

    @app.event("message")
    async def message() -> None: ...

    parent = running.people.say("CRELEASES", "mira", "hello")
    press = {"channel": "CRELEASES", "user": "sam", "thread_ts": parent.ts}
    assert (await web.post("/control/stop", json=press)).status_code == 409, "the app does nothing here"
    await client.agents_sessions_setStatus(channel_id="CRELEASES", thread_ts=parent.ts, status="processing")
    [shown] = (await web.get("/control/state")).json()["statuses"]
    assert (shown["status"], shown["stops"]) == ("is working …", True)
    stream = await client.chat_startStream(
        channel="CRELEASES",
        thread_ts=parent.ts,
        recipient_team_id="TACME0001",
        recipient_user_id="UMIRA0001",
        markdown_text="One",
    )
    await post(web, "/control/stop", **press)
    await until(lambda: heard)
    event = {name: value for name, value in heard[0].items() if name != "event_ts"}
    assert event == {
        "type": "agent_session_stopped",
        "channel": "CRELEASES",
        "thread_ts": parent.ts,
        "user": "USAM00001",
        "streaming_message_ts": [stream["ts"]],
    }
    assert heard[0]["event_ts"] > stream["ts"]
    with pytest.raises(SlackApiError, match="message_not_in_streaming_state"):
        await client.chat_appendStream(channel="CRELEASES", ts=stream["ts"], markdown_text="two")
    [shown] = (await web.get("/control/state")).json()["statuses"]
    assert shown["stops"], "it is the app that leaves the session"
    await client.agents_sessions_setStatus(channel_id="CRELEASES", thread_ts=parent.ts, status="active")
    assert (await web.get("/control/state")).json()["statuses"] == []


async def test_modals_and_homes_over_http(
    running: RunningWorkspace, app: AsyncApp, web: httpx.AsyncClient, client: AsyncWebClient
) -> None:
    view = {
        "type": "modal",
        "callback_id": "v",
        "title": {"type": "plain_text", "text": "T"},
        "submit": {"type": "plain_text", "text": "S"},
        "blocks": [
            {
                "type": "input",
                "block_id": "b",
                "label": {"type": "plain_text", "text": "L"},
                "element": {"type": "number_input", "action_id": "n", "is_decimal_allowed": False, "max_value": "100"},
            }
        ],
    }

    @app.view("v")
    async def submitted(ack: AsyncAck) -> None:
        await ack(response_action="update", view=view | {"blocks": [{"type": "divider"}]})

    opened = await client.views_open(trigger_id=running.workspace.tickets.issue_trigger("UMIRA0001"), view=view)
    path = f"/control/views/{opened['view']['id']}"
    too_much = await post(web, f"{path}/submit", user="mira", values={"n": "101"})
    assert too_much["errors"] == {"b": "Please enter a number of at most 100."}
    assert (await post(web, f"{path}/submit", user="mira", values={"n": "5"}))["ok"]
    [shown] = (await web.get("/control/modals/mira")).json()["views"]
    assert shown["blocks"][0]["type"] == "divider"
    foreign = await web.post(f"{path}/close", json={"user": "jonas"})
    assert foreign.status_code == 409
    await post(web, f"{path}/close", user="mira")
    assert (await web.get("/control/modals/mira")).json() == {"views": []}

    await client.views_publish(user_id="UMIRA0001", view={"type": "home", "blocks": [{"type": "divider"}]})
    assert (await web.get("/control/homes/mira")).json()["view"]["type"] == "home"
    assert (await web.get("/control/homes/jonas")).json()["view"] is None

    opened_tabs: list[tuple[str, bool]] = []

    @app.event("app_home_opened")
    async def looked(event: dict[str, Any]) -> None:
        opened_tabs.append((event["tab"], "view" in event))

    await post(web, "/control/home", user="mira")
    await post(web, "/control/idle")
    await post(web, "/control/home", user="mira", tab="messages")
    await post(web, "/control/idle")
    await until(lambda: len(opened_tabs) == 2)
    assert opened_tabs == [("home", True), ("messages", False)]
    assert (await web.post("/control/home", json={"user": "mira", "tab": "about"})).status_code == 409


async def test_faults_and_counts_over_http(web: httpx.AsyncClient, client: AsyncWebClient, app: AsyncApp) -> None:
    await post(web, "/control/faults/rate_limit", method="auth.test", times=1, retry_after=2)
    with pytest.raises(SlackApiError):
        await client.auth_test()
    await client.auth_test(token="xoxb-local")
    counts = (await web.get("/control/calls")).json()
    assert counts["errors"] == {"auth.test ratelimited": 1}
    log = (await web.get("/control/calls/log", params={"method": "auth.test"})).json()["calls"]
    assert [call["error"] for call in log] == ["ratelimited", None]
    assert "xoxb" not in json.dumps(log)

    assert len((await web.get("/control/connections")).json()["connections"]) == 1
    await post(web, "/control/faults/outage", on=True)
    assert (await web.get("/control/connections")).json()["connections"] == []
    with pytest.raises(SlackApiError):
        await client.auth_test()
    await post(web, "/control/faults/outage", on=False)
    await post(web, "/control/faults/duplicates", copies=2)
    assert (await web.get("/control/faults")).json()["copies"] == 2
    assert (await post(web, "/control/faults/clear")) == {"outage": None, "copies": 1, "limits": []}
    await post(web, "/control/faults/rate_limit", seconds=30)
    assert (await post(web, "/control/faults/rate_limit", on=False))["limits"] == []
    wrong = await web.post("/control/faults/rate_limit", json={"times": 0})
    assert wrong.status_code == 409
    assert "times" in wrong.json()["message"]


async def test_the_feed_tells_what_happens(running: RunningWorkspace, web: httpx.AsyncClient) -> None:
    state = (await web.get("/control/state")).json()
    assert state["people"] == ["UMIRA0001", "UJONAS001", "UAIKO0001", "USAM00001"]
    running.people.say("releases", "mira", "hello")
    async with web.stream("GET", "/control/events", params={"after": state["number"]}) as stream:
        lines = stream.aiter_lines()
        event = {}
        while "data" not in event:
            name, _, value = (await anext(lines)).partition(": ")
            event[name] = value
    assert event["event"] == "message"
    assert json.loads(event["data"])["text"] == "hello"


async def test_a_switch_is_pressed_by_the_server() -> None:
    pressed: list[Any] = []

    async def press(request: Request) -> Response:
        pressed.append(await request.json())
        return JSONResponse({})

    async with serving(Starlette(routes=[Route("/fail", press, methods=["POST"])])) as url:
        switches = (
            Switch("Break checkout", f"{url}/fail", body={"on": True}),
            Switch("Nobody there", "http://127.0.0.1:9/x"),
        )
        async with (
            running_workspace(switches=switches) as running,
            httpx.AsyncClient(base_url=running.url, trust_env=False) as web,
        ):
            assert (await web.get("/control/state")).json()["switches"][0]["label"] == "Break checkout"
            assert (await post(web, "/control/switches/0"))["status"] == 200
            assert pressed == [{"on": True}]
            switches_now = (await web.get("/control/state")).json()["switches"]
            assert [(one["pressed"], one["group"]) for one in switches_now] == [(True, 0), (False, 1)]
            assert (await web.post("/control/switches/1")).status_code == 409
            assert (await web.post("/control/switches/2")).status_code == 404


async def test_other_hosts_and_other_sites_are_refused(running: RunningWorkspace, web: httpx.AsyncClient) -> None:
    assert (await web.get("/")).status_code == 200
    assert (await web.get("/", headers={"Host": "evil.example"})).status_code == 403
    assert (await web.get("/control/state", headers={"Host": "127.0.0.1.evil.example"})).status_code == 403
    cross = await web.post("/control/reset", headers={"Origin": "https://evil.example"})
    assert cross.status_code == 403
    assert (await web.post("/control/reset", headers={"Origin": running.url})).status_code == 200
    address = running.sockets.open_connection()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(address, headers={"Origin": "https://evil.example"})
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"{running.url.replace('http', 'ws')}/link/?ticket=guess")


async def test_the_page_has_a_strict_policy(web: httpx.AsyncClient) -> None:
    page = await web.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"


async def test_eleven_connections_are_too_many(running: RunningWorkspace) -> None:
    async with aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(running.sockets.open_connection()) for _ in range(11)]
        hellos = [await socket.receive_json() for socket in sockets]
        assert [hello["type"] for hello in hellos] == ["hello"] * 10 + ["disconnect"]
        assert hellos[-1]["reason"] == "too_many_websockets"
        for socket in sockets:
            await socket.close()
    await until(lambda: not running.sockets.connections)


async def test_it_runs_as_a_process_of_its_own() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot.workspace", "--port", "0", stdout=asyncio.subprocess.PIPE, cwd=Path.cwd()
    )
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 10)).decode().strip()
        me = await AsyncWebClient(token="xoxb-local", base_url=f"{url}/api/").auth_test()
        assert me["ok"]
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
