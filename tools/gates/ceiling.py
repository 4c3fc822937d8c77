"""Is a rate above a known ceiling? For 100 % exposure, where no control is left, and for objectives.

With n exposures and X events, the rate δ·c against the null δ₀·c has

    LR(δ) = (δ/δ₀)^X · exp(−n·c·(δ − δ₀))

which is exact for Poisson events and conservative for Bernoulli ones (1 + z ≤ eᶻ). Mixtures, late starts and the
meaning of the answers are those of `tools.gates.counts`; but what would move both arms, such as an outage elsewhere,
counts here.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from tools.gates.judging import (
    NOTHING,
    BadTest,
    Books,
    Counts,
    Direction,
    Question,
    advance_books,
    check_levels,
    check_minutes,
    check_version,
    decide,
    percent,
    priors,
    stored_margin,
)
from tools.gates.verdict import NoData, Outcome, Verdict, no_data
from tools.gates.wealth import BadEvidence, Floats

VERSION = 4
WITH_DIGITS, UNTIMED = 2, 3
"""With bets by their digits; with clocks of information."""


@dataclass(frozen=True)
class CeilingTest:
    """What is asked of a rate alone.

    INCREASE: a rate above `ceiling` (events per exposure) is harm, one below it is safe; DECREASE: the other way round,
    and `ceiling` is a floor. `margin` is how far from the ceiling rates are expected: it speeds the answer up where it
    is about right and is never wrong. The rest is as in `CountTest`. Raises BadTest.
    """

    direction: Direction
    ceiling: float
    margin: float = 2.0
    alpha_pause: float = 0.05
    alpha_rollback: float = 0.02
    alpha_safe: float = 0.05
    dispersion: float = 1.0
    min_sample: int = 0
    burn_in_margin: float = 10.0

    def __post_init__(self) -> None:
        if not (0 < self.ceiling < math.inf):
            raise BadTest(f"The ceiling must be a rate above 0 events per exposure, not {self.ceiling}.")
        check_levels(self)


@dataclass(frozen=True)
class CeilingEvidence:
    """All that is kept between two checks; `seen` are totals after burn-in, `warming` those during it."""

    direction: Direction
    ceiling: float
    margin: float
    burn_in_margin: float
    books: Books
    seen: Counts = NOTHING
    warming: Counts = NOTHING
    intervals: int = 0
    version: int = VERSION

    @classmethod
    def start(cls, test: CeilingTest) -> Self:
        """No interval seen yet."""
        return cls(test.direction, test.ceiling, test.margin, test.burn_in_margin, Books.start(priors(test.margin)))

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `json.dumps` takes and `from_json` reads back exactly."""
        return {
            "version": self.version,
            "direction": self.direction.value,
            "ceiling": self.ceiling,
            "margin": self.margin,
            "burn_in_margin": self.burn_in_margin,
            "books": self.books.to_json(priors(self.margin)),
            "seen": self.seen.to_json(),
            "warming": self.warming.to_json(),
            "intervals": self.intervals,
        }

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """The evidence that `to_json` wrote. Raises BadEvidence for anything else."""
        version = check_version(plain, WITH_DIGITS, UNTIMED, VERSION)
        try:
            margin = stored_margin(plain["margin"])
            return cls(
                direction=Direction(plain["direction"]),
                ceiling=float(plain["ceiling"]),
                margin=margin,
                burn_in_margin=float(plain["burn_in_margin"]),
                books=Books.from_json(plain["books"], priors(margin), timed=version == VERSION),
                seen=Counts.from_json(plain["seen"]),
                warming=Counts.from_json(plain["warming"]),
                intervals=int(plain["intervals"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadEvidence(f"Stored evidence is damaged ({error}); start new evidence.") from error


def log_likelihood_ratios(factors: Floats, expected: Floats, events: Floats) -> Floats:
    """Log LR of one interval for rates `factors` × the null.

    `expected` (...) events under the null, `events` (...) seen. With `factors` (G,) the answer is (..., G).
    """
    return np.asarray(events[..., None] * np.log(factors) - expected[..., None] * (factors - 1))


def update(
    test: CeilingTest,
    evidence: CeilingEvidence,
    treatment: Counts,
    *,
    burning_in: bool = False,
    minutes: float = 1.0,
) -> CeilingEvidence:
    """The evidence after one more interval of so many minutes, in which `treatment` was counted.

    While `burning_in` the interval counts only towards the burn-in question. Raises BadCounts for a length that can't
    be, and BadEvidence when `evidence` is of another test.
    """
    check_same_test(test, evidence)
    check_minutes(minutes)
    hits = np.array([[float(treatment.events)]])

    def likelihood(nulls: Floats, factors: Floats) -> Floats:
        return log_likelihood_ratios(factors, treatment.exposures * test.ceiling * nulls[None], hits)

    (books,) = advance_books([evidence.books], [test], likelihood, 1.0, np.array([minutes]), burning_in=burning_in)
    counted = replace(evidence, books=books, intervals=evidence.intervals + 1)
    if burning_in:
        return replace(counted, warming=evidence.warming + treatment)
    return replace(counted, seen=evidence.seen + treatment)


def judge(test: CeilingTest, evidence: CeilingEvidence) -> Verdict:
    """What the evidence says now; the answer's `control_rate` is the ceiling.

    Raises BadEvidence when `evidence` is of another test.
    """
    check_same_test(test, evidence)
    if not evidence.intervals:
        return no_data(NoData.EMPTY, "No interval has been counted yet.")
    warming = not evidence.seen.exposures
    shown = evidence.warming if warming else evidence.seen
    if shown.rate is None:
        return no_data(NoData.NO_TRAFFIC, "There has been no traffic yet.")
    ratio = shown.rate / test.ceiling
    numbers = Verdict(
        outcome=Outcome.INCONCLUSIVE,
        why="",
        treatment_rate=shown.rate,
        control_rate=test.ceiling,
        ratio=ratio,
        margin=test.margin,
        treatment_n=evidence.seen.exposures,
        treatment_events=evidence.seen.events,
    )
    bound, side = ("ceiling", "below") if test.direction is Direction.INCREASE else ("floor", "above")
    question = Question(
        facts=f"{percent(shown.rate)} of {shown.exposures:,}, {bound} {percent(test.ceiling)}, ×{ratio:.3g}",
        safe=f"it is {side} the {bound}",
        burning_in=warming,
    )
    return decide(test, evidence.books, numbers, question)


def check_same_test(test: CeilingTest, evidence: CeilingEvidence) -> None:
    """Raises BadEvidence when `evidence` was collected for another direction, ceiling, margin or burn-in margin."""
    asked = test.direction, test.ceiling, test.margin, test.burn_in_margin
    if asked != (evidence.direction, evidence.ceiling, evidence.margin, evidence.burn_in_margin):
        raise BadEvidence(
            f"This evidence is of a test for {evidence.direction} against {percent(evidence.ceiling)}, not for "
            f"{test.direction} against {percent(test.ceiling)} with the same margins; start new evidence."
        )
