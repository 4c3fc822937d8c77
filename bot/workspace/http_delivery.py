"""HTTP mode: signed POST requests to the app's request URL.

Signature: https://docs.slack.dev/authentication/verifying-requests-from-slack (v0: HMAC-SHA256).
"""

import hashlib
import hmac
import json
from urllib.parse import urlencode

import httpx

from bot.workspace.delivery import Attempt, DeliveryFailed
from bot.workspace.records import Json
from bot.workspace.settings import WorkspaceSettings
from tools.clock import Clock


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The value of X-Slack-Signature for a request body sent at `timestamp` (seconds since 1970)."""
    digest = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return f"v0={digest}"


class HttpDelivery:
    """POSTs deliveries to `settings.request_url`."""

    def __init__(self, settings: WorkspaceSettings, clock: Clock) -> None:
        if settings.request_url is None:
            raise ValueError("HTTP delivery needs settings.request_url")
        self._settings = settings
        self._request_url = settings.request_url
        self._clock = clock
        self._client = httpx.AsyncClient(timeout=settings.ack_seconds, trust_env=False)

    async def attempt(self, attempt: Attempt) -> Json:
        """Deliver once. Raises `DeliveryFailed` unless the app answers 200 in time."""
        content_type, body = _encode(attempt)
        try:
            response = await self._client.post(
                self._address(attempt), content=body, headers=self._headers(attempt, content_type, body)
            )
        except httpx.TimeoutException:
            raise DeliveryFailed("http_timeout") from None
        except httpx.HTTPError as error:
            raise DeliveryFailed("connection_failed") from error
        if response.status_code != httpx.codes.OK:
            raise DeliveryFailed("http_error", final=response.headers.get("x-slack-no-retry") == "1")
        return _read_acknowledgement(response)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _address(self, attempt: Attempt) -> str:
        if attempt.payload.get("type") == "block_suggestion" and self._settings.options_url:
            return self._settings.options_url
        return self._request_url

    def _headers(self, attempt: Attempt, content_type: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._clock.now().timestamp()))
        headers = {
            "Content-Type": content_type,
            "User-Agent": "Slackbot 1.0 (local workspace)",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": sign(self._settings.signing_secret, timestamp, body),
        }
        if attempt.number:
            headers["X-Slack-Retry-Num"] = str(attempt.number)
            headers["X-Slack-Retry-Reason"] = attempt.reason
        return headers


def _encode(attempt: Attempt) -> tuple[str, bytes]:
    if attempt.kind == "events_api":
        return "application/json", json.dumps(attempt.payload).encode()
    fields = attempt.payload if attempt.kind == "slash_commands" else {"payload": json.dumps(attempt.payload)}
    return "application/x-www-form-urlencoded", urlencode(fields).encode()


def _read_acknowledgement(response: httpx.Response) -> Json:
    if not response.content:
        return {}
    if response.headers.get("content-type", "").startswith("application/json"):
        body = response.json()
        return body if isinstance(body, dict) else {}
    return {"text": response.text}
