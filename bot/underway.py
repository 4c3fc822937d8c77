"""What people asked for and were told is coming: it is let come to its end before Sluice stops.

Slack does not deliver again what was acknowledged, and Bolt carries it out in tasks that nobody awaits.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

GRACE_S = 5.0
INTERRUPTED = "slack.interrupted"

logger = structlog.get_logger(__name__)


class Underway:
    """The tasks that carry out what was acknowledged."""

    def __init__(self) -> None:
        self._tasks = set[asyncio.Task[object]]()

    @contextmanager
    def tracked(self) -> Iterator[None]:
        """Count the current task as under way while the block runs."""
        task = asyncio.current_task()
        assert task is not None, "whatever is awaited runs in a task"
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    async def ended(self) -> None:
        """Return when all of it came to its end; what takes longer than GRACE_S is interrupted and logged."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=GRACE_S)
        if late:
            logger.error(INTERRUPTED, count=len(late))
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
