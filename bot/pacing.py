"""How fast Slack takes messages: about one a second in a channel, short bursts allowed; edits by the workspace."""

from dataclasses import dataclass, field
from datetime import datetime

EDITS = "edits"
"""The pace of chat.update, which Slack limits for the workspace as a whole."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Messages a second in one channel, edits a second in all, and how many of each may go out at once."""

    messages_per_second: float = 1.0
    message_burst: int = 5
    edits_per_second: float = 1.0
    edit_burst: int = 20


@dataclass(slots=True)
class Paces:
    """A bucket of tokens for each channel's messages, and one for edits."""

    pace: Pace
    buckets: dict[str, "_Bucket"] = field(default_factory=dict)

    def take(self, key: str, now: datetime) -> bool:
        """Whether one more may go out now; `key` is a channel or EDITS."""
        return self._bucket(key, now).take(now)

    def hold(self, key: str, until: datetime) -> None:
        """Let nothing out before `until`."""
        bucket = self._bucket(key, until)
        bucket.held_until = max(until, bucket.held_until or until)

    def _bucket(self, key: str, now: datetime) -> "_Bucket":
        if key not in self.buckets:
            edits = key == EDITS
            rate = self.pace.edits_per_second if edits else self.pace.messages_per_second
            burst = self.pace.edit_burst if edits else self.pace.message_burst
            self.buckets[key] = _Bucket(rate, burst, float(burst), now)
        return self.buckets[key]


@dataclass(slots=True)
class _Bucket:
    """Tokens that come back with time; while it is held there are none."""

    per_second: float
    burst: int
    tokens: float
    at: datetime
    held_until: datetime | None = None

    def take(self, now: datetime) -> bool:
        if self.held_until is not None and now < self.held_until:
            return False
        self.tokens = min(self.burst, self.tokens + (now - self.at).total_seconds() * self.per_second)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True
