"""Brings commands, interactions and events to the app, and its acknowledgement back.

An event that is not acknowledged in time is delivered again, as Slack does: at once, after a minute, after five. A
command or an interaction is delivered once, because a person is waiting for it.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from bot.workspace.faults import Faults
from bot.workspace.records import Json

log = logging.getLogger(__name__)

MOST_WAITS = 10_000

Kind = Literal["events_api", "slash_commands", "interactive"]


class DeliveryFailed(Exception):
    """One attempt was not acknowledged. `reason` is Slack's word for why."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


@dataclass(frozen=True)
class Attempt:
    """One delivery on its way. `number` is 0 for the first, `reason` says why there is another."""

    kind: Kind
    payload: Json
    number: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Acknowledgement:
    """How a delivery went. `failure` is None when the app acknowledged, with `body` if it sent one."""

    body: Json = field(default_factory=dict)
    failure: str | None = None
    attempts: int = 1
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the app acknowledged."""
        return self.failure is None


class Transport(Protocol):
    """A way to reach the app."""

    async def attempt(self, attempt: Attempt) -> Json:
        """Deliver once and return the acknowledgement's body. Raises `DeliveryFailed`."""
        ...


class Courier:
    """Delivers over one transport, with retries for events, and knows what is still under way.

    `waits`: the seconds that the newest acknowledgements took.
    """

    def __init__(self, transport: Transport, faults: Faults, retry_delays: tuple[float, ...]) -> None:
        self._transport = transport
        self._faults = faults
        self._retry_delays = retry_delays
        self._under_way: set[asyncio.Task[Any]] = set()
        self.dead_letters: list[Json] = []
        self.waits = deque[float](maxlen=MOST_WAITS)

    async def ask(self, kind: Kind, payload: Json) -> Acknowledgement:
        """Deliver once (and its duplicates, when that fault is on); wait for the acknowledgement."""
        for _ in range(self._faults.copies - 1):
            self._start(self._try_once(Attempt(kind, payload)))
        return await self._try_once(Attempt(kind, payload))

    def tell(self, payload: Json) -> None:
        """Deliver an event in the background until it is acknowledged or the retries are used up."""
        for _ in range(self._faults.copies):
            self._start(self._insist(payload))

    async def idle(self) -> None:
        """Return when nothing is under way any more."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _insist(self, payload: Json) -> None:
        reason = ""
        for number, delay in enumerate((0.0, *self._retry_delays)):
            if delay:
                await asyncio.sleep(delay)
            try:
                await self._reach(Attempt("events_api", payload, number, reason))
            except DeliveryFailed as failure:
                reason = failure.reason
                log.info("event %s not acknowledged: %s", payload.get("event_id"), reason)
                if failure.final:
                    break
            else:
                return
        self.dead_letters.append(payload)

    async def _try_once(self, attempt: Attempt) -> Acknowledgement:
        started = time.monotonic()
        try:
            body = await self._reach(attempt)
        except DeliveryFailed as failure:
            return Acknowledgement(failure=failure.reason, seconds=time.monotonic() - started)
        return Acknowledgement(body=body, seconds=time.monotonic() - started)

    async def _reach(self, attempt: Attempt) -> Json:
        if self._faults.outage is not None:
            raise DeliveryFailed("connection_failed")
        started = time.monotonic()
        body = await self._transport.attempt(attempt)
        self.waits.append(time.monotonic() - started)
        return body
