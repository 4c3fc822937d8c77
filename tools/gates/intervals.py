"""How far a rate may lie from what was counted, at every moment at once: for looking at, not for deciding."""

import math

TIGHTEST_AT = 1000
"""Exposures at which the interval is at its narrowest for its level."""


def rate_interval(exposures: int, events: int, *, dispersion: float = 1.0, alpha: float = 0.05) -> tuple[float, float]:
    """The lowest and highest rate in events per exposure, of a confidence sequence: all of them hold with 1 − `alpha`.

    The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (arXiv 2103.06476, two-sided)
    around the counted rate, whose variance takes half an event more, so that a rate of nought has an interval too.
    Without exposures nothing is known: (0, 1).
    """
    if exposures <= 0:
        return 0.0, 1.0
    rate, doubtful = events / exposures, (events + 0.5) / (exposures + 1)
    spread = -2 * math.log(alpha)
    rho = (spread + math.log1p(spread)) / TIGHTEST_AT
    seen = exposures / dispersion
    scale = 2 * (seen * rho + 1) / (seen**2 * rho) * math.log(math.sqrt(seen * rho + 1) / alpha)
    half = math.sqrt(doubtful * (1 - doubtful) * scale)
    return max(rate - half, 0.0), min(rate + half, 1.0)
