"""What is asked at about the same time is asked together, and nobody gets another's answer."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from tools.errors import SluiceError
from tools.metrics.base import MetricQuery, MetricSourceUnavailable, Reading, Sample, Window
from tools.metrics.batching import Batching

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Source:
    """Keeps what it is asked, and answers with the window and the number of the flag."""

    grain = timedelta(seconds=1)

    def __init__(self) -> None:
        self.asked: list[list[MetricQuery]] = []
        self.fails: Callable[[MetricQuery], bool] = lambda _query: False
        self.fault: Exception | None = None
        self.faulty: set[str] | None = None
        self.slow: set[str] | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    async def read_together(self, queries: Sequence[MetricQuery]) -> Sequence[Reading | SluiceError]:
        self.asked.append(list(queries))
        metrics = {one.metric for one in queries}
        if self.slow is None or metrics & self.slow:
            await self.answers.wait()
        if self.fault is not None and (self.faulty is None or metrics & self.faulty):
            raise self.fault
        return [MetricSourceUnavailable(one.flag) if self.fails(one) else _reading(one) for one in queries]

    async def check(self) -> None: ...


def _reading(query: MetricQuery) -> Reading:
    return Reading({"new": Sample(int(query.flag))}, f"{query.window.start} {query.window.end}", None)


def query(flag: int, start_s: float = 0, end_s: float = 15, metric: str = "errors") -> MetricQuery:
    """Of a window in seconds from noon."""
    window = Window(NOON + timedelta(seconds=start_s), NOON + timedelta(seconds=end_s))
    return MetricQuery(metric, str(flag), "production", window)


async def test_a_ticks_questions_are_one_a_metric() -> None:
    source = Source()
    batching = Batching(source)
    metrics = ("errors", "latency", "revenue")
    queries = [query(flag, metric=metric) for flag in range(1000) for metric in metrics]
    found = await asyncio.gather(*map(batching.read, queries))
    assert [one.by_variant["new"].exposures for one in found] == [int(one.flag) for one in queries]
    assert [(len(asked), {one.metric for one in asked}) for asked in source.asked] == [
        (1000, {metric}) for metric in metrics
    ]


async def test_a_metric_that_takes_long_keeps_nobody_from_anothers_answer() -> None:
    source = Source()
    source.slow, batching = {"slow"}, Batching(source)
    source.answers.clear()
    slow = asyncio.create_task(batching.read(query(1, metric="slow")))
    assert (await batching.read(query(1))).by_variant == {"new": Sample(1)}
    later = asyncio.create_task(batching.read(query(2, metric="slow")))
    assert (await batching.read(query(2, 15, 30))).by_variant == {"new": Sample(2)}
    assert not slow.done()
    source.answers.set()
    assert [(await one).by_variant for one in (slow, later)] == [{"new": Sample(1)}, {"new": Sample(2)}]


async def test_a_fault_of_one_metric_reaches_nobody_who_asked_for_another() -> None:
    source = Source()
    source.fault, source.faulty, batching = ZeroDivisionError("a fault of ours"), {"odd"}, Batching(source)
    ill, well = await asyncio.gather(
        batching.read(query(1, metric="odd")), batching.read(query(1)), return_exceptions=True
    )
    assert isinstance(ill, ZeroDivisionError)
    assert isinstance(well, Reading)


async def test_windows_within_a_grain_are_the_same_and_stay_side_by_side() -> None:
    source = Source()
    batching = Batching(source)
    found = await asyncio.gather(batching.read(query(1, 0.2, 15.1)), batching.read(query(2, 0.9, 15.9)))
    assert {one.query for one in found} == {f"{NOON} {NOON + timedelta(seconds=15)}"}
    later = await batching.read(query(1, 15.1, 30.999))
    assert later.query == f"{NOON + timedelta(seconds=15)} {NOON + timedelta(seconds=30)}"


async def test_who_was_asked_about_together_is_asked_about_together_again() -> None:
    """The controller looks at a few rollouts at a time; a tick is still one question."""
    source = Source()
    batching = Batching(source)
    await asyncio.gather(*(batching.read(query(flag, 0, 15)) for flag in range(100)))
    for flag in range(100):
        reading = await batching.read(query(flag, 15, 30))
        assert reading.by_variant == {"new": Sample(flag)}
    assert [len(asked) for asked in source.asked] == [100, 100]


async def test_who_asks_while_the_source_thinks_waits_for_the_same_answer() -> None:
    """A source that takes its time is not asked again by each rollout whose turn comes meanwhile."""
    source = Source()
    batching = Batching(source)
    await asyncio.gather(*(batching.read(query(flag, 0, 15)) for flag in range(100)))
    source.answers.clear()
    reading = [asyncio.create_task(batching.read(query(flag, 15, 30))) for flag in range(3)]
    while len(source.asked) == 1:
        await asyncio.sleep(0)
    reading += [asyncio.create_task(batching.read(query(flag, 15, 30))) for flag in range(3, 110)]
    while len(source.asked) == 2:
        await asyncio.sleep(0)
    source.answers.set()
    found = await asyncio.gather(*reading)
    assert [one.by_variant["new"].exposures for one in found] == list(range(110))
    assert [len(asked) for asked in source.asked] == [100, 100, 10]
    assert (await batching.read(query(7, 15, 30))).by_variant == {"new": Sample(7)}
    assert [one.flag for one in source.asked[-1]] == ["7"], "what is over is asked anew"


async def test_what_was_read_ahead_is_of_the_same_window_and_read_once() -> None:
    source = Source()
    batching = Batching(source)
    await asyncio.gather(batching.read(query(1, 0, 15)), batching.read(query(2, 0, 15)))
    await batching.read(query(1, 15, 30))
    assert (await batching.read(query(2, 15, 31))).query.endswith("12:00:31+00:00")
    await batching.read(query(1, 15, 30))
    assert [sorted(one.flag for one in asked) for asked in source.asked[1:]] == [["1", "2"], ["2"], ["1"]]


async def test_what_was_read_ahead_is_forgotten_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source()
    batching = Batching(source)
    await asyncio.gather(batching.read(query(1, 0, 15)), batching.read(query(2, 0, 15)))
    await batching.read(query(1, 15, 30))
    monkeypatch.setattr("tools.metrics.batching.KEPT_S", -1.0)
    await batching.read(query(2, 15, 30))
    assert len(source.asked) == 3


async def test_an_error_is_the_one_who_asked_s_alone() -> None:
    source = Source()
    batching = Batching(source)
    source.fails = lambda one: one.flag == "1"
    ill, well = await asyncio.gather(batching.read(query(1)), batching.read(query(2)), return_exceptions=True)
    assert isinstance(ill, MetricSourceUnavailable)
    assert isinstance(well, Reading)


async def test_a_companions_error_is_not_kept() -> None:
    source = Source()
    batching = Batching(source)
    await asyncio.gather(batching.read(query(1, 0, 15)), batching.read(query(2, 0, 15)))
    source.fails = lambda one: one.flag == "2"
    await batching.read(query(1, 15, 30))
    source.fails = lambda _one: False
    assert (await batching.read(query(2, 15, 30))).by_variant == {"new": Sample(2)}


async def test_a_fault_reaches_everybody_who_asked() -> None:
    source = Source()
    source.fault = ZeroDivisionError("a fault of ours")
    batching = Batching(source)
    found = await asyncio.gather(*(batching.read(query(flag)) for flag in range(3)), return_exceptions=True)
    assert [type(one) for one in found] == [ZeroDivisionError] * 3
    source.fault = None
    assert (await batching.read(query(1))).by_variant == {"new": Sample(1)}


async def test_who_gives_up_keeps_nobody_from_an_answer() -> None:
    source = Source()
    batching = Batching(source)
    leaving, staying = asyncio.create_task(batching.read(query(1))), asyncio.create_task(batching.read(query(1)))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).by_variant == {"new": Sample(1)}
    assert leaving.cancelled()


async def test_closing_ends_what_is_under_way() -> None:
    batching = Batching(Source())
    waiting = asyncio.create_task(batching.read(query(1)))
    await asyncio.sleep(0)
    await batching.close()
    assert not batching._under_way
    waiting.cancel()
