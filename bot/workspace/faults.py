"""What can be made to go wrong: rate limits, an outage, deliveries that arrive more than once."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from tools.clock import Clock

OutageMode = Literal["unavailable", "refused"]
EVERY_METHOD = "*"


@dataclass
class RateLimit:
    """429 for `method` (or every one) until `times` calls were refused or `until` has come."""

    method: str
    retry_after: int
    times: int | None
    until: datetime | None


@dataclass
class Outage:
    """Slack is away: `unavailable` answers 503, `refused` drops the connection without an answer."""

    mode: OutageMode
    until: datetime | None


@dataclass
class _Bucket:
    tokens: float
    at: datetime


@dataclass
class Faults:
    """The switches, and the questions that the servers ask before they serve."""

    clock: Clock
    messages_per_second: float | None = None
    message_burst: int = 5
    limits: list[RateLimit] = field(default_factory=list)
    copies: int = 1
    _outage: Outage | None = None
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def limit(
        self,
        method: str = EVERY_METHOD,
        *,
        times: int | None = None,
        seconds: float | None = None,
        retry_after: int = 1,
    ) -> None:
        """Answer 429 to `method`, `times` times or for `seconds` (neither: once)."""
        if times is None and seconds is None:
            times = 1
        self.limits.append(RateLimit(method, retry_after, times, self._after(seconds)))

    def begin_outage(self, mode: OutageMode = "unavailable", *, seconds: float | None = None) -> None:
        """Take Slack away, for `seconds` or until `end_outage`."""
        self._outage = Outage(mode, self._after(seconds))

    def end_outage(self) -> None:
        """Slack is back."""
        self._outage = None

    def duplicate(self, copies: int) -> None:
        """Deliver everything `copies` times from now on (1: once, as usual)."""
        if copies < 1:
            raise ValueError("a delivery has at least one copy")
        self.copies = copies

    def clear(self) -> None:
        """Everything works again."""
        self.limits.clear()
        self._buckets.clear()
        self._outage = None
        self.copies = 1

    @property
    def outage(self) -> OutageMode | None:
        """How Slack is away now, if it is."""
        if self._outage is None or (self._outage.until is not None and self.clock.now() >= self._outage.until):
            return None
        return self._outage.mode

    def retry_after(self, method: str) -> int | None:
        """Seconds that this call is told to wait, or None when it may proceed. Counts the refusal."""
        now = self.clock.now()
        self.limits = [
            limit for limit in self.limits if limit.times != 0 and (limit.until is None or now < limit.until)
        ]
        for limit in self.limits:
            if limit.method in (EVERY_METHOD, method):
                if limit.times is not None:
                    limit.times -= 1
                return limit.retry_after
        return None

    def channel_retry_after(self, channel: str) -> int | None:
        """Seconds to wait before the next message into `channel`, or None; takes a place in its bucket."""
        if self.messages_per_second is None:
            return None
        now = self.clock.now()
        bucket = self._buckets.setdefault(channel, _Bucket(float(self.message_burst), now))
        elapsed = (now - bucket.at).total_seconds()
        bucket.tokens = min(float(self.message_burst), bucket.tokens + elapsed * self.messages_per_second)
        bucket.at = now
        if bucket.tokens < 1:
            return max(1, round((1 - bucket.tokens) / self.messages_per_second))
        bucket.tokens -= 1
        return None

    def as_json(self) -> dict[str, Any]:
        """The switches as they stand."""
        return {
            "outage": self.outage,
            "copies": self.copies,
            "limits": [
                {"method": limit.method, "retry_after": limit.retry_after, "times": limit.times}
                for limit in self.limits
            ],
        }

    def _after(self, seconds: float | None) -> datetime | None:
        return None if seconds is None else self.clock.now() + timedelta(seconds=seconds)
