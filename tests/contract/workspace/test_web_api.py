"""The Web API through the unmodified clients, async and sync."""

import asyncio
import threading
from typing import Any

import aiohttp
import httpx
import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from bot.workspace import RunningWorkspace, running_workspace
from tools.clock import ManualClock

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "hello"}}
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64


async def refused(call: Any) -> Any:
    """The response of a call that Slack refuses."""
    with pytest.raises(SlackApiError) as caught:
        await call
    return caught.value.response


async def test_who_am_i(running: RunningWorkspace, client: AsyncWebClient) -> None:
    me = await client.auth_test()
    assert (me["team"], me["user_id"], me["bot_id"]) == ("Acme", "USLUICE01", "BSLUICE01")
    assert "chat:write" in me.headers["x-oauth-scopes"]
    assert (await client.api_test(foo="bar"))["args"] == {"foo": "bar"}
    assert (await client.bots_info(bot=me["bot_id"]))["bot"]["name"] == "Sluice"


@pytest.mark.parametrize(
    ("token", "method", "code"),
    [
        ("xoxb-wrong", "auth.test", "invalid_auth"),
        (None, "auth.test", "not_authed"),
        ("xapp-local", "auth.test", "not_allowed_token_type"),
        ("xoxb-local", "apps.connections.open", "not_allowed_token_type"),
        ("xoxb-local", "chat.explode", "unknown_method"),
    ],
)
async def test_refused_calls(running: RunningWorkspace, token: str | None, method: str, code: str) -> None:
    client = AsyncWebClient(token=token, base_url=running.api_url)
    assert (await refused(client.api_call(method)))["error"] == code


async def test_a_message_is_posted_updated_and_deleted(running: RunningWorkspace, client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(channel="#releases", text="one", blocks=[SECTION])
    channel, ts = posted["channel"], posted["ts"]
    assert posted["message"]["blocks"][0]["block_id"]

    await client.chat_update(channel=channel, ts=ts, text="two", blocks=[SECTION, {"type": "divider"}])
    [message] = (await client.conversations_history(channel=channel))["messages"]
    assert (message["text"], len(message["blocks"])) == ("two", 2)
    assert "edited" not in message

    await client.chat_update(channel=channel, ts=ts, text="three")
    [message] = (await client.conversations_history(channel=channel))["messages"]
    assert "blocks" not in message
    assert message["edited"]["user"] == "USLUICE01"

    await client.chat_delete(channel=channel, ts=ts)
    assert (await client.conversations_history(channel=channel))["messages"] == []
    assert (await refused(client.chat_update(channel=channel, ts=ts, text="four")))["error"] == "message_not_found"


async def test_threads(running: RunningWorkspace, client: AsyncWebClient) -> None:
    parent = await client.chat_postMessage(channel="CRELEASES", text="parent")
    reply = await client.chat_postMessage(channel="CRELEASES", text="reply", thread_ts=parent["ts"])
    running.people.say("releases", "jonas", "mine", thread_ts=parent["ts"])

    thread = (await client.conversations_replies(channel="CRELEASES", ts=parent["ts"]))["messages"]
    assert [message["text"] for message in thread] == ["parent", "reply", "mine"]
    assert thread[0]["reply_count"] == 2
    assert thread[1]["parent_user_id"] == "USLUICE01"
    [top] = (await client.conversations_history(channel="CRELEASES"))["messages"]
    assert top["latest_reply"] == thread[2]["ts"]

    link = (await client.chat_getPermalink(channel="CRELEASES", message_ts=reply["ts"]))["permalink"]
    assert link.startswith(running.url)
    nowhere = client.chat_postMessage(channel="CRELEASES", text="x", thread_ts="1.000000")
    assert (await refused(nowhere))["error"] == "thread_not_found"


async def test_timestamps_are_unique_and_rise(running: RunningWorkspace, client: AsyncWebClient) -> None:
    answers = await asyncio.gather(*[client.chat_postMessage(channel="CRELEASES", text=str(n)) for n in range(20)])
    stamps = [answer["ts"] for answer in answers]
    assert len(set(stamps)) == 20
    history = (await client.conversations_history(channel="CRELEASES", limit=7))["messages"]
    assert [message["ts"] for message in history] == sorted(stamps, reverse=True)[:7]


async def test_history_is_handed_out_in_pages(running: RunningWorkspace, client: AsyncWebClient) -> None:
    for n in range(5):
        await client.chat_postMessage(channel="CRELEASES", text=str(n))
    texts = [
        message["text"]
        async for page in await client.conversations_history(channel="CRELEASES", limit=2)
        for message in page["messages"]
    ]
    assert texts == ["4", "3", "2", "1", "0"]


async def test_an_ephemeral_message_is_for_one_person(running: RunningWorkspace, client: AsyncWebClient) -> None:
    answer = await client.chat_postEphemeral(channel="CRELEASES", user="UMIRA0001", text="psst")
    channel = running.workspace.channel("releases")
    assert [m.text for m in running.workspace.visible_messages(channel, "UMIRA0001")] == ["psst"]
    assert running.workspace.visible_messages(channel, "UJONAS001") == []
    assert (await client.conversations_history(channel="CRELEASES"))["messages"] == []
    update = client.chat_update(channel="CRELEASES", ts=answer["message_ts"], text="x")
    assert (await refused(update))["error"] == "message_not_found"


TOO_MUCH: dict[str, tuple[list[dict[str, Any]], str]] = {
    "51 blocks": ([SECTION] * 51, "[ERROR] no more than 50 items allowed [json-pointer:/blocks]"),
    "3,001 characters": (
        [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}],
        "[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]",
    ),
    "a 76-character button": (
        [
            {
                "type": "actions",
                "elements": [
                    {"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "x" * 76}},
                ],
            }
        ],
        "[ERROR] must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]",
    ),
}


@pytest.mark.parametrize(("blocks", "line"), TOO_MUCH.values(), ids=TOO_MUCH.keys())
async def test_too_much_is_refused_as_slack_does(
    client: AsyncWebClient, blocks: list[dict[str, Any]], line: str
) -> None:
    response = await refused(client.chat_postMessage(channel="CRELEASES", text="x", blocks=blocks))
    assert response["error"] == "invalid_blocks"
    assert line in response["response_metadata"]["messages"]
    assert (await refused(client.chat_postEphemeral(channel="CRELEASES", user="UMIRA0001", text="x", blocks=blocks)))[
        "error"
    ] == "invalid_blocks"


async def test_text_limits(client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(channel="CRELEASES", text="x" * 40_001)
    assert len(posted["message"]["text"]) == 40_000
    assert posted["response_metadata"]["warnings"] == ["message_truncated"]
    long = client.chat_update(channel="CRELEASES", ts=posted["ts"], text="x" * 4_001)
    assert (await refused(long))["error"] == "msg_too_long"
    assert (await refused(client.api_call("chat.postMessage", json={"channel": "C"})))["error"] == "channel_not_found"
    assert (await refused(client.api_call("chat.postMessage", json={"channel": "CRELEASES"})))["error"] == "no_text"
    missing = await refused(client.api_call("chat.postMessage", json={"text": "x"}))
    assert missing["error"] == "invalid_arguments"
    assert missing["response_metadata"]["messages"] == ["[ERROR] missing required field: channel"]


def test_the_sync_client_sends_forms(tmp_path: Any) -> None:
    """In a thread of its own, as a program without an event loop would use it."""
    url: list[str] = []
    up, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with running_workspace() as running:
            url.append(running.api_url)
            up.set()
            await asyncio.to_thread(done.wait)

    server = threading.Thread(target=lambda: asyncio.run(serve()))
    server.start()
    try:
        assert up.wait(5)
        client = WebClient(token="xoxb-local", base_url=url[0])
        posted = client.chat_postMessage(channel="#releases", text="sync", blocks=[SECTION])
        client.reactions_add(channel=posted["channel"], timestamp=posted["ts"], name="eyes")
        [message] = client.conversations_history(channel=posted["channel"])["messages"]
        assert message["reactions"] == [{"name": "eyes", "users": ["USLUICE01"], "count": 1}]
        form = client.api_call("chat.postMessage", data={"channel": "CRELEASES", "blocks": '[{"type":"divider"}]'})
        assert form["message"]["blocks"][0]["type"] == "divider"
        uploaded = client.files_upload_v2(content=PNG, filename="a.png", channel="CRELEASES")
        assert uploaded["file"]["mimetype"] == "image/png"
    finally:
        done.set()
        server.join()


async def test_people_and_places(client: AsyncWebClient) -> None:
    assert {c["name"] for c in (await client.conversations_list())["channels"]} == {"releases", "payments", "alerts"}
    assert len((await client.conversations_list(types="im"))["channels"]) == 4
    assert (await client.conversations_info(channel="CALERTS01"))["channel"]["is_member"]
    assert "UMIRA0001" in (await client.conversations_members(channel="CALERTS01"))["members"]
    direct = (await client.conversations_open(users="UMIRA0001"))["channel"]["id"]
    assert (await client.chat_postMessage(channel="UMIRA0001", text="hi"))["channel"] == direct
    group = (await client.conversations_open(users="UMIRA0001,UAIKO0001", return_im=True))["channel"]
    assert group["is_mpim"]
    assert (await client.users_info(user="UAIKO0001"))["user"]["tz"] == "Asia/Tokyo"
    assert (await client.users_lookupByEmail(email="sam@acme.example"))["user"]["name"] == "sam"
    assert len((await client.users_list())["members"]) == 5
    [approvers] = (await client.usergroups_list(include_users=True))["usergroups"]
    assert (await client.usergroups_users_list(usergroup=approvers["id"]))["users"] == approvers["users"]
    assert (await refused(client.users_info(user="UNOBODY")))["error"] == "user_not_found"
    assert (await refused(client.users_lookupByEmail(email="no@acme.example")))["error"] == "users_not_found"


async def test_a_bot_writes_only_where_it_is() -> None:
    from bot.workspace import Room

    async with running_workspace(rooms=(Room("CPRIVATE1", "private", bot_is_member=False),)) as running:
        client = AsyncWebClient(token="xoxb-local", base_url=running.api_url)
        refusal = await refused(client.chat_postMessage(channel="#private", text="x"))
        assert refusal["error"] == "not_in_channel"
        await client.conversations_join(channel="CPRIVATE1")
        assert (await client.conversations_join(channel="CPRIVATE1"))["warning"] == "already_in_channel"
        await client.chat_postMessage(channel="#private", text="x")


async def test_a_file_is_uploaded_and_shown_in_a_block(running: RunningWorkspace, client: AsyncWebClient) -> None:
    uploaded = await client.files_upload_v2(content=PNG, filename="gate.png", alt_txt="the gate")
    file = uploaded["file"]
    image = {"type": "image", "alt_text": "the gate", "slack_file": {"id": file["id"]}}
    early = await refused(client.chat_postMessage(channel="CRELEASES", text="chart", blocks=[image]))
    assert (early["error"], early["errors"]) == (
        "invalid_blocks",
        ["invalid slack file [json-pointer:/blocks/0/slack_file]"],
    ), "Slack has not looked through it yet"
    running.workspace.files[file["id"]].ready_at = running.workspace.clock.now()
    await client.chat_postMessage(channel="CRELEASES", text="chart", blocks=[image])
    await client.files_upload_v2(content=b"a,b", filename="audit.csv", channel="CRELEASES", initial_comment="The log")
    [shared, _] = (await client.conversations_history(channel="CRELEASES"))["messages"]
    assert (shared["text"], shared["files"][0]["name"]) == ("The log", "audit.csv")
    async with httpx.AsyncClient(trust_env=False) as browser:
        picture = await browser.get(file["url_private"])
        assert picture.content == PNG
        assert picture.headers["content-disposition"] == "inline"
        table = await browser.get(shared["files"][0]["url_private"])
        assert table.headers["content-disposition"] == "attachment"
        assert "sandbox" in table.headers["content-security-policy"]
    assert (await client.files_info(file=file["id"]))["file"]["size"] == len(PNG)
    assert (await client.files_delete(file=file["id"]))["ok"]
    assert (await refused(client.files_delete(file=file["id"])))["error"] == "file_deleted"
    assert (await refused(client.files_delete(file="F00000000")))["error"] == "file_not_found"
    gone = await refused(client.chat_postMessage(channel="CRELEASES", text="chart", blocks=[image]))
    assert gone["error"] == "invalid_blocks"
    async with httpx.AsyncClient(trust_env=False) as browser:
        assert (await browser.get(file["url_private"])).status_code == 404


async def test_a_stream_is_written_piece_by_piece_and_dies_after_five_minutes() -> None:
    clock = ManualClock()
    async with running_workspace(clock=clock) as running:
        client = AsyncWebClient(token="xoxb-local", base_url=running.api_url)
        parent = running.people.say("releases", "mira", "question")
        to = {"recipient_team_id": "TACME0001", "recipient_user_id": "UMIRA0001"}
        alone = client.chat_startStream(channel="CRELEASES", thread_ts=parent.ts)
        assert (await refused(alone))["error"] == "missing_recipient_team_id"
        stream = await client.chat_stream(channel="CRELEASES", thread_ts=parent.ts, buffer_size=1, **to)
        await stream.append(markdown_text="Reading ")
        await stream.append(markdown_text="the spec.")
        await stream.stop(blocks=[{"type": "divider"}])
        answer = running.workspace.replies(running.workspace.channel("releases"), parent.ts)[0]
        assert answer.text == "Reading the spec."
        assert [block["type"] for block in answer.blocks] == ["markdown", "divider"]

        begun = await client.chat_startStream(channel="CRELEASES", thread_ts=parent.ts, markdown_text="Slow", **to)
        task = {"type": "task_update", "id": "1", "title": "Read", "status": "in_progress"}
        await client.chat_appendStream(channel="CRELEASES", ts=begun["ts"], chunks=[task])
        clock.advance(301)
        late = client.chat_appendStream(channel="CRELEASES", ts=begun["ts"], markdown_text="x")
        assert (await refused(late))["error"] == "message_not_in_streaming_state"
        await client.chat_update(channel="CRELEASES", ts=begun["ts"], text="Recovered.")


async def test_the_assistants_status_goes_after_two_minutes() -> None:
    clock = ManualClock()
    async with running_workspace(clock=clock) as running:
        client = AsyncWebClient(token="xoxb-local", base_url=running.api_url)
        parent = running.people.say("DMIRA0001", "mira", "hello")
        channel = running.workspace.channel("DMIRA0001")
        await client.assistant_threads_setStatus(channel_id=channel.id, thread_ts=parent.ts, status="is reading…")
        assert running.workspace.status(channel, parent.ts) == "is reading…"
        clock.advance(121)
        assert running.workspace.status(channel, parent.ts) == ""
        await client.assistant_threads_setTitle(channel_id=channel.id, thread_ts=parent.ts, title="Checkout")
        await client.assistant_threads_setSuggestedPrompts(
            channel_id=channel.id, thread_ts=parent.ts, prompts=[{"title": "Status", "message": "What is out?"}]
        )
        assert running.workspace.prompts[channel.id]["prompts"][0]["title"] == "Status"


class TestAgentSessions:
    """https://docs.slack.dev/reference/methods/agents.sessions.setStatus and ….rename."""

    async def test_a_session_is_processing_until_the_app_says_otherwise(self) -> None:
        clock = ManualClock()
        async with running_workspace(clock=clock) as running:
            client = AsyncWebClient(token="xoxb-local", base_url=running.api_url)
            parent = running.people.say("CRELEASES", "mira", "hello")
            channel, of = running.workspace.channel("CRELEASES"), {"channel_id": "CRELEASES", "thread_ts": parent.ts}
            begun = await client.agents_sessions_setStatus(
                status="processing", title="Checkout", initiator_user_id="UMIRA0001", **of
            )
            assert {name: begun[name] for name in ("status", "agent_status", "title")} == {
                "status": "processing",
                "agent_status": "processing",
                "title": "Checkout",
            }
            assert "warning" not in begun.data
            await client.chat_postMessage(channel="CRELEASES", thread_ts=parent.ts, text="A word.")
            assert running.workspace.status(channel, parent.ts) == "is working …", "no message ends it"
            clock.advance(3599)
            assert running.workspace.can_be_stopped(channel, parent.ts)
            clock.advance(2)
            assert running.workspace.status(channel, parent.ts) == ""
            again = await client.agents_sessions_setStatus(status="active", title="Else", **of)
            assert again["title"] == "Checkout", "a title counts at the beginning only"
            assert (await client.agents_sessions_rename(title="Else", **of))["title"] == "Else"

    async def test_an_app_that_does_not_hear_the_stop_is_warned_and_has_no_button(self) -> None:
        async with running_workspace(events=("message.channels",)) as running:
            client = AsyncWebClient(token="xoxb-local", base_url=running.api_url)
            parent = running.people.say("CRELEASES", "mira", "hello")
            begun = await client.agents_sessions_setStatus(
                channel_id="CRELEASES", thread_ts=parent.ts, status="processing"
            )
            assert begun["response_metadata"]["warnings"] == ["missing_agent_session_stopped_event_subscription"]
            assert not running.workspace.can_be_stopped(running.workspace.channel("CRELEASES"), parent.ts)

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"status": "is thinking …"}, "invalid_arguments"),
            ({"status": None}, "invalid_arguments"),
            ({"thread_ts": None}, "invalid_arguments"),
            ({"thread_ts": "1.000001"}, "thread_not_found"),
            ({"channel_id": "CNOWHERE"}, "channel_not_found"),
            ({"title": "t" * 201}, "invalid_arguments"),
            ({"initiator_user_id": "UNOBODY"}, "user_not_found"),
            ({"username": "Else"}, "missing_scope"),
        ],
    )
    async def test_what_slack_does_not_take(
        self, running: RunningWorkspace, client: AsyncWebClient, change: dict[str, str | None], code: str
    ) -> None:
        parent = running.people.say("CRELEASES", "mira", "hello")
        given = {"channel_id": "CRELEASES", "thread_ts": parent.ts, "status": "processing", **change}
        call = client.api_call("agents.sessions.setStatus", json={k: v for k, v in given.items() if v is not None})
        assert (await refused(call))["error"] == code
        assert running.workspace.sessions == {}

    @pytest.mark.parametrize(("title", "code"), [("New", "session_not_found"), ("t" * 201, "invalid_arguments")])
    async def test_what_is_not_renamed(
        self, running: RunningWorkspace, client: AsyncWebClient, title: str, code: str
    ) -> None:
        parent = running.people.say("CRELEASES", "mira", "hello")
        renaming = client.agents_sessions_rename(channel_id="CRELEASES", thread_ts=parent.ts, title=title)
        assert (await refused(renaming))["error"] == code

    async def test_the_end_of_a_stream_sets_the_status_too(
        self, running: RunningWorkspace, client: AsyncWebClient
    ) -> None:
        parent = running.people.say("DMIRA0001", "mira", "hello")
        begun = await client.chat_startStream(channel="DMIRA0001", thread_ts=parent.ts, markdown_text="One")
        of = {"channel": "DMIRA0001", "ts": begun["ts"]}
        assert (await refused(client.chat_stopStream(session_status="done", **of)))["error"] == "invalid_arguments"
        await client.chat_stopStream(session_status="suspended", **of)
        assert running.workspace.sessions["DMIRA0001", parent.ts].status == "suspended"


async def test_429_is_honoured_by_the_sdks_retry_handler(running: RunningWorkspace, client: AsyncWebClient) -> None:
    running.workspace.faults.limit("chat.postMessage", times=1, retry_after=7)
    response = await refused(client.chat_postMessage(channel="CRELEASES", text="x"))
    assert (response["error"], response.status_code, response.headers["Retry-After"]) == ("ratelimited", 429, "7")

    client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=2))
    running.workspace.faults.limit("chat.postMessage", times=1, retry_after=0)
    await client.chat_postMessage(channel="CRELEASES", text="at last")
    assert running.workspace.call_counts["chat.postMessage"] == 3
    assert running.workspace.error_counts["chat.postMessage ratelimited"] == 2


async def test_a_channel_has_its_own_pace() -> None:
    clock = ManualClock()
    async with running_workspace(clock=clock, messages_per_second=1.0, message_burst=2) as running:
        client = AsyncWebClient(token="xoxb-local", base_url=running.api_url)
        for _ in range(2):
            await client.chat_postMessage(channel="CRELEASES", text="x")
        response = await refused(client.chat_postMessage(channel="CRELEASES", text="x"))
        assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
        await client.chat_postMessage(channel="CPAYMENTS", text="another channel")
        clock.advance(1.0)
        await client.chat_postMessage(channel="CRELEASES", text="x")


async def test_an_outage(running: RunningWorkspace, client: AsyncWebClient) -> None:
    client.retry_handlers.clear()
    running.workspace.faults.begin_outage()
    response = await refused(client.chat_postMessage(channel="CRELEASES", text="x"))
    assert response.status_code == 503

    running.workspace.faults.begin_outage("refused")
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.chat_postMessage(channel="CRELEASES", text="x")

    running.workspace.faults.end_outage()
    await client.chat_postMessage(channel="CRELEASES", text="x")
