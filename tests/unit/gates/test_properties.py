"""Properties of the count gates for any counts."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import gates
from tools.gates import (
    CeilingEvidence,
    CeilingTest,
    CountEvidence,
    Counts,
    CountTest,
    Direction,
    judge,
    judge_ceiling,
    update,
    update_all,
    update_ceiling,
)


@st.composite
def counts(draw: st.DrawFn, most: int = 10**7) -> Counts:
    exposures = draw(st.integers(0, most))
    return Counts(exposures, draw(st.integers(0, exposures)))


@st.composite
def count_tests(draw: st.DrawFn) -> CountTest:
    return CountTest(
        draw(st.sampled_from(Direction)),
        margin=draw(st.floats(1.01, 100)),
        dispersion=draw(st.floats(1, 50)),
        burn_in_margin=draw(st.floats(1, 1000)),
    )


Interval = tuple[Counts, Counts, bool]
intervals = st.lists(st.tuples(counts(), counts(), st.booleans()), max_size=12)


def fold(test: CountTest, seen: list[Interval]) -> CountEvidence:
    evidence = CountEvidence.start(test)
    for control, treatment, burning_in in seen:
        evidence = update(test, evidence, control, treatment, burning_in=burning_in)
    return evidence


@given(count_tests(), intervals)
def test_e_values_are_finite_and_never_negative(test: CountTest, seen: list[Interval]) -> None:
    verdict = judge(test, fold(test, seen))
    assert 0 <= verdict.harm_e < math.inf
    assert 0 <= verdict.safe_e < math.inf
    assert verdict.why


@given(count_tests(), intervals, counts(), counts(), st.booleans())
def test_stored_evidence_goes_on_as_if_it_had_never_been_stored(
    test: CountTest, seen: list[Interval], control: Counts, treatment: Counts, burning_in: bool
) -> None:
    evidence = fold(test, seen)
    stored = json.dumps(evidence.to_json(), allow_nan=False)
    restored = CountEvidence.from_json(json.loads(stored))
    assert len(stored.encode()) <= 4096
    assert update(test, restored, control, treatment, burning_in=burning_in) == update(
        test, evidence, control, treatment, burning_in=burning_in
    )


@given(count_tests(), st.lists(st.tuples(counts(10**4), counts(10**4), st.booleans()), max_size=8))
def test_swapping_the_arms_swaps_the_direction(test: CountTest, seen: list[Interval]) -> None:
    other = Direction.DECREASE if test.direction is Direction.INCREASE else Direction.INCREASE
    swapped = [(treatment, control, burning_in) for control, treatment, burning_in in seen]
    here, there = fold(test, seen).books, fold(replace(test, direction=other), swapped).books
    assert here.harm_log_e == pytest.approx(there.harm_log_e, rel=1e-6, abs=1e-6)
    assert here.safe.log_e == pytest.approx(there.safe.log_e, rel=1e-6, abs=1e-6)


@given(count_tests(), counts(10**6), counts(10**6), st.integers(0, 10**6))
def test_more_events_in_treatment_are_never_less_evidence_of_them(
    test: CountTest, control: Counts, treatment: Counts, more: int
) -> None:
    worse = Counts(treatment.exposures, min(treatment.exposures, treatment.events + more))
    fewer, many = fold(test, [(control, treatment, False)]).books, fold(test, [(control, worse, False)]).books
    sign = 1 if test.direction is Direction.INCREASE else -1
    assert sign * (many.harm.log_e - fewer.harm.log_e) >= -1e-6
    # At its cap, evidence of safety keeps its reserve on top, which differs a little.
    assert sign * (fewer.safe.log_e - many.safe.log_e) >= -1e-3


@given(count_tests(), counts(), counts())
def test_burn_in_moves_only_its_own_book(test: CountTest, control: Counts, treatment: Counts) -> None:
    start = CountEvidence.start(test).books
    burning, settled = fold(test, [(control, treatment, True)]).books, fold(test, [(control, treatment, False)]).books
    assert (burning.harm, burning.safe) == (start.harm, start.safe)
    assert settled.burn_in == start.burn_in


@given(st.lists(st.tuples(count_tests(), intervals, counts(), counts(), st.booleans()), max_size=5))
def test_many_updated_together_are_as_each_alone(
    rollouts: list[tuple[CountTest, list[Interval], Counts, Counts, bool]],
) -> None:
    before = [(test, fold(test, seen), *rest) for test, seen, *rest in rollouts]
    together = update_all([gates.Interval(*one) for one in before])
    for (test, evidence, control, treatment, burning_in), after in zip(before, together, strict=True):
        alone = update(test, evidence, control, treatment, burning_in=burning_in)
        assert replace(after, books=alone.books) == alone
        assert after.books.harm_log_e == pytest.approx(alone.books.harm_log_e, rel=1e-9, abs=1e-9)
        assert after.books.safe.log_e == pytest.approx(alone.books.safe.log_e, rel=1e-9, abs=1e-9)


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 60), count_tests())
def test_bets_are_fair_whatever_the_split(control: int, treatment: int, events: int, test: CountTest) -> None:
    """Given the number of events, treatment's are binomial under the null: the mean of the e-value is at most 1."""
    share = treatment / (treatment + control)
    start, mean = CountEvidence.start(test), 0.0
    for hits in range(events + 1):
        chance = math.comb(events, hits) * share**hits * (1 - share) ** (events - hits)
        arms = Counts(max(control, events), events - hits), Counts(max(treatment, events), hits)
        if (arms[0].exposures, arms[1].exposures) != (control, treatment):
            return
        mean += chance * math.exp(update(test, start, *arms).books.harm.log_e)
    assert mean <= 1 + 1e-9


@given(
    st.sampled_from(Direction),
    st.floats(1e-6, 0.9),
    st.lists(st.tuples(counts(), st.booleans()), max_size=12),
    counts(),
)
def test_a_ceiling_is_as_well_behaved(
    direction: Direction, ceiling: float, seen: list[tuple[Counts, bool]], last: Counts
) -> None:
    test = CeilingTest(direction, ceiling)
    evidence = CeilingEvidence.start(test)
    for treatment, burning_in in seen:
        evidence = update_ceiling(test, evidence, treatment, burning_in=burning_in)
    verdict = judge_ceiling(test, evidence)
    assert 0 <= verdict.harm_e < math.inf
    assert 0 <= verdict.safe_e < math.inf
    restored = CeilingEvidence.from_json(json.loads(json.dumps(evidence.to_json(), allow_nan=False)))
    assert update_ceiling(test, restored, last) == update_ceiling(test, evidence, last)
