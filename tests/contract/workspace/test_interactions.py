"""Clicks, modals, menus, the Home tab and response URLs, with a real Bolt app."""

from typing import Any

import pytest
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.workspace import RunningWorkspace, running_workspace
from bot.workspace.inputs import REQUIRED
from bot.workspace.records import Message
from tests.contract.workspace.conftest import app_for, connect, until
from tools.clock import ManualClock

REJECT_VIEW: dict[str, Any] = {
    "type": "modal",
    "callback_id": "reject",
    "title": {"type": "plain_text", "text": "Reject"},
    "submit": {"type": "plain_text", "text": "Reject"},
    "private_metadata": "a1",
    "notify_on_close": True,
    "blocks": [
        {
            "type": "input",
            "block_id": "reason",
            "label": {"type": "plain_text", "text": "Why?"},
            "element": {"type": "plain_text_input", "action_id": "text", "multiline": True},
        },
        {
            "type": "input",
            "block_id": "flag",
            "optional": True,
            "label": {"type": "plain_text", "text": "Flag"},
            "element": {"type": "external_select", "action_id": "flag", "min_query_length": 0},
        },
    ],
}


def buttons(*action_ids: str, **more: Any) -> dict[str, Any]:
    elements = [
        {"type": "button", "action_id": action_id, "text": {"type": "plain_text", "text": action_id}, **more}
        for action_id in action_ids
    ]
    return {"type": "actions", "elements": elements}


def seen_by(running: RunningWorkspace, user: str) -> list[Message]:
    return running.workspace.visible_messages(running.workspace.channel("releases"), user)


async def test_a_confirm_dialog_that_is_denied_sends_nothing(
    running: RunningWorkspace, app: AsyncApp, client: AsyncWebClient
) -> None:
    clicks: list[str] = []

    @app.action("kill")
    async def kill(ack: AsyncAck, body: dict[str, Any]) -> None:
        clicks.append(body["actions"][0]["value"])
        await ack()

    text = {"type": "plain_text", "text": "Sure?"}
    sure = {"title": text, "text": text, "confirm": text, "deny": text}
    posted = await client.chat_postMessage(
        channel="CRELEASES", text="x", blocks=[buttons("kill", value="r1", confirm=sure)]
    )

    denied = await running.people.click("releases", posted["ts"], "kill", "jonas", confirm=False)
    assert denied.ack is None
    assert (await running.people.click("releases", posted["ts"], "kill", "jonas")).ok
    assert clicks == ["r1"]


async def test_a_modal_is_opened_refused_filled_in_and_submitted(
    running: RunningWorkspace, app: AsyncApp, client: AsyncWebClient
) -> None:
    submitted: dict[str, Any] = {}

    @app.action("reject")
    async def reject(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=REJECT_VIEW)

    @app.options("flag")
    async def flags(ack: AsyncAck, payload: dict[str, Any]) -> None:
        names = [name for name in ("checkout", "search") if payload["value"] in name]
        await ack(options=[{"text": {"type": "plain_text", "text": name}, "value": name} for name in names])

    @app.view("reject")
    async def on_reject(ack: AsyncAck, view: dict[str, Any], body: dict[str, Any]) -> None:
        submitted.update(view["state"]["values"])
        if len(view["state"]["values"]["reason"]["text"]["value"]) < 5:
            await ack(response_action="errors", errors={"reason": "Say a little more."})
        else:
            await ack()

    posted = await client.chat_postMessage(channel="CRELEASES", text="x", blocks=[buttons("reject")])
    assert (await running.people.click("releases", posted["ts"], "reject", "jonas")).ok
    await until(lambda: running.workspace.screens.modal_stack("UJONAS001"))
    [view] = running.workspace.screens.modal_stack("UJONAS001")

    empty = await running.people.submit(view.id, "jonas", {})
    assert empty.errors == {"reason": REQUIRED}
    assert empty.ack is None

    [option] = await running.people.suggest("flag", "jonas", "check", view_id=view.id)
    short = await running.people.submit(view.id, "jonas", {"text": "no", "flag": option})
    assert short.errors == {"reason": "Say a little more."}
    assert running.workspace.screens.modal_stack("UJONAS001") == [view]

    done = await running.people.submit(view.id, "jonas", {"text": "too risky", "flag": option})
    assert done.ok
    assert submitted["flag"]["flag"]["selected_option"]["value"] == "checkout"
    assert running.workspace.screens.modal_stack("UJONAS001") == []


async def test_views_are_updated_pushed_and_closed(
    running: RunningWorkspace, app: AsyncApp, client: AsyncWebClient
) -> None:
    closed: list[bool] = []
    loading = {
        "type": "modal",
        "title": {"type": "plain_text", "text": "Start"},
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "…"}}, buttons("more")],
    }

    @app.command("/rollout")
    async def start(ack: AsyncAck, command: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        opened = await client.views_open(trigger_id=command["trigger_id"], view=loading)
        named = {**loading, "title": {"type": "plain_text", "text": "Ready"}, "notify_on_close": True}
        await client.views_update(view_id=opened["view"]["id"], hash=opened["view"]["hash"], view=named)

    @app.action("more")
    async def more(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        assert body["container"]["type"] == "view"
        await client.views_push(trigger_id=body["trigger_id"], view=REJECT_VIEW)

    @app.view_closed("")
    async def on_closed(ack: AsyncAck, body: dict[str, Any]) -> None:
        closed.append(body["is_cleared"])
        await ack()

    @app.view_closed("reject")
    async def on_reject_closed(ack: AsyncAck, body: dict[str, Any]) -> None:
        closed.append(body["is_cleared"])
        await ack()

    def stack() -> list[str]:
        return [view.given["title"]["text"] for view in running.workspace.screens.modal_stack("UMIRA0001")]

    await running.people.command("releases", "mira", "/rollout", "start")
    await until(lambda: stack() == ["Ready"])
    [ready] = running.workspace.screens.modal_stack("UMIRA0001")
    with pytest.raises(SlackApiError, match="hash_conflict"):
        await client.views_update(view_id=ready.id, hash="stale", view=loading)
    await running.people.click_in_view(ready.id, "more", "mira")
    await until(lambda: stack() == ["Ready", "Reject"])
    await running.people.close(running.workspace.screens.modal_stack("UMIRA0001")[-1].id, "mira")
    assert stack() == ["Ready"]
    await running.people.close(ready.id, "mira", everything=True)
    assert stack() == []
    assert closed == [False, True]


async def test_a_trigger_is_used_once_and_within_three_seconds() -> None:
    clock = ManualClock()
    async with running_workspace(clock=clock) as running:
        client = AsyncWebClient(token="xoxb-local", base_url=running.api_url)

        async def code_of(trigger_id: str) -> str | None:
            try:
                await client.views_open(trigger_id=trigger_id, view=REJECT_VIEW)
            except SlackApiError as error:
                return str(error.response["error"])
            return None

        trigger = running.workspace.tickets.issue_trigger("UMIRA0001")
        assert await code_of(trigger) is None
        assert await code_of(trigger) == "exchanged_trigger_id"
        late = running.workspace.tickets.issue_trigger("UMIRA0001")
        clock.advance(3.1)
        assert await code_of(late) == "expired_trigger_id"
        assert await code_of("1.2.3") == "invalid_trigger_id"


async def test_response_urls(running: RunningWorkspace, app: AsyncApp) -> None:
    answers: list[tuple[int, str]] = []

    @app.command("/rollout")
    async def status(ack: AsyncAck) -> None:
        await ack({"text": "card", "blocks": [buttons("refresh")]})

    @app.action("refresh")
    async def refresh(ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        await ack()
        assert body["container"]["is_ephemeral"]
        assert "message" not in body
        for text in ("one", "two"):
            response = await respond(text, replace_original=True)
            answers.append((response.status_code, response.body))
        await respond("for all", response_type="in_channel")
        await respond("x" * 10, blocks=[{"type": "nonsense"}])
        await respond(delete_original=True)
        response = await respond("one too many")
        answers.append((response.status_code, response.body))

    await running.people.command("releases", "mira", "/rollout")
    [card] = seen_by(running, "UMIRA0001")
    await running.people.click("releases", card.ts, "refresh", "mira")
    await until(lambda: len(answers) == 3)

    assert answers[:2] == [(200, "ok"), (200, "ok")]
    assert answers[2][0] == 404
    assert "used_url" in answers[2][1]
    assert [message.text for message in seen_by(running, "UMIRA0001")] == ["for all"]
    assert [message.text for message in seen_by(running, "UJONAS001")] == ["for all"]


async def test_what_the_person_sees_when_the_app_does_not_answer() -> None:
    async with running_workspace(ack_seconds=0.1) as running:
        nobody = await running.people.command("releases", "mira", "/rollout")
        assert nobody.notice == "`/rollout` failed with the error `dispatch_failed`."
        unknown = await running.people.command("releases", "mira", "/deploy")
        assert unknown.notice == "`/deploy` is not a valid command."

        handler = await connect(app_for(running), running)
        try:
            unheard = await running.people.command("releases", "mira", "/rollout")
            assert unheard.notice == "`/rollout` failed with the error `operation_timeout`."
        finally:
            await handler.close_async()
        parent = running.people.say("releases", "mira", "hello")
        threaded = await running.people.command("releases", "mira", "/rollout", thread_ts=parent.ts)
        assert threaded.notice == "`/rollout` is not supported in threads. Sorry!"
        assert all(message.user == "USLACKBOT" for message in seen_by(running, "UMIRA0001") if message.ephemeral_to)


async def test_home_mentions_reactions_and_edits_reach_the_app(
    running: RunningWorkspace, app: AsyncApp, client: AsyncWebClient
) -> None:
    events: list[dict[str, Any]] = []

    @app.event("app_home_opened")
    async def home(event: dict[str, Any], client: AsyncWebClient) -> None:
        await client.views_publish(
            user_id=event["user"], view={"type": "home", "blocks": [{"type": "divider"}, buttons("refresh")]}
        )

    @app.event("app_mention")
    async def mention(event: dict[str, Any], body: dict[str, Any]) -> None:
        assert body["authorizations"][0]["user_id"] == "USLUICE01"
        events.append(event)

    @app.event("message")
    async def message(event: dict[str, Any]) -> None:
        events.append(event)

    @app.event("reaction_added")
    async def reaction(event: dict[str, Any]) -> None:
        events.append(event)

    running.people.open_home("mira")
    await until(lambda: "UMIRA0001" in running.workspace.screens.homes)
    said = running.people.say("releases", "mira", "@sluice plan <b> & @jonas in #payments")
    assert said.text == "<@USLUICE01> plan &lt;b&gt; &amp; <@UJONAS001> in <#CPAYMENTS|payments>"
    await running.people.idle()
    running.people.edit("releases", said.ts, "mira", "never mind")
    await running.people.idle()
    running.people.react("releases", said.ts, "aiko", "eyes")
    await running.people.idle()
    running.people.delete("releases", said.ts, "mira")
    await running.people.idle()
    running.people.say("DMIRA0001", "mira", "in private")
    await running.people.idle()
    await client.chat_postMessage(channel="CRELEASES", text="my own words")
    await running.people.idle()

    await until(lambda: len(events) == 6)
    kinds = [(event["type"], event.get("subtype"), event.get("channel_type")) for event in events]
    assert set(kinds[:2]) == {("app_mention", None, None), ("message", None, "channel")}
    assert kinds[2:] == [
        ("message", "message_changed", "channel"),
        ("reaction_added", None, None),
        ("message", "message_deleted", "channel"),
        ("message", None, "im"),
    ]
    assert events[2]["message"]["text"] == "never mind"
    assert "plan" in events[2]["previous_message"]["text"]


async def test_deliveries_can_be_doubled(running: RunningWorkspace, app: AsyncApp, client: AsyncWebClient) -> None:
    seen: list[str] = []

    @app.action("approve")
    async def approve(ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        seen.append(body["trigger_id"])

    posted = await client.chat_postMessage(channel="CRELEASES", text="x", blocks=[buttons("approve")])
    running.workspace.faults.duplicate(4)
    await running.people.click("releases", posted["ts"], "approve", "jonas")
    await running.people.idle()
    await until(lambda: len(seen) == 4)
    assert len(set(seen)) == 1


async def test_the_app_reconnects_when_told_to(running: RunningWorkspace, app: AsyncApp) -> None:
    @app.command("/rollout")
    async def rollout(ack: AsyncAck) -> None:
        await ack()

    first = running.sockets.connections[0].number
    assert await running.sockets.disconnect_all() == 1
    await until(lambda: running.sockets.connections and running.sockets.connections[0].number != first)
    assert (await running.people.command("releases", "mira", "/rollout")).ok
