"""A metric server over HTTP: credentials that are never shown, bounded time and size, tries again where it may help."""

import asyncio
import math
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from tools.metrics.base import BadSource, MetricSourceUnavailable

LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes."""

TRIES = 3
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
CONNECTIONS = 8
PASSING = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where a source is and how to get in: a token, or a file with one that is read anew for each request.

    A name and a password may be in the URL. `ca_file` has the certificates of who signed the server's.
    """

    url: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a server answered."""

    status: int
    content_type: str
    body: bytes


class _Again(Exception):
    """The request failed in a way that may pass: why, and how many seconds the server asks to wait."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.wait_s = wait_s


class HttpApi:
    """Requests to one server. Raises BadSource for an address, a file or a combination that can't be used."""

    def __init__(self, access: Access, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        url = _parsed(access.url)
        if access.token is not None and access.token_file is not None:
            raise BadSource("A source has a token or a token_file, not both: remove one.", field="token_file")
        self._access = access
        self._timeout_s = access.timeout.total_seconds()
        self.place = str(url.copy_with(username=None, password=None)).rstrip("/")
        self._auth = httpx.BasicAuth(url.username, url.password) if url.username or url.password else None
        if self._auth is not None and (access.token or access.token_file):
            raise BadSource("A source has a password in its url or a token, not both: remove one.", field="url")
        self._client = httpx.AsyncClient(
            transport=transport,
            # Reading all the certificates that there are takes its time.
            verify=_trusted(access.ca_file) if url.scheme == "https" else False,
            timeout=self._timeout_s,
            limits=httpx.Limits(max_connections=CONNECTIONS),
        )

    async def post(self, path: str, form: Mapping[str, str]) -> Answered:
        """Send the form. Raises MetricSourceUnavailable when there is no answer in time, after some tries."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._persistently(path, form)
        except TimeoutError:
            raise MetricSourceUnavailable(
                f"{self.place} did not answer within {self._timeout_s:g} s: see whether it is up, make the metric's "
                "query narrower, or the source's timeout longer."
            ) from None

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _persistently(self, path: str, form: Mapping[str, str]) -> Answered:
        tries = AsyncRetrying(
            stop=stop_after_attempt(TRIES), wait=_pause, retry=retry_if_exception_type(_Again), reraise=True
        )
        try:
            async for attempt in tries:
                with attempt:
                    return await self._once(path, form)
        except _Again as error:
            raise MetricSourceUnavailable(f"{self.place} {error.why}.") from None
        raise AssertionError("a try returns or raises")

    async def _once(self, path: str, form: Mapping[str, str]) -> Answered:
        headers = self._headers()
        try:
            async with self._client.stream(
                "POST", f"{self.place}{path}", data=dict(form), headers=headers, auth=self._auth
            ) as response:
                body = await self._body(response)
        except httpx.TimeoutException:
            raise TimeoutError from None
        except httpx.TransportError as error:
            raise _Again(
                f"can't be reached ({type(error).__name__}): see whether it is up, and the source's url"
            ) from None
        if response.status_code in PASSING:
            why = f"is busy or away (status {response.status_code}{_first_line(body)}): see how it does"
            raise _Again(why, _seconds(response.headers.get("retry-after")))
        self._refuse_door(response)
        return Answered(response.status_code, response.headers.get("content-type", ""), body)

    def _headers(self) -> dict[str, str]:
        token = self._access.token
        if (file := self._access.token_file) is not None:
            try:
                token = file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                raise MetricSourceUnavailable(f"The source's token_file {file} can't be read: see its path.") from None
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    async def _body(self, response: httpx.Response) -> bytes:
        parts, size = list[bytes](), 0
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size > LARGEST_ANSWER:
                most = LARGEST_ANSWER // 2**20
                raise MetricSourceUnavailable(f"{self.place} answered more than {most} MB: make the query narrower.")
        return b"".join(parts)

    def _refuse_door(self, response: httpx.Response) -> None:
        if response.is_redirect:
            raise MetricSourceUnavailable(f"{self.place} sends elsewhere, which is not followed: correct the url.")
        if response.status_code in (401, 403):
            raise MetricSourceUnavailable(
                f"{self.place} refuses the credentials (status {response.status_code}): set the source's token, its "
                "token_file, or the name and password in its url."
            )


def _pause(state: RetryCallState) -> float:
    """A random part of a pause that doubles, or as long as the server asks."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, _Again) and error.wait_s is not None:
        return error.wait_s
    longest: float = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**state.attempt_number)
    return random.uniform(0, longest)  # noqa: S311 - no secret


def _seconds(retry_after: str | None) -> float | None:
    try:
        wait = float(retry_after or "")
    except ValueError:
        return None
    return wait if math.isfinite(wait) and wait >= 0 else None


def _first_line(body: bytes) -> str:
    lines = body[:200].decode("utf-8", "replace").strip().splitlines()
    return f", {lines[0]}" if lines else ""


def _parsed(given: str | None) -> httpx.URL:
    try:
        url = httpx.URL(given or "")
    except httpx.InvalidURL:
        raise BadSource(
            "The source's url can't be read; write it like https://metrics.example.com.", field="url"
        ) from None
    if url.scheme not in ("http", "https") or not url.host:
        raise BadSource("A source of this type needs a url such as https://metrics.example.com.", field="url")
    return url


def _trusted(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError:
        raise BadSource(f"The source's ca_file {ca_file} has no certificates.", field="ca_file") from None


def reason(said: Any) -> str:
    """The first line of what a server gave as its reason, cut."""
    lines = str(said).strip().splitlines()
    return (lines[0] if lines else "no reason given")[:300]
