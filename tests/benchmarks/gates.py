"""The product's count gate as decision rules over many simulated streams at once.

Each rule takes a dict of per-minute arrays of shape (streams, minutes): `nc`, `ec` treatment's requests and errors,
`nb`, `eb` control's, and `hn`, `he` those of all traffic before the rollout, from which the dispersion is estimated. It
answers with the 1-based minute of its first alarm per stream, infinity where there is none.
"""

from collections.abc import Mapping

import numpy as np

from tools.gates.counts import log_likelihood_ratios, null_share
from tools.gates.dispersion import estimate_dispersion
from tools.gates.judging import BURN_IN_STAKE, Counts, harm_prior, safe_prior
from tools.gates.wealth import Floats, Prior, advance, log_total

Streams = Mapping[str, Floats]
MARGIN = 2.0
ROLL_BACK, PAUSE, SAFE = 0.02, 0.05, 0.05


def harm(d: Streams) -> Floats:
    """First minute of a rollback."""
    return _first(d, harm_prior(MARGIN), null=1.0, worse=True, level=_harm_level(ROLL_BACK))


def pause(d: Streams) -> Floats:
    """First minute of a pause."""
    return _first(d, harm_prior(MARGIN), null=1.0, worse=True, level=_harm_level(PAUSE))


def safe(d: Streams) -> Floats:
    """First minute of a promotion."""
    return _first(d, safe_prior(MARGIN), null=MARGIN, worse=False, level=-np.log(SAFE))


def _harm_level(alpha: float) -> float:
    return float(-np.log(alpha) - np.log1p(-BURN_IN_STAKE))


def _first(d: Streams, prior: Prior, *, null: float, worse: bool, level: float) -> Floats:
    streams, minutes = d["nc"].shape
    factors = prior.factors if worse else 1 / prior.factors
    dispersion = _dispersions(d)
    started = np.tile(prior.log_weights + np.log(prior.at_once), (streams, 1))
    reserve, clock, alarm = np.full(streams, np.log1p(-prior.at_once)), np.zeros(streams), np.full(streams, np.inf)
    for minute in range(minutes):
        exposed = d["nb"][:, minute].astype(float), d["nc"][:, minute].astype(float)
        hits = d["ec"][:, minute].astype(float)
        events = hits + d["eb"][:, minute]
        share = null_share(null, *exposed)
        log_lr = log_likelihood_ratios(factors, share, events, hits) / dispersion[:, None]
        information = events * share * (1 - share) / dispersion
        started, reserve, clock = advance(prior.log_weights, started, reserve, clock, log_lr, information)
        rejected = log_total(started, reserve) >= level
        alarm[rejected & np.isinf(alarm)] = minute + 1
        if np.isfinite(alarm).all():
            break
    return alarm


def _dispersions(d: Streams) -> Floats:
    history = zip(d["hn"].astype(int), d["he"].astype(int), strict=True)
    return np.array(
        [estimate_dispersion([Counts(int(n), int(k)) for n, k in zip(*pair, strict=True)]) for pair in history]
    )
