"""What the gate on means answers, and what it promises, held against simulated shops."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.gates import BadCounts, BadEvidence, BadTest, Direction, Harm, NoData, Outcome, Verdict
from tools.gates.means import (
    MeanEvidence,
    MeanTest,
    Sums,
    confidence_sequence,
    estimate_dispersion,
    judge,
    log_e_value,
    refuting,
    update,
)

CAP = 300.0
REVENUE = MeanTest(Direction.DECREASE, CAP, margin=1.2)
COST = MeanTest(Direction.INCREASE, CAP, margin=1.2)


def shop(
    intervals: int, seed: int, *, factor: float = 1.0, share: float = 0.2, units: float = 1000, onset: int = 0
) -> Iterator[tuple[Sums, Sums]]:
    """Control's and treatment's intervals: one unit in ten spends, log-normally, capped as a source would."""
    rng = np.random.default_rng(seed)
    for interval in range(intervals):
        arms = []
        for part, by in ((1 - share, 1.0), (share, factor if interval >= onset else 1.0)):
            size = rng.poisson(units * part)
            spent = (rng.random(size) < 0.1) * np.exp(3 + rng.standard_normal(size)) * by
            capped = np.minimum(spent, CAP)
            arms.append(Sums(size, float(capped.sum()), float((capped**2).sum())))
        yield arms[0], arms[1]


def after(test: MeanTest, arms: Iterator[tuple[Sums, Sums]], *, burning_in: bool = False) -> MeanEvidence:
    evidence = MeanEvidence.start(test)
    for control, treatment in arms:
        evidence = update(test, evidence, control, treatment, burning_in=burning_in)
    return evidence


def first(test: MeanTest, arms: Iterator[tuple[Sums, Sums]], wanted: Outcome) -> float:
    """The first interval, from 1, with that outcome; infinity without one."""
    evidence = MeanEvidence.start(test)
    for interval, (control, treatment) in enumerate(arms, start=1):
        evidence = update(test, evidence, control, treatment)
        if judge(test, evidence).outcome is wanted:
            return interval
    return math.inf


def within(observed: float, promised: float, streams: int) -> bool:
    """Whether an observed frequency agrees with one of at most `promised`."""
    return observed <= promised + 3 * math.sqrt(promised * (1 - promised) / streams)


@pytest.mark.parametrize(("test", "worse"), [(REVENUE, 0.6), (COST, 1.5)])
def test_a_worse_mean_fails_and_an_equal_one_passes(test: MeanTest, worse: float) -> None:
    harmful = judge(test, after(test, shop(60, 1, factor=worse)))
    assert (harmful.outcome, harmful.harm) == (Outcome.FAIL, Harm.PROVEN)
    assert harmful.ratio == pytest.approx(worse, abs=0.12)
    assert harmful.why.startswith("Proven harmful: treatment ")
    same = judge(test, after(test, shop(120, 2)))
    assert same.outcome is Outcome.PASS
    assert f"{'above ×0.833' if test is REVENUE else 'below ×1.2'}" in same.why
    assert same.treatment_n == pytest.approx(24_000, rel=0.05)


def test_a_better_mean_is_safe_and_no_harm() -> None:
    verdict = judge(REVENUE, after(REVENUE, shop(60, 3, factor=1.4)))
    assert (verdict.outcome, verdict.harm) == (Outcome.PASS, Harm.NONE)


def test_nothing_is_judged_before_two_hundred_units() -> None:
    small = Sums(190, 0.0, 0.0)
    verdict = judge(REVENUE, update(REVENUE, MeanEvidence.start(REVENUE), Sums(10**6, 5e6, 1e9), small))
    assert (verdict.outcome, verdict.harm_e, verdict.safe_e) == (Outcome.INCONCLUSIVE, 1.0, 1.0)
    assert "before 200 treatment units; 190 are in" in verdict.why
    more = judge(REVENUE, update(REVENUE, MeanEvidence.start(REVENUE), Sums(10**6, 5e6, 1e9), Sums(1000, 0.0, 0.0)))
    assert more.outcome is Outcome.FAIL


def test_a_control_without_a_mean_proves_nothing() -> None:
    arms = Sums(5000, 0.0, 5000.0), Sums(5000, 100.0, 5000.0)
    verdict = judge(COST, update(COST, MeanEvidence.start(COST), *arms))
    assert (verdict.outcome, verdict.safe_e, verdict.ratio) == (Outcome.INCONCLUSIVE, 1.0, None)
    assert "Control's mean is not above 0" in verdict.why


def test_arms_without_units_are_no_data() -> None:
    some, none = Sums(500, 900.0, 5e4), Sums(0, 0.0, 0.0)
    for arms, words in (((some, none), "Treatment has had no units"), ((none, some), "Control has had no units")):
        verdict = judge(COST, update(COST, MeanEvidence.start(COST), *arms))
        assert (verdict.outcome, verdict.no_data) == (Outcome.NO_DATA, NoData.NO_TRAFFIC)
        assert words in verdict.why
    assert judge(COST, MeanEvidence.start(COST)).no_data is NoData.EMPTY


def test_burn_in_is_neither_harm_nor_proof_and_a_broken_start_fails() -> None:
    warm = judge(REVENUE, after(REVENUE, shop(10, 4, factor=0.6), burning_in=True))
    assert (warm.outcome, warm.harm, warm.treatment_n) == (Outcome.INCONCLUSIVE, Harm.NONE, 0)
    assert "Burning in" in warm.why
    assert judge(REVENUE, after(REVENUE, shop(20, 5, factor=0.0), burning_in=True)).outcome is Outcome.FAIL
    assert judge(COST, after(COST, shop(20, 6, factor=12.0), burning_in=True)).outcome is Outcome.FAIL


def test_squares_that_a_source_rounds_are_taken() -> None:
    """1.23² is more than 1.51."""
    assert Sums(1, 1.23, 1.51).variance == 0


@pytest.mark.parametrize(
    ("units", "total", "squares", "words"),
    [
        (-1, 0.0, 0.0, "whole number"),
        (1.5, 0.0, 0.0, "whole number"),
        (math.nan, 0.0, 0.0, "whole number"),
        (10, math.nan, 1.0, "can't be nan"),
        (10, 1.0, -1.0, "a counter may have restarted"),
        (10, math.inf, math.inf, "can't be inf"),
        (10, 100.0, 10.0, "10 values that sum to 100 can't be 10"),
        (0, 5.0, 25.0, "0 values that sum to 5"),
    ],
)
def test_impossible_sums_are_refused(units: Any, total: float, squares: float, words: str) -> None:
    with pytest.raises(BadCounts, match=words):
        Sums(units, total, squares)


def test_values_beyond_the_cap_are_named_and_cost_no_evidence() -> None:
    evidence = after(REVENUE, shop(3, 7))
    before = json.dumps(evidence.to_json())
    with pytest.raises(BadCounts, match="winsorise each unit's value at the plan's cap"):
        update(REVENUE, evidence, Sums(10, 10 * CAP * 2, 10 * (2 * CAP) ** 2), Sums(0, 0.0, 0.0))
    with pytest.raises(BadCounts, match="more than the cap of 300 allows"):
        update(REVENUE, evidence, Sums(10, 0.0, 10 * (2 * CAP) ** 2), Sums(0, 0.0, 0.0))
    assert json.dumps(evidence.to_json()) == before


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"cap": 0.0}, "cap"),
        ({"cap": math.nan}, "cap"),
        ({"margin": 1.0}, "margin"),
        ({"min_sample": 10}, "at least 200"),
        ({"tightest_at": 0.0}, "tightest_at"),
        ({"dispersion": 0.1}, "dispersion"),
    ],
)
def test_a_senseless_test_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadTest, match=words):
        replace(REVENUE, **wrong)


def test_evidence_of_another_test_is_refused_and_the_margin_may_change() -> None:
    evidence = after(REVENUE, shop(120, 8))
    for other in (COST, replace(REVENUE, cap=5.0), replace(REVENUE, tightest_at=7.0)):
        with pytest.raises(BadEvidence, match="start new evidence"):
            judge(other, evidence)
        with pytest.raises(BadEvidence, match="start new evidence"):
            update(other, evidence, Sums(0, 0.0, 0.0), Sums(0, 0.0, 0.0))
    assert judge(replace(REVENUE, margin=1.001), evidence).outcome is Outcome.INCONCLUSIVE


def test_evidence_is_small_and_round_trips_exactly() -> None:
    evidence = MeanEvidence.start(REVENUE)
    rng = np.random.default_rng(9)
    for power in range(44):
        units = int(2 ** (power / 2) * 997 + 1)
        spent = float(units * rng.uniform(10, 11) / 3)
        arm = Sums(units, spent, spent * 31.7)
        evidence = update(REVENUE, evidence, arm, arm, burning_in=power < 2)
    assert evidence.dropped > 0
    stored = json.dumps(evidence.to_json(), allow_nan=False)
    assert len(stored.encode()) <= 4096
    restored = MeanEvidence.from_json(json.loads(stored))
    assert restored == evidence
    assert 0.5 < judge(REVENUE, evidence).harm_e + 1 < math.inf


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 0},
        {"test": ["sideways", 1.0, 1.0]},
        {"test": []},
        {"control": [1, 2]},
        {"control": [1.5, 2.0, 9.0]},
        {"matched": [1.0]},
        {"matched": [0.0, 0.0, -1.0, 0.0, 0.0, 0.0]},
        {"matched": [math.nan] * 6},
        {"starts": None},
        {"starts": [[0.0] * 6] * 40},
        {"intervals": None},
    ],
)
def test_damaged_evidence_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(BadEvidence, match="start new evidence"):
        MeanEvidence.from_json(MeanEvidence.start(REVENUE).to_json() | damage)


@st.composite
def sums(draw: st.DrawFn) -> Sums:
    units = draw(st.integers(0, 10**7))
    mean = draw(st.floats(-CAP, CAP))
    spread = draw(st.floats(0, 1)) * (CAP**2 - mean**2)
    return Sums(units, units * mean, units * (mean**2 + spread))


@given(st.sampled_from(Direction), st.lists(st.tuples(sums(), sums(), st.booleans()), max_size=8), st.floats(1, 50))
def test_any_sums_leave_evidence_sound(
    direction: Direction, seen: list[tuple[Sums, Sums, bool]], dispersion: float
) -> None:
    test = MeanTest(direction, CAP, dispersion=dispersion)
    evidence = MeanEvidence.start(test)
    for control, treatment, burning_in in seen:
        evidence = update(test, evidence, control, treatment, burning_in=burning_in)
    verdict = judge(test, evidence)
    assert 0 <= verdict.harm_e < math.inf
    assert 0 <= verdict.safe_e < math.inf
    restored = MeanEvidence.from_json(json.loads(json.dumps(evidence.to_json(), allow_nan=False)))
    assert judge(test, restored) == verdict
    assert Verdict.from_json(verdict.to_json()) == verdict
    compared = sum(other.units for one, other, warm in seen if one.units and not warm)
    if compared < 200:
        assert verdict.outcome is not Outcome.PASS


@given(st.lists(st.tuples(sums(), sums()), max_size=6))
def test_turning_all_signs_turns_the_direction(seen: list[tuple[Sums, Sums]]) -> None:
    def turned(arm: Sums) -> Sums:
        return Sums(arm.units, -arm.total, arm.squares)

    here = judge(COST, after(COST, iter(seen)))
    there = judge(REVENUE, after(REVENUE, ((turned(one), turned(other)) for one, other in seen)))
    assert here.harm_e == pytest.approx(there.harm_e, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("test", [REVENUE, COST])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_false_rollbacks_stay_below_their_level(test: MeanTest, share: float) -> None:
    failed = [first(test, shop(40, 100 + seed, share=share), Outcome.FAIL) for seed in range(100)]
    assert within(np.isfinite(failed).mean(), 0.02, 100)


@pytest.mark.parametrize(("test", "factor"), [(REVENUE, 1 / 1.2), (COST, 1.2)])
def test_a_treatment_at_the_margin_is_rarely_promoted(test: MeanTest, factor: float) -> None:
    passed = [first(test, shop(40, 300 + seed, factor=factor), Outcome.PASS) for seed in range(100)]
    assert within(np.isfinite(passed).mean(), 0.05, 100)


def test_a_lost_fifth_of_the_revenue_is_caught_near_the_limit() -> None:
    """The limit is ln(1/α)/I for means of known variance."""
    caught = np.array([first(REVENUE, shop(300, 500 + seed, factor=0.8), Outcome.FAIL) for seed in range(40)])
    control = sum((arms[0] for arms in shop(200, 999)), Sums(0, 0.0, 0.0))
    information = 160 * (0.2 * control.mean) ** 2 / (2 * control.variance)
    assert np.isfinite(caught).all()
    assert caught.mean() / (math.log(50) / information) < 1.5


def test_a_harm_that_starts_late_is_caught() -> None:
    caught = np.array(
        [first(REVENUE, shop(260, 700 + seed, factor=0.5, onset=160), Outcome.FAIL) for seed in range(20)]
    )
    assert np.median(caught[caught > 160] - 160) < 60


def test_the_confidence_sequence_holds_and_narrows() -> None:
    covered, narrower = 0, 0
    for seed in range(60):
        evidence, always, widths = MeanEvidence.start(COST), True, []
        for arms in shop(40, 900 + seed):
            evidence = update(COST, evidence, *arms)
            low, high = confidence_sequence(COST, evidence, 0.05) or (-math.inf, math.inf)
            always &= low <= 1 <= high
            widths.append(high - low)
        covered += always
        narrower += widths[-1] < widths[5]
    assert within(1 - covered / 60, 0.1, 60)
    assert narrower == 60
    assert confidence_sequence(COST, MeanEvidence.start(COST), 0.05) is None


def test_the_confidence_sequence_ends_where_the_e_value_refutes() -> None:
    """Below the margin just when safety is proven, and above no difference when harm would be, from the start alone."""
    evidence = MeanEvidence.start(COST)
    for arms in shop(40, 931, factor=1.02):
        evidence = update(COST, evidence, *arms)
    bounds = confidence_sequence(COST, evidence, 0.05)
    assert bounds is not None
    wide = replace(COST, margin=1.01 * bounds[1])
    assert judge(wide, evidence).safe_e > 20
    narrow = replace(COST, margin=0.99 * bounds[1])
    assert judge(narrow, evidence).safe_e < 20


@given(st.sampled_from([0.001, 0.05, 0.2]), st.floats(1e-3, 1e4))
def test_what_refutes_is_where_the_e_value_reaches_its_level(alpha: float, r: float) -> None:
    assert log_e_value(refuting(alpha, r), r) == pytest.approx(-math.log(alpha), abs=1e-6)


def test_a_level_that_moves_in_both_arms_is_no_harm() -> None:
    """Treatment gets most of its units when everybody spends less (Simpson's paradox)."""
    evidence = MeanEvidence.start(REVENUE)
    for share, factor in ((0.02, 1.0), (0.5, 0.3)):
        for control, treatment in shop(30, 42, share=share):
            arms = (Sums(arm.units, arm.total * factor, arm.squares * factor**2) for arm in (control, treatment))
            evidence = update(REVENUE, evidence, *arms)
    verdict = judge(REVENUE, evidence)
    assert verdict.harm is Harm.NONE
    assert verdict.ratio == pytest.approx(1, abs=0.1)


def test_the_dispersion_is_found_and_weakens_the_evidence() -> None:
    calm = [control for control, _ in shop(120, 11)]
    noise = np.random.default_rng(12).lognormal(0, 0.3, 120)
    restless = [
        Sums(arm.units, arm.total * by, arm.squares * by**2) for arm, by in zip(calm, noise.tolist(), strict=True)
    ]
    assert estimate_dispersion(calm) < 1.6
    assert estimate_dispersion(restless) > 3
    assert estimate_dispersion([]) == 1
    assert estimate_dispersion([Sums(5, 0.0, 0.0)] * 4) == 1
    wide = replace(REVENUE, dispersion=4.0)
    assert (
        judge(wide, after(wide, shop(30, 13, factor=0.8))).harm_e
        < judge(REVENUE, after(REVENUE, shop(30, 13, factor=0.8))).harm_e
    )


def test_evidence_does_not_depend_on_the_level_that_it_is_judged_at() -> None:
    """So that it goes on when a plan in flight gets one more guardrail to share the level with."""
    test = MeanTest(Direction.DECREASE, 100.0)
    evidence = MeanEvidence.start(test)
    for _ in range(30):
        evidence = update(test, evidence, Sums(900, 18_000.0, 450_000.0), Sums(100, 1_850.0, 43_000.0))
    alone, sharing = judge(test, evidence), judge(replace(test, alpha_pause=0.01, alpha_rollback=0.004), evidence)
    assert alone.harm_e == sharing.harm_e > 1
    assert (sharing.pause_from, sharing.rollback_from) == (100, 250)
