"""What the calculators predict, held against the gates' own code on simulated streams."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.gates.streams import World, simulate
from tests.unit.gates.test_simulation import Rule, answers, traffic_of
from tools.gates import CountTest, Direction, time_to_catch, time_to_prove

UP, DOWN = Direction.INCREASE, Direction.DECREASE
A_QUARTER = 0.25


@pytest.mark.parametrize("base_rate", [0.3, 0.6])
@pytest.mark.parametrize("direction", [UP, DOWN])
def test_times_for_common_events_hold_within_a_quarter(base_rate: float, direction: Direction) -> None:
    world, test = World(requests=60, share=0.2, base_rate=base_rate), CountTest(direction, 1.2)
    harmed = replace(world, ratio=float(direction.away(np.array(1.2))))
    caught, proven = (ask(traffic_of(world), direction, 1.2) for ask in (time_to_catch, time_to_prove))
    for truth, rule, predicted in ((harmed, Rule.harm(test, 0.02), caught), (world, Rule.safe(test), proven)):
        found = answers(rule, simulate(truth, streams=500, intervals=math.ceil(predicted.p90 * 2), seed=41))
        assert np.median(found) == pytest.approx(predicted.median, rel=A_QUARTER)
        assert np.quantile(found, 0.9) == pytest.approx(predicted.p90, rel=A_QUARTER)
