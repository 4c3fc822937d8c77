"""Simulated traffic: per-interval counts of two arms, for many rollouts at once."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """What is true: requests an interval, treatment's share, base rate, and the ratio of rates from `onset` on.

    `before` is the ratio until `onset`; `burst` the mean size of a burst of events (1: independent). `walk` is the sd
    of the log of a base rate that drifts in both arms; an `incident` in both multiplies it for a while.
    """

    requests: float = 600.0
    share: float = 0.05
    base_rate: float = 0.005
    ratio: float = 1.0
    onset: int = 0
    before: float = 1.0
    burst: float = 1.0
    walk: float = 0.0
    incident: bool = False


# How much of a drift is left an interval later.
PERSISTENCE = 0.98
INCIDENT, INCIDENT_INTERVALS, CALM_BEFORE = 6.0, 30, 60


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
    base_rate = _base_rates(rng, world, shape)
    return Streams(
        control,
        _events(rng, control, base_rate, world.burst),
        treatment,
        _events(rng, treatment, base_rate * ratio, world.burst),
    )


def _base_rates(rng: np.random.Generator, world: World, shape: tuple[int, int]) -> float | NDArray[np.float64]:
    if not (world.walk or world.incident):
        return world.base_rate
    streams, intervals = shape
    rates = np.full(shape, world.base_rate)
    if world.walk:
        drift = np.zeros(streams)
        for interval in range(intervals):
            steps = rng.normal(0, world.walk * math.sqrt(1 - PERSISTENCE**2), streams)
            drift = PERSISTENCE * drift + steps
            rates[:, interval] *= np.exp(drift)
    if world.incident:
        since = np.arange(intervals) - rng.integers(CALM_BEFORE, intervals - CALM_BEFORE, (streams, 1))
        rates[(since >= 0) & (since < INCIDENT_INTERVALS)] *= INCIDENT
    return rates


def _events(rng: np.random.Generator, exposures: Ints, rate: float | NDArray[np.float64], burst: float) -> Ints:
    if burst == 1:
        return rng.binomial(exposures, np.minimum(rate, 1.0))
    bursts = rng.poisson(exposures * rate / burst)
    sizes = bursts + rng.negative_binomial(np.maximum(bursts, 1), 1 / burst)
    return np.minimum(np.where(bursts > 0, sizes, 0), exposures)
