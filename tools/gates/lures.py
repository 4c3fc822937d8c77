"""What makes rare alarms frequent: courses that are led to a harm, and how much likelier that made what they saw.

A rollback for nothing is so rare that thousands of courses of a harmless treatment hardly show one. So each course
draws a bet of a prior and the time at which the bet is placed, and from then on its treatment does that harm; some draw
none. How much likelier what was seen is under all of these together than under no harm is the worth of a book that
keeps the same bets at their true odds. An alarm counts as one over that (importance sampling; Siegmund, "Sequential
Analysis", 1985, ch. II). The book is what a gate keeps, too, so that at an alarm it holds about 1/α and every alarm
counts about the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tools.gates.wealth import Floats, Ledger, Prior, Wealth

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass
class Books:
    """Q questions of all courses: the bets on them, stacked, and what they are worth."""

    prior: Prior
    ledger: Ledger

    @classmethod
    def start(cls, priors: Sequence[Prior], courses: int) -> Self:
        """Nothing known yet; `priors` have as many bets each."""
        return cls(Prior.stacked(priors), Ledger.of([[Wealth.start(prior) for prior in priors]] * courses))

    def of(self, courses: Ints) -> Ledger:
        """A copy of those courses' books."""
        kept = self.ledger
        return Ledger(kept.log_started[courses], kept.log_reserve[courses], kept.clock[courses])

    def put(self, courses: Ints, ledger: Ledger) -> None:
        """What became of the copy."""
        kept = self.ledger
        kept.log_started[courses], kept.log_reserve[courses] = ledger.log_started, ledger.log_reserve
        kept.clock[courses] = ledger.clock

    def advance(self, courses: Ints, log_lr: Floats, information: Floats) -> None:
        """One step of those courses: (n, Q, G) and (n, Q)."""
        ledger = self.of(courses)
        ledger.advance(self.prior, log_lr, information)
        self.put(courses, ledger)

    def log_e(self, courses: Ints, question: int = 0) -> Floats:
        """The log evidence of those courses."""
        return np.asarray(self.of(courses).log_e[:, question])


@dataclass
class Lure:
    """Which bet of the `book` each course is led to (courses,), and from when by its clock; infinity for never."""

    book: Books
    bet: Ints
    onset: Floats

    @classmethod
    def start(cls, prior: Prior, rng: np.random.Generator, led: Flags) -> Self:
        """For courses of which some are `led` at all."""
        size, late = len(led), rng.random(len(led)) >= prior.at_once
        bets = len(prior.log_weights)
        early, later = (
            rng.choice(bets, size, p=np.exp(logs) / np.exp(logs).sum())
            for logs in (prior.log_weights, prior.log_late_weights)
        )
        # A part u of the reserve is kept until then (`Prior.log_kept`).
        placed = np.asarray(prior.half_life) * np.sqrt(1 / (1 - rng.random(size)) - 1)
        onset = np.where(led, np.where(late, placed, -1.0), np.inf)
        return cls(Books.start((prior,), size), np.where(late, later, early), onset)

    def now(self, courses: Ints) -> Ints:
        """The bet that each course is led to by now; −1 for none."""
        return np.where(self.onset[courses] <= self.book.ledger.clock[courses, 0], self.bet[courses], -1)

    def pay(self, courses: Ints, log_lr: Floats, information: Floats) -> None:
        """By how much likelier each bet (n, G) made what these courses saw, and how far it moves the clock (n,)."""
        self.book.advance(courses, log_lr[:, None], information[:, None])

    def log_odds(self, courses: Ints) -> Floats:
        """The log of how much likelier what they saw is where courses are led than where none is."""
        return self.book.log_e(courses)
