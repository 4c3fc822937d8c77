"""A service behind a flag of Unleash's, as users have it: an SDK decides, an exporter counts, Prometheus scrapes."""

import asyncio
import random
from collections import Counter as Tally
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter, start_http_server

from tests.integration.flags.unleash_sdk import Sdk

GOOD, BAD = 0.05, 0.5
USERS = 10_000
ROUND_S, VISITORS, REQUESTS_EACH = 0.1, 100, 20
"""How often visitors come, how many, and the requests that each of them makes."""

VARIANTS = {True: "on", False: "off"}


class Exporter:
    """Counters on a port of this machine."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        labels = ("feature_flag_key", "feature_flag_result_variant", "http_response_status_code")
        self._requests = Counter("shop_requests", "By flag, variant and status.", labels, registry=registry)
        self._server, self._thread = start_http_server(0, addr="127.0.0.1", registry=registry)
        self.target = f"127.0.0.1:{self._server.server_port}"

    def count(self, flag: str, variant: str, requests: int, failed: int) -> None:
        """Requests that a variant served, and how many of them failed."""
        self._requests.labels(flag, variant, "200").inc(requests - failed)
        self._requests.labels(flag, variant, "500").inc(failed)

    def close(self) -> None:
        """Be scraped no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Shop:
    """Serves visitors what the SDK says; `rate` is treatment's share of requests that fail, control's is GOOD."""

    def __init__(self, sdk: Sdk, exporter: Exporter) -> None:
        self.rate = GOOD
        self._sdk = sdk
        self._exporter = exporter
        self._dice = random.Random(7)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Visitors come while the block runs."""
        serving = asyncio.create_task(self._serve())
        try:
            yield
        finally:
            serving.cancel()
            result, *_ = await asyncio.gather(serving, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError), result

    async def _serve(self) -> None:
        while True:
            served = Tally(self._is_treated() for _ in range(VISITORS))
            for treated, visitors in served.items():
                requests = visitors * REQUESTS_EACH
                failed = round(requests * (self.rate if treated else GOOD))
                self._exporter.count(self._sdk.flag, VARIANTS[treated], requests, failed)
            await asyncio.sleep(ROUND_S)

    def _is_treated(self) -> bool:
        context = {"userId": f"user-{self._dice.randrange(USERS)}"}
        return bool(self._sdk.client.is_enabled(self._sdk.flag, context))
