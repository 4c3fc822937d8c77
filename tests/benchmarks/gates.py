"""The product's count gate as decision rules over many simulated streams at once.

Each rule takes a dict of per-minute arrays of shape (streams, minutes): `nc`, `ec` treatment's requests and errors,
`nb`, `eb` control's, and `hn`, `he` those of all traffic before the rollout, from which the dispersion is estimated. It
answers with the 1-based minute of its first alarm per stream, infinity where there is none.

The functions called are those that `tools.gates.update` and `tools.gates.judge` call; a test holds the two together.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tools.gates.counts import COMMON, CountTest, compare, possible
from tools.gates.dispersion import estimate_dispersion
from tools.gates.judging import (
    BURN_IN_STAKE,
    Counts,
    Direction,
    boostable,
    harm_prior,
    log_harm_cap,
    safe_prior,
)
from tools.gates.wealth import Floats, Prior, advance, log_boost, log_total

MARGIN = 2.0


@dataclass(frozen=True)
class Rule:
    """One question of a test: the bets, the factors they are on, the null, and the log evidence that answers it.

    `alpha_boosted` is the level whose rollback the bets are boosted for; None for a question without a boost.
    """

    direction: Direction
    prior: Prior
    factors: Floats
    null: float
    log_level: float
    alpha_boosted: float | None = None

    @classmethod
    def harm(cls, test: CountTest, alpha: float) -> "Rule":
        """Is treatment worse than control?"""
        prior = harm_prior(test.margin)
        level = float(-np.log(alpha) - np.log1p(-BURN_IN_STAKE))
        return cls(test.direction, prior, test.direction.away(prior.factors), 1.0, level, test.alpha_rollback)

    @classmethod
    def safe(cls, test: CountTest) -> "Rule":
        """Is treatment within the margin?"""
        prior = safe_prior(test.margin)
        factors = 1 / test.direction.away(prior.factors)
        return cls(test.direction, prior, factors, test.safe_ratio, float(-np.log(test.alpha_safe)))


@dataclass
class Book:
    """Many streams' bets (streams, G), reserves and clocks (streams,) on one question."""

    rule: Rule
    started: Floats
    reserve: Floats
    clock: Floats

    @classmethod
    def start(cls, rule: Rule, streams: int) -> "Book":
        prior = rule.prior
        placed = np.tile(prior.log_weights + np.log(prior.at_once), (streams, 1))
        return cls(rule, placed, np.full(streams, np.log1p(-prior.at_once)), np.zeros(streams))

    @property
    def log_e(self) -> Floats:
        return log_total(self.started, self.reserve)

    def advance(
        self, rate: Floats, exposures: tuple[Floats, Floats], events: tuple[Floats, Floats], dispersion: Floats
    ) -> None:
        """One interval of every stream."""
        rule = self.rule
        log_lr, information = compare(rule.null, rule.factors, rate, exposures, events)
        self._boost(rate, exposures, events, dispersion)
        self.started, self.reserve, self.clock = advance(
            rule.prior, self.started, self.reserve, self.clock, log_lr / dispersion[:, None], information / dispersion
        )

    def _boost(
        self, rate: Floats, exposures: tuple[Floats, Floats], events: tuple[Floats, Floats], dispersion: Floats
    ) -> None:
        if self.rule.alpha_boosted is None:
            return
        cap = log_harm_cap(self.rule.alpha_boosted, np.zeros(len(rate)))
        paying = (exposures[0] > 0) & (exposures[1] > 0) & (events[0] + events[1] > 0)
        (near,) = np.nonzero(boostable(self.log_e, cap) & (dispersion == 1) & (rate < COMMON) & paying)
        if len(near):
            arms = (exposures[0][near], exposures[1][near]), (events[0][near], events[1][near])
            outcomes = possible(self.rule.direction, self.rule.factors, *arms)
            raised = log_boost(self.started[near], self.reserve[near], cap[near], *outcomes)
            self.started[near] += raised[:, None]


def first_answer(
    rule: Rule,
    control_exposures: Floats,
    control_events: Floats,
    treatment_exposures: Floats,
    treatment_events: Floats,
    dispersion: Floats,
) -> Floats:
    """The 1-based interval of each stream's first answer, infinity without one.

    Counts have the shape (streams, intervals), `dispersion` (streams,).
    """
    streams, intervals = treatment_exposures.shape
    book, answer = Book.start(rule, streams), np.full(streams, np.inf)
    seen_exposures, seen_events = np.zeros(streams), np.zeros(streams)
    for interval in range(intervals):
        exposures = _column(control_exposures, interval), _column(treatment_exposures, interval)
        events = _column(control_events, interval), _column(treatment_events, interval)
        rate = np.divide(seen_events, seen_exposures, out=np.zeros(streams), where=seen_exposures > 0)
        book.advance(rate, exposures, events, dispersion)
        seen_exposures, seen_events = seen_exposures + sum(exposures), seen_events + sum(events)
        answer[(book.log_e >= rule.log_level) & np.isinf(answer)] = interval + 1
        if np.isfinite(answer).all():
            break
    return answer


def _column(counts: Floats, interval: int) -> Floats:
    return counts[:, interval].astype(float)


def harm(d: Mapping[str, Floats]) -> Floats:
    """First minute of a rollback."""
    test = CountTest(Direction.INCREASE, MARGIN)
    return _rule(d, Rule.harm(test, test.alpha_rollback))


def pause(d: Mapping[str, Floats]) -> Floats:
    """First minute of a pause."""
    test = CountTest(Direction.INCREASE, MARGIN)
    return _rule(d, Rule.harm(test, test.alpha_pause))


def safe(d: Mapping[str, Floats]) -> Floats:
    """First minute of a promotion."""
    return _rule(d, Rule.safe(CountTest(Direction.INCREASE, MARGIN)))


def _rule(d: Mapping[str, Floats], rule: Rule) -> Floats:
    return first_answer(rule, d["nb"], d["eb"], d["nc"], d["ec"], _dispersions(d))


def _dispersions(d: Mapping[str, Floats]) -> Floats:
    histories = zip(d["hn"].tolist(), d["he"].tolist(), strict=True)
    return np.array([_dispersion(exposures, events) for exposures, events in histories])


def _dispersion(exposures: list[int], events: list[int]) -> float:
    return estimate_dispersion([Counts(*interval) for interval in zip(exposures, events, strict=True)])
