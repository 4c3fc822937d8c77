"""What count tests share: their levels, their three books, and how evidence becomes a verdict."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tools.errors import InvalidInput
from tools.gates.verdict import Harm, Outcome, Verdict
from tools.gates.wealth import LARGEST_LOG_E, BadEvidence, Floats, Ledger, Prior, Wealth, log_boost, log_sum, log_total

# The share of the stake on the burn-in question: one level covers both, at the price of 0.03 nats to the main one.
BURN_IN_STAKE = 0.03
# Evidence of harm from this far beyond a rollback on is given up for reaching it earlier. At 1 the false rollbacks of a
# busy day would be all that are promised; this leaves them room for what is only estimated, such as the dispersion.
OVERSHOOT = 1.1
# A boost is worth its time only where one interval may bring the rollback, which it may from so many nats away: some
# wherever it is, more for each unit of the variance of treatment's events in the interval, and no more than the most.
REACH, REACH_BY_VARIANCE, FURTHEST = 3.0, 2.0, 9.0
# Evidence of safety is kept to e³ times what a proof needs, so that a harm that starts later undoes it within minutes.
SAFE_LOG_HEADROOM = 3.0
# More than anybody counts; with products of much larger numbers the arithmetic of the tests would overflow.
LARGEST_COUNT = 10**15
SMALLEST_MARGIN, LARGEST_MARGIN = 1.001, 100
# Centuries, in minutes.
LONGEST_INTERVAL = 1e9


@lru_cache(maxsize=256)
def harm_prior(margin: float) -> Prior:
    """Bets for harm: typically somewhat less than the margin, and anything worse.

    Late ones lie in between: by then it is dearer to tell a small effect from none, and any bet finds a large one.
    """
    return Prior.around(margin**0.75, far=0.35, at_once=0.74, shift=0.15, late_shift=2.0, late_far=0.05)


@lru_cache(maxsize=1)
def burn_in_prior() -> Prior:
    """Bets for the burn-in question, as factors beyond the burn-in margin; it is short, so few bets wait."""
    return Prior.around(2.5, far=0.2, at_once=0.95)


@lru_cache(maxsize=256)
def safe_prior(margin: float) -> Prior:
    """Bets for safety, as factors below the margin: typically a treatment about equal to control."""
    return Prior.around(margin**0.85, far=0.12, at_once=0.9)


Priors = tuple[Prior, Prior, Prior]
"""Of a test's three questions, as `Books` has them."""


def priors(margin: float) -> Priors:
    """Of counts."""
    return harm_prior(margin), burn_in_prior(), safe_prior(margin)


class BadCounts(InvalidInput):
    """Counts that can't have been counted."""


class BadTest(InvalidInput):
    """A test whose parameters make no sense."""


class Direction(StrEnum):
    """Which change of the rate is harm."""

    INCREASE = "increase"  # errors
    DECREASE = "decrease"  # conversions

    @property
    def worse(self) -> str:
        """The word for a treatment that does harm."""
        return "higher" if self is Direction.INCREASE else "lower"

    def away(self, factors: Floats) -> Floats:
        """`factors` (each > 1) applied towards harm."""
        return factors if self is Direction.INCREASE else 1 / factors


@dataclass(frozen=True)
class Counts:
    """What one arm did in one interval: `exposures` (requests or users) and the `events` among them.

    Raises BadCounts.
    """

    exposures: int
    events: int

    def __post_init__(self) -> None:
        whole = type(self.exposures) is int and type(self.events) is int
        if whole and 0 <= self.events <= self.exposures <= LARGEST_COUNT:
            return
        for name, value in (("exposures", self.exposures), ("events", self.events)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise BadCounts(f"The number of {name} must be a whole number, not {value!r}.")
            if value < 0:
                raise BadCounts(
                    f"The number of {name} can't be {value}: a counter may have restarted; skip this interval."
                )
            if value > LARGEST_COUNT:
                raise BadCounts(f"The number of {name} can't be above {LARGEST_COUNT:.0e}: see the metric's query.")
        raise BadCounts(
            f"{self.events} events among {self.exposures} exposures can't be: count each exposure at most once."
        )

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.exposures + other.exposures, self.events + other.events)

    @property
    def rate(self) -> float | None:
        """Events per exposure, or None without exposures."""
        return self.events / self.exposures if self.exposures else None

    def to_json(self) -> list[int]:
        """`[exposures, events]`."""
        return [self.exposures, self.events]

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """What `to_json` wrote. Raises BadEvidence for anything else."""
        try:
            exposures, events = plain
            return cls(exposures, events)
        except (TypeError, ValueError, BadCounts) as error:
            raise BadEvidence(f"Stored counts are damaged ({error}); start new evidence.") from error


NOTHING = Counts(0, 0)


class Levels(Protocol):
    """What every test of counts sets."""

    @property
    def direction(self) -> Direction: ...
    @property
    def margin(self) -> float: ...
    @property
    def alpha_pause(self) -> float: ...
    @property
    def alpha_rollback(self) -> float: ...
    @property
    def alpha_safe(self) -> float: ...
    @property
    def dispersion(self) -> float: ...
    @property
    def min_sample(self) -> int: ...
    @property
    def burn_in_margin(self) -> float: ...


def check_levels(test: Levels) -> None:
    """Raises BadTest when the levels of `test` make no sense."""
    if not SMALLEST_MARGIN <= test.margin <= LARGEST_MARGIN:
        raise BadTest(f"The margin must lie between 1.001 and 100 (2 means twice the rate), not {test.margin}.")
    for name in ("alpha_pause", "alpha_rollback", "alpha_safe"):
        if not 1e-6 <= getattr(test, name) < 1:
            raise BadTest(f"{name} must lie between 0.000001 and 1, not {getattr(test, name)}.")
    if test.alpha_rollback > test.alpha_pause:
        raise BadTest(f"alpha_rollback ({test.alpha_rollback}) must not exceed alpha_pause ({test.alpha_pause}).")
    if not (1 <= test.dispersion < math.inf):
        raise BadTest(f"dispersion must be 1 (independent events) or more, not {test.dispersion}.")
    if test.min_sample < 0:
        raise BadTest(f"min_sample must be 0 or more exposures, not {test.min_sample}.")
    if not (1 <= test.burn_in_margin <= 1000):
        raise BadTest(f"burn_in_margin must lie between 1 and 1000 times control, not {test.burn_in_margin}.")


def stored_margin(plain: Any) -> float:
    """The margin of stored evidence. Raises BadEvidence when no test can have it, and what `float` raises."""
    margin = float(plain)
    if not SMALLEST_MARGIN <= margin <= LARGEST_MARGIN:
        raise BadEvidence(f"Stored evidence is of the margin {margin}, which no test has; start new evidence.")
    return margin


def check_version(plain: Any, *known: int) -> int:
    """The version of stored evidence. Raises BadEvidence when it is one that this code does not know."""
    version = plain.get("version") if isinstance(plain, Mapping) else None
    if version in known and type(version) is int:
        return version
    readable = " and ".join(map(str, known))
    raise BadEvidence(f"Stored evidence has version {version!r} and this release reads {readable}: start new evidence.")


class Likelihood(Protocol):
    """How one interval of each of N tests speaks about relative rates."""

    def __call__(self, nulls: Floats, factors: Floats) -> Floats:
        """For Q questions of G bets each, the log likelihood ratios (N, Q, G).

        `nulls` (Q,) are relative rates, and the bets on `nulls * factors` (Q, G).
        """
        ...


@dataclass(frozen=True)
class Chances:
    """What an interval of each of N tests might have brought were there no harm, given exposures and number of events.

    `of` takes M of the tests and G factors, and gives the log probabilities (M, O) of some outcomes and the log LR
    (M, O, G) in each; any of the outcomes will do, those that speak for harm are the useful ones. They can be told
    for the tests `known` (N,); `variance` (N,) is that of treatment's events. All the bets must be fair or worse.
    """

    of: Callable[[NDArray[np.intp], Floats], tuple[Floats, Floats]]
    known: NDArray[np.bool_]
    variance: Floats


def together(harm_log_e: Floats, burn_in_log_e: Floats) -> Floats:
    """Evidence of harm after and during burn-in, as logs."""
    return np.asarray(np.logaddexp(math.log1p(-BURN_IN_STAKE) + harm_log_e, math.log(BURN_IN_STAKE) + burn_in_log_e))


@dataclass(frozen=True)
class Books:
    """The three questions of a test: harmful? far worse while burning in? safe?"""

    harm: Wealth
    burn_in: Wealth
    safe: Wealth

    @classmethod
    def start(cls, priors: Priors) -> Self:
        """Nothing known: each e-value is 1."""
        return cls(*map(Wealth.start, priors))

    @property
    def harm_log_e(self) -> float:
        """Evidence of harm, after and during burn-in together, as a log."""
        return float(together(np.array(self.harm.log_e), np.array(self.burn_in.log_e)))

    def to_json(self, priors: Priors) -> dict[str, Any]:
        """A plain dict, exact."""
        harm, burn_in, safe = priors
        return {
            "harm": self.harm.to_json(harm),
            "burn_in": self.burn_in.to_json(burn_in),
            "safe": self.safe.to_json(safe),
        }

    @classmethod
    def from_json(cls, plain: Any, priors: Priors, *, timed: bool = True) -> Self:
        """What `to_json` wrote for these priors. Raises BadEvidence for anything else; see `Wealth.from_json`."""
        try:
            stored = plain["harm"], plain["burn_in"], plain["safe"]
        except (KeyError, TypeError) as error:
            raise BadEvidence(f"Stored evidence is damaged ({error}); start new evidence.") from error
        return cls(*(Wealth.from_json(one, prior, timed=timed) for one, prior in zip(stored, priors, strict=True)))


def advance_books(
    books: Sequence[Books],
    tests: Sequence[Levels],
    likelihood: Likelihood,
    safe_null: float,
    minutes: Floats,
    *,
    burning_in: bool,
    chances: Chances | None = None,
) -> list[Books]:
    """The books of N tests after one interval each; they must have direction, margin and burn-in margin in common.

    `safe_null` is the relative rate that safety is proven against, `minutes` (N,) how long the intervals were. With
    `chances` evidence beyond what a rollback needs is spent on reaching it (`wealth.log_boost`), and given up where it
    comes all the same (`cut`).
    """
    warming, settled = _questions(tests[0].margin, tests[0].direction)
    phi = np.array([test.dispersion for test in tests])
    if burning_in:
        ledger = Ledger.of([(one.burn_in,) for one in books])
        settle(ledger, warming, tests[0].direction.away(np.array([tests[0].burn_in_margin])), phi, minutes, likelihood)
        return [Books(one.harm, after, one.safe) for one, (after,) in zip(books, ledger.books(), strict=True)]
    ledger, boosting = Ledger.of([(one.harm, one.safe) for one in books]), None
    if chances is not None:
        levels = np.array([test.alpha_rollback for test in tests])
        boosting = Boosting(chances, levels, lambda near: np.array([books[one].burn_in.log_e for one in near]))
    settle(ledger, settled, np.array((1.0, safe_null)), phi, minutes, likelihood, boosting)
    cap_safety(ledger, 1, np.array([test.alpha_safe for test in tests]))
    return [Books(harm, one.burn_in, safe) for one, (harm, safe) in zip(books, ledger.books(), strict=True)]


@dataclass(frozen=True)
class Boosting:
    """What it takes to raise the bets on harm of N tests.

    `levels` (N,) are those of a rollback, and `burn_in_log_e` the log evidence of some tests' burn-in.
    """

    chances: Chances
    levels: Floats
    burn_in_log_e: Callable[[NDArray[np.intp]], Floats]


def settle(
    ledger: Ledger,
    prior: Prior,
    nulls: Floats,
    dispersion: Floats,
    minutes: Floats,
    likelihood: Likelihood,
    boosting: Boosting | None = None,
) -> None:
    """One interval, of so many minutes (N,), of N tests that ask the Q questions of the stacked `prior`, with φ (N,).

    `ledger` holds their books.

    With `boosting` the first question is about harm: its bets are raised before, and cut after the interval.
    """
    log_caps = None if boosting is None else _boost(ledger, boosting, dispersion, prior)
    ledger.advance(prior, likelihood(nulls, prior.factors) / dispersion[:, None, None], minutes)
    if log_caps is not None:
        ledger.log_started[:, 0] = cut(ledger.log_started[:, 0], ledger.log_reserve[:, 0], log_caps)


def _boost(ledger: Ledger, boosting: Boosting, dispersion: Floats, prior: Prior) -> Floats:
    """Raises the bets on harm, and gives the logs of what they may hold afterwards (N,): infinity where none rose."""
    started, reserve = ledger.log_started[:, 0], ledger.log_reserve[:, 0]
    # Where events come in bursts, what the null would bring is not known.
    raised, boosts, log_caps = boosts_of(
        boosting,
        log_total(started, reserve),
        dispersion == 1,
        prior.factors[0],
        lambda near: (started[near], reserve[near]),
    )
    ledger.log_started[raised, 0] += boosts[:, None]
    found = np.full(len(started), np.inf)
    found[raised] = log_caps
    return found


def boosts_of(
    boosting: Boosting,
    log_e: Floats,
    steady: NDArray[np.bool_],
    factors: Floats,
    bets: Callable[[NDArray[np.intp]], tuple[Floats, Floats]],
) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Which of N tests' bets on harm are raised, by how much, and what they may hold afterwards, both as logs.

    `log_e` (N,) is their evidence of harm, only `steady` ones are raised, and `bets` gives the logs of what some tests'
    bets (n, G) on these `factors` and their reserves (n,) are worth.
    """
    chances, reach = boosting.chances, _reach(boosting.chances.variance)
    (near,) = np.nonzero(chances.known & steady & (log_e > -reach - np.log(boosting.levels)))
    if len(near):
        log_caps = log_harm_cap(boosting.levels[near], boosting.burn_in_log_e(near))
        worth = boostable(log_e[near], log_caps, reach[near])
        near, log_caps = near[worth], log_caps[worth]
    if not len(near):
        return near, log_e[near], log_e[near]
    boosts = log_boost(*bets(near), log_caps, *chances.of(near, factors))
    raised = boosts > 0
    return near[raised], boosts[raised], log_caps[raised]


def _reach(variance: Floats) -> Floats:
    return np.asarray(np.minimum(REACH + REACH_BY_VARIANCE * variance, FURTHEST))


def check_minutes(minutes: float) -> None:
    """Raises BadCounts when an interval can't be so long."""
    if not 0 <= minutes <= LONGEST_INTERVAL:
        raise BadCounts(f"An interval lasts from 0 to {LONGEST_INTERVAL:,.0f} minutes, not {minutes}: give its length.")


def cap_safety(ledger: Ledger, question: int, levels: Floats) -> None:
    """Keeps evidence of safety to what proofs at these `levels` (N,) need and e³ times that."""
    ledger.cap(question, log_safe_cap(levels))


def log_safe_cap(level: float | Floats) -> Floats:
    """The log of what evidence of safety is kept to."""
    return np.asarray(SAFE_LOG_HEADROOM - np.log(level))


def cut(log_started: Floats, log_reserve: Floats, log_caps: Floats) -> Floats:
    """Bets (N, G) that were raised towards exp(`log_caps`) (N,), after the interval: what is beyond is given up.

    Only so is a raised bet a fair one. The book then stays an e-process at every level, not just up to the one that it
    was raised for: it may be judged at a lower α later (a plan in flight gets one more guardrail to share the level
    with), and be added to others' (`tools.gates.combined`), however long it goes on after a proof.
    """
    room = log_caps + np.log1p(-np.exp(np.minimum(log_reserve - log_caps, 0.0)))
    return np.asarray(log_started - np.maximum(log_sum(log_started) - room, 0.0)[:, None])


def log_harm_cap(alpha_rollback: float | Floats, burn_in_log_e: Floats) -> Floats:
    """The log of the harm book beyond which more is of no use; −infinity where the burn-in question has said it all."""
    burnt_in = BURN_IN_STAKE * np.exp(np.minimum(burn_in_log_e, LARGEST_LOG_E))
    beyond = (OVERSHOOT / alpha_rollback - burnt_in) / (1 - BURN_IN_STAKE)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.maximum(beyond, 0.0)))


def boostable(harm_log_e: Floats, log_cap: Floats, reach: float | Floats = REACH) -> NDArray[np.bool_]:
    """Whether a boost is worth its time now; once there is proof it has none."""
    return np.asarray((-reach < harm_log_e - log_cap) & (harm_log_e < log_cap - math.log(OVERSHOOT)))


@lru_cache(maxsize=256)
def _questions(margin: float, direction: Direction) -> tuple[Prior, Prior]:
    """The priors of what is asked while burning in, and of harm and safety after it; `factors` as that question has."""
    harm, burn_in, safe = priors(margin)
    return (
        Prior.stacked([replace(burn_in, factors=direction.away(burn_in.factors))]),
        Prior.stacked(
            [
                replace(harm, factors=direction.away(harm.factors)),
                replace(safe, factors=1 / direction.away(safe.factors)),
            ]
        ),
    )


@dataclass(frozen=True)
class Question:
    """The words of a verdict."""

    facts: str  # what was measured, without a full stop
    safe: str  # what "safe" would mean
    stuck: str = ""  # why waiting alone may not bring a proof of safety
    burning_in: bool = False
    lately: str = ""  # what was measured since a harm began, where that is not all there is


def decide(test: Levels, books: Books, numbers: Verdict, question: Question) -> Verdict:
    """`numbers` with outcome, harm, evidence and sentence filled in. Harm is asked first: it outweighs any proof.

    What was measured lately is left out where there is no harm.

    Raises BadEvidence for books that hold no numbers, which would be neither above a level nor below it.
    """
    harm_e, safe_e = _e_value(books.harm_log_e), _e_value(books.safe.log_e)
    harm = _harm(test, harm_e)
    seen = replace(
        numbers,
        harm=harm,
        harm_e=harm_e,
        safe_e=safe_e,
        lately=None if harm is Harm.NONE else numbers.lately,
        min_sample=test.min_sample,
        pause_from=level_of(test.alpha_pause),
        rollback_from=level_of(test.alpha_rollback),
    )
    if harm is Harm.PROVEN:
        return replace(seen, outcome=Outcome.FAIL, why=_harmful(test, "Proven harmful", seen, question))
    if harm is Harm.SUSPECTED:
        return replace(seen, outcome=Outcome.INCONCLUSIVE, why=_harmful(test, "Harm suspected", seen, question))
    if safe_e < 1 / test.alpha_safe or seen.treatment_n < test.min_sample:
        return replace(seen, outcome=Outcome.INCONCLUSIVE, why=_undecided(test, seen, question))
    why = (
        f"Proven safe: {question.facts}. Evidence that {question.safe} is {_amount(safe_e)}; {_needed(test)} is needed."
    )
    return replace(seen, outcome=Outcome.PASS, why=why)


def level_of(alpha: float) -> float:
    """The e-value 1/`alpha`, without the noise of its last digits."""
    return float(f"{1 / alpha:.12g}")


def _e_value(log_e: float) -> float:
    if math.isnan(log_e):
        raise BadEvidence("The evidence is not a number; start new evidence.")
    return math.exp(min(log_e, LARGEST_LOG_E))


def _harm(test: Levels, harm_e: float) -> Harm:
    if harm_e >= 1 / test.alpha_rollback:
        return Harm.PROVEN
    return Harm.SUSPECTED if harm_e >= 1 / test.alpha_pause else Harm.NONE


def _harmful(test: Levels, claim: str, seen: Verdict, question: Question) -> str:
    levels = f"pauses from {1 / test.alpha_pause:.4g}, rolls back from {1 / test.alpha_rollback:.4g}"
    facts = f"{question.lately}; in all {question.facts}" if question.lately else question.facts
    return f"{claim}: {facts}. Evidence of harm is {_amount(seen.harm_e)}; it {levels}."


def _undecided(test: Levels, seen: Verdict, question: Question) -> str:
    if question.burning_in:
        worse = f"a rate proven more than ×{test.burn_in_margin:g} {test.direction.worse}"
        return f"Burning in: {question.facts}. Only {worse} fails now."
    if seen.safe_e >= 1 / test.alpha_safe:
        return f"Too few to promote: {question.facts}. {seen.treatment_n:,} of {test.min_sample:,} exposures are in."
    harm = f"of harm {_amount(seen.harm_e)} of {1 / test.alpha_rollback:.4g}"
    safe = f"that {question.safe} {_amount(seen.safe_e)} of {_needed(test)}"
    return f"Not proven either way: {question.facts}. Evidence {harm}, {safe}.{question.stuck}"


def _needed(test: Levels) -> str:
    return f"{1 / test.alpha_safe:.4g}"


def _amount(e_value: float) -> str:
    return "over a million" if e_value > 1e6 else f"{e_value:,.3g}" if e_value < 1000 else f"{e_value:,.0f}"


def percent(rate: float | None) -> str:
    """A rate for people."""
    return "unknown" if rate is None else f"{100 * rate:.3g} %"
