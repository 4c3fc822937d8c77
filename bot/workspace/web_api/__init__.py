"""The Web API: POST or GET /api/{method}, answered as Slack does."""

import hmac
import logging
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.workspace.dropped import DropConnection
from bot.workspace.errors import Refusal
from bot.workspace.records import Json
from bot.workspace.state import Workspace
from bot.workspace.web_api import agents, apps, assistant, chat, conversations, files, people, reactions, unfurls, views
from bot.workspace.web_api.calling import Call, Method, read_arguments

log = logging.getLogger(__name__)

METHODS: dict[str, Method] = {
    **agents.methods.table,
    **apps.methods.table,
    **assistant.methods.table,
    **chat.methods.table,
    **conversations.methods.table,
    **files.methods.table,
    **people.methods.table,
    **reactions.methods.table,
    **unfurls.methods.table,
    **views.methods.table,
}
SCOPES = (
    "app_mentions:read,assistant:write,channels:history,channels:read,chat:write,commands,files:write,groups:history,"
    "groups:read,im:history,im:read,im:write,links:read,links:write,reactions:read,usergroups:read,users:read"
)


class WebApi:
    """Answers the Web API for one workspace. `open_connection()` gives the address of a Socket Mode connection."""

    def __init__(self, workspace: Workspace, open_connection: Callable[[], str]) -> None:
        self._workspace = workspace
        self._methods = {
            **METHODS,
            "apps.connections.open": Method(lambda call: {"url": open_connection()}, token="app"),  # noqa: S106
        }

    def routes(self) -> list[Route]:
        """The one route."""
        return [Route("/api/{method}", self.answer, methods=["GET", "POST"])]

    async def answer(self, request: Request) -> Response:
        """Answer one call."""
        name = request.path_params["method"]
        faults = self._workspace.faults
        if faults.outage == "refused":
            return DropConnection()
        if faults.outage == "unavailable":
            return Response("upstream connect error", status_code=503, media_type="text/html")
        body = await request.body()
        arguments: Json = {}
        error: Refusal | None = None
        answer: Json = {}
        try:
            arguments = read_arguments(request.url.query, request.headers.get("content-type", ""), body)
            token = _token_of(request, arguments)
            answer = self._perform(name, token, arguments)
        except Refusal as refusal:
            error = refusal
        self._workspace.record_call(name, arguments, error.code if error else None)
        if error is not None:
            return _refused(error)
        return JSONResponse({"ok": True, **answer}, headers={"x-oauth-scopes": SCOPES})

    def _perform(self, name: str, token: str | None, arguments: Json) -> dict[str, Any]:
        wait = self._workspace.faults.retry_after(name)
        if wait is not None:
            raise Refusal("ratelimited", extra={"retry_after": wait})
        method = self._methods.get(name)
        if method is None:
            raise Refusal("unknown_method", extra={"req_method": name})
        self._authorise(method, token)
        return method.handler(Call(self._workspace, name, arguments))

    def _authorise(self, method: Method, token: str | None) -> None:
        if method.token == "none":  # noqa: S105
            return
        if token is None:
            raise Refusal("not_authed")
        settings = self._workspace.settings
        is_bot = hmac.compare_digest(token.encode(), settings.bot_token.encode())
        is_app = hmac.compare_digest(token.encode(), settings.app_token.encode())
        if not (is_bot or is_app):
            raise Refusal("invalid_auth")
        if is_app != (method.token == "app"):  # noqa: S105
            raise Refusal("not_allowed_token_type")


def _token_of(request: Request, arguments: Json) -> str | None:
    """The bearer token; one given as an argument is taken out of the arguments."""
    argument = arguments.pop("token", None)
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return token.strip()
    return str(argument) if argument else None


def _refused(error: Refusal) -> Response:
    if error.code == "ratelimited":
        wait = error.extra["retry_after"]
        return JSONResponse({"ok": False, "error": "ratelimited"}, status_code=429, headers={"Retry-After": str(wait)})
    return JSONResponse(error.as_body(), headers={"x-oauth-scopes": SCOPES})
