"""How long a server asks to be left alone: in seconds, or until a moment."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tools.retry_after import LONGEST_S, moment, retry_after

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        ("0", 0),
        (" 40 ", 40),
        ("1.5", 1.5),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90),
        ("Sunday, 01-Mar-26 12:01:30 GMT", 90),
        ("Sun Mar  1 12:01:30 2026", 90),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("9" * 5_000, LONGEST_S),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_S),
        ("Fri, 31 Dec 9999 23:59:59 -1400", None),
        ("-5", None),
        ("soon", None),
        ("nan", None),
        ("", None),
    ],
)
def test_both_forms_are_read(stated: str, seconds: float | None) -> None:
    assert retry_after(httpx.Headers({"Retry-After": stated}), NOON) == seconds


def test_a_moment_is_by_the_servers_own_clock() -> None:
    late = {"Date": "Sun, 01 Mar 2026 15:00:00 GMT", "Retry-After": "Sun, 01 Mar 2026 15:00:20 GMT"}
    assert retry_after(httpx.Headers(late), NOON) == 20
    assert retry_after(httpx.Headers(late | {"Date": "never"}), NOON) == 3 * 3600 + 20


def test_without_the_header_nothing_is_asked() -> None:
    assert retry_after({}, NOON) is None
    assert moment("Sun, 01 Mar 2026 12:00:00 -0000") == NOON
    assert moment("Sun, 01 Mar 2026 14:00:00 +0200") == NOON + timedelta(0)
