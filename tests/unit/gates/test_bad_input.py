"""What can't have been counted is an error with a name; it never corrupts evidence and never proves anything."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tools.gates import (
    BadCounts,
    BadEvidence,
    CeilingEvidence,
    CeilingTest,
    CountEvidence,
    Counts,
    CountTest,
    Direction,
    NoData,
    Outcome,
    judge,
    judge_ceiling,
    latency,
    update,
    update_ceiling,
)
from tools.gates.histograms import Histogram

ERRORS, OBJECTIVE = CountTest(Direction.INCREASE, 2.0), CeilingTest(Direction.INCREASE, 0.01)

impossible = st.one_of(
    st.tuples(st.integers(max_value=-1), st.integers(0, 5)),
    st.tuples(st.integers(0, 5), st.integers(max_value=-1)),
    st.integers(0, 1000).flatmap(lambda exposures: st.tuples(st.just(exposures), st.integers(exposures + 1, 10**6))),
    st.tuples(st.sampled_from([math.nan, math.inf, 3.0, None, "7", True, [1]]), st.just(0)),
    st.tuples(st.sampled_from([10**15 + 1, 10**160, 10**400]), st.just(0)),
    st.tuples(st.just(10), st.sampled_from([math.nan, -math.inf, 0.5, None, "x", False, {}])),
)
counted = st.integers(0, 10**5).flatmap(lambda exposures: st.tuples(st.just(exposures), st.integers(0, exposures)))
arms = st.tuples(st.one_of(counted, impossible), st.one_of(counted, impossible))


@pytest.mark.parametrize("minutes", [-1.0, math.nan, math.inf, 1e10])
def test_an_interval_that_cant_have_lasted_so_long_is_refused_with_a_sentence(minutes: float) -> None:
    rates, alone = CountEvidence.start(ERRORS), CeilingEvidence.start(OBJECTIVE)
    buckets = (100.0, math.inf)
    slow = latency.LatencyTest(buckets, 1.25, sums=False)
    histogram, times = Histogram(buckets, (3, 1)), latency.LatencyEvidence.start(slow)
    for ask in (
        lambda: update(ERRORS, rates, Counts(100, 1), Counts(100, 1), minutes=minutes),
        lambda: update_ceiling(OBJECTIVE, alone, Counts(100, 1), minutes=minutes),
        lambda: latency.update(slow, times, histogram, histogram, minutes=minutes),
    ):
        with pytest.raises(BadCounts, match="give its length"):
            ask()


@given(impossible)
def test_what_cant_have_been_counted_is_refused_with_a_sentence(numbers: tuple[Any, Any]) -> None:
    with pytest.raises(BadCounts, match=r"can't be|whole number"):
        Counts(*numbers)


@given(st.lists(arms, max_size=12))
def test_refused_intervals_leave_no_trace(intervals: list[tuple[tuple[Any, Any], tuple[Any, Any]]]) -> None:
    evidence, clean = CountEvidence.start(ERRORS), CountEvidence.start(ERRORS)
    for control, treatment in intervals:
        before = evidence
        try:
            evidence = update(ERRORS, evidence, Counts(*control), Counts(*treatment))
        except BadCounts:
            assert evidence is before
            continue
        clean = update(ERRORS, clean, Counts(*control), Counts(*treatment))
    assert evidence == clean
    assert CountEvidence.from_json(json.loads(json.dumps(evidence.to_json(), allow_nan=False))) == evidence


def test_evidence_that_is_no_number_is_no_proof() -> None:
    evidence = update(ERRORS, CountEvidence.start(ERRORS), Counts(1000, 5), Counts(1000, 5))
    started = (math.nan, *evidence.books.safe.log_started[1:])
    books = replace(evidence.books, safe=replace(evidence.books.safe, log_started=started))
    with np.errstate(invalid="ignore"), pytest.raises(BadEvidence, match="not a number"):
        judge(ERRORS, replace(evidence, books=books))


@pytest.mark.parametrize("damage", [{"intervals": math.inf}, {"margin": 0.0}, {"margin": 10**400}, {"books": {}}])
def test_evidence_with_numbers_that_no_test_has_is_refused(damage: dict[str, Any]) -> None:
    for kind, read in READERS.items():
        with pytest.raises(BadEvidence):
            read({**WRITTEN[kind], **damage})


def test_a_counter_that_restarted_is_said_to_have() -> None:
    with pytest.raises(BadCounts, match="a counter may have restarted"):
        Counts(120 - 5_000, 0)


@given(st.lists(st.tuples(counted, counted), max_size=6), st.lists(counted, min_size=1, max_size=20))
def test_an_arm_that_vanishes_proves_nothing_more(
    before: list[tuple[tuple[int, int], tuple[int, int]]], after: list[tuple[int, int]]
) -> None:
    evidence = CountEvidence.start(ERRORS)
    for control, treatment in before:
        evidence = update(ERRORS, evidence, Counts(*control), Counts(*treatment))
    alone = evidence
    for control in after:
        alone = update(ERRORS, alone, Counts(*control), Counts(0, 0))
    assert alone.books == evidence.books
    if not evidence.treatment.exposures:
        assert judge(ERRORS, alone).no_data is NoData.NO_TRAFFIC


@given(st.integers(0, 10**6))
def test_nothing_is_proven_by_silence(intervals: int) -> None:
    evidence = CountEvidence.start(ERRORS)
    for _ in range(intervals % 50):
        evidence = update(ERRORS, evidence, Counts(0, 0), Counts(0, 0))
    alone = CeilingEvidence.start(OBJECTIVE)
    for _ in range(intervals % 50):
        alone = update_ceiling(OBJECTIVE, alone, Counts(0, 0))
    assert judge(ERRORS, evidence).outcome is Outcome.NO_DATA
    assert judge_ceiling(OBJECTIVE, alone).outcome is Outcome.NO_DATA


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=8,
)
WRITTEN = {
    "counts": CountEvidence.start(ERRORS).to_json(),
    "ceiling": CeilingEvidence.start(OBJECTIVE).to_json(),
}
READERS: dict[str, Callable[[Any], Any]] = {"counts": CountEvidence.from_json, "ceiling": CeilingEvidence.from_json}


def paths(plain: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    return [path, *(found for key, value in inner for found in paths(value, (*path, key)))]


@given(st.sampled_from(sorted(WRITTEN)), anything, st.data())
def test_damaged_evidence_is_refused_or_still_sound(kind: str, damage: Any, data: st.DataObject) -> None:
    plain = json.loads(json.dumps(WRITTEN[kind]))
    path = data.draw(st.sampled_from([found for found in paths(plain) if found]))
    *way, last = path
    place = plain
    for key in way:
        place = place[key]
    assume(place[last] != damage)
    place[last] = damage
    try:
        evidence = READERS[kind](plain)
    except BadEvidence:
        return
    books = evidence.books
    assert all(math.isfinite(log) for book in (books.harm, books.burn_in, books.safe) for log in book.log_started)
    try:
        verdict = judge(ERRORS, evidence) if kind == "counts" else judge_ceiling(OBJECTIVE, evidence)
    except BadEvidence:
        return
    # Money that was never there may be in a book, but without data it proves nothing.
    assert verdict.outcome is Outcome.NO_DATA or evidence.intervals
