"""Every job runner, behind one way to make and stop it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.contract.jobs.stepped import SteppedClock
from tools.jobs.attempts import JobFailure, OnFailure
from tools.jobs.base import Jobs
from tools.jobs.registry import create_jobs
from tools.records.database import Database
from tools.records.models import Record


@dataclass
class Bench:
    """A runner on a clock that the test moves, and the failures that it told."""

    clock: SteppedClock
    make: Callable[[SteppedClock, int, OnFailure], Jobs]
    failures: list[JobFailure] = field(default_factory=list)
    _made: list[Jobs] = field(default_factory=list)

    def runner(self, concurrency: int = 16) -> Jobs:
        """A runner that was not started yet."""
        self._made.append(self.make(self.clock, concurrency, self._failed))
        return self._made[-1]

    async def stop(self, jobs: Jobs) -> None:
        """Stop it, letting the time of grace pass."""
        stopping = asyncio.create_task(jobs.stop())
        await self.clock.until(stopping.done, step=1)
        await stopping

    async def close(self) -> None:
        for jobs in self._made:
            await self.stop(jobs)

    async def _failed(self, failure: JobFailure) -> None:
        self.failures.append(failure)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else f"sqlite:///{tmp_path}/jobs.db"
    name = "memory" if request.param == "memory" else "in_process"
    database = Database(url)
    async with database.engine.begin() as connection:
        await connection.run_sync(Record.metadata.create_all)
    bench = Bench(
        SteppedClock(),
        lambda clock, concurrency, on_failure: create_jobs(
            name, database=database, clock=clock, owner="one", concurrency=concurrency, on_failure=on_failure
        ),
    )
    yield bench
    await bench.close()
    await database.close()
