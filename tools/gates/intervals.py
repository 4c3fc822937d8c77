"""How far what is shown may lie from the truth, at every moment at once: for looking at, not for deciding."""

import math

from tools.gates.histograms import layout
from tools.gates.latency import LatencyEvidence, LatencyTest, check_same_test
from tools.gates.means import refuting, relative_information
from tools.gates.scores import FINEST_SPREAD

TIGHTEST_AT = 1000
"""Exposures at which the interval is at its narrowest for its level."""
FEWEST_LATENCIES = 50
"""Treatment requests from which on a mean of latencies is taken to be normal."""


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


def latency_interval(
    test: LatencyTest, evidence: LatencyEvidence, *, alpha: float = 0.05
) -> tuple[float, float] | None:
    """Bounds on how much slower treatment is than control, as a ratio; each holds for ever with 1 − `alpha`.

    The gate decides by bets of its own, which see more than this. These are bounds for the estimate that is shown: with
    sums the ratio of the means, whose noise when treatment is ρ times as slow is ρ²·σ²·φ/weight with control's variance
    σ²; from buckets alone the ratio of typical latencies, with the variance of the log middles, and nothing said of
    where inside their buckets requests are. The ratios are those that the e-value of a mean (`tools.gates.means`) has
    not refuted. None before FEWEST_LATENCIES treatment requests, and while nothing bounds them. Raises BadEvidence when
    `evidence` is of another test.
    """
    check_same_test(test, evidence)
    treatment, control, weight = evidence.matched
    past = evidence.past
    if evidence.treatment < FEWEST_LATENCIES or not weight or not float(past.requests):
        return None
    z = refuting(alpha, relative_information(weight, test.dispersion))
    if test.sums:
        half = z * math.sqrt(test.dispersion * float(past.variance) / weight)
        slower, faster = treatment / weight, control / weight
        return None if faster <= half or slower <= 0 else (slower / (faster + half), slower / (faster - half))
    middles = layout(test.edges).log_middle
    centre = float((past.shares * middles).sum())
    variance = float((past.shares * (middles - centre) ** 2).sum())
    half = z * math.sqrt(test.dispersion * max(variance, FINEST_SPREAD**2) / weight)
    shift = (treatment - control) / weight
    return math.exp(shift - half), math.exp(min(shift + half, 700.0))
