"""What is foretold of plans that means and latencies guard, within a quarter of what the product's own gates do."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.gates import latencies
from tests.unit.gates.latencies import Draw, Service, log_normal
from tests.unit.gates.rollouts import Rollouts, roll_out
from tests.unit.gates.test_forecast import close, near, same
from tools.gates import BadQuestion, Direction, courses
from tools.gates.amounts import Amounts, Latencies
from tools.gates.blast import Population
from tools.gates.courses import DRAWS, Ending, sampled
from tools.gates.false_rollback import false_rollback
from tools.gates.forecast import forecast, forecast_harm
from tools.gates.schedule import Schedule, Step, Watched

UP, DOWN = Direction.INCREASE, Direction.DECREASE
REQUESTS = log_normal()
DRAWN: Mapping[str, Draw] = {"latency": REQUESTS}


def seen(*, sums: bool) -> Latencies:
    data = latencies.simulate(Service(REQUESTS, requests=400_000, share=0.5), 1, 1, seed=7)
    found = latencies.histogram(data, "b", 0, 0, sums=sums)
    return Latencies(found.edges[:-1], found.counts, found.total, found.squares)


ERRORS = Watched("errors", UP, 2.0, 4000, 0.005)
REVENUE = Watched("revenue", DOWN, 1.1, 400, Amounts(20.0, 15.0, 500.0))
LATENCY = Watched("latency", UP, 1.25, 200, seen(sums=True))
FROM_BUCKETS = replace(LATENCY, seen=seen(sums=False))
STEPS = (Step(0.05, 16, 120), Step(0.2, 16, 60), Step(0.5, 16, 60))
SPENDING, WAITING, BUCKETS, MIXED = (
    Schedule(watched, STEPS, check_every=2.0)
    for watched in ((REVENUE,), (LATENCY,), (FROM_BUCKETS,), (ERRORS, REVENUE, LATENCY))
)
N = 300


def rolled_out(schedule: Schedule, ratios: dict[str, float], seed: int) -> Rollouts:
    return roll_out(schedule, ratios, N, seed, DRAWN)


def part_error(part: float) -> float:
    """Two standard errors of a part of `N` rollouts and of the forecast's own courses."""
    return 2 * math.sqrt(max(part * (1 - part), 0.01) * (1 / N + 1 / DRAWS))


@pytest.mark.parametrize("schedule", [SPENDING, WAITING, BUCKETS, MIXED], ids=["mean", "latency", "buckets", "mixed"])
def test_the_times_to_the_verdicts_of_a_harmless_plan(schedule: Schedule) -> None:
    predicted, rollouts = forecast(schedule), rolled_out(schedule, {}, seed=51)
    for index, stage in enumerate(predicted.stages):
        passed = (rollouts.stage > index) | ((rollouts.stage == index) & (rollouts.ending == Ending.PROMOTED))
        assert same(stage.verdict, rollouts.lengths[passed, index]), index
    done = rollouts.ending == Ending.PROMOTED
    assert same(predicted.whole, rollouts.lengths[done].sum(axis=1))
    assert near(predicted.unfinished, float(1 - done.mean()), absolute=part_error(predicted.unfinished))


@pytest.mark.parametrize(
    ("schedule", "metric", "harm"),
    [
        (SPENDING, "revenue", 1.06),
        (SPENDING, "revenue", 1.2),
        (WAITING, "latency", 1.05),
        (WAITING, "latency", 1.1),
        (BUCKETS, "latency", 1.08),
        (MIXED, "errors", 1.7),
        (MIXED, "latency", 1.15),
    ],
)
def test_where_and_when_a_harm_is_caught_and_what_it_has_reached(schedule: Schedule, metric: str, harm: float) -> None:
    predicted = forecast_harm(schedule, metric, harm, Population(value_per_request=0.25))
    one = schedule.of(metric)
    rollouts = rolled_out(schedule, {metric: one.worse(harm)}, seed=52)
    caught, found = rollouts.ending == Ending.ROLLED_BACK, rollouts.ending != Ending.PROMOTED
    for part, those in ((predicted.caught, caught), (predicted.missed, ~found)):
        assert near(part, float(those.mean()), absolute=part_error(part))
    for index, stage in enumerate(predicted.by_stage):
        here = caught & (rollouts.stage == index)
        assert near(stage.chance, float(here.mean()), absolute=part_error(stage.chance)), index
        if here.sum() >= N / 3:
            assert same(stage.minutes, rollouts.lengths[here, index]), index
    assert same(predicted.minutes, rollouts.lengths[found].sum(axis=1))
    check_blast(predicted.blast, one, harm, rollouts, found)


def check_blast(blast: Any, one: Watched, harm: float, rollouts: Rollouts, found: Any) -> None:
    shares = np.array([step.share for step in STEPS])
    requests = (rollouts.lengths[found] * shares).sum(axis=1) * one.requests_per_minute
    assert close(blast.requests, requests)
    assert close(blast.money, requests * 0.25)
    assert near(blast.users.expected, float(shares[rollouts.stage[found]].mean()))
    if one.typical is None:
        assert blast.harmed is None
    else:
        lost = requests * one.typical * abs(one.worse(harm) - 1)
        assert close(blast.harmed, lost)


@pytest.mark.parametrize("check_every", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("watched", [REVENUE, LATENCY], ids=["mean", "latency"])
def test_the_chance_of_a_false_rollback_beside_that_of_many_courses(
    watched: Watched, check_every: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands that nothing ends but a rollback. The longer a look, the more E overshoots its level, and the fewer
    are rolled back."""
    monkeypatch.setattr(courses, "STEP_PART", 0.0)  # a step of the walk is a look
    monkeypatch.setattr(courses, "BAKE_PART", 0.0)
    schedule = Schedule((watched,), (Step(0.2, 60, 60),), burn_in=0, check_every=check_every, alpha_safe=1e-9)
    seen = float((sampled(schedule, {}, 16_000).ending == Ending.ROLLED_BACK).mean())
    assert false_rollback(schedule, [60]).expected == pytest.approx(seen, rel=0.25)


def test_the_chances_of_several_guardrails_add_up_to_no_less_than_is_seen() -> None:
    schedule = Schedule((ERRORS, REVENUE, LATENCY), (Step(0.2, 60, 60),), burn_in=0, check_every=2.0, alpha_safe=1e-9)
    seen = float((sampled(schedule, {}, 4000).ending == Ending.ROLLED_BACK).mean())
    assert 0.002 < seen <= 1.25 * false_rollback(schedule, [60]).expected


def test_everyone_is_watched_by_what_stands_alone() -> None:
    mixed = replace(MIXED, steps=(*STEPS, Step(1.0, 10, 60)))
    with_everyone, without = forecast(mixed), forecast(replace(mixed, steps=STEPS))
    assert with_everyone.stages[:3] == without.stages
    verdict = with_everyone.stages[3].verdict
    assert verdict is not None
    assert verdict.median >= 10
    # Where nothing that was measured guards, a stage lasts as long as it must and finds nothing.
    unwatched = forecast(replace(mixed, watched=(REVENUE,))).stages[3]
    assert unwatched.verdict is not None
    assert (unwatched.verdict.p90, unwatched.unproven) == (10.0, 0.0)


def test_clusters_make_everything_slower() -> None:
    for schedule, metric, harm in ((SPENDING, "revenue", 1.2), (WAITING, "latency", 1.25)):
        clustered = replace(schedule, watched=(replace(schedule.watched[0], dispersion=2.0),))
        calm, slow = (forecast_harm(one, metric, harm).minutes for one in (schedule, clustered))
        assert calm is not None
        assert slow is not None
        # After the burn-in; with twice the noise, twice the data.
        assert (slow.median - 10) / (calm.median - 10) == pytest.approx(2.0, rel=0.25)


def test_a_mean_can_not_be_beyond_its_cap() -> None:
    rising = replace(SPENDING, watched=(replace(REVENUE, direction=UP),))
    with pytest.raises(BadQuestion, match="A mean of 20 can't become 30 times as high: the cap cuts it"):
        forecast_harm(rising, "revenue", 30.0)


def test_latencies_in_one_bucket_are_foretold_too() -> None:
    crowded = replace(LATENCY, seen=Latencies((1.0, 2.0), (1000, 0, 0)))
    found = forecast_harm(replace(WAITING, watched=(crowded,)), "latency", 1.5)
    assert found.caught + found.asked + found.missed == pytest.approx(1.0)
