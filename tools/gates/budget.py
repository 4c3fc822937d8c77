"""Is the error budget of an objective being spent too fast? For teams with a service level objective.

With the objective that all but `allowed` of the requests succeed, the burn rate is the rate of failures over `allowed`:
at 1 the budget lasts exactly its period. An alert compares it with a threshold over a long window, which shows that the
loss matters, and over a short one, which shows that it goes on; both must exceed it (Beyer and others, "The Site
Reliability Workbook", chapter 5, multiwindow, multi-burn-rate alerts). A burn rate is no test: so that a handful of
failures among few requests is not taken for one, the long window must hold MOST_BY_CHANCE failures.

Whether the objective is kept at all is asked besides, by `tools.gates.ceiling`: its proof is what passes, and its alarm
is the answer to a loss too slow for the windows.

An outage elsewhere spends the budget too, whichever arm is counted: a burn rate knows no control. That is why alerts
pause unless a team has them roll back.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from tools.gates.ceiling import CeilingEvidence, CeilingTest
from tools.gates.ceiling import judge as judge_ceiling
from tools.gates.ceiling import update as update_ceiling
from tools.gates.judging import NOTHING, BadCounts, BadTest, Counts, Direction, check_version, percent
from tools.gates.verdict import Harm, Outcome, Verdict, amount
from tools.gates.wealth import BadEvidence

VERSION = 1
# A window is kept as this many sums, so that it is exact to a twelfth.
PARTS = 12
MOST_ALERTS = 4
LONGEST_WINDOW = 60 * 24 * 31
# With fewer failures in the long window nothing is said. At burn rate 1 six times as many as expected, which is at most
# 10, come by chance in fewer than one window of 40,000.
MOST_BY_CHANCE = 10


@dataclass(frozen=True)
class BurnAlert:
    """An alert: the burn rate over both windows, in minutes, from which it speaks, and what it then says."""

    long_minutes: float
    short_minutes: float
    burn_rate: float
    says: Harm

    def __post_init__(self) -> None:
        if not 0 < self.short_minutes < self.long_minutes <= LONGEST_WINDOW:
            raise BadTest(
                f"An alert's windows must be a short and a longer one of at most 31 days, not {self.short_minutes} and "
                f"{self.long_minutes} minutes."
            )
        if not 1 < self.burn_rate < math.inf:
            raise BadTest(f"An alert's burn rate must be above 1, not {self.burn_rate}.")
        if self.says is Harm.NONE:
            raise BadTest("An alert must pause (suspected) or roll back (proven).")


FAST = BurnAlert(60, 5, 14.4, Harm.SUSPECTED)
"""2 % of a 30-day budget in an hour. `replace(FAST, says=Harm.PROVEN)` rolls back."""
SLOW = BurnAlert(360, 30, 6.0, Harm.SUSPECTED)
"""5 % of a 30-day budget in six hours."""


@dataclass(frozen=True)
class BudgetTest:
    """What is asked of a service with an objective.

    `objective` is the share of requests that must succeed, 0.999 for instance; `alerts` are the burn rates that pause
    or roll back. `overspent` is the most that is said of an objective proven missed at whatever rate: SUSPECTED
    pauses, PROVEN rolls back. The levels, φ and `min_sample` are those of `CeilingTest`. Raises BadTest.
    """

    objective: float
    alerts: tuple[BurnAlert, ...] = (FAST, SLOW)
    overspent: Harm = Harm.SUSPECTED
    alpha_pause: float = 0.05
    alpha_rollback: float = 0.02
    alpha_safe: float = 0.05
    dispersion: float = 1.0
    min_sample: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.objective < 1:
            raise BadTest(f"The objective must be the share of good requests, such as 0.999, not {self.objective}.")
        if len(self.alerts) > MOST_ALERTS:
            raise BadTest(f"A budget takes at most {MOST_ALERTS} alerts, not {len(self.alerts)}.")
        CeilingTest(**self._ceiling_parameters)

    @property
    def allowed(self) -> float:
        """The share of requests that may fail."""
        return 1 - self.objective

    @property
    def ceiling(self) -> CeilingTest:
        """The question whether the objective is kept."""
        return CeilingTest(**self._ceiling_parameters)

    @property
    def windows(self) -> tuple[float, ...]:
        """The lengths of all windows, in minutes, each once."""
        return tuple(
            sorted({minutes for alert in self.alerts for minutes in (alert.long_minutes, alert.short_minutes)})
        )

    @property
    def _ceiling_parameters(self) -> dict[str, Any]:
        return {
            "direction": Direction.INCREASE,
            "ceiling": self.allowed,
            "alpha_pause": self.alpha_pause,
            "alpha_rollback": self.alpha_rollback,
            "alpha_safe": self.alpha_safe,
            "dispersion": self.dispersion,
            "min_sample": self.min_sample,
        }


@dataclass(frozen=True)
class Recent:
    """The last `minutes` as sums of equal parts, the oldest first; the newest has run for `age` minutes."""

    minutes: float
    parts: tuple[Counts, ...] = (NOTHING,)
    age: float = 0.0

    @property
    def total(self) -> Counts:
        """All of them: from eleven twelfths of the window to all of it."""
        return sum(self.parts, NOTHING)

    def plus(self, counts: Counts, minutes: float) -> "Recent":
        """After `counts` came in the next `minutes`; they are put where they end."""
        part = self.minutes / PARTS
        age = self.age + minutes
        # The newest part takes what ends within it, so that an interval on the edge belongs to the part before.
        passed = max(math.ceil(age / part - 1e-9) - 1, 0)
        parts = (*self.parts, *(NOTHING,) * min(passed, PARTS))[-PARTS:]
        return Recent(self.minutes, (*parts[:-1], parts[-1] + counts), age - passed * part)


@dataclass(frozen=True)
class BudgetEvidence:
    """All that is kept between two checks, at most 4 KB as JSON."""

    objective: float
    recent: tuple[Recent, ...]
    kept: CeilingEvidence
    version: int = VERSION

    @classmethod
    def start(cls, test: BudgetTest) -> Self:
        """No interval seen yet."""
        recent = tuple(Recent(minutes) for minutes in test.windows)
        return cls(test.objective, recent, CeilingEvidence.start(test.ceiling))

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `json.dumps` takes and `from_json` reads back exactly."""
        return {
            "version": self.version,
            "objective": self.objective,
            "recent": [
                [window.minutes, window.age, [part.to_json() for part in window.parts]] for window in self.recent
            ],
            "kept": self.kept.to_json(),
        }

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """The evidence that `to_json` wrote. Raises BadEvidence for anything else."""
        check_version(plain, VERSION)
        try:
            recent = tuple(_recent(*window) for window in plain["recent"])
            return cls(float(plain["objective"]), recent, CeilingEvidence.from_json(plain["kept"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadEvidence(f"Stored evidence is damaged ({error}); start new evidence.") from error


def update(test: BudgetTest, evidence: BudgetEvidence, counts: Counts, minutes: float) -> BudgetEvidence:
    """The evidence after one more interval of `minutes`, in which `counts` requests failed or not.

    Raises BadCounts when `minutes` is no length, BadEvidence when `evidence` is of another test.
    """
    check_same_test(test, evidence)
    if not 0 < minutes <= LONGEST_WINDOW:
        raise BadCounts(f"An interval must be longer than 0 minutes and at most 31 days, not {minutes}.")
    return replace(
        evidence,
        recent=tuple(window.plus(counts, minutes) for window in evidence.recent),
        kept=update_ceiling(test.ceiling, evidence.kept, counts),
    )


def judge(test: BudgetTest, evidence: BudgetEvidence) -> Verdict:
    """What the evidence says now: the gravest alert that speaks, otherwise whether the objective is kept.

    Raises BadEvidence when `evidence` is of another test.
    """
    check_same_test(test, evidence)
    found = judge_ceiling(test.ceiling, evidence.kept)
    if found.outcome is Outcome.NO_DATA:
        return found
    if test.overspent is not Harm.PROVEN:
        pauses = found.pause_from if test.overspent is Harm.SUSPECTED else None
        found = replace(found, pause_from=pauses, rollback_from=None)
    if found.harm.severity > test.overspent.severity:
        found = replace(found, outcome=Outcome.INCONCLUSIVE, harm=test.overspent, why=_missed(test, found))
    speaking = [(alert, rates) for alert in test.alerts if (rates := _speaks(test, evidence, alert)) is not None]
    if not speaking:
        return found
    alert, rates = max(speaking, key=lambda pair: (pair[0].says.severity, pair[1][0]))
    if alert.says.severity < found.harm.severity:
        return found
    outcome = Outcome.FAIL if alert.says is Harm.PROVEN else Outcome.INCONCLUSIVE
    return replace(found, outcome=outcome, harm=alert.says, why=_sentence(test, alert, rates))


def burn_rates(test: BudgetTest, evidence: BudgetEvidence) -> dict[float, float | None]:
    """The burn rate now by window length in minutes; None where it had no requests.

    Raises BadEvidence when `evidence` is of another test.
    """
    check_same_test(test, evidence)
    return {window.minutes: _burn_rate(test, window.total) for window in evidence.recent}


def check_same_test(test: BudgetTest, evidence: BudgetEvidence) -> None:
    """Raises BadEvidence when `evidence` was collected for another objective or other windows."""
    windows = tuple(window.minutes for window in evidence.recent)
    if (test.objective, test.windows) != (evidence.objective, windows):
        raise BadEvidence(
            f"This evidence is of an objective of {percent(evidence.objective)} with windows of "
            f"{', '.join(f'{minutes:g}' for minutes in windows)} minutes, not of the one asked for: start new evidence."
        )


def _speaks(test: BudgetTest, evidence: BudgetEvidence, alert: BurnAlert) -> tuple[float, float] | None:
    """The burn rates over the alert's long and short window when both exceed its threshold, or None."""
    totals = {window.minutes: window.total for window in evidence.recent}
    long, short = totals[alert.long_minutes], totals[alert.short_minutes]
    rates = _burn_rate(test, long), _burn_rate(test, short)
    if rates[0] is None or rates[1] is None or long.events < MOST_BY_CHANCE * test.dispersion:
        return None
    return (rates[0], rates[1]) if min(rates[0], rates[1]) >= alert.burn_rate else None


def _burn_rate(test: BudgetTest, counts: Counts) -> float | None:
    return None if counts.rate is None else counts.rate / test.allowed


def _sentence(test: BudgetTest, alert: BurnAlert, rates: tuple[float, float]) -> str:
    does = "rolls back" if alert.says is Harm.PROVEN else "pauses"
    return (
        f"The error budget of {percent(test.allowed)} burns at ×{rates[0]:.3g} over {alert.long_minutes:g} min and "
        f"×{rates[1]:.3g} over {alert.short_minutes:g} min; from ×{alert.burn_rate:g} on both it {does}."
    )


def _missed(test: BudgetTest, found: Verdict) -> str:
    does = "It pauses" if test.overspent is Harm.SUSPECTED else "It is only said"
    return (
        f"The objective is missed: {percent(found.treatment_rate)} of {found.treatment_n:,} failed, where "
        f"{percent(test.allowed)} may. Evidence of it is {amount(found.harm_e)}. {does}, as no alert speaks."
    )


def _recent(minutes: Any, age: Any, parts: Any) -> Recent:
    window = Recent(float(minutes), tuple(Counts.from_json(part) for part in parts), float(age))
    if not (0 < window.minutes <= LONGEST_WINDOW and 0 <= window.age <= window.minutes and 0 < len(parts) <= PARTS):
        raise BadEvidence("Stored windows are damaged; start new evidence.")
    return window
