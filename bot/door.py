"""The door for what Slack sends over HTTP: signed by Slack, fresh, and each request carried out once.

Slack signs the body and the second (https://docs.slack.dev/authentication/verifying-requests-from-slack). What it sends
again it signs anew; `bot.listeners.deliveries` knows that by the thing it tells of, in the database, for all processes.
A request with the signature of an earlier one was copied on its way: it gets the answer of that one and does nothing.
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

FRESH_S = 300
"""How many seconds a request's moment may be from now, as Slack advises."""
LONGEST_MOMENT = 12
"""More digits than a moment in seconds has for a while."""
MOST_KEPT = 10_000
"""How many answers are kept at most; the oldest go first."""

REFUSED = "http.not_signed_by_slack"
COPIED = "http.request_copied"

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Door:
    """Lets in what `secret` signed; `clock` gives the seconds since 1970."""

    secret: str
    clock: Callable[[], float] = time.time
    _answers: dict[str, "_Answer"] = field(default_factory=dict)

    async def pass_through(self, request: Request, carry_out: Callable[[], Awaitable[Response]]) -> Response:
        """Carry a request out, or answer why not. Its body has been read; whatever `carry_out` raises is raised."""
        signature = request.headers.get("x-slack-signature", "")
        if not self._signed(request.headers.get("x-slack-request-timestamp", ""), signature, await request.body()):
            logger.warning(REFUSED, path=request.url.path)
            return JSONResponse({"error": "invalid request"}, HTTPStatus.UNAUTHORIZED)
        self._forget()
        known = self._answers.get(signature)
        if known is not None:
            logger.warning(COPIED, path=request.url.path)
            return await known.given()
        answer = self._answers[signature] = _Answer(self.clock())
        try:
            response = await carry_out()
            if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                answer.response = response
        finally:
            if answer.response is None:
                # Nothing came of it, so it may come again.
                self._answers.pop(signature, None)
            answer.ended.set()
        return response

    def _signed(self, moment: str, signature: str, body: bytes) -> bool:
        if not (moment.isascii() and moment.isdigit() and len(moment) <= LONGEST_MOMENT):
            return False
        if abs(self.clock() - int(moment)) > FRESH_S:
            return False
        right = hmac.new(self.secret.encode(), b"v0:%s:%s" % (moment.encode(), body), hashlib.sha256).hexdigest()
        # As bytes, for a header may have letters that the comparison of texts refuses.
        return hmac.compare_digest(f"v0={right}".encode(), signature.encode())

    def _forget(self) -> None:
        """Drop what no signature fits any more: a moment may be ahead of now, too."""
        while self._answers:
            oldest = next(iter(self._answers))
            if len(self._answers) < MOST_KEPT and self.clock() - self._answers[oldest].since <= 2 * FRESH_S:
                return
            del self._answers[oldest]


@dataclass(slots=True)
class _Answer:
    """What a request was answered, once it was."""

    since: float
    response: Response | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def given(self) -> Response:
        await self.ended.wait()
        return self.response or Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
