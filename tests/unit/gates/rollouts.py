"""Whole rollouts of a plan, simulated minute by minute with the product's own gates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.gates import Book, Rule
from tests.unit.gates.latencies import Draw
from tools.gates import (
    CeilingEvidence,
    CeilingTest,
    Counts,
    CountTest,
    Outcome,
    judge_ceiling,
    latency,
    means,
    update_ceiling,
)
from tools.gates.amounts import Amounts, Latencies
from tools.gates.combined import shared
from tools.gates.courses import Ending
from tools.gates.histograms import Histogram
from tools.gates.latency import LatencyEvidence, LatencyTest
from tools.gates.lures import Flags
from tools.gates.means import MeanEvidence, MeanTest, Sums
from tools.gates.schedule import Schedule, Step, Watched
from tools.gates.wealth import Floats, log_sum


@dataclass(frozen=True)
class Rollouts:
    """How each ended (rollouts,), in which stage (rollouts,), and its minutes in each stage (rollouts, stages)."""

    ending: NDArray[np.int64]
    stage: NDArray[np.int64]
    lengths: Floats


class Guardrail(Protocol):
    """One metric's gate in every rollout."""

    def minutes(
        self, number: float, rng: np.random.Generator, shares: Floats, going: Flags, *, burning_in: bool
    ) -> None:
        """So many more at these shares (rollouts,) of those that are `going` (rollouts,) at least, as one interval."""
        ...

    @property
    def harm_log_e(self) -> Floats: ...
    @property
    def safe_log_e(self) -> Floats: ...


@dataclass
class Arms:
    """One rate's two books over all rollouts, and what was seen."""

    one: Watched
    rate: float
    ratio: float
    harm: Book
    safe: Book
    exposures: Floats
    events: Floats

    @classmethod
    def start(cls, one: Watched, ratio: float, rollouts: int, weight: float) -> "Arms":
        test = shared(CountTest(one.direction, one.margin), weight)
        books = Book.start(Rule.harm(test, test.alpha_rollback), rollouts), Book.start(Rule.safe(test), rollouts)
        assert isinstance(one.seen, float)
        return cls(one, one.seen, ratio, *books, np.zeros(rollouts), np.zeros(rollouts))

    @property
    def harm_log_e(self) -> Floats:
        return self.harm.log_e

    @property
    def safe_log_e(self) -> Floats:
        return self.safe.log_e

    def minutes(
        self, number: float, rng: np.random.Generator, shares: Floats, going: Flags, *, burning_in: bool
    ) -> None:
        """So many more of every rollout."""
        requests = self.one.requests_per_minute * number
        exposures = rng.poisson(requests * (1 - shares)).astype(float), rng.poisson(requests * shares).astype(float)
        events = tuple(
            events_of(rng, exposed, rate, self.one.dispersion)
            for exposed, rate in zip(exposures, (self.rate, self.rate * self.ratio), strict=True)
        )
        rate = np.divide(self.events, self.exposures, out=np.zeros(len(shares)), where=self.exposures > 0)
        if not burning_in:
            for book in (self.harm, self.safe):
                spread = np.full(len(shares), self.one.dispersion)
                book.advance(rate, exposures, (events[0], events[1]), spread, lasted=number)
        self.exposures, self.events = self.exposures + sum(exposures), self.events + sum(events)


@dataclass
class Spending:
    """A mean's gate in every rollout; units are worth amounts that are gamma-distributed."""

    one: Watched
    amounts: Amounts
    ratio: float
    test: MeanTest
    evidence: list[MeanEvidence]
    harm_log_e: Floats
    safe_log_e: Floats

    @classmethod
    def start(cls, one: Watched, amounts: Amounts, ratio: float, rollouts: int, weight: float) -> "Spending":
        test = shared(MeanTest(one.direction, amounts.cap, one.margin), weight)
        evidence = [MeanEvidence.start(test)] * rollouts
        return cls(one, amounts, ratio, test, evidence, np.zeros(rollouts), np.zeros(rollouts))

    def minutes(
        self, number: float, rng: np.random.Generator, shares: Floats, going: Flags, *, burning_in: bool
    ) -> None:
        parts = number * (1 - shares), number * shares
        arms = self._served(rng, parts[0], 1.0), self._served(rng, parts[1], self.ratio)
        for rollout in np.flatnonzero(going).tolist():
            control, treatment = (arm[rollout] for arm in arms)
            after = means.update(self.test, self.evidence[rollout], control, treatment, burning_in=burning_in)
            books = means.books(self.test, after)
            self.evidence[rollout] = after
            self.harm_log_e[rollout], self.safe_log_e[rollout] = books.harm_log_e, books.safe.log_e

    def _served(self, rng: np.random.Generator, parts: Floats, ratio: float) -> list[Sums]:
        units = rng.poisson(self.one.requests_per_minute * parts)
        shape = (self.amounts.mean / self.amounts.deviation) ** 2
        values = rng.gamma(shape, ratio * self.amounts.mean / shape, int(units.sum()))
        sums = _sums(np.minimum(values, self.amounts.cap), units)
        return [Sums(*one) for one in zip(units.tolist(), *sums, strict=True)]


@dataclass
class Waiting:
    """A latency's gate in every rollout; `draw` are control's latencies."""

    one: Watched
    draw: Draw
    ratio: float
    test: LatencyTest
    evidence: list[LatencyEvidence]

    @classmethod
    def start(cls, one: Watched, seen: Latencies, draw: Draw, ratio: float, rollouts: int, weight: float) -> "Waiting":
        test = shared(LatencyTest(seen.histogram.edges, one.margin, sums=seen.total is not None), weight)
        return cls(one, draw, ratio, test, [LatencyEvidence.start(test)] * rollouts)

    @property
    def harm_log_e(self) -> Floats:
        return np.array([one.books.harm_log_e for one in self.evidence])

    @property
    def safe_log_e(self) -> Floats:
        return np.array([one.books.safe.log_e if one.treatment >= 200 else 0.0 for one in self.evidence])

    def minutes(
        self, number: float, rng: np.random.Generator, shares: Floats, going: Flags, *, burning_in: bool
    ) -> None:
        those = np.flatnonzero(going)
        parts = number * (1 - shares[those]), number * shares[those]
        control, treatment = self._served(rng, parts[0], 1.0), self._served(rng, parts[1], self.ratio)
        intervals = [
            latency.Interval(self.test, self.evidence[rollout], *arms, burning_in)
            for rollout, *arms in zip(those.tolist(), control, treatment, strict=True)
        ]
        for rollout, after in zip(those.tolist(), latency.update_all(intervals), strict=True):
            self.evidence[rollout] = after

    def _served(self, rng: np.random.Generator, parts: Floats, ratio: float) -> list[Histogram]:
        requests, edges = rng.poisson(self.one.requests_per_minute * parts), self.test.edges
        latencies = ratio * self.draw(rng, int(requests.sum()))
        owner = np.repeat(np.arange(len(parts)), requests)
        places = owner * len(edges) + np.searchsorted(edges, latencies)
        counts = np.bincount(places, minlength=len(parts) * len(edges)).reshape(len(parts), len(edges)).tolist()
        if not self.test.sums:
            return [Histogram(edges, tuple(arm)) for arm in counts]
        return [
            Histogram(edges, tuple(arm), *sums) for arm, *sums in zip(counts, *_sums(latencies, requests), strict=True)
        ]


def _sums(values: Floats, parts: NDArray[np.int64]) -> list[list[float]]:
    """Of the values and of their squares, which come in parts of these sizes."""
    owner = np.repeat(np.arange(len(parts)), parts)
    return [np.bincount(owner, values**power, len(parts)).tolist() for power in (1, 2)]


def roll_out(
    schedule: Schedule, ratios: dict[str, float], rollouts: int, seed: int, draws: Mapping[str, Draw] | None = None
) -> Rollouts:
    """Rollouts through stages that leave a control, promoted and taken back as the controller does it at each check.

    `draws` are control's latencies, of each metric that is one.
    """
    rng = np.random.default_rng(seed)
    gates = gates_of(schedule, ratios, rollouts, draws or {})
    stage, ending = np.zeros(rollouts, np.int64), np.full(rollouts, -1)
    lengths, told = np.zeros((rollouts, len(schedule.steps))), np.zeros(rollouts, bool)
    shares, bakes, limits = (np.array(column) for column in zip(*map(_numbers, schedule.steps), strict=True))
    minute, interval = 0.0, schedule.check_every
    while (ending < 0).any():
        going = ending < 0
        for gate in gates:
            gate.minutes(interval, rng, shares[stage], going, burning_in=minute < schedule.burn_in)
        minute += interval
        lengths[going, stage[going]] += interval
        age = lengths[np.arange(rollouts), stage]
        together = np.log(schedule.weight) + log_sum(np.stack([gate.harm_log_e for gate in gates], axis=-1))
        safe = np.min([gate.safe_log_e for gate in gates], axis=0)
        told |= going & (together >= np.log(20))
        caught = going & (together >= np.log(50))
        passed = going & ~told & (safe >= np.log(20)) & (age >= bakes[stage])
        asked = going & ~caught & ~passed & (age >= limits[stage])
        ending[caught], ending[asked] = Ending.ROLLED_BACK, Ending.ASKED
        ending[passed & (stage + 1 == len(shares))] = Ending.PROMOTED
        stage[passed & (stage + 1 < len(shares))] += 1
    return Rollouts(ending, stage, lengths)


def gates_of(schedule: Schedule, ratios: dict[str, float], rollouts: int, draws: Mapping[str, Draw]) -> list[Guardrail]:
    """What guards the schedule, nothing counted yet."""
    return [_gate(schedule, one, ratios.get(one.name, 1.0), rollouts, draws) for one in schedule.watched]


def _gate(schedule: Schedule, one: Watched, ratio: float, rollouts: int, draws: Mapping[str, Draw]) -> Guardrail:
    match one.seen:
        case Amounts() as amounts:
            return Spending.start(one, amounts, ratio, rollouts, schedule.weight)
        case Latencies() as seen:
            return Waiting.start(one, seen, draws[one.name], ratio, rollouts, schedule.weight)
        case _:
            return Arms.start(one, ratio, rollouts, schedule.weight)


def watch_everyone(one: Watched, step: Step, ratio: float, rollouts: int, seed: int) -> Rollouts:
    """Rollouts of a single stage that exposes everyone, against the ceiling that control's rate and the margin give."""
    rng = np.random.default_rng(seed)
    assert isinstance(one.seen, float)
    test = CeilingTest(one.direction, float(one.direction.away(np.array(one.margin))) * one.seen, one.margin)
    ending, lengths = np.full(rollouts, Ending.ASKED, np.int64), np.full((rollouts, 1), step.limit)
    for rollout in range(rollouts):
        evidence = CeilingEvidence.start(test)
        for minute in range(1, int(step.limit) + 1):
            exposed = int(rng.poisson(one.requests_per_minute))
            events = int(rng.binomial(exposed, one.seen * ratio))
            evidence = update_ceiling(test, evidence, Counts(exposed, events))
            outcome = judge_ceiling(test, evidence).outcome
            if outcome is Outcome.FAIL or (outcome is Outcome.PASS and minute >= step.bake):
                ending[rollout] = Ending.ROLLED_BACK if outcome is Outcome.FAIL else Ending.PROMOTED
                lengths[rollout] = minute
                break
    return Rollouts(ending, np.zeros(rollouts, np.int64), lengths)


def _numbers(step: Step) -> tuple[float, float, float]:
    return step.share, step.bake, step.limit


def events_of(rng: np.random.Generator, exposed: Floats, rate: float, dispersion: float) -> Floats:
    """Binomial, or bursts of geometric sizes whose counts have that variance over their mean."""
    if dispersion == 1:
        return rng.binomial(exposed.astype(np.int64), rate).astype(float)
    mean_size = (dispersion + 1) / 2
    bursts = rng.poisson(exposed * rate / mean_size)
    sizes = bursts + rng.negative_binomial(np.maximum(bursts, 1), 1 / mean_size)
    return np.minimum(np.where(bursts > 0, sizes, 0), exposed).astype(float)
