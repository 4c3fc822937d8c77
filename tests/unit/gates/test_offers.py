"""Smallest samples and wider margins as the calculators give them, within a quarter of what the gates' own code does.

Each cell is simulated in so many rollouts that its noise is below 8 %: twice the standard error of a median or a ninth
decile of that many answers is 6 % for 500 of them, and 8 % for 250.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.benchmarks.gates import Rule
from tests.unit.gates.latencies import Service, log_normal
from tests.unit.gates.streams import World, simulate
from tests.unit.gates.test_predictions import (
    A_QUARTER,
    DOWN,
    FINE,
    UP,
    Shop,
    judged_latencies,
    judged_means,
    traffic_of_service,
)
from tests.unit.gates.test_simulation import answers, traffic_of
from tools.gates import CountTest, Direction, Unprovable, means, minimum_sample, stage_length, time_to_prove
from tools.gates.calculators import Workload
from tools.gates.wealth import Floats

LOOKS = 60
# Of means and latencies, whose gates are dearer to simulate.
FEWER_LOOKS = 20


def looked_at(traffic: Workload, direction: Direction, margin: float, looks: int) -> float:
    """How many times as many requests a minute make half of the proofs take so many minutes."""
    return time_to_prove(traffic, direction, margin, check_minutes=0).median / looks


def median_exposures(found: Floats, requests: float, share: float) -> float:
    """Of treatment until the proof; what comes within a look is taken to come in its middle."""
    return float(np.median(found) - 0.5) * requests * share


# -- the smallest sample ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "base_rate", "direction", "margin"),
    [
        (0.01, 0.005, UP, 2.0),
        (0.05, 0.005, UP, 1.25),
        (0.05, 0.005, UP, 4.0),
        (0.2, 0.001, UP, 1.5),
        (0.5, 0.005, UP, 2.0),
        (0.9, 0.005, UP, 4.0),
        (0.05, 0.1, DOWN, 2.0),
        (0.05, 0.005, DOWN, 4.0),
        (0.2, 0.1, DOWN, 1.1),
        (0.2, 0.3, DOWN, 1.25),
    ],
)
def test_the_smallest_sample_of_a_rate_is_what_half_of_the_proofs_take(
    share: float, base_rate: float, direction: Direction, margin: float
) -> None:
    world = World(requests=1000, share=share, base_rate=base_rate)
    world = replace(world, requests=1000 * looked_at(traffic_of(world), direction, margin, LOOKS))
    found = answers(Rule.safe(CountTest(direction, margin)), simulate(world, 600, 4 * LOOKS, seed=81))
    seen = median_exposures(found, world.requests, share)
    assert minimum_sample(traffic_of(world), direction, margin) == pytest.approx(seen, rel=A_QUARTER)


@pytest.mark.parametrize(
    ("shop", "direction", "margin"),
    [
        (Shop(200, 0.2, 0.5, 100.0), DOWN, 1.05),
        (Shop(200, 0.5, 0.3, 100.0), UP, 1.02),
        (Shop(400, 0.9, 0.8, 150.0), DOWN, 1.1),
        (Shop(400, 0.2, 1.0, 300.0, buyers=0.02), UP, 1.5),
        (Shop(100, 0.05, 0.8, 150.0), DOWN, 3.0),
    ],
)
def test_the_smallest_sample_of_a_mean_is_what_half_of_the_proofs_take(
    shop: Shop, direction: Direction, margin: float
) -> None:
    shop = replace(shop, units=shop.units * looked_at(shop.traffic(), direction, margin, FEWER_LOOKS))
    _, found = judged_means(shop, means.MeanTest(direction, shop.cap, margin), 1.0, 250, 5 * FEWER_LOOKS // 2)
    seen = median_exposures(found, shop.units, shop.share)
    assert minimum_sample(shop.traffic(), direction, margin) == pytest.approx(seen, rel=A_QUARTER)


@pytest.mark.parametrize(
    ("service", "margin", "sums"),
    [
        (Service(log_normal(), share=0.2), 1.1, True),
        (Service(log_normal(), share=0.5, edges=FINE), 1.1, True),
        (Service(log_normal(spread=1.2), share=0.2), 1.25, False),
        (Service(log_normal(), share=0.2), 1.05, False),
        (Service(log_normal(spread=0.3), share=0.9), 1.25, False),
        (Service(log_normal(), share=0.01), 1.25, True),
    ],
)
def test_the_smallest_sample_of_a_latency_is_what_half_of_the_proofs_take(
    service: Service, margin: float, *, sums: bool
) -> None:
    known = traffic_of_service(service, margin, sums=sums)
    service = replace(service, requests=service.requests * looked_at(known, UP, margin, FEWER_LOOKS))
    traffic = traffic_of_service(service, margin, sums=sums)
    _, found = judged_latencies(service, traffic.test(margin), 250, 2 * FEWER_LOOKS)
    seen = median_exposures(found, service.requests, service.share)
    assert minimum_sample(traffic, UP, margin) == pytest.approx(seen, rel=A_QUARTER)


# -- the wider margin -------------------------------------------------------------------------------------------------


def widened(traffic: Workload, direction: Direction, harm: float, budget: float) -> float:
    """The margin that is offered for a stage that is too short to prove a narrow one."""
    answer = stage_length(traffic, direction, margin=1.005, harm=harm, budget_minutes=budget)
    assert isinstance(answer, Unprovable)
    assert answer.wider_margin is not None
    assert f"widen the margin to ×{answer.wider_margin:g}" in answer.why
    return answer.wider_margin


@pytest.mark.parametrize(
    ("world", "direction", "budget", "harm"),
    [
        (World(requests=600, share=0.05), UP, 60, 20.0),
        (World(requests=600, share=0.05), UP, 6, 20.0),
        (World(requests=600, share=0.5), UP, 300, 20.0),
        (World(requests=6000, share=0.01), UP, 30, 20.0),
        (World(requests=600, share=0.9), UP, 60, 20.0),
        (World(requests=300, share=0.2, base_rate=0.05), UP, 60, 10.0),
        (World(requests=2000, share=0.2, base_rate=0.02), DOWN, 60, 20.0),
        (World(requests=6000, share=0.05, base_rate=0.1), DOWN, 600, 20.0),
        (World(requests=300, share=0.2, base_rate=0.3), DOWN, 20, 20.0),
    ],
)
def test_the_margin_that_is_offered_for_a_rate_is_proven_in_the_time_there_is(
    world: World, direction: Direction, budget: int, harm: float
) -> None:
    margin = widened(traffic_of(world), direction, harm, budget)
    # Looked at more often where there is little time.
    often = max(1, LOOKS // budget)
    data = simulate(replace(world, requests=world.requests / often), 500, 2 * budget * often, seed=82)
    found = answers(Rule.safe(CountTest(direction, margin)), data) / often
    assert np.quantile(found, 0.9) == pytest.approx(budget, rel=A_QUARTER)


@pytest.mark.parametrize(
    ("shop", "direction", "budget"),
    [
        (Shop(200, 0.2, 0.5, 100.0), DOWN, 30),
        (Shop(400, 0.9, 0.8, 150.0), UP, 40),
        (Shop(1000, 0.2, 1.0, 300.0, buyers=0.1), DOWN, 30),
    ],
)
def test_the_margin_that_is_offered_for_a_mean_is_proven_in_the_time_there_is(
    shop: Shop, direction: Direction, budget: int
) -> None:
    margin = widened(shop.traffic(), direction, 2.0, budget)
    _, found = judged_means(shop, means.MeanTest(direction, shop.cap, margin), 1.0, 250, 2 * budget)
    assert np.quantile(found, 0.9) == pytest.approx(budget, rel=A_QUARTER)


@pytest.mark.parametrize(
    ("service", "budget", "sums"),
    [
        (Service(log_normal(), requests=200, share=0.2), 30, True),
        (Service(log_normal(), requests=200, share=0.5), 30, False),
        (Service(log_normal(spread=1.2), requests=200, share=0.2), 30, False),
        (Service(log_normal(spread=0.3), requests=100, share=0.9), 30, False),
    ],
)
def test_the_margin_that_is_offered_for_a_latency_is_proven_in_the_time_there_is(
    service: Service, budget: int, *, sums: bool
) -> None:
    margin = widened(traffic_of_service(service, 1.005, sums=sums), UP, 2.0, budget)
    test = traffic_of_service(service, margin, sums=sums).test(margin)
    _, found = judged_latencies(service, test, 250, math.ceil(1.6 * budget))
    assert np.quantile(found, 0.9, method="higher") == pytest.approx(budget, rel=A_QUARTER)
