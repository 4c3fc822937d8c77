"""What can go wrong when Slack is called, told apart. Codes: https://docs.slack.dev/reference/methods/chat.postMessage."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError

NETWORK_ERRORS = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
"""Slack did not answer; whether it took the call is not known."""

DEFAULT_RETRY_AFTER = timedelta(seconds=5)
TOO_MANY_REQUESTS = 429


def code_of(error: SlackApiError) -> str:
    """Slack's word for what was wrong, such as `channel_not_found`; the HTTP status where there is none."""
    data = getattr(error.response, "data", None)
    code = data.get("error") if isinstance(data, dict) else None
    return str(code) if code else f"http_{status_of(error)}"


def status_of(error: SlackApiError) -> int:
    """The HTTP status of the answer."""
    response: Any = error.response
    status: int = getattr(response, "status_code", 0) or getattr(response, "status", 0)
    return status


def retry_after(error: SlackApiError) -> timedelta | None:
    """How long Slack asks to wait, None unless it refused because of too many requests."""
    if status_of(error) != TOO_MANY_REQUESTS and code_of(error) not in ("ratelimited", "rate_limited"):
        return None
    return asked_to_wait(dict(getattr(error.response, "headers", {})))


def asked_to_wait(headers: Mapping[str, Any]) -> timedelta:
    """How long the headers of a refusal ask to wait; some seconds where they don't say."""
    given = next((value for name, value in headers.items() if str(name).lower() == "retry-after"), None)
    seconds = str(given[0] if isinstance(given, list) and given else given)
    return timedelta(seconds=int(seconds)) if seconds.isascii() and seconds.isdigit() else DEFAULT_RETRY_AFTER


def is_trouble_of_slack(error: SlackApiError) -> bool:
    """Whether the same call may work later, because the fault is Slack's."""
    return status_of(error) >= 500 or code_of(error) in (
        "fatal_error",
        "internal_error",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
    )
