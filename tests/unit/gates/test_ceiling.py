import json
from dataclasses import replace
from typing import Any

import pytest

from tools.gates import (
    BadEvidence,
    BadTest,
    CeilingEvidence,
    CeilingTest,
    Counts,
    Direction,
    Harm,
    NoData,
    Outcome,
    judge_ceiling,
    update_ceiling,
)

OBJECTIVE = CeilingTest(Direction.INCREASE, 0.01)
FLOOR = CeilingTest(Direction.DECREASE, 0.05)


def after(test: CeilingTest, counts: Counts, intervals: int = 1, *, burning_in: bool = False) -> CeilingEvidence:
    evidence = CeilingEvidence.start(test)
    for _ in range(intervals):
        evidence = update_ceiling(test, evidence, counts, burning_in=burning_in)
    return evidence


def test_below_the_ceiling_is_safe_and_above_it_is_harm() -> None:
    safe = judge_ceiling(OBJECTIVE, after(OBJECTIVE, Counts(600, 3), 20))
    harmful = judge_ceiling(OBJECTIVE, after(OBJECTIVE, Counts(600, 12), 20))
    assert (safe.outcome, safe.control_rate) == (Outcome.PASS, 0.01)
    assert safe.ratio == pytest.approx(0.5)
    assert safe.why.startswith("Proven safe: 0.5 % of 12,000, ceiling 1 %, ×0.5. Evidence that it is below the ceiling")
    assert (harmful.outcome, harmful.harm) == (Outcome.FAIL, Harm.PROVEN)


def test_a_floor_is_the_other_way_round() -> None:
    assert judge_ceiling(FLOOR, after(FLOOR, Counts(600, 15), 20)).outcome is Outcome.FAIL
    above = judge_ceiling(FLOOR, after(FLOOR, Counts(600, 60), 20))
    assert above.outcome is Outcome.PASS
    assert "above the floor" in above.why


def test_no_event_at_all_proves_a_rate_below_the_ceiling() -> None:
    assert judge_ceiling(OBJECTIVE, after(OBJECTIVE, Counts(600, 0), 3)).outcome is Outcome.PASS


def test_a_rate_at_the_ceiling_proves_nothing() -> None:
    verdict = judge_ceiling(OBJECTIVE, after(OBJECTIVE, Counts(600, 6), 200))
    assert (verdict.outcome, verdict.harm) == (Outcome.INCONCLUSIVE, Harm.NONE)
    assert verdict.why.startswith("Not proven either way")


def test_burn_in_and_minimum_sample_hold_as_for_comparisons() -> None:
    warming = judge_ceiling(OBJECTIVE, after(OBJECTIVE, Counts(600, 30), 10, burning_in=True))
    assert (warming.outcome, warming.harm, warming.treatment_n) == (Outcome.INCONCLUSIVE, Harm.NONE, 0)
    broken = judge_ceiling(OBJECTIVE, after(OBJECTIVE, Counts(600, 300), 3, burning_in=True))
    assert broken.outcome is Outcome.FAIL
    test = replace(OBJECTIVE, min_sample=100_000)
    assert "12,000 of 100,000" in judge_ceiling(test, after(test, Counts(600, 3), 20)).why


def test_without_counts_there_is_no_verdict() -> None:
    assert judge_ceiling(OBJECTIVE, CeilingEvidence.start(OBJECTIVE)).no_data is NoData.EMPTY
    assert judge_ceiling(OBJECTIVE, after(OBJECTIVE, Counts(0, 0), 5)).no_data is NoData.NO_TRAFFIC


def test_the_dispersion_weakens_the_evidence() -> None:
    bursty = replace(OBJECTIVE, dispersion=5.0)
    once, often = after(OBJECTIVE, Counts(600, 12), 5), after(bursty, Counts(600, 12), 5)
    assert judge_ceiling(bursty, often).harm_e < judge_ceiling(OBJECTIVE, once).harm_e


@pytest.mark.parametrize("ceiling", [0.0, -0.1, float("nan"), float("inf")])
def test_a_senseless_ceiling_is_refused(ceiling: float) -> None:
    with pytest.raises(BadTest, match="ceiling must be a rate above 0"):
        CeilingTest(Direction.INCREASE, ceiling)


def test_senseless_levels_are_refused() -> None:
    with pytest.raises(BadTest, match="alpha_safe"):
        CeilingTest(Direction.INCREASE, 0.01, alpha_safe=2.0)


def test_evidence_against_another_ceiling_is_refused() -> None:
    evidence = after(OBJECTIVE, Counts(600, 3))
    with pytest.raises(BadEvidence, match="against 1 %, not for increase against 2 %"):
        judge_ceiling(replace(OBJECTIVE, ceiling=0.02), evidence)
    with pytest.raises(BadEvidence, match="start new evidence"):
        update_ceiling(replace(OBJECTIVE, margin=3.0), evidence, Counts(600, 3))


def test_evidence_is_small_and_round_trips_exactly() -> None:
    evidence = update_ceiling(FLOOR, after(FLOOR, Counts(601, 29), 77), Counts(600, 30), burning_in=True)
    stored = json.dumps(evidence.to_json())
    assert len(stored.encode()) < 4096
    restored = CeilingEvidence.from_json(json.loads(stored))
    assert restored == evidence
    assert update_ceiling(FLOOR, restored, Counts(600, 20)) == update_ceiling(FLOOR, evidence, Counts(600, 20))


@pytest.mark.parametrize("damage", [{"version": 9}, {"ceiling": None}, {"books": {"harm": []}}, {"seen": [2, 3]}])
def test_damaged_evidence_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(BadEvidence, match="start new evidence"):
        CeilingEvidence.from_json(CeilingEvidence.start(OBJECTIVE).to_json() | damage)
