"""What no rule can beat, however it is made: lower bounds by optimal stopping.

`python -m tests.benchmarks.bounds` prints them (about a minute a share). For weights w on a harm that is there from the
start and 1 − w on the same harm from a minute of the day that nobody knows, and for any price c of a false alarm,

    min over all rules of  w · E₁[wait] / aim₁ + (1 − w) · E₂[wait] / aim₂ + c · P₀(alarm in the day)

is the value of a problem of optimal stopping, which backward induction over the day solves: what a rule can know is
in two numbers, the likelihood ratio of the first harm and Shiryaev and Roberts' sum of those of the second. So of every
rule with P₀ ≤ α the worse of its two means, in parts of what is aimed at, is at least that value less c·α (Lagrange's
weak duality; any w and c give a bound, and as it is concave in both the best is sought by golden sections). See
Shiryaev, "On optimum methods in quickest detection problems", 1963, and Lorden, "Structure of optimal tests", 1980.

It is exact but for its grids (STEP in the logs; likelihood ratios stay martingales on them): half of STEP moves a bound
by about a hundredth. One look a minute; a rule is told the traffic, the base rate and the size of the harm.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from tests.benchmarks.references import DAY, limit
from tests.unit.gates.streams import World
from tools.gates.wealth import Floats

STEP = 0.1
LOG_RATIOS, LOG_SUMS = (-8.0, 8.0), (-6.0, 13.0)
"""Where the two numbers are told apart: beyond, all is decided."""
CHEAPEST, DEAREST = 10.0, 3000.0
"""Between which the best price of a false alarm is sought."""
GOLDEN, NARROWINGS = (math.sqrt(5) - 1) / 2, 9
LONGEST_LIMITS = 14
"""After so many limits of a harm from the start it counts as found: its bound can only fall by that."""
RARE = 1e-13
AIM, AIM_LATE = 1.3, 2.3


@dataclass(frozen=True)
class Looks:
    """What one look may do to a log likelihood ratio on days without harm: by how many STEPs, with which chance."""

    moves: tuple[int, ...]
    chances: Floats

    @classmethod
    def of(cls, world: World) -> "Looks":
        """The events of a minute are Poisson, treatment's a binomial part of them."""
        both = world.requests * world.base_rate * (1 + world.share * (world.ratio - 1))
        # Both laws are conditional on all events, which come as often as on days with harm.
        events = np.arange(int(both + 9 * math.sqrt(both)) + 2)
        factorials = np.array([math.lgamma(number + 1) for number in events])
        came = np.exp(events * math.log(both) - both - factorials)
        all_of, hits = np.meshgrid(events, events, indexing="ij")
        possible = hits <= all_of
        left = np.where(possible, all_of - hits, 0)
        log_ways = factorials[all_of] - factorials[hits] - factorials[left]
        log_part = hits * math.log(world.share) + left * math.log1p(-world.share)
        chances = np.where(possible, came[:, None] * np.exp(log_ways + log_part), 0.0).ravel()
        ratios = (hits * math.log(world.ratio) - all_of * math.log1p(world.share * (world.ratio - 1))).ravel()
        return cls._on_grid(ratios[chances > RARE], chances[chances > RARE])

    @classmethod
    def _on_grid(cls, ratios: Floats, chances: Floats) -> "Looks":
        """Each split between its two neighbours so that the mean of the likelihood ratio stays."""
        below = np.floor(ratios / STEP).astype(int)
        low, high = np.exp(below * STEP), np.exp((below + 1) * STEP)
        upper = (np.exp(ratios) - low) / (high - low)
        first = int(below.min())
        found = np.zeros(int(below.max()) - first + 2)
        np.add.at(found, below - first, chances * (1 - upper))
        np.add.at(found, below - first + 1, chances * upper)
        kept = np.flatnonzero(found > RARE)
        return cls(tuple((kept + first).tolist()), found[kept] / found[kept].sum())


@dataclass(frozen=True)
class Problem:
    """The two harms of one size, each with a wait in minutes that is aimed at, and the level over the day."""

    looks: Looks
    at_once: float
    late: float
    alpha: float
    at_once_until: int

    @classmethod
    def of(cls, world: World, aims: tuple[float, float], alpha: float) -> "Problem":
        """Of a world with harm; `aims` in parts of its limit."""
        least = limit(world, alpha)
        until = min(DAY, round(LONGEST_LIMITS * least) + 10)
        return cls(Looks.of(world), aims[0] * least, aims[1] * least, alpha, until)

    def late_alone(self) -> float:
        """No rule has a smaller mean wait for the late harm, in parts of what is aimed at."""
        return _highest(self._bound_late, math.log(CHEAPEST), math.log(DEAREST))[0]

    def _bound_late(self, log_price: float) -> float:
        price = math.exp(log_price)
        return self._late_value(price) - price * self.alpha

    def both(self) -> float:
        """No rule has the worse of the two smaller, in parts of what is aimed at."""

        def bound(weight: float, log_price: float) -> float:
            price = math.exp(log_price)
            return self._value(weight, price) - price * self.alpha

        found, weight = 0.0, 0.5
        for _ in range(2):
            _, log_price = _highest(partial(bound, weight), math.log(CHEAPEST), math.log(DEAREST))
            found, weight = _highest(partial(lambda price, part: bound(part, price), log_price), 0.05, 0.95)
        return found

    def _late_value(self, price: float) -> float:
        value: Floats = np.zeros(len(SUMS))
        waiting = (1 + np.exp(SUMS)) / (DAY * self.late)
        for _ in range(DAY - 1):
            value = np.minimum(price, waiting + self._ahead_of_late(value))
        return 1 / (DAY * self.late) + float(self._ahead_of_late(value)[0])

    def _value(self, weight: float, price: float) -> float:
        value: Floats = np.zeros(len(SUMS))
        waiting = (1 - weight) * (1 + np.exp(SUMS)) / (DAY * self.late)
        for _ in range(DAY - self.at_once_until):
            value = np.minimum(price, waiting + self._ahead_of_late(value))
        pairs: Floats = np.repeat(value[None], len(RATIOS), axis=0)
        waits = weight * np.exp(RATIOS)[:, None] / self.at_once + waiting[None]
        for _ in range(self.at_once_until):
            pairs = np.minimum(price, waits + self._ahead(pairs))
        return float(pairs[len(RATIOS) // 2, 0])

    def _ahead_of_late(self, value: Floats) -> Floats:
        return self._next_sums @ value

    @cached_property
    def _next_sums(self) -> Floats:
        """From which sum to which one look leads, with which chance."""
        places = np.arange(len(SUMS))
        found = np.zeros((len(SUMS), len(SUMS)))
        for move, chance in zip(self.looks.moves, self.looks.chances, strict=True):
            np.add.at(found, (places, np.clip(places + move, 0, len(SUMS) - 1)), chance)
        return np.asarray(found[_LOWER] * (1 - _UPPER_PART)[:, None] + found[_LOWER + 1] * _UPPER_PART[:, None])

    def _ahead(self, pairs: Floats) -> Floats:
        moved = sum(
            chance * _moved(_moved(pairs, move, 0), move, 1)
            for move, chance in zip(self.looks.moves, self.looks.chances, strict=True)
        )
        return _with_one_more(np.asarray(moved))


def _highest(of: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """The highest value of a concave function between the two, and where it is, nearly."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = of(left), of(right)
    for _ in range(NARROWINGS):
        if at_left > at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = of(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = of(right)
    return max((at_left, left), (at_right, right))


RATIOS = np.arange(LOG_RATIOS[0], LOG_RATIOS[1] + STEP / 2, STEP)
SUMS = np.arange(LOG_SUMS[0], LOG_SUMS[1] + STEP / 2, STEP)
_AFTER = np.clip((np.logaddexp(0, SUMS) - SUMS[0]) / STEP, 0, len(SUMS) - 1.000001)
_LOWER = _AFTER.astype(int)
_UPPER_PART = _AFTER - _LOWER


def _with_one_more(value: Floats) -> Floats:
    """Of each sum what is said of one more than it: the harm may begin with the next look too."""
    return np.asarray(value[..., _LOWER] * (1 - _UPPER_PART) + value[..., _LOWER + 1] * _UPPER_PART)


def _moved(value: Floats, steps: int, axis: int) -> Floats:
    size = value.shape[axis]
    return value.take(np.clip(np.arange(size) + steps, 0, size - 1), axis)


def lines(requests: int, shares: Sequence[float], ratio: float) -> Iterator[str]:
    """What is printed for that traffic."""
    for share in shares:
        world = World(requests=requests, share=share, base_rate=0.005, ratio=ratio)
        late = Problem.of(world, (AIM, 1.0), 0.02).late_alone()
        aims = AIM, max(late, AIM_LATE)
        both = Problem.of(world, aims, 0.02).both()
        yield (
            f"{requests:,}/min, {100 * share:g} %, ×{ratio:g}: late no rule below {late:.2f} limits; ×{aims[0]:g} at "
            f"once and {aims[1]:.2f} late: the worse of them at least {both:.3f} times that"
        )


def main() -> None:
    """Print the bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rpm", type=int, default=6000)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.2, 0.5])
    parser.add_argument("--ratio", type=float, default=2.0)
    options = parser.parse_args()
    for line in lines(options.rpm, options.shares, options.ratio):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
