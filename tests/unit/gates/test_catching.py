"""When harms of all sizes are caught, and which the smallest is, held against the gates' own code."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.benchmarks.gates import Rule
from tests.unit.gates.latencies import Service, log_normal
from tests.unit.gates.streams import World, simulate
from tests.unit.gates.test_predictions import DOWN, UP, Shop, judged_latencies, judged_means, traffic_of_service
from tests.unit.gates.test_simulation import answers, traffic_of
from tools.gates import CountTest, Minutes, Traffic, Unprovable, means, smallest_harm, stage_length, time_to_catch
from tools.gates.catching import PATIENCE
from tools.gates.wealth import Floats

LONGEST_SIMULATED = 1440


def agree(found: Floats, predicted: Minutes, simulated: float = math.inf) -> None:
    """Within a quarter of what is seen, or one look; what takes longer than is simulated is only seen not to come."""
    for part, said in ((0.5, predicted.median), (0.9, predicted.p90)):
        seen = float(np.quantile(found, part, method="higher"))
        if math.isinf(seen):
            assert said > simulated / 1.25, part
        else:
            assert abs(said - seen) <= max(0.25 * seen, 1.0), part


# -- counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requests", "share", "minutes", "margin"),
    [
        (600, 0.05, 60, 2.0),
        (600, 0.2, 60, 4.0),
        (600, 0.5, 240, 2.0),
        (6000, 0.05, 240, 2.0),
        (6000, 0.2, 1440, 2.0),
        (6000, 0.5, 60, 4.0),
    ],
)
def test_the_smallest_harm_is_caught_in_nine_rollouts_of_ten(
    requests: float, share: float, minutes: int, margin: float
) -> None:
    world = World(requests=requests, share=share)
    harm = smallest_harm(traffic_of(world).held_to(margin), UP, minutes)
    assert harm is not None
    data = simulate(replace(world, ratio=harm), streams=250, intervals=minutes, seed=61)
    assert 0.82 <= np.isfinite(answers(Rule.harm(CountTest(UP, margin), 0.02), data)).mean() <= 0.98


@pytest.mark.parametrize(
    ("requests", "share", "margin", "power"),
    [
        (6000, 0.5, 4.0, 0.2),
        (6000, 0.05, 2.0, 0.4),
        (600, 0.2, 4.0, 0.4),
        (600, 0.2, 2.0, 0.75),
        (600, 0.2, 1.25, 5.0),
        (600, 0.05, 2.0, 1.5),
        (600, 0.5, 4.0, 1.5),
    ],
)
def test_times_to_catch_harms_of_all_sizes(requests: float, share: float, margin: float, power: float) -> None:
    """From a fifth of the margin's log to one and a half times it, and far beyond."""
    world, harm = World(requests=requests, share=share), margin**power
    predicted = time_to_catch(traffic_of(world).held_to(margin), UP, harm)
    intervals = min(math.ceil(1.5 * predicted.p90) + 2, LONGEST_SIMULATED)
    data = simulate(replace(world, ratio=harm), streams=400, intervals=intervals, seed=62)
    agree(answers(Rule.harm(CountTest(UP, margin), 0.02), data), predicted, intervals)


@pytest.mark.parametrize("power", [0.3, 0.5, 1.5])
def test_times_to_catch_a_drop_of_common_events(power: float) -> None:
    world, margin = World(requests=600, share=0.2, base_rate=0.3), 1.25
    harm = margin**power
    predicted = time_to_catch(traffic_of(world).held_to(margin), DOWN, harm)
    data = simulate(replace(world, ratio=1 / harm), streams=400, intervals=math.ceil(1.5 * predicted.p90) + 2, seed=63)
    agree(answers(Rule.harm(CountTest(DOWN, margin), 0.02), data), predicted)


def test_a_harm_that_nobody_waits_for_is_not_said_to_be_caught() -> None:
    predicted = time_to_catch(Traffic(60, 0.005, 0.05, margin=4.0), UP, 1.05)
    assert predicted.median > PATIENCE


def test_what_is_said_of_a_stage_too_short_is_what_it_catches() -> None:
    world, budget = World(requests=6000, share=0.2), 60
    answer = stage_length(traffic_of(world), UP, margin=1.2, harm=1.2, budget_minutes=budget)
    assert isinstance(answer, Unprovable)
    assert answer.smallest_harm is not None
    assert f"harms from ×{answer.smallest_harm:g} are caught" in answer.why
    data = simulate(replace(world, ratio=answer.smallest_harm), streams=250, intervals=budget, seed=64)
    assert 0.82 <= np.isfinite(answers(Rule.harm(CountTest(UP, 1.2), 0.02), data)).mean() <= 0.98


# -- means ------------------------------------------------------------------------------------------------------------

SHOP = Shop(400, 0.2, 0.5, 500.0)


@pytest.mark.parametrize("power", [0.4, 1.5])
def test_times_to_catch_losses_of_all_sizes(power: float) -> None:
    harm = 1.1**power
    predicted = time_to_catch(SHOP.traffic().held_to(1.1), DOWN, harm)
    intervals = math.ceil(1.5 * predicted.p90) + 2
    found, _ = judged_means(SHOP, means.MeanTest(DOWN, SHOP.cap, 1.1), 1 / harm, 120, intervals)
    agree(found, predicted)


# -- latencies --------------------------------------------------------------------------------------------------------

SERVICE = Service(log_normal(), requests=600, share=0.2)


@pytest.mark.parametrize(("margin", "harm"), [(1.5, 1.09), (1.25, 1.05), (1.1, 1.2)])
def test_times_to_catch_slow_downs_of_all_sizes(margin: float, harm: float) -> None:
    traffic = traffic_of_service(SERVICE, margin, sums=True)
    predicted = time_to_catch(traffic, UP, harm)
    intervals = min(math.ceil(1.5 * predicted.p90) + 2, 250)
    found, _ = judged_latencies(replace(SERVICE, slower=harm), traffic.test(margin), 250, intervals)
    agree(found, predicted, intervals)


@pytest.mark.parametrize(("requests", "margin"), [(200, 2.0)])
def test_the_smallest_slow_down_is_caught_in_nine_rollouts_of_ten(requests: float, margin: float) -> None:
    service, minutes = replace(SERVICE, requests=requests), 60
    traffic = traffic_of_service(service, margin, sums=True)
    harm = smallest_harm(traffic, UP, minutes)
    assert harm is not None
    found, _ = judged_latencies(replace(service, slower=harm), traffic.test(margin), 150, minutes)
    assert 0.82 <= np.isfinite(found).mean() <= 0.98
