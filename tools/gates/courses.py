"""Courses of a plan, sampled: its stages walked through many times, with what the gates then say.

`DRAWS` courses are sampled, or fewer where they will do, with a fixed seed, so that the same question always gets the
same answer. What is left out: the burn-in question (a harm beyond the burn-in margin is caught sooner than is said),
traffic that changes over the day, and the time that people take to approve.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

import numpy as np

from tools.gates.lures import Flags, Ints
from tools.gates.schedule import Schedule, Step
from tools.gates.walks import Asked, Span, Walk, walk_of
from tools.gates.wealth import Floats, log_sum

DRAWS, FEW_DRAWS = 800, 200
"""Courses that are sampled: for who asks, and where planning waits for them."""
SEED = 20_000
# How long a step of the walk is, as parts of the time that is counted so far and of the least that the stage lasts.
STEP_PART, BAKE_PART = 0.05, 0.02


class Ending(IntEnum):
    """How a course ends."""

    PROMOTED = 0  # through all its stages
    ROLLED_BACK = 1
    ASKED = 2  # paused at a stage's limit: a person decides


@dataclass(frozen=True)
class Courses:
    """Sampled courses: how each ended (draws,), in which stage (draws,), and its minutes in each (draws, stages)."""

    ending: Ints
    stage: Ints
    lengths: Floats

    @property
    def minutes(self) -> Floats:
        """Of each, from the start to its end, (draws,)."""
        return np.asarray(self.lengths.sum(axis=1))

    def came(self, index: int) -> Flags:
        """Which came to that stage."""
        return np.asarray(self.stage >= index)

    def passed(self, index: int) -> Flags:
        """Which were proven safe there."""
        return np.asarray((self.stage > index) | ((self.stage == index) & (self.ending == Ending.PROMOTED)))

    def typical_lengths(self) -> list[float]:
        """The median length of each stage, of those that came there; 0 where none did."""
        stages = range(self.lengths.shape[1])
        return [
            float(np.median(self.lengths[came, index])) if (came := self.came(index)).any() else 0.0 for index in stages
        ]


def sampled(schedule: Schedule, ratios: dict[str, float], draws: int = DRAWS) -> Courses:
    """The courses when treatment's metrics are these ratios of control's, and equal to it where none is given."""
    return _sampled(schedule, tuple(sorted(ratios.items())), draws)


@lru_cache(maxsize=256)
def _sampled(schedule: Schedule, ratios: tuple[tuple[str, float], ...], draws: int) -> Courses:
    return _Walkers(schedule, dict(ratios), draws, np.zeros(draws, bool)).walked()


@dataclass
class _Walkers:
    """Takes `draws` courses through the stages at once. `told` are those that a suspicion has paused."""

    schedule: Schedule
    ratios: dict[str, float]
    draws: int
    told: Flags
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))

    def walked(self) -> Courses:
        steps, books = self.schedule.steps, dict[str, list[Walk]]()
        stage, ending = np.zeros(self.draws, np.int64), np.full(self.draws, Ending.PROMOTED, np.int64)
        lengths = np.zeros((self.draws, len(steps)))
        for index, step in enumerate(steps):
            here = np.flatnonzero(ending == Ending.PROMOTED)
            book = books.setdefault(step.book, self._fresh(step))
            stage[here] = index
            lengths[here, index], ending[here] = self._through(step, self.schedule.warming(index), book, here)
        return Courses(ending, stage, lengths)

    def _fresh(self, step: Step) -> list[Walk]:
        plan, warmed = self.schedule, 0.0 if step.whole else self.schedule.burn_in
        level = plan.alpha_rollback * plan.weight
        return [
            walk_of(
                one.traffic(0.5),
                Asked(one.direction, one.margin, level, plan.alpha_safe),
                self.ratios.get(one.name, 1.0),
                self.draws,
                warmed,
            )
            for one in plan.guarding(step)
        ]

    def _through(self, step: Step, warming: float, book: list[Walk], here: Ints) -> tuple[Floats, Ints]:
        """How long the courses `here` stay in the stage and how they leave it, each of the shape of `here`."""
        lengths, endings = np.full(len(here), step.limit), np.full(len(here), Ending.ASKED, np.int64)
        staying, age, plan = np.arange(len(here)), 0.0, self.schedule
        before = self._evidence(book, here)
        for looked in self._looks(step, warming):
            if not len(staying):
                break
            courses, span = here[staying], Span(step, max(looked - max(age, warming), 0.0), plan.check_every)
            for walk in book:
                walk.count(self.rng, span, courses)
            age = looked
            now = self._evidence(book, courses)
            even, raised = [span.unseen(raised=False)] * len(book), [walk.unseen(span) for walk in book]
            # Bets are raised towards a rollback, not towards a suspicion.
            suspected = _lifted(before[0], now[0], [min(*each) for each in zip(even, raised, strict=True)])
            harm, safe = self._together(suspected, _lifted(before[1], now[1], even))
            self.told[courses] |= harm >= -math.log(plan.alpha_pause)
            proven, _ = self._together(_lifted(before[0], now[0], raised), now[1])
            caught = proven >= -math.log(plan.alpha_rollback)
            passed = ~self.told[courses] & (safe >= -math.log(plan.alpha_safe)) & self._enough(step, warming, age)
            leaving = caught | passed
            lengths[staying[leaving]] = age
            endings[staying[leaving]] = np.where(caught, Ending.ROLLED_BACK, Ending.PROMOTED)[leaving]
            staying = staying[~leaving]
            before = now[0][~leaving], now[1][~leaving]
        return lengths, endings

    def _evidence(self, book: list[Walk], courses: Ints) -> tuple[Floats, Floats]:
        """The log evidence of harm of each guardrail, and of safety, (n, guardrails)."""
        none = np.zeros((len(courses), 0))
        harm, safe = ([walk.harm(courses) for walk in book], [walk.safe(courses) for walk in book])
        return (np.stack(harm, axis=-1), np.stack(safe, axis=-1)) if book else (none, none)

    def _together(self, harm: Floats, safe: Floats) -> tuple[Floats, Floats]:
        """The log evidence of harm of all guardrails, and the least that one has of safety, (n,).

        Where nothing that is watched guards, there is neither harm nor anything to wait for.
        """
        if not harm.shape[1]:
            return np.full(len(harm), -math.inf), np.full(len(harm), math.inf)
        return math.log(self.schedule.weight) + log_sum(harm), safe.min(axis=1)

    def _enough(self, step: Step, warming: float, age: float) -> bool:
        """Whether the stage is old enough and has its samples."""
        samples = step.min_samples or (0,) * len(self.schedule.watched)
        served = step.share * max(age - warming, 0.0)
        pairs = zip(self.schedule.watched, samples, strict=True)
        return age >= step.bake and all(one.requests_per_minute * served >= sample for one, sample in pairs)

    def _looks(self, step: Step, warming: float) -> Iterator[float]:
        """When to look, in minutes since the stage began: at the burn-in's end, the bake's, else ever more rarely."""
        age, edges = 0.0, sorted(edge for edge in (warming, step.bake, step.limit) if edge > 0)
        while age < step.limit:
            counted = max(age - warming, 0.0)
            ahead = age + max(self.schedule.check_every, STEP_PART * counted, BAKE_PART * step.bake)
            edge = next((edge for edge in edges if edge > age), step.limit)
            age = edge if age < warming or ahead >= edge else ahead
            yield age


def _lifted(before: Floats, now: Floats, unseen: list[float]) -> Floats:
    """The evidence as it was at the check at which it was the most, on average; `unseen` are standard deviations."""
    if len(now) < 2:
        return now
    return np.asarray(now + np.array(unseen) * np.std(now - before, axis=0))
