"""Requests as shops record them in Datadog, New Relic and InfluxDB, each in its own way: the same answers must come."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.contract.metrics.benches import NOON
from tests.contract.metrics.fake_datadog import DatadogApi
from tests.contract.metrics.fake_influxdb import InfluxApi
from tests.contract.metrics.fake_newrelic import NerdGraph
from tests.influxdb import DATABASE, InfluxDb
from tools.metrics.catalogue import MetricDefinition
from tools.metrics.counting import CounterSource
from tools.metrics.datadog.source import DatadogMetricSource
from tools.metrics.http_api import Access
from tools.metrics.influxdb.influxql import nanoseconds
from tools.metrics.influxdb.source import InfluxMetricSource
from tools.metrics.newrelic.source import NewRelicMetricSource

KINDS: dict[str, dict[str, Any]] = {
    "ratio": {},
    "mean": {"cap": 100},
    "latency": {"buckets": [0.1, 0.5]},
    "assignments": {},
    "mix": {},
}


@dataclass(frozen=True)
class Request:
    """One request: when, in seconds from noon, and what came of it."""

    at_s: float
    variant: str | None = "new"
    code: int = 200
    took: float = 0.05
    amount: float = 0.0
    region: str | None = None
    flag: str = "new-checkout"


class Till(ABC):
    """Where requests are recorded, and how a metric of each kind asks for them."""

    vendor: str

    @abstractmethod
    def record(self, *requests: Request) -> None:
        """Write them down."""

    @abstractmethod
    def query(self, kind: str) -> dict[str, str]:
        """What a metric of that kind asks."""

    @abstractmethod
    def source(self, definition: MetricDefinition) -> CounterSource[Any]:
        """Of one metric."""

    @abstractmethod
    def requests(self) -> int:
        """How many were answered."""

    @asynccontextmanager
    async def opened(self, definition: MetricDefinition) -> AsyncIterator[CounterSource[Any]]:
        """The source, for as long as it is needed."""
        source = self.source(definition)
        try:
            yield source
        finally:
            await source.close()

    def definition(self, kind: str = "ratio", **query: str) -> MetricDefinition:
        """Of a metric `m`."""
        asked = self.query(kind) | query
        plain = {"name": "m", "source": "s", "title": "M", "kind": kind, "query": asked}
        return MetricDefinition.model_validate(plain | KINDS[kind])


class InfluxTill(Till):
    """A point for each request."""

    vendor = "influxdb"

    def __init__(self, server: InfluxApi | InfluxDb, measurement: str) -> None:
        self.server, self.measurement, self._numbers = server, measurement, itertools.count()

    def record(self, *requests: Request) -> None:
        for one in requests:
            tags = {"flag": one.flag, "variant": one.variant, "region": one.region, "code": str(one.code)}
            fields = {"took": one.took, "amount": one.amount, "squares": one.amount**2}
            at = nanoseconds(NOON + timedelta(seconds=one.at_s)) + next(self._numbers)
            there = {name: value for name, value in tags.items() if value is not None}
            self.server.write(self.measurement, there, fields, at)

    def query(self, kind: str) -> dict[str, str]:
        where = f'FROM "{self.measurement}" WHERE "flag" = \'$flag\''
        exposures = {"exposures": f'SELECT count("took") {where}'}
        return {
            "ratio": exposures | {"events": f'SELECT count("took") {where} AND "code" =~ /^5/'},
            "mean": exposures
            | {"total": f'SELECT sum("amount") {where}', "total_squares": f'SELECT sum("squares") {where}'},
            "latency": {"buckets": f'SELECT "took" {where}'},
            "assignments": exposures,
            "mix": exposures | {"segment": "region"},
        }[kind]

    def source(self, definition: MetricDefinition) -> InfluxMetricSource:
        if isinstance(self.server, InfluxApi):
            return InfluxMetricSource(
                Access("http://fake", database=DATABASE), [definition], transport=self.server.transport
            )
        return InfluxMetricSource(Access(self.server.url, database=DATABASE), [definition])

    def requests(self) -> int:
        assert isinstance(self.server, InfluxApi)
        return len(self.server.asked)


class DatadogTill(Till):
    """Counts and a distribution."""

    vendor = "datadog"

    def __init__(self, server: DatadogApi) -> None:
        self.server = server

    def record(self, *requests: Request) -> None:
        for one in requests:
            at = (NOON + timedelta(seconds=one.at_s)).timestamp()
            tags = {"flag": one.flag, "variant": one.variant, "region": one.region, "code": str(one.code)}
            there = {name: value for name, value in tags.items() if value is not None}
            for name, value in (("requests", 1), ("amount", one.amount), ("squares", one.amount**2)):
                self.server.write(f"shop.{name}", at, value, **there)
            self.server.write("shop.took", at, one.took, **there)

    def query(self, kind: str) -> dict[str, str]:
        exposures = {"exposures": "shop.requests{flag:$flag}"}
        return {
            "ratio": exposures | {"events": "shop.requests{flag:$flag, code IN (500, 503), !code:200}"},
            "mean": exposures | {"total": "shop.amount{flag:$flag}", "total_squares": "shop.squares{flag:$flag}"},
            "latency": {"buckets": "shop.took{flag:$flag}"},
            "assignments": {"exposures": "count:shop.took{flag:$flag}"},
            "mix": exposures | {"segment": "region"},
        }[kind]

    def source(self, definition: MetricDefinition) -> DatadogMetricSource:
        access = Access(None, self.server.api_key, application_key=self.server.application_key)
        return DatadogMetricSource(access, [definition], transport=self.server.transport)

    def requests(self) -> int:
        return len(self.server.asked)


class NewRelicTill(Till):
    """An event for each request."""

    vendor = "newrelic"

    def __init__(self, server: NerdGraph) -> None:
        self.server = server

    def record(self, *requests: Request) -> None:
        for one in requests:
            at = int((NOON + timedelta(seconds=one.at_s)).timestamp() * 1000)
            labels = {"feature_flag.key": one.flag, "feature_flag.result.variant": one.variant, "region": one.region}
            numbers = {"duration": one.took, "amount": one.amount, "squares": one.amount**2, "code": one.code}
            self.server.events.append({"type": "Transaction", "timestamp": at} | labels | numbers)

    def query(self, kind: str) -> dict[str, str]:
        where = "FROM Transaction WHERE `feature_flag.key` = '$flag'"
        exposures = {"exposures": f"SELECT count(*) {where}", "variant": "feature_flag.result.variant"}
        return {
            "ratio": exposures | {"events": f"SELECT count(*) {where} AND (code >= 500 OR code = 429)"},
            "mean": exposures
            | {"total": f"SELECT sum(amount) {where}", "total_squares": f"SELECT sum(squares) {where}"},
            "latency": {"buckets": f"SELECT duration {where}", "variant": "feature_flag.result.variant"},
            "assignments": exposures,
            "mix": exposures | {"segment": "region"},
        }[kind]

    def source(self, definition: MetricDefinition) -> NewRelicMetricSource:
        access = Access(None, self.server.key, account=self.server.account)
        return NewRelicMetricSource(access, [definition], transport=self.server.transport)

    def requests(self) -> int:
        return self.server.requests
