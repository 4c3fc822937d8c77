"""A process that is observed: its loop, its connections, and the address where its series are read."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version

from prometheus_client.exposition import choose_encoder
from pydantic import SecretStr
from sqlalchemy.pool import QueuePool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.services import Services
from bot.telemetry.instruments import Instruments
from bot.telemetry.observer import Telemetry
from tools.observing import observed_by

PATH = "/metrics"
LOOKS_EVERY_S = 0.5


@asynccontextmanager
async def observed(services: Services) -> AsyncIterator[Instruments]:
    """Observe this process while the block runs; its series."""
    instruments, settings = Instruments(), services.settings
    database = services.database.url.get_backend_name()
    instruments.build.labels(version("sluicebot"), settings.flags.type, database).set(1)
    _watch_pool(services, instruments)
    watching = asyncio.create_task(_watch_loop(instruments), name="loop-lag")
    try:
        with observed_by(Telemetry(instruments, settings.flags.type)):
            yield instruments
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def metrics_route(instruments: Instruments, token: SecretStr | None) -> Route:
    """What a Prometheus scrapes; with a token only for who has it."""

    async def metrics(request: Request) -> Response:
        if token is not None and not _shown(request, token.get_secret_value()):
            return Response("Send telemetry.token as a bearer token.\n", HTTPStatus.UNAUTHORIZED)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(instruments.registry), headers={"Content-Type": content_type})

    return Route(PATH, metrics)


def _shown(request: Request, token: str) -> bool:
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


def _watch_pool(services: Services, instruments: Instruments) -> None:
    pool = services.database.engine.pool
    if not isinstance(pool, QueuePool):
        # A database in memory has one connection for everybody.
        return
    instruments.connections.labels("in_use").set_function(pool.checkedout)
    instruments.connections.labels("idle").set_function(pool.checkedin)


async def _watch_loop(instruments: Instruments) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(LOOKS_EVERY_S)
        instruments.lag.observe(max(time.perf_counter() - began - LOOKS_EVERY_S, 0.0))
