"""The product's count gate as decision rules over many simulated streams at once.

Each rule takes a dict of per-minute arrays of shape (streams, minutes): `nc`, `ec` treatment's requests and errors,
`nb`, `eb` control's, and `hn`, `he` those of all traffic before the rollout, from which the dispersion is estimated. It
answers with the 1-based minute of its first alarm per stream, infinity where there is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tools.gates.counts import CountTest, log_likelihood_ratios, null_share
from tools.gates.dispersion import estimate_dispersion
from tools.gates.judging import BURN_IN_STAKE, Counts, Direction, harm_prior, safe_prior
from tools.gates.wealth import Floats, Prior, advance, log_total

MARGIN = 2.0


@dataclass(frozen=True)
class Rule:
    """One question of a test: the bets, the factors they are on, the null, and the log evidence that answers it."""

    prior: Prior
    factors: Floats
    null: float
    log_level: float

    @classmethod
    def harm(cls, test: CountTest, alpha: float) -> "Rule":
        """Is treatment worse than control?"""
        prior = harm_prior(test.margin)
        return cls(prior, test.direction.away(prior.factors), 1.0, float(-np.log(alpha) - np.log1p(-BURN_IN_STAKE)))

    @classmethod
    def safe(cls, test: CountTest) -> "Rule":
        """Is treatment within the margin?"""
        prior = safe_prior(test.margin)
        return cls(prior, 1 / test.direction.away(prior.factors), test.safe_ratio, float(-np.log(test.alpha_safe)))


def first_answer(
    rule: Rule,
    control_exposures: Floats,
    control_events: Floats,
    treatment_exposures: Floats,
    treatment_events: Floats,
    dispersion: Floats,
) -> Floats:
    """The 1-based interval of each stream's first answer, infinity without one.

    Counts have the shape (streams, intervals), `dispersion` (streams,).
    """
    streams, intervals = treatment_exposures.shape
    prior = rule.prior
    started = np.tile(prior.log_weights + np.log(prior.at_once), (streams, 1))
    reserve, clock, answer = np.full(streams, np.log1p(-prior.at_once)), np.zeros(streams), np.full(streams, np.inf)
    for interval in range(intervals):
        exposed = control_exposures[:, interval].astype(float), treatment_exposures[:, interval].astype(float)
        hits = treatment_events[:, interval].astype(float)
        events = hits + control_events[:, interval]
        share = null_share(rule.null, *exposed)
        log_lr = log_likelihood_ratios(rule.factors, share, events, hits) / dispersion[:, None]
        information = events * share * (1 - share) / dispersion
        started, reserve, clock = advance(prior.log_weights, started, reserve, clock, log_lr, information)
        answer[(log_total(started, reserve) >= rule.log_level) & np.isinf(answer)] = interval + 1
        if np.isfinite(answer).all():
            break
    return answer


def harm(d: Mapping[str, Floats]) -> Floats:
    """First minute of a rollback."""
    test = CountTest(Direction.INCREASE, MARGIN)
    return _rule(d, Rule.harm(test, test.alpha_rollback))


def pause(d: Mapping[str, Floats]) -> Floats:
    """First minute of a pause."""
    test = CountTest(Direction.INCREASE, MARGIN)
    return _rule(d, Rule.harm(test, test.alpha_pause))


def safe(d: Mapping[str, Floats]) -> Floats:
    """First minute of a promotion."""
    return _rule(d, Rule.safe(CountTest(Direction.INCREASE, MARGIN)))


def _rule(d: Mapping[str, Floats], rule: Rule) -> Floats:
    return first_answer(rule, d["nb"], d["eb"], d["nc"], d["ec"], _dispersions(d))


def _dispersions(d: Mapping[str, Floats]) -> Floats:
    histories = zip(d["hn"].tolist(), d["he"].tolist(), strict=True)
    return np.array([_dispersion(exposures, events) for exposures, events in histories])


def _dispersion(exposures: list[int], events: list[int]) -> float:
    return estimate_dispersion([Counts(*interval) for interval in zip(exposures, events, strict=True)])
