"""The clock that wakes Sluice: recurring work in memory. It owns no truth; what is due is written in rows."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from tools.clock import Clock
from tools.observing import Work as Observed
from tools.observing import working

Work = Callable[[], Awaitable[object]]

WORK_FAILED = "scheduler.work_failed"
TICK = "tick"
"""The turn in which rollouts are watched."""

SLOWEST = timedelta(seconds=30)
"""Work that came to no good end for longer than this, or for ten of its periods, is stale."""

STOP_GRACE_S = 5.0

logger = structlog.get_logger(__name__)


@dataclass
class _Recurring:
    name: str
    period: timedelta
    work: Work
    succeeded_at: datetime
    running: asyncio.Task[object] | None = None


class Scheduler:
    """Runs work every so often, each kind once at a time. A failure is logged, and the next turn still comes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._recurring: dict[str, _Recurring] = {}
        self._scheduler = AsyncIOScheduler(timezone="UTC")

    def every(self, period: timedelta, name: str, work: Work) -> None:
        """Run `work` every `period`; before `start`."""
        self._recurring[name] = _Recurring(name, period, work, self._clock.now())
        self._scheduler.add_job(
            self.run,
            "interval",
            (name,),
            id=name,
            seconds=period.total_seconds(),
            max_instances=1,
            coalesce=True,
            # The default drops a turn that comes a second late.
            misfire_grace_time=None,
        )

    def start(self) -> None:
        """Begin, inside a running event loop."""
        self._scheduler.start()

    async def stop(self) -> None:
        """Begin nothing more, and let what runs come to its end for a few seconds before it is interrupted."""
        if not self._scheduler.running:
            return
        self._scheduler.pause()
        running = [one.running for one in self._recurring.values() if one.running is not None]
        if running:
            await asyncio.wait(running, timeout=STOP_GRACE_S)
        self._scheduler.shutdown(wait=False)
        await asyncio.gather(*running, return_exceptions=True)

    async def run(self, name: str) -> None:
        """One turn of the work called `name`."""
        recurring = self._recurring[name]
        recurring.running = asyncio.current_task()
        try:
            with working(Observed.TURN, of=name):
                await recurring.work()
            recurring.succeeded_at = self._clock.now()
        except Exception:
            logger.exception(WORK_FAILED, work=name, reference=secrets.token_hex(4))
        finally:
            recurring.running = None

    def stale(self) -> list[str]:
        """The names of work that has not come to a good end for too long."""
        now = self._clock.now()
        return [one.name for one in self._recurring.values() if now - one.succeeded_at > max(SLOWEST, 10 * one.period)]
