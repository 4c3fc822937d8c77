"""Simulated traffic: per-interval counts of two arms, for many rollouts at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """What is true: requests an interval, treatment's share, base rate, and the ratio of rates from `onset` on.

    `before` is the ratio until `onset`; `burst` the mean size of a burst of events (1: independent).
    """

    requests: float = 600.0
    share: float = 0.05
    base_rate: float = 0.005
    ratio: float = 1.0
    onset: int = 0
    before: float = 1.0
    burst: float = 1.0


@dataclass(frozen=True)
class Streams:
    """Exposures and events, each of shape (streams, intervals)."""

    control_exposures: Ints
    control_events: Ints
    treatment_exposures: Ints
    treatment_events: Ints


def simulate(world: World, streams: int, intervals: int, seed: int) -> Streams:
    """Independent rollouts in that world."""
    rng = np.random.default_rng(seed)
    shape = streams, intervals
    control = rng.poisson(world.requests * (1 - world.share), shape)
    treatment = rng.poisson(world.requests * world.share, shape)
    ratio = np.where(np.arange(intervals) >= world.onset, world.ratio, world.before)
    return Streams(
        control,
        _events(rng, control, world.base_rate, world.burst),
        treatment,
        _events(rng, treatment, world.base_rate * ratio, world.burst),
    )


def _events(rng: np.random.Generator, exposures: Ints, rate: float | NDArray[np.float64], burst: float) -> Ints:
    if burst == 1:
        return rng.binomial(exposures, np.minimum(rate, 1.0))
    bursts = rng.poisson(exposures * rate / burst)
    sizes = bursts + rng.negative_binomial(np.maximum(bursts, 1), 1 / burst)
    return np.minimum(np.where(bursts > 0, sizes, 0), exposures)
