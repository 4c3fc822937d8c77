"""The workspace and a real Bolt app over Socket Mode."""

from collections.abc import Awaitable, Callable
from typing import Any

from slack_bolt import BoltResponse
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltRequest
from slack_sdk.web.async_client import AsyncWebClient

from bot.workspace import RunningWorkspace
from tests.contract.workspace.conftest import app_for, connect, until

BUTTON = {
    "type": "actions",
    "block_id": "decide",
    "elements": [
        {
            "type": "button",
            "action_id": "approve",
            "text": {"type": "plain_text", "text": "Approve"},
            "value": "a1",
            "confirm": {
                "title": {"type": "plain_text", "text": "Sure?"},
                "text": {"type": "plain_text", "text": "This raises exposure."},
                "confirm": {"type": "plain_text", "text": "Approve"},
                "deny": {"type": "plain_text", "text": "Cancel"},
            },
        }
    ],
}


async def test_slash_command_is_answered_for_the_one_who_asked(running: RunningWorkspace, app: AsyncApp) -> None:
    seen: dict[str, Any] = {}

    @app.command("/rollout")
    async def rollout(ack: AsyncAck, command: dict[str, Any]) -> None:
        seen.update(command)
        await ack("Nothing is rolling out.")

    outcome = await running.people.command("releases", "mira", "/rollout", "status")

    assert outcome.ok
    assert seen["text"] == "status"
    assert seen["user_id"] == "UMIRA0001"
    channel = running.workspace.channel("#releases")
    [message] = running.workspace.visible_messages(channel, "UMIRA0001")
    assert message.text == "Nothing is rolling out."
    assert running.workspace.visible_messages(channel, "UJONAS001") == []


async def test_a_click_reaches_the_listener_which_updates_the_message(
    running: RunningWorkspace, app: AsyncApp, client: AsyncWebClient
) -> None:
    posted = await client.chat_postMessage(channel="#releases", text="Approve?", blocks=[BUTTON])

    @app.action("approve")
    async def approve(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        assert body["actions"][0]["value"] == "a1"
        await client.chat_update(
            channel=body["channel"]["id"], ts=body["message"]["ts"], text=f"by {body['user']['name']}", blocks=[]
        )

    outcome = await running.people.click("releases", posted["ts"], "approve", "jonas")
    message = running.workspace.message(running.workspace.channel("releases"), posted["ts"])
    await until(lambda: message.text == "by jonas")

    assert outcome.ok
    assert message.blocks == []
    assert message.edited_ts


async def test_an_unacknowledged_event_is_delivered_again(running: RunningWorkspace, app: AsyncApp) -> None:
    deliveries: list[tuple[str, str | None]] = []

    @app.middleware
    async def deaf_at_first(request: AsyncBoltRequest, next_: Callable[[], Awaitable[None]]) -> BoltResponse | None:
        number = request.headers.get("x-slack-retry-num", [None])[0]
        deliveries.append((request.body["event_id"], number))
        if number != "2":
            return BoltResponse(status=503)
        await next_()
        return None

    @app.event("app_mention")
    async def mentioned(event: dict[str, Any]) -> None: ...

    running.people.say("releases", "mira", "@sluice hello")
    await running.people.idle()

    mention = deliveries[0][0]
    assert [number for event_id, number in deliveries if event_id == mention] == ["0", "1", "2"]
    assert [letter["event"]["type"] for letter in running.courier.dead_letters] == ["message"]


async def test_two_connections_share_the_deliveries(running: RunningWorkspace, app: AsyncApp) -> None:
    other = app_for(running)
    handled = {"first": 0, "second": 0}

    @app.command("/rollout")
    async def first(ack: AsyncAck) -> None:
        handled["first"] += 1
        await ack()

    @other.command("/rollout")
    async def second(ack: AsyncAck) -> None:
        handled["second"] += 1
        await ack()

    handler = await connect(other, running)
    try:
        for _ in range(6):
            assert (await running.people.command("releases", "mira", "/rollout")).ok
    finally:
        await handler.close_async()

    assert handled == {"first": 3, "second": 3}
