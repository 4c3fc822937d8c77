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

from tests.unit.gates.latencies import EDGES, log_normal
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
from tools.gates.histograms import Histogram
from tools.gates.level import LevelRange, latencies_of
from tools.gates.means import Sums
from tools.gates.wealth import Floats

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
    assert max(drifted.above) <= TEST.found_from + HEADROOM
    assert judge(TEST, after(CALM, 4 * 10, evidence=drifted)) == Drift()


def latencies(rng: np.random.Generator, size: int) -> Floats:
    return log_normal()(rng, size)


def amounts(rng: np.random.Generator, size: int) -> Floats:
    return rng.gamma(2.0, 25.0, size)


def summed(values: Floats) -> Sums:
    cut = np.minimum(values, 200.0)
    return Sums(len(values), float(cut.sum()), float((cut**2).sum()))


def counted(values: Floats, *, with_sums: bool) -> Sums:
    buckets = np.bincount(np.searchsorted(EDGES, values), minlength=len(EDGES)).tolist()
    total = (float(values.sum()), float((values**2).sum())) if with_sums else ()
    return latencies_of(Histogram(EDGES, tuple(buckets), *total))


SPENT = LevelRange.scaled(50.0, 35.0, 1.3, -200.0, 200.0)
LOGS = counted(latencies(np.random.default_rng(0), 200_000), with_sums=False)
# Its range as planned, what is worse, how many come in a minute, and how to draw them, that many times worse.
KINDS: dict[str, tuple[LevelRange, Direction, int, Callable[[np.random.Generator, int, float], Sums]]] = {
    "mean": (SPENT, Direction.DECREASE, 100, lambda rng, size, times: summed(amounts(rng, size) / times)),
    "latency with sums": (
        LevelRange.scaled(95.8, 63.0, 1.3, 0.0, 20_000.0),
        Direction.INCREASE,
        540,
        lambda rng, size, times: counted(latencies(rng, size) * times, with_sums=True),
    ),
    "latency in buckets": (
        LevelRange.of_middles(LOGS.mean, math.sqrt(LOGS.variance), 1.3, EDGES),
        Direction.INCREASE,
        540,
        lambda rng, size, times: counted(latencies(rng, size) * times, with_sums=False),
    ),
}


def minutes_until_worse(kind: str, times: float, seed: int, minutes: int, alpha: float = 1e-5) -> float:
    """How long it takes from the first look on until control, that many times worse than planned, is called so."""
    level, direction, pace, draw = KINDS[kind]
    test = DriftTest(direction, level=level, alpha=alpha)
    rng, evidence = np.random.default_rng(seed), DriftEvidence()
    for look in range(4 * minutes):
        size = int(rng.poisson(pace / 4))
        evidence = update(test, evidence, 0.25, Counts(size, 0), Counts(0, 0), draw(rng, size, times))
        if judge(test, evidence).departures:
            return (look + 1) / 4
    return math.inf


@pytest.mark.parametrize("kind", KINDS)
def test_a_mean_or_a_latency_as_planned_is_not_called_drift(kind: str) -> None:
    assert min(minutes_until_worse(kind, 1.0, seed, 24 * 60) for seed in range(2)) == math.inf


@pytest.mark.parametrize(
    ("kind", "times", "longest"),
    [
        ("mean", 1.5, 20),
        ("mean", 2.0, 6),
        ("latency with sums", 1.5, 5),
        ("latency with sums", 2.0, 1),
        ("latency in buckets", 1.5, 5),
        ("latency in buckets", 2.0, 1),
    ],
)
def test_control_that_does_worse_is_found_in_minutes(kind: str, times: float, longest: float) -> None:
    assert np.quantile([minutes_until_worse(kind, times, seed, 60) for seed in range(20)], 0.9) <= longest


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_edge_of_a_level_false_alarms_are_as_rare_as_is_promised(kind: str) -> None:
    firsts = [minutes_until_worse(kind, 1.3, seed, 100, alpha=0.02) for seed in range(12)]
    assert np.mean(np.minimum(firsts, 100)) >= 50 / 4


def slowed(times: float) -> DriftEvidence:
    """After an hour of such latencies."""
    level, direction, pace, draw = KINDS["latency with sums"]
    test, rng, evidence = DriftTest(direction, level=level), np.random.default_rng(7), DriftEvidence()
    for _ in range(60):
        evidence = update(test, evidence, 1.0, Counts(pace, 0), Counts(0, 0), draw(rng, pace, times))
    return evidence


def test_a_slow_control_is_an_incident_and_a_fast_one_is_not() -> None:
    test = DriftTest(Direction.INCREASE, level=replace(KINDS["latency with sums"][0], what="mean latency", unit="ms"))
    slow, fast = judge(test, slowed(2.0)), judge(test, slowed(0.5))
    assert slow.incident
    assert not fast.incident
    assert slow.names == ("level above",)
    assert fast.names == ("level below",)
    assert slow.why.startswith("Control's mean latency is 19")
    assert slow.why.endswith(" ms, above the 73.7 ms to 125 ms that the plan was made for.")
    typical = DriftTest(Direction.INCREASE, level=KINDS["latency in buckets"][0])
    evidence = DriftEvidence()
    for seed in range(9):
        values = KINDS["latency in buckets"][3](np.random.default_rng(seed), 540, 2.0)
        evidence = update(typical, evidence, 1.0, Counts(540, 0), Counts(0, 0), values)
    [found] = judge(typical, evidence).departures
    assert found.seen == pytest.approx(160, rel=0.1)


def test_clusters_of_slow_requests_are_no_drift_when_their_dispersion_is_known() -> None:
    level = KINDS["latency with sums"][0]
    rng, knowing = np.random.default_rng(3), DriftTest(Direction.INCREASE, level=level, dispersion=40.0)
    found = {1.0: False, 40.0: False}
    evidence = {phi: DriftEvidence() for phi in found}
    for _ in range(600):
        values = counted(np.repeat(latencies(rng, 14), 40), with_sums=True)
        for phi in found:
            test = replace(knowing, dispersion=phi)
            evidence[phi] = update(test, evidence[phi], 1.0, Counts(560, 0), Counts(0, 0), values)
            found[phi] |= bool(judge(test, evidence[phi]).departures)
    assert found == {1.0: True, 40.0: False}


def test_what_an_earlier_release_kept_is_read() -> None:
    """It watched no level: what it knows of the others goes on, and control's mean begins with the first look."""
    kept = after((400, 0.005, 200, 0.005), 4 * 60).to_json()
    del kept["values"]
    old = {**kept, "version": 1, "below": kept["below"][:3], "above": kept["above"][:3]}
    read = DriftEvidence.from_json(old)
    assert judge(TEST, read) == judge(TEST, after((400, 0.005, 200, 0.005), 4 * 60))
    test = DriftTest(Direction.DECREASE, level=SPENT)
    rng = np.random.default_rng(5)
    for _ in range(30):
        read = update(test, read, 1.0, Counts(100, 0), Counts(9, 0), summed(amounts(rng, 100) / 2))
    [found] = judge(test, read).departures
    assert found.seen == pytest.approx(25, rel=0.05)


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


VALUES = st.lists(st.floats(-1e15, 1e15), max_size=4).map(lambda some: summed(np.array(some)))


@given(st.lists(st.tuples(st.floats(0, 10_000), COUNTS, COUNTS, VALUES), max_size=20))
def test_whatever_comes_the_evidence_stays_small_finite_and_is_read_back(
    intervals: list[tuple[float, Counts, Counts, Sums]],
) -> None:
    evidence, test = DriftEvidence(), replace(TEST, level=SPENT)
    for minutes, control, treatment, values in intervals:
        evidence = update(test, evidence, minutes, control, treatment, values)
        judge(test, evidence)
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
        {"values": [1.0]},
        {"below": [0.0, 0.0, 0.0]},
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
