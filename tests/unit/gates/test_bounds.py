"""The bounds that the table of gates names lie below what rules reach, and near the best of them."""

import numpy as np
import pytest

from tests.benchmarks.bounds import STEP, Looks, Problem
from tests.benchmarks.references import counted, knows_but_when, limit
from tests.unit.gates.streams import World, simulate

BUSY = World(requests=6000, share=0.2, base_rate=0.005, ratio=2.0)
ALPHA = 0.02


def test_a_look_moves_a_likelihood_ratio_nowhere_on_average() -> None:
    looks = Looks.of(BUSY)
    assert looks.chances.sum() == pytest.approx(1)
    assert (looks.chances * np.exp(np.array(looks.moves) * STEP)).sum() == pytest.approx(1, abs=1e-4)


def test_the_rule_that_knows_all_but_the_minute_is_just_above_it() -> None:
    """Shiryaev and Roberts' sum is nearly the best there is, and no rule is better than the bound."""
    bound = Problem.of(BUSY, (1.0, 1.0), ALPHA).late_alone()
    late, waits = np.random.default_rng(4), []
    for onset in late.integers(0, 1200, 12).tolist():
        streams = simulate(World(6000, 0.2, 0.005, 2.0, onset=onset), 200, 1440, seed=onset)
        answers = knows_but_when(BUSY, counted(streams), ALPHA)
        waits += (answers[answers > onset] - onset).tolist()
    assert bound < np.mean(waits) / limit(BUSY, ALPHA) < 1.1 * bound
