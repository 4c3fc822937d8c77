"""A plan's gates on recorded history: what they would have done without harm, and with."""

import math
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.rollouts.world import make_plan
from tools.gates import Direction, Minutes
from tools.metrics.base import Sample
from tools.metrics.catalogue import MetricKind
from tools.metrics.history import History
from tools.plans.model import Expected, Exposure, Guardrail, Mode, OnFail, Plan, Stage
from tools.rollouts.backtesting import gate, streams
from tools.rollouts.backtesting.replays import backtest, grain_for
from tools.rollouts.backtesting.report import (
    Asked,
    Hurt,
    MetricCatch,
    NothingToReplay,
    Replayed,
    Report,
    StageCatch,
)
from tools.rollouts.backtesting.streams import RateStream

AT = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ERRORS = Guardrail(metric="errors", margin=2.0, min_sample=100)
ORDERS = Guardrail(metric="orders", direction=Direction.DECREASE, margin=1.5, min_sample=100)


def stage(percent: float, *rails: Guardrail, mode: Mode = Mode.LIVE, bake: float = 10, limit: float = 120) -> Stage:
    return Stage(
        exposure=Exposure(percent=percent, mode=mode),
        bake=bake * MINUTE,
        time_limit=limit * MINUTE,
        guardrails=rails or (ERRORS,),
    )


def plan_of(*stages: Stage) -> Plan:
    return make_plan(*(stages or (stage(10), stage(50), stage(100))), burn_in=2 * MINUTE)


def history(
    metric: str = "errors", *, rate: float = 0.01, requests: int = 3000, lump: int = 1, pieces: int = 600, seed: int = 1
) -> History:
    """A piece a minute; events come in lumps of that size."""
    rng = np.random.default_rng(seed)
    exposures = rng.poisson(requests, pieces)
    events = np.minimum(lump * rng.poisson(exposures * rate / lump), exposures)
    counted = tuple(Sample(*row) for row in zip(exposures.tolist(), events.tolist(), strict=True))
    return History(metric, AT, MINUTE, counted)


def harmful(report: Report, harm: float) -> Replayed:
    return next(one for one in report.harmful if one.hurt is not None and one.hurt.factor == harm)


def test_without_harm_next_to_none_is_rolled_back_and_with_harm_it_is_caught_early() -> None:
    asked = Asked(replays=60, harms=(2.0, 5.0))
    report = backtest(plan_of(), [history()], asked)
    assert report.harmless.rolled_back <= 3
    assert report.harmless.promoted >= 50
    double, worse = harmful(report, 2.0), harmful(report, 5.0)
    assert double.rolled_back >= 55
    assert double.minutes is not None
    assert worse.minutes is not None
    assert 2 < worse.minutes.median < double.minutes.median < 60
    assert worse.by_stage[0].caught == worse.rolled_back == 60
    for one in (report.harmless, double, worse):
        assert one.rolled_back + one.asked + one.promoted == one.replays == 60
        assert sum(at.caught for at in one.by_stage) == one.rolled_back
    assert list(double.curve) == sorted(double.curve)
    assert double.curve[-1] == pytest.approx(double.rolled_back / 60)


def test_the_same_question_has_the_same_answer_and_another_seed_another() -> None:
    asked = Asked(replays=20, harms=(2.0,))
    first, again = (backtest(plan_of(), [history()], asked) for _ in range(2))
    assert first == again
    other = backtest(plan_of(), [history()], Asked(replays=20, harms=(2.0,), seed=1))
    assert asdict(other.harmful[0]) != asdict(first.harmful[0])


def test_bursts_that_the_plan_does_not_know_of_show_as_false_rollbacks() -> None:
    lumpy = history(lump=8)
    unaware = backtest(plan_of(), [lumpy], Asked(replays=60, harms=()))
    knowing = ERRORS.model_copy(update={"dispersion": 8.0})
    aware = backtest(plan_of(stage(10, knowing), stage(50, knowing)), [lumpy], Asked(replays=60, harms=()))
    assert unaware.harmless.rolled_back >= 12
    assert aware.harmless.rolled_back <= 3
    assert unaware.sources[0].dispersion == pytest.approx(8, rel=0.3)
    assert unaware.sources[0].planned_dispersion == 1.0


def test_more_errors_and_fewer_orders_are_harms_of_their_own() -> None:
    plan = plan_of(stage(20, ERRORS, ORDERS), stage(50, ERRORS, ORDERS))
    report = backtest(plan, [history(), history("orders", rate=0.08, seed=2)], Asked(replays=20, harms=(2.0,)))
    hurts = [one.hurt for one in report.harmful if one.hurt is not None]
    assert [(one.metrics, one.sign) for one in hurts] == [(("errors",), "×2"), (("orders",), "÷2")]
    assert min(one.rolled_back for one in report.harmful) >= 17
    assert "caught a doubling of errors in" in report.summary
    only = backtest(plan_of(stage(20, ORDERS)), [history("orders", rate=0.08)], Asked(replays=20, harms=(2.0,)))
    assert "caught a halving of orders in" in only.summary


def test_metrics_of_one_kind_are_hurt_in_turn() -> None:
    other = ERRORS.model_copy(update={"metric": "timeouts"})
    plan = plan_of(stage(20, ERRORS, other))
    report = backtest(plan, [history(), history("timeouts", seed=2)], Asked(replays=10, harms=(5.0,)))
    [found] = report.harmful
    assert found.hurt is not None
    assert found.hurt.metrics == ("errors", "timeouts")
    assert found.rolled_back == found.replays == 10


def test_of_each_metric_is_said_how_long_its_own_harm_goes_on() -> None:
    rare = ERRORS.model_copy(update={"metric": "timeouts"})
    histories = [history(), history("timeouts", rate=0.003, seed=2)]
    plan = plan_of(stage(20, ERRORS, rare, limit=240), stage(50, ERRORS, rare, limit=240))
    report = backtest(plan, histories, Asked(replays=40, harms=(2.0,)))
    quick, slow = report.harmful[0].by_metric
    assert quick.minutes is not None
    assert slow.minutes is not None
    assert slow.minutes.median > 1.5 * quick.minutes.median
    assert f"caught a doubling of errors in {quick.minutes.median:.0f} min at 20 %" in report.summary
    assert f" and a doubling of timeouts in {slow.minutes.median:.0f} min at " in report.summary
    for one in (quick, slow):
        assert one.caught + one.asked + one.promoted == one.replays == 20
        assert sum(at.caught for at in one.by_stage) == one.caught
        assert one.curve[-1] == pytest.approx(one.caught / 20)


def caught_in(metric: str, minutes: float | None, *, caught: int = 10) -> MetricCatch:
    took = None if minutes is None else Minutes(minutes, minutes)
    return MetricCatch(metric, 10, caught, took, by_stage=(StageCatch("5 %", caught, took),))


@pytest.mark.parametrize(
    ("catches", "said"),
    [
        (
            (caught_in("a", 6), caught_in("b", 90), caught_in("c", 7)),
            " and caught a doubling of b, the slowest of 3 metrics, in 90 min at 5 %.",
        ),
        (
            (caught_in("a", 6), caught_in("b", 3, caught=4), caught_in("c", 90)),
            " and caught a doubling of b, the slowest of 3 metrics, in 3 min at 5 % (4 of 10 times).",
        ),
        ((caught_in("a", 6), caught_in("b", None, caught=0)), ", and would not have caught a doubling of b."),
        (
            tuple(caught_in(name, None, caught=0) for name in "abcd"),
            ", and would not have caught a doubling of a, b and 2 more.",
        ),
        ((caught_in("a", 6), MetricCatch("b", 0, 0, None)), " and caught a doubling of a in 6 min at 5 %."),
    ],
)
def test_of_many_metrics_the_slowest_is_named(catches: tuple[MetricCatch, ...], said: str) -> None:
    hurt = Hurt(MetricKind.RATIO, Direction.INCREASE, tuple(one.metric for one in catches), 2.0)
    together = Replayed(hurt, 20, 16, 4, 0, Minutes(6, 90), (StageCatch("5 %", 16, None),), (), catches)
    harmless = Replayed(None, 20, 0, 0, 20, None, (), ())
    report = Report("f", "e", "ab" * 32, timedelta(days=2), MINUTE, (), (), harmless, (together,))
    assert report.summary == f"Over the last 2 days these gates would have rolled back 0 of 20 times{said}"


def test_shadow_has_evidence_of_its_own_and_everyone_is_held_to_a_ceiling() -> None:
    shadowed = plan_of(stage(50, mode=Mode.SHADOW), stage(10), stage(100))
    report = backtest(shadowed, [history()], Asked(replays=30, harms=(3.0,)))
    assert report.harmless.promoted >= 25
    assert harmful(report, 3.0).by_stage[0].exposure == "50 % in shadow"
    assert harmful(report, 3.0).by_stage[0].caught >= 28
    alone = plan_of(stage(100, ERRORS.model_copy(update={"ceiling": 0.02})))
    whole = backtest(alone, [history()], Asked(replays=30, harms=(4.0,)))
    assert whole.harmless.promoted >= 28
    assert harmful(whole, 4.0).rolled_back >= 28


def test_a_metric_without_a_control_to_stand_in_for_is_left_to_a_person() -> None:
    report = backtest(plan_of(stage(100, limit=15)), [history()], Asked(replays=5, harms=()))
    assert report.harmless.asked == 5


def test_where_harm_is_to_pause_only_nobody_is_rolled_back() -> None:
    gentle = ERRORS.model_copy(update={"on_fail": OnFail.PAUSE})
    report = backtest(plan_of(stage(20, gentle, limit=30)), [history()], Asked(replays=20, harms=(5.0,)))
    assert harmful(report, 5.0).rolled_back == 0
    assert harmful(report, 5.0).asked == 20


def test_silence_in_the_history_is_told_and_breaks_nothing() -> None:
    whole = history()
    broken = tuple(Sample(0) if 100 <= number < 250 else one for number, one in enumerate(whole.pieces))
    report = backtest(plan_of(), [History("errors", AT, MINUTE, broken)], Asked(replays=20, harms=(2.0,)))
    assert report.sources[0].silent == 0.25
    assert report.harmless.rolled_back <= 1


def test_nothing_is_promoted_on_what_an_incident_proves() -> None:
    pieces = (*[Sample(3000, 30)] * 5, *[Sample(3000, 1200)] * 595)
    outage = History("errors", AT, MINUTE, pieces)
    plan = plan_of(stage(50, bake=5, limit=60))
    expected = Expected(metric="errors", base_rate=0.01, quietest=2000, busiest=4000)
    unplanned = backtest(plan, [outage], Asked(replays=20, harms=()))
    planned = backtest(plan.model_copy(update={"expected": (expected,)}), [outage], Asked(replays=20, harms=()))
    assert unplanned.harmless.promoted == 20
    assert planned.harmless.asked == 20


def with_objective(past: History) -> History:
    return replace(past, objective=0.01)


def test_a_burning_budget_asks_as_it_would_live_whoever_is_to_blame() -> None:
    pieces = (*[Sample(3000, 15)] * 100, *[Sample(3000, 600)] * 60, *[Sample(3000, 15)] * 40)
    incident = History("errors", AT, MINUTE, pieces)
    plan, asked = plan_of(stage(50, bake=60, limit=240)), Asked(replays=40, harms=())
    without, alerted = (backtest(plan, [one], asked).harmless for one in (incident, with_objective(incident)))
    assert (without.asked, without.rolled_back <= 2) == (0, True)
    # Half of the moments to begin at have the incident before the stage is over.
    assert 8 <= alerted.asked + alerted.rolled_back <= 32
    assert alerted.rolled_back <= 2, "both arms burn alike, so next to none of it is treatment's"


def test_a_budget_that_treatment_burns_alone_rolls_back_once_treatment_is_suspected() -> None:
    plan, asked = plan_of(stage(50, bake=60, limit=240)), Asked(replays=40, harms=(50.0,))
    past = history(rate=0.005, requests=300)
    plain, alerted = (harmful(backtest(plan, [one], asked), 50.0) for one in (past, with_objective(past)))
    assert plain.rolled_back == alerted.rolled_back == 40
    assert plain.minutes is not None
    assert alerted.minutes is not None
    assert alerted.minutes.median <= plain.minutes.median


def test_at_100_percent_a_burning_budget_rolls_back_by_itself() -> None:
    pieces = (*[Sample(3000, 15)] * 20, *[Sample(3000, 600)] * 180)
    rail = ERRORS.model_copy(update={"ceiling": 0.5})
    plan, asked = plan_of(stage(100, rail, bake=60, limit=120)), Asked(replays=10, harms=())
    past = History("errors", AT, MINUTE, pieces)
    assert backtest(plan, [past], asked).harmless.rolled_back == 0
    assert backtest(plan, [with_objective(past)], asked).harmless.rolled_back >= 8


def test_the_summary_is_one_line_for_a_card() -> None:
    report = backtest(plan_of(), [history(pieces=1440 * 2)], Asked(replays=20, harms=(2.0, 5.0)))
    assert report.summary.startswith("Over the last 2 days these gates would have rolled back ")
    assert " of 20 times and caught a doubling of errors in " in report.summary
    assert " at 10 %" in report.summary
    quiet = backtest(plan_of(stage(10, limit=10)), [history(rate=0.001, requests=50)], Asked(replays=5, harms=(1.5,)))
    assert quiet.summary.endswith("would not have caught errors ×1.5.")
    none = backtest(plan_of(), [history()], Asked(replays=5, harms=()))
    assert none.summary.endswith(" of 5 times.")


def test_what_is_not_seen_in_few_replays_is_not_called_impossible() -> None:
    def at_most(rolled_back: int, replays: int) -> float:
        return Replayed(None, replays, rolled_back, 0, replays - rolled_back, None, (), ()).at_most

    assert at_most(0, 200) == pytest.approx(1 - 0.05 ** (1 / 200))
    assert at_most(200, 200) == 1
    # As many or fewer come in one of twenty such runs, if that is what is true of each.
    rng = np.random.default_rng(5)
    for rolled_back, replays in ((3, 200), (40, 60), (500, 10_000)):
        seen = rng.binomial(replays, at_most(rolled_back, replays), 100_000) <= rolled_back
        assert seen.mean() == pytest.approx(0.05, abs=0.003)


def test_long_stages_are_looked_at_more_rarely() -> None:
    assert grain_for(plan_of()) == MINUTE
    assert grain_for(plan_of(stage(10, bake=4000, limit=8000))) == 20 * MINUTE
    assert grain_for(plan_of(stage(10, bake=10, limit=3000))) == 3 * MINUTE


def test_what_nothing_would_come_of_is_not_judged_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(stage(10, ERRORS, ORDERS), stage(50, ERRORS, ORDERS))
    histories = [history(), history("orders", rate=0.08, seed=2)]
    asked = Asked(replays=15, harms=(1.5,))
    quick = backtest(plan, histories, asked)
    monkeypatch.setattr(gate, "_unsaid", lambda looks, found: [None] * len(found))
    assert backtest(plan, histories, asked) == quick


def test_there_are_fewer_replays_when_there_is_no_time_for_all() -> None:
    report = backtest(plan_of(), [history()], Asked(replays=200, harms=(5.0,)), enough=lambda: True)
    assert report.harmless.replays == report.harmful[0].replays == 10
    calls = iter([False] * 30)
    report = backtest(plan_of(), [history()], Asked(replays=200, harms=(5.0,)), enough=lambda: next(calls, True))
    assert report.harmless.replays == report.harmful[0].replays == 10, "the second batch was not at its end"


def test_progress_is_told_of_every_replay() -> None:
    ended = list[int]()
    backtest(plan_of(), [history()], Asked(replays=10, harms=(2.0,)), progress=ended.append)
    assert sum(ended) == 20


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"replays": 0}, "1 to 10,000"), ({"harms": (1.0,)}, "factor"), ({"harms": (101.0,)}, "factor")],
)
def test_senseless_questions_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(NothingToReplay, match=words):
        Asked(**wrong)  # type: ignore[arg-type]


def test_a_plan_without_a_metric_of_the_history_is_refused() -> None:
    with pytest.raises(NothingToReplay, match="None of the metrics"):
        backtest(plan_of(), [history("other")])
    with pytest.raises(NothingToReplay, match="in pieces of some 3 min"):
        backtest(plan_of(stage(10, bake=10, limit=3000)), [history()])


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 1)), min_size=1, max_size=20),
    st.integers(1, 7),
    st.floats(0, 1),
    st.floats(1, 60),
    st.floats(1, 100),
    st.booleans(),
)
def test_no_count_is_lost_or_invented_when_history_is_dealt_to_the_arms(
    rows: list[tuple[int, float]], parts: int, share: float, dispersion: float, harm: float, more: bool
) -> None:
    rng = np.random.default_rng(9)
    pieces = tuple(Sample(exposures, int(exposures * part)) for exposures, part in rows)
    stream = RateStream(History("errors", AT, parts * MINUTE, pieces), MINUTE, rng, more=more)
    assert stream.exposures.sum() == sum(one.exposures for one in pieces)
    assert stream.events.sum() <= sum(one.events for one in pieces)
    stream.dispersion = dispersion
    at = np.arange(stream.looks)
    arms = stream.deal(rng, at, at, np.full(len(at), 100 * share))
    assert (arms.exposures.sum(axis=1) == stream.exposures).all()
    assert (arms.events.sum(axis=1) == stream.events).all()
    assert (arms.events >= 0).all()
    assert (arms.events <= arms.exposures).all()
    hits = arms.events[:, 1].copy()
    stream.worsen(rng, at, arms, np.full(len(at), harm))
    assert (arms.events <= arms.exposures).all()
    assert (arms.events[:, 1] >= hits).all() if more else (arms.events[:, 1] <= hits).all()


@pytest.mark.parametrize("dispersion", [1.0, 6.0])
def test_events_are_dealt_in_lumps_as_large_as_the_history_s(dispersion: float) -> None:
    rng = np.random.default_rng(10)
    pieces = tuple(Sample(5000, 60) for _ in range(4000))
    stream = RateStream(History("errors", AT, MINUTE, pieces), MINUTE, rng, more=True)
    stream.dispersion = dispersion
    at = np.arange(4000)
    hits = stream.deal(rng, at, at, np.full(4000, 30.0)).events[:, 1]
    assert hits.mean() == pytest.approx(18, rel=0.05)
    assert hits.var() / (60 * 0.3 * 0.7) == pytest.approx(dispersion, rel=0.1)


@pytest.mark.parametrize("dispersion", [1.0, 6.0])
@pytest.mark.parametrize("rate", [0.0, 2e-9, 1e-4, 0.3, 0.999999])
def test_counts_of_thousands_of_millions_are_dealt_as_smaller_ones_are(rate: float, dispersion: float) -> None:
    rng, everyone = np.random.default_rng(12), 3_000_000_000
    events = round(everyone * rate)
    rows = np.ones(20_000, np.int64)
    treated = round(0.3 * everyone)
    hits = streams.drawn(rng, everyone * rows, events * rows, treated * rows, dispersion)
    assert (hits >= max(0, events + treated - everyone)).all()
    assert (hits <= min(events, treated)).all()
    variance = dispersion * events * (1 - rate) * 0.3 * 0.7
    assert hits.mean() == pytest.approx(events * 0.3, rel=1e-6, abs=4 * math.sqrt(variance / len(rows)))
    if dispersion == 1:
        assert hits.var() == pytest.approx(variance, rel=0.05)


def test_a_look_may_have_thousands_of_millions_of_requests() -> None:
    busy = tuple(Sample(2_000_000_000, 20_000_000) for _ in range(60))
    report = backtest(plan_of(), [History("errors", AT, MINUTE, busy)], Asked(replays=10, harms=(2.0,)))
    assert report.harmless.rolled_back == 0
    assert report.harmful[0].rolled_back == 10
