"""Puts a workspace together and serves it."""

import asyncio
import contextlib
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from bot.workspace.browser import Browser, LoopbackGuard
from bot.workspace.control import Control
from bot.workspace.delivery import Courier
from bot.workspace.dropped import DropConnection, DroppableProtocol
from bot.workspace.errors import Refusal
from bot.workspace.http_delivery import HttpDelivery
from bot.workspace.payloads import event_callback
from bot.workspace.people import People
from bot.workspace.records import Json
from bot.workspace.replies import answer_response_url
from bot.workspace.settings import WorkspaceSettings
from bot.workspace.socket_mode import SocketMode
from bot.workspace.state import Workspace
from bot.workspace.web_api import WebApi
from tools.clock import Clock
from tools.errors import InvalidInput

STARTUP_SECONDS = 10.0
SHUTDOWN_SECONDS = 2


@dataclass(frozen=True)
class RunningWorkspace:
    """A workspace that is being served. `url` has no trailing slash; `api_url` is a `base_url` for slack_sdk."""

    url: str
    workspace: Workspace
    people: People
    sockets: SocketMode
    courier: Courier

    @property
    def api_url(self) -> str:
        """The Web API's address, with a trailing slash."""
        return f"{self.url}/api/"

    @property
    def settings(self) -> WorkspaceSettings:
        """Ids and tokens."""
        return self.workspace.settings


class Assembly:
    """The parts of one workspace, wired."""

    def __init__(self, settings: WorkspaceSettings | None = None, clock: Clock | None = None) -> None:
        self.workspace = Workspace(settings, clock)
        self.sockets = SocketMode(self.workspace)
        self._http: HttpDelivery | None = None
        if self.workspace.settings.request_url is not None:
            self._http = HttpDelivery(self.workspace.settings, self.workspace.clock)
        self.courier = Courier(self._http or self.sockets, self.workspace.faults, self.workspace.settings.retry_delays)
        self.people = People(self.workspace, self.courier)
        self.workspace.announce = self._announce
        self._event_numbers = itertools.count(1)

    def app(self) -> Starlette:
        """The ASGI application: Web API, Socket Mode, response URLs, control, page."""
        guard = Middleware(LoopbackGuard, allowed_hosts=self.workspace.settings.allowed_hosts)
        return Starlette(
            routes=[
                *WebApi(self.workspace, self.sockets.open_connection).routes(),
                WebSocketRoute("/link/", self.sockets.serve),
                Route("/response/{token}", self._respond, methods=["POST"]),
                *Control(self.workspace, self.people, self.sockets).routes(),
                *Browser(self.workspace).routes(),
            ],
            middleware=[guard],
        )

    def serve_at(self, url: str) -> None:
        """Take `url` as the address in everything that links back here."""
        self.workspace.base_url = url

    async def close(self) -> None:
        """Give up deliveries, end feeds and connections."""
        self.workspace.feed.close()
        await self.courier.close()
        if self._http is not None:
            await self._http.close()

    def _announce(self, subscription: str, event: Json) -> None:
        settings = self.workspace.settings
        if subscription in settings.events:
            now = self.workspace.clock.now().timestamp()
            event_id = f"Ev{next(self._event_numbers):010d}"
            self.courier.tell(event_callback(settings, event, event_id, now))

    async def _respond(self, request: Request) -> Response:
        outage = self.workspace.faults.outage
        if outage is not None:
            return DropConnection() if outage == "refused" else Response(status_code=503)
        try:
            body = _json_object(await request.body())
            ticket = self.workspace.tickets.redeem_response(request.path_params["token"])
            answer_response_url(self.workspace, ticket, body)
        except Refusal as refusal:
            expired = refusal.code in ("invalid_url", "expired_url", "used_url")
            return JSONResponse(refusal.as_body(), status_code=404 if expired else 400)
        return PlainTextResponse("ok")


def _json_object(body: bytes) -> Json:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise Refusal("invalid_payload") from error
    if not isinstance(value, dict):
        raise Refusal("invalid_payload")
    return value


def build_workspace(
    settings: WorkspaceSettings | None = None, clock: Clock | None = None, *, base_url: str = ""
) -> tuple[Starlette, Workspace]:
    """The ASGI application of a new workspace, and the workspace. `base_url` is where it will be served."""
    assembly = Assembly(settings, clock)
    assembly.workspace.base_url = base_url
    return assembly.app(), assembly.workspace


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: who runs it decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


@contextlib.asynccontextmanager
async def running_workspace(
    port: int = 0,
    settings: WorkspaceSettings | None = None,
    clock: Clock | None = None,
    **changes: Any,
) -> AsyncIterator[RunningWorkspace]:
    """Serve a workspace on 127.0.0.1 in this event loop; port 0 takes a free one.

    `changes` are fields of `WorkspaceSettings`, as in `running_workspace(ack_seconds=0.2)`.
    """
    assembly = Assembly(replace(settings or WorkspaceSettings(), **changes), clock)
    async with serving(assembly.app(), port, on_bind=assembly.serve_at, on_end=assembly.close) as url:
        yield RunningWorkspace(url, assembly.workspace, assembly.people, assembly.sockets, assembly.courier)


@contextlib.asynccontextmanager
async def serving(
    app: Starlette,
    port: int = 0,
    *,
    on_bind: Callable[[str], None] | None = None,
    on_end: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[str]:
    """Serve an application on 127.0.0.1 in this event loop; yields its address.

    `on_bind` hears the address before the first request; `on_end` runs while the server still answers.
    Raises InvalidInput when the port can't be had.
    """
    listener = _listen(port)
    # asyncio turns Nagle's delay (40 ms an answer) off only for sockets it made itself; accepted ones inherit this.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    if on_bind is not None:
        on_bind(url)
    config = uvicorn.Config(
        app,
        http=DroppableProtocol,
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = _Server(config)
    running = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
    try:
        await _until_started(server, running)
        yield url
    finally:
        if on_end is not None:
            await on_end()
        server.should_exit = True
        await running
        listener.close()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "not a port of this machine"
        raise InvalidInput(f"127.0.0.1:{port} can't be listened on ({reason}): take another port, or 0.") from None


async def _until_started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    async with asyncio.timeout(STARTUP_SECONDS):
        while not server.started:
            if serving.done():
                serving.result()
                raise RuntimeError("the workspace's server ended before it started")
            await asyncio.sleep(0.005)
