"""Whatever a server answers, where that is not as its API has it: a reading, or an error of ours."""

import copy
import json
from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest

from tests.contract.metrics.benches import Bench, datadog_bench, events_bench, points_bench, query, series_bench
from tests.contract.metrics.fake_datadog import DatadogApi
from tests.contract.metrics.fake_influxdb import InfluxApi
from tests.contract.metrics.fake_newrelic import NerdGraph
from tests.contract.metrics.fake_prometheus import PrometheusApi
from tools.errors import SluiceError
from tools.metrics.counting import CounterSource

BENCHES = {
    "datadog": lambda: datadog_bench(DatadogApi()),
    "influxdb": lambda: points_bench(InfluxApi()),
    "newrelic": lambda: events_bench(NerdGraph()),
    "prometheus": lambda: series_bench(PrometheusApi()),
}
JUNK: tuple[Any, ...] = (None, True, -1, 10**400, "x", "1e999", [], {}, [None], [[1]], {"a": 1})
Path = tuple[str | int, ...]


class Mangling(httpx.AsyncBaseTransport):
    """Gives the answers of another, of which the one of that number has junk at a place."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.answers = list[Any]()
        self.number, self.path, self.junk = -1, Path(), cast("Any", None)

    def mangle(self, number: int, path: Path, junk: Any) -> None:
        self.answers.clear()
        self.number, self.path, self.junk = number, path, junk

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        given = await self._inner.handle_async_request(request)
        answer = json.loads(await given.aread())
        if len(self.answers) == self.number:
            answer = replaced(answer, self.path, self.junk)
        self.answers.append(answer)
        kind = {"content-type": given.headers["content-type"]}
        return httpx.Response(given.status_code, headers=kind, content=json.dumps(answer))


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in it."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from places(one, (*path, name))


def replaced(value: Any, path: Path, junk: Any) -> Any:
    if not path:
        return junk
    whole = copy.deepcopy(value)
    inner = whole
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = junk
    return whole


async def answered(bench: Bench) -> bool:
    """Whether there was a reading."""
    source = bench.source
    assert isinstance(source, CounterSource)
    source._had_events.clear()
    try:
        await source.read(query(0, 10))
    except SluiceError:
        return False
    return True


@pytest.mark.parametrize("vendor", BENCHES)
@pytest.mark.parametrize("events", [0, 1], ids=["without events", "with events"])
async def test_what_is_not_as_its_api_has_it_is_a_reading_or_an_error_of_ours(vendor: str, events: int) -> None:
    async with BENCHES[vendor]() as bench:
        await bench.seen("control", 1, 3, events)
        await bench.seen("treatment", 2, 2)
        client = bench.source._api._client  # type: ignore[attr-defined]
        mangling = client._transport = Mangling(client._transport)
        whole = await answered(bench)
        assert whole or not events
        answers = [*mangling.answers]
        for number, answer in enumerate(answers):
            for path in places(answer):
                for junk in JUNK:
                    mangling.mangle(number, path, junk)
                    await answered(bench)
