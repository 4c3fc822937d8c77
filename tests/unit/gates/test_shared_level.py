"""Guardrails that share one level, simulated with the product's count gate: how often wrong, and how soon right."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.gates.rollouts import Arms, roll_out
from tools.gates import Direction
from tools.gates.courses import Ending
from tools.gates.forecast import forecast_harm
from tools.gates.schedule import Schedule, Step, Watched
from tools.gates.wealth import Floats, log_sum

ONE = Watched("errors", Direction.INCREASE, 2.0, 1200, 0.005)
FIVE = tuple(replace(ONE, name=f"errors of {number}") for number in range(5))
MINUTES = 300
ROLL_BACK = math.log(50)


def evidence(ratio: float, rollouts: int, minutes: int, seed: int) -> Floats:
    """The log e-values of the five over time, (rollouts, 5, minutes), at a share of 20 %."""
    rng = np.random.default_rng(seed)
    arms = [Arms.start(one, ratio, rollouts, 1 / len(FIVE)) for one in FIVE]
    found = np.empty((rollouts, len(FIVE), minutes))
    for minute in range(minutes):
        for index, one in enumerate(arms):
            one.minutes(1, rng, np.full(rollouts, 0.2), np.ones(rollouts, bool), burning_in=False)
            found[:, index, minute] = one.harm.log_e
    return found


def first(reached: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Floats:
    """The 1-based minute, infinity where it never comes."""
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1) + 1.0, np.inf)


def test_five_harmless_guardrails_roll_back_as_rarely_as_one_may() -> None:
    rollouts = 2000
    logs = evidence(1.0, rollouts, MINUTES, seed=61)
    wrong = np.isfinite(first(log_sum(np.moveaxis(logs, 1, -1)) - math.log(5) >= ROLL_BACK)).mean()
    assert wrong <= 0.02 + 3 * math.sqrt(0.02 * 0.98 / rollouts)
    # What it would be if each had the whole level: five chances of being wrong.
    each = np.isfinite(first(logs.max(axis=1) >= ROLL_BACK)).mean()
    assert each > 2 * wrong


def test_a_harm_that_is_spread_is_caught_before_the_best_alone_would() -> None:
    logs = evidence(1.35, 300, MINUTES, seed=62)
    together = first(log_sum(np.moveaxis(logs, 1, -1)) - math.log(5) >= ROLL_BACK)
    best = first(logs.max(axis=1) - math.log(5) >= ROLL_BACK)
    assert np.isfinite(best).all()
    assert (together <= best).all()
    assert np.mean(together < best) > 0.1
    assert np.mean(together) < np.mean(best)


@pytest.mark.parametrize("sharing", [2, 5])
def test_what_is_foretold_of_shared_levels_is_what_they_do(sharing: int) -> None:
    """A single watched metric whose level others share: within a quarter of simulated rollouts."""
    schedule = Schedule((ONE,), (Step(0.2, 200, 200),), check_every=1.0, sharing=sharing)
    found, seen = forecast_harm(schedule, "errors", 1.6), roll_out(schedule, {"errors": 1.6}, 400, seed=63)
    caught = seen.ending == Ending.ROLLED_BACK
    assert found.caught == pytest.approx(caught.mean(), abs=0.05)
    minutes, foretold = seen.lengths[caught, 0], found.by_stage[0].minutes
    assert foretold is not None
    assert foretold.median == pytest.approx(float(np.median(minutes)), rel=0.25)
    assert foretold.p90 == pytest.approx(float(np.quantile(minutes, 0.9)), rel=0.25)
    whole = forecast_harm(replace(schedule, sharing=1), "errors", 1.6).by_stage[0].minutes
    assert whole is not None
    assert foretold.median > whole.median
