"""How far what is shown may lie from the truth, at every moment at once: for looking at, not for deciding."""

import math
from collections.abc import Callable

from tools.gates.latency import LatencyEvidence, LatencyTest, check_same_test, spread_of_control
from tools.gates.means import refuting, relative_information

JEFFREYS = 0.5
"""Both parameters of the beta distribution that mixes over the rates: the one that no rate is far from (Jeffreys)."""
HALVINGS = 44
FEWEST_LATENCIES = 50
"""Treatment requests from which on a mean of latencies is taken to be normal."""


def rate_interval(exposures: int, events: int, *, dispersion: float = 1.0, alpha: float = 0.05) -> tuple[float, float]:
    """The lowest and highest rate in events per exposure, of a confidence sequence: all of them hold with 1 − `alpha`.

    The rates that the beta mixture of their likelihood ratios has not refuted (Robbins 1970; Lai 1976, "On confidence
    sequences"): exact from the first exposure on where each happens or not by itself, and where events come
    `dispersion` at a time. Without exposures nothing is known: (0, 1).
    """
    if exposures <= 0:
        return 0.0, 1.0
    happened, not_happened = events / dispersion, (exposures - events) / dispersion
    rate = events / exposures
    mixed = _log_beta(happened + JEFFREYS, not_happened + JEFFREYS) - _log_beta(JEFFREYS, JEFFREYS)

    def refuted(other: float) -> bool:
        likelihood = _times_log(happened, other) + _times_log(not_happened, 1 - other)
        return mixed - likelihood >= -math.log(alpha)

    return _edge(rate, 0.0, refuted), _edge(rate, 1.0, refuted)


def _edge(inside: float, outside: float, refuted: Callable[[float], bool]) -> float:
    """The rate nearest `inside` from which on all are refuted towards `outside`, or that."""
    if not refuted(outside):
        return outside
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if refuted(middle) else (middle, outside)
    return outside


def _log_beta(first: float, second: float) -> float:
    return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)


def _times_log(times: float, chance: float) -> float:
    """`times` · ln `chance`, where what never happens may be impossible."""
    if times == 0:
        return 0.0
    return times * math.log(chance) if chance > 0 else -math.inf


def latency_interval(
    test: LatencyTest, evidence: LatencyEvidence, *, alpha: float = 0.05
) -> tuple[float, float] | None:
    """Bounds on how much slower treatment is than control, as a ratio; each holds for ever with 1 − `alpha`.

    The gate decides by bets of its own, which see more than this. These are bounds for the estimate that is shown: with
    sums the ratio of the means, whose noise when treatment is ρ times as slow is ρ²·σ²·φ/weight with the larger of the
    arms' variances σ², treatment's in control's unit; from buckets alone the ratio of typical latencies, with the
    variance of the log middles, and nothing said of where inside their buckets requests are. The ratios are those that
    the e-value of a mean (`tools.gates.means`) has not refuted. None before FEWEST_LATENCIES treatment requests, and
    while nothing bounds them. Raises BadEvidence when `evidence` is of another test.
    """
    check_same_test(test, evidence)
    matched, of_control, of_treatment = evidence.matched, spread_of_control(test, evidence), evidence.served.variance
    treatment, control, weight = matched.treatment, matched.control, matched.weight
    if evidence.treatment < FEWEST_LATENCIES or not weight or not float(evidence.past.requests):
        return None
    z = refuting(alpha, relative_information(weight, test.dispersion))
    if test.sums:
        scaled = of_treatment * (control / treatment) ** 2 if treatment > 0 else 0.0
        half = z * math.sqrt(test.dispersion * max(of_control, scaled) / weight)
        slower, faster = treatment / weight, control / weight
        return None if faster <= half or slower <= 0 else (slower / (faster + half), slower / (faster - half))
    half = z * math.sqrt(test.dispersion * max(of_control, of_treatment) / weight)
    shift = (treatment - control) / weight
    return math.exp(shift - half), math.exp(min(shift + half, 700.0))
