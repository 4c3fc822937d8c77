import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from bot.scheduler import WORK_FAILED, Scheduler
from tools.clock import ManualClock

OFTEN = timedelta(milliseconds=5)
SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_work_recurs(clock: ManualClock) -> None:
    scheduler, turns, enough = Scheduler(clock), list[int](), asyncio.Event()

    async def work() -> None:
        turns.append(len(turns))
        if len(turns) == 3:
            enough.set()

    scheduler.every(OFTEN, "tick", work)
    scheduler.start()
    async with asyncio.timeout(10):
        await enough.wait()
    await scheduler.stop()
    assert turns[:3] == [0, 1, 2]


async def test_a_failure_is_logged_with_a_reference_and_the_next_turn_comes(clock: ManualClock) -> None:
    scheduler, turns, enough = Scheduler(clock), list[int](), asyncio.Event()

    async def work() -> None:
        turns.append(len(turns))
        if len(turns) == 1:
            raise RuntimeError("boom")
        enough.set()

    scheduler.every(OFTEN, "tick", work)
    with capture_logs() as logs:
        scheduler.start()
        async with asyncio.timeout(10):
            await enough.wait()
        await scheduler.stop()
    (failure,) = [line for line in logs if line["event"] == WORK_FAILED]
    assert failure["work"] == "tick"
    assert failure["reference"]
    assert isinstance(failure["exc_info"], bool | BaseException)


async def test_a_slow_turn_is_not_joined_by_a_second_one(clock: ManualClock) -> None:
    scheduler, begun, release, other_turns = Scheduler(clock), list[int](), asyncio.Event(), asyncio.Semaphore(0)

    async def slow() -> None:
        begun.append(1)
        await release.wait()

    async def quick() -> None:
        other_turns.release()

    scheduler.every(OFTEN, "slow", slow)
    scheduler.every(OFTEN, "quick", quick)
    scheduler.start()
    async with asyncio.timeout(10):
        for _ in range(5):
            await other_turns.acquire()
    assert begun == [1]
    release.set()
    await scheduler.stop()


async def test_stopping_waits_for_what_runs(clock: ManualClock) -> None:
    scheduler, begun, release, ended = Scheduler(clock), asyncio.Event(), asyncio.Event(), list[bool]()

    async def work() -> None:
        begun.set()
        await release.wait()
        ended.append(True)

    scheduler.every(OFTEN, "tick", work)
    scheduler.start()
    async with asyncio.timeout(10):
        await begun.wait()
        stopping = asyncio.create_task(scheduler.stop())
        await asyncio.sleep(0)
        release.set()
        await stopping
    assert ended == [True]


async def test_stopping_what_never_started_does_nothing(clock: ManualClock) -> None:
    await Scheduler(clock).stop()


class TestStaleness:
    async def test_work_that_succeeds_is_fresh(self, clock: ManualClock) -> None:
        scheduler = Scheduler(clock)

        async def work() -> None:
            return None

        scheduler.every(SECOND, "tick", work)
        clock.advance(31)
        assert scheduler.stale() == ["tick"]
        await scheduler.run("tick")
        assert scheduler.stale() == []

    async def test_work_that_only_fails_becomes_stale(self, clock: ManualClock) -> None:
        scheduler = Scheduler(clock)

        async def work() -> None:
            raise RuntimeError("boom")

        scheduler.every(SECOND, "tick", work)
        clock.advance(30)
        await scheduler.run("tick")
        assert scheduler.stale() == []
        clock.advance(1)
        assert scheduler.stale() == ["tick"]

    async def test_rare_work_gets_ten_periods(self, clock: ManualClock) -> None:
        scheduler = Scheduler(clock)

        async def work() -> None:
            return None

        scheduler.every(timedelta(minutes=1), "rare", work)
        clock.advance(600)
        assert scheduler.stale() == []
        clock.advance(1)
        assert scheduler.stale() == ["rare"]
