"""Is treatment's mean worse than control's? For revenue and other amounts per unit, in either direction.

What is compared is the sum over intervals of w·(mean of treatment − margin × mean of control), w = n_c·n_b/(n_c + n_b)
with n_c and n_b the units of treatment and control: only arms of one interval are compared, so that level and split
may drift. It is linear in the sums, so that a margin, a ratio of means, needs no approximation of its own. Over its
standard error, from the larger of the arms' variances so far, it is nearly normal: with Z, and r the information over
that for which the test is tightest, a half-normal mixture over effects gives the e-value

    E = 2/√(r + 1) · exp(Z²·r/(2(r + 1))) · Φ(Z·√(r/(r + 1)))

which reaches 1/α a little before the one-sided asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy
and Ramdas (arXiv 2103.06476) excludes no difference; its own dual is `confidence_sequence`. A fifth of the money is on
later starts, at each doubling of the information, so that old evidence does not drown a harm that comes late.

It is valid for many units, which heavy tails make more: values must be winsorised at the plan's cap *by the source*
(`least(value, cap)` for each unit, before sums and squares are taken), and no verdict is given before SMALLEST_SAMPLE
treatment units. Give each unit (a user, an order) once; where units repeat, give their `dispersion`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

from tools.gates.dispersion import cautious
from tools.gates.judging import (
    BadCounts,
    BadTest,
    Books,
    Direction,
    Question,
    check_levels,
    check_version,
    decide,
)
from tools.gates.onset import NO_ONSET, Onset, step_of_difference
from tools.gates.verdict import NoData, Outcome, Verdict, no_data
from tools.gates.wealth import BadEvidence, Wealth, computable

VERSION = 3
WITHOUT_ONSET = 1
"""Before it was kept since when treatment does harm."""
WITHOUT_UNPROVEN = 2
"""Before it was kept what proves no safety."""
SMALLEST_SAMPLE = 200
# The share of the money on what has been seen from the start; the rest is on later starts, 1/(n·(n + 1)) on the nth.
FROM_THE_START = 0.8
# Starts that are remembered besides the first; the money on older ones is given away.
MOST_STARTS = 10
LARGEST = 1e15
# By which part squares may be less than the sum allows: sources round, and don't read both at one moment.
SQUARES_SHORT = 0.051
# Below this part of the control's mean the arms' spread is not believed: rounding, not data.
FINEST_SPREAD = 1e-6


@dataclass(frozen=True)
class Sums:
    """What one arm's units did in one interval: how many, the sum of their values and of the values' squares.

    The values must be winsorised at the test's cap already. Raises BadCounts.
    """

    units: int
    total: float
    squares: float

    def __post_init__(self) -> None:
        if not (type(self.units) is int and 0 <= self.units <= LARGEST):
            raise BadCounts(f"The number of units must be a whole number from 0 on, not {self.units!r}.")
        if not (abs(self.total) <= LARGEST**2 and 0 <= self.squares <= LARGEST**4):
            raise BadCounts(
                f"The sums of values can't be {self.total} and {self.squares}: a counter may have restarted; "
                "skip this interval."
            )
        if self.total**2 > self.squares * self.units * (1 + SQUARES_SHORT) + 1e-9:
            raise BadCounts(f"The squares of {self.units} values that sum to {self.total:g} can't be {self.squares:g}.")

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.units + other.units, self.total + other.total, self.squares + other.squares)

    @property
    def exposures(self) -> int:
        """The units."""
        return self.units

    @property
    def mean(self) -> float:
        """Of the values, 0 without units."""
        return self.total / self.units if self.units else 0.0

    @property
    def variance(self) -> float:
        """Of the values, 0 without units."""
        return max(self.squares / self.units - self.mean**2, 0.0) if self.units else 0.0

    def to_json(self) -> list[float]:
        """`[units, total, squares]`."""
        return [self.units, self.total, self.squares]

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """What `to_json` wrote. Raises BadEvidence for anything else."""
        try:
            units, total, squares = plain
            return cls(units, float(total), float(squares))
        except (TypeError, ValueError, OverflowError, BadCounts) as error:
            raise BadEvidence(f"Stored sums are damaged ({error}); start new evidence.") from error


NOTHING = Sums(0, 0.0, 0.0)


@dataclass(frozen=True)
class MeanTest:
    """What is asked of a mean.

    `direction` is the change that does harm: DECREASE for revenue. `cap` is where the source winsorises a unit's value
    (both signs). Treatment is safe when its mean is below `margin` × control's (INCREASE), or above control's /
    `margin` (DECREASE); that needs a control mean above 0. `tightest_at` is the effective number of units,
    treatment × control over both, at which the test is at its best. The levels, φ and burn-in are as in `CountTest`.
    Raises BadTest.
    """

    direction: Direction
    cap: float
    margin: float = 1.05
    alpha_pause: float = 0.05
    alpha_rollback: float = 0.02
    alpha_safe: float = 0.05
    dispersion: float = 1.0
    min_sample: int = SMALLEST_SAMPLE
    burn_in_margin: float = 3.0
    tightest_at: float = 1000.0

    def __post_init__(self) -> None:
        check_levels(self)
        if not 0 < self.cap <= LARGEST:
            raise BadTest(f"The cap of a unit's value must lie above 0, not at {self.cap}.")
        if self.min_sample < SMALLEST_SAMPLE:
            raise BadTest(f"min_sample must be at least {SMALLEST_SAMPLE} units, not {self.min_sample}.")
        if not 1 <= self.tightest_at <= LARGEST:
            raise BadTest(f"tightest_at must be 1 or more effective units, not {self.tightest_at}.")

    @property
    def safe_ratio(self) -> float:
        """The ratio of means that safety is proven against."""
        return self.margin if self.direction is Direction.INCREASE else 1 / self.margin

    @property
    def burn_in_ratio(self) -> float:
        """The ratio of means that must be exceeded to fail while burning in."""
        return self.burn_in_margin if self.direction is Direction.INCREASE else 1 / self.burn_in_margin

    @property
    def asked(self) -> tuple[str, float, float]:
        """What evidence is collected for; all else may change on the way."""
        return self.direction.value, self.cap, self.tightest_at


@dataclass(frozen=True)
class Matched:
    """Sums over intervals of w × each arm's mean, of w²/units for each arm, of w, and of treatment's units."""

    treatment: float = 0.0
    control: float = 0.0
    treatment_noise: float = 0.0
    control_noise: float = 0.0
    weight: float = 0.0
    units: float = 0.0

    def plus(self, control: Sums, treatment: Sums) -> "Matched":
        """After one more interval; the same when an arm had no units."""
        if not (control.units and treatment.units):
            return self
        weight = control.units * (treatment.units / (control.units + treatment.units))
        return Matched(
            self.treatment + weight * treatment.mean,
            self.control + weight * control.mean,
            self.treatment_noise + weight**2 / treatment.units,
            self.control_noise + weight**2 / control.units,
            self.weight + weight,
            self.units + treatment.units,
        )

    def since(self, start: "Matched") -> "Matched":
        """What has come since `start`."""
        pairs = zip(self.to_json(), start.to_json(), strict=True)
        return Matched(*(now - then for now, then in pairs))

    def to_json(self) -> list[float]:
        """The six sums."""
        return [
            self.treatment,
            self.control,
            self.treatment_noise,
            self.control_noise,
            self.weight,
            self.units,
        ]

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """What `to_json` wrote. Raises BadEvidence for anything else."""
        try:
            treatment, control, treatment_noise, control_noise, weight, units = (float(number) for number in plain)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadEvidence(f"Stored sums are damaged ({error}); start new evidence.") from error
        numbers = treatment, control, treatment_noise, control_noise, weight, units
        if not computable(*numbers) or min(numbers[2:]) < 0:
            raise BadEvidence("Stored sums are damaged; start new evidence.")
        return cls(*numbers)


UNMATCHED = Matched()


@dataclass(frozen=True)
class MeanEvidence:
    """All that is kept between two checks: moments, some 2 KB as JSON at most. It may be carried from stage to stage.

    `matched` compares the arms since the start, `starts` is what it was at later starts, `dropped` how many of those
    are forgotten. `unproven` is the part of `matched` that proves no safety. `warming…` is what was seen while burning
    in. `onset` is what was seen since the harm began that is going on, if one is.
    """

    test: tuple[str, float, float]
    control: Sums = NOTHING
    treatment: Sums = NOTHING
    matched: Matched = UNMATCHED
    starts: tuple[Matched, ...] = ()
    dropped: int = 0
    unproven: Matched = UNMATCHED
    warming_control: Sums = NOTHING
    warming_treatment: Sums = NOTHING
    warming: Matched = UNMATCHED
    onset: Onset[Sums] = NO_ONSET
    intervals: int = 0
    version: int = VERSION

    @classmethod
    def start(cls, test: MeanTest) -> Self:
        """No interval seen yet."""
        return cls(test.asked)

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `json.dumps` takes and `from_json` reads back exactly."""
        return {
            "version": self.version,
            "test": list(self.test),
            "control": self.control.to_json(),
            "treatment": self.treatment.to_json(),
            "matched": self.matched.to_json(),
            "starts": [start.to_json() for start in self.starts],
            "dropped": self.dropped,
            "unproven": self.unproven.to_json(),
            "warming_control": self.warming_control.to_json(),
            "warming_treatment": self.warming_treatment.to_json(),
            "warming": self.warming.to_json(),
            "onset": self.onset.to_json(),
            "intervals": self.intervals,
        }

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """The evidence that `to_json` wrote. Raises BadEvidence for anything else."""
        version = check_version(plain, WITHOUT_ONSET, WITHOUT_UNPROVEN, VERSION)
        try:
            direction, cap, tightest_at = plain["test"]
            starts = tuple(Matched.from_json(start) for start in plain["starts"])
            if len(starts) > MOST_STARTS:
                raise BadEvidence("Stored evidence has more starts than this version keeps; start new evidence.")
            return cls(
                test=(Direction(direction).value, float(cap), float(tightest_at)),
                control=Sums.from_json(plain["control"]),
                treatment=Sums.from_json(plain["treatment"]),
                matched=Matched.from_json(plain["matched"]),
                starts=starts,
                dropped=int(plain["dropped"]),
                unproven=Matched.from_json(plain["unproven"]) if version == VERSION else UNMATCHED,
                warming_control=Sums.from_json(plain["warming_control"]),
                warming_treatment=Sums.from_json(plain["warming_treatment"]),
                warming=Matched.from_json(plain["warming"]),
                onset=NO_ONSET if version == WITHOUT_ONSET else Onset.from_json(plain["onset"], Sums.from_json),
                intervals=int(plain["intervals"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadEvidence(f"Stored evidence is damaged ({error}); start new evidence.") from error


def update(
    test: MeanTest,
    evidence: MeanEvidence,
    control: Sums,
    treatment: Sums,
    *,
    burning_in: bool = False,
    unproven: bool = False,
) -> MeanEvidence:
    """The evidence after one more interval, of units that came in it.

    While `burning_in` the interval counts only towards the burn-in question, and `unproven` not towards safety, which
    must be settled before the interval. Intervals must not overlap. Raises BadCounts when the sums are beyond what the
    cap allows, BadEvidence when `evidence` is of another test.
    """
    check_same_test(test, evidence)
    for arm in (control, treatment):
        _check_capped(test, arm)
    seen = replace(evidence, intervals=evidence.intervals + 1)
    if burning_in:
        return replace(
            seen,
            warming_control=evidence.warming_control + control,
            warming_treatment=evidence.warming_treatment + treatment,
            warming=evidence.warming.plus(control, treatment),
        )
    matched = evidence.matched.plus(control, treatment)
    number = evidence.dropped + len(evidence.starts)
    starts = evidence.starts
    if matched.weight >= test.tightest_at / 2 * 2.0**number:
        starts = (*starts, matched)
    return replace(
        seen,
        control=evidence.control + control,
        treatment=evidence.treatment + treatment,
        onset=_onset(test, evidence, control, treatment),
        matched=matched,
        unproven=evidence.unproven.plus(control, treatment) if unproven else evidence.unproven,
        starts=starts[-MOST_STARTS:],
        dropped=evidence.dropped + max(len(starts) - MOST_STARTS, 0),
    )


def _onset(test: MeanTest, evidence: MeanEvidence, control: Sums, treatment: Sums) -> Onset[Sums]:
    """With one more interval; the same where it, or control's mean, says nothing of a harm of the margin's size."""
    everything = evidence.control + control, evidence.treatment + treatment
    usual = everything[0].mean
    if not (control.units and treatment.units and usual > 0):
        return evidence.onset
    harm = usual * (test.safe_ratio - 1)
    variance = spread(test, *everything) * (1 / control.units + 1 / treatment.units)
    return evidence.onset.after(step_of_difference(treatment.mean - control.mean, harm, variance), control, treatment)


def judge(test: MeanTest, evidence: MeanEvidence) -> Verdict:
    """What the evidence says now; the answer's rates are means per unit.

    Raises BadEvidence when it is of another test.
    """
    check_same_test(test, evidence)
    if not evidence.intervals:
        return no_data(NoData.EMPTY, "No interval has been counted yet.")
    warming = not (evidence.control.units or evidence.treatment.units)
    control = evidence.warming_control if warming else evidence.control
    treatment = evidence.warming_treatment if warming else evidence.treatment
    if not treatment.units:
        return no_data(NoData.NO_TRAFFIC, f"Treatment has had no units yet, control {control.units:,}.")
    if not control.units:
        return no_data(NoData.NO_TRAFFIC, f"Control has had no units, treatment {treatment.units:,}.")
    matched = evidence.warming if warming else evidence.matched
    ratio = matched.treatment / matched.control if matched.control > 0 else None
    numbers = Verdict(
        outcome=Outcome.INCONCLUSIVE,
        why="",
        treatment_rate=treatment.mean,
        control_rate=control.mean,
        ratio=ratio,
        margin=test.margin,
        treatment_n=evidence.treatment.units,
        control_n=evidence.control.units,
    )
    lately = evidence.onset.lately(control.units + treatment.units)
    if lately is not None:
        numbers = replace(numbers, lately=(lately[1].mean, lately[0].mean))
    side = "below" if test.direction is Direction.INCREASE else "above"
    question = Question(
        facts=_facts(control, treatment, ratio),
        safe=f"it is {side} ×{test.safe_ratio:.3g}",
        stuck=_stuck(evidence, warming=warming),
        burning_in=warming,
        lately="" if lately is None else _facts(*lately, _times(*lately)),
    )
    return decide(test, books(test, evidence), numbers, question)


def _times(control: Sums, treatment: Sums) -> float | None:
    return treatment.mean / control.mean if control.mean > 0 else None


def _facts(control: Sums, treatment: Sums, ratio: float | None) -> str:
    said = f"treatment {treatment.mean:.4g} a unit over {treatment.units:,}"
    said += f", control {control.mean:.4g} over {control.units:,}"
    return said if ratio is None else f"{said}, ×{ratio:.3g}"


def confidence_sequence(test: MeanTest, evidence: MeanEvidence, alpha: float) -> tuple[float, float] | None:
    """Bounds on treatment's mean over control's, each of which holds for ever with probability 1 − `alpha`.

    They are the ratios that the e-value since the start has not refuted: at the margin's ratio it is what safety is
    proven by, where nothing is `unproven`. None before SMALLEST_SAMPLE treatment units, while control's mean may be 0,
    and for sums beyond what can be computed with. Raises BadEvidence when `evidence` is of another test.
    """
    check_same_test(test, evidence)
    matched = evidence.matched
    if matched.units < SMALLEST_SAMPLE or matched.control <= 0:
        return None
    z = refuting(alpha, _information(test, matched))
    unit = z**2 * spread(test, evidence.control, evidence.treatment)
    # (T − ρC)² = z²·v·(N_T + ρ²·N_C) solved for ρ (Fieller, 1954).
    square = matched.control * matched.control - unit * matched.control_noise
    rest = matched.treatment * matched.treatment - unit * matched.treatment_noise
    both = matched.treatment * matched.control
    if square <= 0:
        return None
    root = math.sqrt(max(both * both - square * rest, 0.0))
    low, high = (both - root) / square, (both + root) / square
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def refuting(alpha: float, r: float) -> float:
    """How many standard errors beyond it refute a null at that level, with the relative information `r` above 0."""
    low, high = 0.0, math.sqrt(2 * (r + 1) / r * math.log1p(math.sqrt(r + 1) / (2 * alpha)))
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if log_e_value(middle, r) < -math.log(alpha) else (low, middle)
    return high


def estimate_dispersion(control: Sequence[Sums]) -> float:
    """How much more control's means vary between intervals than those of independent units would, at least 1.

    With one standard error (of normal differences) added where there are clusters, or too few intervals to rule them
    out. Give it control's or past sums only, in order of time.
    """
    counted = [arm for arm in control if arm.units]
    whole = sum(counted, NOTHING)
    if len(counted) < 2 or not whole.variance:
        return 1.0
    steps = [(one.mean - other.mean) ** 2 for one, other in pairwise(counted)]
    expected = [whole.variance * (1 / one.units + 1 / other.units) for one, other in pairwise(counted)]
    estimate = sum(steps) / sum(expected)
    return float(cautious(estimate, estimate * math.sqrt(3 / len(steps)), len(steps)))


def check_same_test(test: MeanTest, evidence: MeanEvidence) -> None:
    """Raises BadEvidence when `evidence` was collected for another direction, cap or tightest_at."""
    if test.asked != evidence.test:
        direction, cap, tightest_at = evidence.test
        raise BadEvidence(
            f"This evidence is of a test for {direction} capped at {cap:g} and tightest at {tightest_at:g}, which is "
            "not the one asked for: start new evidence."
        )


def _check_capped(test: MeanTest, arm: Sums) -> None:
    slack = 1 + 1e-6
    if abs(arm.total) > arm.units * test.cap * slack or arm.squares > arm.units * test.cap**2 * slack:
        raise BadCounts(
            f"The values of {arm.units:,} units sum to {arm.total:g} and their squares to {arm.squares:g}, more than "
            f"the cap of {test.cap:g} allows: let the source winsorise each unit's value at the plan's cap."
        )


def _stuck(evidence: MeanEvidence, *, warming: bool) -> str:
    if warming:
        return ""
    if evidence.matched.units < SMALLEST_SAMPLE:
        return f" Nothing is judged before {SMALLEST_SAMPLE} treatment units; {evidence.matched.units:,.0f} are in."
    if evidence.matched.control <= 0:
        return " Control's mean is not above 0, so that a margin in parts of it proves nothing."
    return ""


def books(test: MeanTest, evidence: MeanEvidence) -> Books:
    """What the evidence is worth by now, which `judge` puts into words."""
    sign = 1 if test.direction is Direction.INCREASE else -1
    arms = evidence.control, evidence.treatment
    began = [_log_e(test, arms, evidence.matched.since(start), 1.0, sign) for start in evidence.starts]
    later = [(1 / ((n + 1) * (n + 2)), log_e) for n, log_e in enumerate(began, start=evidence.dropped)]
    lost = sum(1 / ((n + 1) * (n + 2)) for n in range(evidence.dropped))
    waiting = 1 - lost - sum(share for share, _ in later)
    parts = [(FROM_THE_START, _log_e(test, arms, evidence.matched, 1.0, sign)), ((1 - FROM_THE_START) * waiting, 0.0)]
    parts += [((1 - FROM_THE_START) * share, log_e) for share, log_e in later]
    warming = (evidence.warming_control, evidence.warming_treatment), evidence.warming
    return Books(
        harm=Wealth.worth(_log_mixture(parts)),
        burn_in=Wealth.worth(_log_e(test, *warming, test.burn_in_ratio, sign) if evidence.warming.control > 0 else 0.0),
        safe=Wealth.worth(
            _log_e(test, arms, evidence.matched.since(evidence.unproven), test.safe_ratio, -sign)
            if evidence.matched.control > 0
            else 0.0
        ),
    )


def _log_mixture(parts: Sequence[tuple[float, float]]) -> float:
    logs = [math.log(share) + log_e for share, log_e in parts if share > 0]
    peak = max(logs)
    return peak + math.log(sum(math.exp(log - peak) for log in logs))


def _log_e(test: MeanTest, arms: tuple[Sums, Sums], matched: Matched, ratio: float, sign: int) -> float:
    """ln E that treatment's mean lies beyond `ratio` × control's, as `log_e_beyond`."""
    information = _information(test, matched)
    return log_e_beyond(matched, ratio, sign, variance=spread(test, *arms), information=information)


def log_e_beyond(matched: Matched, ratio: float, sign: int, *, variance: float, information: float) -> float:
    """ln E that treatment's mean lies beyond `ratio` × control's, above for `sign` 1, below for −1.

    0 before SMALLEST_SAMPLE treatment units. `variance` is φ times that of a value, the larger one of both arms: an arm
    that by chance has few of the large values has a low mean and a low variance at once, and would look certain of it.
    `information` is the relative one of `log_e_value`.
    """
    if matched.units < SMALLEST_SAMPLE:
        return 0.0
    noise = variance * (matched.treatment_noise + ratio**2 * matched.control_noise)
    return log_e_value(sign * (matched.treatment - ratio * matched.control) / math.sqrt(noise), information)


def log_e_value(z: float, r: float) -> float:
    """ln E at `z` standard errors beyond the null, with the relative information `r`."""
    tilted = z * math.sqrt(r / (r + 1))
    return math.log(2) - math.log1p(r) / 2 + tilted**2 / 2 + _log_normal_cdf(tilted)


def spread(test: MeanTest, control: Sums, treatment: Sums) -> float:
    """φ times the larger variance of both arms."""
    finest = (FINEST_SPREAD * max(abs(control.mean), test.cap * FINEST_SPREAD)) ** 2
    return test.dispersion * max(treatment.variance, control.variance, finest)


def _information(test: MeanTest, matched: Matched) -> float:
    """Over that for which the confidence sequence at the level of a rollback is tightest, times its ρ² there."""
    return relative_information(matched.weight, test.dispersion, test.tightest_at)


def relative_information(weight: float, dispersion: float, tightest_at: float = MeanTest.tightest_at) -> float:
    """Of the effective number of units `weight`, over that for which the test is tightest.

    At the level that a guardrail alone has, whatever the test's is: where guardrails come to share theirs on the way,
    the evidence so far must stay what it was.
    """
    level = -2 * math.log(2 * MeanTest.alpha_rollback)
    return (level + math.log1p(level)) * weight / (dispersion * tightest_at)


def _log_normal_cdf(z: float) -> float:
    """ln Φ(z), also far below 0."""
    if z > -30:
        return math.log(math.erfc(-z / math.sqrt(2)) / 2)
    return -(z**2) / 2 - math.log(-z) - math.log(2 * math.pi) / 2
