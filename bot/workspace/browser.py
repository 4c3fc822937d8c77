"""What a browser asks for: the page, its live feed, uploaded files; and the guard in front of everything."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from bot.workspace.records import File
from bot.workspace.state import Workspace
from bot.workspace.web_api.files import MAX_FILE_BYTES

PAGE = Path(__file__).parent / "page"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' http: https: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILE_POLICY = "default-src 'none'; sandbox"


class Browser:
    """The routes of the page of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def routes(self) -> list[BaseRoute]:
        """Page, feed, files and uploads."""
        return [
            Route("/", self._page),
            Route("/archives/{channel}", self._permalink),
            Route("/archives/{channel}/{message}", self._permalink),
            Route("/control/events", self._events),
            Route("/files/{file}/{name}", self._file),
            Route("/upload/v1/{token}", self._upload, methods=["POST"]),
            Mount("/page", StaticFiles(directory=PAGE)),
        ]

    async def _page(self, request: Request) -> Response:
        return FileResponse(
            PAGE / "index.html", headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
        )

    async def _permalink(self, request: Request) -> Response:
        message = request.path_params.get("message", "").removeprefix("p")
        ts = f"/{message[:-6]}.{message[-6:]}" if message.isdigit() and len(message) > 6 else ""
        return RedirectResponse(f"/#/{request.path_params['channel']}{ts}")

    async def _events(self, request: Request) -> Response:
        after = request.headers.get("last-event-id") or request.query_params.get("after") or ""
        number = int(after) if after.isdigit() else self._workspace.feed.number
        return EventSourceResponse(self._follow(number))

    async def _follow(self, after: int) -> AsyncIterator[ServerSentEvent]:
        async for change in self._workspace.feed.follow(after):
            yield ServerSentEvent(json.dumps(change.data), event=change.kind, id=str(change.number))

    async def _file(self, request: Request) -> Response:
        file = self._workspace.files.get(request.path_params["file"])
        if file is None or file.deleted or not file.shared or file.content is None:
            return PlainTextResponse("not found", status_code=404)
        return Response(file.content, media_type=file.media_type, headers=_file_headers(file))

    async def _upload(self, request: Request) -> Response:
        file = next(
            (file for file in self._workspace.files.values() if file.upload_token == request.path_params["token"]), None
        )
        if file is None or file.content is not None:
            return PlainTextResponse("invalid upload address", status_code=404)
        content = bytearray()
        async for piece in request.stream():
            content += piece
            if len(content) > MAX_FILE_BYTES:
                return PlainTextResponse("too large", status_code=413)
        if len(content) != file.length:
            return PlainTextResponse(f"expected {file.length} bytes, got {len(content)}", status_code=400)
        file.content = bytes(content)
        return PlainTextResponse(f"OK - {len(content)}")


def _file_headers(file: File) -> dict[str, str]:
    disposition = "inline" if file.media_type.startswith("image/") else "attachment"
    return {
        "Content-Disposition": disposition,
        "Content-Security-Policy": _FILE_POLICY,
        "Cache-Control": "private, max-age=3600",
    }


class LoopbackGuard:
    """Refuses requests addressed to another host (DNS rebinding) or made by another site's page.

    The server has no login: whoever reaches it may act as anybody. It listens on loopback only, so what is left is a
    web page in the same machine's browser; its requests carry a foreign Host or Origin.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: tuple[str, ...]) -> None:
        self._app = app
        self._allowed_hosts = frozenset(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._is_local(Headers(scope=scope)):
            await self._app(scope, receive, self._hardened(scope, send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await PlainTextResponse("This address is for this machine only.", status_code=403)(scope, receive, send)

    def _is_local(self, headers: Headers) -> bool:
        host = headers.get("host", "")
        origin = headers.get("origin")
        return _host_name(host) in self._allowed_hosts and origin in (None, f"http://{host}", f"https://{host}")

    def _hardened(self, scope: Scope, send: Send) -> Send:
        if scope["type"] != "http":
            return send

        async def hardened(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                assert isinstance(headers, list)
                headers.append((b"x-content-type-options", b"nosniff"))
                headers.append((b"referrer-policy", b"no-referrer"))
            await send(message)

        return hardened  # type: ignore[return-value]


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()
