"""What is said of a harm that began late is what was counted since."""

import json

import pytest

from tools.gates import BadEvidence, CountEvidence, Counts, CountTest, Direction, Harm, Verdict, judge, update
from tools.gates.onset import HIGHEST, NO_ONSET, Onset

ERRORS = CountTest(Direction.INCREASE, 2.5)
BUYS = CountTest(Direction.DECREASE, 1.5)
WELL, ILL = (Counts(900, 63), Counts(100, 7)), (Counts(90, 6), Counts(10, 6))


def after(test: CountTest, *looks: tuple[Counts, Counts]) -> CountEvidence:
    evidence = CountEvidence.start(test)
    for control, treatment in looks:
        evidence = update(test, evidence, control, treatment)
    return evidence


def test_a_harm_that_began_late_is_told_by_what_was_counted_since() -> None:
    verdict = judge(ERRORS, after(ERRORS, *[WELL] * 20, *[ILL] * 6))
    assert verdict.harm is Harm.PROVEN
    assert verdict.treatment_rate == pytest.approx((20 * 7 + 6 * 6) / 2060)
    assert verdict.lately == pytest.approx((0.6, 36 / 540))
    assert verdict.why.startswith(
        "Proven harmful: treatment 60 % of 60, control 6.67 % of 540, ×9; in all treatment 8.5"
    )


def test_a_fall_of_what_is_wanted_is_told_likewise() -> None:
    verdict = judge(
        BUYS, after(BUYS, *[(Counts(900, 270), Counts(300, 90))] * 20, *[(Counts(900, 270), Counts(300, 9))] * 3)
    )
    assert verdict.harm is Harm.PROVEN
    assert verdict.lately == pytest.approx((0.03, 0.3))


def test_a_harm_from_the_first_exposure_on_is_told_once() -> None:
    verdict = judge(ERRORS, after(ERRORS, *[ILL] * 6))
    assert (verdict.harm, verdict.lately) == (Harm.PROVEN, None)
    assert "in all" not in verdict.why


def test_what_is_well_has_no_onset() -> None:
    evidence = after(ERRORS, *[ILL] * 2, *[WELL] * 30)
    assert evidence.onset == NO_ONSET
    assert judge(ERRORS, evidence).lately is None


def test_an_arm_without_traffic_tells_nothing_of_it() -> None:
    before = after(ERRORS, *[WELL] * 3, ILL).onset
    assert before.after(Direction.INCREASE, 2.5, Counts(900, 800), Counts(0, 0)) == before


def test_the_sum_is_bounded_so_that_an_end_is_seen() -> None:
    assert after(ERRORS, *[ILL] * 500).onset.height == HIGHEST
    assert after(ERRORS, *[ILL] * 500, *[WELL] * 20).onset == NO_ONSET


def test_it_is_stored_with_the_evidence_and_in_the_verdict() -> None:
    evidence = after(ERRORS, *[WELL] * 20, *[ILL] * 6)
    assert CountEvidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence
    verdict = judge(ERRORS, evidence)
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


@pytest.mark.parametrize("height", [-1.0, float("nan"), 51.0])
def test_a_damaged_one_is_refused(height: float) -> None:
    with pytest.raises(BadEvidence):
        Onset.from_json([height, [1, 0], [1, 0]])
