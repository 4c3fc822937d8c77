"""Is treatment's rate of events worse than control's? For errors, conversions and any other counted events.

Both questions, harm and safety, are asked with one likelihood ratio. In an interval with K events, X of them
treatment's, and exposures n_c (treatment) and n_b (control), the ratio of rates δ against the null δ₀ has

    LR(δ) = (δ/δ₀)^X · ((n_c·δ₀ + n_b) / (n_c·δ + n_b))^K

which does not depend on the base rate, so that rate may drift, and so may the split. Betting on a mixture of δ and of
starting times makes it valid however often it is looked at (`tools.gates.wealth`).

It is exact for Poisson events. For Bernoulli events its mean under the null is below 1 (ln(1 + z) ≤ z), so it is
valid at every base rate, but slow: at base rates above 10 % it becomes conservative. Events that come in bursts break
it: give their `dispersion`, or count affected users instead.

Sources: Lindon and Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022, arXiv 2011.03567);
Turner and Grünwald, "Exact anytime-valid confidence intervals for contingency tables and beyond" (arXiv 2302.11401);
Hoeffding (1963).
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from tools.gates.judging import (
    NOTHING,
    BadCounts,
    BadTest,
    Books,
    Counts,
    Direction,
    Question,
    check_levels,
    check_version,
    decide,
    percent,
)
from tools.gates.verdict import NoData, Outcome, Verdict, no_data
from tools.gates.wealth import BadEvidence, Floats

__all__ = [
    "BadCounts",
    "BadTest",
    "CountEvidence",
    "CountTest",
    "Counts",
    "Direction",
    "judge",
    "log_likelihood_ratios",
    "null_share",
    "update",
]

VERSION = 1


@dataclass(frozen=True)
class CountTest:
    """What is asked of a count.

    `direction` is the change that does harm. Treatment is safe when its rate is below `margin` × control's
    (INCREASE), or above control's / `margin` (DECREASE). Evidence of harm of 1/`alpha_pause` is suspicion and of
    1/`alpha_rollback` is proof; `alpha_safe` is the level of the proof of safety, which also needs `min_sample`
    treatment exposures. `dispersion` φ ≥ 1 is the variance of control's counts over their mean. While burning in,
    only a treatment proven more than `burn_in_margin` times worse fails. Raises BadTest.
    """

    direction: Direction
    margin: float
    alpha_pause: float = 0.05
    alpha_rollback: float = 0.02
    alpha_safe: float = 0.05
    dispersion: float = 1.0
    min_sample: int = 0
    burn_in_margin: float = 10.0

    def __post_init__(self) -> None:
        check_levels(self)

    @property
    def safe_ratio(self) -> float:
        """The ratio of rates that safety is proven against."""
        return self.margin if self.direction is Direction.INCREASE else 1 / self.margin


@dataclass(frozen=True)
class CountEvidence:
    """All that is kept between two checks, some 2 KB as JSON. It may be carried from stage to stage.

    `control` and `treatment` are totals after burn-in, `warming_control` and `warming_treatment` those during it;
    `matched` holds the two sums of the Mantel-Haenszel ratio, which compares the arms within each interval.
    """

    direction: Direction
    margin: float
    burn_in_margin: float
    books: Books
    control: Counts = NOTHING
    treatment: Counts = NOTHING
    warming_control: Counts = NOTHING
    warming_treatment: Counts = NOTHING
    matched: tuple[float, float] = (0.0, 0.0)
    intervals: int = 0
    version: int = VERSION

    @classmethod
    def start(cls, test: CountTest) -> Self:
        """No interval seen yet."""
        return cls(test.direction, test.margin, test.burn_in_margin, Books.start(test.margin))

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `json.dumps` takes and `from_json` reads back exactly."""
        return {
            "version": self.version,
            "direction": self.direction.value,
            "margin": self.margin,
            "burn_in_margin": self.burn_in_margin,
            "books": self.books.to_json(),
            "control": self.control.to_json(),
            "treatment": self.treatment.to_json(),
            "warming_control": self.warming_control.to_json(),
            "warming_treatment": self.warming_treatment.to_json(),
            "matched": list(self.matched),
            "intervals": self.intervals,
        }

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """The evidence that `to_json` wrote. Raises BadEvidence for anything else."""
        check_version(plain, VERSION)
        try:
            treatment_alone, control_alone = plain["matched"]
            return cls(
                direction=Direction(plain["direction"]),
                margin=float(plain["margin"]),
                burn_in_margin=float(plain["burn_in_margin"]),
                books=Books.from_json(plain["books"], float(plain["margin"])),
                control=Counts.from_json(plain["control"]),
                treatment=Counts.from_json(plain["treatment"]),
                warming_control=Counts.from_json(plain["warming_control"]),
                warming_treatment=Counts.from_json(plain["warming_treatment"]),
                matched=(float(treatment_alone), float(control_alone)),
                intervals=int(plain["intervals"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadEvidence(f"Stored evidence is damaged ({error}); start new evidence.") from error


def log_likelihood_ratios(factors: Floats, share: Floats, events: Floats, treatment_events: Floats) -> Floats:
    """Log LR of one interval for ratios of rates `factors` × the null.

    `share` (...) is the part of the events that the null expects in treatment, n_c·δ₀ / (n_c·δ₀ + n_b); `events` (...)
    counts both arms' and `treatment_events` (...) treatment's. With `factors` (G,) the answer is (..., G).
    """
    won = treatment_events[..., None] * np.log(factors)
    staked = events[..., None] * np.log1p(share[..., None] * (factors - 1))
    return np.asarray(won - staked)


def null_share(null: float, control_exposures: Floats, treatment_exposures: Floats) -> Floats:
    """The part of the events expected in treatment when the ratio of rates is `null`; 0 without exposures."""
    weighted = treatment_exposures * null
    total = weighted + control_exposures
    return np.divide(weighted, total, out=np.zeros_like(total), where=total > 0)


def update(
    test: CountTest, evidence: CountEvidence, control: Counts, treatment: Counts, *, burning_in: bool = False
) -> CountEvidence:
    """The evidence after one more interval, in which `control` and `treatment` were counted.

    While `burning_in` the interval counts only towards the burn-in question. Where an arm had no exposures there is
    nothing to compare, and only the totals change. Intervals must not overlap. The dispersion may differ from check to
    check as long as it is estimated without treatment. Raises BadEvidence when `evidence` is of another test.
    """
    check_same_test(test, evidence)
    books = evidence.books
    if control.exposures and treatment.exposures:
        books = _paid(test, books, control, treatment, burning_in=burning_in)
    seen = replace(evidence, books=books, intervals=evidence.intervals + 1)
    if burning_in:
        return replace(
            seen,
            warming_control=evidence.warming_control + control,
            warming_treatment=evidence.warming_treatment + treatment,
        )
    return replace(
        seen,
        control=evidence.control + control,
        treatment=evidence.treatment + treatment,
        matched=_matched(evidence.matched, control, treatment),
    )


def _paid(test: CountTest, books: Books, control: Counts, treatment: Counts, *, burning_in: bool) -> Books:
    exposed = np.array(float(control.exposures)), np.array(float(treatment.exposures))
    events, hits = np.array(float(control.events + treatment.events)), np.array(float(treatment.events))

    def likelihood(null: float, factors: Floats) -> tuple[Floats, float]:
        share = null_share(null, *exposed)
        information = float(events * share * (1 - share))
        return log_likelihood_ratios(factors, share, events, hits), information

    return books.advance(test, likelihood, test.safe_ratio, burning_in=burning_in)


def judge(test: CountTest, evidence: CountEvidence) -> Verdict:
    """What the evidence says now. Raises BadEvidence when it is of another test."""
    check_same_test(test, evidence)
    if not evidence.intervals:
        return no_data(NoData.EMPTY, "No interval has been counted yet.")
    warming = not (evidence.control.exposures or evidence.treatment.exposures)
    control, treatment = _shown(evidence, warming=warming)
    if not treatment.exposures:
        return no_data(NoData.NO_TRAFFIC, f"Treatment has had no traffic yet, control {control.exposures:,} exposures.")
    if not control.exposures:
        return no_data(NoData.NO_TRAFFIC, f"Control has had no traffic, treatment {treatment.exposures:,} exposures.")
    ratio = _ratio(evidence.matched if not warming else _matched((0.0, 0.0), control, treatment))
    numbers = Verdict(
        outcome=Outcome.INCONCLUSIVE,
        why="",
        treatment_rate=treatment.rate,
        control_rate=control.rate,
        ratio=ratio,
        margin=test.margin,
        treatment_n=evidence.treatment.exposures,
        control_n=evidence.control.exposures,
        treatment_events=evidence.treatment.events,
        control_events=evidence.control.events,
    )
    facts = (
        f"treatment {percent(treatment.rate)} of {treatment.exposures:,}, control {percent(control.rate)} of "
        f"{control.exposures:,}" + ("" if ratio is None else f", ×{ratio:.3g}")
    )
    side = "below" if test.direction is Direction.INCREASE else "above"
    quiet = not (control.events or treatment.events)
    question = Question(
        facts=facts,
        safe=f"it is {side} ×{test.safe_ratio:.3g}",
        stuck=" No event in either arm yet, so rates can't be compared." if quiet else "",
        burning_in=warming,
    )
    return decide(test, evidence.books, numbers, question)


def check_same_test(test: CountTest, evidence: CountEvidence) -> None:
    """Raises BadEvidence when `evidence` was collected for another direction, margin or burn-in margin."""
    asked = test.direction, test.margin, test.burn_in_margin
    if asked != (evidence.direction, evidence.margin, evidence.burn_in_margin):
        raise BadEvidence(
            f"This evidence is of a test for {evidence.direction} with margin {evidence.margin:g} and burn-in margin "
            f"{evidence.burn_in_margin:g}; start new evidence for {test.direction}, {test.margin:g} and "
            f"{test.burn_in_margin:g}."
        )


def _shown(evidence: CountEvidence, *, warming: bool) -> tuple[Counts, Counts]:
    if warming:
        return evidence.warming_control, evidence.warming_treatment
    return evidence.control, evidence.treatment


def _matched(sums: tuple[float, float], control: Counts, treatment: Counts) -> tuple[float, float]:
    total = control.exposures + treatment.exposures
    if not total:
        return sums
    return (
        sums[0] + treatment.events * control.exposures / total,
        sums[1] + control.events * treatment.exposures / total,
    )


def _ratio(sums: tuple[float, float]) -> float | None:
    return sums[0] / sums[1] if sums[1] else None
