"""Clocks, and durations as people read them."""

import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest

from tools.clock import ManualClock, SystemClock, exactly, in_words, written


async def test_the_machines_clock_is_in_utc_and_sleeps() -> None:
    clock, before = SystemClock(), time.monotonic()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert clock.now().tzinfo is UTC
    await clock.sleep(0.01)
    assert time.monotonic() - before >= 0.01


async def test_a_clock_moved_by_hand_moves_as_it_sleeps_and_never_back() -> None:
    clock = ManualClock()
    start = clock.now()
    await clock.sleep(5)
    clock.advance(1)
    assert clock.now() - start == timedelta(seconds=6)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


async def test_who_wants_to_decide_how_it_sleeps_may() -> None:
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)

    clock = ManualClock(on_sleep=note)
    before = clock.now()
    await clock.sleep(5)
    assert (slept, clock.now()) == ([5], before)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (90, "90 s"),
        (120, "2 min"),
        (45 * 60, "45 min"),
        (2.5 * 3600, "2.5 h"),
        (122, "2 min"),
        (238.8, "4 min"),
        (3570, "60 min"),
        (9.99 * 60, "10 min"),
        (14 * 86400, "14 d"),
    ],
)
def test_durations_for_people(seconds: float, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        (UTC, "31 Jan 2026 23:30 UTC"),
        (ZoneInfo("Europe/Berlin"), "01 Feb 2026 00:30 CET"),
        (ZoneInfo("America/Sao_Paulo"), "31 Jan 2026 20:30 UTC-03"),
        (ZoneInfo("Asia/Kathmandu"), "01 Feb 2026 05:15 UTC+05:45"),
        (timezone(timedelta(hours=-3.5)), "31 Jan 2026 20:00 UTC-03:30"),
    ],
)
def test_moments_for_people_name_their_zone(zone: tzinfo, words: str) -> None:
    assert written(datetime(2026, 1, 31, 23, 30, tzinfo=UTC), zone=zone) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (37_200, "10 h 20 min"), (122, "2 min 2 s"), (90_061, "1 d 1 h 1 min 1 s")]
)
def test_durations_are_told_exactly_where_that_matters(seconds: float, words: str) -> None:
    assert exactly(timedelta(seconds=seconds)) == words
