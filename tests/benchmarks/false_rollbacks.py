"""How many rollouts that do no harm are rolled back within a day of checks each minute."""

import math

import numpy as np
import pytest

from tests.benchmarks.conftest import Figures
from tests.benchmarks.gates import harm
from tests.unit.gates.streams import World, simulate
from tools.gates.wealth import Floats

BATCHES, ROLLOUTS, MINUTES, HISTORY = 4, 2000, 24 * 60, 240
PROMISED = 0.02
Z = 1.959964  # 95 % of a normal lie within

WORLDS = {
    "5 % treatment": World(share=0.05),
    "20 % treatment": World(share=0.2),
    "5 %, errors in bursts of 3": World(share=0.05, burst=3.0),
}

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("name", WORLDS)
def test_without_harm(name: str, figures: Figures) -> None:
    alarms = [harm(_streams(WORLDS[name], seed)) for seed in range(BATCHES)]
    rolled_back, rollouts = int(np.isfinite(alarms).sum()), BATCHES * ROLLOUTS
    low, high = (100 * end for end in _interval(rolled_back, rollouts))
    what = f"false rollbacks in 24 h, {name} (95 %: {low:.2f} to {high:.2f} %)"
    # More than simulation's chance above what is promised.
    assert low <= 100 * PROMISED, what
    figures.add(what, 100 * rolled_back / rollouts, "%")


def _streams(world: World, seed: int) -> dict[str, Floats]:
    """A day of minutes per rollout, and the minutes before it, from which the dispersion is estimated."""
    day, before = simulate(world, ROLLOUTS, MINUTES, 2 * seed), simulate(world, ROLLOUTS, HISTORY, 2 * seed + 1)
    return {
        "nc": day.treatment_exposures,
        "ec": day.treatment_events,
        "nb": day.control_exposures,
        "eb": day.control_events,
        "hn": before.control_exposures + before.treatment_exposures,
        "he": before.control_events + before.treatment_events,
    }


def _interval(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927)."""
    share = hits / trials
    centre = share + Z**2 / (2 * trials)
    spread = Z * math.sqrt(share * (1 - share) / trials + (Z / (2 * trials)) ** 2)
    scale = 1 + Z**2 / trials
    return (centre - spread) / scale, (centre + spread) / scale
