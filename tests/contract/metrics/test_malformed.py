"""Whatever a server answers, where that is not as its API has it: a reading, or an error of ours."""

import copy
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import httpx
import pytest

from tests.contract.metrics.benches import Bench, datadog_bench, events_bench, points_bench, query, series_bench
from tests.contract.metrics.fake_datadog import DatadogApi
from tests.contract.metrics.fake_influxdb import InfluxApi
from tests.contract.metrics.fake_newrelic import NerdGraph
from tests.contract.metrics.fake_prometheus import PrometheusApi
from tools.errors import SluiceError
from tools.metrics.base import MetricSourceUnavailable, Reading, Window
from tools.metrics.counting import CounterSource

BENCHES = {
    "datadog": lambda: datadog_bench(DatadogApi()),
    "influxdb": lambda: points_bench(InfluxApi()),
    "newrelic": lambda: events_bench(NerdGraph()),
    "prometheus": lambda: series_bench(PrometheusApi()),
}
JUNK: tuple[Any, ...] = (None, True, -1, 10**400, "x", "1e999", [], {}, [None], [[1]], {"a": 1})
Path = tuple[str | int, ...]
ABSENT = object()
"""No value: the field is not there."""

UNASKED = ("warnings", "infos", "error", "errorType", "errors", "message", "meta", "extensions")
"""Fields that an answer may have besides."""

NO_ADDRESSES = (
    "http://[",
    "//\x7f",
    "http://a:99999999",
    "https:///x",
    "\\\\x",
    "::::",
    "http://%zz",
    "mailto:x@y",
    "",
)
ENCODINGS = ("gzip", "deflate", "zstd", "gzip, gzip", "nonsense")


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
    if junk is ABSENT:
        del inner[path[-1]]
    else:
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
            more = [(name,) for name in UNASKED] if isinstance(answer, dict) else []
            for path in [*places(answer), *more]:
                for junk in (*JUNK, *([ABSENT] if path and path not in more else [])):
                    mangling.mangle(number, path, junk)
                    await answered(bench)


def always(response: Callable[[], httpx.Response]) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _request: response())


@pytest.mark.parametrize("vendor", BENCHES)
async def test_what_is_no_http_is_an_error_of_ours(vendor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.metrics.http_api.random.uniform", lambda *_bounds: 0.0)
    kind = {"content-type": "application/json"}
    async with BENCHES[vendor]() as bench:
        client = bench.source._api._client  # type: ignore[attr-defined]
        for encoding in ENCODINGS:
            headers = kind | {"content-encoding": encoding}
            client._transport = always(partial(httpx.Response, 200, headers=headers, stream=httpx.ByteStream(b"junk")))
            assert not await answered(bench)
            with pytest.raises(MetricSourceUnavailable):
                await bench.source.check()
        for address in NO_ADDRESSES:
            client._transport = always(partial(httpx.Response, 302, headers={"location": address}))
            # What is no address at all the client takes for no answer.
            with pytest.raises(MetricSourceUnavailable, match=r"elsewhere|can't be reached"):
                await bench.source.check()


async def test_a_query_that_is_answered_badly_is_no_reason_to_know_nothing_of_others() -> None:
    async with series_bench(PrometheusApi()) as bench:
        await bench.seen("control", 1, 3, 1)
        source = bench.source
        assert isinstance(source, CounterSource)
        count = source._count

        async def odd(template: Any, keys: Any, window: Window) -> Any:
            if window == query(0, 5).window:
                raise ZeroDivisionError
            return await count(template, keys, window)

        source._count = odd  # type: ignore[method-assign]
        well, badly = await source.read_together([query(0, 10), query(0, 5)])
        assert isinstance(well, Reading)
        assert isinstance(badly, ZeroDivisionError)
        with pytest.raises(ZeroDivisionError):
            await source.read(query(0, 5))
