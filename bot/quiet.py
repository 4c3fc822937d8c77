"""Quiet hours: a span of the day in somebody's time zone in which they are told of nothing that can wait."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

EVERY_DAY = frozenset(range(7))
A_DAY = timedelta(days=1)
LONGEST_CHAIN = 8
"""From how many days on quiet spans without a gap are over all the same: else who is never reached waits for ever."""


class Held(Exception):
    """What was to be told waits until quiet hours are over."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"Held through quiet hours, until {until.isoformat()}.")
        self.until = until


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `start` to `end` by the clocks of `zone` (an IANA name), past midnight where the end is earlier; equal means
    a whole day. `days` are those on which it begins, Monday being 0."""

    start: time
    end: time
    zone: str = "UTC"
    days: frozenset[int] = EVERY_DAY

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M} {self.zone} {''.join(map(str, sorted(self.days)))}"

    def until(self, now: datetime) -> datetime | None:
        """When the quiet that holds now is over; None when it doesn't hold. Spans that touch are one."""
        over: datetime | None = None
        for _ in range(LONGEST_CHAIN):
            following = self._end_of_span(over or now)
            if following is None:
                break
            over = following
        return over

    def _end_of_span(self, moment: datetime) -> datetime | None:
        """The end of the span in which the moment is, in UTC as `moment` is."""
        zone = ZoneInfo(self.zone)
        for day in _around(moment.astimezone(zone).date()):
            if day.weekday() not in self.days:
                continue
            begins = datetime.combine(day, self.start, zone).astimezone(moment.tzinfo)
            last = day if self.end > self.start else day + A_DAY
            ends = datetime.combine(last, self.end, zone).astimezone(moment.tzinfo)
            if begins <= moment < ends:
                return ends
        return None


def _around(day: date) -> Iterator[date]:
    yield day
    yield day - A_DAY
