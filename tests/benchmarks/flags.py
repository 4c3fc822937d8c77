"""How fast flags are evaluated: in the process, and over OFREP with the server in a process of its own."""

import asyncio
import json
import multiprocessing
import time
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette

from bot.ofrep import ofrep_routes
from tools.clock import SystemClock
from tools.flags.base import FlagRef
from tools.flags.embedded import EmbeddedFlagService
from tools.flags.evaluation import FlagDefinition, evaluate
from tools.plans.model import Audience, Exposure
from tools.records.database import Database
from tools.records.migrate import migrate

EVALUATIONS = 200_000
CONNECTIONS = 8
REQUESTS_A_CONNECTION = 500

pytestmark = pytest.mark.benchmark


def test_evaluate() -> None:
    exposure = Exposure(percent=50, audience=Audience(tenants=("acme",), regions=("eu",)))
    flag = FlagDefinition("checkout", "production", "old", "new", "pepper", exposure, "1")
    contexts = [{"targetingKey": f"user-{i}", "tenant": "acme", "region": "eu"} for i in range(EVALUATIONS)]
    began = time.perf_counter()
    for context in contexts:
        evaluate(flag, context)
    rate = EVALUATIONS / (time.perf_counter() - began)
    print(f"\nevaluate: {rate:,.0f} evaluations/s")  # noqa: T201
    assert rate > 50_000


def test_ofrep_single_route(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    parent, child = spawn.Pipe()
    server = spawn.Process(target=_serve, args=(f"sqlite:///{tmp_path / 'flags.sqlite'}", child))
    server.start()
    try:
        assert parent.poll(30), "the server did not start"
        rate, latencies = asyncio.run(_load(parent.recv()))
    finally:
        server.terminate()
        server.join(10)
    p50, p99 = latencies[len(latencies) // 2] * 1000, latencies[len(latencies) * 99 // 100] * 1000
    figures = f"{rate:,.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms, {CONNECTIONS} connections"
    print(f"\nOFREP single flag: {figures}")  # noqa: T201
    assert rate > 200


def _serve(url: str, ready: Connection) -> None:
    asyncio.run(_serve_until_terminated(url, ready))


async def _serve_until_terminated(url: str, ready: Connection) -> None:
    database = Database(url)
    await migrate(database)
    service = EmbeddedFlagService(database, SystemClock())
    ref = FlagRef("checkout", "production")
    await service.define(ref, "old", "new")
    await service.write(ref, Exposure(percent=50), expected="1")
    app = Starlette(routes=ofrep_routes(service, "production", ["token"]))
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, lifespan="off", access_log=False, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    ready.send(server.servers[0].sockets[0].getsockname()[1])
    await serving


async def _load(port: int) -> tuple[float, list[float]]:
    began = time.perf_counter()
    latencies = await asyncio.gather(*(_ask(port, i) for i in range(CONNECTIONS)))
    took = time.perf_counter() - began
    return CONNECTIONS * REQUESTS_A_CONNECTION / took, sorted(chain.from_iterable(latencies))


async def _ask(port: int, connection: int) -> list[float]:
    """One kept-alive connection's latencies in seconds; a bare client, so that the server is what is measured."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    latencies = []
    for i in range(REQUESTS_A_CONNECTION):
        body = json.dumps({"context": {"targetingKey": f"user-{connection}-{i}"}}).encode()
        began = time.perf_counter()
        writer.write(
            b"POST /ofrep/v1/evaluate/flags/checkout HTTP/1.1\r\nHost: flags\r\nAuthorization: Bearer token\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        latencies.append(time.perf_counter() - began)
    writer.close()
    await writer.wait_closed()
    return latencies
