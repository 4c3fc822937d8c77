"""What makes rare alarms frequent: courses that are led to a harm, and how much likelier that made what they saw.

A rollback for nothing is so rare that thousands of courses of a harmless treatment hardly show one. So each course
draws a bet of a prior and the time at which the bet is placed, and from then on its treatment does that harm; some draw
none. How much likelier what was seen is under all of these together than under no harm is the worth of a book that
keeps the same bets at their true odds. An alarm counts as one over that (importance sampling; Siegmund, "Sequential
Analysis", 1985, ch. II). The book is what a gate keeps, too, so that at an alarm it holds about 1/α and every alarm
counts about the same.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tools.gates.wealth import Floats, Prior

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

LARGEST_STEP, LARGEST_WORTH = 400.0, 1e100
"""Nats that a bet wins in one step at most, and what it is worth at most: far beyond any level, and still a number."""


@dataclass
class Books:
    """One question's book in every course: what each bet (G, courses), the reserve and the clock (courses,) are worth.

    The same as a `wealth.Ledger` holds, but in plain numbers and with the courses last, which is several times as fast.
    Plain numbers do, because nobody asks by how much a course is beyond its level, and the reserve never comes near 0.
    """

    prior: Prior
    started: Floats
    reserve: Floats
    clock: Floats

    @classmethod
    def start(cls, prior: Prior, courses: int) -> Self:
        """Nothing known yet."""
        bets = np.exp(prior.log_weights) * prior.at_once
        return cls(prior, np.tile(bets[:, None], courses), np.full(courses, 1 - prior.at_once), np.zeros(courses))

    def advance(self, courses: Ints, log_lr: Floats, minutes: float) -> None:
        """One step of those courses, which pays the bets (G, n): `wealth.advance`."""
        clock, reserve = self.clock[courses], self.reserve[courses]
        later = clock + minutes
        before, after = (clock / self.prior.half_life) ** 2, (later / self.prior.half_life) ** 2
        placed = reserve * (after - before) / (1 + after)
        started = np.exp(np.minimum(log_lr, LARGEST_STEP))
        started *= self.started[:, courses]
        started += np.exp(self.prior.log_late_weights)[:, None] * placed
        self.started[:, courses] = np.minimum(started, LARGEST_WORTH, out=started)
        self.reserve[courses], self.clock[courses] = reserve - placed, later

    def scale(self, courses: Ints, by: Floats) -> None:
        """Multiply those courses' bets by these factors (n,)."""
        self.started[:, courses] *= by

    def cap(self, courses: Ints, log_cap: float | Floats) -> None:
        """Scale the bets down so that the book is worth exp(`log_cap`) at most, as `Ledger.cap` does."""
        excess = self.log_e(courses) - log_cap
        over = excess > 0
        if over.any():
            self.scale(courses[over], np.exp(-excess[over]))

    def cut(self, courses: Ints, log_caps: float | Floats) -> None:
        """Give up what is beyond exp(`log_caps`) (n,): `judging.cut`."""
        room = np.maximum(np.exp(log_caps) - self.reserve[courses], 0.0)
        bets = self.started[:, courses].sum(axis=0)
        self.scale(courses, np.divide(room, bets, out=np.ones(len(courses)), where=bets > room))

    def logs(self, courses: Ints) -> tuple[Floats, Floats]:
        """The logs of what those courses' bets (n, G) and reserves (n,) are worth."""
        with np.errstate(divide="ignore"):
            return np.ascontiguousarray(np.log(self.started[:, courses]).T), np.log(self.reserve[courses])

    def log_e(self, courses: Ints) -> Floats:
        """The log evidence of those courses."""
        return np.asarray(np.log(self.started[:, courses].sum(axis=0) + self.reserve[courses]))


@dataclass
class Lure:
    """Which bet of the `book` each course is led to (courses,), and from which minute on; infinity for never."""

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
        return cls(Books.start(prior, size), np.where(late, later, early), onset)

    def now(self, courses: Ints) -> Ints:
        """The bet that each course is led to by now; −1 for none."""
        return np.where(self.onset[courses] <= self.book.clock[courses], self.bet[courses], -1)

    def pay(self, courses: Ints, log_lr: Floats, minutes: float) -> None:
        """By how much likelier each bet (G, n) made what these courses saw in so many minutes."""
        self.book.advance(courses, log_lr, minutes)

    def log_odds(self, courses: Ints) -> Floats:
        """The log of how much likelier what they saw is where courses are led than where none is."""
        return self.book.log_e(courses)
