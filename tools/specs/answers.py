"""What a server's answer says besides its content: how long to leave it alone, whether it is what was there before, how
it is packed."""

import re
import zlib
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Generic, Protocol, TypeVar

import httpx

from tools.clock import written
from tools.retry_after import retry_after
from tools.specs.base import SpecSourceUnavailable

OVERLOADED = 529
"""Notion's word for too many requests of everybody together (developers.notion.com/reference/request-limits)."""
LONGEST_WAIT = timedelta(hours=2)
_LIMIT = re.compile(rb"rate[ _]?limit|dailyLimitExceeded", re.IGNORECASE)
_TOO_LARGE = b"exportSizeLimitExceeded"
MOST_MEMBERS = 100
"""Of one body: each costs a start, however little is in it."""
_GZIP = 16 + zlib.MAX_WBITS
KEPT_ANSWERS, KEPT_BYTES = 500, 16 * 1024 * 1024

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: where it came from at last, its media type without parameters, and its bytes, decompressed."""

    url: httpx.URL
    media_type: str
    body: bytes
    headers: httpx.Headers = field(default_factory=httpx.Headers)


@dataclass(slots=True)
class Kept:
    """Answers that a server can say are still right: by what was asked, the newest last."""

    answers: OrderedDict[tuple[str, str], tuple[str, Fetched]] = field(default_factory=OrderedDict)
    size: int = 0

    def get(self, key: tuple[str, str]) -> tuple[str, Fetched] | None:
        """The tag of what was answered, and the answer."""
        found = self.answers.get(key)
        if found is not None:
            self.answers.move_to_end(key)
        return found

    def keep(self, key: tuple[str, str], tag: str, fetched: Fetched) -> None:
        self.forget(key)
        self.answers[key] = tag, fetched
        self.size += len(fetched.body)
        while len(self.answers) > KEPT_ANSWERS or self.size > KEPT_BYTES:
            self.forget(next(iter(self.answers)))

    def forget(self, key: tuple[str, str]) -> None:
        if key in self.answers:
            self.size -= len(self.answers.pop(key)[1].body)


@dataclass(slots=True)
class Contents(Generic[K]):
    """Contents by a key under which they never change, those used last kept, bounded in number and in bytes."""

    kept: OrderedDict[K, bytes] = field(default_factory=OrderedDict)
    size: int = 0

    def get(self, key: K) -> bytes | None:
        """What is kept under that key."""
        content = self.kept.get(key)
        if content is not None:
            self.kept.move_to_end(key)
        return content

    def keep(self, key: K, content: bytes) -> None:
        """Keep it unless it is too large, and let go of what was not used for longest."""
        if len(content) > KEPT_BYTES:
            return
        self.size += len(content) - len(self.kept.pop(key, b""))
        self.kept[key] = content
        while len(self.kept) > KEPT_ANSWERS or self.size > KEPT_BYTES:
            self.size -= len(self.kept.popitem(last=False)[1])


class Unpacking(Protocol):
    """How a body is unpacked as it comes."""

    def unpack(self, piece: bytes, most: int) -> bytes:
        """The next of it, `most` bytes at most. Raises SpecSourceUnavailable."""
        ...

    def finish(self) -> None:
        """Raise SpecSourceUnavailable unless the body has come whole."""
        ...


class Plain:
    """A body that is not packed."""

    def unpack(self, piece: bytes, _most: int) -> bytes:
        """The piece as it is."""
        return piece

    def finish(self) -> None:
        """The connection knows whether it came whole."""


class Gzip:
    """Members of gzip one after another (RFC 1952), each checked to its end; zeros behind one are padding."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._member = zlib.decompressobj(_GZIP)
        self._members = 1

    def unpack(self, piece: bytes, most: int) -> bytes:
        """The next of what is in them, `most` bytes at most. Raises SpecSourceUnavailable."""
        found = self._of_member(piece, most)
        while self._member.eof and len(found) < most and (rest := self._member.unused_data.lstrip(b"\0")):
            self._begin()
            found += self._of_member(rest, most - len(found))
        return found

    def finish(self) -> None:
        """Raise SpecSourceUnavailable unless the last member has ended."""
        if not self._member.eof:
            raise SpecSourceUnavailable(f"{self._host} answered gzip that was cut off; try again.")

    def _of_member(self, piece: bytes, most: int) -> bytes:
        try:
            return self._member.decompress(piece, max(most, 1))
        except zlib.error:
            raise SpecSourceUnavailable(f"{self._host} answered broken gzip; try again.") from None

    def _begin(self) -> None:
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise SpecSourceUnavailable(
                f"{self._host} answered in more than {MOST_MEMBERS} pieces of gzip; see what stands before it."
            )
        self._member = zlib.decompressobj(_GZIP)


def unpacking(response: httpx.Response) -> Unpacking:
    """How the body is unpacked. Raises SpecSourceUnavailable for what it was not asked to be packed by."""
    coding = response.headers.get("content-encoding", "identity").strip().lower() or "identity"
    if coding == "identity":
        return Plain()
    if coding not in ("gzip", "x-gzip"):
        raise SpecSourceUnavailable(
            f"{response.request.url.host} answers packed by {coding!r}, which nobody asked for; see what stands before "
            "it."
        )
    return Gzip(response.request.url.host)


def wanted_pause(response: httpx.Response, now: datetime) -> datetime | None:
    """Until when the source wants no more requests, by the headers that vendors use; None where it says nothing.

    Retry-After: RFC 9110. x-ratelimit-remaining and -reset (seconds since 1970): GitHub.
    RateLimit-Remaining and -Reset, the same: GitLab.
    """
    headers = response.headers
    if response.status_code in (403, 429, 503, OVERLOADED) and "retry-after" in headers:
        stated = retry_after(headers, now)
        if stated is not None:
            return now + timedelta(seconds=min(stated, LONGEST_WAIT.total_seconds()))
    for prefix in ("x-ratelimit", "ratelimit"):
        if headers.get(f"{prefix}-remaining") == "0" and headers.get(f"{prefix}-reset", "").isdecimal():
            # As floating point numbers, which take any number of digits.
            return datetime.fromtimestamp(min(float(headers[f"{prefix}-reset"]), 2.0**33), UTC)
    return None


def is_limit(said: bytes) -> bool:
    """Whether a refusal (403) means too many requests, though no header says so.

    GitHub says so of its secondary limits by a message (docs.github.com/rest/using-the-rest-api), Drive by a reason
    (developers.google.com/workspace/drive/api/guides/handle-errors).
    """
    return _LIMIT.search(said) is not None


def is_too_large(said: bytes) -> bool:
    """Whether a refusal (403) means that Drive exports no such large document."""
    return _TOO_LARGE in said


def quiet(host: str, until: datetime) -> str:
    return f"{host} wants no more requests until {written(until, seconds=True)}; Sluice asks again after that."
