"""Is the error budget of an objective being spent too fast? For teams with a service level objective.

With an objective that `allowed` of the requests may fail at most, the burn rate is the rate of failures over `allowed`:
at 1 the budget lasts exactly its period. An alert compares it with a threshold over a long window, which shows that the
loss matters, and over a short one, which shows that it goes on; both must exceed it (Beyer and others, "The Site
Reliability Workbook", chapter 5, multiwindow, multi-burn-rate alerts). A burn rate is no test: so that a handful of
failures among few requests is not taken for one, the long window must hold MOST_BY_CHANCE failures.

It is treatment's budget alone that is looked at, and a burn rate knows no control: an outage elsewhere burns it just as
fast. What a fast burn does is therefore left to whatever else judges the rate (`weigh`): where that suspects treatment
too, waiting for its proof would only spend more, and the gate rolls back. Where it sees nothing in treatment that is
not in control, both burn alike, and the gate pauses for a person. So a shared incident rolls back with chance
`alpha_pause` of the comparison at most, and only while it burns that fast. At 100 % nobody is left to blame but
treatment, and the alert alone rolls back.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from tools.gates.judging import NOTHING, BadCounts, BadTest, Counts, check_version, percent
from tools.gates.verdict import Harm, Outcome, Verdict
from tools.gates.wealth import BadEvidence

VERSION = 2
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


FAST = BurnAlert(60, 5, 14.4, Harm.PROVEN)
"""2 % of a 30-day budget in an hour: it rolls back. `replace(FAST, says=Harm.SUSPECTED)` only pauses."""
SLOW = BurnAlert(360, 30, 6.0, Harm.SUSPECTED)
"""5 % of a 30-day budget in six hours: it pauses."""


@dataclass(frozen=True)
class BudgetTest:
    """What is asked of a service with an objective.

    `allowed` is the share of requests that may fail, 0.001 for instance; `alerts` are the burn rates that pause or roll
    back. `dispersion` is that of `CountTest`: where failures come in bursts, more are needed. Raises BadTest.
    """

    allowed: float
    alerts: tuple[BurnAlert, ...] = (FAST, SLOW)
    dispersion: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.allowed < 1:
            raise BadTest(f"The objective must be the share of requests that may fail, not {self.allowed}.")
        if len(self.alerts) > MOST_ALERTS:
            raise BadTest(f"A budget takes at most {MOST_ALERTS} alerts, not {len(self.alerts)}.")
        if not 1 <= self.dispersion < math.inf:
            raise BadTest(f"dispersion must be 1 (independent events) or more, not {self.dispersion}.")

    @property
    def windows(self) -> tuple[float, ...]:
        """The lengths of all windows, in minutes, each once."""
        return tuple(
            sorted({minutes for alert in self.alerts for minutes in (alert.long_minutes, alert.short_minutes)})
        )


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
    """All that is kept between two checks, some 600 bytes as JSON and at most 1.5 KB."""

    allowed: float
    recent: tuple[Recent, ...]
    version: int = VERSION

    @classmethod
    def start(cls, test: BudgetTest) -> Self:
        """No interval seen yet."""
        return cls(test.allowed, tuple(Recent(minutes) for minutes in test.windows))

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `json.dumps` takes and `from_json` reads back exactly."""
        return {
            "version": self.version,
            "allowed": self.allowed,
            "recent": [
                [window.minutes, window.age, [part.to_json() for part in window.parts]] for window in self.recent
            ],
        }

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """The evidence that `to_json` wrote. Raises BadEvidence for anything else."""
        check_version(plain, VERSION)
        try:
            return cls(float(plain["allowed"]), tuple(_recent(*window) for window in plain["recent"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadEvidence(f"Stored evidence is damaged ({error}); start new evidence.") from error


@dataclass(frozen=True)
class Burning:
    """An alert that speaks, and the burn rates over its long and its short window."""

    alert: BurnAlert
    allowed: float
    long: float
    short: float

    def __str__(self) -> str:
        alert = self.alert
        return (
            f"The error budget of {percent(self.allowed)} burns at ×{self.long:.3g} over {alert.long_minutes:g} min "
            f"and ×{self.short:.3g} over {alert.short_minutes:g} min, ×{alert.burn_rate:g} or more on both."
        )


def update(test: BudgetTest, evidence: BudgetEvidence, counts: Counts, minutes: float) -> BudgetEvidence:
    """The evidence after one more interval of `minutes`, in which `counts` requests failed or not.

    Raises BadCounts when `minutes` is no length, BadEvidence when `evidence` is of another test.
    """
    check_same_test(test, evidence)
    if not 0 < minutes <= LONGEST_WINDOW:
        raise BadCounts(f"An interval must be longer than 0 minutes and at most 31 days, not {minutes}.")
    return replace(evidence, recent=tuple(window.plus(counts, minutes) for window in evidence.recent))


def burning(test: BudgetTest, evidence: BudgetEvidence) -> Burning | None:
    """The gravest alert that speaks now, the fastest burn of equals; None while none does.

    Raises BadEvidence when `evidence` is of another test.
    """
    check_same_test(test, evidence)
    speaking = [found for alert in test.alerts if (found := _speaks(test, evidence, alert)) is not None]
    return max(speaking, key=lambda found: (found.alert.says.severity, found.long), default=None)


def weigh(verdict: Verdict, test: BudgetTest, evidence: BudgetEvidence, *, compared: bool) -> Verdict:
    """The verdict on treatment's rate with what its budget shows; `compared`: it compares the arms.

    An alert that pauses does so whoever is to blame. One that rolls back does so where the verdict suspects treatment,
    or where there is nobody else (not `compared`); otherwise it pauses. Raises BadEvidence when `evidence` is of
    another test.
    """
    found = burning(test, evidence)
    if found is None or verdict.outcome is Outcome.FAIL:
        return replace(verdict, why=f"{verdict.why}{_pace(test, evidence) if found is None else f' {found}'}")
    blamed = verdict.harm is not Harm.NONE or not compared
    if found.alert.says is Harm.PROVEN and blamed:
        why = f"{found} It rolls back. {verdict.why}"
        return replace(verdict, outcome=Outcome.FAIL, harm=Harm.PROVEN, no_data=None, why=why)
    outcome = Outcome.INCONCLUSIVE if verdict.outcome is Outcome.PASS else verdict.outcome
    shared = "" if blamed else " Control is not shown to do better, so it may be an incident that both arms share."
    return replace(verdict, outcome=outcome, harm=Harm.SUSPECTED, why=f"{found} It pauses.{shared} {verdict.why}")


def check_same_test(test: BudgetTest, evidence: BudgetEvidence) -> None:
    """Raises BadEvidence when `evidence` was collected for another objective or other windows."""
    windows = tuple(window.minutes for window in evidence.recent)
    if (test.allowed, test.windows) != (evidence.allowed, windows):
        raise BadEvidence(
            f"This evidence is of an objective of {percent(evidence.allowed)} with windows of "
            f"{', '.join(f'{minutes:g}' for minutes in windows)} minutes, not of the one asked for: start new evidence."
        )


def _speaks(test: BudgetTest, evidence: BudgetEvidence, alert: BurnAlert) -> Burning | None:
    """With the burn rates over the alert's windows when both exceed its threshold."""
    totals = {window.minutes: window.total for window in evidence.recent}
    long, short = totals[alert.long_minutes], totals[alert.short_minutes]
    rates = _burn_rate(test, long), _burn_rate(test, short)
    if rates[0] is None or rates[1] is None or long.events < MOST_BY_CHANCE * test.dispersion:
        return None
    return Burning(alert, test.allowed, rates[0], rates[1]) if min(rates[0], rates[1]) >= alert.burn_rate else None


def _pace(test: BudgetTest, evidence: BudgetEvidence) -> str:
    """The burn rate over the longest window, in a sentence; empty before there are requests."""
    rate = _burn_rate(test, evidence.recent[-1].total) if evidence.recent else None
    if rate is None:
        return ""
    return (
        f" The error budget of {percent(test.allowed)} burns at ×{rate:.3g} over {evidence.recent[-1].minutes:g} min."
    )


def _burn_rate(test: BudgetTest, counts: Counts) -> float | None:
    return None if counts.rate is None else counts.rate / test.allowed


def _recent(minutes: Any, age: Any, parts: Any) -> Recent:
    window = Recent(float(minutes), tuple(Counts.from_json(part) for part in parts), float(age))
    if not (0 < window.minutes <= LONGEST_WINDOW and 0 <= window.age <= window.minutes and 0 < len(parts) <= PARTS):
        raise BadEvidence("Stored windows are damaged; start new evidence.")
    return window
