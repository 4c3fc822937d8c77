"""Is control's own mean, or its latency, still in the range that a plan was made for? The bets of `tools.gates.drift`.

Of one arm's values in an interval the number, the sum and the sum of squares are known, and that none lies below
`floor`. With ξ = (x − m)/(m − floor), which is −1 or more, and 0 < λ < 1 (Fan, Grama and Liu, 2015, Lemma 4.1)

    e^{λξ − ψ(λ)ξ²} ≤ 1 + λξ,     ψ(λ) = −ln(1 − λ) − λ

so that the product of the left sides over all values is on average at most 1 as long as the mean is m or less, however
the values are distributed. It is e^{λ·Σξ − ψ(λ)·Σξ²}, and the sums are known. "Below m" is the mirror image, with a
`ceiling` that values are cut at; those beyond it only count against being below.

Of latencies without sums the values are the logs of their buckets' middles, as in `tools.gates.scores`: their mean
moves by about as much as the log of all latencies, unless hardly any lies outside one bucket.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from tools.gates.histograms import Histogram, layout
from tools.gates.judging import BadTest
from tools.gates.means import Sums

BEYOND = 1 / 3
"""How far beyond the ends of its range a mean is bet to be, in parts of the range."""
MOST_BET = 0.5

Span = tuple[float, float]
"""The lowest and the highest."""


@dataclass(frozen=True)
class LevelRange:
    """Where the mean of control's values is to lie, and how much they vary: `deviations` at its lowest and highest.

    The values lie from `floor` on and are cut at `ceiling`. `what` they are the mean of, in which `unit`, is for
    people; `of_logs`: the values are logs. Raises BadTest.
    """

    lowest: float
    highest: float
    deviations: tuple[float, float]
    floor: float
    ceiling: float
    what: str = "mean"
    unit: str = ""
    of_logs: bool = False

    def __post_init__(self) -> None:
        if not (self.floor < self.highest < math.inf and -math.inf < self.lowest <= self.highest):
            raise BadTest(
                f"The range of a mean of values from {self.floor:g} on can't go from {self.lowest:g} to "
                f"{self.highest:g}."
            )
        if not all(0 <= one < math.inf for one in self.deviations):
            raise BadTest(f"Standard deviations must be 0 or more, not {self.deviations}.")

    @classmethod
    def scaled(
        cls, mean: float, deviation: float, factor: float, floor: float, ceiling: float, span: Span | None = None
    ) -> Self:
        """`factor` to both sides of a mean above 0, or of the `span` that it had; the deviation goes with it."""
        low, high = span or (mean, mean)
        lowest, highest = low / factor if low > 0 else low * factor, high * factor
        deviations = deviation * abs(lowest) / mean, deviation * highest / mean
        return cls(lowest, highest, deviations, floor, ceiling)

    @classmethod
    def of_middles(
        cls, mean: float, deviation: float, factor: float, edges: tuple[float, ...], span: Span | None = None
    ) -> Self:
        """`factor` to both sides of a typical latency whose log is `mean`, or had that `span`, in such a histogram."""
        middles, step = layout(edges).log_middle, math.log(factor)
        ends, (low, high) = (float(middles[0]), float(middles[-1])), span or (mean, mean)
        return cls(low - step, high + step, (deviation, deviation), *ends, of_logs=True)

    @property
    def ends(self) -> tuple[float, float]:
        """As people know them."""
        return self.shown(self.lowest), self.shown(self.highest)

    def shown(self, value: float) -> float:
        """A mean of the values as people know them."""
        return math.exp(min(value, 700.0)) if self.of_logs else value

    def log_ratios(self, values: Sums) -> tuple[float, float]:
        """The log LR of "the mean is below its range" and of "above it" after one more interval."""
        step = BEYOND * (self.highest - self.lowest)
        low, high = self.deviations
        return (
            _log_ratio(values, -1, self.lowest, self.ceiling - self.lowest, step, low),
            _log_ratio(values, 1, self.highest, self.highest - self.floor, step, high),
        )


def latencies_of(histogram: Histogram) -> Sums:
    """A histogram's latencies, of which there are sums, or else the logs of its buckets' middles."""
    requests = histogram.requests
    if histogram.total is not None and histogram.squares is not None:
        # Scrapes are not atomic, so that the squares may fall short.
        least = histogram.total * (histogram.total / requests) if requests else 0.0
        return Sums(requests, histogram.total, max(histogram.squares, least))
    middles, counts = layout(histogram.edges).log_middle, np.array(histogram.counts, float)
    return Sums(requests, float(counts @ middles), float(counts @ middles**2))


def _log_ratio(values: Sums, sign: int, end: float, room: float, step: float, deviation: float) -> float:
    """Of a mean beyond `end`, above for `sign` 1, with `room` from there to the values' bound on the other side.

    The bet is the best for a mean `step` beyond. Where that bound leaves no room there is none.
    """
    if room <= 0 or not values.units or step <= 0:
        return 0.0
    stake = min(step / (deviation**2 + step**2) * room, MOST_BET)
    beyond = sign * (values.total - values.units * end) / room
    squares = (values.squares - 2 * end * values.total + values.units * end**2) / room**2
    return stake * beyond + (math.log1p(-stake) + stake) * max(squares, 0.0)
