"""Clocks, and durations as people read them."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tools.clock import ManualClock, SystemClock, in_words


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
    [(0, "0 s"), (90, "90 s"), (120, "2 min"), (45 * 60, "45 min"), (2.5 * 3600, "2.5 h"), (14 * 86400, "14 d")],
)
def test_durations_for_people(seconds: float, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words
