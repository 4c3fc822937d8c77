"""Every prediction of a whole plan, held within a quarter of what the product's own gate does in simulated rollouts."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.gates import Rule, first_answer
from tests.unit.gates.rollouts import Rollouts, roll_out, watch_everyone
from tests.unit.gates.streams import World, simulate
from tools.gates import BadQuestion, CountTest, Direction, Minutes, Traffic, smallest_harm
from tools.gates.amounts import Amounts
from tools.gates.blast import Population, Reach
from tools.gates.courses import DRAWS, Ending
from tools.gates.false_rollback import Chance, false_rollback
from tools.gates.forecast import catch_in_stage, forecast, forecast_harm
from tools.gates.schedule import Schedule, Step, Watched

ERRORS = Watched("errors", Direction.INCREASE, 2.0, 4000, 0.005)
ORDERS = Watched("orders", Direction.DECREASE, 1.25, 4000, 0.1)
STEPS = (Step(0.02, 15, 150), Step(0.1, 15, 90), Step(0.5, 15, 60))
PLAN = Schedule((ERRORS,), STEPS, check_every=1.0)
BURSTY = replace(PLAN, watched=(replace(ERRORS, requests_per_minute=12_000, dispersion=3.0),))
TWO = replace(PLAN, watched=(ERRORS, ORDERS))
N = 600


def near(predicted: float, seen: float, *, absolute: float = 0.0) -> bool:
    """Within a quarter, or within what simulation can't tell apart."""
    return abs(predicted - seen) <= max(0.25 * abs(seen), absolute)


def same(predicted: Minutes | None, seen: np.ndarray[Any, Any]) -> bool:
    assert predicted is not None
    # A minute is the simulation's own grain.
    return near(predicted.median, float(np.median(seen)), absolute=1.0) and near(
        predicted.p90, float(np.quantile(seen, 0.9)), absolute=1.0
    )


def part_error(part: float) -> float:
    """Two standard errors of a part of `N` rollouts and of the forecast's own courses."""
    return 2 * math.sqrt(max(part * (1 - part), 0.01) * (1 / N + 1 / DRAWS))


@pytest.mark.parametrize("schedule", [PLAN, BURSTY, TWO], ids=["errors", "bursts", "two metrics"])
def test_the_times_to_the_verdicts_of_a_harmless_plan(schedule: Schedule) -> None:
    predicted, seen = forecast(schedule), roll_out(schedule, {}, N, seed=41)
    for index, stage in enumerate(predicted.stages):
        passed = (seen.stage > index) | ((seen.stage == index) & (seen.ending == Ending.PROMOTED))
        assert same(stage.verdict, seen.lengths[passed, index]), index
    done = seen.ending == Ending.PROMOTED
    assert same(predicted.whole, seen.lengths[done].sum(axis=1))
    assert near(predicted.unfinished, float(1 - done.mean()), absolute=part_error(predicted.unfinished))


@pytest.mark.parametrize(
    ("schedule", "metric", "harm"),
    [
        (PLAN, "errors", 1.3),
        (PLAN, "errors", 1.6),
        (PLAN, "errors", 2.5),
        (PLAN, "errors", 6.0),
        (BURSTY, "errors", 1.5),
        (TWO, "orders", 1.15),
    ],
)
def test_where_and_when_a_harm_is_caught_and_what_it_has_reached(schedule: Schedule, metric: str, harm: float) -> None:
    population = Population(users=50_000, tenants=1_000, value_per_request=0.25)
    predicted = forecast_harm(schedule, metric, harm, population)
    one = schedule.of(metric)
    seen = roll_out(schedule, {metric: one.worse(harm)}, N, seed=142)
    caught, found = seen.ending == Ending.ROLLED_BACK, seen.ending != Ending.PROMOTED
    for part, those in ((predicted.caught, caught), (predicted.missed, ~found)):
        assert near(part, float(those.mean()), absolute=part_error(part))
    for index, stage in enumerate(predicted.by_stage):
        here = caught & (seen.stage == index)
        assert near(stage.chance, float(here.mean()), absolute=part_error(stage.chance)), index
        if here.sum() >= 200:
            assert same(stage.minutes, seen.lengths[here, index]), index
    if found.sum() >= 200:
        assert same(predicted.minutes, seen.lengths[found].sum(axis=1))
        check_blast(predicted.blast, schedule, one, seen, found)


def check_blast(blast: Any, schedule: Schedule, one: Watched, seen: Rollouts, found: Any) -> None:
    shares = np.array([step.share for step in schedule.steps])
    requests = (seen.lengths[found] * shares).sum(axis=1) * one.requests_per_minute
    users = shares[seen.stage[found]]
    assert close(blast.requests, requests)
    assert close(blast.money, requests * 0.25)
    assert near(blast.users.expected, float(users.mean()))
    assert near(blast.tenants.expected, float((1 - (1 - users) ** 50).mean()))


def close(reach: Reach, seen: np.ndarray[Any, Any]) -> bool:
    # Where a part of about a tenth reaches the next stage, the ninth decile falls on either side of the jump.
    low, high = np.quantile(seen, [0.86, 0.94])
    return near(reach.expected, float(seen.mean())) and 0.75 * low <= reach.p90 <= 1.25 * high


@pytest.mark.parametrize(("world", "harm"), [(World(), 2.0), (World(requests=3000, share=0.1), 1.5)])
def test_a_harm_in_one_stage_is_caught_when_the_calculator_says(world: World, harm: float) -> None:
    traffic = Traffic(world.requests, world.base_rate, world.share)
    predicted = catch_in_stage(traffic, Direction.INCREASE, harm, burn_in=10)
    data = simulate(replace(world, ratio=harm), N, math.ceil(2 * predicted.minutes.p90), seed=43)
    arms = (data.control_exposures, data.control_events, data.treatment_exposures, data.treatment_events)
    caught = 10 + first_answer(
        Rule.harm(CountTest(Direction.INCREASE, 2.0), 0.02), *(arm.astype(float) for arm in arms), np.ones(N)
    )
    assert same(predicted.minutes, caught)
    served = caught * world.requests * world.share
    assert near(predicted.requests.median, float(np.median(served)))
    assert near(predicted.requests.p90, float(np.quantile(served, 0.9)))


@pytest.mark.parametrize("world", [World(share=0.2), World(requests=300, share=0.2, base_rate=0.05)])
def test_the_chance_of_a_false_rollback(world: World) -> None:
    one = Watched("errors", Direction.INCREASE, 2.0, world.requests, world.base_rate)
    rollouts, minutes = 6000, 120
    schedule = Schedule((one,), (Step(world.share, minutes, minutes),), burn_in=0, check_every=1.0)
    data = simulate(world, rollouts, minutes, seed=44)
    arms = (data.control_exposures, data.control_events, data.treatment_exposures, data.treatment_events)
    rule = Rule.harm(CountTest(Direction.INCREASE, 2.0), 0.02)
    seen = np.isfinite(first_answer(rule, *(arm.astype(float) for arm in arms), np.ones(rollouts))).mean()
    predicted = false_rollback(schedule, [minutes])
    assert seen <= predicted.bound == 0.02
    assert predicted.expected == pytest.approx(seen, rel=0.25)


@pytest.mark.parametrize(("ratio", "ending"), [(1.0, Ending.PROMOTED), (3.0, Ending.ROLLED_BACK)])
def test_the_watch_at_100_percent(ratio: float, ending: Ending) -> None:
    one, step = replace(ERRORS, requests_per_minute=200), Step(1.0, 5, 200)
    schedule = Schedule((one,), (step,), burn_in=0, check_every=1.0)
    seen = watch_everyone(one, step, ratio, 150, seed=45)
    right = seen.ending == ending
    assert right.mean() > 0.9
    if ending is Ending.PROMOTED:
        assert same(forecast(schedule).stages[0].verdict, seen.lengths[right, 0])
    else:
        assert same(forecast_harm(schedule, "errors", ratio).by_stage[0].minutes, seen.lengths[right, 0])


def test_the_smallest_harm_of_a_stage_is_caught_in_nine_of_ten() -> None:
    single = replace(PLAN, steps=(Step(0.1, 100, 100),))
    smallest = smallest_harm(ERRORS.traffic(0.1), ERRORS.direction, 90)
    assert smallest is not None
    seen = [roll_out(single, {"errors": 1 + part * (smallest - 1)}, N, seed=46) for part in (0.75, 1.25)]
    nearer, further = (float((one.ending == Ending.ROLLED_BACK).mean()) for one in seen)
    # A quarter less is caught in fewer than nine of ten, a quarter more in more.
    assert nearer < 0.9 < further


def test_shadow_exposes_nobody_and_has_evidence_of_its_own() -> None:
    shadowed = replace(PLAN, steps=(Step(0.5, 30, 240, shadow=True), *STEPS))
    harmful = forecast_harm(shadowed, "errors", 3.0)
    assert harmful.by_stage[0].chance > 0.95
    assert harmful.blast is not None
    assert harmful.blast.users.p90 == 0.0
    assert harmful.blast.requests.expected < 50
    assert forecast(shadowed).false_rollback.bound == 0.04


def test_guardrails_share_one_level() -> None:
    alone, three = forecast(PLAN), forecast(replace(PLAN, sharing=3))
    assert forecast(TWO).false_rollback.bound == three.false_rollback.bound == alone.false_rollback.bound == 0.02
    assert three.false_rollback.expected < alone.false_rollback.expected
    caught = [forecast_harm(plan, "errors", 2.0).minutes for plan in (PLAN, replace(PLAN, sharing=3))]
    assert caught[0] is not None
    assert caught[1] is not None
    assert 1.05 < caught[1].median / caught[0].median < (math.log(50) + math.log(3)) / math.log(50) + 0.1
    closed = [
        catch_in_stage(ERRORS.traffic(0.02), ERRORS.direction, 2.0, weight=weight).minutes.median
        for weight in (1, 1 / 3)
    ]
    assert closed[1] / closed[0] == pytest.approx(caught[1].median / caught[0].median, rel=0.25)


def test_a_stage_needs_its_smallest_sample() -> None:
    waiting = replace(PLAN, steps=(replace(STEPS[0], min_samples=(8000,)), *STEPS[1:]))
    verdict = forecast(waiting).stages[0].verdict
    assert verdict is not None
    assert verdict.median >= 100


def test_a_plan_that_nobody_comes_through_is_foretold_too() -> None:
    hopeless = replace(PLAN, watched=(replace(ERRORS, requests_per_minute=5),))
    predicted = forecast(hopeless)
    assert predicted.unfinished == 1.0
    assert predicted.whole is None
    assert [stage.unproven for stage in predicted.stages] == [1.0, 1.0, 1.0]
    found = forecast_harm(hopeless, "errors", 1.5)
    assert found.asked > 0.97
    assert found.by_stage[2].minutes is None


@pytest.mark.filterwarnings("error")
def test_a_mean_that_comes_in_few_large_lumps_is_foretold_without_proof() -> None:
    lumps = Watched("revenue", Direction.DECREASE, 1.25, 100.0, Amounts(10.0, 30.0, 200.0), 800.0)
    foretold = forecast(Schedule((lumps,), (Step(0.5, 10, 20),), burn_in=0, check_every=1))
    assert foretold.unfinished == 1.0


def test_what_is_asked_again_is_answered_alike_and_as_json() -> None:
    first, again = forecast_harm(PLAN, "errors", 2.0), forecast_harm(replace(PLAN), "errors", 2.0)
    assert first == again
    assert first.caught + first.asked + first.missed == pytest.approx(1.0)
    assert json.loads(json.dumps(asdict(forecast(PLAN))))["false_rollback"]["bound"] == 0.02


def test_a_longer_plan_has_more_chances_of_a_false_rollback_but_never_more_than_its_level() -> None:
    chances = [false_rollback(PLAN, [minutes] * 3) for minutes in (20, 100, 1000, 10**6)]
    assert [chance.expected for chance in chances] == sorted(chance.expected for chance in chances)
    assert chances[-1].expected < chances[-1].bound == 0.02
    assert false_rollback(PLAN, [0, 0, 0]) == Chance(0.02, pytest.approx(0.0, abs=1e-6))


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: replace(ERRORS, seen=0), "base rate"),
        (lambda: replace(ERRORS, margin=1), "margin"),
        (lambda: Step(0, 1, 1), "share"),
        (lambda: Step(0.5, 3, 2), "at least 3"),
        (lambda: replace(PLAN, watched=()), "at least one stage"),
        (lambda: replace(PLAN, burn_in=-1), "burn-in"),
        (lambda: replace(PLAN, steps=(Step(0.1, 1, 2, (1, 2)),)), "smallest sample"),
        (lambda: Population(tenants=0), "above 0"),
        (lambda: forecast_harm(PLAN, "latency", 2.0), "guards no stage; errors do"),
        (lambda: forecast_harm(PLAN, "errors", 0.5), "factor between 1"),
        (
            lambda: forecast_harm(replace(PLAN, watched=(replace(ERRORS, seen=0.6),)), "errors", 2.0),
            "can't become",
        ),
    ],
)
def test_senseless_questions_are_refused(ask: Callable[[], Any], words: str) -> None:
    with pytest.raises(BadQuestion, match=words):
        ask()
