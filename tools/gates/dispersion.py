"""How bursty control's events are.

Events come in bursts when one user makes many requests. Then counts vary more than chance alone would have them, and a
test that does not know it takes bursts for harm.
"""

from collections.abc import Sequence

import numpy as np

from tools.gates.judging import Counts

# Fewer differences than this are too few to call control's events independent.
ENOUGH = 30


def estimate_dispersion(control: Sequence[Counts]) -> float:
    """The variance of control's counts over that of independent events, at least 1; `control` in order of time.

    From differences of successive intervals, so that a base rate that drifts slowly does not count as bursts. Where
    there are bursts, or too few intervals to rule them out, one standard error is added, because an estimate that is
    too low costs false alarms; otherwise it is 1, because one that is too high by chance costs time. Intervals without
    exposures are left out. 1 also when there is nothing to tell from: fewer than two intervals, or no event.

    Give it control's or past counts only: an estimate that has seen treatment would hide the harm it is to find.
    """
    counted = [(arm.exposures, arm.events) for arm in control if arm.exposures]
    exposures, events = np.array(counted, float).reshape(-1, 2).T
    if not events.any() or len(events) < 2:
        return 1.0
    steps = np.diff(events / exposures) ** 2
    pooled = (events[1:] + events[:-1]) / (exposures[1:] + exposures[:-1])
    expected = pooled * (1 / exposures[1:] + 1 / exposures[:-1])
    estimate = steps.sum() / expected.sum()
    surprise = steps - estimate * expected
    variance = (surprise**2).sum() + 2 * (surprise[1:] * surprise[:-1]).sum()  # neighbours share an interval
    error = np.sqrt(max(variance, 0.0)) / expected.sum()
    if len(steps) >= ENOUGH and estimate <= 1 + 2 * error:
        return 1.0
    return max(1.0, float(estimate + error))
