"""What the latency gate answers, and what it promises, held against simulated traffic."""

import json
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.latency_gates import harm_after, safe_after
from tests.unit.gates.latencies import EDGES, Draw, Service, histogram, log_normal, simulate
from tools.gates import BadCounts, BadEvidence, BadTest, Direction, Harm, NoData, Outcome, Verdict
from tools.gates.histograms import ChangedBuckets, Histogram, MissingSums
from tools.gates.judging import boostable, log_harm_cap
from tools.gates.latency import Interval, LatencyEvidence, LatencyTest, judge, update, update_all
from tools.gates.scores import estimate_dispersion

TEST = LatencyTest(EDGES)
BUCKETS = LatencyTest(EDGES, sums=False)
SHARP = LatencyTest(EDGES, 1.1)
USUAL = Service(log_normal())


def run(
    test: LatencyTest, data: dict[str, Any], stream: int = 0, intervals: int | None = None, *, burning_in: bool = False
) -> LatencyEvidence:
    evidence = LatencyEvidence.start(test)
    for interval in range(intervals or data["nc"].shape[1]):
        control, treatment = (histogram(data, arm, stream, interval, sums=test.sums) for arm in "bc")
        evidence = update(test, evidence, control, treatment, burning_in=burning_in)
    return evidence


def within(observed: float, promised: float, streams: int) -> bool:
    """Whether an observed frequency agrees with one of at most `promised`."""
    return observed <= promised + 3 * math.sqrt(promised * (1 - promised) / streams)


@pytest.mark.parametrize("test", [TEST, BUCKETS])
def test_equal_latencies_are_proven_safe(test: LatencyTest) -> None:
    verdict = judge(test, run(test, simulate(USUAL, 1, 60, seed=1)))
    assert (verdict.outcome, verdict.harm) == (Outcome.PASS, Harm.NONE)
    assert verdict.ratio == pytest.approx(1, abs=0.05)
    assert verdict.treatment_n + verdict.control_n == pytest.approx(36_000, rel=0.05)
    assert "below ×1.25" in verdict.why


def test_the_verdict_has_the_means() -> None:
    verdict = judge(TEST, run(TEST, simulate(replace(USUAL, slower=1.5), 1, 30, seed=2)))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.control_rate == pytest.approx(96, rel=0.05)
    assert verdict.treatment_rate == pytest.approx(144, rel=0.1)
    assert verdict.ratio == pytest.approx(1.5, abs=0.1)
    assert verdict.why.startswith("Proven harmful: latencies of ")
    without = judge(BUCKETS, run(BUCKETS, simulate(replace(USUAL, slower=1.5), 1, 30, seed=2)))
    assert (without.outcome, without.treatment_rate, without.control_rate) == (Outcome.FAIL, None, None)
    assert without.ratio == pytest.approx(1.5, abs=0.15)


@pytest.mark.parametrize("test", [TEST, BUCKETS])
def test_a_treatment_far_beyond_the_margin_fails_at_once(test: LatencyTest) -> None:
    seen = [judge(test, run(test, simulate(replace(USUAL, slower=4.0), 1, n, seed=3))) for n in (1, 2, 3)]
    assert seen[-1].outcome is Outcome.FAIL
    assert all(verdict.outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE) for verdict in seen)


def test_latencies_within_one_bucket_are_told_apart_by_their_sums() -> None:
    narrow = Service(log_normal(70, 0.08), slower=1.1)
    assert judge(SHARP, run(SHARP, simulate(narrow, 1, 30, seed=4))).outcome is Outcome.FAIL
    blind = judge(replace(SHARP, sums=False), run(replace(SHARP, sums=False), simulate(narrow, 1, 30, seed=4)))
    assert blind.outcome is Outcome.INCONCLUSIVE


def test_promotion_waits_for_the_minimum_sample() -> None:
    data = simulate(replace(USUAL, share=0.5), 1, 1, seed=5)
    test = LatencyTest(EDGES, margin=3.0, min_sample=100_000)
    verdict = judge(test, run(test, data))
    assert (verdict.outcome, verdict.safe_e >= 20) == (Outcome.INCONCLUSIVE, True)
    assert "of 100,000 exposures are in" in verdict.why
    enough = replace(test, min_sample=200)
    assert judge(enough, run(enough, data)).outcome is Outcome.PASS


def test_burn_in_is_neither_harm_nor_proof_and_a_broken_start_fails() -> None:
    slow = run(TEST, simulate(replace(USUAL, slower=3.0), 1, 10, seed=6), burning_in=True)
    start = LatencyEvidence.start(TEST).books
    assert (slow.books.harm, slow.books.safe) == (start.harm, start.safe)
    verdict = judge(TEST, slow)
    assert (verdict.outcome, verdict.harm, verdict.treatment_n) == (Outcome.INCONCLUSIVE, Harm.NONE, 0)
    assert "Burning in" in verdict.why
    broken = run(TEST, simulate(replace(USUAL, slower=30.0), 1, 10, seed=7), burning_in=True)
    assert judge(TEST, broken).outcome is Outcome.FAIL


@pytest.mark.parametrize("silent", ["b", "c"])
def test_an_arm_without_requests_is_no_data(silent: str) -> None:
    data = simulate(USUAL, 1, 3, seed=8)
    for key in "nsqh":
        data[f"{key}{silent}"] *= 0
    evidence = run(TEST, data)
    verdict = judge(TEST, evidence)
    assert (verdict.outcome, verdict.no_data) == (Outcome.NO_DATA, NoData.NO_TRAFFIC)
    assert evidence.books == LatencyEvidence.start(TEST).books


def test_nothing_counted_is_empty() -> None:
    assert judge(TEST, LatencyEvidence.start(TEST)).no_data is NoData.EMPTY


def test_changed_buckets_and_missing_sums_are_named_and_cost_no_evidence() -> None:
    evidence = run(TEST, simulate(USUAL, 1, 3, seed=9))
    before = json.dumps(evidence.to_json())
    good = Histogram(EDGES, tuple([5] * 12), 150_000.0, 2e9)
    other = Histogram((1.0, 2.0, math.inf), (1, 2, 3))
    with pytest.raises(ChangedBuckets, match="but this test is for buckets ending at 5, 10"):
        update(TEST, evidence, good, other)
    with pytest.raises(MissingSums, match="without the sum"):
        update(TEST, evidence, good, Histogram(EDGES, good.counts))
    assert json.dumps(evidence.to_json()) == before
    assert update(TEST, evidence, good, good).intervals == 4


def test_the_dispersion_weakens_both_questions() -> None:
    slow, same = simulate(replace(USUAL, slower=1.3), 1, 8, seed=10), simulate(USUAL, 1, 8, seed=10)
    wide = replace(TEST, dispersion=4.0)
    assert judge(wide, run(wide, slow)).harm_e < judge(TEST, run(TEST, slow)).harm_e
    assert judge(wide, run(wide, same)).safe_e < judge(TEST, run(TEST, same)).safe_e


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"margin": 1.0}, "margin"),
        ({"margin": math.nan}, "margin"),
        ({"edges": (1.0, 2.0)}, "infinity"),
        ({"dispersion": 0.0}, "dispersion"),
        ({"burn_in_margin": math.nan}, "burn_in_margin"),
        ({"alpha_safe": 0.0}, "alpha_safe"),
    ],
)
def test_a_senseless_test_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadTest, match=words):
        replace(TEST, **wrong)
    assert TEST.direction is Direction.INCREASE


@pytest.mark.parametrize(
    "other", [{"margin": 1.5}, {"sums": False}, {"burn_in_margin": 9.0}, {"edges": (1.0, math.inf)}]
)
def test_evidence_of_another_test_is_refused(other: dict[str, Any]) -> None:
    evidence = run(TEST, simulate(USUAL, 1, 1, seed=11))
    nothing = Histogram(EDGES, tuple([0] * 12), 0.0, 0.0)
    with pytest.raises(BadEvidence, match="start new evidence"):
        judge(replace(TEST, **other), evidence)
    with pytest.raises(BadEvidence, match="start new evidence"):
        update(replace(TEST, **other), evidence, nothing, nothing)


def test_evidence_is_small_and_round_trips_exactly() -> None:
    edges = (*np.geomspace(0.001, 100, 63).tolist(), math.inf)
    test = LatencyTest(edges)
    data = simulate(Service(log_normal(0.08, 1.2), requests=6e5, share=0.5, edges=edges), 1, 4, seed=12)
    evidence = run(test, data)
    stored = json.dumps(evidence.to_json(), allow_nan=False)
    assert len(stored.encode()) <= 4096
    restored = LatencyEvidence.from_json(json.loads(stored))
    control, treatment = histogram(data, "b", 0, 3), histogram(data, "c", 0, 3)
    assert json.dumps(restored.to_json()) == stored
    assert judge(test, update(test, restored, control, treatment)) == judge(
        test, update(test, evidence, control, treatment)
    )


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 9},
        {"layout": None},
        {"layout": "2-0123456789abcdef"},
        {"version": 2, "edges": None},
        {"version": 2, "edges": [1.0]},
        {"margin": "wide"},
        {"books": {}},
        {"books": None},
        {"past": [[1.0], 0.0, 0.0]},
        {"past": [[-1] * 12, 0.0, 0.0]},
        {"past": [[math.nan] * 12, 0.0, 0.0]},
        {"requests": [1, 2]},
        {"matched": [1.0]},
        {"onset": []},
        {"intervals": None},
    ],
)
def test_damaged_evidence_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(BadEvidence, match="start new evidence"):
        LatencyEvidence.from_json(LatencyEvidence.start(TEST).to_json() | damage)


def test_evidence_that_is_no_object_is_refused() -> None:
    with pytest.raises(BadEvidence, match="start new evidence"):
        LatencyEvidence.from_json([1, 2, 3])


@st.composite
def histograms(draw: st.DrawFn, *, sums: bool = True) -> Histogram:
    counts = tuple(draw(st.lists(st.integers(0, 10**6), min_size=12, max_size=12)))
    if not sums:
        return Histogram(EDGES, counts)
    part = draw(st.floats(0, 1))
    uppers, lowers = (*EDGES[:-1], draw(st.floats(2e4, 1e9))), (0.0, *EDGES[:-1])
    places = [low + part * (high - low) for low, high in zip(lowers, uppers, strict=True)]
    total = sum(count * place for count, place in zip(counts, places, strict=True))
    squares = sum(count * place**2 for count, place in zip(counts, places, strict=True))
    return Histogram(EDGES, counts, total, squares)


@settings(max_examples=60, deadline=None)
@given(
    st.booleans().flatmap(
        lambda sums: st.tuples(
            st.just(sums),
            st.lists(st.tuples(histograms(sums=sums), histograms(sums=sums), st.booleans()), max_size=5),
        )
    ),
    st.floats(1.01, 50),
    st.floats(1, 100),
)
def test_any_histograms_leave_evidence_sound(
    seen: tuple[bool, list[tuple[Histogram, Histogram, bool]]], margin: float, dispersion: float
) -> None:
    sums, intervals = seen
    test = LatencyTest(EDGES, margin, sums=sums, dispersion=dispersion)
    evidence = LatencyEvidence.start(test)
    for control, treatment, burning_in in intervals:
        evidence = update(test, evidence, control, treatment, burning_in=burning_in)
    verdict = judge(test, evidence)
    assert 0 <= verdict.harm_e < math.inf
    assert 0 <= verdict.safe_e < math.inf
    stored = json.dumps(evidence.to_json(), allow_nan=False)
    assert len(stored.encode()) <= 4096
    assert judge(test, LatencyEvidence.from_json(json.loads(stored))) == verdict
    assert Verdict.from_json(verdict.to_json()) == verdict
    if not any(one.requests and other.requests for one, other, burning_in in intervals if not burning_in):
        assert verdict.outcome is not Outcome.PASS


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=12, max_size=12), st.integers(1, 24), histograms(sums=False))
def test_bets_on_buckets_are_fair_whoever_is_drawn(pooled: list[int], drawn: int, past: Histogram) -> None:
    """The mean e-value over many draws of treatment from the same crowd is at most 1, within three standard errors."""
    crowd = np.repeat(np.arange(12), pooled)
    if not 0 < drawn < len(crowd):
        return
    start = update(BUCKETS, LatencyEvidence.start(BUCKETS), past, Histogram(EDGES, tuple([0] * 12)))
    rng, found = np.random.default_rng(13), []
    for _ in range(60):
        rng.shuffle(crowd)
        arms = [
            Histogram(EDGES, tuple(np.bincount(part, minlength=12).tolist())) for part in (crowd[drawn:], crowd[:drawn])
        ]
        found.append(math.exp(update(BUCKETS, start, *arms).books.harm.log_e))
    assert np.mean(found) <= 1 + 1e-6 + 4 * np.std(found) / math.sqrt(len(found))


@pytest.mark.parametrize("test", [TEST, BUCKETS])
def test_what_a_raised_bet_wins_beyond_a_rollback_is_given_up(test: LatencyTest) -> None:
    """Without that the bet is no fair one, and evidence that goes on after a proof is worth less than it says."""
    streams, minutes = 30, 30
    data = simulate(replace(USUAL, slower=1.25), streams, minutes, seed=5)
    log_cap = float(log_harm_cap(test.alpha_rollback, np.zeros(1))[0])
    evidence, proven = [LatencyEvidence.start(test)] * streams, 0
    for minute in range(minutes):
        before = [one.books.harm.log_e for one in evidence]
        arms = [[histogram(data, arm, stream, minute, sums=test.sums) for arm in "bc"] for stream in range(streams)]
        evidence = update_all([Interval(test, one, *both) for one, both in zip(evidence, arms, strict=True)])
        near = boostable(np.array(before), np.full(streams, log_cap))
        after = np.array([one.books.harm.log_e for one in evidence])[near]
        assert (after <= log_cap + 1e-9).all()
        proven += int((after >= log_cap - 1e-9).sum())
    assert proven > streams / 3


NO_HARM: dict[str, tuple[Service, int, int]] = {
    "usual": (USUAL, 100, 200),
    "half": (replace(USUAL, share=0.5), 100, 120),
    "few": (replace(USUAL, requests=40, share=0.2), 150, 240),
    "wide": (replace(USUAL, draw=log_normal(80, 1.2)), 100, 120),
    "narrow": (replace(USUAL, draw=log_normal(70, 0.1)), 100, 120),
    "time-outs": (
        replace(USUAL, draw=lambda rng, n: np.where(rng.random(n) < 0.003, 5000.0, log_normal(80, 0.2)(rng, n))),
        100,
        160,
    ),
    "heavy": (replace(USUAL, draw=lambda rng, n: 40 * (rng.pareto(2.2, n) + 1)), 100, 160),
}


@pytest.mark.parametrize("name", NO_HARM)
def test_false_rollbacks_stay_below_their_level(name: str) -> None:
    service, streams, intervals = NO_HARM[name]
    data = simulate(service, streams, intervals, seed=14)
    for test in (SHARP, replace(SHARP, sums=False)):
        assert within(np.isfinite(harm_after(test, data, 0.02)).mean(), 0.02, streams), test.sums


def test_clusters_need_their_dispersion() -> None:
    clustered = replace(USUAL, requests=200, share=0.2, cluster=8)
    data = simulate(clustered, 80, 200, seed=15)
    history = simulate(clustered, 1, 240, seed=16)
    found = estimate_dispersion([histogram(history, "b", 0, interval) for interval in range(240)])
    assert np.isfinite(harm_after(SHARP, data, 0.02)).mean() > 0.15
    assert within(np.isfinite(harm_after(replace(SHARP, dispersion=found), data, 0.02)).mean(), 0.02, 80)
    at_margin = simulate(replace(clustered, slower=1.25), 80, 100, seed=17)
    assert within(np.isfinite(safe_after(replace(TEST, dispersion=found), at_margin)).mean(), 0.05, 80)


@pytest.mark.parametrize("sums", [True, False])
def test_independent_latencies_have_no_dispersion(sums: bool) -> None:
    calm = simulate(USUAL, 12, 240, seed=18)
    found = [estimate_dispersion([histogram(calm, "b", s, i, sums=sums) for i in range(240)]) for s in range(12)]
    assert np.median(found) == 1
    assert max(found) < 2
    assert estimate_dispersion([]) == 1
    assert estimate_dispersion([Histogram(EDGES, tuple([0] * 12))] * 50) == 1


AT_MARGIN: dict[str, Draw] = {
    "usual": log_normal(),
    "wide": log_normal(80, 1.2),
    "narrow": log_normal(70, 0.1),
    "exponential": lambda rng, n: rng.exponential(80, n),
}


@pytest.mark.parametrize("name", AT_MARGIN)
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_treatment_at_the_margin_is_rarely_promoted(name: str, share: float) -> None:
    service = Service(AT_MARGIN[name], requests=300, share=share, slower=1.25)
    data = simulate(service, 150, 100, seed=19)
    for test in (TEST, BUCKETS):
        assert within(np.isfinite(safe_after(test, data)).mean(), 0.05, 150), test.sums


@pytest.mark.parametrize("requests", [6_000.0, 60_000.0])
def test_a_treatment_of_which_few_requests_hang_is_not_promoted(requests: float) -> None:
    """A hundredth of them takes 30 to 120 seconds: the mean is some eight times control's, all else is as it was."""
    service, streams, promoted = replace(USUAL, requests=requests, hanging=6_000 / requests * 0.01), 30, 0
    data = simulate(service, streams, 20, seed=11)
    for stream in range(streams):
        evidence = LatencyEvidence.start(TEST)
        for interval in range(20):
            evidence = update(TEST, evidence, *(histogram(data, arm, stream, interval) for arm in "bc"))
            verdict = judge(TEST, evidence)
            if verdict.harm is not Harm.NONE:
                break
            if interval >= 10 and verdict.outcome is Outcome.PASS:
                promoted += 1
                break
    assert within(promoted / streams, TEST.alpha_safe, streams)


def test_means_of_few_requests_prove_nothing_and_it_is_said() -> None:
    quick = replace(TEST, min_sample=1)
    data = simulate(replace(USUAL, slower=0.2), 1, 6, seed=12)
    verdict = judge(quick, run(quick, data))
    assert (verdict.outcome, verdict.safe_e) == (Outcome.INCONCLUSIVE, 1.0)
    assert f"Means prove nothing before 200 treatment requests; {verdict.treatment_n} are in." in verdict.why
    assert "Means prove nothing" not in judge(BUCKETS, run(BUCKETS, data)).why


def test_squares_that_are_a_little_short_are_as_many_as_they_must_be() -> None:
    """Sums are not scraped at one moment: what the histogram takes the gate takes, too."""
    short = Histogram(EDGES, (0, 0, 0, 0, 100, *[0] * 7), 9_000.0, 0.97 * 810_000.0)
    evidence = update(TEST, LatencyEvidence.start(TEST), short, short)
    assert evidence.served.variance == 0
    assert judge(TEST, evidence).ratio == 1


@pytest.mark.parametrize(("slower", "sums", "bound"), [(1.1, True, 1.45), (1.1, False, 1.55), (1.25, True, 2.2)])
def test_a_slow_down_is_caught_near_the_limit_of_any_test(slower: float, sums: bool, bound: float) -> None:
    """The limit is ln(1/α)/I for a test that sees each latency, and knows that their logs are normal."""
    data = simulate(replace(USUAL, slower=slower), 120, 120, seed=20)
    caught = harm_after(replace(SHARP, sums=sums), data, 0.02)
    information = 600 * 0.05 * 0.95 * math.log(slower) ** 2 / (2 * 0.6**2)
    assert np.isfinite(caught).all()
    assert caught.mean() / (math.log(50) / information) < bound


def test_a_slow_down_that_starts_late_is_caught() -> None:
    data = simulate(replace(USUAL, slower=1.25, onset=120), 60, 150, seed=21)
    late = harm_after(SHARP, data, 0.02) - 120
    assert within((late <= 0).mean(), 0.02, 60)
    assert np.median(late[late > 0]) < 12


def test_a_slower_tail_alone_is_caught() -> None:
    data = simulate(replace(USUAL, slow_tail=3.0), 40, 200, seed=22)
    assert np.isfinite(harm_after(replace(SHARP, sums=False), data, 0.02)).mean() > 0.95


def test_unchanged_latencies_are_promoted_and_sums_are_faster() -> None:
    data = simulate(USUAL, 100, 120, seed=23)
    with_sums, without = safe_after(TEST, data), safe_after(BUCKETS, data)
    assert np.isfinite(with_sums).all()
    assert np.isfinite(without).mean() > 0.97
    assert np.median(with_sums) <= np.median(without) < 20


def test_a_level_that_moves_in_both_arms_is_no_harm() -> None:
    """An incident slows both arms threefold while treatment gets most of its traffic."""
    calm = simulate(replace(USUAL, share=0.02), 40, 30, seed=24)
    incident = simulate(replace(USUAL, share=0.5, draw=log_normal(240, 0.6)), 40, 30, seed=25)
    failed = 0
    for stream in range(40):
        evidence = run(SHARP, calm, stream)
        for interval in range(30):
            arms = [histogram(incident, arm, stream, interval) for arm in "bc"]
            evidence = update(SHARP, evidence, *arms)
        verdict = judge(SHARP, evidence)
        failed += verdict.outcome is Outcome.FAIL
        assert verdict.ratio == pytest.approx(1, abs=0.05)
    assert within(failed / 40, 0.02, 40)


def test_the_rules_of_the_benchmark_answer_as_update_and_judge_do() -> None:
    data = simulate(replace(USUAL, slower=1.2, share=0.2), 6, 30, seed=26)
    for test in (SHARP, replace(SHARP, sums=False)):
        failed, safe = harm_after(test, data, 0.02), safe_after(test, data)
        for stream in range(6):
            seen: dict[Any, int] = {}
            evidence = LatencyEvidence.start(test)
            for interval in range(30):
                arms = [histogram(data, arm, stream, interval, sums=test.sums) for arm in "bc"]
                evidence = update(test, evidence, *arms)
                verdict = judge(test, evidence)
                seen.setdefault(verdict.harm, interval + 1)
                if verdict.safe_e >= 20:
                    seen.setdefault("safe", interval + 1)
            assert seen.get(Harm.PROVEN, math.inf) == failed[stream]
            assert seen.get("safe", math.inf) == safe[stream]


def test_many_are_updated_together_as_each_alone() -> None:
    data = simulate(replace(USUAL, slower=1.15, share=0.2), 12, 12, seed=28)
    tests = [
        replace(SHARP, sums=stream % 2 == 0, dispersion=1.0 + stream % 3, alpha_rollback=0.02 / (1 + stream % 2))
        for stream in range(12)
    ]
    alone = [LatencyEvidence.start(test) for test in tests]
    together = list(alone)
    for interval in range(12):
        arms = [
            [histogram(data, arm, stream, interval, sums=test.sums) for arm in "bc"]
            for stream, test in enumerate(tests)
        ]
        warm = [interval < stream % 3 for stream in range(12)]
        alone = [
            update(test, evidence, *pair, burning_in=burning_in)
            for test, evidence, pair, burning_in in zip(tests, alone, arms, warm, strict=True)
        ]
        together = update_all(
            [
                Interval(test, evidence, pair[0], pair[1], burning_in)
                for test, evidence, pair, burning_in in zip(tests, together, arms, warm, strict=True)
            ]
        )
    for test, one, other in zip(tests, alone, together, strict=True):
        assert one.books.harm_log_e == pytest.approx(other.books.harm_log_e, abs=1e-9)
        assert one.books.safe.log_e == pytest.approx(other.books.safe.log_e, abs=1e-9)
        assert judge(test, one).outcome is judge(test, other).outcome
    assert update_all([]) == []


def test_a_thousand_times_the_traffic_in_one_interval_is_no_trouble() -> None:
    counts = tuple(10**9 * share for share in (0, 1, 30, 200, 400, 330, 30, 5, 2, 1, 1, 0))
    slower = (0, *counts[:-1])
    verdict = judge(
        BUCKETS, update(BUCKETS, LatencyEvidence.start(BUCKETS), Histogram(EDGES, counts), Histogram(EDGES, slower))
    )
    assert verdict.outcome is Outcome.FAIL


def test_an_update_costs_little() -> None:
    data = simulate(USUAL, 1, 40, seed=27)
    arms = [(histogram(data, "b", 0, i), histogram(data, "c", 0, i)) for i in range(40)]
    evidence, best = LatencyEvidence.start(TEST), math.inf
    for control, treatment in arms:
        began = time.perf_counter()
        evidence = update(TEST, evidence, control, treatment)
        best = min(best, time.perf_counter() - began)
    assert best < 0.01


def test_bad_counts_never_reach_the_evidence() -> None:
    with pytest.raises(BadCounts):
        Histogram(EDGES, tuple([-1] * 12))
