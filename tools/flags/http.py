"""Calls to a flag service over HTTP: bounded in time, tried again where that does no harm, errors as the port has them.

What is tried again: a request that surely was not carried out (no connection, 429), and one that may have been (no
answer in time, 5xx) only where carrying it out twice, and late, is no different from once. Where it is not, no stated
wait is waited out either: what the flag was compared with before may have changed by then.

A 429 that says for how long holds for all requests until then: none is sent but what takes exposure back, and writes.
"""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from weakref import WeakValueDictionary

import httpx
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from tools.clock import SystemClock
from tools.flags.base import FlagRef, FlagServiceUnavailable
from tools.flags.urgency import is_urgent, urgently
from tools.observing import trace_headers
from tools.retry_after import moment, retry_after

ATTEMPTS = 4
LONGEST_REASON = 200
LONGEST_PAUSE_S = 2.0
"""A read waits so long for the service to want requests again; what is longer is told at once."""

LONGEST_CLOSED_S = 300.0
"""Then it is asked again, whatever it said."""

ANSWERED_OTHERWISE = "flags.answered_otherwise"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_JITTERED = wait_exponential_jitter(multiplier=0.1, max=2, jitter=0.2)

logger = structlog.get_logger(__name__)

Fixes = Mapping[int, str]
"""What to do about an answer, by its status: the rest of a sentence that begins with the service's name."""


class NoSuchThing(FlagServiceUnavailable):
    """The service answered 404: the caller knows what it asked for."""


class Refusal(FlagServiceUnavailable):
    """The service refused what it was asked, and did not carry it out; `status` and `reason` are its own."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class _Again(Exception):
    """A request that may be sent again, after `after_s` where the service said how long."""

    def __init__(self, error: FlagServiceUnavailable, after_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_s = after_s


class FlagApi:
    """A flag service's HTTP API below `url`. `headers` hold its credentials, which no error repeats.

    `timeout` bounds each of the service's calls, however many requests it takes; a single request may take half.
    """

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout: timedelta,
        fixes: Fixes,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._secrets = [value.split()[-1] for value in headers.values()]
        self._timeout_s = timeout.total_seconds()
        self._fixes = fixes
        self._sleep = sleep
        self._writes: WeakValueDictionary[FlagRef, asyncio.Lock] = WeakValueDictionary()
        self._closed_until = 0.0
        self._client = httpx.AsyncClient(
            base_url=url, headers=headers, timeout=self._timeout_s / 2, transport=transport, trust_env=transport is None
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Bound everything inside by the timeout. Raises FlagServiceUnavailable when it is over.

        And where something in an answer makes no sense that nobody foresaw: who asks is never left with a fault.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError:
            raise FlagServiceUnavailable(
                f"{self._name} did not answer within {self._timeout_s:g} s; see whether it is up and how busy it is."
            ) from None
        except (ValueError, ArithmeticError) as fault:
            logger.warning(ANSWERED_OTHERWISE, service=self._name, fault=type(fault).__name__, exc_info=fault)
            raise FlagServiceUnavailable(
                f"{self._name} answered otherwise than its API does; see whether its address is that of its API, and "
                "look at the flag there."
            ) from None

    @asynccontextmanager
    async def writing(self, ref: FlagRef) -> AsyncIterator[None]:
        """As `answering`, one write of a flag at a time.

        It is sent also while the service wants no requests: no rollback fails for a read's 429.
        """
        with urgently():
            async with self.answering(), self._writes.setdefault(ref, asyncio.Lock()):
                yield

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        repeatable: bool,
        query: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> Any:
        """The answer's JSON; None where it has no body. `repeatable`: twice, or late, is no different from once.

        `content_type` is the body's, where it is not plain JSON. Raises NoSuchThing for 404, Refusal where the service
        would not do it, and FlagServiceUnavailable.
        """
        await self._wait_for_limit(repeatable=repeatable)
        attempts = AsyncRetrying(
            stop=_stop_after(ATTEMPTS, self._timeout_s),
            wait=_wait,
            retry=retry_if_exception_type(_Again),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    sent = await self._sent(method, path, body, query, content_type, repeatable)
                    return self._answer(sent, repeatable)
        except _Again as last:
            raise last.error from None
        raise AssertionError("an attempt answers or raises")

    async def _wait_for_limit(self, *, repeatable: bool) -> None:
        """Ask nothing that would be refused; what is urgent waits where time is left to be sent, and else does not.

        What is not repeatable does not wait either.
        """
        left = self._closed_until - asyncio.get_running_loop().time()
        urgent = is_urgent()
        if left > LONGEST_PAUSE_S and not urgent:
            raise FlagServiceUnavailable(
                f"{self._name} wants no more requests for {math.ceil(left)} s (429); Sluice asks again by itself then."
            )
        if repeatable and 0 < left <= (self._timeout_s / 2 if urgent else LONGEST_PAUSE_S):
            await self._sleep(left)

    async def _sent(
        self,
        method: str,
        path: str,
        body: object,
        query: Mapping[str, str] | None,
        content_type: str | None,
        repeatable: bool,
    ) -> httpx.Response:
        headers = trace_headers() | ({} if content_type is None else {"Content-Type": content_type})
        try:
            return await self._client.request(method, path, json=body, params=query, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _Again(self._unreachable(error)) from None
        except (httpx.TransportError, httpx.DecodingError, httpx.InvalidURL) as error:
            # A redirect's address is read also where it is not followed.
            raise self._perhaps(self._unreachable(error), repeatable) from None

    def _answer(self, response: httpx.Response, repeatable: bool) -> Any:
        status = response.status_code
        if response.is_success:
            return self._json(response) if response.content else None
        if status == httpx.codes.NOT_FOUND:
            raise NoSuchThing(f"{self._name} knows nothing of that: {self._reason(response)}")
        message = f"{self._name} {self._fix(response)}"
        error = FlagServiceUnavailable(message)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            after_s = self._noted(_retry_after(response))
            raise _Again(error, after_s) if repeatable or after_s is None else error
        if response.is_server_error:
            raise self._perhaps(error, repeatable, _retry_after(response))
        raise Refusal(message, status, self._reason(response))

    def _noted(self, after_s: float | None) -> float | None:
        """Remember for how long the service wants nothing, where it says so."""
        if after_s is not None:
            self._closed_until = asyncio.get_running_loop().time() + min(after_s, LONGEST_CLOSED_S)
        return after_s

    def _fix(self, response: httpx.Response) -> str:
        status = response.status_code
        if status in self._fixes:
            return self._fixes[status]
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return "wants fewer requests (429); Sluice tries again by itself."
        if response.is_server_error:
            return f"answered {status}; see its logs."
        if response.is_redirect:
            return f"sent Sluice elsewhere ({status}); set its address as it is after the redirect."
        return f"refused it ({status}): {self._reason(response)}"

    def _reason(self, response: httpx.Response) -> str:
        """The service's own words, on one line, without what lets in, should it repeat that."""
        try:
            said = response.json()
            details = said.get("details") or [said]
            words = str(details[0].get("message") or said.get("name") or said.get("detail") or "")
        except (ValueError, AttributeError, LookupError, TypeError):
            words = ""
        # Hidden first, for what is left of a secret that was cut looks like none.
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return " ".join(words.split())[:LONGEST_REASON].rstrip(".") + "." if words else "it gave no reason."

    def _json(self, response: httpx.Response) -> Any:
        try:
            found = response.json()
        except (ValueError, RecursionError):
            raise FlagServiceUnavailable(
                f"{self._name} did not answer in JSON; see whether its address is that of its API."
            ) from None
        return _without_lone_surrogates(found) if _SURROGATE.search(response.content) else found

    def _unreachable(self, error: Exception) -> FlagServiceUnavailable:
        return FlagServiceUnavailable(
            f"{self._name} can't be reached ({type(error).__name__}); see whether it is up and its address is right."
        )

    @staticmethod
    def _perhaps(error: FlagServiceUnavailable, repeatable: bool, after_s: float | None = None) -> Exception:
        return _Again(error, after_s) if repeatable else error


def _without_lone_surrogates(found: Any) -> Any:
    """The same JSON, in which a text that was cut amid a character can be written elsewhere."""
    text = json.dumps(found, ensure_ascii=False)
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _retry_after(response: httpx.Response) -> float | None:
    """How many seconds the service wants to be left alone, where it says so.

    Either by Retry-After, or as the moment when its window ends, in milliseconds since 1970 by its own clock.
    """
    stated = retry_after(response.headers, SystemClock().now())
    if stated is not None:
        return stated
    window_ends, now = response.headers.get("X-Ratelimit-Reset", ""), moment(response.headers.get("Date", ""))
    if not window_ends.isdecimal() or now is None:
        return None
    return max(0.0, float(window_ends) / 1000 - now.timestamp())


def _wait(state: RetryCallState) -> float:
    stated = _stated(state)
    return _JITTERED(state) if stated is None else stated + _JITTERED(state)


def _stated(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome is not None else None
    return error.after_s if isinstance(error, _Again) else None


def _stop_after(attempts: int, timeout_s: float) -> Callable[[RetryCallState], bool]:
    tried = stop_after_attempt(attempts)

    def stop(state: RetryCallState) -> bool:
        # To wait longer than the call may take only hides why.
        return tried(state) or (_stated(state) or 0) >= timeout_s

    return stop
