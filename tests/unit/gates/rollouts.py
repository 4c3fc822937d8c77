"""Whole rollouts of a plan, simulated minute by minute with the product's own count gate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.gates import Book, Rule
from tools.gates import CeilingEvidence, CeilingTest, Counts, CountTest, Outcome, judge_ceiling, update_ceiling
from tools.gates.combined import shared
from tools.gates.forecast import Ending, Schedule, Step, Watched
from tools.gates.wealth import Floats, log_sum


@dataclass(frozen=True)
class Rollouts:
    """How each ended (rollouts,), in which stage (rollouts,), and its minutes in each stage (rollouts, stages)."""

    ending: NDArray[np.int64]
    stage: NDArray[np.int64]
    lengths: Floats


@dataclass
class Arms:
    """One metric's two books over all rollouts, and what was seen."""

    one: Watched
    ratio: float
    harm: Book
    safe: Book
    exposures: Floats
    events: Floats

    @classmethod
    def start(cls, one: Watched, ratio: float, rollouts: int, weight: float) -> "Arms":
        test = shared(CountTest(one.direction, one.margin), weight)
        books = Book.start(Rule.harm(test, test.alpha_rollback), rollouts), Book.start(Rule.safe(test), rollouts)
        return cls(one, ratio, *books, np.zeros(rollouts), np.zeros(rollouts))

    def minute(self, rng: np.random.Generator, shares: Floats, *, burning_in: bool) -> None:
        """One more minute of every rollout."""
        requests = self.one.requests_per_minute
        exposures = rng.poisson(requests * (1 - shares)).astype(float), rng.poisson(requests * shares).astype(float)
        rates = self.one.base_rate, self.one.base_rate * self.ratio
        events = tuple(
            _events(rng, exposed, rate, self.one.dispersion) for exposed, rate in zip(exposures, rates, strict=True)
        )
        rate = np.divide(self.events, self.exposures, out=np.zeros(len(shares)), where=self.exposures > 0)
        if not burning_in:
            for book in (self.harm, self.safe):
                book.advance(rate, exposures, (events[0], events[1]), np.full(len(shares), self.one.dispersion))
        self.exposures, self.events = self.exposures + sum(exposures), self.events + sum(events)


def roll_out(schedule: Schedule, ratios: dict[str, float], rollouts: int, seed: int) -> Rollouts:
    """Rollouts through stages that leave a control, promoted and taken back as the controller does it."""
    rng = np.random.default_rng(seed)
    arms = [Arms.start(one, ratios.get(one.name, 1.0), rollouts, schedule.weight) for one in schedule.watched]
    stage, ending = np.zeros(rollouts, np.int64), np.full(rollouts, -1)
    lengths, told = np.zeros((rollouts, len(schedule.steps))), np.zeros(rollouts, bool)
    shares, bakes, limits = (np.array(column) for column in zip(*map(_numbers, schedule.steps), strict=True))
    minute = 0
    while (ending < 0).any():
        for one in arms:
            one.minute(rng, shares[stage], burning_in=minute < schedule.burn_in)
        minute += 1
        going = ending < 0
        lengths[going, stage[going]] += 1
        age = lengths[np.arange(rollouts), stage]
        together = np.log(schedule.weight) + log_sum(np.stack([one.harm.log_e for one in arms], axis=-1))
        safe = np.min([one.safe.log_e for one in arms], axis=0)
        told |= going & (together >= np.log(20))
        caught = going & (together >= np.log(50))
        passed = going & ~told & (safe >= np.log(20)) & (age >= bakes[stage])
        asked = going & ~caught & ~passed & (age >= limits[stage])
        ending[caught], ending[asked] = Ending.ROLLED_BACK, Ending.ASKED
        ending[passed & (stage + 1 == len(shares))] = Ending.PROMOTED
        stage[passed & (stage + 1 < len(shares))] += 1
    return Rollouts(ending, stage, lengths)


def watch_everyone(one: Watched, step: Step, ratio: float, rollouts: int, seed: int) -> Rollouts:
    """Rollouts of a single stage that exposes everyone, against the ceiling that control's rate and the margin give."""
    rng = np.random.default_rng(seed)
    test = CeilingTest(one.direction, float(one.direction.away(np.array(one.margin))) * one.base_rate, one.margin)
    ending, lengths = np.full(rollouts, Ending.ASKED, np.int64), np.full((rollouts, 1), step.limit)
    for rollout in range(rollouts):
        evidence = CeilingEvidence.start(test)
        for minute in range(1, int(step.limit) + 1):
            exposed = int(rng.poisson(one.requests_per_minute))
            events = int(rng.binomial(exposed, one.base_rate * ratio))
            evidence = update_ceiling(test, evidence, Counts(exposed, events))
            outcome = judge_ceiling(test, evidence).outcome
            if outcome is Outcome.FAIL or (outcome is Outcome.PASS and minute >= step.bake):
                ending[rollout] = Ending.ROLLED_BACK if outcome is Outcome.FAIL else Ending.PROMOTED
                lengths[rollout] = minute
                break
    return Rollouts(ending, np.zeros(rollouts, np.int64), lengths)


def _numbers(step: Step) -> tuple[float, float, float]:
    return step.share, step.bake, step.limit


def _events(rng: np.random.Generator, exposed: Floats, rate: float, dispersion: float) -> Floats:
    """Binomial, or bursts of geometric sizes whose counts have that variance over their mean."""
    if dispersion == 1:
        return rng.binomial(exposed.astype(np.int64), rate).astype(float)
    mean_size = (dispersion + 1) / 2
    bursts = rng.poisson(exposed * rate / mean_size)
    sizes = bursts + rng.negative_binomial(np.maximum(bursts, 1), 1 / mean_size)
    return np.minimum(np.where(bursts > 0, sizes, 0), exposed).astype(float)
