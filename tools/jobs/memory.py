"""Jobs kept in memory: for tests, demonstrations and embedding. They end with the process."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from tools.clock import Clock
from tools.jobs.attempts import STOP_GRACE_S, Attempt, Handlers, OnFailure, Retry, checked, perform
from tools.jobs.base import JobHandler


class MemoryJobs:
    """Runs jobs of this process, at most `concurrency` at once; what `stop` interrupts runs after the next `start`."""

    def __init__(self, clock: Clock, *, concurrency: int = 16, on_failure: OnFailure | None = None) -> None:
        self._clock = clock
        self._on_failure = on_failure
        self._handlers = Handlers()
        self._ids = count(1)
        self._seen: dict[str, str] = {}
        self._lines: dict[str, deque[Attempt]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(concurrency)
        self._started = False

    def handle(self, kind: str, handler: JobHandler) -> None:
        """Register what runs jobs of `kind`; before `start`."""
        self._handlers.add(kind, handler)

    async def submit(self, kind: str, key: str, payload: Mapping[str, Any], *, dedupe: str | None = None) -> str:
        """Put a job in its key's line. Raises UnknownJobKind; InvalidInput when another runner couldn't store it."""
        self._handlers.get(kind)
        plain = checked(key, payload, dedupe)
        if dedupe is not None and dedupe in self._seen:
            return self._seen[dedupe]
        job = Attempt(str(next(self._ids)), kind, key, plain, 1)
        if dedupe is not None:
            self._seen[dedupe] = job.id
        self._lines.setdefault(key, deque()).append(job)
        self._serve(key)
        return job.id

    async def start(self) -> None:
        """Take up what was left unfinished, then run what comes."""
        if self._started:
            raise RuntimeError("the jobs were started already")
        self._started = True
        for key in list(self._lines):
            self._serve(key)

    async def stop(self) -> None:
        """Start nothing more; give running jobs a few seconds, then interrupt them."""
        self._started = False
        workers = set(self._workers.values())
        patience = asyncio.create_task(self._clock.sleep(STOP_GRACE_S))
        while workers and not patience.done():
            ended, _ = await asyncio.wait({*workers, patience}, return_when=asyncio.FIRST_COMPLETED)
            workers -= ended
        for task in (*workers, patience):
            task.cancel()
        await asyncio.wait({*workers, patience})

    def _serve(self, key: str) -> None:
        if self._started and key not in self._workers:
            self._workers[key] = asyncio.create_task(self._work(key), name=f"jobs-{key}")
            self._workers[key].add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: str) -> None:
        del self._workers[key]
        if key in self._lines:
            self._serve(key)

    async def _work(self, key: str) -> None:
        line = self._lines[key]
        while line:
            async with self._slots:
                if not self._started:
                    return
                outcome = await perform(line[0], self._handlers.get(line[0].kind), self._on_failure)
            if isinstance(outcome, Retry):
                line[0] = replace(line[0], number=line[0].number + 1)
                await self._clock.sleep(outcome.after.total_seconds())
            else:
                line.popleft()
        if not line:
            del self._lines[key]
