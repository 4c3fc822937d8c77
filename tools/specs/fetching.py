"""The one way to a spec over HTTP: to hosts that the settings allow, at addresses that were checked, within bounds.

A redirect is followed by hand, each step checked as the first was; credentials go to their own origin alone. An
answer's size is counted as it comes and as it unpacks. What a source says of its limits is heeded by every later
request, and an answer that it has tagged is asked for by its tag, which spares those limits.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from tools.clock import Clock, SystemClock
from tools.specs.answers import (
    LONGEST_WAIT,
    OVERLOADED,
    Fetched,
    Kept,
    is_limit,
    is_too_large,
    quiet,
    unpacking,
    wanted_pause,
)
from tools.specs.base import SpecNotFound, SpecSourceUnavailable
from tools.specs.pinning import PORTS, Bounds, NotAllowedThere, PinnedTransport

MOST_REDIRECTS = 4
TRIES = 3
UNSAID_PAUSE = timedelta(minutes=1)
"""As GitHub has it; Drive counts by the minute."""

SHORT_PAUSE = timedelta(seconds=4)
"""What whoever waits for a spec waits for; longer pauses are said instead."""
AGENT = "sluice (feature rollouts)"
PASSING = frozenset({500, 502, 503, 504, OVERLOADED})
"""Statuses after which the same request may succeed."""
_JITTERED = wait_exponential_jitter(multiplier=0.2, max=2, jitter=0.3)


Credentials = Callable[["Fetcher"], Awaitable[Mapping[str, str]]]


class TooManyRequests(SpecSourceUnavailable):
    """The source wants no more requests until `until`."""

    def __init__(self, message: str, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class _Again(Exception):
    """A request that may be sent again."""

    def __init__(self, error: SpecSourceUnavailable) -> None:
        super().__init__(str(error))
        self.error = error


class Fetcher:
    """Reads what one source's settings allow. `credentials` are sent to `origin` alone, and in no error.

    `credentials` is asked at each request, so that a file's token may change. It answers headers, and may fetch.
    """

    def __init__(
        self,
        bounds: Bounds,
        *,
        origin: httpx.URL | None = None,
        credentials: "Credentials | None" = None,
        headers: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bounds = bounds
        self._origin = origin
        self._credentials = credentials
        self._headers = {**(headers or {}), "User-Agent": AGENT, "Accept-Encoding": "gzip"}
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._client = httpx.AsyncClient(
            transport=transport or PinnedTransport(bounds),
            timeout=bounds.timeout.total_seconds(),
            follow_redirects=False,
            trust_env=False,
        )
        self._kept = Kept()
        self._quiet_until: dict[str, datetime] = {}

    @property
    def bounds(self) -> Bounds:
        """Where requests may go."""
        return self._bounds

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def get(
        self,
        url: str | httpx.URL,
        *,
        accept: Collection[str],
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Fetched:
        """What is at that address, in one of the media types of `accept`; with `form` or `body` it is asked by POST.

        Raises SpecNotFound for 404 and 410, NotAllowedThere, TooManyRequests, SpecSourceUnavailable.
        """
        wanted = _parsed(url)
        if query:
            wanted = wanted.copy_merge_params(query)
        try:
            async with asyncio.timeout(self._bounds.timeout.total_seconds()):
                return await self._patiently(wanted, tuple(accept), form, body)
        except TimeoutError:
            raise SpecSourceUnavailable(
                f"{wanted.host} did not answer within {self._bounds.timeout.total_seconds():g} s; see whether it is "
                "up, or set the source's timeout longer."
            ) from None

    async def _patiently(
        self, url: httpx.URL, accept: tuple[str, ...], form: Mapping[str, str] | None, body: object
    ) -> Fetched:
        """The answer, a short pause later where the source asks for one."""
        for _ in range(TRIES - 1):
            try:
                return await self._persistently(url, accept, form, body)
            except TooManyRequests as error:
                pause = error.until - self._clock.now()
                if pause > SHORT_PAUSE:
                    raise
                await self._sleep(max(pause.total_seconds(), 0) + random.uniform(0, 0.5))  # noqa: S311 - no secret
        return await self._persistently(url, accept, form, body)

    async def _persistently(
        self, url: httpx.URL, accept: tuple[str, ...], form: Mapping[str, str] | None, body: object
    ) -> Fetched:
        tries = AsyncRetrying(
            stop=stop_after_attempt(TRIES),
            wait=_JITTERED,
            retry=retry_if_exception_type(_Again),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            async for attempt in tries:
                with attempt:
                    return await self._along_redirects(url, accept, form, body)
        except _Again as last:
            raise last.error from None
        raise AssertionError("a try returns or raises")

    async def _along_redirects(
        self, url: httpx.URL, accept: tuple[str, ...], form: Mapping[str, str] | None, body: object
    ) -> Fetched:
        key = (str(url), ",".join(accept))
        plain = form is None and body is None
        there = url
        for _ in range(MOST_REDIRECTS + 1):
            self._check(there)
            tag, kept = (self._kept.get(key) if plain and there == url else None) or (None, None)
            request = await self._request(there, accept, form, body, tag)
            answer = await self._once(request, accept, kept)
            if isinstance(answer, Fetched):
                if plain and there == url and (fresh := answer.headers.get("etag")):
                    self._kept.keep(key, fresh, answer)
                return answer
            if not plain:
                raise SpecSourceUnavailable(
                    f"{there.host} sends a request elsewhere that is no plain read: see its url."
                )
            there = _followed(there, answer)
        raise SpecSourceUnavailable(f"{url.host} redirects more than {MOST_REDIRECTS} times; name where it leads to.")

    def _check(self, url: httpx.URL) -> None:
        """Raise unless requests may go there now."""
        if url.userinfo:
            raise NotAllowedThere("An address must not have a name or a password in it; set the source's token.")
        own = self._origin is not None and _origin(url) == _origin(self._origin)
        if url.scheme != "https" and not (url.scheme == "http" and own):
            raise NotAllowedThere(f"{url.host} must be asked over https; http is only for a source's own url.")
        if not self._bounds.allow(url.host):
            raise NotAllowedThere(f"{url.host} is on no list of hosts that specs may be read from; see specs.source.")
        if not (own or self._bounds.allow_port(url)):
            raise NotAllowedThere(
                f"{url.host} may be asked at port {PORTS['https']} alone; another is allowed where an address in the "
                "source's settings names it."
            )
        until = self._quiet_until.get(url.host)
        if until is not None and until > self._clock.now():
            raise TooManyRequests(quiet(url.host, until), until)

    async def _request(
        self, url: httpx.URL, accept: tuple[str, ...], form: Mapping[str, str] | None, body: object, tag: str | None
    ) -> httpx.Request:
        headers = {**self._headers, "Accept": ", ".join(accept)}
        if tag is not None:
            headers["If-None-Match"] = tag
        if self._credentials is not None and self._origin is not None and _origin(url) == _origin(self._origin):
            headers |= await self._credentials(self)
        method = "GET" if form is None and body is None else "POST"
        return self._client.build_request(
            method, url, headers=headers, data=dict(form) if form is not None else None, json=body
        )

    async def _once(
        self, request: httpx.Request, accept: tuple[str, ...], kept: Fetched | None
    ) -> Fetched | httpx.Response:
        """The answer, or the response that leads elsewhere."""
        host = request.url.host
        try:
            response = await self._client.send(request, stream=True)
            try:
                return await self._answer(response, accept, kept)
            finally:
                await response.aclose()
        except httpx.TimeoutException:
            raise TimeoutError from None
        except httpx.InvalidURL:
            # The client looks at where a redirect leads even though it does not follow it.
            raise SpecSourceUnavailable(f"{host} redirects to what is no address; see its url.") from None
        except httpx.TransportError as error:
            raise _Again(
                SpecSourceUnavailable(f"{host} can't be reached ({type(error).__name__}); see whether it is up.")
            ) from None

    async def _answer(
        self, response: httpx.Response, accept: tuple[str, ...], kept: Fetched | None
    ) -> Fetched | httpx.Response:
        url, status = response.request.url, response.status_code
        self._heed_limits(response)
        said = await self._said(response) if status == httpx.codes.FORBIDDEN else b""
        if is_limit(said):
            self._be_quiet(url.host, self._clock.now() + UNSAID_PAUSE, refused=True)
        if is_too_large(said):
            raise SpecSourceUnavailable(
                f"{url.host} exports nothing as large as {_shown(url)}; name something smaller."
            )
        if status == httpx.codes.NOT_MODIFIED and kept is not None:
            return kept
        if response.has_redirect_location:
            return response
        if status in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
            raise SpecNotFound(f"{url.host} has nothing at {_shown(url)}, or does not show it to this token.")
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise SpecSourceUnavailable(
                f"{url.host} refuses to show {_shown(url)} ({status}); see the source's token and what it may read."
            )
        if status in PASSING:
            raise _Again(SpecSourceUnavailable(f"{url.host} is busy or away ({status}); see how it does."))
        if not response.is_success:
            raise SpecSourceUnavailable(
                f"{url.host} did not answer {_shown(url)} ({status}); see the source's settings."
            )
        media_type = response.headers.get("content-type", "").split(";")[0].strip().lower()
        if not any(_matches(media_type, one) for one in accept):
            raise SpecSourceUnavailable(
                f"{url.host} answered {_shown(url)} with {media_type or 'no content type'}, which is none of "
                f"{', '.join(accept)}; name another address."
            )
        return Fetched(url, media_type, await self._body(response), response.headers)

    async def _said(self, response: httpx.Response) -> bytes:
        """What a vendor says of a refusal; others' pages are nobody's concern, nor what can't be read of one."""
        if "json" not in response.headers.get("content-type", ""):
            return b""
        try:
            return await self._body(response)
        except SpecSourceUnavailable:
            # That it refuses is known, and is said.
            return b""

    def _heed_limits(self, response: httpx.Response) -> None:
        """Remember until when the source wants no requests. Raises TooManyRequests when this one was too many."""
        host, now = response.request.url.host, self._clock.now()
        until = wanted_pause(response, now)
        refused = response.status_code in (429, 403) and until is not None
        if until is None and response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            until, refused = now + UNSAID_PAUSE, True
        if until is not None:
            self._be_quiet(host, min(until, now + LONGEST_WAIT), refused=refused)

    def _be_quiet(self, host: str, until: datetime, *, refused: bool) -> None:
        self._quiet_until[host] = until
        if refused:
            raise TooManyRequests(quiet(host, until), until)

    async def _body(self, response: httpx.Response) -> bytes:
        """The bytes, counted as they come and as they unpack, so that a small answer can't become a large one."""
        largest, parts, size, raw = self._bounds.largest, list[bytes](), 0, 0
        too_large = SpecSourceUnavailable(
            f"{response.request.url.host} answered more than {largest // 1024} KB; name something smaller."
        )
        stated = response.headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > largest:
            raise too_large
        packed = unpacking(response)
        async for piece in response.aiter_raw():
            raw += len(piece)
            parts.append(packed.unpack(piece, largest - size + 1))
            size += len(parts[-1])
            if size > largest or raw > largest:
                raise too_large
        packed.finish()
        return b"".join(parts)


def bearer(token: str) -> dict[str, str]:
    """How most vendors are shown a token (RFC 6750)."""
    return {"Authorization": f"Bearer {token}"}


def _followed(there: httpx.URL, response: httpx.Response) -> httpx.URL:
    try:
        return there.join(response.headers["location"])
    except (httpx.InvalidURL, ValueError):
        raise SpecSourceUnavailable(f"{there.host} redirects to what is no address; see its url.") from None


def _parsed(url: str | httpx.URL) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise NotAllowedThere("That is no address; write it like https://specs.example.com/checkout.") from None
    if not parsed.host:
        raise NotAllowedThere("That is no address; write it like https://specs.example.com/checkout.")
    return parsed.copy_with(fragment=None)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host.lower(), url.port or PORTS.get(url.scheme)


def _matches(media_type: str, wanted: str) -> bool:
    return media_type == wanted or (wanted.endswith("/*") and media_type.startswith(wanted[:-1]))


def _shown(url: httpx.URL) -> str:
    """The path alone: a query may hold what nobody should read."""
    return url.path[:200]
