"""What a metric recorded, cut into pieces of one length: what everybody but treatment did."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from tools.clock import in_words
from tools.errors import NotFound
from tools.gates import Counts, estimate_dispersion
from tools.metrics.base import MetricQuery, Window
from tools.metrics.router import Metrics

MOST_READS = 2_000
"""Into how many pieces a history is read at most, so that reading it burdens the source for seconds, not hours."""
# The median of a χ² of one degree of freedom.
MEDIAN_OF_CHI_SQUARED = 0.4549


class NoHistory(NotFound):
    """Nothing was recorded that could be replayed."""


@dataclass(frozen=True)
class History:
    """Counts of a metric, one for each `step` since `start`. A piece without exposures was silent."""

    metric: str
    start: datetime
    step: timedelta
    pieces: tuple[Counts, ...]

    @property
    def total(self) -> Counts:
        """Of all of it."""
        return Counts(sum(one.exposures for one in self.pieces), sum(one.events for one in self.pieces))

    @property
    def silent(self) -> float:
        """The part of the time without exposures."""
        return sum(not one.exposures for one in self.pieces) / len(self.pieces)

    @property
    def dispersion(self) -> float:
        """How bursty events are, for most of the time.

        As `estimate_dispersion`, but from the median of the squared differences instead of their mean, so that an hour
        of outage does not make the whole history bursty.
        """
        pairs = [
            (before, after)
            for before, after in zip(self.pieces, self.pieces[1:], strict=False)
            if before.exposures and after.exposures and before.events + after.events
        ]
        if not pairs:
            return 1.0
        counts = np.array([[*before.to_json(), *after.to_json()] for before, after in pairs], float).T
        steps = (counts[1] / counts[0] - counts[3] / counts[2]) ** 2
        pooled = (counts[1] + counts[3]) / (counts[0] + counts[2])
        expected = pooled * (1 / counts[0] + 1 / counts[2])
        typical = float(np.median(steps / expected)) / MEDIAN_OF_CHI_SQUARED
        return max(1.0, min(typical, estimate_dispersion(self.pieces)))


def step_for(since: timedelta, grain: timedelta) -> timedelta:
    """The length of a piece: a whole number of `grain`s, so that there are no more than `MOST_READS` of them."""
    return grain * max(1, math.ceil(since / (grain * MOST_READS)))


async def read_history(
    metrics: Metrics,
    query: MetricQuery,
    step: timedelta,
    *,
    without: str,
    progress: Callable[[], None] = lambda: None,
) -> History:
    """The metric over the query's window in pieces of `step`, all variants but `without` together.

    One piece after the other, so that it does not crowd out the gates' own reads. Raises NoHistory when there is no
    event or no exposure in it, UnknownMetric, BadMetricAnswer, MetricSourceUnavailable.
    """
    pieces, start = list[Counts](), query.window.start
    while start + step <= query.window.end:
        piece = MetricQuery(query.metric, query.flag, query.environment, Window(start, start + step))
        by_variant = (await metrics.read(piece)).by_variant
        samples = [sample for variant, sample in by_variant.items() if variant != without]
        pieces.append(Counts(sum(one.exposures for one in samples), sum(one.events for one in samples)))
        start += step
        progress()
    history = History(query.metric, query.window.start, step, tuple(pieces))
    _check_told(history, query)
    return history


def _check_told(history: History, query: MetricQuery) -> None:
    total = history.total if history.pieces else Counts(0, 0)
    if not total.events:
        over = in_words(query.window.end - query.window.start)
        found = f"{total.exposures:,} exposures and no events" if total.exposures else "no data"
        raise NoHistory(
            f"{query.metric} has {found} for {query.flag} in {query.environment} over the last {over}, so there is "
            "nothing to replay: see its query, or go further back with --since."
        )
