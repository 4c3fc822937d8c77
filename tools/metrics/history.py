"""What a metric recorded, cut into pieces of one length: what everybody but treatment did."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tools.clock import in_words
from tools.errors import NotFound
from tools.gates import Counts, estimate_dispersion, scores
from tools.gates.dispersion import surely
from tools.gates.histograms import Histogram
from tools.metrics.base import MetricQuery, Sample, TooManyUnits, UnitSample, slices_of, together
from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.metrics.router import Metrics

MOST_READS = 2_000
"""Into how many pieces a history is read at most, so that reading it burdens the source for seconds, not hours."""
MOST_UNIT_ROWS = 1_000_000
# The median of a χ² of one degree of freedom.
MEDIAN_OF_CHI_SQUARED = 0.4549
# Of the median of n squares, in parts of it, times √n; a tenth is there because neighbours share a piece.
MEDIAN_S_ERROR = 2.5

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class NoHistory(NotFound):
    """Nothing was recorded that could be replayed."""


@dataclass(frozen=True, eq=False)
class Units:
    """Whose the numbers of a history are: a row for each unit and piece, in the pieces' order.

    `ids` name the U units; `first` (P + 1) is the number of each piece's first row, `of` (N) the place of a row's unit
    in `ids`, the others (N) its numbers. `rest` (P) is what no unit is named for, or one without events: in which arm
    these are makes no difference but for how many.
    """

    ids: tuple[str, ...]
    first: Ints
    of: Ints
    exposures: Ints
    events: Ints
    totals: Floats
    squares: Floats
    rest: tuple[Sample, ...]


@dataclass(frozen=True)
class History:
    """A metric's numbers, one sample for each `step` since `start`. A piece without exposures was silent.

    `cap`, `edges`, `sums` and `objective` are as the catalogue has them. `units` are whose the numbers are, where
    it can say.
    """

    metric: str
    start: datetime
    step: timedelta
    pieces: tuple[Sample, ...]
    kind: MetricKind = MetricKind.RATIO
    cap: float | None = None
    edges: tuple[float, ...] = ()
    sums: bool = False
    objective: float | None = None
    units: Units | None = field(default=None, compare=False)

    @property
    def span(self) -> timedelta:
        """How long it is."""
        return self.step * len(self.pieces)

    @property
    def total(self) -> Sample:
        """Of all of it."""
        return together(self.pieces)

    @property
    def silent(self) -> float:
        """The part of the time without exposures."""
        return sum(not one.exposures for one in self.pieces) / len(self.pieces)

    @property
    def silent_at_first(self) -> int:
        """How many pieces there are before the first that was not silent."""
        return next((number for number, one in enumerate(self.pieces) if one.exposures), len(self.pieces))

    def since(self, piece: int) -> "History":
        """Without the pieces before that one."""
        units = self.units
        if units is not None:
            row = int(units.first[piece])
            units = Units(
                ids=units.ids,
                first=units.first[piece:] - row,
                of=units.of[row:],
                exposures=units.exposures[row:],
                events=units.events[row:],
                totals=units.totals[row:],
                squares=units.squares[row:],
                rest=units.rest[piece:],
            )
        return replace(self, start=self.start + piece * self.step, pieces=self.pieces[piece:], units=units)

    @cached_property
    def dispersion(self) -> float:
        """How bursty it is, for most of the time, 1 at least: φ as the gate that judges such numbers has it."""
        if self.kind is MetricKind.RATIO:
            return self._dispersion_of_counts
        if self.kind is MetricKind.LATENCY:
            return scores.estimate_dispersion(self.histograms, settled=surely)
        return self._dispersion_of_means

    @property
    def histograms(self) -> list[Histogram]:
        """Of latencies, one a piece."""
        return [
            Histogram.of(self.edges, one.buckets, *((one.total, one.total_squares) if self.sums else ()))
            for one in self.pieces
        ]

    @property
    def _dispersion_of_counts(self) -> float:
        """As `estimate_dispersion`, but from the median of the squared differences instead of their mean, so that an
        hour of outage does not make the whole history bursty.
        """
        counts = [Counts(one.exposures, one.events) for one in self.pieces]
        pairs = [
            (*before.to_json(), *after.to_json())
            for before, after in pairwise(counts)
            if before.exposures and after.exposures and before.events + after.events
        ]
        if not pairs:
            return 1.0
        before, events_before, after, events_after = np.array(pairs, float).T
        pooled = (events_before + events_after) / (before + after)
        typical = _typical((events_before / before - events_after / after) ** 2, pooled * (1 / before + 1 / after))
        return _surely(min(typical, estimate_dispersion(counts)), len(pairs))

    @property
    def _dispersion_of_means(self) -> float:
        pieces = [one for one in self.pieces if one.exposures]
        if len(pieces) < 2:
            return 1.0
        units = np.array([one.exposures for one in pieces], float)
        means = np.array([one.total for one in pieces]) / units
        whole = together(pieces)
        variance = whole.total_squares / whole.exposures - (whole.total / whole.exposures) ** 2
        if variance <= 0:
            return 1.0
        return _surely(_typical(np.diff(means) ** 2, variance * (1 / units[1:] + 1 / units[:-1])), len(units) - 1)


def step_for(since: timedelta, grain: timedelta, *, most: int = MOST_READS) -> timedelta:
    """The length of a piece: a whole number of `grain`s, so that there are no more than `most` of them."""
    return grain * max(1, math.ceil(since / (grain * most)))


async def read_history(
    metrics: Metrics,
    query: MetricQuery,
    step: timedelta,
    *,
    without: str,
    progress: Callable[[], None] = lambda: None,
) -> History:
    """The metric over the query's window in pieces of `step`, all variants but `without` together.

    Unit by unit where the metric can be asked so and there are not too many. One piece after the other, so that it does
    not crowd out the gates' own reads. Raises NoHistory when there is nothing that tells treatment from control in it,
    UnknownMetric, BadMetricAnswer, BadCounts for latencies that can't be, MetricSourceUnavailable.
    """
    definition = metrics.define(query.metric)
    if definition.kind is MetricKind.ASSIGNMENTS:
        raise NoHistory(f"{query.metric} counts assignments, which a replay deals itself: there is nothing to replay.")
    history = await _read_units(metrics, definition, query, step, without, progress)
    if history is None:
        history = await _read_samples(metrics, definition, query, step, without, progress)
    _check_told(history, query)
    return history


async def _read_samples(
    metrics: Metrics,
    definition: MetricDefinition,
    query: MetricQuery,
    step: timedelta,
    without: str,
    progress: Callable[[], None],
) -> History:
    pieces = list[Sample]()
    async for reading in metrics.read_slices(query, step):
        pieces.append(together(sample for variant, sample in reading.by_variant.items() if variant != without))
        progress()
    return _history(definition, query, step, pieces)


async def _read_units(
    metrics: Metrics,
    definition: MetricDefinition,
    query: MetricQuery,
    step: timedelta,
    without: str,
    progress: Callable[[], None],
) -> History | None:
    """None where the metric can't be asked so, or has too many units to look at each."""
    if definition.unit_query is None:
        return None
    ids, rows, first = dict[str, int](), list[tuple[float, ...]](), [0]
    pieces, rest = list[Sample](), list[Sample]()
    for piece in slices_of(query, step):
        try:
            found = [one for one in await metrics.read_units(piece) if one.variant != without]
        except TooManyUnits:
            return None
        rows += [_row(ids.setdefault(one.unit, len(ids)), one) for one in found if one.unit and _tells(definition, one)]
        if len(rows) > MOST_UNIT_ROWS:
            return None
        first.append(len(rows))
        pieces.append(together(one.sample for one in found))
        rest.append(together(one.sample for one in found if not (one.unit and _tells(definition, one))))
        progress()
    columns = np.array(rows, float).reshape(-1, 5).T
    of, exposures, events = columns[:3].astype(np.int64)
    units = Units(tuple(ids), np.array(first), of, exposures, events, columns[3], columns[4], tuple(rest))
    return replace(_history(definition, query, step, pieces), units=units)


def _tells(definition: MetricDefinition, one: UnitSample) -> bool:
    """Whether it matters which arm this unit is in: every amount does, of rates the events do."""
    return definition.kind is not MetricKind.RATIO or one.events > 0


def _row(unit: int, one: UnitSample) -> tuple[float, ...]:
    return unit, one.exposures, one.events, one.total, one.total_squares


def _history(definition: MetricDefinition, query: MetricQuery, step: timedelta, pieces: Sequence[Sample]) -> History:
    return History(
        query.metric,
        query.window.start,
        step,
        tuple(pieces),
        kind=definition.kind,
        cap=definition.cap,
        edges=definition.edges,
        sums=definition.sums,
        objective=definition.objective,
    )


def _typical(steps: Floats, expected: Floats) -> float:
    """By how much squared differences are larger than expected, for most of them."""
    return float(np.median(steps / expected)) / MEDIAN_OF_CHI_SQUARED


def _surely(typical: float, differences: int) -> float:
    """1 where it may be chance, by the standard error of the median of so many squares of neighbours' differences."""
    return float(surely(typical, MEDIAN_S_ERROR / math.sqrt(differences), differences))


def _check_told(history: History, query: MetricQuery) -> None:
    if history.kind is MetricKind.LATENCY:
        # Buckets that were others once, or sums that can't be theirs, are found before anything rests on them.
        _ = history.histograms
    total = history.total
    told = total.events if history.kind is MetricKind.RATIO else total.exposures
    if not told:
        over = in_words(query.window.end - query.window.start)
        found = f"{total.exposures:,} exposures and no events" if total.exposures else "no data"
        raise NoHistory(
            f"{query.metric} has {found} for {query.flag} in {query.environment} over the last {over}, so there is "
            "nothing to replay: see its query, or go further back with --since."
        )
