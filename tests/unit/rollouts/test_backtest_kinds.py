"""How history is dealt to the arms: by user, by bucket of latencies, by sums of amounts."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.rollouts.world import make_plan
from tools.flags.evaluation import FlagDefinition, evaluate
from tools.gates import Direction
from tools.gates.combined import combine
from tools.metrics.base import Sample
from tools.metrics.catalogue import MetricKind
from tools.metrics.history import History, Units
from tools.plans.model import Expected, Exposure, Guardrail, Level, Plan, Stage
from tools.rollouts.backtesting import replays
from tools.rollouts.backtesting.replays import backtest
from tools.rollouts.backtesting.report import Asked, Dealt, Replayed, Report
from tools.rollouts.backtesting.streams import Assignment, LatencyStream, MeanStream, UnitStream, moves

AT, MINUTE = datetime(2026, 3, 1, tzinfo=UTC), timedelta(minutes=1)
ERRORS = Guardrail(metric="errors", margin=2.0, min_sample=100)
SLOW = Guardrail(metric="latency", margin=1.25, min_sample=200)
REVENUE = Guardrail(metric="revenue", direction=Direction.DECREASE, margin=1.2, min_sample=200)
EDGES = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, math.inf)
CAP = 100.0


def plan_of(*percents: float, rails: tuple[Guardrail, ...] = (ERRORS,)) -> Plan:
    stages = [
        Stage(exposure=Exposure(percent=percent), bake=10 * MINUTE, time_limit=180 * MINUTE, guardrails=rails)
        for percent in percents or (10, 50)
    ]
    return make_plan(*stages, burn_in=2 * MINUTE)


def by_users(
    rows: list[tuple[int, int, int, int, float, float]], minutes: int, *, metric: str = "errors", users: int
) -> History:
    """Rows of (minute, user, exposures, events, total, squares), in the minutes' order."""
    columns = np.array(rows, float).T
    minute, of, exposures, events = columns[:4].astype(np.int64)
    first = np.searchsorted(minute, np.arange(minutes + 1))
    named = tuple(f"{user:016x}" for user in range(users))
    units = Units(named, first, of, exposures, events, columns[4], columns[5], (Sample(0),) * minutes)
    pieces = tuple(
        Sample(*(column[a:b].sum().item() for column in (exposures, events, columns[4], columns[5])))
        for a, b in pairwise(first.tolist())
    )
    kind, cap = (MetricKind.RATIO, None) if metric == "errors" else (MetricKind.MEAN, CAP)
    return History(metric, AT, MINUTE, pieces, kind=kind, cap=cap, units=units)


def errors_of_users(*, burst: int, minutes: int = 300, users: int = 4000, rate: float = 0.01) -> History:
    """Users come and make `burst` requests at once; one time in so many, all of theirs fail."""
    rng = np.random.default_rng(4)
    rows = [
        (minute, user, burst, burst * int(rng.random() < rate), 0.0, 0.0)
        for minute in range(minutes)
        for user in rng.choice(users, 1200 // burst, replace=False).tolist()
    ]
    return by_users(rows, minutes, users=users)


def without_users(history: History) -> History:
    return History(history.metric, history.start, history.step, history.pieces, kind=history.kind, cap=history.cap)


def latencies(*, pieces: int = 300, sums: bool = True) -> History:
    rng = np.random.default_rng(6)
    found = []
    for _ in range(pieces):
        drawn = np.exp(rng.normal(math.log(0.1), 0.6, 600))
        counts = np.histogram(drawn, [0, *EDGES])[0]
        totals = (drawn.sum().item(), (drawn**2).sum().item()) if sums else (0.0, 0.0)
        found.append(Sample(600, 0, *totals, tuple(zip(EDGES, counts.tolist(), strict=True))))
    return History("latency", AT, MINUTE, tuple(found), kind=MetricKind.LATENCY, edges=EDGES, sums=sums)


def baskets(*, minutes: int = 300) -> History:
    """Orders of 50 on average, a unit each."""
    rng = np.random.default_rng(8)
    rows = []
    for minute in range(minutes):
        amounts = np.minimum(rng.gamma(2.0, 25.0, 100), CAP).tolist()
        users = rng.choice(5000, 100, replace=False).tolist()
        rows += [(minute, user, 1, 0, paid, paid**2) for user, paid in zip(users, amounts, strict=True)]
    return by_users(rows, minutes, metric="revenue", users=5000)


def caught(report: Report, factor: float) -> Replayed:
    return next(one for one in report.harmful if one.hurt is not None and one.hurt.factor == factor)


def test_users_are_put_into_arms_as_the_flag_does_and_anew_in_each_replay() -> None:
    ids = [f"{user:016x}" for user in range(500)]
    assignment, units = Assignment("new-checkout", ids, 7, range(3, 5)), np.arange(500)
    few, many = (assignment.treated(0, units, percent) for percent in (10, 40))
    assert (many | ~few).all(), "whoever is treated stays treated"
    assert few.mean() == pytest.approx(0.1, abs=0.04)
    assert (assignment.treated(1, units, 40) != many).any()
    flag = FlagDefinition(
        key="new-checkout",
        environment="production",
        control="old",
        treatment="new",
        salt="backtest:7:3",
        exposure=Exposure(percent=40),
        version="1",
    )
    served = [evaluate(flag, {"targetingKey": one}).variant == "new" for one in ids]
    assert served == many.tolist()


def test_what_users_do_to_a_plan_that_does_not_know_of_bursts_shows() -> None:
    bursty = errors_of_users(burst=12)
    unaware = backtest(plan_of(), [bursty], Asked(replays=60, harms=()))
    knowing = ERRORS.model_copy(update={"dispersion": 12.0})
    aware = backtest(plan_of(rails=(knowing,)), [bursty], Asked(replays=60, harms=()))
    single = backtest(plan_of(), [errors_of_users(burst=1)], Asked(replays=60, harms=()))
    assert unaware.harmless.rolled_back >= 12
    assert aware.harmless.rolled_back <= 3
    assert single.harmless.rolled_back <= 3
    assert unaware.sources[0].dealt is Dealt.UNITS
    assert unaware.sources[0].units == 4000
    assert unaware.sources[0].dispersion == pytest.approx(12, rel=0.4)


def test_users_who_fail_all_the_time_show_only_when_users_are_dealt() -> None:
    rng = np.random.default_rng(5)
    unlucky = set(rng.choice(4000, 40, replace=False).tolist())
    rows = [
        (minute, user, 1, int(user in unlucky), 0.0, 0.0)
        for minute in range(300)
        for user in rng.choice(4000, 1200, replace=False).tolist()
    ]
    history = by_users(rows, 300, users=4000)
    dealt = backtest(plan_of(), [history], Asked(replays=60, harms=()))
    counted = backtest(plan_of(), [without_users(history)], Asked(replays=60, harms=()))
    assert dealt.harmless.rolled_back >= 12, "few unlucky users are not alike in both arms"
    assert counted.harmless.rolled_back <= 3
    assert counted.sources[0].dealt is Dealt.COUNTS


@given(st.integers(1, 4), st.floats(0, 100), st.integers(0, 10**6))
def test_nothing_of_users_is_lost_or_in_both_arms(parts: int, percent: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        (at, int(user), 3, int(rng.integers(0, 4)), 2.0, 4.0) for at in range(4) for user in rng.choice(9, 5, False)
    ]
    history = by_users(rows, 4, users=9)
    longer = History(history.metric, AT, parts * MINUTE, history.pieces, units=history.units)
    assert longer.units is not None
    places = {one: place for place, one in enumerate(longer.units.ids)}
    assignment = Assignment("flag", list(places), seed, range(2))
    stream = UnitStream(longer, longer.units, MINUTE, rng, assignment, places, more=True)
    looks = np.arange(stream.looks)
    arms = stream.deal(rng, np.zeros(len(looks), np.int64), looks, np.full(len(looks), percent))
    whole = history.total
    assert arms.exposures.sum() == whole.exposures
    assert arms.events.sum() == whole.events
    assert arms.totals.sum() == pytest.approx(whole.total)
    treated = assignment.treated(0, np.arange(9), percent)
    assert arms.exposures[:, 1].sum() == 3 * treated[longer.units.of].sum()


@given(st.floats(0, 100), st.floats(1, 20), st.floats(1.01, 3), st.integers(0, 10**6))
def test_no_request_is_lost_when_latencies_are_dealt_or_grow(
    percent: float, dispersion: float, harm: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    history = latencies(pieces=6)
    stream = LatencyStream(history, MINUTE, rng)
    stream.dispersion = dispersion
    at = np.arange(6)
    arms = stream.deal(rng, at, at, np.full(6, percent))
    assert (arms.buckets.sum(axis=1) == stream.buckets).all()
    assert (arms.buckets >= 0).all()
    assert (arms.buckets.sum(axis=2) == arms.exposures).all()
    assert arms.totals.sum() == pytest.approx(history.total.total, rel=0.05)
    below = np.cumsum(arms.buckets[:, 1], axis=1)
    stream.worsen(rng, at, arms, np.full(6, harm))
    assert (np.cumsum(arms.buckets[:, 1], axis=1) <= below).all()
    assert (arms.buckets.sum(axis=2) == arms.exposures).all()


def test_where_requests_go_when_they_take_longer() -> None:
    doubled = moves((1.0, 2.0, 4.0, math.inf), 2.0)
    assert doubled == pytest.approx(np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]]))
    assert moves((1.0, 2.0, math.inf), math.sqrt(2))[1] == pytest.approx([0, 0.5, 0.5])


@pytest.mark.parametrize("sums", [True, False])
def test_slow_treatments_are_caught_and_others_are_not(sums: bool) -> None:
    report = backtest(plan_of(rails=(SLOW,)), [latencies(sums=sums)], Asked(replays=30))
    assert report.harmless.rolled_back <= 1
    assert report.harmless.promoted >= 25
    assert [one.hurt.sign for one in report.harmful if one.hurt is not None] == ["×1.1", "×1.25", "×1.5"]
    assert caught(report, 1.5).rolled_back == 30
    minutes = [one.minutes.median for one in report.harmful if one.minutes is not None]
    assert minutes == sorted(minutes, reverse=True)
    assert "caught latency ×1.25 in" in report.summary
    assert report.sources[0].level is None


@pytest.mark.parametrize("users", [True, False])
def test_smaller_amounts_are_caught_and_others_are_not(users: bool) -> None:
    history = baskets() if users else without_users(baskets())
    report = backtest(plan_of(20, 50, rails=(REVENUE,)), [history], Asked(replays=30, harms=(1.1, 1.5)))
    assert report.harmless.rolled_back <= 1
    assert caught(report, 1.5).rolled_back == 30
    assert caught(report, 1.5).hurt is not None
    assert "revenue ÷1.1" in report.summary
    assert report.sources[0].dealt is (Dealt.UNITS if users else Dealt.COUNTS)
    assert report.sources[0].level == pytest.approx(48, rel=0.1)


def test_sums_that_are_dealt_vary_as_sums_of_amounts_do() -> None:
    rng = np.random.default_rng(9)
    pieces = tuple(Sample(1000, 0, 50_000.0, 1000 * (2500.0 + 900.0)) for _ in range(4000))
    history = History("revenue", AT, MINUTE, pieces, kind=MetricKind.MEAN, cap=1000.0)
    stream, at = MeanStream(history, MINUTE, rng, more=False), np.arange(4000)
    arms = stream.deal(rng, at, at, np.full(4000, 30.0))
    difference = arms.totals[:, 1] / arms.exposures[:, 1] - arms.totals[:, 0] / arms.exposures[:, 0]
    assert difference.mean() == pytest.approx(0, abs=0.1)
    assert difference.var() == pytest.approx(900 * (1 / 300 + 1 / 700), rel=0.1)


def amounts_of(amounts: Callable[[np.random.Generator], Any], scale: float, *, minutes: int = 120) -> History:
    """Pieces of amounts in so many times the unit."""
    rng, pieces = np.random.default_rng(11), []
    for _ in range(minutes):
        paid = scale * np.asarray(amounts(rng))
        pieces.append(Sample(len(paid), 0, paid.sum().item(), (paid**2).sum().item()))
    return History("revenue", AT, MINUTE, tuple(pieces), kind=MetricKind.MEAN, cap=1000 * scale)


AMOUNTS_LIKE: dict[str, Callable[[np.random.Generator], Any]] = {
    "gamma": lambda rng: rng.gamma(2.0, 5.0, 200),
    "constant": lambda rng: np.full(200, 7.0),
    "with refunds": lambda rng: rng.normal(10.0, 60.0, 200),
}


@pytest.mark.parametrize("amounts", AMOUNTS_LIKE.values(), ids=AMOUNTS_LIKE)
def test_amounts_are_judged_alike_in_whatever_unit_they_are(amounts: Callable[[np.random.Generator], Any]) -> None:
    plan, ended = plan_of(20, 50, rails=(REVENUE,)), dict[float, tuple[int, ...]]()
    for scale in (1e-6, 1e-5, 1.0, 1e6):
        report = backtest(plan, [amounts_of(amounts, scale)], Asked(replays=20, harms=(1.5,)))
        both = report.harmless, report.harmful[0]
        ended[scale] = tuple(count for one in both for count in (one.rolled_back, one.asked, one.promoted))
        assert report.harmless.rolled_back == 0, scale
    assert len(set(ended.values())) == 1, ended


def test_amounts_that_add_up_to_nothing_vary_as_such_sums_do() -> None:
    rng = np.random.default_rng(9)
    pieces = tuple(Sample(1000, 0, 0.0, 1000 * 900.0) for _ in range(4000))
    history = History("profit", AT, MINUTE, pieces, kind=MetricKind.MEAN, cap=1000.0)
    stream, at = MeanStream(history, MINUTE, rng, more=False), np.arange(4000)
    arms = stream.deal(rng, at, at, np.full(4000, 30.0))
    difference = arms.totals[:, 1] / arms.exposures[:, 1] - arms.totals[:, 0] / arms.exposures[:, 0]
    assert difference.mean() == pytest.approx(0, abs=0.1)
    assert difference.var() == pytest.approx(900 * (1 / 300 + 1 / 700), rel=0.1)
    nobody, everyone = (stream.deal(rng, at, at, np.full(4000, share)).totals for share in (0.0, 100.0))
    assert not nobody[:, 1].any()
    assert not everyone[:, 0].any()


def test_latencies_in_a_large_unit_keep_their_sums() -> None:
    """A microsecond is as much of a latency as a second is."""
    scale, seconds = 1e-6, latencies(pieces=20)
    pieces = tuple(
        Sample(
            one.exposures,
            0,
            one.total * scale,
            one.total_squares * scale**2,
            tuple((edge * scale, count) for edge, count in one.buckets),
        )
        for one in seconds.pieces
    )
    edges = tuple(edge * scale for edge in EDGES)
    small = History("latency", AT, MINUTE, pieces, kind=MetricKind.LATENCY, edges=edges, sums=True)
    at = np.arange(20)
    dealt = [
        LatencyStream(one, MINUTE, np.random.default_rng(3)).deal(np.random.default_rng(4), at, at, np.full(20, 30.0))
        for one in (seconds, small)
    ]
    assert dealt[1].totals == pytest.approx(dealt[0].totals * scale, rel=1e-6)
    assert dealt[1].squares == pytest.approx(dealt[0].squares * scale**2, rel=1e-6)


def test_guardrails_share_the_level_of_the_gate_and_speak_together(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[float, ...]]()

    def spy(verdicts: object, weights: tuple[float, ...], **options: object) -> object:
        asked.append(tuple(weights))
        return combine(verdicts, weights, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(replays, "combine", spy)
    plan = plan_of(rails=(ERRORS, SLOW))
    histories = [without_users(errors_of_users(burst=1)), latencies()]
    report = backtest(plan, histories, Asked(replays=10, harms=(3.0,)), weights={"errors": 0.25, "latency": 0.75})
    assert set(asked) == {(0.25, 0.75)}
    kinds = [one.hurt.kind for one in report.harmful if one.hurt is not None]
    assert kinds == [MetricKind.RATIO, MetricKind.LATENCY]
    assert min(one.rolled_back for one in report.harmful) >= 9
    dear = backtest(plan, histories, Asked(replays=10, harms=(1.5,)), weights={"errors": 0.001, "latency": 0.999})
    even = backtest(plan, histories, Asked(replays=10, harms=(1.5,)))
    late, early = (one.harmful[0].minutes for one in (dear, even))
    assert early is not None
    assert late is None or late.median > early.median


LATENCIES = latencies(), Level(mean=0.06, deviation=0.05)
IN_BUCKETS = latencies(sums=False), Level(mean=-2.9, deviation=0.65, of_logs=True)
AMOUNTS = without_users(baskets()), Level(mean=90.0, deviation=60.0)


@pytest.mark.parametrize(
    ("rail", "recorded"),
    [(SLOW, LATENCIES), (SLOW, IN_BUCKETS), (REVENUE, AMOUNTS)],
    ids=["sums", "buckets", "amounts"],
)
def test_nothing_is_promoted_on_what_is_worse_than_planned_in_both_arms(
    rail: Guardrail, recorded: tuple[History, Level]
) -> None:
    history, level = recorded
    plan = plan_of(50, rails=(rail,))
    expected = Expected(metric=rail.metric, base_rate=None, quietest=1, busiest=1000, level=level)
    unplanned = backtest(plan, [history], Asked(replays=5, harms=()))
    planned = backtest(plan.model_copy(update={"expected": (expected,)}), [history], Asked(replays=5, harms=()))
    assert unplanned.harmless.promoted == 5
    assert planned.harmless.asked == 5
