"""A real service's counters, scraped by a real Prometheus: what Sluice sees while both, one or none of them is up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from tests.prometheus import Prometheus, require_program
from tools.clock import SystemClock
from tools.metrics.base import MetricQuery, MetricSourceUnavailable, Reading, Window
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.http_api import Access
from tools.metrics.prometheus.source import PrometheusMetricSource
from tools.metrics.router import Metrics

pytestmark = pytest.mark.real

LABELS = {"feature_flag_key": "new-checkout", "feature_flag_result_variant": "new"}
SERIES = '{feature_flag_key="$flag"}'
FAILED = '{feature_flag_key="$flag", http_response_status_code=~"5.."}'
VARIANT = "feature_flag_result_variant"
REQUESTS = MetricDefinition.model_validate(
    {
        "name": "errors",
        "source": "prometheus",
        "title": "Errors",
        "query": {"exposures": f"requests_total{SERIES}", "events": f"requests_total{FAILED}", "variant": VARIANT},
    }
)
LATENCY = MetricDefinition.model_validate(
    {
        "name": "took",
        "source": "prometheus",
        "title": "Took",
        "kind": "latency",
        "buckets": [0.1, 1],
        "query": {"buckets": f"took_seconds_bucket{SERIES}", "variant": VARIANT},
    }
)


class Service:
    """A service that exposes its counters as services do; it can die."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        names = [*LABELS, "http_response_status_code"]
        self.requests = Counter("requests", "By flag, variant and status.", names, registry=registry)
        self.took = Histogram("took_seconds", "By flag and variant.", list(LABELS), buckets=(0.1, 1), registry=registry)
        self._server, self._thread = start_http_server(0, addr="127.0.0.1", registry=registry)
        self.target = f"127.0.0.1:{self._server.server_port}"

    def serve(self, status: int, count: int, took: float = 0.05) -> None:
        """Requests that end so."""
        self.requests.labels(**LABELS, http_response_status_code=status).inc(count)
        for _ in range(count):
            self.took.labels(**LABELS).observe(took)

    def die(self) -> None:
        """Be scraped no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.die()


@pytest.fixture
def server(tmp_path: Path, service: Service) -> Iterator[Prometheus]:
    require_program()
    made = Prometheus(tmp_path / "prometheus", [service.target])
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def metrics(server: Prometheus) -> AsyncIterator[Metrics]:
    definitions = [REQUESTS, LATENCY]
    made = Metrics(
        Catalogue(definitions),
        {"prometheus": PrometheusMetricSource(Access(server.url, timeout=timedelta(seconds=5)), definitions)},
    )
    yield made
    await made.close()


async def read(metrics: Metrics, metric: str, start: datetime, end: datetime) -> Reading:
    """Of the flag that the service asks for."""
    return await metrics.read(MetricQuery(metric, "new-checkout", "production", Window(start, end)))


async def until(holds: Callable[[Reading], bool], metrics: Metrics, start: datetime) -> Reading:
    """Read again and again from `start` to now, until it is so."""
    clock = SystemClock()
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(MetricSourceUnavailable):
                reading = await read(metrics, "errors", start, clock.now())
                if holds(reading):
                    return reading
            await asyncio.sleep(0.2)


async def test_every_request_counts_once_also_while_prometheus_is_away(
    server: Prometheus, service: Service, metrics: Metrics
) -> None:
    clock, start = SystemClock(), SystemClock().now()
    service.serve(200, 100)
    service.serve(500, 1)
    await until(lambda found: found.by_variant.get("new") is not None, metrics, start)
    middle = clock.now()
    server.stop()
    with pytest.raises(MetricSourceUnavailable, match="can't be reached"):
        await read(metrics, "errors", start, middle)
    service.serve(200, 50, took=0.5)
    service.serve(500, 2)
    server.start()
    whole = await until(lambda found: found.by_variant["new"].exposures == 153, metrics, start)
    assert whole.by_variant["new"].events == 3
    end = clock.now()
    parts = [await read(metrics, "errors", *window) for window in ((start, middle), (middle, end))]
    assert sum(one.by_variant["new"].exposures for one in parts) == 153
    assert sum(one.by_variant["new"].events for one in parts) == 3
    took = await read(metrics, "took", start, end)
    assert [count for _, count in took.by_variant["new"].buckets] == [103, 50, 0]


async def test_a_service_that_died_is_silence_at_once(server: Prometheus, service: Service, metrics: Metrics) -> None:
    start = SystemClock().now()
    service.serve(200, 10)
    service.serve(500, 1)
    await until(lambda found: found.by_variant.get("new") is not None, metrics, start)
    service.die()
    died = SystemClock().now() + timedelta(seconds=1)
    await asyncio.sleep(3)
    assert (await read(metrics, "errors", died, SystemClock().now())).by_variant == {}
