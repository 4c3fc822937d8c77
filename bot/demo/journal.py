"""Sluice's decision log and gate checks, read from its database while it runs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from tools.records import log
from tools.records.database import Database
from tools.records.log import Event
from tools.records.models import GateCheck
from tools.rollouts.events import Happening


class Journal:
    """The events so far, oldest first; `refresh` adds what came since."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.events: list[Event] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._database.close()

    async def refresh(self) -> Sequence[Event]:
        """Read on; the new events."""
        after = self.events[-1].seq if self.events else 0
        async with self._database.read() as session:
            new = [event async for event in log.read(session, after=after)]
        self.events += new
        return new

    def of(self, kind: Happening, after: int = 0) -> list[Event]:
        """The events of one kind, after number `after`."""
        return [event for event in self.events if event.kind == kind and event.seq > after]

    async def check_time(self, check_id: str) -> datetime | None:
        """When the gate check with that id was made, None when there is none."""
        async with self._database.read() as session:
            check = await session.get(GateCheck, check_id)
        return None if check is None else check.at
