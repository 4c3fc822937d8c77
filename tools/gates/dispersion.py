"""How bursty control's events are.

Events come in bursts when one user makes many requests. Then counts vary more than chance alone would have them, and a
test that does not know it takes bursts for harm. Small bursts are told from none by many short intervals, lasting ones
by intervals that are longer than they are: a long past is looked at in both (`widths`), and the larger answer counts.

Control's own counts during a rollout are not asked: what shakes both arms alike, an outage say, looks there as bursts
do, and a gate that came to reckon with more of them would be blind to harm for as long as it remembers, though between
the arms it cancels out (a shared outage of half an hour had it promote a treatment five times worse).

From one interval to the next a rate moves by chance: for exposures n, m and events x, y the square of x/n - y/m, times
nm/(n + m), is on average the rate itself, (x + y)/(n + m), times the dispersion. Summed up over the intervals the one
over the other is the estimate, which a base rate that drifts slowly hardly moves.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tools.gates.judging import Counts
from tools.gates.wealth import Floats

Settled = Callable[[float | Floats, float | Floats, int], Floats]
"""What to reckon with, by an estimate, its standard error, and the number of differences that it is from."""

ENOUGH = 200
"""Fewer differences than this are too few to rule bursts out: among 40, bursts of two events often look like none."""


def widths(intervals: int) -> tuple[int, ...]:
    """How many of so many intervals to take together: each alone, and the most that leave ENOUGH differences."""
    widest = intervals // (ENOUGH + 1)
    return (1, widest) if widest > 1 else (1,)


def estimate_dispersion(control: Sequence[Counts]) -> float:
    """The variance of control's counts over that of independent events, at least 1; `control` in order of time.

    From differences of successive intervals, so that a base rate that drifts slowly does not count as bursts. Where
    there are bursts, or too few intervals to rule them out, one standard error is added, because an estimate that is
    too low costs false alarms; otherwise it is 1, because one that is too high by chance costs time. Intervals without
    exposures are left out. 1 also when there is nothing to tell from: fewer than two intervals, or no event.

    Give it control's or past counts only: an estimate that has seen treatment would hide the harm it is to find.
    """
    counted = np.array([arm.to_json() for arm in control if arm.exposures], float).reshape(-1, 2)
    return float(dispersions(*counted.T)) if len(counted) > 1 else 1.0


def dispersions(exposures: Floats, events: Floats) -> Floats:
    """As `estimate_dispersion`, of many streams at once, (..., intervals) each; all have exposures."""
    before, after = exposures[..., :-1], exposures[..., 1:]
    expected = (events[..., :-1] + events[..., 1:]) / (before + after)
    steps = np.diff(events / exposures, axis=-1) ** 2 * (before * after / (before + after))
    return cautious(*beyond_chance(steps, expected), steps.shape[-1])


def beyond_chance(steps: Floats, expected: Floats) -> tuple[Floats, Floats]:
    """By how much squares of neighbours' differences (..., N) are larger than chance has them, and its standard error.

    1 and 0 where chance has none of them.
    """
    whole = expected.sum(axis=-1)
    some = whole > 0
    estimate = np.where(some, steps.sum(axis=-1) / np.where(some, whole, 1.0), 1.0)
    surprise = steps - estimate[..., None] * expected
    variance = (surprise**2).sum(axis=-1)
    variance += 2 * (surprise[..., 1:] * surprise[..., :-1]).sum(axis=-1)  # neighbours share an interval
    return estimate, np.where(some, np.sqrt(np.maximum(variance, 0.0)) / np.where(some, whole, 1.0), 0.0)


def cautious(estimate: float | Floats, error: float | Floats, differences: int) -> Floats:
    """The dispersion to reckon with: 1 where enough differences show no bursts, else one standard error is added."""
    none = (differences >= ENOUGH) & (np.asarray(estimate) <= 1 + 2 * np.asarray(error))
    return np.where(none, 1.0, np.maximum(1.0, np.asarray(estimate) + np.asarray(error)))


def surely(estimate: float | Floats, error: float | Floats, differences: int) -> Floats:
    """The dispersion to make up a past with: 1 where it may be chance. More would be harm that nobody did."""
    return np.where(np.asarray(estimate) <= 1 + 2 * np.asarray(error), 1.0, np.maximum(1.0, np.asarray(estimate)))
