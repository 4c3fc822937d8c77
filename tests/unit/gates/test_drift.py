"""What has left its range is found within minutes, next to never falsely, and what it means for a gate."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.gates import BadEvidence, BadTest, Counts, Direction, Harm, Outcome, Verdict
from tools.gates.drift import (
    HEADROOM,
    Departure,
    Drift,
    DriftEvidence,
    DriftTest,
    Quantity,
    judge,
    share_within,
    update,
    weigh,
    within,
)

TEST = DriftTest(
    Direction.INCREASE, base_rate=within(0.005, 3), traffic=(300, 1200), share=share_within(0.1, 2), dispersion=1.0
)
CALM = (540, 0.005, 60, 0.005)


def simulated(rng: np.random.Generator, world: tuple[float, float, float, float], minutes: float) -> tuple[Counts, ...]:
    """Control's and treatment's counts: requests a minute and rates of both."""
    control, rate, treatment, rate_too = world
    arms = (rng.poisson(control * minutes), rate), (rng.poisson(treatment * minutes), rate_too)
    return tuple(Counts(int(exposed), int(rng.binomial(exposed, chance))) for exposed, chance in arms)


def after(
    world: tuple[float, float, float, float],
    looks: int,
    *,
    test: DriftTest = TEST,
    evidence: DriftEvidence | None = None,
    minutes: float = 0.25,
    seed: int = 1,
) -> DriftEvidence:
    rng, evidence = np.random.default_rng(seed), evidence or DriftEvidence()
    for _ in range(looks):
        control, treatment = simulated(rng, world, minutes)
        evidence = update(test, evidence, minutes, control, treatment)
    return evidence


def minutes_until(world: tuple[float, float, float, float], quantity: Quantity, seed: int) -> float:
    """How long a drift takes to be found that begins after an hour."""
    rng, evidence = np.random.default_rng(seed), after(CALM, 240, seed=seed)
    for look in range(4 * 240):
        control, treatment = simulated(rng, world, 0.25)
        evidence = update(TEST, evidence, 0.25, control, treatment)
        if quantity in [one.quantity for one in judge(TEST, evidence).departures]:
            return (look + 1) / 4
    return math.inf


def test_what_is_as_planned_is_not_called_drift() -> None:
    for seed in range(20):
        evidence = DriftEvidence()
        rng = np.random.default_rng(seed)
        for _ in range(4 * 240):
            evidence = update(TEST, evidence, 0.25, *simulated(rng, CALM, 0.25))
            assert judge(TEST, evidence) == Drift()


@pytest.mark.parametrize(
    ("world", "quantity", "longest"),
    [
        ((540, 0.05, 60, 0.05), Quantity.BASE_RATE, 3),
        ((540, 0.03, 60, 0.03), Quantity.BASE_RATE, 8),
        ((540, 0.0, 60, 0.005), Quantity.BASE_RATE, 60),
        ((5400, 0.005, 600, 0.005), Quantity.TRAFFIC, 15),
        ((54, 0.005, 6, 0.005), Quantity.TRAFFIC, 15),
        ((400, 0.005, 200, 0.005), Quantity.SHARE, 15),
        ((595, 0.005, 5, 0.005), Quantity.SHARE, 15),
    ],
)
def test_a_drift_is_found_in_minutes(
    world: tuple[float, float, float, float], quantity: Quantity, longest: float
) -> None:
    assert np.quantile([minutes_until(world, quantity, seed) for seed in range(20)], 0.9) <= longest


def test_at_the_edge_of_the_range_false_alarms_are_as_rare_as_is_promised() -> None:
    """The worst that still is within the range, with a level that chance reaches: 1/α looks or more on average."""
    test = DriftTest(Direction.INCREASE, base_rate=(0.0001, 0.015), alpha=0.01)
    firsts = []
    for seed in range(120):
        rng, evidence, look = np.random.default_rng(seed), DriftEvidence(), 0
        while not judge(test, evidence).departures and look < 3000:
            look += 1
            evidence = update(test, evidence, 0.25, *simulated(rng, (540, 0.015, 60, 0.015), 0.25))
        firsts.append(look)
    assert np.mean(firsts) >= 100


def test_bursts_are_no_drift_when_their_dispersion_is_known() -> None:
    """Events in lumps of ten at a rate within the range."""
    bursty = replace(TEST, traffic=None, share=None, dispersion=10.0)
    rng, evidence = np.random.default_rng(5), DriftEvidence()
    for _ in range(4 * 600):
        evidence = update(bursty, evidence, 0.25, Counts(135, min(10 * int(rng.poisson(0.07)), 135)), Counts(15, 0))
        assert not judge(bursty, evidence).departures


def test_a_wave_of_requests_is_no_drift_unless_it_lasts() -> None:
    wave = after((5400, 0.005, 600, 0.005), 4 * 5)
    assert not judge(TEST, wave).departures
    assert not judge(TEST, after(CALM, 4 * 60, evidence=wave)).departures


def test_the_end_of_a_drift_is_seen_too() -> None:
    drifted = after((540, 0.05, 60, 0.05), 4 * 600)
    assert judge(TEST, drifted).incident
    assert max(drifted.above) <= TEST.level + HEADROOM
    assert judge(TEST, after(CALM, 4 * 10, evidence=drifted)) == Drift()


def test_a_new_stage_has_a_new_share() -> None:
    before = after((400, 0.005, 200, 0.005), 4 * 60)
    assert [one.quantity for one in judge(TEST, before).departures] == [Quantity.SHARE]
    wider = replace(TEST, share=share_within(0.33, 2))
    assert judge(wider, before) == Drift()
    assert judge(wider, after((400, 0.005, 200, 0.005), 4 * 60, test=wider, evidence=before)) == Drift()


def test_for_conversions_it_is_the_fall_that_is_an_incident() -> None:
    test = DriftTest(Direction.DECREASE, base_rate=within(0.05, 3))
    assert judge(test, after((540, 0.005, 60, 0.005), 4 * 30, test=test)).incident
    risen = judge(test, after((540, 0.5, 60, 0.5), 4 * 30, test=test))
    assert risen.departures
    assert not risen.incident


def test_it_is_said_with_what_was_seen_and_what_was_planned() -> None:
    drift = judge(TEST, after((5400, 0.05, 600, 0.05), 4 * 60))
    assert [one.quantity for one in drift.departures] == [Quantity.BASE_RATE, Quantity.TRAFFIC]
    assert drift.why.startswith("Control's rate is ")
    assert "above the 0.167 % to 1.5 % that the plan was made for; traffic is " in drift.why
    rate, traffic = (one.seen for one in drift.departures)
    assert rate == pytest.approx(0.05, rel=0.05)
    assert traffic == pytest.approx(6000, rel=0.05)


RATE = Departure(Quantity.BASE_RATE, above=True, seen=0.2, planned=(0.001, 0.02))
PACE = Departure(Quantity.TRAFFIC, above=False, seen=3.0, planned=(100, 1000))
INCIDENT, QUIET = Drift((RATE,), incident=True), Drift((PACE,))
PASSED = Verdict(Outcome.PASS, "Proven safe.", safe_e=30.0)
FAILED = Verdict(Outcome.FAIL, "Proven harmful.", harm=Harm.PROVEN, harm_e=60.0)
WAITING = Verdict(Outcome.INCONCLUSIVE, "Not proven.", harm=Harm.SUSPECTED)


@pytest.mark.parametrize(
    ("verdict", "drift", "compared", "outcome", "harm"),
    [
        (PASSED, INCIDENT, True, Outcome.INCONCLUSIVE, Harm.NONE),
        (PASSED, INCIDENT, False, Outcome.INCONCLUSIVE, Harm.NONE),
        (FAILED, INCIDENT, True, Outcome.FAIL, Harm.PROVEN),
        (FAILED, INCIDENT, False, Outcome.INCONCLUSIVE, Harm.SUSPECTED),
        (WAITING, INCIDENT, True, Outcome.INCONCLUSIVE, Harm.SUSPECTED),
        (PASSED, QUIET, True, Outcome.PASS, Harm.NONE),
        (FAILED, QUIET, False, Outcome.FAIL, Harm.PROVEN),
    ],
)
def test_what_drift_means_for_a_verdict(
    verdict: Verdict, drift: Drift, compared: bool, outcome: Outcome, harm: Harm
) -> None:
    weighed = weigh(verdict, drift, compared=compared)
    assert (weighed.outcome, weighed.harm) == (outcome, harm)
    assert drift.why in weighed.why
    assert verdict.why in weighed.why
    assert (weighed.harm_e, weighed.safe_e) == (verdict.harm_e, verdict.safe_e)


def test_without_drift_a_verdict_stays_as_it_is() -> None:
    assert weigh(PASSED, Drift(), compared=True) is PASSED


COUNTS = st.integers(0, 10**9).flatmap(
    lambda exposures: st.integers(0, exposures).map(lambda events: Counts(exposures, events))
)


@given(st.lists(st.tuples(st.floats(0, 10_000), COUNTS, COUNTS), max_size=20))
def test_whatever_comes_the_evidence_stays_small_finite_and_is_read_back(
    intervals: list[tuple[float, Counts, Counts]],
) -> None:
    evidence = DriftEvidence()
    for minutes, control, treatment in intervals:
        evidence = update(TEST, evidence, minutes, control, treatment)
        judge(TEST, evidence)
    text = json.dumps(evidence.to_json(), allow_nan=False)
    assert len(text) <= 1024
    assert DriftEvidence.from_json(json.loads(text)) == evidence


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"below": [0.0, 0.0]},
        {"above": ["x", 0.0, 0.0]},
        {"share": [0.1]},
        {"minutes": float("nan")},
        {"control": None},
    ],
)
def test_damaged_evidence_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadEvidence):
        DriftEvidence.from_json({**after(CALM, 3).to_json(), **change})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: replace(TEST, base_rate=(0.0, 1.0)), "range of base_rate"),
        (lambda: replace(TEST, traffic=(5.0, 4.0)), "range of traffic"),
        (lambda: replace(TEST, share=(0.5, 1.0)), "below 1"),
        (lambda: replace(TEST, dispersion=0.5), "dispersion"),
        (lambda: replace(TEST, alpha=0), "alpha"),
        (lambda: update(TEST, DriftEvidence(), -1.0, Counts(1, 0), Counts(1, 0)), "0 minutes or more"),
        (lambda: update(TEST, DriftEvidence(), math.nan, Counts(1, 0), Counts(1, 0)), "0 minutes or more"),
    ],
)
def test_senseless_questions_are_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(BadTest, match=words):
        make()


def test_an_interval_without_length_changes_nothing() -> None:
    before = after(CALM, 3)
    assert update(TEST, before, 0.0, Counts(10**6, 10**6), Counts(0, 0)) is before
