"""A metric server over HTTP: credentials that are never shown, bounded time and size, tries again where it may help.

Limits are respected: what a server says by 429 with Retry-After, or by X-RateLimit-Remaining and X-RateLimit-Reset
(seconds, or a moment in seconds since 1970), holds for all requests until then.
"""

import asyncio
import base64
import json
import math
import random
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from tools.clock import SystemClock
from tools.metrics.base import BadSource, MetricSourceUnavailable
from tools.observing import trace_headers
from tools.retry_after import moment, retry_after

LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes."""

TRIES = 3
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
LONGEST_CLOSED_S = 120.0
"""Then it is asked again, whatever it said: a closed source makes rollouts blind, and those that are for too long are
taken back."""
FIRST_MOMENT = 1e9
"""An X-RateLimit-Reset from here on is a moment, and no number of seconds that anybody waits."""
CONNECTIONS = 8
LARGEST_REASON = 4096
"""Bytes of an answer in which a reason is looked for."""
LONGEST_REASON, LONGEST_LINE = 300, 200
MOST_SECRETS = 100
"""How many of the latest that were sent are kept from being shown; a file's may be replaced at any time."""
PASSING = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where a source is and how to get in: a token, or a file with one that is read anew for each request.

    A name and a password may be in the URL. `ca_file` has the certificates of who signed the server's. Some kinds of
    source have more: a second key, the `site` or `region` that the data is in, the `account` or `database`, and by
    which `translation_strategy` a Prometheus calls what OpenTelemetry names.
    """

    url: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout: timedelta = timedelta(seconds=10)
    application_key: str | None = field(default=None, repr=False)
    application_key_file: Path | None = None
    site: str | None = None
    region: str | None = None
    account: int | None = None
    database: str | None = None
    retention: str | None = None
    translation_strategy: str | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """A header that lets in: a value, or a file with it; `name` is the setting that has it."""

    header: str
    value: str | None = field(default=None, repr=False)
    file: Path | None = None
    scheme: str = ""
    name: str = "token"

    def read(self) -> dict[str, str]:
        """The header, none without a value. Raises MetricSourceUnavailable for what can't be read or sent."""
        value = self.value
        if self.file is not None:
            try:
                value = self.file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                raise MetricSourceUnavailable(
                    f"The source's {self.name}_file {self.file} can't be read: see its path."
                ) from None
        if value is not None and not (value.isascii() and value.isprintable()):
            raise MetricSourceUnavailable(f"The source's {self.name} is none that a header can have: copy it again.")
        return {} if value is None else {self.header: f"{self.scheme} {value}".strip()}


def bearer(access: Access, scheme: str = "Bearer") -> Credential:
    """The source's token, as most servers take it."""
    return Credential("Authorization", access.token, access.token_file, scheme)


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
    """Requests to one server, with `credentials`: by default the token, if there is one. `keys` are what to set.

    `passing` says of an answer with a good status why another may follow all the same, as the rest of a sentence that
    begins with the server, of whose words it takes what `reason` leaves; the request is then tried again.
    Raises BadSource for an address, a file or a combination that can't be used.
    """

    def __init__(
        self,
        access: Access,
        *,
        credentials: Sequence[Credential] | None = None,
        keys: str = "the source's token, its token_file, or the name and password in its url",
        passing: Callable[[Answered, Callable[[Any], str]], str | None] = lambda _answered, _reason: None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        url = _parsed(access.url, keys)
        self._credentials = [bearer(access)] if credentials is None else list(credentials)
        for one in self._credentials:
            if one.value is not None and one.file is not None:
                problem = f"A source has a {one.name} or a {one.name}_file, not both: remove one."
                raise BadSource(problem, field=f"{one.name}_file")
        self._keys = keys
        self._passing = passing
        self._closed_until = 0.0
        self._timeout_s = access.timeout.total_seconds()
        self.place = str(url.copy_with(username=None, password=None)).rstrip("/")
        self._sent = dict.fromkeys(_spellings(url.username, url.password))
        self._auth = httpx.BasicAuth(url.username, url.password) if url.username or url.password else None
        if self._auth is not None and any(one.value or one.file for one in self._credentials):
            raise BadSource("A source has a password in its url or a token, not both: remove one.", field="url")
        self._client = httpx.AsyncClient(
            transport=transport,
            # Reading all the certificates that there are takes its time.
            verify=_trusted(access.ca_file) if url.scheme == "https" else False,
            timeout=self._timeout_s,
            limits=httpx.Limits(max_connections=CONNECTIONS),
        )

    async def post(
        self,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        content: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answered:
        """Send a form, or content as JSON. Raises MetricSourceUnavailable when there is no answer in time."""
        request: dict[str, Any] = {"params": dict(params or {})}
        if content is not None:
            request |= {"content": json.dumps(content).encode(), "headers": {"Content-Type": "application/json"}}
        else:
            request |= {"data": dict(form or {}), "headers": {}}
        return await self._send("POST", path, request)

    async def get(self, path: str) -> Answered:
        """Ask for it. Raises MetricSourceUnavailable when there is no answer in time."""
        return await self._send("GET", path, {"headers": {}})

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _send(self, method: str, path: str, request: Mapping[str, Any]) -> Answered:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._persistently(method, path, request)
        except TimeoutError:
            raise MetricSourceUnavailable(
                f"{self.place} did not answer within {self._timeout_s:g} s: see whether it is up, make the metric's "
                "query narrower, or the source's timeout longer."
            ) from None

    async def _persistently(self, method: str, path: str, request: Mapping[str, Any]) -> Answered:
        tries = AsyncRetrying(
            stop=_stop_within(self._timeout_s), wait=_pause, retry=retry_if_exception_type(_Again), reraise=True
        )
        try:
            async for attempt in tries:
                with attempt:
                    return await self._once(method, path, request)
        except _Again as error:
            raise MetricSourceUnavailable(f"{self.place} {error.why}.") from None
        raise AssertionError("a try returns or raises")

    async def _once(self, method: str, path: str, request: Mapping[str, Any]) -> Answered:
        await self._wait_for_limit()
        headers = trace_headers() | request["headers"]
        for credential in self._credentials:
            headers |= self._noted(credential, credential.read())
        url, more = f"{self.place}{path}", {name: value for name, value in request.items() if name != "headers"}
        try:
            async with self._client.stream(method, url, headers=headers, auth=self._auth, **more) as response:
                body = await self._body(response)
        except httpx.TimeoutException:
            raise TimeoutError from None
        except httpx.TransportError as error:
            raise _Again(
                f"can't be reached ({type(error).__name__}): see whether it is up, and the source's url"
            ) from None
        except httpx.DecodingError:
            raise MetricSourceUnavailable(
                f"{self.place} answered in an encoding that can't be unpacked: see what is between it and Sluice."
            ) from None
        except httpx.InvalidURL:
            # The client looks at where a redirect leads even though it does not follow it.
            raise self._elsewhere() from None
        await self._note_limit(response)
        if response.status_code in PASSING:
            why = f"is busy or away (status {response.status_code}{self._said_in(body)}): see how it does"
            raise _Again(why, _asked_to_wait(response))
        self._refuse_door(response)
        answered = Answered(response.status_code, response.headers.get("content-type", ""), body)
        if passes := self._passing(answered, self.reason):
            raise _Again(passes)
        return answered

    def reason(self, said: Any) -> str:
        """The first line of what the server gave as its reason, cut, without what lets in, should it repeat that."""
        # Hidden first, for what is left of a secret that was cut looks like none.
        lines = self._hidden(str(said)).strip().splitlines()
        return (lines[0] if lines else "no reason given")[:LONGEST_REASON]

    def _noted(self, credential: Credential, header: dict[str, str]) -> dict[str, str]:
        """The header, of which is remembered what must not be shown: a file may have another by the answer."""
        for value in header.values():
            if secret := value.removeprefix(credential.scheme).strip():
                self._sent.pop(secret, None)
                self._sent[secret] = None
        while len(self._sent) > MOST_SECRETS:
            del self._sent[next(iter(self._sent))]
        return header

    def _hidden(self, words: str) -> str:
        for secret in sorted(self._sent, key=len, reverse=True):
            words = words.replace(secret, "***")
        return words

    def _said_in(self, body: bytes) -> str:
        text = body[:LARGEST_REASON].decode("utf-8", "replace").strip()
        return f", {self.reason(text)[:LONGEST_LINE]}" if text else ""

    async def _wait_for_limit(self) -> None:
        """Ask nothing that would be refused, and would count against the limit all the same."""
        left = self._closed_until - asyncio.get_running_loop().time()
        if left > LONGEST_PAUSE_S:
            raise MetricSourceUnavailable(
                f"{self.place} allows no more requests for {math.ceil(left)} s: ask less often (planning.check_every), "
                "or have its rate limit raised."
            )
        await asyncio.sleep(max(0.0, left))

    async def _note_limit(self, response: httpx.Response) -> None:
        """Remember for how long the server wants no more, if so; what is short is waited for by the next try."""
        wait = _asked_to_wait(response) or 0.0
        limited = response.status_code == 429 and wait > LONGEST_PAUSE_S
        if limited or (response.status_code != 429 and response.headers.get("x-ratelimit-remaining") == "0"):
            self._closed_until = asyncio.get_running_loop().time() + min(wait, LONGEST_CLOSED_S)
        if limited:
            await self._wait_for_limit()

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
            raise self._elsewhere()
        if response.status_code in (401, 403):
            raise MetricSourceUnavailable(
                f"{self.place} refuses the credentials (status {response.status_code}): set {self._keys}."
            )

    def _elsewhere(self) -> MetricSourceUnavailable:
        return MetricSourceUnavailable(f"{self.place} sends elsewhere, which is not followed: correct the url.")


def _spellings(name: str, password: str) -> list[str]:
    """What of a name and a password in a url must not be shown, in each form in which it is sent (RFC 7617)."""
    sent = base64.b64encode(f"{name}:{password}".encode()).decode()
    return [sent, sent.rstrip("="), password or name] if name or password else []


def _pause(state: RetryCallState) -> float:
    """A random part of a pause that doubles, after as long as the server asks."""
    longest: float = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**state.attempt_number)
    return _stated(state) + random.uniform(0, longest)  # noqa: S311 - no secret


def _stated(state: RetryCallState) -> float:
    """Seconds that the server asks to wait."""
    error = state.outcome.exception() if state.outcome is not None else None
    return (error.wait_s if isinstance(error, _Again) else None) or 0.0


def _stop_within(timeout_s: float) -> Callable[[RetryCallState], bool]:
    tried = stop_after_attempt(TRIES)

    def stop(state: RetryCallState) -> bool:
        # To wait longer than there is time only hides why.
        return tried(state) or (state.seconds_since_start or 0.0) + _stated(state) >= timeout_s

    return stop


def _asked_to_wait(response: httpx.Response) -> float | None:
    """Seconds until the server takes requests again."""
    now = SystemClock().now()
    stated = retry_after(response.headers, now)
    if stated is not None:
        return stated
    reset = _seconds(response.headers.get("x-ratelimit-reset"))
    if reset is None or reset < FIRST_MOMENT:
        return reset
    sent = moment(response.headers.get("date", "")) or now
    return max(reset - sent.timestamp(), 0.0)


def _seconds(text: str | None) -> float | None:
    try:
        wait = float(text or "")
    except ValueError:
        return None
    return wait if math.isfinite(wait) and wait >= 0 else None


def _parsed(given: str | None, keys: str) -> httpx.URL:
    if given and re.search("[?#]", given):
        problem = "A source's url, which errors show, has no ? and no #: remove them and what follows"
        raise BadSource(f"{problem}; what lets in is {keys}.", field="url")
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
