"""Burn rates of an error budget: what they answer, how soon, and how often wrongly."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.gates import BadCounts, BadEvidence, BadTest, Counts, Harm, NoData, Outcome, Verdict
from tools.gates.budget import FAST, SLOW, BudgetEvidence, BudgetTest, BurnAlert, Recent, burn_rates, judge, update

ROLLS_BACK = replace(FAST, says=Harm.PROVEN)
TEST = BudgetTest(0.999, alerts=(ROLLS_BACK, SLOW))
DEFAULT = BudgetTest(0.999)


def after(test: BudgetTest, counts: Counts, intervals: int, minutes: float = 1.0) -> BudgetEvidence:
    return on(test, BudgetEvidence.start(test), counts, intervals, minutes)


def on(
    test: BudgetTest, evidence: BudgetEvidence, counts: Counts, intervals: int, minutes: float = 1.0
) -> BudgetEvidence:
    for _ in range(intervals):
        evidence = update(test, evidence, counts, minutes)
    return evidence


def test_a_budget_that_is_kept_passes() -> None:
    verdict = judge(TEST, after(TEST, Counts(2000, 1), 120))
    assert (verdict.outcome, verdict.harm) == (Outcome.PASS, Harm.NONE)
    assert verdict.control_rate == pytest.approx(0.001)
    assert "it is below the ceiling" in verdict.why


def test_a_fast_burn_fails_once_it_shows_in_the_hour() -> None:
    good = after(TEST, Counts(1000, 0), 60)
    broken, minutes = good, 0
    while judge(TEST, broken).outcome is not Outcome.FAIL:
        broken = update(TEST, broken, Counts(1000, 100), 1.0)
        minutes += 1
    # 14.4 of the hourly allowance of 60 failures are 864: nine minutes at 100.
    assert minutes == 9
    verdict = judge(TEST, broken)
    assert verdict.harm is Harm.PROVEN
    assert verdict.why.startswith("The error budget of 0.1 % burns at ×")
    assert "over 60 min" in verdict.why
    assert "from ×14.4 on both it rolls back" in verdict.why


def test_an_alert_ends_soon_after_the_burn() -> None:
    burning = after(TEST, Counts(1000, 100), 15)
    assert judge(TEST, burning).outcome is Outcome.FAIL
    fast = replace(TEST, alerts=(ROLLS_BACK,))
    recovered = on(fast, after(fast, Counts(1000, 100), 15), Counts(1000, 0), 6)
    assert burn_rates(fast, recovered)[5.0] == 0
    assert judge(fast, recovered).outcome is not Outcome.FAIL
    assert judge(fast, recovered).harm is Harm.SUSPECTED


def test_a_slow_burn_pauses() -> None:
    verdict = judge(TEST, after(TEST, Counts(1000, 8), 60))
    assert (verdict.outcome, verdict.harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
    assert "burns at ×8 over 360 min and ×8 over 30 min; from ×6 on both it pauses" in verdict.why


def test_a_burn_below_all_alerts_is_found_by_the_ceiling() -> None:
    paused = judge(TEST, after(TEST, Counts(1000, 2), 300))
    assert (paused.outcome, paused.harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
    assert paused.why.startswith("The objective is missed: 0.2 % of 300,000 failed, where 0.1 % may.")
    assert (paused.pause_from, paused.rollback_from) == (20, None)
    strict = replace(TEST, overspent=Harm.PROVEN)
    failed = judge(strict, after(strict, Counts(1000, 2), 300))
    assert (failed.outcome, failed.rollback_from) == (Outcome.FAIL, 50)
    lenient = replace(TEST, overspent=Harm.NONE)
    verdict = judge(lenient, after(lenient, Counts(1000, 2), 300))
    assert (verdict.outcome, verdict.harm) == (Outcome.INCONCLUSIVE, Harm.NONE)


def test_a_handful_of_failures_is_no_burn() -> None:
    verdict = judge(TEST, after(TEST, Counts(20, 1), 3))
    assert burn_rates(TEST, after(TEST, Counts(20, 1), 3))[60] == pytest.approx(50)
    assert verdict.outcome is not Outcome.FAIL


def test_without_counts_there_is_no_verdict() -> None:
    assert judge(TEST, BudgetEvidence.start(TEST)).no_data is NoData.EMPTY
    silent = after(TEST, Counts(0, 0), 10)
    assert judge(TEST, silent).no_data is NoData.NO_TRAFFIC
    assert burn_rates(TEST, silent) == {5.0: None, 30.0: None, 60.0: None, 360.0: None}


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.05, 200)), min_size=1, max_size=60))
def test_a_window_holds_what_came_in_it_to_a_twelfth(seen: list[tuple[int, float]]) -> None:
    window, now = Recent(60.0), 0.0
    ended: list[tuple[float, int]] = []
    for events, minutes in seen:
        window = window.plus(Counts(50, events), minutes)
        now += minutes
        ended.append((now, events))
    within = sum(events for end, events in ended if end > now - 55 + 1e-6)
    at_most = sum(events for end, events in ended if end > now - 60 - 1e-6)
    assert within <= window.total.events <= at_most
    assert 0 <= window.age <= 5 + 1e-9
    assert len(window.parts) <= 12


@pytest.mark.parametrize(
    ("objective", "wrong", "words"),
    [
        (1.0, {}, "objective"),
        (0.0, {}, "objective"),
        (math.nan, {}, "objective"),
        (0.99, {"alpha_safe": 0.0}, "alpha_safe"),
        (0.99, {"dispersion": 0.5}, "dispersion"),
        (0.99, {"alerts": (FAST,) * 5}, "at most 4 alerts"),
    ],
)
def test_a_senseless_test_is_refused(objective: float, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadTest, match=words):
        BudgetTest(objective, **wrong)


@pytest.mark.parametrize(
    ("alert", "words"),
    [
        ((5, 60, 14.4, Harm.PROVEN), "a short and a longer one"),
        ((60, 0, 14.4, Harm.PROVEN), "a short and a longer one"),
        ((math.nan, 5, 14.4, Harm.PROVEN), "a short and a longer one"),
        ((60, 5, 1.0, Harm.PROVEN), "above 1"),
        ((60, 5, math.nan, Harm.PROVEN), "above 1"),
        ((60, 5, 14.4, Harm.NONE), "pause"),
    ],
)
def test_a_senseless_alert_is_refused(alert: tuple[float, float, float, Harm], words: str) -> None:
    with pytest.raises(BadTest, match=words):
        BurnAlert(*alert)


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan, math.inf])
def test_an_interval_without_a_length_is_refused(minutes: float) -> None:
    evidence = after(TEST, Counts(100, 1), 3)
    with pytest.raises(BadCounts, match="longer than 0 minutes"):
        update(TEST, evidence, Counts(10, 1), minutes)


def test_evidence_of_another_objective_or_windows_is_refused() -> None:
    evidence = after(TEST, Counts(100, 1), 3)
    for other in (replace(TEST, objective=0.99), replace(TEST, alerts=(FAST,))):
        with pytest.raises(BadEvidence, match="start new evidence"):
            judge(other, evidence)
        with pytest.raises(BadEvidence, match="start new evidence"):
            update(other, evidence, Counts(1, 0), 1.0)


def test_what_an_alert_says_may_change_on_the_way() -> None:
    burning = after(DEFAULT, Counts(1000, 100), 15)
    assert judge(DEFAULT, burning).harm is Harm.SUSPECTED
    assert "from ×14.4 on both it pauses" in judge(DEFAULT, burning).why
    assert judge(TEST, burning).outcome is Outcome.FAIL


def test_evidence_is_small_and_round_trips_exactly() -> None:
    evidence = BudgetEvidence.start(TEST)
    rng = np.random.default_rng(1)
    for _ in range(400):
        exposures = int(rng.integers(10**7, 10**8))
        evidence = update(TEST, evidence, Counts(exposures, exposures // 999), 0.97)
    stored = json.dumps(evidence.to_json(), allow_nan=False)
    assert len(stored.encode()) <= 4096
    assert BudgetEvidence.from_json(json.loads(stored)) == evidence


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 5},
        {"objective": None},
        {"recent": None},
        {"recent": [[60.0, 0.0]]},
        {"recent": [[60.0, 0.0, []]]},
        {"recent": [[60.0, -1.0, [[1, 0]]]]},
        {"recent": [[60.0, 0.0, [[1, 5]]]]},
        {"kept": {}},
    ],
)
def test_damaged_evidence_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(BadEvidence, match="start new evidence"):
        BudgetEvidence.from_json(after(TEST, Counts(100, 1), 3).to_json() | damage)


@given(
    st.floats(0.5, 0.99999),
    st.lists(st.tuples(st.integers(0, 10**8), st.floats(0, 1), st.floats(0.01, 1000)), max_size=12),
)
def test_any_counts_leave_evidence_sound(objective: float, seen: list[tuple[int, float, float]]) -> None:
    test = BudgetTest(objective)
    evidence = BudgetEvidence.start(test)
    for exposures, part, minutes in seen:
        evidence = update(test, evidence, Counts(exposures, int(part * exposures)), minutes)
    verdict = judge(test, evidence)
    assert 0 <= verdict.harm_e < math.inf
    assert Verdict.from_json(verdict.to_json()) == verdict
    assert BudgetEvidence.from_json(json.loads(json.dumps(evidence.to_json(), allow_nan=False))) == evidence
    if not any(exposures for exposures, _, _ in seen):
        assert verdict.outcome is Outcome.NO_DATA


@pytest.mark.parametrize("requests", [30, 600])
def test_a_service_at_its_objective_is_rarely_rolled_back(requests: int) -> None:
    """A day of minutes at burn rate 1, all of the budget spent: no alert may speak by chance."""
    rng, failed, paused = np.random.default_rng(2), 0, 0
    for _ in range(40):
        evidence, harm = BudgetEvidence.start(TEST), Harm.NONE
        for events in rng.binomial(requests, TEST.allowed, 360).tolist():
            evidence = update(TEST, evidence, Counts(requests, events), 1.0)
            harm = max(harm, judge(TEST, evidence).harm, key=lambda one: one.severity)
        failed += harm is Harm.PROVEN
        paused += harm is Harm.SUSPECTED
    assert failed == 0
    assert paused / 40 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 40)
