"""Rules that are told what no real rule can know: how fast a count gate could be at all.

The limit ln(1/α)/I is for evidence that comes in drops, but a look comes once a minute and events bring leaps; and a
rule that does not know what is coming must spread its chance of a false rollback over all that may come. Three rules
measure what that costs, each at exactly the level `alpha` over the day:

* `knows` is told the harm's size and minute. Of all rules that look once a minute, the likelihood ratio test with the
  threshold that just keeps α is fastest (Chow, Robbins and Siegmund, "Great Expectations", 1971; the conditional ratio
  is that of the least favourable base rate, so no rule that holds for every base rate can do better).
* `knows_but_when` is told the size, and that any minute of the day is as likely: Shiryaev and Roberts' sum of the
  likelihood ratios from every minute on, whose delay averaged over the minutes no rule undercuts (Pollak and
  Tartakovsky, "Optimality properties of the Shiryaev–Roberts procedure", Statistica Sinica 2009).
* `knows_which` is told that there is one of a few harms, and adds up their likelihood ratios: the mixture that a gate
  for exactly these would be, with nothing kept for any other size.

Counts are (streams, minutes) of control's exposures and events, then treatment's.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from tests.unit.gates.streams import Streams, World, simulate
from tools.gates.counts import null_share
from tools.gates.wealth import Floats, log_sum

Counted = tuple[Floats, Floats, Floats, Floats]
DAY = 24 * 60
NULL_STREAMS, NULL_SEED = 3000, 77_000
# What a rule puts on each harm that it is told of: as much on any at once, and twice that on one at an unknown minute.
WHICH = (1.5, 2.0, 5.0)
LATE_ONE = 2.0
SHARES = np.log(np.array([0.2, 0.2, 0.2, 0.4]))


def counted(streams: Streams) -> Counted:
    """The streams' counts as numbers to calculate with."""
    return (
        streams.control_exposures.astype(float),
        streams.control_events.astype(float),
        streams.treatment_exposures.astype(float),
        streams.treatment_events.astype(float),
    )


def knows(world: World, counts: Counted, alpha: float) -> Floats:
    """First minutes of the rule that knows size and onset.

    The chance that it ever alarms without harm is the mean of 1 / likelihood ratio at the alarm, with harm.
    """
    arms = tuple(arm[:, world.onset :] for arm in counts)
    log_lr = np.cumsum(_gained(arms, world.ratio), axis=1)
    low, high = 0.0, -math.log(alpha)
    for _ in range(40):
        middle = (low + high) / 2
        minutes = _reached(log_lr, middle)
        found = np.isfinite(minutes)
        last = log_lr[np.nonzero(found)[0], minutes[found].astype(int) - 1]
        low, high = (middle, high) if np.exp(-last).sum() / len(minutes) > alpha else (low, middle)
    return _reached(log_lr, high) + world.onset


def knows_but_when(world: World, counts: Counted, alpha: float) -> Floats:
    """First minutes of the rule that knows the size."""
    return _reached(_from_any_minute(counts, world.ratio), _levels(_calm(world), world.ratio)(alpha))


def knows_which(world: World, counts: Counted, alpha: float) -> Floats:
    """First minutes of the rule that knows that it is ×1.5, ×2 or ×5 at once, or ×2 at some minute of the day."""
    return _reached(_one_of_them(counts), _levels(_calm(world), None)(alpha))


def _calm(world: World) -> World:
    return replace(world, ratio=1.0, before=1.0, onset=0)


class _Levels:
    """The highest evidence of each day without harm."""

    def __init__(self, peaks: Floats) -> None:
        self._peaks = peaks

    def __call__(self, alpha: float) -> float:
        return float(np.quantile(self._peaks, 1 - alpha))


@lru_cache(maxsize=8)
def _levels(calm: World, ratio: float | None) -> _Levels:
    days = counted(simulate(calm, NULL_STREAMS, DAY, NULL_SEED))
    evidence = _one_of_them(days) if ratio is None else _from_any_minute(days, ratio)
    return _Levels(evidence.max(axis=1))


def _one_of_them(counts: Counted) -> Floats:
    at_once = [np.cumsum(_gained(counts, ratio), axis=1) for ratio in WHICH]
    late = _from_any_minute(counts, LATE_ONE) - math.log(DAY)
    return log_sum(np.stack([*at_once, late], axis=-1) + SHARES)


def _from_any_minute(counts: Counted, ratio: float) -> Floats:
    """The log of the sum over all minutes s so far of the likelihood ratio from s on."""
    gained = _gained(counts, ratio)
    summed, answer = np.full(len(gained), -np.inf), np.empty_like(gained)
    for minute in range(gained.shape[1]):
        summed = np.logaddexp(0.0, summed) + gained[:, minute]
        answer[:, minute] = summed
    return answer


def _gained(counts: Sequence[Floats], ratio: float) -> Floats:
    control, control_events, treatment, hits = counts
    share = null_share(1.0, control, treatment)
    return np.asarray(hits * math.log(ratio) - (hits + control_events) * np.log1p(share * (ratio - 1)))


def _reached(evidence: Floats, level: float) -> Floats:
    reached = evidence >= level
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)
