"""What a whole plan's gates will do, before it starts: when they decide, what they miss, what a harm reaches.

Rates, means and latencies, one or several, on courses sampled from the gate's own random walk (`tools.gates.courses`,
`tools.gates.walks`); a rollback for nothing: `tools.gates.false_rollback`.
"""

from dataclasses import dataclass

import numpy as np

from tools.gates import calculators
from tools.gates.amounts import Workload
from tools.gates.blast import BlastRadius, Population, blast_radius
from tools.gates.counts import CountTest
from tools.gates.courses import DRAWS, Courses, Ending, sampled
from tools.gates.false_rollback import Chance, false_rollback
from tools.gates.judging import Direction
from tools.gates.lures import Flags
from tools.gates.schedule import Schedule
from tools.gates.wealth import Floats
from tools.gates.workload import Minutes

UNKNOWN = Population()


@dataclass(frozen=True)
class Caught:
    """A harm within one stage: how long until it is rolled back, burn-in included, and treatment's requests by then."""

    minutes: Minutes
    requests: Minutes


@dataclass(frozen=True)
class StageForecast:
    """A stage of a treatment that does no harm: how long it lasts until it is proven safe.

    `verdict` is of those courses that are proven; `unproven` is the part of those that come to the stage whose limit
    comes first, or that are paused for a suspicion.
    """

    verdict: Minutes | None
    unproven: float


@dataclass(frozen=True)
class PlanForecast:
    """A plan of a treatment that does no harm: minutes to the end of those courses that come there, the part that
    doesn't (a person is asked), and the chance that it is rolled back for nothing."""

    stages: tuple[StageForecast, ...]
    whole: Minutes | None
    unfinished: float
    false_rollback: Chance


@dataclass(frozen=True)
class StageCatch:
    """How likely a harm is rolled back in this stage, and when, in minutes since the stage began; None if never."""

    chance: float
    minutes: Minutes | None


@dataclass(frozen=True)
class HarmForecast:
    """A plan whose treatment does harm from its start on.

    `caught` (rolled back), `asked` (paused at a stage's limit, a person decides) and `missed` (promoted to the end) add
    up to 1. `minutes` since the start and `blast` are of those that are rolled back or asked about.
    """

    caught: float
    asked: float
    missed: float
    by_stage: tuple[StageCatch, ...]
    minutes: Minutes | None
    blast: BlastRadius | None


def catch_in_stage(
    traffic: Workload,
    direction: Direction,
    harm: float,
    *,
    burn_in: float = 0.0,
    check_every: float = 1.0,
    weight: float = 1.0,
) -> Caught:
    """A harm that is there from the start of a rollout's first stage, as long as that stage lasts. Raises BadQuestion.

    `calculators.time_to_catch` after the burn-in, in which only the far worse is caught. `weight` is the metric's part
    of the level: one over the number of those that share it.
    """
    alpha = CountTest.alpha_rollback * weight
    catch = calculators.time_to_catch(traffic, direction, harm, alpha=alpha, check_minutes=check_every)
    minutes = Minutes(catch.median + burn_in, catch.p90 + burn_in)
    served = traffic.requests_per_minute * traffic.share
    return Caught(minutes, Minutes(minutes.median * served, minutes.p90 * served))


def forecast(schedule: Schedule, draws: int = DRAWS) -> PlanForecast:
    """The plan of a treatment that does no harm, from so many sampled courses."""
    courses = sampled(schedule, {}, draws)
    done = courses.ending == Ending.PROMOTED
    return PlanForecast(
        stages=tuple(_stage_forecast(courses, index) for index in range(len(schedule.steps))),
        whole=_minutes(courses.minutes[done]),
        unfinished=float(1 - done.mean()),
        false_rollback=false_rollback(schedule, courses.typical_lengths()),
    )


def forecast_harm(
    schedule: Schedule, metric: str, harm: float, population: Population = UNKNOWN, draws: int = DRAWS
) -> HarmForecast:
    """The plan of a treatment whose `metric` is `harm` (≥ 1) times worse from its start on. Raises BadQuestion."""
    one = schedule.of(metric)
    ratio = one.worse(harm)
    courses = sampled(schedule, {metric: ratio}, draws)
    caught, asked = courses.ending == Ending.ROLLED_BACK, courses.ending == Ending.ASKED
    found = caught | asked
    last, lengths = courses.stage[found], courses.lengths[found]
    return HarmForecast(
        caught=float(caught.mean()),
        asked=float(asked.mean()),
        missed=float(1 - found.mean()),
        by_stage=tuple(_stage_catch(courses, caught, index) for index in range(len(schedule.steps))),
        minutes=_minutes(courses.minutes[found]),
        blast=blast_radius(schedule, one, ratio, last, lengths, population) if found.any() else None,
    )


def _stage_forecast(courses: Courses, index: int) -> StageForecast:
    came, passed = courses.came(index), courses.passed(index)
    unproven = 1 - passed.sum() / came.sum() if came.any() else 1.0
    return StageForecast(_minutes(courses.lengths[passed, index]), float(unproven))


def _stage_catch(courses: Courses, caught: Flags, index: int) -> StageCatch:
    here = caught & (courses.stage == index)
    return StageCatch(float(here.mean()), _minutes(courses.lengths[here, index]))


def _minutes(values: Floats) -> Minutes | None:
    return Minutes(float(np.median(values)), float(np.quantile(values, 0.9))) if len(values) else None
