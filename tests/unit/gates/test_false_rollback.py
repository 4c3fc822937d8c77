"""What is expected of rollbacks for nothing, within a quarter of how often the gates' own code does it."""

from dataclasses import replace

import pytest

from tests.unit.gates.test_mixed_forecast import FROM_BUCKETS, LATENCY, REVENUE
from tests.unit.gates.tilted import false_rollbacks
from tools.gates import Direction
from tools.gates.false_rollback import false_rollback
from tools.gates.schedule import Schedule, Step, Watched

UP, DOWN = Direction.INCREASE, Direction.DECREASE
ERRORS = Watched("errors", UP, 2.0, 4000, 0.005)
WORSE, LESS = (1.0, 1.07, 1.15, 1.25, 1.4, 1.7, 2.2, 3.5), (1.0, 0.93, 0.87, 0.8, 0.71, 0.59, 0.45, 0.29)
SPENT = (1.0, 0.7, 0.8, 0.85, 0.88, 0.91, 0.94, 0.97)
SLOWER = (1.0, 1.02, 1.04, 1.07, 1.1, 1.15, 1.22, 1.35)


NOISE = 0.09
"""The standard error of what is seen, in parts of it, that a cell is simulated to."""


def agree(schedule: Schedule, factors: list[tuple[float, ...]], rollouts: int, noise: float = NOISE) -> None:
    """Within a quarter of what is seen; where that is noisier than NOISE, within its standard error of that."""
    seen, error = false_rollbacks(schedule, factors, rollouts, seed=71)
    said = false_rollback(schedule, [step.bake for step in schedule.steps])
    assert error < noise * seen
    assert abs(said.expected - seen) <= 0.25 * seen + (error if noise > NOISE else 0.0)
    assert seen < said.bound


@pytest.mark.parametrize(
    ("one", "steps", "check_every"),
    [
        (ERRORS, (Step(0.02, 33, 33), Step(0.1, 15, 15), Step(0.5, 15, 15)), 1.0),
        (replace(ERRORS, requests_per_minute=600), (Step(0.05, 120, 120),), 1.0),
        (Watched("errors", UP, 1.5, 300, 0.05), (Step(0.2, 120, 120),), 1.0),
        (Watched("orders", UP, 1.25, 1000, 0.1), (Step(0.1, 60, 60),), 1.0),
        (Watched("orders", DOWN, 1.25, 300, 0.2), (Step(0.2, 60, 60),), 1.0),
        (Watched("orders", DOWN, 1.25, 300, 0.2), (Step(0.2, 60, 60),), 0.25),
        (Watched("orders", DOWN, 1.25, 500, 0.5), (Step(0.1, 60, 60),), 1.0),
        (Watched("orders", DOWN, 1.25, 2000, 0.5), (Step(0.1, 30, 30),), 1.0),
    ],
    ids=["three stages", "rare", "5 %", "10 %", "20 %", "20 %, looked at often", "50 %", "50 %, with more requests"],
)
def test_counts(one: Watched, steps: tuple[Step, ...], check_every: float) -> None:
    factors = WORSE if one.direction is UP else LESS
    agree(Schedule((one,), steps, burn_in=0, check_every=check_every), [factors], 8000 if one.seen == 0.5 else 3000)


@pytest.mark.parametrize("minutes", [40])
def test_means(minutes: float) -> None:
    agree(Schedule((REVENUE,), (Step(0.2, minutes, minutes),), burn_in=0, check_every=4.0), [SPENT], 5000)


@pytest.mark.parametrize(("one", "check_every"), [(LATENCY, 2.0), (FROM_BUCKETS, 3.0)])
def test_latencies(one: Watched, check_every: float) -> None:
    agree(Schedule((one,), (Step(0.2, 24, 24),), burn_in=0, check_every=check_every), [SLOWER], 6500)


def test_three_stages_of_latencies() -> None:
    steps = (Step(0.05, 12, 12), Step(0.2, 12, 12), Step(0.5, 12, 12))
    agree(Schedule((LATENCY,), steps, burn_in=0, check_every=2.0), [SLOWER], 2500)


def test_latencies_of_few_requests() -> None:
    """Twenty a look, whose total is skewed."""
    agree(Schedule((LATENCY,), (Step(0.05, 36, 36),), burn_in=0, check_every=2.0), [SLOWER], 2500)


def test_several_guardrails() -> None:
    several = Schedule((ERRORS, REVENUE, LATENCY), (Step(0.2, 32, 32),), burn_in=0, check_every=4.0)
    agree(several, [WORSE, SPENT, SLOWER], 2500, noise=0.25)
