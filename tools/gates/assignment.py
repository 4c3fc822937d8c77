"""Does treatment get the share of new assignments that the plan gives it? The sample ratio.

A mismatch means that units are lost or counted twice on one side, or sorted by what they do: then no comparison of the
arms is to be believed. It is no harm of the treatment, so that the answer is to pause, never to roll back.

In one period, in which the planned share is p, x of the new assignments are treatment's and y control's. Against
"each is treatment's with chance p" stands a share drawn from Beta(k·p, k·(1 − p)):

    E = B(k·p + x, k·(1 − p) + y) / B(k·p, k·(1 − p)) · p⁻ˣ · (1 − p)⁻ʸ

Periods multiply, as each starts from what is planned then. The mean over several k, for deviations of different sizes,
is an e-process: P(E ≥ 1/α at any time) ≤ α when the plan is kept. It looks both ways.

Count new assignments (each unit once, when it first gets a variant), not requests: a unit's requests follow it. Leave
out the seconds after a change of share in which services still ask with the old one.

Source: Lindon and Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022, arXiv 2011.03567).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from tools.gates.judging import BadCounts, BadTest, check_version, level_of, percent
from tools.gates.verdict import Harm, NoData, Outcome, Verdict, amount, no_data
from tools.gates.wealth import LARGEST_LOG_E, BadEvidence, computable

VERSION = 1
# Typical deviations of the smaller arm's share that the bets are on, in parts of it.
DEVIATIONS = (0.3, 0.05, 0.01)
LARGEST_COUNT, LARGEST_TOTAL = 10**12, 10**15
# Nats that the mixture costs beyond ln 1/α, and the normal quantile of the nine of ten mismatches that are to be found.
MIXED_FOR, NINE_OF_TEN = 2.4, 1.2816


@dataclass(frozen=True)
class AssignmentTest:
    """What is asked of assignments: `alpha` is the level, and `tolerance` the ratio of odds that must not be missed.

    The answer is PASS when nothing speaks against the plan after so many assignments that odds `tolerance` times the
    planned ones would have been found. Raises BadTest.
    """

    alpha: float = 0.001
    tolerance: float = 1.1

    def __post_init__(self) -> None:
        if not 1e-6 <= self.alpha < 1:
            raise BadTest(f"alpha must lie between 0.000001 and 1, not {self.alpha}.")
        if not 1.001 <= self.tolerance <= 100:
            raise BadTest(f"tolerance must be a ratio of odds between 1.001 and 100, not {self.tolerance}.")


@dataclass(frozen=True)
class AssignmentEvidence:
    """All that is kept between two checks, some 200 bytes as JSON.

    `share` is the planned share of the period that runs, with its assignments; `before` are the log e-values of the
    periods before, one for each of DEVIATIONS. `expected` is how many of all assignments should have been treatment's,
    and `information` the variance of that.
    """

    share: float | None = None
    period_control: int = 0
    period_treatment: int = 0
    before: tuple[float, ...] = (0.0,) * len(DEVIATIONS)
    control: int = 0
    treatment: int = 0
    expected: float = 0.0
    information: float = 0.0
    version: int = VERSION

    @property
    def log_e(self) -> float:
        """The log e-value."""
        logs = self.by_deviation
        peak = max(logs)
        return peak + math.log(sum(math.exp(log - peak) for log in logs) / len(logs))

    @property
    def by_deviation(self) -> tuple[float, ...]:
        """The log e-values of the bets, this period included."""
        if self.share is None:
            return self.before
        return tuple(
            log + _log_e(self.share, self.period_control, self.period_treatment, deviation)
            for log, deviation in zip(self.before, DEVIATIONS, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `json.dumps` takes and `from_json` reads back exactly."""
        return {
            "version": self.version,
            "share": self.share,
            "period": [self.period_control, self.period_treatment],
            "before": list(self.before),
            "assigned": [self.control, self.treatment],
            "expected": self.expected,
            "information": self.information,
        }

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """The evidence that `to_json` wrote. Raises BadEvidence for anything else."""
        check_version(plain, VERSION)
        try:
            share, before = plain["share"], tuple(float(log) for log in plain["before"])
            counts = [int(count) for count in (*plain["period"], *plain["assigned"])]
            found = cls(
                None if share is None else float(share),
                counts[0],
                counts[1],
                before,
                counts[2],
                counts[3],
                float(plain["expected"]),
                float(plain["information"]),
            )
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise BadEvidence(f"Stored evidence is damaged ({error}); start new evidence.") from error
        sound = computable(*before, found.expected, found.information) and found.information >= 0
        known = len(before) == len(DEVIATIONS) and (found.share is None or 0 < found.share < 1)
        counted = len(counts) == 4 and min(counts) >= 0 and max(counts) <= LARGEST_TOTAL
        if not (sound and known and counted):
            raise BadEvidence("Stored evidence of assignments is damaged; start new evidence.")
        return found


def update(evidence: AssignmentEvidence, share: float, control: int, treatment: int) -> AssignmentEvidence:
    """The evidence after one more interval of new assignments, of which `share` were planned to be treatment's.

    Intervals must not overlap, nor lie across a change of share. Where the share is 0 or 1 nothing is compared. Raises
    BadCounts.
    """
    if not 0 <= share <= 1:
        raise BadCounts(f"The planned share of treatment must lie between 0 and 1, not {share}.")
    for name, count in (("control", control), ("treatment", treatment)):
        if not (type(count) is int and 0 <= count <= LARGEST_COUNT):
            raise BadCounts(
                f"The number of new assignments to {name} must be a whole number from 0 on, not {count!r}: a counter "
                "may have restarted; skip this interval."
            )
    if not 0 < share < 1:
        return evidence
    if share != evidence.share:
        evidence = replace(evidence, share=share, period_control=0, period_treatment=0, before=evidence.by_deviation)
    assigned = control + treatment
    return replace(
        evidence,
        period_control=evidence.period_control + control,
        period_treatment=evidence.period_treatment + treatment,
        control=evidence.control + control,
        treatment=evidence.treatment + treatment,
        expected=evidence.expected + share * assigned,
        information=evidence.information + share * (1 - share) * assigned,
    )


def judge(test: AssignmentTest, evidence: AssignmentEvidence) -> Verdict:
    """What the evidence says now; the answer's rates are treatment's share of the assignments, seen and planned.

    Never FAIL: a mismatch is suspicion, on which a rollout pauses.
    """
    assigned = evidence.control + evidence.treatment
    if not assigned:
        return no_data(NoData.EMPTY, "No unit has been newly assigned yet.")
    seen, planned = evidence.treatment / assigned, evidence.expected / assigned
    e_value = math.exp(min(evidence.log_e, LARGEST_LOG_E))
    facts = f"treatment got {percent(seen)} of {assigned:,} new assignments, planned were {percent(planned)}"
    numbers = Verdict(
        outcome=Outcome.INCONCLUSIVE,
        why="",
        treatment_rate=seen,
        control_rate=planned,
        ratio=seen / planned,
        margin=test.tolerance,
        harm_e=e_value,
        treatment_n=evidence.treatment,
        control_n=evidence.control,
        pause_from=level_of(test.alpha),
        rollback_from=None,
    )
    if e_value >= 1 / test.alpha:
        why = (
            f"Sample ratio mismatch: {facts}. Evidence against the plan is {amount(e_value)}; it pauses from "
            f"{1 / test.alpha:,.4g}. Until it is explained no comparison is to be trusted: look for units that are "
            "lost, counted twice, or assigned by something else."
        )
        return replace(numbers, harm=Harm.SUSPECTED, why=why)
    found_by = information_needed(test)
    if evidence.information < found_by:
        part = percent(evidence.information / found_by)
        why = f"Too few to tell: {facts}. That is {part} of what shows odds ×{test.tolerance:g}."
        return replace(numbers, why=why)
    why = f"The assignments are as planned: {facts}. Odds ×{test.tolerance:g} would have shown by now."
    return replace(numbers, outcome=Outcome.PASS, why=why)


def information_needed(test: AssignmentTest) -> float:
    """After how much Σ share·(1 − share) of assignments odds as far off as the tolerance have shown, in nine of ten.

    There ln E is about z²/2 less what the mixture costs, z normal around √information · ln tolerance with variance 1.
    """
    shows_at = math.sqrt(2 * (-math.log(test.alpha) + MIXED_FOR))
    return ((shows_at + NINE_OF_TEN) / math.log(test.tolerance)) ** 2


def _log_e(share: float, control: int, treatment: int, deviation: float) -> float:
    """ln E of one period."""
    smaller = min(share, 1 - share)
    weight = (1 - smaller) / (smaller * deviation**2)
    ahead, behind = weight * share, weight * (1 - share)
    return (
        _log_beta(ahead + treatment, behind + control)
        - _log_beta(ahead, behind)
        - treatment * math.log(share)
        - control * math.log1p(-share)
    )


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
