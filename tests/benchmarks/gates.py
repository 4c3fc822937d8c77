"""The product's count gate as decision rules over many simulated streams at once.

Each rule takes a dict of per-minute arrays of shape (streams, minutes): `nc`, `ec` treatment's requests and errors,
`nb`, `eb` control's, and `hn`, `he` those of all traffic before the rollout, from which the dispersion is estimated. It
answers with the 1-based minute of its first alarm per stream, infinity where there is none.

The functions called are those that `tools.gates.update` and `tools.gates.judge` call; a test holds the two together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.gates.counts import COMMON, CountTest, compare, possible
from tools.gates.dispersion import estimate_dispersion
from tools.gates.judging import (
    BURN_IN_STAKE,
    Counts,
    Direction,
    boostable,
    burn_in_prior,
    harm_prior,
    log_harm_cap,
    safe_prior,
)
from tools.gates.wealth import Floats, Prior, advance, log_boost, log_total

MARGIN = 2.0
BURN_IN = 10


@dataclass(frozen=True)
class Rule:
    """One question of a test: the bets, the factors they are on, the null, and the log evidence that answers it.

    `boosted` says whether a rollback is what it is about, so that its bets are boosted.
    """

    test: CountTest
    prior: Prior
    factors: Floats
    null: float
    log_level: float
    boosted: bool = False

    @classmethod
    def harm(cls, test: CountTest, alpha: float) -> "Rule":
        """Is treatment worse than control?"""
        prior = harm_prior(test.margin)
        factors = test.direction.away(prior.factors)
        log_level = float(-np.log(alpha) - np.log1p(-BURN_IN_STAKE))
        return cls(test, prior, factors, 1.0, log_level, boosted=True)

    @classmethod
    def safe(cls, test: CountTest) -> "Rule":
        """Is treatment within the margin?"""
        prior = safe_prior(test.margin)
        factors = 1 / test.direction.away(prior.factors)
        return cls(test, prior, factors, test.safe_ratio, float(-np.log(test.alpha_safe)))

    @property
    def burning_in(self) -> "Rule":
        """Is treatment far worse than control, even for a start?"""
        prior, away = burn_in_prior(), self.test.direction.away
        null = float(away(np.array(self.test.burn_in_margin)))
        return Rule(self.test, prior, away(prior.factors), null, self.log_level)


Arms = tuple[Floats, Floats]


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
        self, rate: Floats, exposures: Arms, events: Arms, dispersion: Floats, burnt_in: Floats | None = None
    ) -> None:
        """One interval of every stream; `burnt_in` is the log evidence of its burn-in, if it had one."""
        rule = self.rule
        if rule.boosted:
            caps = log_harm_cap(rule.test.alpha_rollback, np.zeros(len(rate)) if burnt_in is None else burnt_in)
            self._boost(caps, (dispersion == 1) & (rate < COMMON), exposures, events)
        log_lr, information = compare(rule.null, rule.factors, rate, exposures, events)
        self.started, self.reserve, self.clock = advance(
            rule.prior, self.started, self.reserve, self.clock, log_lr / dispersion[:, None], information / dispersion
        )

    def _boost(self, caps: Floats, known: NDArray[np.bool_], exposures: Arms, events: Arms) -> None:
        paying = (exposures[0] > 0) & (exposures[1] > 0) & (events[0] + events[1] > 0)
        (near,) = np.nonzero(boostable(self.log_e, caps) & known & paying)
        if len(near):
            arms = (exposures[0][near], exposures[1][near]), (events[0][near], events[1][near])
            outcomes = possible(self.rule.test.direction, self.rule.factors, *arms)
            self.started[near] += log_boost(self.started[near], self.reserve[near], caps[near], *outcomes)[:, None]


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
    counts = control_exposures, control_events, treatment_exposures, treatment_events
    return first_answers(rule, [rule.log_level], counts, dispersion)[0]


def first_answers(
    rule: Rule,
    log_levels: Sequence[float],
    counts: tuple[Floats, Floats, Floats, Floats],
    dispersion: Floats,
    burn_in: int = 0,
) -> Floats:
    """As `first_answer`, for several levels (levels, streams); the first `burn_in` intervals warm up."""
    control_exposures, control_events, treatment_exposures, treatment_events = counts
    streams, intervals = treatment_exposures.shape
    levels = np.array(log_levels)[:, None]
    book, warming = Book.start(rule, streams), Book.start(rule.burning_in, streams)
    answers = np.full((len(log_levels), streams), np.inf)
    seen_exposures, seen_events = np.zeros(streams), np.zeros(streams)
    for interval in range(intervals):
        exposures = _column(control_exposures, interval), _column(treatment_exposures, interval)
        events = _column(control_events, interval), _column(treatment_events, interval)
        rate = np.divide(seen_events, seen_exposures, out=np.zeros(streams), where=seen_exposures > 0)
        if interval < burn_in:
            warming.advance(rate, exposures, events, dispersion)
        else:
            book.advance(rate, exposures, events, dispersion, warming.log_e)
        seen_exposures, seen_events = seen_exposures + sum(exposures), seen_events + sum(events)
        log_e = book.log_e
        if burn_in:
            log_e = np.logaddexp(log_e, np.log(BURN_IN_STAKE / (1 - BURN_IN_STAKE)) + warming.log_e)
        answers[(log_e >= levels) & np.isinf(answers)] = interval + 1
        if np.isfinite(answers).all():
            break
    return answers


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


def harm_after_burn_in(d: Mapping[str, Floats]) -> Floats:
    """First minute of a rollback where the plan has a burn-in of 10 minutes."""
    test = CountTest(Direction.INCREASE, MARGIN)
    rule = Rule.harm(test, test.alpha_rollback)
    counts = d["nb"], d["eb"], d["nc"], d["ec"]
    return first_answers(rule, [rule.log_level], counts, dispersions(d), BURN_IN)[0]


def safe(d: Mapping[str, Floats]) -> Floats:
    """First minute of a promotion."""
    return _rule(d, Rule.safe(CountTest(Direction.INCREASE, MARGIN)))


def _rule(d: Mapping[str, Floats], rule: Rule) -> Floats:
    return first_answer(rule, d["nb"], d["eb"], d["nc"], d["ec"], dispersions(d))


def dispersions(d: Mapping[str, Floats]) -> Floats:
    """Each stream's, from the minutes before the rollout."""
    histories = zip(d["hn"].tolist(), d["he"].tolist(), strict=True)
    return np.array([_dispersion(exposures, events) for exposures, events in histories])


def _dispersion(exposures: list[int], events: list[int]) -> float:
    return estimate_dispersion([Counts(*interval) for interval in zip(exposures, events, strict=True)])
