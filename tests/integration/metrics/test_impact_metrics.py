"""Unleash's impact metrics: recorded by its own SDK, scraped from a real Unleash by a real Prometheus, and read."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache
from UnleashClient.impact_metrics import MetricFlagContext

from tests.prometheus import Prometheus, running
from tests.unit.bot_core.test_templates import catalogue_shown
from tests.unleash import UnleashServer, named_unleash
from tools.clock import SystemClock
from tools.metrics.base import MetricQuery, Reading, Window
from tools.metrics.http_api import Access
from tools.metrics.prometheus.source import PrometheusMetricSource

FLAG, ENVIRONMENT = "new-checkout", "production"
PATH = "/internal-backstage/impact/metrics"
USERS = 400
HALF = {"name": "flexibleRollout", "parameters": {"rollout": "50", "stickiness": "default", "groupId": FLAG}}

pytestmark = pytest.mark.real


def client_of(server: UnleashServer, folder: Path) -> UnleashClient:
    """A service's SDK, which reports every second."""
    return UnleashClient(
        url=f"{server.url}/api",
        app_name="shop",
        environment=ENVIRONMENT,
        custom_headers={"Authorization": server.service_token},
        refresh_interval=1,
        metrics_interval=1,
        cache=FileCache("shop", directory=str(folder)),
    )


def check_out(client: UnleashClient, user: str) -> str:
    """A user's checkout, recorded as Unleash's documentation has it; which variant it was."""
    asked = {"userId": user}
    on, whose = client.is_enabled(FLAG, asked), MetricFlagContext([FLAG], asked)
    client.impact_metrics.increment_counter("checkouts", 1, whose)
    client.impact_metrics.observe_histogram("checkout_seconds", 0.7 if on else 0.05, whose)
    if on and user.endswith("7"):
        client.impact_metrics.increment_counter("checkout_failures", 1, whose)
    return "enabled" if on else "disabled"


async def test_what_the_settings_show_counts_what_the_sdk_recorded(tmp_path: Path) -> None:
    definitions = [one for one in catalogue_shown(tmp_path) if one.name.startswith("impact_")]
    async with named_unleash() as server:
        await server.define(FLAG)
        await server.ask("POST", f"features/{FLAG}/environments/{ENVIRONMENT}/strategies", HALF)
        await server.ask("POST", f"features/{FLAG}/environments/{ENVIRONMENT}/on")
        client = client_of(server, tmp_path / "sdk")
        await asyncio.to_thread(client.initialize_client)
        try:
            with running(tmp_path / "prometheus", [server.url.removeprefix("http://")], PATH) as prometheus:
                # What Unleash counted before is no news once it was scraped.
                await until_scraped(prometheus)
                start = SystemClock().now()
                for name in ("checkouts", "checkout_failures"):
                    client.impact_metrics.define_counter(name, name)
                client.impact_metrics.define_histogram("checkout_seconds", "Took", [0.1, 0.5, 1])
                async with asyncio.timeout(20):
                    while not any(client.is_enabled(FLAG, {"userId": f"user-{number}"}) for number in range(20)):
                        await asyncio.sleep(0.1)
                served = Counter(check_out(client, f"user-{number}") for number in range(USERS))
                access = Access(prometheus.url, timeout=timedelta(seconds=5))
                async with closing(PrometheusMetricSource(access, definitions)) as source:
                    errors = await until_counted(source, "impact_errors", start, USERS)
                    latency = await until_counted(source, "impact_latency", start, USERS)
        finally:
            await asyncio.to_thread(client.destroy)
    assert {variant: one.exposures for variant, one in errors.by_variant.items()} == dict(served)
    assert errors.by_variant["disabled"].events == 0
    assert 5 < errors.by_variant["enabled"].events < 35
    assert latency.by_variant["enabled"].buckets == ((0.1, 0), (0.5, 0), (1.0, served["enabled"]), (math.inf, 0))
    assert latency.by_variant["disabled"].buckets[0] == (0.1, served["disabled"])
    assert set(served) == {"enabled", "disabled"}


async def until_scraped(prometheus: Prometheus) -> None:
    """Return once it has asked Unleash."""
    async with httpx.AsyncClient(base_url=prometheus.url) as client, asyncio.timeout(20):
        while not (await client.get("/api/v1/query", params={"query": "up == 1"})).json()["data"]["result"]:
            await asyncio.sleep(0.1)


@asynccontextmanager
async def closing(source: PrometheusMetricSource) -> AsyncIterator[PrometheusMetricSource]:
    """The source, for as long as it is needed."""
    try:
        yield source
    finally:
        await source.close()


async def until_counted(source: PrometheusMetricSource, metric: str, start: Any, count: int) -> Reading:
    """Read again and again until so many are there."""
    found = None
    try:
        async with asyncio.timeout(40):
            while True:
                window = Window(start, SystemClock().now())
                found = await source.read(MetricQuery(metric, FLAG, ENVIRONMENT, window))
                if sum(one.exposures for one in found.by_variant.values()) == count:
                    return found
                await asyncio.sleep(0.3)
    except TimeoutError:
        raise AssertionError(f"{metric}: {found}") from None
