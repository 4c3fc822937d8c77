"""The chance of a score's total when it is only chance which requests were treatment's.

Under the null the two arms of an interval are one crowd, of which treatment's n are a draw without replacement. With
N requests in buckets of K_b, and u_b = e^{λ·score}, the mean of e^{λ·(treatment's total)} over all such draws is

    p_n = e_n(u) / C(N, n),    e_n the coefficient of zⁿ in Π_b (1 + u_b·z)^{K_b}

Any bound above it makes e^{λ·total} / p_n a fair bet or a worse one, whatever the latencies' distribution. Hoeffding
(1963) gives two: (mean u)ⁿ, a draw with replacement, and the same for the N − n that were not drawn. Both lose the
factor of the finite crowd, half of the evidence where the arms are equal, so that where the arms are not small the
coefficient is taken at its saddle point (Daniels, 1954; both coefficients, so that their errors nearly cancel). What is
left of the error is below CORRECTION, which was found, and is tested, against the exact coefficient.
"""

import numpy as np

from tools.gates.wealth import Floats

# The saddle point is used from this n·(N − n)/N on.
LARGE_ENOUGH = 10.0
# Times the variance of ln u over n·(N − n)/N: more than the saddle point was ever seen to be short of the truth.
CORRECTION = 0.06
STEPS = 3


def log_mean(log_u: Floats, pooled: Floats, drawn: Floats) -> Floats:
    """A bound on ln p_n from above. `log_u` (..., G, B), `pooled` counts (..., B), `drawn` n (...) give (..., G).

    0 where nothing can be drawn.
    """
    total = pooled.sum(axis=-1)
    shares = pooled / np.maximum(total, 1.0)[..., None]
    n, rest = drawn[..., None], (total - drawn)[..., None]
    log_with, log_without = _log_mean(log_u, shares), _log_mean(-log_u, shares)
    everyone = total[..., None] * _mean(log_u, shares)
    bound = np.minimum(n * log_with, everyone + rest * log_without)
    spread = (drawn * (total - drawn) / np.maximum(total, 1.0))[..., None]
    if not (spread > LARGE_ENOUGH).any():
        return np.asarray(bound)
    near = _at_saddle_point(log_u, shares, total, drawn, -log_with, spread)
    return np.asarray(np.where(spread > LARGE_ENOUGH, np.minimum(bound, near), bound))


def _at_saddle_point(
    log_u: Floats, shares: Floats, total: Floats, drawn: Floats, log_z: Floats, spread: Floats
) -> Floats:
    share = np.clip(drawn / np.maximum(total, 1.0), 1e-9, 1 - 1e-9)[..., None]
    log_odds = np.log(share) - np.log1p(-share)
    for _ in range(STEPS):
        tilted = _logistic(log_u + (log_odds + log_z)[..., None])
        slope = _mean(tilted * (1 - tilted), shares)
        miss = _mean(tilted, shares) - share
        log_z = log_z - np.clip(miss / np.maximum(slope, 1e-12), -1.5, 1.5)
    odds = log_u + (log_odds + log_z)[..., None]
    tilted = _logistic(odds)
    slope = _mean(tilted * (1 - tilted), shares)
    width = np.log(np.maximum(slope, 1e-12) / (share * (1 - share)))
    # ln(1 − share + share·u·z), of which 1 − share is a factor.
    level = total[..., None] * (np.log1p(-share) + _mean(np.logaddexp(0.0, odds), shares))
    centred = log_u - _mean(log_u, shares)[..., None]
    error = CORRECTION * _mean(centred**2, shares) / np.maximum(spread, LARGE_ENOUGH)
    return np.asarray(level - drawn[..., None] * log_z - width / 2 + error)


def _logistic(logs: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logs)))


def _mean(values: Floats, shares: Floats) -> Floats:
    """Over the buckets: `values` (..., G, B) and `shares` (..., B) give (..., G)."""
    return np.asarray((values @ shares[..., None])[..., 0])


def _log_mean(logs: Floats, shares: Floats) -> Floats:
    """The log of the mean of exp(`logs`) over the buckets, as `_mean`; 0 where they are all empty."""
    used = shares[..., None, :] > 0
    peak = np.max(logs, axis=-1, where=used, initial=-np.inf)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    mean = _mean(np.exp(np.minimum(logs - peak[..., None], 0.0)), shares)
    return np.asarray(peak + np.log(np.where(mean > 0, mean, 1.0)))
