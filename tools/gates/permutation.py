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
    shares = (pooled / np.maximum(total, 1.0)[..., None])[..., None, :]
    n, rest = drawn[..., None], (total - drawn)[..., None]
    with np.errstate(divide="ignore"):
        log_shares = np.log(shares)
    log_with = _log_sum(log_shares + log_u)
    log_without = _log_sum(log_shares - log_u)
    everyone = total[..., None] * (shares * log_u).sum(axis=-1)
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
    log_share, log_rest = np.log(share)[..., None], np.log1p(-share)[..., None]
    for _ in range(STEPS):
        tilted = 1 / (1 + np.exp(np.clip(log_rest - log_share - log_u - log_z[..., None], -700, 700)))
        slope = (shares * tilted * (1 - tilted)).sum(axis=-1)
        miss = (shares * tilted).sum(axis=-1) - share
        log_z = log_z - np.clip(miss / np.maximum(slope, 1e-12), -1.5, 1.5)
    odds = log_u + log_z[..., None]
    tilted = 1 / (1 + np.exp(np.clip(log_rest - log_share - odds, -700, 700)))
    slope = (shares * tilted * (1 - tilted)).sum(axis=-1)
    width = np.log(np.maximum(slope, 1e-12) / (share * (1 - share)))
    level = total[..., None] * (shares * np.logaddexp(log_rest, log_share + odds)).sum(axis=-1)
    centred = log_u - (shares * log_u).sum(axis=-1)[..., None]
    error = CORRECTION * (shares * centred**2).sum(axis=-1) / np.maximum(spread, LARGE_ENOUGH)
    return np.asarray(level - drawn[..., None] * log_z - width / 2 + error)


def _log_sum(logs: Floats) -> Floats:
    peak = np.max(logs, axis=-1)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(
            np.where(np.isfinite(logs).any(axis=-1), peak + np.log(np.exp(logs - peak[..., None]).sum(axis=-1)), 0.0)
        )
