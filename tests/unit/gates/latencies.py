"""Simulated latencies: per-interval histograms and sums of two arms, for many rollouts at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.gates.histograms import Histogram
from tools.gates.wealth import Floats

# Prometheus' default buckets, in milliseconds.
EDGES = (5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, math.inf)

Draw = Callable[[np.random.Generator, int], Floats]


def log_normal(median: float = 80.0, spread: float = 0.6) -> Draw:
    """Latencies whose log is normal with the standard deviation `spread`."""
    return lambda rng, size: median * np.exp(spread * rng.standard_normal(size))


@dataclass(frozen=True)
class Service:
    """What is true: requests an interval, treatment's share, and how many times as slow it is from `onset` on.

    `slow_tail`: only the slowest twentieth of treatment's requests is slower. `cluster` requests in a row share a
    slow-down of their own, log-normal with sd 0.5 (0: none). The part `hanging` of treatment's takes 30 s to 2 minutes.
    """

    draw: Draw
    requests: float = 600.0
    share: float = 0.05
    slower: float = 1.0
    onset: int = 0
    slow_tail: float = 1.0
    cluster: int = 0
    hanging: float = 0.0
    edges: tuple[float, ...] = EDGES


def simulate(service: Service, streams: int, intervals: int, seed: int) -> dict[str, Any]:
    """Independent rollouts, as the rules of the benchmarks take them; floats of shape (streams, intervals[, B])."""
    rng = np.random.default_rng(seed)
    data: dict[str, Any] = {"edges": np.array(service.edges)}
    for arm, share in (("b", 1 - service.share), ("c", service.share)):
        requests = rng.poisson(service.requests * share, (streams, intervals))
        owner = np.repeat(np.arange(streams * intervals), requests.ravel())
        latencies = service.draw(rng, len(owner))
        if service.cluster:
            groups = rng.standard_normal(len(owner) // service.cluster + 1)
            latencies *= np.exp(0.5 * np.repeat(groups, service.cluster)[: len(owner)])
        if arm == "c":
            latencies *= np.where(owner % intervals >= service.onset, service.slower, 1.0)
            slowest = latencies > np.quantile(latencies, 0.95)
            latencies = np.where(slowest, latencies * service.slow_tail, latencies)
            if service.hanging:
                hangs = rng.random(len(latencies)) < service.hanging
                latencies = np.where(hangs, rng.uniform(30_000, 120_000, len(latencies)), latencies)
        cells, buckets = streams * intervals, len(service.edges)
        place = owner * buckets + np.searchsorted(service.edges, latencies)
        shape = streams, intervals
        data[f"n{arm}"] = requests.astype(float)
        data[f"s{arm}"] = np.bincount(owner, latencies, cells).reshape(shape)
        data[f"q{arm}"] = np.bincount(owner, latencies**2, cells).reshape(shape)
        data[f"h{arm}"] = np.bincount(place, minlength=cells * buckets).reshape(*shape, buckets).astype(float)
    return data


def histogram(data: dict[str, Any], arm: str, stream: int, interval: int, *, sums: bool = True) -> Histogram:
    """One arm's ("c" treatment, "b" control) interval of one rollout."""
    counts = tuple(int(count) for count in data[f"h{arm}"][stream, interval])
    edges = tuple(data["edges"].tolist())
    if not sums:
        return Histogram(edges, counts)
    return Histogram(edges, counts, float(data[f"s{arm}"][stream, interval]), float(data[f"q{arm}"][stream, interval]))
