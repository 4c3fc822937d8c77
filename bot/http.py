"""Everything that Sluice answers over HTTP: Slack, flag evaluation (OFREP), health."""

import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from slack_bolt.adapter.starlette.async_handler import (
    AsyncSlackRequestHandler,
    to_async_bolt_request,
    to_starlette_response,
)
from slack_bolt.async_app import AsyncApp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from bot.bootstrap import check_schema
from bot.door import Door
from bot.installations import Installations, oauth_flow
from bot.manifest import EVENTS_PATH, INSTALL_PATH, REDIRECT_PATH, ROLLOUTS_PATH
from bot.ofrep import ofrep_routes
from bot.scheduler import TICK, Scheduler
from bot.services import Services
from bot.telemetry.instruments import Instruments
from bot.telemetry.process import metrics_route
from tools.errors import SluiceError
from tools.flags.embedded import EmbeddedFlagService
from tools.flags.memory import MemoryFlagService

MAX_SLACK_BODY_BYTES = 1024 * 1024
REQUEST_FAILED = "http.request_failed"
ROLLOUT_ID = re.compile(r"[0-9a-f]{32}")
UNTRACED = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}

logger = structlog.get_logger(__name__)


def build_http(
    services: Services, scheduler: Scheduler, slack: AsyncApp | None, instruments: Instruments | None = None
) -> Starlette:
    """The ASGI application. `slack` is the app whose requests arrive over HTTP, None with Socket Mode.

    `instruments` are the process's own metrics, where they are read here.
    """
    routes = [*_health(services, scheduler), *_leading(services), *_evaluation(services), *_installing(services)]
    if instruments is not None:
        routes.insert(0, metrics_route(instruments, services.settings.telemetry.token))
    if slack is not None:
        routes.append(_slack(slack, services))
    return Starlette(routes=routes, exception_handlers={Exception: _failed})


def _slack(app: AsyncApp, services: Services) -> BaseRoute:
    handler, secret = AsyncSlackRequestHandler(app), services.settings.slack.signing_secret
    # Without a signing secret nothing counts as signed.
    door = Door(secret.get_secret_value() if secret is not None else secrets.token_hex(32))

    async def events(request: Request) -> Response:
        return await door.pass_through(request, lambda: handler.handle(request))

    return Route(EVENTS_PATH, events, methods=["POST"], max_body_size=MAX_SLACK_BODY_BYTES)


def _installing(services: Services) -> list[BaseRoute]:
    """The pages on which workspaces install the app, with Socket Mode too."""
    if not isinstance(services.clients, Installations):
        return []
    flow = oauth_flow(services.clients, services.database, services.settings)

    async def install(request: Request) -> Response:
        return to_starlette_response(await flow.handle_installation(to_async_bolt_request(request, b"")))

    async def come_back(request: Request) -> Response:
        return to_starlette_response(await flow.handle_callback(to_async_bolt_request(request, b"")))

    return [Route(INSTALL_PATH, install), Route(REDIRECT_PATH, come_back)]


def _leading(services: Services) -> list[BaseRoute]:
    """The addresses of rollouts: each leads to its card in Slack, which shows it to those who may read it there."""

    async def lead(request: Request) -> Response:
        address = await _card_address(services, request.path_params["rollout_id"])
        if address is None:
            return Response("There is no such rollout, or it has no card in Slack yet.\n", HTTPStatus.NOT_FOUND)
        return RedirectResponse(address, HTTPStatus.FOUND, headers=UNTRACED)

    return [Route(ROLLOUTS_PATH + "/{rollout_id}", lead)]


async def _card_address(services: Services, rollout_id: str) -> str | None:
    if ROLLOUT_ID.fullmatch(rollout_id) is None:
        return None
    try:
        view = await services.rollouts.get(rollout_id)
        client = await services.clients.of(view.workspace)
    except SluiceError:
        return None
    return (await services.addresses.of(client, [view]))[view.id]


def _evaluation(services: Services) -> list[BaseRoute]:
    """Routes of the flags that Sluice keeps itself; another flag service evaluates its own."""
    if not isinstance(services.flags, EmbeddedFlagService | MemoryFlagService):
        return []
    settings = services.settings
    tokens = [token.get_secret_value() for token in settings.ofrep.tokens]
    routes: list[BaseRoute] = [*ofrep_routes(services.flags, settings.environment, tokens)]
    for environment in settings.ofrep.environments:
        routes.append(Mount(f"/{environment}", routes=ofrep_routes(services.flags, environment, tokens)))
    return routes


def _health(services: Services, scheduler: Scheduler) -> list[BaseRoute]:
    async def alive(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_request: Request) -> Response:
        # What waits for Slack or a model is no reason to take a replica away: it would watch no rollouts either.
        stale = [name for name in scheduler.stale() if name == TICK]
        parts = {
            "database": await _database_problem(services) or "ok",
            "scheduler": f"no good turn lately: {', '.join(stale)}" if stale else "ok",
        }
        return _readiness(parts)

    return [Route("/healthz", alive), Route("/readyz", ready)]


async def _database_problem(services: Services) -> str | None:
    try:
        await check_schema(services.database)
    except SluiceError as error:
        logger.warning("http.not_ready", reason=str(error))
        # Where the database is concerns those who can read the log, not everyone who can ask.
        return "not usable; the log says why"
    return None


def _readiness(parts: Mapping[str, str]) -> Response:
    ready = all(state == "ok" for state in parts.values())
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"status": "ok" if ready else "not ready", **parts}, status)


async def _failed(request: Request, error: Exception) -> Response:
    reference = secrets.token_hex(4)
    logger.error(REQUEST_FAILED, path=request.url.path, reference=reference, exc_info=error)
    return JSONResponse(
        {"errorDetails": f"That failed by a fault of Sluice; the log has it under {reference}."},
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )
