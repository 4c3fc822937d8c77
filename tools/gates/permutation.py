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
# e to more than this is no number.
LARGEST_LOG = 690.0


def log_mean(log_u: Floats, pooled: Floats, drawn: Floats) -> Floats:
    """A bound on ln p_n from above. `log_u` (..., G, B), `pooled` counts (..., B), `drawn` n (...) give (..., G).

    0 where nothing can be drawn.
    """
    used = pooled.reshape(-1, pooled.shape[-1]).any(axis=0)
    if used.any() and not used.all():
        # What no draw of any of them has changes nothing.
        log_u, pooled = log_u[..., used], pooled[..., used]
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
    logs = log_u + (log_odds + log_z)[..., None]
    within = bool((logs < LARGEST_LOG).all())
    # Beyond what is a number a request is as good as drawn.
    odds = np.exp(logs if within else np.minimum(logs, LARGEST_LOG))
    for _ in range(STEPS):
        tilted, slope = _drawn(odds, shares)
        step = np.clip((tilted - share) / np.maximum(slope, 1e-12), -1.5, 1.5)
        log_z = log_z - step
        odds *= np.exp(-step)[..., None]
    _, slope = _drawn(odds, shares)
    width = np.log(np.maximum(slope, 1e-12) / (share * (1 - share)))
    # ln(1 − share + share·u·z), of which 1 − share is a factor.
    log_sums = np.log1p(odds) if within else np.logaddexp(0.0, log_u + (log_odds + log_z)[..., None])
    level = total[..., None] * (np.log1p(-share) + _mean(log_sums, shares))
    centred = log_u - _mean(log_u, shares)[..., None]
    error = CORRECTION * _mean(centred**2, shares) / np.maximum(spread, LARGE_ENOUGH)
    return np.asarray(level - drawn[..., None] * log_z - width / 2 + error)


def _drawn(odds: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """The mean of a request's chance at these odds (..., G, B), and of chance × its rest: how fast that rises."""
    chance = odds / (1 + odds)
    return _mean(chance, shares), _mean(chance * (1 - chance), shares)


def _mean(values: Floats, shares: Floats) -> Floats:
    """Over the buckets: `values` (..., G, B) and `shares` (..., B) give (..., G)."""
    return np.asarray((values @ shares[..., None])[..., 0])


def _log_mean(logs: Floats, shares: Floats) -> Floats:
    """The log of the mean of exp(`logs`) over the buckets, as `_mean`; 0 where they are all empty."""
    peak = np.where(shares[..., None, :] > 0, logs, -np.inf).max(axis=-1)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    mean = _mean(np.exp(np.minimum(logs - peak[..., None], 0.0)), shares)
    return np.asarray(peak + np.log(np.where(mean > 0, mean, 1.0)))
