"""What is said of a harm that began late is what was counted since."""

import json
import math

import pytest

from tools.gates import (
    BadEvidence,
    CountEvidence,
    Counts,
    CountTest,
    Direction,
    Harm,
    Verdict,
    judge,
    latency,
    means,
    update,
)
from tools.gates.histograms import Histogram
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
    before = after(ERRORS, *[WELL] * 3, ILL)
    assert update(ERRORS, before, Counts(900, 800), Counts(0, 0)).onset == before.onset


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
        Onset.from_json([height, [1, 0], [1, 0]], Counts.from_json)


# -- means and latencies ----------------------------------------------------------------------------------------------

REVENUE = means.MeanTest(Direction.DECREASE, 100.0, 1.25)
EDGES = (0.1, 0.2, 0.5, 1.0, math.inf)


def spent(units: int, mean: float) -> means.Sums:
    """Values whose standard deviation is half their mean."""
    return means.Sums(units, units * mean, units * 1.25 * mean**2)


def spending(*treatment: float) -> means.MeanEvidence:
    evidence = means.MeanEvidence.start(REVENUE)
    for mean in treatment:
        evidence = means.update(REVENUE, evidence, spent(900, 20.0), spent(100, mean))
    return evidence


def test_a_mean_that_fell_late_is_told_by_what_was_seen_since() -> None:
    evidence = spending(*[20.0] * 30, *[10.0] * 5)
    verdict = means.judge(REVENUE, evidence)
    assert verdict.harm is Harm.PROVEN
    assert verdict.lately == pytest.approx((10.0, 20.0))
    assert verdict.why.startswith(
        "Proven harmful: treatment 10 a unit over 500, control 20 over 4,500, ×0.5; in all treatment 18.57 a unit"
    )
    assert means.MeanEvidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence


def test_a_mean_that_rises_where_that_is_harm_is_told_likewise() -> None:
    costs = means.MeanTest(Direction.INCREASE, 100.0, 1.25)
    evidence = means.MeanEvidence.start(costs)
    for mean in [20.0] * 30 + [32.0] * 5:
        evidence = means.update(costs, evidence, spent(900, 20.0), spent(100, mean))
    assert means.judge(costs, evidence).lately == pytest.approx((32.0, 20.0))


def test_a_mean_that_is_well_or_was_never_has_no_onset() -> None:
    assert spending(*[20.0] * 5, 10.0, *[20.0] * 30).onset == NO_ONSET
    assert means.judge(REVENUE, spending(*[10.0] * 5)).lately is None
    assert means.judge(REVENUE, spending(*[20.0] * 40)).lately is None


def histogram(sums: bool, counts: tuple[int, ...]) -> Histogram:
    middles = (0.06, 0.15, 0.3, 0.7, 1.5)
    total, squares = (sum(n * at**power for n, at in zip(counts, middles, strict=True)) for power in (1, 2))
    return Histogram(EDGES, counts, *((total, squares) if sums else (None, None)))


@pytest.mark.parametrize("sums", [True, False])
def test_latencies_that_rose_late_are_told_by_what_was_seen_since(*, sums: bool) -> None:
    test = latency.LatencyTest(EDGES, 1.5, sums=sums)
    evidence = latency.LatencyEvidence.start(test)
    for treatment in [(30, 50, 15, 4, 1)] * 40 + [(10, 20, 40, 25, 5)] * 3:
        arms = histogram(sums, (270, 450, 135, 36, 9)), histogram(sums, treatment)
        evidence = latency.update(test, evidence, *arms)
    verdict = latency.judge(test, evidence)
    assert verdict.harm is Harm.PROVEN
    assert verdict.why.startswith("Proven harmful: latencies of 300 treatment and 2,700 control requests")
    assert "; in all latencies of 4,300 treatment" in verdict.why
    assert verdict.lately == (pytest.approx((0.406, 0.181)) if sums else None)
    stored = json.loads(json.dumps(evidence.to_json()))
    assert latency.LatencyEvidence.from_json(stored).onset == evidence.onset


def test_latencies_while_burning_in_tell_of_no_onset() -> None:
    test = latency.LatencyTest(EDGES, 1.5)
    arms = histogram(True, (270, 450, 135, 36, 9)), histogram(True, (10, 20, 40, 25, 5))
    warm = latency.update(test, latency.LatencyEvidence.start(test), *arms, burning_in=True)
    assert warm.onset == NO_ONSET
