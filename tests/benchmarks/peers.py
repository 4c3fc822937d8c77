"""What other rollout tools decide, as rules over many simulated streams at once.

Written from what the tools document, for one metric (errors per request) with one look a minute. Each rule takes
`Traffic` and answers with the 1-based minute of its first alarm per stream, infinity where there is none.

Sources: Flagger, "Canary analysis" (docs.flagger.app/usage/how-it-works; a check fails when the value of the last
interval is out of range, and the canary is rolled back at `threshold` failed checks, which a passed one does not undo);
Argo Rollouts, "Analysis & progressive delivery" (argo-rollouts.readthedocs.io; aborts when more than `failureLimit`
measurements failed); Kayenta, "canary-config" and its NetflixACAJudge (Mann-Whitney, 98 % confidence interval, High
when its lower end is beyond a quarter of the Hodges-Lehmann estimate; canary against a baseline of the same size);
GrowthBook, "Safe Rollouts" (docs.growthbook.io/app/features/safe-rollouts; one-sided asymptotic confidence sequence,
Waudby-Smith et al., arXiv 2103.06476, tuned to 5,000 units); Lindon and Malek, "Anytime-valid inference for multinomial
count data" (arXiv 2011.03567; as in the package savvi: Dirichlet of 100 around the fixed share).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from tests.unit.gates.streams import Ints, Streams
from tools.gates.wealth import Floats

EVERY_PEER_ALPHA = 0.05
SMALLEST_SHIFT = 1e-9
Rule = Callable[["Traffic"], Floats]


@dataclass(frozen=True)
class Traffic:
    """Streams by minute, and what rules derive from them; all arrays are (streams, minutes)."""

    streams: Streams
    seed: int = 0

    @cached_property
    def sample(self) -> tuple[Ints, Ints]:
        """Requests and errors of a random part of control as large as treatment."""
        counts = self.streams
        size = np.minimum(counts.treatment_exposures, counts.control_exposures)
        rng = np.random.default_rng([self.seed, 7])
        good = counts.control_exposures - counts.control_events
        return size, rng.hypergeometric(counts.control_events, good, size)

    @cached_property
    def totals(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Treatment's requests and errors and control's, each since the start."""
        counts = self.streams
        return (
            _since_start(counts.treatment_exposures),
            _since_start(counts.treatment_events),
            _since_start(counts.control_exposures),
            _since_start(counts.control_events),
        )

    def first(self, count: int) -> "Traffic":
        """The first so many streams."""
        part = {name: getattr(self.streams, name)[:count] for name in Streams.__dataclass_fields__}
        return Traffic(Streams(**part), self.seed)


def flagger(threshold: int, *, most: float = 0.01) -> Rule:
    """Error rate of the last minute above `most`, so many times in all."""

    def rule(traffic: Traffic) -> Floats:
        counts = traffic.streams
        failed = _rate(counts.treatment_events, counts.treatment_exposures) > most
        return _first(np.cumsum(failed, axis=1) >= threshold)

    return rule


def argo(failure_limit: int, *, most: float | None = None, relative: float | None = None, every: int = 5) -> Rule:
    """Error rate of `every` minutes above `most`, or above `relative` × stable's, more often than the limit."""

    def rule(traffic: Traffic) -> Floats:
        counts = traffic.streams
        canary = _rate(_last(counts.treatment_events, every), _last(counts.treatment_exposures, every))
        if relative is None:
            failed = canary > (most or 0.0)
        else:
            failed = canary > relative * _rate(
                _last(counts.control_events, every), _last(counts.control_exposures, every)
            )
        measured = np.arange(1, canary.shape[1] + 1) % every == 0
        return _first(np.cumsum(failed & measured, axis=1) > failure_limit)

    return rule


def kayenta(every: int, *, confidence: float = 0.98, tolerance: float = 0.25) -> Rule:
    """Mann-Whitney on the minutes' error rates so far, judged every so many minutes."""
    needed = NormalDist().inv_cdf((1 + confidence) / 2)

    def rule(traffic: Traffic) -> Floats:
        counts = traffic.streams
        size, hits = traffic.sample
        canary, baseline = _rate(counts.treatment_events, counts.treatment_exposures), _rate(hits, size)
        answers = np.full(len(canary), np.inf)
        for stream, (ours, theirs) in enumerate(zip(canary, baseline, strict=True)):
            for minute in range(every, len(ours) + 1, every):
                if _beyond(ours[:minute], np.sort(theirs[:minute]), needed, tolerance):
                    answers[stream] = minute
                    break
        return answers

    return rule


def _beyond(canary: Floats, baseline: Floats, needed: float, tolerance: float) -> bool:
    """Whether the shift's confidence interval lies wholly beyond `tolerance` × its estimate."""
    # Where most minutes have no error, any shift above 0 puts the canary below: estimate and interval end at 0.
    if _mann_whitney(canary, baseline, 0.0) <= needed or _mann_whitney(canary, baseline, SMALLEST_SHIFT) <= 0:
        return False
    low, high = SMALLEST_SHIFT, float(canary.max() - baseline[0])
    for _ in range(30):  # the Hodges-Lehmann estimate is the shift at which the statistic is 0
        middle = (low + high) / 2
        low, high = (middle, high) if _mann_whitney(canary, baseline, middle) > 0 else (low, middle)
    return _mann_whitney(canary, baseline, tolerance * low) > needed


def _mann_whitney(canary: Floats, baseline: Floats, shift: float) -> float:
    """Normal score of the rank sum of `canary` less `shift` over the sorted `baseline`, with ties and continuity."""
    number, moved = len(canary), canary - shift
    below, upto = np.searchsorted(baseline, moved, "left"), np.searchsorted(baseline, moved, "right")
    excess = float((below + upto).sum()) / 2 - number * number / 2
    ties = np.unique(np.concatenate([moved, baseline]), return_counts=True)[1].astype(float)
    both = 2 * number
    variance = number * number / 12 * (both + 1 - float((ties**3 - ties).sum()) / (both * (both - 1)))
    return (excess - 0.5 * float(np.sign(excess))) / math.sqrt(max(variance, 1e-12))


def z_test(*, alpha: float = EVERY_PEER_ALPHA, least: int = 100) -> Rule:
    """The one-sided test of two shares that is made for one look, from `least` canary requests on."""
    needed = NormalDist().inv_cdf(1 - alpha)

    def rule(traffic: Traffic) -> Floats:
        canary, hits, control, control_hits = traffic.totals
        pooled = _rate(hits + control_hits, canary + control)
        variance = pooled * (1 - pooled) * (1 / np.maximum(canary, 1) + 1 / np.maximum(control, 1))
        difference = _rate(hits, canary) - _rate(control_hits, control)
        return _first((difference > needed * np.sqrt(variance)) & (difference > 0) & (canary >= least))

    return rule


def growthbook(*, half: bool = False, alpha: float = EVERY_PEER_ALPHA, tuned_to: float = 5000) -> Rule:
    """The lower end of the confidence sequence above 0; `half` takes an equally large part of control only."""

    def rule(traffic: Traffic) -> Floats:
        canary, hits, control, control_hits = traffic.totals
        if half:
            size, sampled = traffic.sample
            control, control_hits = _since_start(size), _since_start(sampled)
        rate, base = _rate(hits, canary), _rate(control_hits, control)
        variance = rate * (1 - rate) / np.maximum(canary, 1) + base * (1 - base) / np.maximum(control, 1)
        return above_sequence(rate - base, variance, canary + control, alpha=alpha, tuned_to=tuned_to)

    return rule


def above_sequence(
    difference: Floats, variance: Floats, units: Floats, *, alpha: float = EVERY_PEER_ALPHA, tuned_to: float = 5000
) -> Floats:
    """When the one-sided confidence sequence of a difference of means lies above 0; `variance` is the difference's."""
    log_term = -2 * math.log(2 * alpha)
    grown = units * (log_term + math.log(log_term + 1)) / tuned_to + 1
    width = np.sqrt(2 * grown / np.maximum(grown - 1, 1e-9) * np.log1p(np.sqrt(grown) / (2 * alpha)) * variance)
    return _first((difference > width) & (difference > 0))


def lindon_malek(*, alpha: float = EVERY_PEER_ALPHA, concentration: float = 100) -> Rule:
    """The Bayes factor of "errors fall on the canary as a beta says" over "as its share", looked at from above."""

    def rule(traffic: Traffic) -> Floats:
        canary, hits, control, control_hits = traffic.totals
        share = float(canary[:, -1].sum() / (canary[:, -1] + control[:, -1]).sum())
        first, second = concentration * share, concentration * (1 - share)
        log_factor = _log_beta(first + hits, second + control_hits) - _log_beta(np.array(first), np.array(second))
        log_factor -= hits * math.log(share) + control_hits * math.log(1 - share)
        return _first((log_factor >= -math.log(alpha)) & (hits > share * (hits + control_hits)))

    return rule


PEERS: Mapping[str, Rule] = {
    "Flagger >1 %, 5 failed": flagger(5),
    "Flagger >1 %, 10 failed": flagger(10),
    "Argo >5 %, limit 3": argo(3, most=0.05),
    "Argo >1 %, limit 3": argo(3, most=0.01),
    "Argo >2× stable, limit 3": argo(3, relative=2.0),
    "Kayenta, hourly": kayenta(60),
    "Kayenta, every 5 min": kayenta(5),
    "z-test every minute": z_test(),
    "GrowthBook one-sided": growthbook(),
    "GrowthBook 50/50": growthbook(half=True),
    "Lindon-Malek (savvi)": lindon_malek(),
}
SLOW = frozenset({"Kayenta, hourly", "Kayenta, every 5 min"})


def _since_start(counts: Ints) -> Floats:
    return np.cumsum(counts, axis=1, dtype=float)


def _last(counts: Ints, minutes: int) -> Floats:
    total = _since_start(counts)
    earlier = np.zeros_like(total)
    earlier[:, minutes:] = total[:, :-minutes]
    return total - earlier


def _rate(events: Ints | Floats, exposures: Ints | Floats) -> Floats:
    return np.asarray(events / np.maximum(exposures, 1))


def _first(alarm: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Floats:
    return np.where(alarm.any(axis=1), alarm.argmax(axis=1) + 1.0, np.inf)


def _log_beta(first: Floats, second: Floats) -> Floats:
    return np.asarray(_log_gamma(first) + _log_gamma(second) - _log_gamma(first + second))


def _log_gamma(number: Floats) -> Floats:
    """Stirling's series eight steps further up, and back by the recurrence; exact to 1e-12 for `number` > 0."""
    shifted = number + 8
    series = (shifted - 0.5) * np.log(shifted) - shifted + 0.5 * math.log(2 * math.pi)
    series += 1 / (12 * shifted) - 1 / (360 * shifted**3) + 1 / (1260 * shifted**5)
    product = number * (number + 1) * (number + 2) * (number + 3)
    product = product * (number + 4) * (number + 5) * (number + 6) * (number + 7)
    return np.asarray(series - np.log(product))
