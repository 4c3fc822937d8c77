"""The chance that a harmless treatment is rolled back.

Guardrails share the gate's level as `tools.gates.combined` has it: it rolls back from Σ w·E ≥ 1/α, with w one over the
number of metrics that share it, so that P(false rollback) ≤ α for each question that is asked of them (Ville): while
there is a control, in shadow, and at 100 %. What is expected is less, because a plan ends, and because evidence may
overshoot its level. It is counted on courses of the gates' own walks that are led to harms (`tools.gates.lures`), each
alarm weighed by how much less likely it is without one.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tools.gates.judging import BURN_IN_STAKE
from tools.gates.lures import Ints
from tools.gates.schedule import Schedule, Step, counted
from tools.gates.walks import Asked, Span, Walk, led
from tools.gates.wealth import Floats, log_sum

COURSES, SEED = 1_000, 30_000
# The part of the courses that is not led, so that what no bet leads to is seen too and no alarm counts for much.
UNLED, NONE = 0.25, -1
# How long a step of the walk is, as a part of the time that is counted so far.
STEP_PART = 0.05


@dataclass(frozen=True)
class Chance:
    """A probability: what holds for sure, and what is expected."""

    bound: float
    expected: float


def false_rollback(schedule: Schedule, minutes: Sequence[float]) -> Chance:
    """The chance that a harmless treatment is rolled back, when the stages last that many minutes each.

    At 100 % what is expected is nothing: there a harmless treatment is as far from the ceiling as the margin is wide.
    """
    books = {step.book for step in schedule.steps}
    bound = len(books) * schedule.alpha_rollback
    expected = sum(_expected(schedule, tuple(minutes), book) for book in sorted(books - {"whole"}))
    return Chance(min(bound, 1.0), min(expected, bound, 1.0))


@lru_cache(maxsize=512)
def _expected(schedule: Schedule, minutes: tuple[float, ...], book: str) -> float:
    rng, here = np.random.default_rng(SEED), np.arange(COURSES)
    # Most courses are led to a harm, in one of the metrics.
    whose, chance, age = rng.integers(0, len(schedule.watched), COURSES), np.zeros(COURSES), 0.0
    whose[rng.random(COURSES) < UNLED] = NONE
    walks = [_walk(schedule, index, rng, whose) for index in range(len(schedule.watched))]
    level = -math.log(schedule.alpha_rollback * schedule.weight * (1 - BURN_IN_STAKE))
    for share, length in counted(schedule, minutes, book):
        step, end = Step(share, 0, length, shadow=True), age + length
        for looked in _looks(age, end, schedule.check_every):
            span = Span(step, looked - age, schedule.check_every)
            for walk in walks:
                walk.count(rng, span, here)
            # Evidence that reaches the level grew by about as much in each minute, and its variance by twice that.
            deviation = math.sqrt(2 * level * span.minutes / looked)
            harm = log_sum(np.stack([walk.harm(here) + deviation * walk.unseen(span) for walk in walks], axis=-1))
            caught = harm >= level
            chance[here[caught]] = np.exp(-_odds(walks, here[caught]))
            here, age = here[~caught], looked
    return float(chance.mean())


def _walk(schedule: Schedule, index: int, rng: np.random.Generator, whose: Ints) -> Walk:
    one = schedule.watched[index]
    asked = Asked(one.direction, one.margin, schedule.alpha_rollback * schedule.weight)
    return led(one.traffic(0.5), asked, rng, whose == index, schedule.burn_in)


def _odds(walks: Sequence[Walk], here: Ints) -> Floats:
    """The log of how much likelier what these courses saw is than where none is led."""
    led_to = [walk.lure.log_odds(here) for walk in walks if walk.lure is not None]
    return np.logaddexp(math.log((1 - UNLED) / len(led_to)) + log_sum(np.stack(led_to, axis=-1)), math.log(UNLED))


def _looks(age: float, end: float, check_every: float) -> Iterator[float]:
    """When to look, in minutes that are counted: at the stage's end, else ever more rarely."""
    while age < end - 1e-9:
        age = min(age + max(check_every, STEP_PART * age), end)
        yield age
