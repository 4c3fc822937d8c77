"""How high a metric was and how much it varied, by its kind: what samples of its past say. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools.errors import InvalidInput
from tools.gates import Counts, estimate_dispersion, means, scores
from tools.gates.amounts import Amounts, Latencies
from tools.gates.dispersion import widths
from tools.gates.histograms import Histogram
from tools.gates.level import latencies_of
from tools.metrics.base import Reading, Sample, together
from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.plans.planner import CannotBeProven

TELLING = 100
"""Fewer values than this say little of where their mean was."""


@dataclass(frozen=True, slots=True)
class Level:
    """Of a rate `base_rate`, else `values`; `dispersion` φ is how bursty it is."""

    base_rate: float | None
    values: Amounts | Latencies | None
    dispersion: float


def without(reading: Reading, treatment: str) -> Sample:
    """Everything that treatment did not serve, together."""
    return together(sample for variant, sample in reading.by_variant.items() if variant != treatment)


def level_of(definition: MetricDefinition, whole: Sample, pieces: Sequence[Sample], over: str) -> Level:
    """What the samples say: all of the time, and cut into pieces in order of time; `over` names that time.

    Raises CannotBeProven where they say nothing, or what can't be.
    """
    try:
        match definition.kind:
            case MetricKind.MEAN:
                return _of_mean(definition, whole, pieces, over)
            case MetricKind.LATENCY:
                return _of_latency(definition, whole, pieces, over)
            case _:
                return _of_rate(definition, whole, pieces, over)
    except CannotBeProven:
        raise
    except InvalidInput as error:
        raise CannotBeProven(f"{definition.name} can't be sized with {over}: {error}") from error


def _of_rate(definition: MetricDefinition, whole: Sample, pieces: Sequence[Sample], over: str) -> Level:
    if not whole.events:
        raise _silent(definition, f"{whole.exposures:,} exposures and no events {over}")
    bursts = _dispersion(pieces, lambda some: estimate_dispersion([Counts(one.exposures, one.events) for one in some]))
    return Level(min(whole.events / whole.exposures, 0.999), None, bursts)


def _of_mean(definition: MetricDefinition, whole: Sample, pieces: Sequence[Sample], over: str) -> Level:
    assert definition.cap is not None, "the catalogue demands it of a mean"
    sums = _sums(whole)
    if not sums.units:
        raise _silent(definition, f"no units {over}")
    amounts = Amounts(sums.mean, math.sqrt(sums.variance), definition.cap)
    clusters = _dispersion(pieces, lambda some: means.estimate_dispersion([_sums(piece) for piece in some]))
    return Level(None, amounts, clusters)


def _of_latency(definition: MetricDefinition, whole: Sample, pieces: Sequence[Sample], over: str) -> Level:
    seen = _histogram(definition, whole)
    if not seen.requests:
        raise _silent(definition, f"no requests {over}")
    latencies = Latencies(definition.buckets, seen.counts, seen.total, seen.squares)
    clusters = _dispersion(
        pieces, lambda some: scores.estimate_dispersion([_histogram(definition, piece) for piece in some])
    )
    return Level(None, latencies, clusters)


def _dispersion(pieces: Sequence[Sample], estimate: Callable[[Sequence[Sample]], float]) -> float:
    """The most that is found in the pieces, short and long."""
    return max(estimate(_joined(pieces, width)) for width in widths(len(pieces)))


def _joined(pieces: Sequence[Sample], width: int) -> Sequence[Sample]:
    """As many together as `width` says; what is left at the end goes without."""
    if width == 1:
        return pieces
    return [together(pieces[start : start + width]) for start in range(0, len(pieces) - width + 1, width)]


def span_of(definition: MetricDefinition, parts: Sequence[Sample]) -> tuple[float, float] | None:
    """The lowest and the highest mean, or latency, in parts of the past; None of a rate, and of too little."""
    match definition.kind:
        case MetricKind.MEAN:
            found = [_sums(part) for part in parts]
        case MetricKind.LATENCY:
            found = [latencies_of(_histogram(definition, part)) for part in parts]
        case _:
            return None
    levels = [one.mean for one in found if one.units >= TELLING]
    return (min(levels), max(levels)) if levels else None


def _sums(sample: Sample) -> means.Sums:
    return means.Sums(sample.exposures, sample.total, sample.total_squares)


def _histogram(definition: MetricDefinition, sample: Sample) -> Histogram:
    sums = (sample.total, sample.total_squares) if definition.sums else ()
    return Histogram.of(definition.edges, sample.buckets, *sums)


def _silent(definition: MetricDefinition, seen: str) -> CannotBeProven:
    return CannotBeProven(
        f"{definition.name} has {seen}, so no length of a stage can be computed. "
        "Check the metric's query, or name another metric in the spec."
    )
