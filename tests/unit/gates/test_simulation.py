"""What the count gate promises, held against simulated traffic to within three standard errors of the simulation."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.benchmarks.gates import Rule, first_answer
from tests.unit.gates.streams import Streams, World, simulate
from tools.gates import (
    CeilingEvidence,
    CeilingTest,
    CountEvidence,
    Counts,
    CountTest,
    Direction,
    Harm,
    Outcome,
    Traffic,
    Verdict,
    estimate_dispersion,
    judge,
    judge_ceiling,
    time_to_catch,
    time_to_prove,
    update,
    update_ceiling,
)
from tools.gates.wealth import Floats

ERRORS = CountTest(Direction.INCREASE, 2.0)
CONVERSIONS = CountTest(Direction.DECREASE, 1.25)
BURSTY = World(base_rate=0.01, burst=3.0)
BURSTS_OF_3 = 5.0  # E[size²]/E[size] of a geometric size of mean 3


def within(observed: float, promised: float, streams: int) -> bool:
    """Whether an observed frequency agrees with one of at most `promised`."""
    return observed <= promised + 3 * math.sqrt(promised * (1 - promised) / streams)


def answers(rule: Rule, data: Streams, dispersion: float = 1.0) -> Floats:
    return first_answer(
        rule,
        data.control_exposures.astype(float),
        data.control_events.astype(float),
        data.treatment_exposures.astype(float),
        data.treatment_events.astype(float),
        np.full(len(data.treatment_events), dispersion),
    )


@pytest.mark.parametrize(
    ("world", "dispersion"),
    [
        (World(), 1.0),
        (World(share=0.5), 1.0),
        (World(requests=60, share=0.2), 1.0),
        (World(requests=6000, share=0.01), 1.0),
        (World(base_rate=0.3), 1.0),
        (BURSTY, BURSTS_OF_3),
    ],
)
def test_false_alarms_stay_below_their_level_however_often_one_looks(world: World, dispersion: float) -> None:
    data = simulate(world, streams=600, intervals=720, seed=11)
    rolled_back = np.isfinite(answers(Rule.harm(ERRORS, 0.02), data, dispersion)).mean()
    paused = np.isfinite(answers(Rule.harm(ERRORS, 0.05), data, dispersion)).mean()
    assert within(rolled_back, 0.02, 600)
    assert within(paused, 0.05, 600)


def test_bursts_need_their_dispersion() -> None:
    data = simulate(BURSTY, streams=300, intervals=240, seed=12)
    assert np.isfinite(answers(Rule.harm(ERRORS, 0.02), data)).mean() > 0.2


@pytest.mark.parametrize(
    ("world", "dispersion"),
    [(World(ratio=2.0), 1.0), (World(ratio=2.0, share=0.3), 1.0), (replace(BURSTY, ratio=2.0), BURSTS_OF_3)],
)
def test_a_treatment_at_the_margin_is_rarely_promoted(world: World, dispersion: float) -> None:
    data = simulate(world, streams=600, intervals=720, seed=13)
    assert within(np.isfinite(answers(Rule.safe(ERRORS), data, dispersion)).mean(), 0.05, 600)


def test_a_conversion_at_the_margin_is_rarely_promoted_and_an_unchanged_one_is() -> None:
    shop = World(requests=300, share=0.2, base_rate=0.08)
    at_margin = simulate(replace(shop, ratio=1 / 1.25), streams=400, intervals=480, seed=14)
    unchanged = simulate(shop, streams=400, intervals=480, seed=15)
    assert within(np.isfinite(answers(Rule.safe(CONVERSIONS), at_margin)).mean(), 0.05, 400)
    assert np.isfinite(answers(Rule.safe(CONVERSIONS), unchanged)).mean() > 0.95
    assert within(np.isfinite(answers(Rule.harm(CONVERSIONS, 0.02), unchanged)).mean(), 0.02, 400)


@pytest.mark.parametrize(("ratio", "share", "bound"), [(1.5, 0.05, 1.35), (2.0, 0.05, 1.35), (5.0, 0.05, 1.7)])
def test_harm_is_caught_near_the_limit_of_any_test(ratio: float, share: float, bound: float) -> None:
    """The limit is ln(1/α)/I: no test with that level is faster on average, whatever it does."""
    data = simulate(World(ratio=ratio, share=share), streams=500, intervals=1800, seed=16)
    caught = answers(Rule.harm(ERRORS, 0.02), data)
    assert np.isfinite(caught).all()
    limit = math.log(50) / information_of(World(ratio=ratio, share=share))
    assert caught.mean() / limit < bound


def test_a_harm_that_starts_late_is_caught() -> None:
    data = simulate(World(ratio=2.0, onset=480), streams=300, intervals=1080, seed=17)
    caught = answers(Rule.harm(ERRORS, 0.02), data)
    assert within((caught <= 480).mean(), 0.02, 300)
    late = caught[caught > 480] - 480
    assert np.isfinite(late).mean() > 0.98
    assert np.median(late) < 190


@pytest.mark.parametrize(
    ("world", "harm"),
    [
        (World(), 1.5),
        (World(), 2.0),
        (World(), 5.0),
        (World(share=0.3), 2.0),
        (World(requests=6000, share=0.01), 2.0),
        (World(requests=300, share=0.2, base_rate=0.05), 1.4),
    ],
)
def test_predicted_times_to_catch_a_harm_hold_within_a_quarter(world: World, harm: float) -> None:
    predicted = time_to_catch(traffic_of(world), Direction.INCREASE, harm)
    data = simulate(replace(world, ratio=harm), streams=800, intervals=math.ceil(predicted.p90 * 2), seed=18)
    caught = answers(Rule.harm(ERRORS, 0.02), data)
    assert np.median(caught) == pytest.approx(predicted.median, rel=0.25)
    assert np.quantile(caught, 0.9) == pytest.approx(predicted.p90, rel=0.25)


@pytest.mark.parametrize(
    ("world", "test", "truth"),
    [
        (World(), ERRORS, 1.0),
        (World(share=0.3), ERRORS, 1.0),
        (World(), ERRORS, 1.2),
        (World(share=0.2), CountTest(Direction.INCREASE, 1.5), 1.0),
        (World(requests=300, share=0.2, base_rate=0.05), CONVERSIONS, 1.0),
        (World(requests=2400, share=0.05), CountTest(Direction.DECREASE, 4.0), 1.0),
    ],
)
def test_predicted_times_to_prove_safety_hold_within_a_quarter(world: World, test: CountTest, truth: float) -> None:
    predicted = time_to_prove(traffic_of(world), test.direction, test.margin, truth=truth)
    data = simulate(replace(world, ratio=truth), streams=800, intervals=math.ceil(predicted.p90 * 2), seed=19)
    proven = answers(Rule.safe(test), data)
    assert np.median(proven) == pytest.approx(predicted.median, rel=0.25)
    assert np.quantile(proven, 0.9) == pytest.approx(predicted.p90, rel=0.25)


def test_the_rules_above_answer_as_update_and_judge_do() -> None:
    data = simulate(World(requests=3000, share=0.2, ratio=1.8), streams=12, intervals=60, seed=20)
    failed, paused = answers(Rule.harm(ERRORS, 0.02), data), answers(Rule.harm(ERRORS, 0.05), data)
    for stream in range(12):
        seen: dict[Harm, int] = {}
        for interval, verdict in enumerate(run(ERRORS, data, stream), start=1):
            seen.setdefault(verdict.harm, interval)
        assert seen.get(Harm.PROVEN, math.inf) == failed[stream]
        assert min(seen.get(Harm.SUSPECTED, math.inf), seen.get(Harm.PROVEN, math.inf)) == paused[stream]


def test_a_split_that_changes_with_the_base_rate_is_no_harm() -> None:
    """Pooled rates would differ (Simpson's paradox): treatment gets most of its traffic when errors are many."""
    quiet = simulate(World(share=0.01, base_rate=0.002, requests=6000), streams=60, intervals=60, seed=21)
    busy = simulate(World(share=0.5, base_rate=0.02, requests=6000), streams=60, intervals=60, seed=22)
    failed = 0
    for stream in range(60):
        evidence = CountEvidence.start(ERRORS)
        for data in (quiet, busy):
            evidence = fold(ERRORS, evidence, data, stream)
        verdict = judge(ERRORS, evidence)
        failed += verdict.outcome is Outcome.FAIL
        assert verdict.treatment_rate is not None
        assert verdict.control_rate is not None
        assert verdict.treatment_rate > 1.5 * verdict.control_rate
        assert verdict.ratio == pytest.approx(1.0, abs=0.15)
    assert within(failed / 60, 0.02, 60)


def test_evidence_is_carried_through_stages() -> None:
    test = replace(ERRORS, min_sample=500)
    promoted = 0
    for stream in range(60):
        evidence = CountEvidence.start(test)
        for share, seed in ((0.01, 23), (0.05, 24), (0.2, 25)):
            evidence = fold(test, evidence, simulate(World(share=share), 60, 40, seed), stream)
        promoted += judge(test, evidence).outcome is Outcome.PASS
    assert promoted / 60 > 0.75


def test_a_warm_up_is_forgiven_and_a_broken_start_is_not() -> None:
    warm = simulate(World(before=5.0, onset=10), streams=100, intervals=40, seed=26)
    broken = simulate(World(requests=1800, before=30.0, onset=10), streams=60, intervals=10, seed=27)
    assert within(failures(ERRORS, warm, burning_in=10), 0.02, 100)
    assert failures(ERRORS, warm, burning_in=0) > 0.5
    assert failures(ERRORS, broken, burning_in=10) > 0.95


@pytest.mark.parametrize(
    ("direction", "rate", "caught"),
    [(Direction.INCREASE, 0.01, 0.0), (Direction.INCREASE, 0.02, 1.0), (Direction.DECREASE, 0.005, 1.0)],
)
def test_a_ceiling_is_held_without_control(direction: Direction, rate: float, caught: float) -> None:
    test = CeilingTest(direction, 0.01)
    rng = np.random.default_rng(28)
    failed = 0
    for _ in range(60):
        evidence, harm = CeilingEvidence.start(test), False
        for events in rng.binomial(600, rate, 90).tolist():
            evidence = update_ceiling(test, evidence, Counts(600, events))
            harm = harm or judge_ceiling(test, evidence).outcome is Outcome.FAIL
        failed += harm
    assert failed / 60 == caught or (caught == 0 and within(failed / 60, 0.02, 60))


def test_bursts_are_measured_from_control() -> None:
    data = simulate(World(base_rate=0.01, burst=3.0), streams=40, intervals=480, seed=29)
    calm = simulate(World(base_rate=0.01), streams=40, intervals=480, seed=30)
    assert np.mean([dispersion_of(data, stream) for stream in range(40)]) == pytest.approx(BURSTS_OF_3, rel=0.2)
    assert np.median([dispersion_of(calm, stream) for stream in range(40)]) == 1.0


def dispersion_of(data: Streams, stream: int) -> float:
    exposures, events = data.control_exposures[stream].tolist(), data.control_events[stream].tolist()
    return estimate_dispersion([Counts(*interval) for interval in zip(exposures, events, strict=True)])


def traffic_of(world: World) -> Traffic:
    return Traffic(world.requests, world.base_rate, world.share)


def information_of(world: World) -> float:
    """Nats a minute from the counts' distributions themselves, minimised over the unknown base rate on a grid."""
    treatment, control = world.requests * world.share, world.requests * (1 - world.share)
    hit, base = world.base_rate * world.ratio, world.base_rate
    unknown = np.linspace(base / 2, hit * 1.5, 20001)
    divergence = treatment * poisson_divergence(hit, unknown) + control * poisson_divergence(base, unknown)
    return float(divergence.min())


def poisson_divergence(truth: float, null: Floats) -> Floats:
    return np.asarray(truth * np.log(truth / null) - truth + null)


def fold(test: CountTest, evidence: CountEvidence, data: Streams, stream: int, burning_in: int = 0) -> CountEvidence:
    for interval in range(data.treatment_events.shape[1]):
        evidence = step(test, evidence, data, stream, interval, burning_in=interval < burning_in)
    return evidence


def step(
    test: CountTest, evidence: CountEvidence, data: Streams, stream: int, interval: int, *, burning_in: bool
) -> CountEvidence:
    control = Counts(int(data.control_exposures[stream, interval]), int(data.control_events[stream, interval]))
    treatment = Counts(int(data.treatment_exposures[stream, interval]), int(data.treatment_events[stream, interval]))
    return update(test, evidence, control, treatment, burning_in=burning_in)


def run(test: CountTest, data: Streams, stream: int, burning_in: int = 0) -> Iterator[Verdict]:
    evidence = CountEvidence.start(test)
    for interval in range(data.treatment_events.shape[1]):
        evidence = step(test, evidence, data, stream, interval, burning_in=interval < burning_in)
        yield judge(test, evidence)


def failures(test: CountTest, data: Streams, burning_in: int) -> float:
    streams = len(data.treatment_events)
    failed = [
        any(verdict.outcome is Outcome.FAIL for verdict in run(test, data, stream, burning_in))
        for stream in range(streams)
    ]
    return sum(failed) / streams
