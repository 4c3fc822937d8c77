"""Jobs as rows, run inside this process: the embedded default.

A job runs under the lease `job:<key>`, so that several processes on one database never run one key at the same time.
A job left running by a dead process is taken up when its lease has run out, or at once by a process that starts
under the same owner. `attempts` counts starts and fences: whoever lost a job in between can't close it. Jobs of kinds
without a handler here are left for a process that has one.
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import exists, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from tools.clock import Clock
from tools.jobs.attempts import (
    STOP_GRACE_S,
    Attempt,
    Done,
    Handlers,
    OnFailure,
    Outcome,
    Retry,
    checked,
    perform,
)
from tools.jobs.base import JobHandler
from tools.records import leases
from tools.records.database import Database
from tools.records.models import Job, Lease

LEASE = timedelta(seconds=15)
SWEEP_S = 1.0
"""How often to look for jobs that nobody announced: other processes' jobs, retries that came due, lost leases."""

JOBS_UNREACHABLE = "jobs_unreachable"
DISPATCH_FAILED = "jobs_dispatch_failed"
LEASE_NOT_RENEWED = "job_lease_not_renewed"
LEASE_LOST = "job_lease_lost"
JOB_NOT_CLOSED = "job_not_closed"

log = structlog.get_logger(__name__)


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # given up; `error` says why


OPEN = (Status.QUEUED, Status.RUNNING)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A job row that is ours, and until when at first."""

    row_id: int
    attempt: Attempt
    until: datetime


class InProcessJobs:
    """Runs the jobs of a database, at most `concurrency` at once. `owner` names this process among all living ones."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        owner: str,
        concurrency: int = 16,
        lease: timedelta = LEASE,
        on_failure: OnFailure | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._concurrency = concurrency
        self._lease = lease
        self._on_failure = on_failure
        self._handlers = Handlers()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._dispatcher: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None

    def handle(self, kind: str, handler: JobHandler) -> None:
        """Register what runs jobs of `kind`; before `start`."""
        self._handlers.add(kind, handler)

    async def submit(self, kind: str, key: str, payload: Mapping[str, Any], *, dedupe: str | None = None) -> str:
        """Persist a job and wake the worker. Raises UnknownJobKind; InvalidInput when it can't be stored."""
        self._handlers.get(kind)
        plain = checked(key, payload, dedupe)
        async with self._database.write() as session:
            row_id = await self._insert(session, kind, key, plain, dedupe)
        self._wake.set()
        return str(row_id)

    async def start(self) -> None:
        """Take up what was left unfinished, then run what comes."""
        if self._dispatcher is not None:
            raise RuntimeError("the jobs were started already")
        self._stopping = False
        self._wake.set()
        self._dispatcher = asyncio.create_task(self._dispatch(), name="jobs-dispatch")
        self._sweeper = asyncio.create_task(self._sweep(), name="jobs-sweep")

    async def stop(self) -> None:
        """Start nothing more; give running jobs a few seconds, then put them back for the next start."""
        if self._dispatcher is None or self._sweeper is None:
            return
        self._stopping = True
        self._wake.set()
        await _cancel(self._sweeper)
        await self._finish({self._dispatcher})
        await self._finish(set(self._running.values()))
        self._dispatcher = self._sweeper = None

    async def _finish(self, tasks: set[asyncio.Task[None]]) -> None:
        patience = asyncio.create_task(self._clock.sleep(STOP_GRACE_S))
        while tasks and not patience.done():
            ended, _ = await asyncio.wait({*tasks, patience}, return_when=asyncio.FIRST_COMPLETED)
            tasks -= ended
        await _cancel(*tasks, patience)

    async def _insert(
        self, session: AsyncSession, kind: str, key: str, payload: dict[str, Any], dedupe: str | None
    ) -> int:
        now = self._clock.now()
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        statement = (
            insert(Job)
            .values(
                kind=kind,
                key=key,
                dedupe=dedupe,
                payload=payload,
                status=Status.QUEUED,
                attempts=0,
                created_at=now,
                due_at=now,
            )
            .on_conflict_do_nothing(index_elements=[Job.dedupe])
            .returning(Job.id)
        )
        inserted = await session.scalar(statement)
        if inserted is not None:
            return inserted
        return (await session.scalars(select(Job.id).where(Job.dedupe == dedupe))).one()

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(SWEEP_S)
            self._wake.set()

    async def _dispatch(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._stopping:
                return
            try:
                await self._take_up_due()
            except SQLAlchemyError as error:
                # The rows keep the work; the next sweep tries again.
                log.warning(JOBS_UNREACHABLE, error=_first_line(error))
            except Exception:
                # Whatever it is, later jobs must still be looked for.
                log.exception(DISPATCH_FAILED, reference=secrets.token_hex(4))

    async def _take_up_due(self) -> None:
        free = self._concurrency - len(self._running)
        for row_id, key in await self._candidates(free) if free > 0 else ():
            claim = await self._claim(row_id, key)
            if claim is not None:
                self._launch(claim)

    def _launch(self, claim: _Claim) -> None:
        key = claim.attempt.key
        task = asyncio.create_task(self._run(claim), name=f"job-{claim.row_id}")
        self._running[key] = task
        task.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: str) -> None:
        del self._running[key]
        self._wake.set()

    async def _candidates(self, limit: int) -> list[tuple[int, str]]:
        """The first open job of each key, if it is due, known here, and in nobody else's hands."""
        now = self._clock.now()
        first_of_key = select(func.min(Job.id)).where(Job.status.in_(OPEN)).group_by(Job.key)
        held = exists().where(Lease.name == literal("job:") + Job.key, Lease.until > now, Lease.owner != self._owner)
        query = (
            select(Job.id, Job.key)
            .where(
                Job.id.in_(first_of_key),
                Job.due_at <= now,
                Job.kind.in_(self._handlers.kinds()),
                Job.key.not_in(list(self._running)),
                ~held,
            )
            .order_by(Job.id)
            .limit(limit)
        )
        async with self._database.read() as session:
            return [(row.id, row.key) for row in await session.execute(query)]

    async def _claim(self, row_id: int, key: str) -> _Claim | None:
        """Take the key's lease and the job with it, unless either was taken meanwhile."""
        now = self._clock.now()
        older = aliased(Job)
        first = select(func.min(older.id)).where(older.key == key, older.status.in_(OPEN)).scalar_subquery()
        statement = (
            update(Job)
            .where(Job.id == row_id, Job.id == first, Job.status.in_(OPEN), Job.due_at <= now)
            .values(status=Status.RUNNING, attempts=Job.attempts + 1)
            .returning(Job.kind, Job.payload, Job.attempts)
            .execution_options(synchronize_session=False)
        )
        async with self._database.write() as session:
            if not await leases.claim(session, [_lease(key)], owner=self._owner, now=now, ttl=self._lease):
                return None
            row = (await session.execute(statement)).one_or_none()
            if row is None:
                await leases.release(session, [_lease(key)], owner=self._owner)
                return None
        attempt = Attempt(str(row_id), row.kind, key, row.payload, row.attempts)
        return _Claim(row_id, attempt, now + self._lease)

    async def _run(self, claim: _Claim) -> None:
        handler = self._handlers.get(claim.attempt.kind)
        work = asyncio.create_task(perform(claim.attempt, handler, self._on_failure))
        keeper = asyncio.create_task(self._keep_lease(claim))
        try:
            await asyncio.wait({work, keeper}, return_when=asyncio.FIRST_COMPLETED)
            lost = not work.done()
        except asyncio.CancelledError:
            await _cancel(work)
            await self._close(claim, None if work.cancelled() else work.result())
            raise
        finally:
            await _cancel(work, keeper)
        if lost:
            log.warning(LEASE_LOST, job=claim.attempt.id, kind=claim.attempt.kind, key=claim.attempt.key)
        else:
            await self._close(claim, work.result())

    async def _keep_lease(self, claim: _Claim) -> None:
        """Renew the lease for as long as the job is ours; return when it is not."""
        until = claim.until
        while True:
            await self._clock.sleep(self._lease.total_seconds() / 3)
            now = self._clock.now()
            try:
                if not await self._renew(claim, now):
                    return
                until = now + self._lease
            except SQLAlchemyError as error:
                log.warning(LEASE_NOT_RENEWED, job=claim.attempt.id, error=_first_line(error))
                if self._clock.now() >= until:
                    return

    async def _renew(self, claim: _Claim, now: datetime) -> bool:
        async with self._database.write() as session:
            ours = select(Job.id).where(*_still_ours(claim))
            if await session.scalar(ours) is None:
                return False
            name = _lease(claim.attempt.key)
            return bool(await leases.claim(session, [name], owner=self._owner, now=now, ttl=self._lease))

    async def _close(self, claim: _Claim, outcome: Outcome | None) -> None:
        """Write down what came of a claim (None: interrupted, to be run again) and let go of its key."""
        statement = (
            update(Job)
            .where(*_still_ours(claim))
            .values(**self._closing_values(claim, outcome))
            .execution_options(synchronize_session=False)
        )
        try:
            async with self._database.write() as session:
                await session.execute(statement)
                await leases.release(session, [_lease(claim.attempt.key)], owner=self._owner)
        except SQLAlchemyError as error:
            # The row stays "running": whoever holds the lease next runs the job again.
            log.warning(JOB_NOT_CLOSED, job=claim.attempt.id, error=_first_line(error))

    def _closing_values(self, claim: _Claim, outcome: Outcome | None) -> dict[str, Any]:
        now = self._clock.now()
        if outcome is None:
            return {"status": Status.QUEUED, "attempts": claim.attempt.number - 1}
        if isinstance(outcome, Done):
            return {"status": Status.DONE, "error": None, "ended_at": now}
        if isinstance(outcome, Retry):
            return {"status": Status.QUEUED, "error": outcome.sentence, "due_at": now + outcome.after}
        return {"status": Status.FAILED, "error": outcome.sentence, "ended_at": now}


def _first_line(error: SQLAlchemyError) -> str:
    return str(error).partition("\n")[0][:200]


def _lease(key: str) -> str:
    return f"job:{key}"


def _still_ours(claim: _Claim) -> tuple[Any, ...]:
    return Job.id == claim.row_id, Job.status == Status.RUNNING, Job.attempts == claim.attempt.number


async def _cancel(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
