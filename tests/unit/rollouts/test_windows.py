"""Each moment of a metric is read at most once, whatever order the checks come in and whatever the clock says."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tools.records.models import Rollout
from tools.rollouts.preparing import CLOCK_TOLERANCE, ClockWentBack, _window

SINCE = datetime(2026, 1, 5, 12, tzinfo=UTC)
seconds = st.integers(-600, 7200).map(lambda number: timedelta(seconds=number))


def rollout() -> Rollout:
    return Rollout(exposed_since=SINCE, stage_since=SINCE, evidence={})


@given(st.lists(st.tuples(seconds, st.integers(0, 120)), max_size=30))
def test_windows_of_checks_in_any_order_never_overlap(checks: list[tuple[timedelta, int]]) -> None:
    watched, until = rollout(), SINCE
    for since, settle in checks:
        at = SINCE + since
        try:
            start, end = _window("errors", watched, False, at, at - timedelta(seconds=settle))
        except ClockWentBack:
            assert until > at + CLOCK_TOLERANCE
            continue
        assert SINCE <= until == start <= end
        assert end <= max(at, start)
        until = end
        watched.evidence = {"errors:live": {"until": end.isoformat()}}


@given(st.integers(1, 3600))
def test_a_check_done_again_reads_nothing_again(number: int) -> None:
    at, watched = SINCE + timedelta(seconds=number), rollout()
    _, end = _window("errors", watched, False, at, at)
    watched.evidence = {"errors:live": {"until": end.isoformat()}}
    assert _window("errors", watched, False, at, at) == (end, end)
