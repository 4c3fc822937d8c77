"""What a tick's reads cost beside the bare queries that they need, on a real Prometheus.

The rollouts of a tick ask as the controller's do: AT_ONCE of them at a time, each for all of its metrics.
"""

import asyncio
import gc
import itertools
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import httpx
import pytest

from bot.serve import spare_collections
from tests.benchmarks.conftest import Figures
from tests.prometheus import Series, running
from tools.metrics.base import MetricQuery, Reading, Window
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.http_api import Access
from tools.metrics.prometheus.source import API, PrometheusMetricSource
from tools.metrics.router import Metrics
from tools.rollouts.controller import AT_ONCE

ROLLOUTS, ROUNDS, MOST_PERCENT = 1_000, 31, 125
VARIANTS = {"control": (95, 1), "treatment": (5, 0)}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK, SCRAPE = timedelta(seconds=15), timedelta(seconds=5)
LATENCY_EDGES = ("0.1", "0.25", "1.0", "+Inf")
FLAGS = [f"flag-{number:04}" for number in range(ROLLOUTS)]

pytestmark = pytest.mark.benchmark


def _definition(name: str, **changes: object) -> MetricDefinition:
    plain = {"name": name, "source": "prometheus", "title": name}
    return MetricDefinition.model_validate(plain | changes)


def _ratio(name: str) -> MetricDefinition:
    series = f'{name}_requests_total{{flag="$flag", environment="$environment"}}'
    return _definition(name, query={"exposures": series, "events": series.replace("}", ', code=~"5.."}')})


DEFINITIONS = [
    _ratio("checkout"),
    _ratio("payment"),
    _definition(
        "took",
        kind="latency",
        buckets=[0.1, 0.25, 1],
        query={"buckets": 'took_seconds_bucket{flag="$flag", environment="$environment"}'},
    ),
]


async def test_a_tick_of_many_rollouts(tmp_path: Path, figures: Figures) -> None:
    with running(tmp_path) as server:
        server.write(_series())
        source = PrometheusMetricSource(Access(server.url, timeout=timedelta(seconds=60)), DEFINITIONS)
        metrics = Metrics(Catalogue(DEFINITIONS), {"prometheus": source})
        # As `sluice serve` does once it is up; for both.
        gc.collect()
        spare_collections()
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            bare, ours = list[float](), list[float]()
            for number in range(ROUNDS + 1):
                window = Window(NOON + TICK * number, NOON + TICK * (number + 1))
                queries = [
                    [MetricQuery(metric.name, flag, "production", window) for metric in DEFINITIONS] for flag in FLAGS
                ]
                forms = _forms(source, window)
                pair = [(bare, _bare(client, forms)), (ours, _tick(metrics, queries))]
                for kept, run in pair if number % 2 else reversed(pair):
                    kept.append(await _timed(run))
        await metrics.close()
    # The first round is the server's to wake up in.
    del bare[0], ours[0]
    figures.times(f"{ROLLOUTS:,} rollouts × {len(DEFINITIONS)} guardrails, {len(forms)} bare queries", bare)
    figures.times(f"{ROLLOUTS:,} rollouts × {len(DEFINITIONS)} guardrails, read", ours)
    beside = 100 * median(ours) / median(bare)
    figures.add("reads in percent of bare queries, of the medians", beside, "%", target=MOST_PERCENT)


async def _tick(metrics: Metrics, rollouts: list[list[MetricQuery]]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def check(queries: list[MetricQuery]) -> list[Reading | Exception]:
        async with gate:
            return await metrics.read_together(queries)

    checked = await asyncio.gather(*map(check, rollouts))
    for reading in itertools.chain(*checked):
        assert isinstance(reading, Reading)
        assert reading.by_variant.keys() == VARIANTS.keys()


def _forms(source: PrometheusMetricSource, window: Window) -> list[dict[str, str]]:
    end = f"{window.end.timestamp():.3f}"
    asked = [[MetricQuery(one.name, flag, "production", window) for flag in FLAGS] for one in DEFINITIONS]
    return [{"query": source.expression(*queries), "time": end} for queries in asked]


async def _bare(client: httpx.AsyncClient, forms: list[dict[str, str]]) -> None:
    answers = await asyncio.gather(*(client.post(API, data=form) for form in forms))
    assert all(answer.json()["status"] == "success" for answer in answers)


async def _timed(run: Awaitable[None]) -> float:
    began = time.perf_counter()
    await run
    return time.perf_counter() - began


def _series() -> list[Series]:
    """Everything that rolls out: two metrics by status, and a histogram, sampled every few seconds."""
    found = list[Series]()
    for flag in FLAGS:
        for variant, (served, failed) in VARIANTS.items():
            labels = {"flag": flag, "variant": variant, "environment": "production", "instance": "shop-1:9090"}
            for name in ("checkout", "payment"):
                for code, each in (("200", served), ("500", failed)):
                    found.append(({**labels, "__name__": f"{name}_requests_total", "code": code}, _rising(each)))
            for edge, part in zip(LATENCY_EDGES, (0.5, 0.8, 0.98, 1), strict=True):
                found.append(({**labels, "__name__": "took_seconds_bucket", "le": edge}, _rising(round(served * part))))
    return found


def _rising(each: int) -> list[tuple[int, float]]:
    start = int(NOON.timestamp() * 1000) - 60_000
    step = int(SCRAPE.total_seconds() * 1000)
    count = (60_000 + int(TICK.total_seconds() * 1000) * (ROUNDS + 2)) // step
    return [(start + step * number, float(each * number)) for number in range(count)]
