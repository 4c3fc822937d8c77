import json
from dataclasses import replace

import pytest

from tools.gates import BadVerdict, Harm, NoData, Outcome, Verdict, error, no_data, worst

PASSED = Verdict(
    Outcome.PASS,
    "Proven safe.",
    treatment_rate=0.1 + 0.2,
    control_rate=0.005,
    ratio=1 / 3,
    margin=2.0,
    harm_e=0.1,
    safe_e=23.000000000000004,
    treatment_n=3000,
    control_n=57000,
    treatment_events=15,
    control_events=285,
    min_sample=1000,
)
HELD = replace(PASSED, outcome=Outcome.INCONCLUSIVE, why="Held.")
SUSPECTED = replace(HELD, harm=Harm.SUSPECTED, why="Harm suspected.")
FAILED = replace(PASSED, outcome=Outcome.FAIL, harm=Harm.PROVEN, why="Proven harmful.")
BLIND = no_data(NoData.STALE, "The newest sample is 9 min old.")
BROKEN = error("The metric source refused the query.")


SHARED = replace(HELD, pause_from=60.0, rollback_from=150.0)
NEVER_ROLLS_BACK = replace(SUSPECTED, pause_from=1000.0, rollback_from=None)
DRIFTED = replace(HELD, drift="Traffic is 75/min.", ratio_range=(1 / 3, 0.1 + 0.2))


@pytest.mark.parametrize("verdict", [PASSED, HELD, SUSPECTED, FAILED, BLIND, BROKEN, SHARED, NEVER_ROLLS_BACK, DRIFTED])
def test_json_round_trip_is_exact(verdict: Verdict) -> None:
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


@pytest.mark.parametrize(
    "damage",
    [
        {"outcome": "perhaps"},
        {"harm": None},
        {"no_data": "gone"},
        {"colour": "red"},
        {"why": None},
        {"ratio_range": [1]},
        {"ratio_range": 3},
    ],
)
def test_a_damaged_verdict_is_refused(damage: dict[str, object]) -> None:
    plain = PASSED.to_json() | damage
    if damage == {"why": None}:
        del plain["no_data"]
    with pytest.raises(BadVerdict, match="judge the stored evidence again"):
        Verdict.from_json(plain)


def test_the_usual_levels_are_left_out_and_read_back() -> None:
    assert not PASSED.to_json().keys() & {"pause_from", "rollback_from", "drift", "ratio_range"}
    read = Verdict.from_json(PASSED.to_json())
    assert (read.pause_from, read.rollback_from) == (20.0, 50.0)
    assert NEVER_ROLLS_BACK.to_json()["rollback_from"] is None


def test_a_blind_or_broken_guardrail_carries_no_numbers() -> None:
    assert (BLIND.outcome, BLIND.no_data, BLIND.harm_e, BLIND.treatment_rate) == (
        Outcome.NO_DATA,
        NoData.STALE,
        1.0,
        None,
    )
    assert (BROKEN.outcome, BROKEN.no_data, BROKEN.why) == (
        Outcome.ERROR,
        None,
        "The metric source refused the query.",
    )


def test_outcomes_are_ordered_by_severity() -> None:
    order = [Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.NO_DATA, Outcome.ERROR, Outcome.FAIL]
    assert sorted(Outcome, key=lambda outcome: outcome.severity) == order


def test_the_worst_guardrail_decides() -> None:
    assert worst([PASSED, HELD]) is HELD
    assert worst([HELD, BLIND, PASSED]) is BLIND
    assert worst([BLIND, BROKEN]) is BROKEN
    assert worst([FAILED, BROKEN, PASSED]) is FAILED
    assert worst([HELD, SUSPECTED]) is SUSPECTED


def test_the_first_of_equals_is_kept() -> None:
    other = replace(PASSED, why="Another.")
    assert worst(iter([PASSED, other])) is PASSED


def test_a_blind_guardrail_does_not_hide_suspected_harm() -> None:
    verdict = worst([BLIND, SUSPECTED])
    assert (verdict.outcome, verdict.harm, verdict.no_data) == (Outcome.NO_DATA, Harm.SUSPECTED, NoData.STALE)
    assert verdict.why == "The newest sample is 9 min old. Also: Harm suspected."


def test_a_gate_without_guardrails_has_no_verdict() -> None:
    with pytest.raises(ValueError, match="without guardrails"):
        worst([])
