"""The betting book that every test here keeps: a mixture over effect sizes and over times at which they start.

A test bets against its null hypothesis. Each bet is on one effect size, `started` holds what each is
worth now, and `reserve` is the money not yet placed. After each interval a little of the reserve is placed afresh, so
that a harm that starts late meets bets that have not been lost by then. Money is never added, each bet is fair or
worse when the null is true, so the total is an e-process: the chance that it *ever* reaches 1/α is at most α (Ville),
however often it is looked at. The mixture is the method of Robbins (1970) with the late starts of Shiryaev; see also
Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference" (2023).

Everything is in logs. The array functions take any leading shape, so that many guardrails can be advanced at once.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tools.errors import InvalidInput

Floats = NDArray[np.float64]

# How fast the reserve is placed: half of it by this much information, half of what is left by thrice that, and so on.
# Found by simulation, as the priors below are; any other value would be as valid, only slower.
RESERVE_HALF_LIFE = 100.0
LARGEST_LOG_E = float(np.log(1e12))


class BadEvidence(InvalidInput):
    """Stored evidence can't be used: it is damaged, of another version, or of another test."""


@dataclass(frozen=True)
class Prior:
    """Where the money goes.

    Effect sizes as `factors` away from the null (each > 1), shape (G,); the log of the share of the money on each (they
    sum to 1), shape (G,); and how much of it is placed `at_once`, the rest being the reserve.
    """

    factors: Floats
    log_weights: Floats
    at_once: float

    @classmethod
    def around(cls, typical: float, *, far: float, at_once: float) -> Self:
        """Most money near the factor `typical`, and the share `far` of it on factors from its square to 8 and beyond.

        Near: a normal in the log of the factor, of sd 0.3 log `typical`. Far: evenly on the log of the log.
        """
        centre = np.log(typical)
        steps = np.linspace(-2.0, 2.2, 10)
        near = np.exp(-0.5 * steps**2)
        distant = np.geomspace(2 * centre, max(np.log(8), 4 * centre), 6)
        logs = np.concatenate([centre * (1 + 0.3 * steps), distant])
        weights = np.concatenate([(1 - far) * near / near.sum(), np.full(len(distant), far / len(distant))])
        return cls(np.exp(logs), np.log(weights), at_once)


def log_total(log_started: Floats, log_reserve: Floats) -> Floats:
    """The log e-value: all the money there is. Shapes (..., G) and (...) give (...)."""
    peak = np.maximum(log_started.max(axis=-1), log_reserve)
    return np.asarray(peak + np.log(np.exp(log_started - peak[..., None]).sum(axis=-1) + np.exp(log_reserve - peak)))


def advance(
    log_weights: Floats, log_started: Floats, log_reserve: Floats, clock: Floats, log_lr: Floats, information: Floats
) -> tuple[Floats, Floats, Floats]:
    """One interval: pay out the bets, then place a part of the reserve.

    `log_lr` (..., G) is each bet's log likelihood ratio in this interval; `information` (...) is how far it moves the
    clock: the variance of treatment's events under the null, so that shares, traffic and the length of an interval do
    not matter. What is placed now is at risk only from the next interval on, which keeps the placing predictable.
    Returns the new (log_started, log_reserve, clock).
    """
    log_kept = np.log(RESERVE_HALF_LIFE + clock) - np.log(RESERVE_HALF_LIFE + clock + information)
    with np.errstate(divide="ignore"):
        log_placed = log_reserve + np.log(-np.expm1(log_kept))
    started = np.logaddexp(log_started + log_lr, log_weights + log_placed[..., None])
    return started, log_reserve + log_kept, clock + information


@dataclass(frozen=True)
class Wealth:
    """One question's book: log worth of each bet, log of the reserve, and the information seen."""

    log_started: tuple[float, ...]
    log_reserve: float
    clock: float

    @classmethod
    def start(cls, prior: Prior) -> Self:
        """A total of 1, of which `prior.at_once` is placed."""
        placed = prior.log_weights + np.log(prior.at_once)
        return cls(tuple(placed.tolist()), float(np.log1p(-prior.at_once)), 0.0)

    def advance(self, prior: Prior, log_lr: Floats, information: float) -> Self:
        """The book after one interval; see the module's `advance`."""
        started, reserve, clock = advance(
            prior.log_weights,
            np.array(self.log_started),
            np.array(self.log_reserve),
            np.array(self.clock),
            log_lr,
            np.array(information),
        )
        return type(self)(tuple(started.tolist()), float(reserve), float(clock))

    def capped(self, log_cap: float) -> Self:
        """The same book with its bets scaled down so that they hold at most exp(log_cap); giving money away is fair."""
        excess = self.log_e - log_cap
        if excess <= 0:
            return self
        return type(self)(tuple(log - excess for log in self.log_started), self.log_reserve, self.clock)

    @property
    def log_e(self) -> float:
        """The log e-value."""
        return float(log_total(np.array(self.log_started), np.array(self.log_reserve)))

    def to_json(self) -> list[Any]:
        """`[log_started, log_reserve, clock]`, exact."""
        return [list(self.log_started), self.log_reserve, self.clock]

    @classmethod
    def from_json(cls, plain: Any, prior: Prior) -> Self:
        """What `to_json` wrote for this prior. Raises BadEvidence for anything else."""
        try:
            started, reserve, clock = plain
            wealth = cls(tuple(float(log) for log in started), float(reserve), float(clock))
        except (TypeError, ValueError) as error:
            raise BadEvidence(f"Stored evidence is damaged ({error}); start new evidence.") from error
        if len(wealth.log_started) != len(prior.factors):
            raise BadEvidence("Stored evidence has bets that this version does not know; start new evidence.")
        if not np.isfinite([*wealth.log_started, wealth.log_reserve, wealth.clock]).all():
            raise BadEvidence("Stored evidence holds numbers that are not finite; start new evidence.")
        return wealth
