"""The product's count gate as decision rules over many simulated streams at once.

Each rule takes a dict of per-minute arrays of shape (streams, minutes): `nc`, `ec` treatment's requests and errors,
`nb`, `eb` control's, and `hn`, `he` those of all traffic before the rollout, from which the dispersion is estimated. It
answers with the 1-based minute of its first alarm per stream, infinity where there is none.

The books are advanced by `tools.gates.judging.settle`, as `tools.gates.update` advances them; a test holds the two
together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tools.gates import dispersion as bursts
from tools.gates.counts import Counted, CountTest
from tools.gates.judging import (
    Boosting,
    Direction,
    burn_in_prior,
    cap_safety,
    harm_prior,
    safe_prior,
    settle,
    together,
)
from tools.gates.wealth import Floats, Ledger, Prior, Wealth

MARGIN = 2.0
BURN_IN = 10


Question = Literal["harm", "burn-in", "safety"]


@dataclass(frozen=True)
class Rule:
    """One question of a test: the bets, the factors they are on, the null, and the log evidence that answers it."""

    test: CountTest
    asks: Question
    prior: Prior
    factors: Floats
    null: float
    log_level: float

    @classmethod
    def harm(cls, test: CountTest, alpha: float) -> "Rule":
        """Is treatment worse than control?"""
        prior = harm_prior(test.margin)
        factors = test.direction.away(prior.factors)
        return cls(test, "harm", prior, factors, 1.0, float(-np.log(alpha)))

    @classmethod
    def safe(cls, test: CountTest) -> "Rule":
        """Is treatment within the margin?"""
        prior = safe_prior(test.margin)
        factors = 1 / test.direction.away(prior.factors)
        return cls(test, "safety", prior, factors, test.safe_ratio, float(-np.log(test.alpha_safe)))

    @property
    def burning_in(self) -> "Rule":
        """Is treatment far worse than control, even for a start?"""
        prior, away = burn_in_prior(), self.test.direction.away
        null = float(away(np.array(self.test.burn_in_margin)))
        return Rule(self.test, "burn-in", prior, away(prior.factors), null, self.log_level)


Arms = tuple[Floats, Floats]


@dataclass
class Book:
    """Many streams' books on one question, kept and advanced by the product."""

    rule: Rule
    ledger: Ledger
    prior: Prior

    @classmethod
    def start(cls, rule: Rule, streams: int) -> "Book":
        prior = Prior.stacked([replace(rule.prior, factors=rule.factors)])
        return cls(rule, Ledger.of([(Wealth.start(rule.prior),)] * streams), prior)

    @property
    def log_e(self) -> Floats:
        return self.ledger.log_e[:, 0]

    def advance(
        self,
        rate: Floats,
        exposures: Arms,
        events: Arms,
        dispersion: Floats,
        burnt_in: Floats | None = None,
        lasted: float = 1.0,
    ) -> None:
        """An interval of every stream, `lasted` minutes long; `burnt_in`: its log evidence of burn-in, if any."""
        rule, seen, boosting = self.rule, Counted(rate, exposures, events), None
        minutes = np.full(len(rate), lasted)
        if rule.asks == "harm":
            warmth = np.zeros(len(rate)) if burnt_in is None else burnt_in
            levels = np.full(len(rate), rule.test.alpha_rollback)
            boosting = Boosting(seen.chances(rule.test.direction), levels, warmth.__getitem__)
        settle(self.ledger, self.prior, np.array([rule.null]), dispersion, minutes, seen.likelihood, boosting)
        if rule.asks == "safety":
            cap_safety(self.ledger, 0, np.array([rule.test.alpha_safe]))


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
        log_e = together(book.log_e, warming.log_e) if rule.asks == "harm" else book.log_e
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
    exposures, events = np.asarray(d["hn"], float), np.asarray(d["he"], float)
    scales = bursts.widths(exposures.shape[1])
    found = [bursts.dispersions(_joined(exposures, width), _joined(events, width)) for width in scales]
    return np.asarray(np.max(found, axis=0))


def _joined(counts: Floats, width: int) -> Floats:
    streams, intervals = counts.shape
    whole = intervals // width * width
    return np.asarray(counts[:, :whole].reshape(streams, -1, width).sum(axis=2))
