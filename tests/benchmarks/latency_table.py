"""The latency gate beside GrowthBook's rule on means, on the same simulated streams: a part of `make bench-gates`.

Latencies are log-normal with the deviation `spread` of their logs, in Prometheus' default buckets and with sums, 600
requests a minute with one look in each. The other rule takes the means' one-sided confidence sequence at 5 %
(`tests.benchmarks.peers`), the gate pauses at 5 % and rolls back at 2 %.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.latency_gates import latency_harm, latency_pause
from tests.benchmarks.peers import above_sequence
from tests.unit.gates.latencies import Service, log_normal, simulate
from tools.gates.wealth import Floats

REQUESTS = 600.0
CHUNK = 20
OURS, PAUSED, THEIRS = "Sluice, roll back", "Sluice, pause", "GrowthBook one-sided"
# Minutes in which nine of ten are found by each rule, with room.
LONGEST = {1.0: 1440, 1.05: 1440, 1.1: 480, 1.25: 120}


@dataclass(frozen=True)
class LatencyCell:
    """What is simulated at once; treatment is `slower` times as slow from the start."""

    spread: float
    share: float
    slower: float
    streams: int
    seed: int

    @property
    def name(self) -> str:
        harm = "no harm" if self.harmless else f"×{self.slower:g}"
        return f"{REQUESTS:>5,.0f}/min {self.share:>4.0%} latencies, sd {self.spread:g} of the log, {harm}"

    @property
    def harmless(self) -> bool:
        return self.slower == 1


@dataclass(frozen=True)
class LatencyRow:
    """One rule in one cell: the part of its streams with an alarm, and minutes until then, infinity for never."""

    cell: LatencyCell
    rule: str
    alarmed: float
    median: float
    p90: float

    def __str__(self) -> str:
        false, found = (f"{self.alarmed:.4f}", "-") if self.cell.harmless else ("-", f"{self.alarmed:.3f}")
        times = ["never" if math.isinf(wait) else f"{wait:.0f}" for wait in (self.median, self.p90)]
        return f"  {self.rule:<26}{false:>8}{found:>8}{times[0]:>8}{times[1]:>8}{'-':>9}"


def cells(streams: int, seed: int) -> Iterator[LatencyCell]:
    """All that are looked at."""
    for spread, share in ((0.6, 0.05), (1.2, 0.05), (0.6, 0.2)):
        for slower in LONGEST:
            yield LatencyCell(spread, share, slower, streams, seed)


def measure(cell: LatencyCell) -> list[LatencyRow]:
    """Every rule on one cell's streams."""
    data = _streams(cell)
    rules = {OURS: latency_harm, PAUSED: latency_pause, THEIRS: growthbook_on_means}
    return [_row(cell, name, np.sort(rule(data))) for name, rule in rules.items()]


def growthbook_on_means(data: dict[str, Any]) -> Floats:
    """First minute in which the means' confidence sequence lies above 0."""
    sums = [{arm: np.cumsum(data[f"{column}{arm}"], axis=1) for arm in "cb"} for column in "nsq"]
    units, means = sums[0], {arm: sums[1][arm] / np.maximum(sums[0][arm], 1) for arm in "cb"}
    spreads = {arm: sums[2][arm] / np.maximum(units[arm], 1) - means[arm] ** 2 for arm in "cb"}
    variance = sum(spreads[arm] / np.maximum(units[arm], 1) for arm in "cb")
    return above_sequence(means["c"] - means["b"], variance, units["c"] + units["b"])


def _streams(cell: LatencyCell) -> dict[str, Any]:
    """In pieces, as each request is drawn."""
    service = Service(log_normal(spread=cell.spread), requests=REQUESTS, share=cell.share, slower=cell.slower)
    sizes = [min(CHUNK, cell.streams - first) for first in range(0, cell.streams, CHUNK)]
    pieces = [
        simulate(service, size, LONGEST[cell.slower], seed=cell.seed + 1000 * number)
        for number, size in enumerate(sizes)
    ]
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0] if name != "edges"}
    return {"edges": pieces[0]["edges"], **joined}


def _row(cell: LatencyCell, rule: str, answers: Floats) -> LatencyRow:
    at = [float(answers[min(len(answers) - 1, math.ceil(part * len(answers)) - 1)]) for part in (0.5, 0.9)]
    return LatencyRow(cell, rule, float(np.isfinite(answers).mean()), *at)
