"""What changed, in order: the page follows it, and a late follower catches up or starts over."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """One change. `number` counts from 1 without gaps; `data` is JSON."""

    number: int
    kind: str
    data: dict[str, Any]


class Feed:
    """The last `depth` changes, and a way to wait for the next."""

    def __init__(self, depth: int = 2000) -> None:
        self._changes: deque[Change] = deque(maxlen=depth)
        self._number = 0
        self._news = asyncio.Event()
        self._closed = False

    @property
    def number(self) -> int:
        """The number of the newest change."""
        return self._number

    def publish(self, kind: str, data: dict[str, Any]) -> None:
        """Append a change and wake every follower."""
        self._number += 1
        self._changes.append(Change(self._number, kind, data))
        self._wake()

    def close(self) -> None:
        """End every `follow`."""
        self._closed = True
        self._wake()

    async def follow(self, after: int) -> AsyncIterator[Change]:
        """Changes newer than `after`, for ever. A follower that fell too far behind gets one `resync` instead."""
        while not self._closed:
            news = self._news
            if after > self._number or (self._changes and after < self._changes[0].number - 1):
                after = self._number
                yield Change(after, "resync", {})
            for change in [change for change in self._changes if change.number > after]:
                after = change.number
                yield change
            if after == self._number and not self._closed:
                await news.wait()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
