"""How long a server asks to be left alone: Retry-After, RFC 9110, section 10.2.3. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_S = 86_400.0
"""No more is believed of anybody."""

_SECONDS = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds that an answer's headers state, or that are left until the moment that they state; None without.

    A moment is held against the answer's own Date, as clocks differ, and without one against `now`.
    """
    stated = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(stated):
        return min(float(stated), LONGEST_S)
    until = moment(stated)
    if until is None:
        return None
    sent = moment(headers.get("date", "")) or now
    return min(max((until - sent).total_seconds(), 0.0), LONGEST_S)


def moment(text: str) -> datetime | None:
    """The moment of a header such as Date; None for what is none."""
    try:
        found = parsedate_to_datetime(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
