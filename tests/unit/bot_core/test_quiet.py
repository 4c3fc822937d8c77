"""Quiet hours: when they hold, and when they are over, by somebody's own clocks."""

from datetime import UTC, datetime, time

import pytest

from bot.quiet import QuietHours

NIGHT = QuietHours(time(22), time(7), "Europe/Berlin")
WORKDAYS = frozenset(range(5))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("quiet", "now", "over"),
    [
        (NIGHT, "2026-01-14T20:59", None),
        (NIGHT, "2026-01-14T21:00", "2026-01-15T06:00"),
        (NIGHT, "2026-01-15T05:59", "2026-01-15T06:00"),
        (NIGHT, "2026-01-15T06:00", None),
        (NIGHT, "2026-07-14T20:00", "2026-07-15T05:00"),
        # Berlin's clocks go forward in this night, which is an hour shorter.
        (NIGHT, "2026-03-28T21:00", "2026-03-29T05:00"),
        (QuietHours(time(12), time(13)), "2026-01-14T12:30", "2026-01-14T13:00"),
        (QuietHours(time(12), time(13)), "2026-01-14T13:00", None),
        # It began on a Friday, so it lasts into Saturday; on Saturday none begins.
        (QuietHours(time(22), time(7), "UTC", WORKDAYS), "2026-01-17T06:00", "2026-01-17T07:00"),
        (QuietHours(time(22), time(7), "UTC", WORKDAYS), "2026-01-17T23:00", None),
        # Saturday and Sunday, each the whole day, are one.
        (QuietHours(time(0), time(0), "UTC", frozenset({5, 6})), "2026-01-17T10:00", "2026-01-19T00:00"),
        (QuietHours(time(22), time(7), "UTC", frozenset()), "2026-01-17T06:00", None),
    ],
)
def test_when_it_is_over(quiet: QuietHours, now: str, over: str | None) -> None:
    assert quiet.until(at(now)) == (None if over is None else at(over))


def test_nobody_is_unreachable_for_ever() -> None:
    always = QuietHours(time(0), time(0)).until(at("2026-01-14T10:00"))
    assert always is not None
    assert (always - at("2026-01-14T10:00")).days <= 8
