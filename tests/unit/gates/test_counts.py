import base64
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tools.errors import InvalidInput
from tools.gates import (
    BadCounts,
    BadEvidence,
    BadTest,
    CountEvidence,
    Counts,
    CountTest,
    Direction,
    Harm,
    NoData,
    Outcome,
    judge,
    update,
)

ERRORS = CountTest(Direction.INCREASE, 2.0)
CONVERSIONS = CountTest(Direction.DECREASE, 1.25)


def after(
    test: CountTest, control: Counts, treatment: Counts, intervals: int = 1, *, burning_in: bool = False
) -> CountEvidence:
    evidence = CountEvidence.start(test)
    for _ in range(intervals):
        evidence = update(test, evidence, control, treatment, burning_in=burning_in)
    return evidence


def test_equal_rates_are_proven_safe() -> None:
    verdict = judge(ERRORS, after(ERRORS, Counts(9500, 48), Counts(500, 2), 30))
    assert (verdict.outcome, verdict.harm) == (Outcome.PASS, Harm.NONE)
    assert verdict.safe_e >= 20 > verdict.harm_e
    assert (verdict.treatment_n, verdict.control_n) == (15000, 285000)
    assert (verdict.treatment_events, verdict.control_events) == (60, 1440)
    assert (verdict.treatment_rate, verdict.control_rate) == (60 / 15000, 1440 / 285000)
    assert verdict.why.startswith("Proven safe: treatment 0.4 % of 15,000, control 0.505 % of 285,000, ×0.79")
    assert "below ×2" in verdict.why


def test_a_worse_treatment_is_suspected_then_proven_harmful() -> None:
    evidence, seen = CountEvidence.start(ERRORS), list[Harm]()
    for _ in range(40):
        evidence = update(ERRORS, evidence, Counts(950, 5), Counts(50, 1))
        seen.append(judge(ERRORS, evidence).harm)
    assert [harm for n, harm in enumerate(seen) if harm not in seen[:n]] == [Harm.NONE, Harm.SUSPECTED, Harm.PROVEN]


def test_suspicion_holds_and_says_where_it_ends() -> None:
    test = replace(ERRORS, alpha_rollback=1e-6)
    verdict = judge(test, after(test, Counts(950, 5), Counts(50, 1), 12))
    assert (verdict.outcome, verdict.harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
    assert "pauses from 20, rolls back from 1e+06" in verdict.why


def test_the_sentence_of_a_failure_has_the_numbers() -> None:
    verdict = judge(ERRORS, after(ERRORS, Counts(950, 5), Counts(50, 5), 20))
    assert (verdict.outcome, verdict.harm) == (Outcome.FAIL, Harm.PROVEN)
    assert verdict.why == (
        "Proven harmful: treatment 10 % of 1,000, control 0.526 % of 19,000, ×19. Evidence of harm is over a million; "
        "it pauses from 20, rolls back from 50."
    )


def test_a_harm_that_is_also_within_the_margin_is_still_a_failure() -> None:
    test = replace(ERRORS, margin=10.0)
    verdict = judge(test, after(test, Counts(9500, 48), Counts(500, 8), 30))
    assert verdict.safe_e >= 20
    assert verdict.outcome is Outcome.FAIL


def test_fewer_conversions_are_harm_and_more_are_safe() -> None:
    worse = judge(CONVERSIONS, after(CONVERSIONS, Counts(1000, 80), Counts(200, 6), 20))
    better = judge(CONVERSIONS, after(CONVERSIONS, Counts(1000, 80), Counts(200, 18), 20))
    assert worse.outcome is Outcome.FAIL
    assert better.outcome is Outcome.PASS
    assert "above ×0.8" in better.why


def test_promotion_waits_for_the_minimum_sample() -> None:
    test = replace(ERRORS, min_sample=20_000)
    verdict = judge(test, after(test, Counts(9500, 48), Counts(500, 2), 30))
    assert (verdict.outcome, verdict.min_sample) == (Outcome.INCONCLUSIVE, 20_000)
    assert "15,000 of 20,000 exposures are in" in verdict.why
    enough = judge(replace(test, min_sample=15_000), after(test, Counts(9500, 48), Counts(500, 2), 30))
    assert enough.outcome is Outcome.PASS


def test_without_any_event_nothing_is_proven_and_the_reason_is_said() -> None:
    verdict = judge(ERRORS, after(ERRORS, Counts(9500, 0), Counts(500, 0), 1000))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert (verdict.harm_e, verdict.safe_e) == pytest.approx((1.0, 1.0), rel=1e-12)
    assert verdict.ratio is None
    assert "No event in either arm yet" in verdict.why


def test_a_zero_baseline_still_shows_harm() -> None:
    verdict = judge(ERRORS, after(ERRORS, Counts(950, 0), Counts(50, 2), 5))
    assert (verdict.outcome, verdict.ratio) == (Outcome.FAIL, None)


def test_a_clean_treatment_next_to_a_failing_control_is_safe() -> None:
    verdict = judge(ERRORS, after(ERRORS, Counts(950, 20), Counts(50, 0), 10))
    assert (verdict.outcome, verdict.ratio) == (Outcome.PASS, 0.0)


@pytest.mark.parametrize(
    ("control", "treatment", "reason", "words"),
    [
        (Counts(500, 2), Counts(0, 0), NoData.NO_TRAFFIC, "Treatment has had no traffic yet, control 1,000"),
        (Counts(0, 0), Counts(500, 2), NoData.NO_TRAFFIC, "Control has had no traffic, treatment 1,000"),
        (Counts(0, 0), Counts(0, 0), NoData.NO_TRAFFIC, "Treatment has had no traffic yet, control 0"),
    ],
)
def test_an_arm_without_traffic_is_no_data(control: Counts, treatment: Counts, reason: NoData, words: str) -> None:
    evidence = after(ERRORS, control, treatment, 2)
    verdict = judge(ERRORS, evidence)
    assert (verdict.outcome, verdict.no_data) == (Outcome.NO_DATA, reason)
    assert words in verdict.why
    assert evidence.books == CountEvidence.start(ERRORS).books


def test_nothing_counted_is_empty() -> None:
    verdict = judge(ERRORS, CountEvidence.start(ERRORS))
    assert (verdict.outcome, verdict.no_data) == (Outcome.NO_DATA, NoData.EMPTY)


def test_burn_in_is_neither_harm_nor_proof() -> None:
    evidence = after(ERRORS, Counts(9500, 48), Counts(500, 12), 10, burning_in=True)
    verdict = judge(ERRORS, evidence)
    assert (verdict.outcome, verdict.harm, verdict.treatment_n) == (Outcome.INCONCLUSIVE, Harm.NONE, 0)
    assert verdict.ratio == pytest.approx(12 / 500 / (48 / 9500))
    assert "Burning in: treatment 2.4 % of 5,000" in verdict.why
    assert "×10 higher" in verdict.why
    assert (evidence.books.harm, evidence.books.safe) == (
        CountEvidence.start(ERRORS).books.harm,
        CountEvidence.start(ERRORS).books.safe,
    )


def test_a_treatment_that_is_broken_from_the_start_fails_while_burning_in() -> None:
    verdict = judge(ERRORS, after(ERRORS, Counts(9500, 48), Counts(500, 250), 3, burning_in=True))
    assert verdict.outcome is Outcome.FAIL
    conversions = judge(CONVERSIONS, after(CONVERSIONS, Counts(5000, 400), Counts(5000, 0), 2, burning_in=True))
    assert conversions.outcome is Outcome.FAIL


def test_evidence_of_safety_does_not_outlive_safety() -> None:
    evidence = after(ERRORS, Counts(9500, 48), Counts(500, 2), 500)
    assert judge(ERRORS, evidence).safe_e == pytest.approx(20 * np.e**3, rel=0.1)
    intervals = 0
    while judge(ERRORS, evidence).outcome is Outcome.PASS:
        evidence = update(ERRORS, evidence, Counts(9500, 48), Counts(500, 8))
        intervals += 1
    assert intervals < 12


def test_a_thousand_times_the_traffic_in_one_interval_is_no_trouble() -> None:
    verdict = judge(ERRORS, after(ERRORS, Counts(10**12, 10**10), Counts(10**11, 5 * 10**9)))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.harm_e == pytest.approx(1e12)
    assert verdict.safe_e < 0.2


def test_the_dispersion_weakens_both_questions() -> None:
    bursty = replace(ERRORS, dispersion=4.0)
    harmful = Counts(950, 5), Counts(50, 2), 10
    safe = Counts(9500, 48), Counts(500, 2), 10
    assert judge(bursty, after(bursty, *harmful)).harm_e < judge(ERRORS, after(ERRORS, *harmful)).harm_e
    assert judge(bursty, after(bursty, *safe)).safe_e < judge(ERRORS, after(ERRORS, *safe)).safe_e


@pytest.mark.parametrize(
    ("exposures", "events", "words"),
    [
        (-1, 0, "can't be -1"),
        (10, -2, "counter may have restarted"),
        (10, 11, "11 events among 10"),
        (float("nan"), 0, "whole number"),
        (10, 1.5, "whole number"),
    ],
)
def test_impossible_counts_are_refused(exposures: Any, events: Any, words: str) -> None:
    with pytest.raises(BadCounts, match=words) as caught:
        Counts(exposures, events)
    assert isinstance(caught.value, InvalidInput)


def test_counts_add_up_and_have_a_rate() -> None:
    assert Counts(10, 1) + Counts(30, 3) == Counts(40, 4)
    assert Counts(40, 4).rate == 0.1
    assert Counts(0, 0).rate is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"margin": 1.0}, "margin"),
        ({"margin": float("nan")}, "margin"),
        ({"alpha_safe": 0.0}, "alpha_safe"),
        ({"alpha_pause": 1.0}, "alpha_pause"),
        ({"alpha_rollback": 0.1}, "must not exceed alpha_pause"),
        ({"dispersion": 0.5}, "dispersion"),
        ({"dispersion": float("inf")}, "dispersion"),
        ({"min_sample": -1}, "min_sample"),
        ({"burn_in_margin": 0.5}, "burn_in_margin"),
    ],
)
def test_a_senseless_test_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadTest, match=words):
        replace(ERRORS, **wrong)


@pytest.mark.parametrize("other", [{"margin": 1.5}, {"direction": Direction.DECREASE}, {"burn_in_margin": 5.0}])
def test_evidence_of_another_test_is_refused(other: dict[str, Any]) -> None:
    evidence, test = after(ERRORS, Counts(950, 5), Counts(50, 1)), replace(ERRORS, **other)
    with pytest.raises(BadEvidence, match="start new evidence"):
        update(test, evidence, Counts(950, 5), Counts(50, 1))
    with pytest.raises(BadEvidence, match="start new evidence"):
        judge(test, evidence)


def test_levels_and_dispersion_may_change_on_the_way() -> None:
    evidence = after(ERRORS, Counts(9500, 48), Counts(500, 2), 30)
    assert judge(replace(ERRORS, alpha_safe=0.001, dispersion=2.0), evidence).outcome is Outcome.INCONCLUSIVE


def test_evidence_is_small_and_round_trips_exactly() -> None:
    evidence = after(CONVERSIONS, Counts(951, 73), Counts(47, 3), 77)
    evidence = update(CONVERSIONS, evidence, Counts(951, 73), Counts(47, 3), burning_in=True)
    stored = json.dumps(evidence.to_json())
    assert len(stored.encode()) < 4096
    restored = CountEvidence.from_json(json.loads(stored))
    assert restored == evidence
    next_interval = Counts(960, 70), Counts(50, 2)
    assert update(CONVERSIONS, restored, *next_interval) == update(CONVERSIONS, evidence, *next_interval)


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 1},
        {"version": None},
        {"direction": "sideways"},
        {"margin": "wide"},
        {"books": {}},
        {"books": None},
        {"control": [1, 2]},
        {"control": 3},
        {"matched": [1.0]},
        {"onset": []},
        {"intervals": None},
    ],
)
def test_damaged_evidence_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(BadEvidence, match="start new evidence"):
        CountEvidence.from_json(CountEvidence.start(ERRORS).to_json() | damage)


SIXTEEN = base64.b64encode(np.zeros(16).tobytes()).decode()


@pytest.mark.parametrize(
    "book",
    [
        [[0.0], 0.0, 0.0],
        [[0.0] * 16, float("inf"), 0.0],
        [[0.0] * 16, 0.0],
        [SIXTEEN, float("inf"), 0.0],
        [SIXTEEN[:-1], 0.0, 0.0],
        [SIXTEEN[:-4], 0.0, 0.0],
        [f"{SIXTEEN} ", 0.0, 0.0],
        [base64.b64encode(np.full(16, np.nan).tobytes()).decode(), 0.0, 0.0],
        [base64.b64encode(np.zeros(15).tobytes()).decode(), 0.0, 0.0],
        "begun",
        None,
    ],
)
def test_a_damaged_book_is_refused(book: Any) -> None:
    plain = CountEvidence.start(ERRORS).to_json()
    plain["books"]["harm"] = book
    with pytest.raises(BadEvidence, match="start new evidence"):
        CountEvidence.from_json(plain)


def test_evidence_that_is_no_object_is_refused() -> None:
    with pytest.raises(BadEvidence, match="start new evidence"):
        CountEvidence.from_json([1, 2, 3])


@pytest.mark.parametrize("minutes", [0.25, 1.0, 15.0])
def test_a_late_harm_is_met_alike_however_often_it_is_looked_for(minutes: float) -> None:
    """What is kept for a harm that comes late is placed by the hour, not by the look."""
    test, hours = CountTest(Direction.INCREASE, 2.0), 8
    evidence, looks = CountEvidence.start(test), round(hours * 60 / minutes)
    for _ in range(looks):
        evidence = update(test, evidence, Counts(1000, 0), Counts(1000, 0), minutes=minutes)
    reserve = evidence.books.harm.log_reserve
    assert reserve == pytest.approx(math.log(0.26 / 2), abs=1e-6)
