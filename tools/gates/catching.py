"""When a harm that is there from the start is caught, on courses of the gate's own walk.

What closed forms can't tell: bets on harm lie about the margin, and a harm well below it waits for chance, or for bets
that are placed late; one far beyond it is caught at the first checks. They are walked with a fixed seed, so that the
same question always gets the same answer; one takes a fifth of a second, and more the longer the answer is.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from tools.gates import means
from tools.gates.amounts import LONGEST, MeanTraffic, Workload
from tools.gates.judging import Direction
from tools.gates.schedule import Step
from tools.gates.walks import Asked, Span, walk_of
from tools.gates.wealth import Floats
from tools.gates.workload import Minutes

COURSES, FEW_COURSES, SEED = 1600, 300, 40_000
"""How many are walked: for one answer, and where a harm is looked for."""
PATIENCE = 60.0 * 24 * 60
"""Minutes after which nobody waits for an answer any more."""
# How long a step of the walk is, as a part of the time that is counted so far.
STEP_PART = 0.08
# Courses within so many nats of the level tell how uneven evidence is there, if they are no fewer than that.
NEAR, FEWEST = 2.5, 20


def times_to_catch(
    traffic: Workload,
    direction: Direction,
    ratio: float,
    alpha: float,
    check_every: float = 1.0,
    patience: float = PATIENCE,
    courses: int = COURSES,
) -> Minutes:
    """Until treatment, `ratio` times control, is rolled back; LONGEST for what takes longer than `patience`."""
    found = _caught(traffic, direction, ratio, alpha, check_every, patience, courses)
    median, p90 = np.quantile(found, [0.5, 0.9], method="higher")
    return Minutes(float(median), float(p90))


@lru_cache(maxsize=1024)
def _caught(
    traffic: Workload,
    direction: Direction,
    ratio: float,
    alpha: float,
    check_every: float,
    patience: float,
    courses: int,
) -> Floats:
    """The minute at which each course is caught (courses,)."""
    rng, here, age = np.random.default_rng(SEED), np.arange(courses), 0.0
    walk = walk_of(traffic, Asked(direction, traffic.margin, alpha), ratio, courses)
    step, found, level = Step(traffic.share, 0, patience, shadow=True), np.full(courses, LONGEST), -math.log(alpha)
    before = walk.harm(here)
    for looked in _looks(_first(traffic, check_every), check_every, patience):
        span = Span(step, looked - age, check_every)
        walk.count(rng, span, here)
        now = walk.harm(here)
        caught = now + (walk.unseen(span) * _deviation(before, now, level) if age else 0.0) >= level
        # Somewhere within the step, at a check.
        found[here[caught]] = (age + looked + check_every) / 2 if age else looked
        here, before, age = here[~caught], now[~caught], looked
        # What is asked for is known once nine of ten are caught.
        if len(here) < courses / 10:
            break
    return found


def _deviation(before: Floats, now: Floats, level: float) -> float:
    """Of what a step brings, for the courses that are near the level where there are any."""
    near = now > level - NEAR
    steps = (now - before)[near] if near.sum() >= FEWEST else now - before
    return float(np.std(steps)) if len(steps) else 0.0


def _first(traffic: Workload, check_every: float) -> float:
    """The first check at which anything is judged."""
    if not isinstance(traffic, MeanTraffic):
        return check_every
    least = means.SMALLEST_SAMPLE / (traffic.requests_per_minute * traffic.share)
    return check_every * math.ceil(least / check_every)


def _looks(first: float, check_every: float, patience: float) -> Iterator[float]:
    age = min(first, patience)
    yield age
    while age < patience:
        age = min(age + max(check_every, STEP_PART * age), patience)
        yield age
