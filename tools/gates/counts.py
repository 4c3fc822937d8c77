"""Is treatment's rate of events worse than control's? For errors, conversions and any other counted events.

Both questions, harm and safety, are asked with one likelihood ratio. In an interval with K events, X of them
treatment's, and exposures n_c (treatment) and n_b (control), the ratio of rates δ against the null δ₀ has

    LR(δ) = (δ/δ₀)^X · ((n_c·δ₀ + n_b) / (n_c·δ + n_b))^K

which does not depend on the base rate, so that rate may drift, and so may the split. Betting on a mixture of δ and of
starting times makes it valid however often it is looked at (`tools.gates.wealth`). It is exact for Poisson events. For
Bernoulli events its mean under the null is below 1 (ln(1 + z) ≤ z), so it is valid at every base rate, but slow: it
counts their variance as if none of them excluded another.

Where events are common (conversions; from `COMMON` of the exposures on) the ratio is therefore Turner and Grünwald's.
With p such that both arms together have the rate that they had before the interval, and q what is nearest to it under
the null, minimising n_c·kl(δp, δ₀q) + n_b·kl(p, q),

    LR(δ) = (δp/δ₀q)^X · ((1 − δp)/(1 − δ₀q))^(n_c − X) · (p/q)^Y · ((1 − p)/(1 − q))^(n_b − Y),     Y = K − X

whose mean is at most 1 for any rates within the null, because (1 + x)^n_c·(1 + y)^n_b ≤ exp(n_c·x + n_b·y) and the
projection makes the exponent 0 or less. For rare events it becomes the formula above, and a p that is wrong by the part
ε costs ε² of the evidence. Fisher's noncentral hypergeometric needs no p and its mean is exactly 1, but it speaks of
odds: a margin of rates it can only prove by proving too much, and its normaliser is a sum over the outcomes. Where both
answer (harm) they are equally fast: `tests/unit/gates/test_common_events.py` measures it.

Events that come in bursts break both: give their `dispersion`, or count affected users instead.

Sources: Lindon and Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022, arXiv 2011.03567);
Turner and Grünwald, "Exact anytime-valid confidence intervals for contingency tables and beyond" (arXiv 2302.11401);
Turner, Ly and Grünwald, "Generic E-variables for exact sequential k-sample tests" (arXiv 2106.02693); Hoeffding (1963).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tools.gates.judging import (
    NOTHING,
    BadCounts,
    BadTest,
    Books,
    Chances,
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
from tools.gates.onset import NO_ONSET, Onset, step_of_counts
from tools.gates.verdict import NoData, Outcome, Verdict, no_data
from tools.gates.wealth import SMALLEST, BadEvidence, Floats, computable

__all__ = [
    "BadCounts",
    "BadTest",
    "CountEvidence",
    "CountTest",
    "Counts",
    "Direction",
    "Interval",
    "compare",
    "judge",
    "possible",
    "update",
    "update_all",
]

VERSION = 5
WITHOUT_ONSET, WITH_DIGITS, UNTIMED = 2, 3, 4
"""Before it was kept since when treatment does harm; with bets by their digits; with clocks of information."""

# From this rate on, the evidence that is lost by taking events for Poisson outweighs what a boost brings.
COMMON = 0.03
# No bet is on a rate above this: a factor that is far off would make it one.
LARGEST_RATE = 0.9
# How many of an interval's outcomes are looked at for a boost, and how many standard deviations far.
MOST_OUTCOMES, DEVIATIONS = 128, 12
LOG_FACTORIALS = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 256)))])


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
    """All that is kept between two checks, at most 1.5 KB as JSON. It may be carried from stage to stage.

    `control` and `treatment` are totals after burn-in, `warming_control` and `warming_treatment` those during it;
    `matched` holds the two sums of the Mantel-Haenszel ratio, which compares the arms within each interval. `onset` is
    what was counted since the harm began that is going on, if one is.
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
    onset: Onset[Counts] = NO_ONSET
    intervals: int = 0
    version: int = VERSION

    @classmethod
    def start(cls, test: CountTest) -> Self:
        """No interval seen yet."""
        return cls(test.direction, test.margin, test.burn_in_margin, Books.start(priors(test.margin)))

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `json.dumps` takes and `from_json` reads back exactly."""
        return {
            "version": self.version,
            "direction": self.direction.value,
            "margin": self.margin,
            "burn_in_margin": self.burn_in_margin,
            "books": self.books.to_json(priors(self.margin)),
            "control": self.control.to_json(),
            "treatment": self.treatment.to_json(),
            "warming_control": self.warming_control.to_json(),
            "warming_treatment": self.warming_treatment.to_json(),
            "matched": list(self.matched),
            "onset": self.onset.to_json(),
            "intervals": self.intervals,
        }

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """The evidence that `to_json` wrote. Raises BadEvidence for anything else."""
        version = check_version(plain, WITHOUT_ONSET, WITH_DIGITS, UNTIMED, VERSION)
        try:
            margin = stored_margin(plain["margin"])
            treatment_alone, control_alone = plain["matched"]
            matched = float(treatment_alone), float(control_alone)
            if not computable(*matched):
                raise BadEvidence("Stored evidence holds sums that can't be computed with; start new evidence.")
            return cls(
                direction=Direction(plain["direction"]),
                margin=margin,
                burn_in_margin=float(plain["burn_in_margin"]),
                books=Books.from_json(plain["books"], priors(margin), timed=version == VERSION),
                control=Counts.from_json(plain["control"]),
                treatment=Counts.from_json(plain["treatment"]),
                warming_control=Counts.from_json(plain["warming_control"]),
                warming_treatment=Counts.from_json(plain["warming_treatment"]),
                matched=matched,
                onset=NO_ONSET if version == WITHOUT_ONSET else Onset.from_json(plain["onset"], Counts.from_json),
                intervals=int(plain["intervals"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadEvidence(f"Stored evidence is damaged ({error}); start new evidence.") from error


def compare(
    null: float | Floats,
    factors: Floats,
    rate: Floats,
    exposures: tuple[Floats, Floats],
    events: tuple[Floats, Floats],
) -> Floats:
    """Log LR of one interval for ratios of rates `factors` × `null` (..., G).

    `rate` (...) is both arms' before the interval; `exposures` and `events` (...) are control's and treatment's; what
    has other shapes is broadcast.
    """
    share, both = null_share(null, *exposures), events[0] + events[1]
    common = rate >= COMMON
    if not common.any():
        return log_likelihood_ratios(factors, share, both, events[1])
    common &= np.minimum(*exposures) > 0
    arms = np.maximum(exposures[0], 1), np.maximum(exposures[1], 1)
    exclusive = log_ratios_of_common_events(null, factors, np.maximum(rate, COMMON), arms, events)
    if common.all():
        return exclusive
    return np.where(common[..., None], exclusive, log_likelihood_ratios(factors, share, both, events[1]))


def possible(
    direction: Direction, factors: Floats, exposures: tuple[Floats, Floats], events: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """What an interval of these exposures and as many rare events might have brought if treatment did no harm.

    The log chances (..., N) of some outcomes, and the log LR (..., N, G) in each.
    """
    both = (events[0] + events[1])[..., None]
    hits, chances = log_chances(direction, *exposures, both[..., 0])
    return chances, log_likelihood_ratios(factors, null_share(1.0, *exposures)[..., None], both, hits)


def log_likelihood_ratios(factors: Floats, share: Floats, events: Floats, treatment_events: Floats) -> Floats:
    """Log LR of one interval for ratios of rates `factors` × the null.

    `share` (...) is the part of the events that the null expects in treatment, n_c·δ₀ / (n_c·δ₀ + n_b); `events` (...)
    counts both arms' and `treatment_events` (...) treatment's. With `factors` (G,) the answer is (..., G).
    """
    won = treatment_events[..., None] * np.log(factors)
    staked = events[..., None] * np.log1p(share[..., None] * (factors - 1))
    return np.asarray(won - staked)


def log_ratios_of_common_events(
    null: float | Floats,
    factors: Floats,
    rate: Floats,
    exposures: tuple[Floats, Floats],
    events: tuple[Floats, Floats],
) -> Floats:
    """Log LR of one interval for ratios of rates `factors` × `null`, where events exclude one another.

    `rate` (...) is expected of both arms together; `exposures` and `events` (...) are control's and treatment's. With
    `factors` (G,) the answer is (..., G).
    """
    control, treatment = (arm[..., None] for arm in exposures)
    hit_control, hit_treatment = (arm[..., None] for arm in events)
    null = np.asarray(null)[..., None]
    ratio = null * factors
    level = rate[..., None] * (treatment + control) / (treatment * ratio + control)
    expected = np.minimum(level, LARGEST_RATE / np.maximum(ratio, 1.0))
    worse = ratio * expected
    hits, misses = treatment * worse + control * expected, treatment * (1 - worse)
    # What is nearest under the null: the smaller root of null·(n_c + n_b)·q² − half·q + hits = 0, without cancellation.
    half = hits * (1 + null) + misses * null + control * (1 - expected)
    nearest = 2 * hits / (half + np.sqrt(np.maximum(half**2 - 4 * null * (treatment + control) * hits, 0.0)))
    return np.asarray(
        hit_treatment * np.log(worse / (null * nearest))
        + (treatment - hit_treatment) * (np.log1p(-worse) - np.log1p(-null * nearest))
        + hit_control * np.log(expected / nearest)
        + (control - hit_control) * (np.log1p(-expected) - np.log1p(-nearest))
    )


def null_share(null: float | Floats, control_exposures: Floats, treatment_exposures: Floats) -> Floats:
    """The part of the events expected in treatment when the ratio of rates is `null`; 0 without exposures."""
    weighted = treatment_exposures * null
    return np.asarray(weighted / np.maximum(weighted + control_exposures, SMALLEST))


def log_chances(direction: Direction, control: Floats, treatment: Floats, events: Floats) -> tuple[Floats, Floats]:
    """How many of `events` may be treatment's when the arms are alike, and the logs of the chances.

    With `control` and `treatment` (...) exposures both answers are (..., N): from the mean on towards harm, until the
    rest is improbable, `MOST_OUTCOMES` at most; what can't be has −infinity. Given the number of events they are
    hypergeometric (as in Fisher's exact test), which is as true for one base rate as for another.
    """
    everyone = control + treatment
    mean = events * treatment / everyone
    spread = np.sqrt(mean * control / everyone)
    wanted = min(MOST_OUTCOMES, 2 + int(np.max(np.minimum(DEVIATIONS * (1 + spread), events), initial=0)))
    upwards = direction is Direction.INCREASE
    first = np.ceil(mean) if upwards else np.floor(mean)
    outcomes = first[..., None] + (1 if upwards else -1) * np.arange(wanted)
    if upwards:
        possible = outcomes <= np.minimum(events, treatment)[..., None]
    else:
        possible = outcomes >= np.maximum(0, events - control)[..., None]
    hits = np.where(possible, outcomes, np.rint(mean)[..., None])
    chance = _log_choose(treatment, first) + _log_choose(control, events - first) - _log_choose(everyone, events)
    # Each by how much less likely it is than the one before: a step takes one logarithm, a chance takes many.
    lower = (outcomes if upwards else outcomes - 1)[..., :-1]
    more = (treatment[..., None] - lower) * (events[..., None] - lower)
    less = (lower + 1) * ((control - events)[..., None] + lower + 1)
    ratios = np.divide(*((more, less) if upwards else (less, more)), out=np.ones_like(more), where=possible[..., 1:])
    chances = np.broadcast_to(chance[..., None], outcomes.shape).copy()
    chances[..., 1:] += np.cumsum(np.log(ratios), axis=-1)
    return hits, np.where(possible, chances, -np.inf)


def _log_choose(of: Floats, some: Floats) -> Floats:
    return np.asarray(_log_factorial(of) - _log_factorial(some) - _log_factorial(of - some))


def _log_factorial(number: Floats) -> Floats:
    """Exact for small numbers, Stirling's series for others (its error is below 1e-15 from 256 on)."""
    large = np.maximum(number, len(LOG_FACTORIALS))
    series = large * np.log(large) - large + 0.5 * np.log(2 * np.pi * large) + 1 / (12 * large) - 1 / (360 * large**3)
    small = np.minimum(number, len(LOG_FACTORIALS) - 1).astype(int)
    return np.where(number < len(LOG_FACTORIALS), LOG_FACTORIALS[small], series)


@dataclass(frozen=True)
class Interval:
    """One more interval of one test, in which `control` and `treatment` were counted; it lasted so many `minutes`.

    While `burning_in` it counts only towards the burn-in question. Raises BadCounts for a length that can't be.
    """

    test: CountTest
    evidence: CountEvidence
    control: Counts
    treatment: Counts
    burning_in: bool = False
    minutes: float = 1.0

    def __post_init__(self) -> None:
        check_minutes(self.minutes)


def update(
    test: CountTest,
    evidence: CountEvidence,
    control: Counts,
    treatment: Counts,
    *,
    burning_in: bool = False,
    minutes: float = 1.0,
) -> CountEvidence:
    """The evidence after one more interval of so many minutes, in which `control` and `treatment` were counted.

    The time says how much of the money to place on a harm that begins now, and how little to keep for later. While
    `burning_in` the interval counts only towards the burn-in question. Where an arm had no exposures there is nothing
    to compare, and only the totals change. Intervals must not overlap. The dispersion may differ from check to check as
    long as it is estimated without treatment. Raises BadCounts for a length that can't be, and BadEvidence when
    `evidence` is of another test.
    """
    return update_all([Interval(test, evidence, control, treatment, burning_in, minutes)])[0]


def update_all(intervals: Sequence[Interval]) -> list[CountEvidence]:
    """What `update` says of each, several times faster for many. Raises BadEvidence when one is of another test."""
    alike: dict[tuple[Direction, float, float, bool], list[int]] = {}
    for position, one in enumerate(intervals):
        check_same_test(one.test, one.evidence)
        if one.control.exposures and one.treatment.exposures:
            question = one.test.direction, one.test.margin, one.test.burn_in_margin, one.burning_in
            alike.setdefault(question, []).append(position)
    books = [one.evidence.books for one in intervals]
    for positions in alike.values():
        paid = _paid([intervals[position] for position in positions])
        for position, after in zip(positions, paid, strict=True):
            books[position] = after
    return [_counted(one, after) for one, after in zip(intervals, books, strict=True)]


def _counted(interval: Interval, books: Books) -> CountEvidence:
    evidence, control, treatment = interval.evidence, interval.control, interval.treatment
    settled = evidence.control, evidence.treatment
    warming = evidence.warming_control, evidence.warming_treatment
    if interval.burning_in:
        warming = warming[0] + control, warming[1] + treatment
    else:
        settled = settled[0] + control, settled[1] + treatment
    return CountEvidence(
        evidence.direction,
        evidence.margin,
        evidence.burn_in_margin,
        books,
        *settled,
        *warming,
        matched=evidence.matched if interval.burning_in else _matched(evidence.matched, control, treatment),
        onset=_onset(evidence, control, treatment),
        intervals=evidence.intervals + 1,
    )


def _onset(evidence: CountEvidence, control: Counts, treatment: Counts) -> Onset[Counts]:
    if not (control.exposures and treatment.exposures):
        return evidence.onset
    step = step_of_counts(evidence.direction, evidence.margin, control, treatment)
    return evidence.onset.after(step, control, treatment)


def _paid(intervals: Sequence[Interval]) -> list[Books]:
    """The books after intervals of tests that ask alike."""
    counted = np.array(
        [
            (one.control.exposures, one.treatment.exposures, one.control.events, one.treatment.events)
            for one in intervals
        ],
        dtype=float,
    )
    rate = np.array([_rate_so_far(one.evidence) for one in intervals])
    seen = Counted(rate, (counted[:, 0], counted[:, 1]), (counted[:, 2], counted[:, 3]))
    test = intervals[0].test
    return advance_books(
        [one.evidence.books for one in intervals],
        [one.test for one in intervals],
        seen.likelihood,
        test.safe_ratio,
        np.array([one.minutes for one in intervals]),
        burning_in=intervals[0].burning_in,
        chances=seen.chances(test.direction),
    )


@dataclass(frozen=True)
class Counted:
    """One interval of N tests: both arms' `rate` before it (N,), and control's and treatment's numbers, (N,) each."""

    rate: Floats
    exposures: tuple[Floats, Floats]
    events: tuple[Floats, Floats]

    def likelihood(self, nulls: Floats, factors: Floats) -> Floats:
        """As `judging.Likelihood`."""
        columns = [column[:, None] for column in (self.rate, *self.exposures, *self.events)]
        return compare(nulls, factors, columns[0], (columns[1], columns[2]), (columns[3], columns[4]))

    def chances(self, direction: Direction) -> Chances:
        """Where there were rare events and both arms to have them."""

        def of(which: NDArray[np.intp], factors: Floats) -> tuple[Floats, Floats]:
            control, treatment, control_events, treatment_events = (
                column[which] for column in (*self.exposures, *self.events)
            )
            return possible(direction, factors, (control, treatment), (control_events, treatment_events))

        both, share = self.events[0] + self.events[1], null_share(1.0, *self.exposures)
        known = (self.rate < COMMON) & (both > 0) & (np.minimum(*self.exposures) > 0)
        return Chances(of, np.asarray(known), both * share * (1 - share))


def _rate_so_far(evidence: CountEvidence) -> float:
    """Both arms' rate before this interval, burn-in included; 0 before anything was counted."""
    arms = evidence.control, evidence.treatment, evidence.warming_control, evidence.warming_treatment
    exposures, events = sum([arm.exposures for arm in arms]), sum([arm.events for arm in arms])
    return events / exposures if exposures else 0.0


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
    facts = _facts(control, treatment, ratio)
    lately = evidence.onset.lately(control.exposures + treatment.exposures)
    if lately is not None:
        numbers = replace(numbers, lately=(lately[1].rate or 0.0, lately[0].rate or 0.0))
    side = "below" if test.direction is Direction.INCREASE else "above"
    quiet = not (control.events or treatment.events)
    question = Question(
        facts=facts,
        safe=f"it is {side} ×{test.safe_ratio:.3g}",
        stuck=" No event in either arm yet, so rates can't be compared." if quiet else "",
        burning_in=warming,
        lately="" if lately is None else _facts(*lately, _times(*lately)),
    )
    return decide(test, evidence.books, numbers, question)


def _times(control: Counts, treatment: Counts) -> float | None:
    return treatment.rate / control.rate if treatment.rate is not None and control.rate else None


def _facts(control: Counts, treatment: Counts, ratio: float | None) -> str:
    said = f"treatment {percent(treatment.rate)} of {treatment.exposures:,}"
    said += f", control {percent(control.rate)} of {control.exposures:,}"
    return said if ratio is None else f"{said}, ×{ratio:.3g}"


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
