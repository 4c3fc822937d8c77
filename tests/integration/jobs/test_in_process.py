"""Jobs as rows: several processes on one database, deaths, lost leases and outages."""

import asyncio
import random
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update
from structlog.testing import capture_logs

from tests.contract.jobs.stepped import SteppedClock
from tools.clock import Clock, SystemClock
from tools.errors import NotAllowed, Unavailable
from tools.jobs.attempts import JobFailure
from tools.jobs.base import JobHandler
from tools.jobs.in_process import (
    DISPATCH_FAILED,
    JOB_NOT_CLOSED,
    JOBS_UNREACHABLE,
    LEASE,
    LEASE_LOST,
    LEASE_NOT_RENEWED,
    InProcessJobs,
)
from tools.records.database import Database
from tools.records.models import Job, Lease

ROOT = Path(__file__).parents[3]


async def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def closed(database: Database, jobs: int) -> None:
    """Wait until that many jobs are done."""
    async with asyncio.timeout(10):
        while [job.status for job in await rows(database)].count("done") < jobs:
            await asyncio.sleep(0.01)


async def rows(database: Database) -> list[Job]:
    async with database.read() as session:
        return list((await session.scalars(select(Job).order_by(Job.id))).all())


async def leases(database: Database) -> list[tuple[str, str]]:
    async with database.read() as session:
        return [(lease.name, lease.owner) for lease in await session.scalars(select(Lease))]


async def renewed(database: Database, since: datetime) -> None:
    """Wait until the only lease reaches the whole default length past `since`."""
    async with asyncio.timeout(10):
        while True:
            async with database.read() as session:
                [lease] = await session.scalars(select(Lease))
            if lease.until >= since + LEASE:
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    database: Database, owner: str, clock: Clock, handler: JobHandler, **options: Any
) -> AsyncIterator[InProcessJobs]:
    jobs = InProcessJobs(database, clock, owner=owner, **options)
    jobs.handle("work", handler)
    await jobs.start()
    try:
        yield jobs
    finally:
        stopping = asyncio.create_task(jobs.stop())
        if isinstance(clock, SteppedClock):
            await clock.until(stopping.done, step=1)
        await stopping


async def test_two_processes_never_run_one_key_at_once_and_keep_its_order(url: str) -> None:
    databases = [Database(url), Database(url)]
    ran: dict[str, list[int]] = defaultdict(list)
    inside: set[str] = set()
    by_whom: set[str] = set()
    dice = random.Random(7)

    def handler(owner: str) -> JobHandler:
        async def work(payload: Mapping[str, Any]) -> None:
            key = payload["key"]
            assert key not in inside
            inside.add(key)
            await asyncio.sleep(dice.random() * 0.01)
            inside.remove(key)
            ran[key].append(payload["n"])
            by_whom.add(owner)

        return work

    clock = SystemClock()
    async with (
        running(databases[0], "one", clock, handler("one"), concurrency=3) as one,
        running(databases[1], "two", clock, handler("two"), concurrency=3) as two,
    ):
        for n in range(60):
            key = f"key-{n % 6}"
            await dice.choice([one, two]).submit("work", key, {"key": key, "n": n})
        await wait_for(lambda: sum(map(len, ran.values())) >= 60, 60)
    assert {key: sorted(numbers) for key, numbers in ran.items()} == ran
    assert by_whom == {"one", "two"}
    assert {(job.status, job.attempts) for job in await rows(databases[0])} == {("done", 1)}
    assert await leases(databases[0]) == []
    for database in databases:
        await database.close()


@pytest.mark.parametrize(("second", "lease_s"), [("one", 600), ("two", 1)], ids=["same owner", "other owner"])
async def test_what_a_killed_process_left_is_taken_up(
    database: Database, url: str, tmp_path: Path, second: str, lease_s: int
) -> None:
    marker = tmp_path / "began"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.jobs.worker", url, str(lease_s), str(marker), cwd=ROOT
    )
    await wait_for(lambda: marker.exists() and marker.read_text() == "1", 30)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    seen: list[int] = []

    async def note(payload: Mapping[str, Any]) -> None:
        seen.append(payload["n"])

    async with running(database, second, SystemClock(), note):
        await wait_for(lambda: seen == [1, 2])
    assert [(job.status, job.attempts) for job in await rows(database)] == [("done", 2), ("done", 1)]


async def test_a_paused_process_that_lost_its_job_neither_goes_on_with_it_nor_closes_it(database: Database) -> None:
    paused, other = SteppedClock(), SteppedClock()
    began, seen = asyncio.Event(), list[str]()

    async def hang(_payload: Mapping[str, Any]) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("interrupted")

    async def note(_payload: Mapping[str, Any]) -> None:
        seen.append("taken up")
        await release.wait()

    release = asyncio.Event()
    async with running(database, "one", paused, hang) as jobs:
        await jobs.submit("work", "rollout-1", {})
        await began.wait()
        other.advance(60)
        async with running(database, "two", other, note):
            await wait_for(lambda: seen == ["taken up"])
            with capture_logs() as logs:
                await paused.until(lambda: "interrupted" in seen, step=1)
                await paused.until(lambda: any(entry["event"] == LEASE_LOST for entry in logs))
            [job] = await rows(database)
            assert (job.status, job.attempts) == ("running", 2)
            assert await leases(database) == [("job:rollout-1", "two")]
            release.set()
    [job] = await rows(database)
    assert (job.status, job.attempts) == ("done", 2)


async def test_a_lease_is_renewed_for_as_long_as_the_job_runs(database: Database) -> None:
    first, second = SteppedClock(), SteppedClock()
    release, seen = asyncio.Event(), list[str]()

    async def hang(_payload: Mapping[str, Any]) -> None:
        seen.append("one")
        await release.wait()

    async def note(_payload: Mapping[str, Any]) -> None:
        seen.append("two")

    async with running(database, "one", first, hang) as jobs:
        await jobs.submit("work", "rollout-1", {})
        await first.until(lambda: seen == ["one"])
        async with running(database, "two", second, note):
            for _ in range(10):
                first.advance(5)
                await renewed(database, first.now())
                second.advance(5)
                await asyncio.sleep(0.02)
        assert seen == ["one"]
        release.set()
    assert seen == ["one"]


async def test_rows_say_what_came_of_each_job(database: Database) -> None:
    clock, told = SteppedClock(), list[JobFailure]()
    errors: dict[int, Exception] = {
        1: NotAllowed("Only approvers may."),
        2: Unavailable("Away."),
        3: KeyError("secret"),
    }

    async def work(payload: Mapping[str, Any]) -> None:
        if payload["n"] in errors:
            raise errors[payload["n"]]

    async def hear(failure: JobFailure) -> None:
        told.append(failure)

    async with running(database, "one", clock, work, on_failure=hear) as jobs:
        for n in range(4):
            await jobs.submit("work", f"thread-{n}", {"n": n})
        await clock.until(lambda: len(told) == 3, step=1)
    done, refused, away, faulty = await rows(database)
    assert (done.status, done.error, done.attempts) == ("done", None, 1)
    assert (refused.status, refused.error, refused.attempts) == ("failed", "Only approvers may.", 1)
    assert (away.status, away.error, away.attempts) == ("failed", "Away.", 5)
    assert faulty.status == "failed"
    assert faulty.error == next(failure.sentence for failure in told if failure.reference)
    assert all(job.ended_at is not None for job in (done, refused, away, faulty))


async def test_a_job_of_a_kind_nobody_here_knows_is_left_for_who_does(database: Database) -> None:
    clock, seen = SteppedClock(), list[int]()

    async def note(payload: Mapping[str, Any]) -> None:
        seen.append(payload["n"])

    elsewhere = InProcessJobs(database, clock, owner="two")
    elsewhere.handle("other", note)
    await elsewhere.submit("other", "thread-1", {"n": 1})
    async with running(database, "one", clock, note) as jobs:
        await jobs.submit("work", "thread-2", {"n": 2})
        await clock.until(lambda: seen == [2], step=1)
    assert [(job.status, job.attempts) for job in await rows(database)] == [("queued", 0), ("done", 1)]
    await elsewhere.start()
    await clock.until(lambda: seen == [2, 1], step=1)
    stopping = asyncio.create_task(elsewhere.stop())
    await clock.until(stopping.done, step=1)


async def test_concurrent_submissions_with_one_dedupe_key_make_one_job(url: str) -> None:
    databases = [Database(url), Database(url)]
    runners = [InProcessJobs(database, SystemClock(), owner=str(n)) for n, database in enumerate(databases)]

    async def note(_payload: Mapping[str, Any]) -> None:
        raise AssertionError("it was not started")

    for jobs in runners:
        jobs.handle("work", note)
    ids = await asyncio.gather(
        *(runners[n % 2].submit("work", "thread-1", {"n": n}, dedupe="message-7") for n in range(20))
    )
    assert len(set(ids)) == 1
    assert len(await rows(databases[0])) == 1
    for database in databases:
        await database.close()


async def test_a_job_whose_row_was_closed_meanwhile_is_not_claimed(database: Database) -> None:
    clock = SteppedClock()

    async def note(_payload: Mapping[str, Any]) -> None:
        raise AssertionError("it was closed already")

    jobs = InProcessJobs(database, clock, owner="one")
    jobs.handle("work", note)
    row_id = int(await jobs.submit("work", "thread-1", {}))
    async with database.write() as session:
        await session.execute(update(Job).values(status="done"))
    assert await jobs._claim(row_id, "thread-1") is None
    assert await leases(database) == []


async def test_a_key_that_someone_else_holds_is_not_claimed(database: Database) -> None:
    clock = SteppedClock()
    runners = [InProcessJobs(database, clock, owner=owner) for owner in ("one", "two")]

    async def note(_payload: Mapping[str, Any]) -> None:
        raise AssertionError("it is only claimed")

    for jobs in runners:
        jobs.handle("work", note)
    row_id = int(await runners[0].submit("work", "thread-1", {}))
    assert await runners[0]._claim(row_id, "thread-1") is not None
    assert await runners[1]._claim(row_id, "thread-1") is None
    assert await runners[1]._candidates(5) == []


async def break_table(database: Database, name: str) -> None:
    async with database.write() as session:
        await session.execute(text(f"ALTER TABLE {name} RENAME TO {name}_away"))


async def mend_table(database: Database, name: str) -> None:
    async with database.write() as session:
        await session.execute(text(f"ALTER TABLE {name}_away RENAME TO {name}"))


async def test_an_outage_of_the_database_is_logged_and_outlived(database: Database) -> None:
    clock, seen = SteppedClock(), list[int]()

    async def note(payload: Mapping[str, Any]) -> None:
        seen.append(payload["n"])

    async with running(database, "one", clock, note) as jobs:
        await jobs.submit("work", "thread-1", {"n": 1})
        await closed(database, 1)
        await break_table(database, "jobs")
        with capture_logs() as logs:
            await clock.until(lambda: any(entry["event"] == JOBS_UNREACHABLE for entry in logs), step=1)
        await mend_table(database, "jobs")
        await jobs.submit("work", "thread-1", {"n": 2})
        await clock.until(lambda: seen == [1, 2])


class FaultyClock(SteppedClock):
    """Fails when it is asked for the time while `faulty` is set."""

    faulty = False

    def now(self) -> datetime:
        if self.faulty:
            raise OverflowError("the clock is broken")
        return super().now()


async def test_a_fault_while_looking_for_jobs_is_logged_and_outlived(database: Database) -> None:
    clock, seen = FaultyClock(), list[int]()

    async def note(payload: Mapping[str, Any]) -> None:
        seen.append(payload["n"])

    async with running(database, "one", clock, note) as jobs:
        with capture_logs() as logs:
            clock.faulty = True
            jobs._wake.set()
            await wait_for(lambda: any(entry["event"] == DISPATCH_FAILED for entry in logs))
        clock.faulty = False
        await jobs.submit("work", "thread-1", {"n": 1})
        await clock.until(lambda: seen == [1])


async def test_a_job_that_cannot_be_closed_runs_again(database: Database) -> None:
    clock, seen = SteppedClock(), list[int]()

    async def note(payload: Mapping[str, Any]) -> None:
        seen.append(payload["n"])
        if len(seen) == 1:
            await break_table(database, "jobs")

    async with running(database, "one", clock, note) as jobs:
        with capture_logs() as logs:
            await jobs.submit("work", "thread-1", {"n": 1})
            await clock.until(lambda: any(entry["event"] == JOB_NOT_CLOSED for entry in logs))
        await mend_table(database, "jobs")
        await clock.until(lambda: seen == [1, 1], step=1)
    [job] = await rows(database)
    assert (job.status, job.attempts) == ("done", 2)


async def test_a_lease_that_cannot_be_renewed_is_held_until_it_runs_out(database: Database) -> None:
    clock, seen = SteppedClock(), list[str]()

    async def hang(_payload: Mapping[str, Any]) -> None:
        seen.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("interrupted")

    async with running(database, "one", clock, hang) as jobs:
        await jobs.submit("work", "thread-1", {})
        await clock.until(lambda: seen == ["began"])
        await break_table(database, "jobs")
        began = clock.now()
        with capture_logs() as logs:
            await clock.until(lambda: "interrupted" in seen, step=1)
        assert clock.now() - began >= timedelta(seconds=15)
        assert [entry["event"] for entry in logs if entry["event"] == LEASE_NOT_RENEWED]
        await mend_table(database, "jobs")


async def test_a_job_that_ends_while_it_is_interrupted_stays_ended(database: Database) -> None:
    clock, seen = SteppedClock(), list[str]()

    async def stubborn(_payload: Mapping[str, Any]) -> None:
        seen.append("began")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("ended")

    async with running(database, "one", clock, stubborn) as jobs:
        await jobs.submit("work", "thread-1", {})
        await clock.until(lambda: seen == ["began"])
    assert [(job.status, job.attempts) for job in await rows(database)] == [("done", 1)]
