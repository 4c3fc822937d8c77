"""The betting book that every test here keeps: a mixture over effect sizes and over times at which they start.

A test bets against its null hypothesis. Each bet is on one effect size, `started` holds what each is
worth now, and `reserve` is the money not yet placed. After each interval a little of the reserve is placed afresh, so
that a harm that starts late meets bets that have not been lost by then. Money is never added, each bet is fair or
worse when the null is true, so the total is an e-process: the chance that it *ever* reaches 1/α is at most α (Ville),
however often it is looked at. The mixture is the method of Robbins (1970) with the late starts of Shiryaev; see also
Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference" (2023).

What no placing can do. A harm that starts at an unknown time ν is met by the bets placed around ν only, of a share
π(ν) of the money, so on average it takes at least ln(1/α) + ln(1/π(ν)) nats (Lai, 1998, "Information bounds and quick
detection of parameter changes in stochastic systems"), and over all ν the shares add up to at most 1. The more events
before the harm, the more starts there are to tell apart: at ten times the traffic, π falls tenfold, and 2.3 nats
more are needed, whatever the density.

Everything is in logs. The array functions take any leading shape, so that many guardrails can be advanced at once.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tools.errors import InvalidInput

Floats = NDArray[np.float64]

# Half of the reserve is placed after so many minutes. Little is placed at first, because the bets placed at once cover
# that time, and most when they are lost. Time counts, not traffic: what makes a harm come late (a cache that fills, a
# nightly batch, a change elsewhere) keeps the hour, however many events there were before. Found by simulation, as the
# priors are: at 600 and at 6,000 requests a minute, and at shares from 5 % to 50 %, 450 to 630 minutes are best. Any
# other value would be as valid, only slower.
RESERVE_HALF_LIFE = 480.0
LARGEST_LOG_E = float(np.log(1e12))
LARGEST_BOOST = 2.0
# By how many nats a reserve shrinks at most, which takes longer than there will be anybody to ask.
LARGEST_PLACED = 100.0
SMALLEST = 1e-300
# Beyond every count, sum and log that is ever stored; its square can still be computed.
LARGEST_STORED = 1e100
STORED_BETS = np.dtype("<f8")
UNTOUCHED = "untouched"


class BadEvidence(InvalidInput):
    """Stored evidence can't be used: it is damaged, of another version, or of another test."""


def computable(*numbers: float) -> bool:
    """Whether all are finite and no larger than what is ever stored."""
    return all(abs(number) <= LARGEST_STORED for number in numbers)


@dataclass(frozen=True)
class Prior:
    """Where the money goes.

    Effect sizes as `factors` away from the null (each > 1), shape (G,); the logs of the shares of the money on each
    (they sum to 1), shape (G,), when placed at once and when placed late; how much of it is placed `at_once`, the rest
    being the reserve; and the minutes after which half of that is placed.
    """

    factors: Floats
    log_weights: Floats
    log_late_weights: Floats
    at_once: float
    half_life: float | Floats

    @classmethod
    def stacked(cls, priors: Sequence[Self]) -> Self:
        """Several priors with as many bets each as one whose arrays are (Q, G) and (Q,), for `advance`."""
        return cls(
            factors=np.stack([prior.factors for prior in priors]),
            log_weights=np.stack([prior.log_weights for prior in priors]),
            log_late_weights=np.stack([prior.log_late_weights for prior in priors]),
            at_once=max(prior.at_once for prior in priors),
            half_life=np.array([prior.half_life for prior in priors]),
        )

    @classmethod
    def around(
        cls,
        typical: float,
        *,
        far: float,
        at_once: float,
        shift: float = 0.0,
        late_shift: float = 0.0,
        late_far: float | None = None,
    ) -> Self:
        """Most money near the factor `typical`, and the share `far` of it on factors from its square to 8 and beyond.

        Near: a normal in the log of the factor, of sd 0.3 log `typical`, `shift` sd further out than that. Far: evenly
        on the log of the log. What is placed late has its near bets `late_shift` sd further out, and the share
        `late_far` on far ones.
        """
        centre = np.log(typical)
        steps = np.linspace(-2.0, 2.2, 10)
        distant = np.geomspace(2 * centre, max(np.log(8), 4 * centre), 6)

        def log_weights(shift: float, far: float) -> Floats:
            near = np.exp(-0.5 * (steps - shift) ** 2)
            weights = np.concatenate([(1 - far) * near / near.sum(), np.full(len(distant), far / len(distant))])
            return np.asarray(np.log(weights))

        return cls(
            factors=np.exp(np.concatenate([centre * (1 + 0.3 * steps), distant])),
            log_weights=log_weights(shift, far),
            log_late_weights=log_weights(late_shift, far if late_far is None else late_far),
            at_once=at_once,
            half_life=RESERVE_HALF_LIFE,
        )

    def log_kept(self, clock: Floats) -> Floats:
        """The log of the part of the reserve that is not placed by `clock`, in minutes."""
        return np.asarray(-np.log1p((clock / self.half_life) ** 2))

    def clock_of(self, log_reserve: float) -> float:
        """The minutes by which that much is left of the reserve; 0 for more than there is at first."""
        placed = math.log1p(-self.at_once) - log_reserve
        return float(self.half_life * math.sqrt(math.expm1(min(max(placed, 0.0), LARGEST_PLACED))))


def log_total(log_started: Floats, log_reserve: Floats) -> Floats:
    """The log e-value: all the money there is. Shapes (..., G) and (...) give (...)."""
    return np.asarray(np.logaddexp(log_sum(log_started), log_reserve))


def log_sum(logs: Floats) -> Floats:
    """The log of the sum of exp(`logs`) over the last axis."""
    peak = logs.max(axis=-1)
    parts = logs - peak[..., None]
    return np.asarray(peak + np.log(np.exp(parts, out=parts).sum(axis=-1)))


def advance(
    prior: Prior, log_started: Floats, log_reserve: Floats, clock: Floats, log_lr: Floats, minutes: Floats
) -> tuple[Floats, Floats, Floats]:
    """One interval: pay out the bets, then place a part of the reserve.

    `log_lr` (..., G) is each bet's log likelihood ratio in this interval, which is `minutes` (...) long. What is placed
    now is at risk only from the next interval on, which keeps the placing predictable.
    Returns the new (log_started, log_reserve, clock).
    """
    later = clock + minutes
    log_kept = prior.log_kept(later) - prior.log_kept(clock)
    # In no time nothing is placed: a part so small that it changes no number.
    log_placed = log_reserve + np.log(np.maximum(-np.expm1(log_kept), SMALLEST))
    started = np.logaddexp(log_started + log_lr, prior.log_late_weights + log_placed[..., None])
    return started, log_reserve + log_kept, later


def log_boost(log_started: Floats, log_reserve: Floats, log_cap: Floats, log_chances: Floats, log_lr: Floats) -> Floats:
    """By how much all bets may be raised before an interval, because money beyond `log_cap` is of no use.

    The bets pay min(boost · payout, cap − reserve), whose mean under the null is at most what they are worth now: what
    they would pay beyond the cap is spread over all outcomes. This is the sequential boosting of Fischer and Ramdas,
    "Improving Wald's (approximate) sequential probability ratio test by avoiding overshoot" (arXiv 2410.16076).

    `log_chances` (..., N) are the null's probabilities of N of the outcomes that the interval may have, and `log_lr`
    (..., N, G) what each pays. Any N of them are valid; those that are left out only make the boost smaller.
    """
    log_stake = log_sum(log_started)
    log_payout = log_sum(log_started[..., None, :] + log_lr) - log_stake[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_room = log_cap + np.log1p(-np.exp(np.minimum(log_reserve - log_cap, 0.0))) - log_stake
    room = np.exp(np.minimum(log_room, LARGEST_LOG_E))
    chances = np.exp(log_chances) * (log_payout >= np.maximum(log_room, 0.0)[..., None])
    beyond = (chances * np.exp(np.minimum(log_payout, 700.0))).sum(axis=-1)
    kept, left = 1 - room * chances.sum(axis=-1), 1 - beyond
    boost = np.divide(kept, left, out=np.ones_like(kept), where=(left > 0) & (room > 1))
    return np.asarray(np.log(np.clip(boost, 1.0, LARGEST_BOOST)))


@dataclass(frozen=True)
class Wealth:
    """One question's book: log worth of each bet, log of the reserve, and the minutes seen."""

    log_started: tuple[float, ...]
    log_reserve: float
    clock: float

    @classmethod
    def start(cls, prior: Prior) -> Self:
        """A total of 1, of which `prior.at_once` is placed."""
        placed = prior.log_weights + np.log(prior.at_once)
        return cls(tuple(placed.tolist()), float(np.log1p(-prior.at_once)), 0.0)

    @classmethod
    def worth(cls, log_e: float) -> Self:
        """A book of which nothing is known but its total."""
        return cls((log_e,), -math.inf, 0.0)

    def advance(self, prior: Prior, log_lr: Floats, minutes: float) -> Self:
        """The book after one interval; see the module's `advance`."""
        started, reserve, clock = advance(prior, *self.arrays, np.array(self.clock), log_lr, np.array(minutes))
        return type(self)(tuple(started.tolist()), float(reserve), float(clock))

    def raised(self, log_boost: float) -> Self:
        """The same book with all its bets raised, as `log_boost` allows before an interval."""
        return type(self)(tuple(log + log_boost for log in self.log_started), self.log_reserve, self.clock)

    def capped(self, log_cap: float) -> Self:
        """The same book with its bets scaled down so that they hold at most exp(log_cap); giving money away is fair."""
        excess = self.log_e - log_cap
        if excess <= 0:
            return self
        return type(self)(tuple(log - excess for log in self.log_started), self.log_reserve, self.clock)

    @property
    def arrays(self) -> tuple[Floats, Floats]:
        """The logs of the bets (G,) and of the reserve ()."""
        return np.array(self.log_started), np.array(self.log_reserve)

    @property
    def log_e(self) -> float:
        """The log e-value."""
        return float(log_total(*self.arrays))

    def to_json(self, prior: Prior) -> list[Any] | str:
        """`[log_started, log_reserve, clock]`, exact, or UNTOUCHED as long as nothing was bet.

        The bets, which nobody reads one by one, are their float64s in Base64: half as long as their digits.
        """
        if self == Wealth.start(prior):
            return UNTOUCHED
        bets = np.array(self.log_started, STORED_BETS).tobytes()
        return [base64.b64encode(bets).decode(), self.log_reserve, self.clock]

    @classmethod
    def from_json(cls, plain: Any, prior: Prior, *, timed: bool = True) -> Self:
        """What `to_json` wrote for this prior, earlier releases' with digits too. Raises BadEvidence for all else.

        An earlier clock that is not `timed` counted information; the reserve that is left says what time it is.
        """
        if plain == UNTOUCHED:
            return cls.start(prior)
        try:
            started, reserve, clock = plain
            wealth = cls(_bets(started), float(reserve), float(clock) if timed else prior.clock_of(float(reserve)))
        except (TypeError, ValueError, OverflowError) as error:
            raise BadEvidence(f"Stored evidence is damaged ({error}); start new evidence.") from error
        if len(wealth.log_started) != len(prior.factors):
            raise BadEvidence("Stored evidence has bets that this version does not know; start new evidence.")
        if not computable(*wealth.log_started, wealth.log_reserve, wealth.clock):
            raise BadEvidence("Stored evidence holds numbers that can't be computed with; start new evidence.")
        if wealth.log_reserve > 0 or wealth.clock < 0:
            raise BadEvidence("Stored evidence holds money or time that can't be; start new evidence.")
        return wealth


def _bets(stored: Any) -> tuple[float, ...]:
    """The logs of the bets. Raises TypeError or ValueError when they are neither Base64 nor numbers."""
    if isinstance(stored, str):
        return tuple(np.frombuffer(base64.b64decode(stored, validate=True), STORED_BETS).tolist())
    return tuple(float(log) for log in stored)


@dataclass
class Ledger:
    """Many books as arrays: logs of the bets (N, Q, G), logs of the reserves (N, Q), and the clocks (N, Q)."""

    log_started: Floats
    log_reserve: Floats
    clock: Floats

    @classmethod
    def of(cls, books: Sequence[Sequence[Wealth]]) -> Self:
        """The books of N ≥ 1 tests, Q of each, with as many bets each."""
        shape, rows = (len(books), len(books[0])), list(chain.from_iterable(books))
        started = chain.from_iterable([book.log_started for book in rows])
        return cls(
            np.fromiter(started, float).reshape(*shape, -1),
            np.array([book.log_reserve for book in rows]).reshape(shape),
            np.array([book.clock for book in rows]).reshape(shape),
        )

    @property
    def log_e(self) -> Floats:
        """The log e-values (N, Q)."""
        return log_total(self.log_started, self.log_reserve)

    def advance(self, prior: Prior, log_lr: Floats, minutes: Floats) -> None:
        """One interval of so many minutes (N,), with the Q priors stacked; see the module's `advance`."""
        self.log_started, self.log_reserve, self.clock = advance(
            prior, self.log_started, self.log_reserve, self.clock, log_lr, minutes[:, None]
        )

    def cap(self, question: int, log_caps: Floats) -> None:
        """Scale the bets on one question down so that they hold at most exp(`log_caps`) (N,)."""
        excess = np.maximum(self.log_e[:, question] - log_caps, 0.0)
        self.log_started[:, question] -= excess[:, None]

    def books(self) -> list[list[Wealth]]:
        """As they were given, N by Q."""
        questions, bets = self.log_started.shape[1:]
        columns = self.log_started.reshape(-1, bets), self.log_reserve.ravel(), self.clock.ravel()
        rows = zip(*(column.tolist() for column in columns), strict=True)
        flat = [Wealth(tuple(started), kept, seen) for started, kept, seen in rows]
        return [flat[first : first + questions] for first in range(0, len(flat), questions)]
