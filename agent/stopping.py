"""Work that ends when somebody stops the run."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class Stopped(Exception):
    """Somebody stopped the run."""


class TimeIsUp(Exception):
    """The work took longer than it may."""


async def unless_stopped(
    work: Coroutine[Any, Any, ResultT], stop: asyncio.Event, *, within: float | None = None
) -> ResultT:
    """What the work returns or raises; it is cancelled when the run is stopped first, or after `within` seconds.

    Raises Stopped, TimeIsUp.
    """
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({doing, stopping}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise Stopped if stopping.done() else TimeIsUp
    finally:
        for task in (doing, stopping):
            task.cancel()
        await asyncio.gather(doing, stopping, return_exceptions=True)
