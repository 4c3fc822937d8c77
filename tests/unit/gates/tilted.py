"""Harmless rollouts made to raise alarms, with the product's own gates: importance sampling.

In four of five rollouts treatment is tilted by one of several factors, from some time on, and an alarm counts as one
over how much likelier all of that makes its data. The mean over all rollouts is how often a harmless treatment
is rolled back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tests.benchmarks.gates import Book, Rule
from tools.gates import CountTest, latency, means
from tools.gates.amounts import Amounts, LatencyTraffic
from tools.gates.combined import shared
from tools.gates.histograms import Histogram
from tools.gates.latency import LatencyEvidence, LatencyTest
from tools.gates.lures import Flags, Ints
from tools.gates.means import MeanEvidence, MeanTest, Sums
from tools.gates.schedule import Schedule, Watched
from tools.gates.wealth import Floats, log_sum

BURN_IN_LEFT, LARGEST = math.log(0.97), 500.0
# The part of the rollouts without a tilt; when the others' begins, as parts of the whole time, and how often.
UNTILTED = 0.2
ONSETS, CHANCES = np.array([0.0, 0.1, 0.25, 0.5]), np.array([0.7, 0.1, 0.1, 0.1])


class Tilted(Protocol):
    """One metric's gate in every rollout. `factors` are what treatment may be tilted by, the first of them 1."""

    factors: Floats
    harm_log_e: Floats  # (rollouts,)

    def minutes(self, number: float, share: float, rng: np.random.Generator, going: Flags, which: Ints) -> Floats:
        """So many more, tilted by `which` (rollouts,), and how much likelier each factor makes them, as logs."""
        ...


@dataclass
class TiltedCounts:
    one: Watched
    factors: Floats
    book: Book
    harm_log_e: Floats
    seen: list[Floats] = field(default_factory=list)

    @classmethod
    def start(cls, one: Watched, factors: Floats, size: int, weight: float) -> "TiltedCounts":
        test = shared(CountTest(one.direction, one.margin), weight)
        book = Book.start(Rule.harm(test, test.alpha_rollback), size)
        return cls(one, factors, book, np.zeros(size))

    def minutes(self, number: float, share: float, rng: np.random.Generator, going: Flags, which: Ints) -> Floats:
        assert isinstance(self.one.seen, float)
        size, base, requests = len(going), self.one.seen, self.one.requests_per_minute * number
        rates = np.stack([np.full(size, base), base * self.factors[which]])
        exposures = rng.poisson(np.array([[1 - share], [share]]) * requests, (2, size))
        events = rng.binomial(exposures, rates).astype(float)
        exposed = exposures.astype(float)
        stayed = np.log1p(-base * self.factors) - math.log1p(-base)
        before = sum(self.seen, np.zeros((2, size)))
        rate = np.divide(before[1], before[0], out=np.zeros(size), where=before[0] > 0)
        self.book.advance(rate, (exposed[0], exposed[1]), (events[0], events[1]), np.ones(size), lasted=number)
        self.seen = [before + np.stack([exposed.sum(axis=0), events.sum(axis=0)])]
        self.harm_log_e = self.book.log_e
        return np.asarray(events[1][:, None] * np.log(self.factors) + (exposed[1] - events[1])[:, None] * stayed)


@dataclass
class TiltedAmounts:
    """Values are gamma-distributed."""

    one: Watched
    factors: Floats
    test: MeanTest
    evidence: list[MeanEvidence]
    harm_log_e: Floats

    @classmethod
    def start(cls, one: Watched, factors: Floats, size: int, weight: float) -> "TiltedAmounts":
        assert isinstance(one.seen, Amounts)
        test = shared(MeanTest(one.direction, one.seen.cap, one.margin), weight)
        evidence = [MeanEvidence.start(test)] * size
        return cls(one, factors, test, evidence, np.zeros(size))

    def minutes(self, number: float, share: float, rng: np.random.Generator, going: Flags, which: Ints) -> Floats:
        assert isinstance(self.one.seen, Amounts)
        shape = (self.one.seen.mean / self.one.seen.deviation) ** 2
        scale = self.one.seen.mean / shape
        those, odds = np.flatnonzero(going), np.zeros((len(going), len(self.factors)))
        for rollout in those.tolist():
            arms = []
            for part, factor in ((1 - share, 1.0), (share, float(self.factors[which[rollout]]))):
                values = rng.gamma(shape, factor * scale, rng.poisson(self.one.requests_per_minute * number * part))
                capped = np.minimum(values, self.one.seen.cap)
                arms.append(Sums(len(values), float(capped.sum()), float((capped**2).sum())))
            # Of treatment, which is drawn last.
            spent = values.sum() / scale * (1 - 1 / self.factors)
            odds[rollout] = spent - shape * len(values) * np.log(self.factors)
            self.evidence[rollout] = means.update(self.test, self.evidence[rollout], *arms)
            self.harm_log_e[rollout] = means.books(self.test, self.evidence[rollout]).harm_log_e
        return odds


@dataclass
class TiltedLatencies:
    """Latencies are log-normal, with a median of 80 and the deviation `spread` of their log."""

    one: Watched
    factors: Floats
    test: LatencyTest
    evidence: list[LatencyEvidence]
    harm_log_e: Floats
    spread: float = 0.6

    @classmethod
    def start(cls, one: Watched, factors: Floats, size: int, weight: float) -> "TiltedLatencies":
        traffic = one.traffic(0.5)
        assert isinstance(traffic, LatencyTraffic)
        test = shared(traffic.test(one.margin), weight)
        evidence = [LatencyEvidence.start(test)] * size
        return cls(one, factors, test, evidence, np.zeros(size))

    def minutes(self, number: float, share: float, rng: np.random.Generator, going: Flags, which: Ints) -> Floats:
        those, shifts = np.flatnonzero(going), np.log(self.factors)
        requests = self.one.requests_per_minute * number
        arms = []
        for part, by in ((1 - share, np.zeros(len(those))), (share, shifts[which[those]])):
            counts = rng.poisson(requests * part, len(those))
            owner = np.repeat(np.arange(len(those)), counts)
            logs = self.spread * rng.standard_normal(len(owner)) + by[owner]
            arms.append(self._histograms(owner, 80 * np.exp(logs), len(those)))
        # Of treatment, which is drawn last.
        totals = np.bincount(owner, logs, len(those))
        odds = np.zeros((len(going), len(self.factors)))
        odds[those] = (totals[:, None] * shifts - counts[:, None] * shifts**2 / 2) / self.spread**2
        intervals = [
            latency.Interval(self.test, self.evidence[rollout], *pair)
            for rollout, *pair in zip(those.tolist(), *arms, strict=True)
        ]
        for rollout, after in zip(those.tolist(), latency.update_all(intervals), strict=True):
            self.evidence[rollout], self.harm_log_e[rollout] = after, after.books.harm_log_e
        return odds

    def _histograms(self, owner: Ints, latencies: Floats, number: int) -> list[Histogram]:
        edges = self.test.edges
        places = owner * len(edges) + np.searchsorted(edges, latencies)
        counts = np.bincount(places, minlength=number * len(edges)).reshape(number, -1).tolist()
        if not self.test.sums:
            return [Histogram(edges, tuple(arm)) for arm in counts]
        sums = [np.bincount(owner, latencies**power, number).tolist() for power in (1, 2)]
        return [Histogram(edges, tuple(arm), *pair) for arm, *pair in zip(counts, *sums, strict=True)]


def false_rollbacks(
    schedule: Schedule, factors: Sequence[Sequence[float]], rollouts: int, seed: int
) -> tuple[float, float]:
    """How often stages of their least lengths roll back a harmless treatment, and the standard error of that.

    `factors` are those of each metric; in each rollout one metric at most is tilted.
    """
    rng, size = np.random.default_rng(seed), len(factors)
    pairs = zip(schedule.watched, factors, strict=True)
    gates = [_start(one, np.array(tilts), rollouts, schedule) for one, tilts in pairs]
    whose = np.where(rng.random(rollouts) < UNTILTED, -1, rng.integers(0, size, rollouts))
    begun = rng.choice(len(ONSETS), rollouts, p=CHANCES)
    tilts = [
        np.where(whose == index, rng.integers(1, len(gate.factors), rollouts), 0) for index, gate in enumerate(gates)
    ]
    odds = [np.zeros((len(ONSETS), rollouts, len(gate.factors))) for gate in gates]
    wrong, going, age, whole = (
        np.zeros(rollouts),
        np.ones(rollouts, bool),
        0.0,
        sum(step.bake for step in schedule.steps),
    )
    for step in schedule.steps:
        for _ in range(round(step.bake / schedule.check_every)):
            on = whole * ONSETS <= age
            for gate, tilt, likelier in zip(gates, tilts, odds, strict=True):
                which = np.where(on[begun], tilt, 0)
                likelier[on] += gate.minutes(schedule.check_every, step.share, rng, going, which)
            age += schedule.check_every
            together = math.log(schedule.weight) + log_sum(np.stack([gate.harm_log_e for gate in gates], axis=-1))
            caught = going & (BURN_IN_LEFT + together >= math.log(50))
            wrong[caught] = 1 / _likelier(odds)[caught]
            going &= ~caught
    return float(wrong.mean()), float(wrong.std() / math.sqrt(rollouts))


def _likelier(odds: list[Floats]) -> Floats:
    """How much likelier the data of each rollout are than without a tilt, (rollouts,)."""
    tilted = [CHANCES @ np.exp(np.minimum(one[:, :, 1:], LARGEST)).mean(axis=2) for one in odds]
    return np.asarray(UNTILTED + (1 - UNTILTED) * np.mean(tilted, axis=0))


def _start(one: Watched, factors: Floats, size: int, schedule: Schedule) -> Tilted:
    assert factors[0] == 1.0
    match one.seen:
        case float():
            return TiltedCounts.start(one, factors, size, schedule.weight)
        case Amounts():
            return TiltedAmounts.start(one, factors, size, schedule.weight)
        case _:
            return TiltedLatencies.start(one, factors, size, schedule.weight)
