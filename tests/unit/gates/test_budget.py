"""Burn rates of an error budget: what they answer, how soon, and how often wrongly."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.gates import BadCounts, BadEvidence, BadTest, Counts, Harm, NoData, Outcome, Verdict, no_data
from tools.gates.budget import FAST, SLOW, BudgetEvidence, BudgetTest, BurnAlert, Recent, burning, update, weigh

TEST = BudgetTest(0.001)
CAREFUL = replace(TEST, alerts=(replace(FAST, says=Harm.SUSPECTED), SLOW))
SAFE = Verdict(Outcome.PASS, "Proven safe.", safe_e=30.0)
SUSPECTED = Verdict(Outcome.INCONCLUSIVE, "Harm suspected.", harm=Harm.SUSPECTED, harm_e=22.0)


def after(test: BudgetTest, counts: Counts, intervals: int, minutes: float = 1.0) -> BudgetEvidence:
    return on(test, BudgetEvidence.start(test), counts, intervals, minutes)


def on(
    test: BudgetTest, evidence: BudgetEvidence, counts: Counts, intervals: int, minutes: float = 1.0
) -> BudgetEvidence:
    for _ in range(intervals):
        evidence = update(test, evidence, counts, minutes)
    return evidence


BURNT = after(TEST, Counts(1000, 100), 15)


def test_a_budget_that_is_kept_leaves_the_verdict_and_says_its_pace() -> None:
    verdict = weigh(SAFE, TEST, after(TEST, Counts(2000, 1), 120), compared=True)
    assert verdict == replace(SAFE, why="Proven safe. The error budget of 0.1 % burns at ×0.5 over 360 min.")


def test_a_fast_burn_speaks_once_it_shows_in_the_hour() -> None:
    broken, minutes = after(TEST, Counts(1000, 0), 60), 0
    while (found := burning(TEST, broken)) is None or found.alert is not FAST:
        broken = update(TEST, broken, Counts(1000, 100), 1.0)
        minutes += 1
    # 14.4 of the hourly allowance of 60 failures are 864: nine minutes at 100.
    assert minutes == 9
    verdict = weigh(SUSPECTED, TEST, broken, compared=True)
    assert (verdict.outcome, verdict.harm) == (Outcome.FAIL, Harm.PROVEN)
    assert verdict.why.startswith("The error budget of 0.1 % burns at ×")
    assert "over 5 min, ×14.4 or more on both. It rolls back. Harm suspected." in verdict.why


def test_a_fast_burn_that_is_not_shown_to_be_treatments_pauses() -> None:
    verdict = weigh(SAFE, TEST, BURNT, compared=True)
    assert (verdict.outcome, verdict.harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
    assert "It pauses. Control is not shown to do better" in verdict.why


def test_where_nobody_is_left_to_compare_with_a_fast_burn_rolls_back() -> None:
    assert weigh(SAFE, TEST, BURNT, compared=False).outcome is Outcome.FAIL


def test_an_alert_that_only_pauses_never_rolls_back() -> None:
    for compared in (False, True):
        verdict = weigh(SUSPECTED, CAREFUL, BURNT, compared=compared)
        assert (verdict.outcome, verdict.harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
        assert "incident" not in verdict.why


def test_what_is_proven_stays_proven_and_what_is_blind_stays_blind() -> None:
    failed = replace(SUSPECTED, outcome=Outcome.FAIL, harm=Harm.PROVEN)
    assert weigh(failed, TEST, BURNT, compared=True) == replace(failed, why=f"{failed.why} {burning(TEST, BURNT)}")
    blind = weigh(no_data(NoData.STALE, "Gone."), TEST, BURNT, compared=True)
    assert (blind.outcome, blind.no_data, blind.harm) == (Outcome.NO_DATA, NoData.STALE, Harm.SUSPECTED)


def test_an_alert_ends_soon_after_the_burn() -> None:
    fast = replace(TEST, alerts=(FAST,))
    burnt = after(fast, Counts(1000, 100), 15)
    assert burning(fast, burnt) is not None
    assert burning(fast, on(fast, burnt, Counts(1000, 0), 6)) is None


def test_a_slow_burn_pauses() -> None:
    verdict = weigh(SUSPECTED, TEST, after(TEST, Counts(1000, 8), 60), compared=True)
    assert (verdict.outcome, verdict.harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
    assert "burns at ×8 over 360 min and ×8 over 30 min, ×6 or more on both. It pauses." in verdict.why


def test_a_handful_of_failures_is_no_burn() -> None:
    assert burning(TEST, after(TEST, Counts(20, 1), 3)) is None
    bursts = replace(TEST, dispersion=3.0)
    assert burning(bursts, after(bursts, Counts(200, 9), 3)) is None
    assert burning(bursts, after(bursts, Counts(200, 10), 3)) is not None


def test_without_requests_nothing_is_said() -> None:
    for evidence in (BudgetEvidence.start(TEST), after(TEST, Counts(0, 0), 10)):
        assert weigh(SAFE, TEST, evidence, compared=False) == SAFE


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
    ("allowed", "wrong", "words"),
    [
        (1.0, {}, "objective"),
        (0.0, {}, "objective"),
        (math.nan, {}, "objective"),
        (0.01, {"dispersion": 0.5}, "dispersion"),
        (0.01, {"dispersion": math.nan}, "dispersion"),
        (0.01, {"alerts": (FAST,) * 5}, "at most 4 alerts"),
    ],
)
def test_a_senseless_test_is_refused(allowed: float, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadTest, match=words):
        BudgetTest(allowed, **wrong)


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
    for other in (replace(TEST, allowed=0.01), replace(TEST, alerts=(FAST,))):
        with pytest.raises(BadEvidence, match="start new evidence"):
            burning(other, evidence)
        with pytest.raises(BadEvidence, match="start new evidence"):
            update(other, evidence, Counts(1, 0), 1.0)


def test_what_an_alert_says_may_change_on_the_way() -> None:
    assert weigh(SUSPECTED, TEST, BURNT, compared=True).outcome is Outcome.FAIL
    assert weigh(SUSPECTED, CAREFUL, BURNT, compared=True).outcome is Outcome.INCONCLUSIVE


def test_evidence_is_small_and_round_trips_exactly() -> None:
    evidence = BudgetEvidence.start(TEST)
    rng = np.random.default_rng(1)
    for _ in range(400):
        exposures = int(rng.integers(10**7, 10**8))
        evidence = update(TEST, evidence, Counts(exposures, exposures // 999), 0.97)
    stored = json.dumps(evidence.to_json(), allow_nan=False)
    assert len(stored.encode()) <= 1536
    assert BudgetEvidence.from_json(json.loads(stored)) == evidence


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 1},
        {"allowed": None},
        {"recent": None},
        {"recent": [[60.0, 0.0]]},
        {"recent": [[60.0, 0.0, []]]},
        {"recent": [[60.0, -1.0, [[1, 0]]]]},
        {"recent": [[60.0, 0.0, [[1, 5]]]]},
        {"recent": [[60.0, 0.0, [[1, math.nan]]]]},
    ],
)
def test_damaged_evidence_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(BadEvidence, match="start new evidence"):
        BudgetEvidence.from_json(after(TEST, Counts(100, 1), 3).to_json() | damage)


@given(
    st.floats(0.00001, 0.5),
    st.lists(st.tuples(st.integers(0, 10**8), st.floats(0, 1), st.floats(0.01, 1000)), max_size=12),
)
def test_any_counts_leave_evidence_sound(allowed: float, seen: list[tuple[int, float, float]]) -> None:
    test = BudgetTest(allowed)
    evidence = BudgetEvidence.start(test)
    for exposures, part, minutes in seen:
        evidence = update(test, evidence, Counts(exposures, int(part * exposures)), minutes)
    verdict = weigh(SAFE, test, evidence, compared=False)
    assert Verdict.from_json(verdict.to_json()) == verdict
    assert verdict.outcome in (Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL)
    assert BudgetEvidence.from_json(json.loads(json.dumps(evidence.to_json(), allow_nan=False))) == evidence


@pytest.mark.parametrize("requests", [30, 600])
def test_a_service_at_its_objective_is_rarely_stopped(requests: int) -> None:
    """Six hours of minutes at burn rate 1, all of the budget spent: no alert may speak by chance."""
    rng, spoke = np.random.default_rng(2), 0
    for _ in range(40):
        evidence, found = BudgetEvidence.start(TEST), False
        for events in rng.binomial(requests, TEST.allowed, 360).tolist():
            evidence = update(TEST, evidence, Counts(requests, events), 1.0)
            found = found or burning(TEST, evidence) is not None
        spoke += found
    assert spoke == 0
