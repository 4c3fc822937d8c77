"""The sample ratio: what it answers, and its false alarms."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.gates import BadCounts, BadEvidence, BadTest, Harm, NoData, Outcome, Verdict
from tools.gates.assignment import AssignmentEvidence, AssignmentTest, information_needed, judge, update

TEST = AssignmentTest()


def after(*periods: tuple[float, int, int]) -> AssignmentEvidence:
    evidence = AssignmentEvidence()
    for share, control, treatment in periods:
        evidence = update(evidence, share, control, treatment)
    return evidence


def test_assignments_as_planned_pass_once_there_are_enough() -> None:
    few, many = judge(TEST, after((0.1, 900, 100))), judge(TEST, after((0.1, 90_000, 10_000)))
    assert (few.outcome, few.harm) == (Outcome.INCONCLUSIVE, Harm.NONE)
    assert "Too few to tell: treatment got 10 % of 1,000 new assignments, planned were 10 %" in few.why
    assert (many.outcome, many.harm) == (Outcome.PASS, Harm.NONE)
    assert "would have shown by now" in many.why


@pytest.mark.parametrize("treatment", [8_500, 11_500, 0, 60_000])
def test_a_mismatch_is_suspected_and_never_fails(treatment: int) -> None:
    verdict = judge(TEST, after((0.1, 90_000, treatment)))
    assert (verdict.outcome, verdict.harm) == (Outcome.INCONCLUSIVE, Harm.SUSPECTED)
    assert verdict.why.startswith("Sample ratio mismatch: treatment got ")
    assert "pauses from 1,000" in verdict.why


def test_each_period_is_held_against_its_own_plan() -> None:
    verdict = judge(TEST, after((0.01, 99_000, 1000), (0.1, 9000, 1000), (0.5, 5000, 5000)))
    assert verdict.harm is Harm.NONE
    assert verdict.ratio == pytest.approx(1)
    wrong = judge(TEST, after((0.01, 99_000, 1000), (0.1, 9000, 1000), (0.5, 5500, 4500)))
    assert wrong.harm is Harm.SUSPECTED


def test_evidence_of_earlier_periods_is_kept() -> None:
    mismatch = (0.1, 9_000, 1_200)
    once, on = after(mismatch), after(mismatch, (0.2, 800, 200))
    assert once.log_e > math.log(1000)
    assert on.log_e == pytest.approx(once.log_e, abs=1.5)
    assert after(mismatch, (0.2, 0, 0), mismatch).log_e > once.log_e


def test_without_a_comparison_nothing_is_said() -> None:
    assert judge(TEST, after()).no_data is NoData.EMPTY
    assert judge(TEST, after((0.0, 50_000, 10), (1.0, 10, 50_000))).no_data is NoData.EMPTY
    assert judge(TEST, after((0.5, 0, 0))).outcome is Outcome.NO_DATA


@pytest.mark.parametrize(
    ("share", "control", "treatment", "words"),
    [
        (-0.1, 1, 1, "between 0 and 1"),
        (math.nan, 1, 1, "between 0 and 1"),
        (0.5, -1, 1, "to control must be a whole number from 0 on, not -1"),
        (0.5, 1, -1, "to treatment"),
        (0.5, 1.5, 1, "whole number"),
        (0.5, math.nan, 1, "whole number"),
        (0.5, True, 1, "whole number"),
        (0.5, 10**13, 1, "a counter may have restarted"),
    ],
)
def test_impossible_assignments_are_refused(share: float, control: Any, treatment: Any, words: str) -> None:
    with pytest.raises(BadCounts, match=words):
        update(after((0.5, 5, 5)), share, control, treatment)


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"alpha": 1.0}, {"tolerance": 1.0}, {"tolerance": math.nan}])
def test_a_senseless_test_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadTest):
        AssignmentTest(**wrong)


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 7},
        {"share": "half"},
        {"share": 1.5},
        {"period": [1]},
        {"period": [-1, 5]},
        {"before": [0.0]},
        {"before": [math.nan] * 3},
        {"assigned": None},
        {"information": -1.0},
        {"expected": math.inf},
    ],
)
def test_damaged_evidence_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(BadEvidence, match="start new evidence"):
        AssignmentEvidence.from_json(after((0.5, 5, 5)).to_json() | damage)
    with pytest.raises(BadEvidence, match="start new evidence"):
        AssignmentEvidence.from_json([])


periods = st.lists(
    st.tuples(st.sampled_from([0.0, 0.001, 0.05, 0.5, 0.99, 1.0]), st.integers(0, 10**9), st.integers(0, 10**9)),
    max_size=8,
)


@given(periods)
def test_any_assignments_leave_evidence_sound(seen: list[tuple[float, int, int]]) -> None:
    evidence = after(*seen)
    verdict = judge(TEST, evidence)
    assert 0 <= verdict.harm_e < math.inf
    assert verdict.outcome is not Outcome.FAIL
    stored = json.dumps(evidence.to_json(), allow_nan=False)
    assert len(stored.encode()) <= 4096
    assert AssignmentEvidence.from_json(json.loads(stored)) == evidence
    assert Verdict.from_json(verdict.to_json()) == verdict


@given(st.floats(0.01, 0.99), st.integers(1, 60))
def test_the_mean_e_value_is_one(share: float, assigned: int) -> None:
    """Over all outcomes of one interval, weighted by their chance when the plan is kept."""
    mean = 0.0
    for treatment in range(assigned + 1):
        chance = math.comb(assigned, treatment) * share**treatment * (1 - share) ** (assigned - treatment)
        mean += chance * math.exp(after((share, assigned - treatment, treatment)).log_e)
    assert mean == pytest.approx(1, rel=1e-6)


def alarms(odds: float, seed: int, streams: int, intervals: int) -> list[float]:
    """The interval of each rollout's pause, infinity without one, as the share rises from 1 to 5 to 20 %."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(streams):
        evidence, alarm = AssignmentEvidence(), math.inf
        for interval in range(intervals):
            share = (0.01, 0.05, 0.2)[3 * interval // intervals]
            truth = share * odds / (share * odds + 1 - share)
            assigned = int(rng.poisson(2000))
            treatment = int(rng.binomial(assigned, truth))
            evidence = update(evidence, share, assigned - treatment, treatment)
            if judge(TEST, evidence).harm is Harm.SUSPECTED:
                alarm = interval + 1
                break
        found.append(alarm)
    return found


def test_false_pauses_are_rare_and_mismatches_are_found() -> None:
    assert np.isfinite(alarms(1.0, seed=1, streams=150, intervals=90)).sum() <= 1
    for odds in (0.8, 1.25):
        found = alarms(odds, seed=2, streams=20, intervals=90)
        assert np.isfinite(found).all()
        assert np.median(found) < 50


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("odds", [1.1, 1 / 1.1])
def test_what_would_have_shown_by_now_has_in_nine_of_ten_and_not_a_quarter_before(share: float, odds: float) -> None:
    test, streams, looks = AssignmentTest(), 300, 40
    offered = share / (1 - share) * odds
    assigned = round(information_needed(test) / (share * (1 - share)) / looks)
    treated = np.random.default_rng(5).binomial(assigned, offered / (1 + offered), (streams, looks))
    first = np.full(streams, np.inf)
    for stream, column in enumerate(treated.tolist()):
        evidence = AssignmentEvidence()
        for look, treatment in enumerate(column, 1):
            evidence = update(evidence, share, assigned - treatment, treatment)
            if judge(test, evidence).harm is Harm.SUSPECTED:
                first[stream] = look
                break
    assert 0.85 <= (first <= looks).mean() <= 0.95
    assert (first <= looks / 1.25).mean() < 0.85
