"""From a change to the moment an SDK sees it: Sluice's write beside the one request that it comes down to.

Both in turns, in one run, on a real Unleash (`make test-real ARGS="-m benchmark tests/benchmarks/unleash.py -s -n 0"`).
The SDK is the engine of Unleash's clients, fed as fast as the server answers: a client's own pace would be added to
both.
"""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from statistics import median
from unittest.mock import ANY

import httpx
import pytest
from yggdrasil_engine.engine import UnleashEngine

from tests.benchmarks.conftest import Figures
from tests.contract.flags.conftest import unleash_options
from tests.unleash import UnleashServer, named_unleash
from tools.flags.base import FlagRef
from tools.flags.unleash.service import UnleashFlagService
from tools.plans.model import NOT_EXPOSED, Exposure

REF = FlagRef("checkout", "production")
PLACE = f"features/{REF.flag}/environments/{REF.environment}"
PAIRS = 40
MORE_S = 0.05

pytestmark = pytest.mark.benchmark


@pytest.fixture
async def server() -> AsyncIterator[UnleashServer]:
    async with named_unleash() as server:
        await server.define(REF.flag)
        yield server


async def test_a_change_until_it_is_seen(server: UnleashServer, figures: Figures) -> None:
    service = UnleashFlagService(unleash_options(server.url, server.admin_token), timeout=timedelta(seconds=10))
    await service.write(REF, Exposure(percent=100), expected=ANY)
    [strategy] = await server.ask("GET", f"{PLACE}/strategies")

    async def ours(percent: int) -> None:
        await service.write(REF, Exposure(percent=percent), expected=ANY)

    async def bare(percent: int) -> None:
        change = [{"op": "replace", "path": "/parameters/rollout", "value": str(percent)}]
        await server.ask("PATCH", f"{PLACE}/strategies/{strategy['id']}", change)

    headers = {"Authorization": server.service_token}
    seconds: dict[Callable[[int], Awaitable[None]], list[float]] = {ours: [], bare: []}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as sdk:
        for number in range(PAIRS):
            for change in (ours, bare) if number % 2 else (bare, ours):
                seconds[change].append(await _until_seen(sdk, change, 100))
                await service.write(REF, NOT_EXPOSED, expected=ANY)
    await service.close()
    figures.times("change → seen by an SDK of Unleash, Sluice", seconds[ours])
    figures.times("the same, one bare PATCH", seconds[bare])
    more = median(one - other for one, other in zip(seconds[ours], seconds[bare], strict=True))
    figures.add("Sluice's share of it, median of the pairs", more * 1000, "ms", target=MORE_S * 1000)


async def _until_seen(sdk: httpx.AsyncClient, change: Callable[[int], Awaitable[None]], percent: int) -> float:
    engine = UnleashEngine()
    began = time.perf_counter()
    await change(percent)
    while True:
        engine.take_state(json.dumps((await sdk.get("/api/client/features")).json()))
        if engine.is_enabled(REF.flag, {"userId": "user-1"}).is_enabled:
            return time.perf_counter() - began
