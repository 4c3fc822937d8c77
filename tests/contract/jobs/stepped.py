"""A clock that a test moves, and that wakes whoever sleeps on it."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from tools.clock import ManualClock

PATIENCE_ROUNDS = 2_000


class SteppedClock:
    """Time stands still until `advance`; sleepers return when their moment has come."""

    def __init__(self) -> None:
        self._time = ManualClock()
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._time.now()

    async def sleep(self, seconds: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        sleeper = (self.now() + timedelta(seconds=seconds), waiter)
        self._sleepers.append(sleeper)
        try:
            await waiter
        finally:
            self._sleepers.remove(sleeper)

    def advance(self, seconds: float) -> None:
        """Move forward and wake whoever is due."""
        self._time.advance(seconds)
        for due, waiter in self._sleepers:
            if due <= self.now() and not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], bool], *, step: float = 0.0) -> None:
        """Let others run until the condition holds, moving `step` seconds at a time."""
        for _ in range(PATIENCE_ROUNDS):
            if condition():
                return
            self.advance(step)
            await asyncio.sleep(0.002)
        raise AssertionError("the condition never held")
