"""A real Bolt app behind signed HTTP requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.workspace import RunningWorkspace, running_workspace
from bot.workspace.server import serving


class Endpoint:
    """Serves a Bolt app that is made later; refuses the first `failures` requests."""

    def __init__(self) -> None:
        self.app: AsyncApp | None = None
        self.failures = 0
        self.retries: list[str | None] = []

    async def __call__(self, request: Request) -> Response:
        self.retries.append(request.headers.get("x-slack-retry-num"))
        if self.failures:
            self.failures -= 1
            return Response(status_code=500)
        assert self.app is not None
        response: Response = await AsyncSlackRequestHandler(self.app).handle(request)
        return response


@asynccontextmanager
async def http_workspace(secret: str = "local-signing-secret") -> AsyncIterator[tuple[RunningWorkspace, Endpoint]]:
    endpoint = Endpoint()

    async def events(request: Request) -> Response:
        return await endpoint(request)

    site = Starlette(routes=[Route("/slack/events", events, methods=["POST"])])
    async with (
        serving(site) as url,
        running_workspace(request_url=f"{url}/slack/events", retry_delays=(0.0, 0.0), ack_seconds=2.0) as running,
    ):
        client = AsyncWebClient(token="xoxb-local", base_url=running.api_url)
        endpoint.app = AsyncApp(client=client, signing_secret=secret)
        yield running, endpoint


async def test_commands_clicks_and_events_are_signed_and_acknowledged() -> None:
    async with http_workspace() as (running, endpoint):
        assert endpoint.app is not None
        heard: list[str] = []

        @endpoint.app.command("/rollout")
        async def rollout(ack: AsyncAck, command: dict[str, Any]) -> None:
            await ack(f"you said {command['text']}")

        @endpoint.app.action("go")
        async def go(ack: AsyncAck, action: dict[str, Any]) -> None:
            heard.append(action["value"])
            await ack()

        @endpoint.app.event("app_mention")
        async def mention(event: dict[str, Any]) -> None:
            heard.append(event["text"])

        @endpoint.app.event("message")
        async def message() -> None: ...

        outcome = await running.people.command("releases", "mira", "/rollout", "plän & more")
        assert outcome.ok
        channel = running.workspace.channel("releases")
        [answer] = running.workspace.visible_messages(channel, "UMIRA0001")
        assert answer.text == "you said plän & more"

        text = {"type": "plain_text", "text": "Go"}
        button = {"type": "button", "action_id": "go", "text": text, "value": "v1"}
        client = AsyncWebClient(token="xoxb-local", base_url=running.api_url)
        posted = await client.chat_postMessage(
            channel="CRELEASES", text="x", blocks=[{"type": "actions", "elements": [button]}]
        )
        assert (await running.people.click("releases", posted["ts"], "go", "jonas")).ok
        running.people.say("releases", "mira", "@sluice hi")
        await running.people.idle()
        assert heard == ["v1", "<@USLUICE01> hi"]


async def test_a_wrong_secret_is_refused() -> None:
    async with http_workspace(secret="another") as (running, _):
        outcome = await running.people.command("releases", "mira", "/rollout")
        assert outcome.ack is not None
        assert outcome.ack.failure == "http_error"


async def test_a_failed_event_is_sent_again_with_its_number() -> None:
    async with http_workspace() as (running, endpoint):
        assert endpoint.app is not None

        @endpoint.app.event("message")
        async def message() -> None: ...

        endpoint.failures = 2
        running.people.say("releases", "mira", "hello")
        await running.people.idle()
        assert endpoint.retries == [None, "1", "2"]
        assert running.courier.dead_letters == []
