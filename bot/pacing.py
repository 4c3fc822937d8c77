"""How fast Slack takes messages: about one a second in a channel, short bursts allowed; edits by the workspace."""

from dataclasses import dataclass, field
from datetime import datetime

EDITS = "edits"
"""The pace of chat.update, which Slack limits for a workspace as a whole."""


def edits_in(workspace: str) -> str:
    """The key of a workspace's edits."""
    return f"{EDITS}:{workspace}" if workspace else EDITS


def is_of_edits(key: str) -> bool:
    """Whether the key is that of a workspace's edits."""
    return key.partition(":")[0] == EDITS


@dataclass(frozen=True, slots=True)
class Pace:
    """Messages a second in one channel, edits a second in all, and how many of each may go out at once.

    Slack takes one message a second in a channel, and of chat.update some 50 a minute in a workspace with bursts now
    and then (https://docs.slack.dev/apis/web-api/rate-limits); answers to people are edited beside the cards.
    """

    messages_per_second: float = 1.0
    message_burst: int = 5
    edits_per_second: float = 0.75
    edit_burst: int = 10


@dataclass(slots=True)
class Paces:
    """A bucket of tokens for each channel's messages, and one for each workspace's edits."""

    pace: Pace
    buckets: dict[str, "_Bucket"] = field(default_factory=dict)

    def take(self, key: str, now: datetime, *, waiting: int = 1, minor: bool = False) -> bool:
        """Whether one more may go out now of the `waiting` that would; `key` is a channel or a workspace's edits.

        A burst is for the few lines of one event. Where more than that wait, they go out one by one from the first on.
        What is minor leaves half a burst of edits to what happens next.
        """
        left = self.pace.edit_burst // 2 if minor and is_of_edits(key) else 0
        evenly = waiting > self.pace.message_burst and not is_of_edits(key)
        return self._bucket(key, now).take(now, evenly=evenly, left=left)

    def hold(self, key: str, until: datetime) -> None:
        """Let nothing out before `until`."""
        bucket = self._bucket(key, until)
        bucket.held_until = max(until, bucket.held_until or until)

    def _bucket(self, key: str, now: datetime) -> "_Bucket":
        if key not in self.buckets:
            edits = is_of_edits(key)
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

    def take(self, now: datetime, *, evenly: bool, left: int) -> bool:
        if self.held_until is not None and now < self.held_until:
            return False
        self.tokens = min(self.burst, self.tokens + (now - self.at).total_seconds() * self.per_second)
        self.at = now
        if evenly:
            self.tokens = min(self.tokens, 1.0)
        if self.tokens < 1 + left:
            return False
        self.tokens -= 1
        return True
