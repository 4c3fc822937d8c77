"""Time, injected: nothing in `tools` asks the system for it directly."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> datetime:
        """The present moment, timezone-aware, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class ManualClock:
    """A clock that moves only when told, for tests and replays. `sleep` moves it and yields once."""

    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    on_sleep: Callable[[float], Awaitable[None]] | None = field(default=None, repr=False)

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds` (never back)."""
        if seconds < 0:
            raise ValueError("a clock does not go back")
        self.at += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        if self.on_sleep is not None:
            await self.on_sleep(seconds)
            return
        self.advance(seconds)
        await asyncio.sleep(0)


def written(moment: datetime, *, seconds: bool = False, zone: tzinfo = UTC) -> str:
    """A moment for people: `31 Jan 2026 14:00 UTC`, which whoever shows it can find and put into another zone."""
    there = moment.astimezone(zone)
    return f"{there:{'%d %b %Y %H:%M:%S' if seconds else '%d %b %Y %H:%M'}} {_short_name(there)}"


def _short_name(moment: datetime) -> str:
    """What its zone is called at that moment; where it is called by its offset alone, from what that is counted."""
    name = moment.tzname() or ""
    if not name.startswith(("+", "-")):
        return name
    hours, minutes = name[:3], name[3:]
    return f"UTC{hours}:{minutes}" if minutes else f"UTC{hours}"


def exactly(duration: timedelta) -> str:
    """A duration for people to the second, where a rounded one would hide a difference: `10 h 20 min`, `2 min 2 s`."""
    rest, found = max(0, round(duration.total_seconds())), list[str]()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        whole, rest = divmod(rest, size)
        if whole:
            found.append(f"{whole} {unit}")
    return " ".join(found) or "0 s"


def in_words(duration: timedelta) -> str:
    """A duration for people, rounded, in the largest unit that there are two of: `90 s`, `45 min`, `2.5 h`, `14 d`."""
    seconds = duration.total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            units = seconds / size
            return f"{units:.2g} {unit}" if units < 9.95 else f"{units:.0f} {unit}"
    return f"{seconds:.0f} s"
