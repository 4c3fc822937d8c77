"""How high a metric was and how much it varied, by its kind: what samples of its past say. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tools.errors import InvalidInput
from tools.gates import Counts, estimate_dispersion, means, scores
from tools.gates.amounts import Amounts, Latencies
from tools.gates.histograms import Histogram
from tools.metrics.base import Reading, Sample, together
from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.plans.planner import CannotBeProven


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
    counts = [Counts(piece.exposures, piece.events) for piece in pieces]
    return Level(min(whole.events / whole.exposures, 0.999), None, estimate_dispersion(counts))


def _of_mean(definition: MetricDefinition, whole: Sample, pieces: Sequence[Sample], over: str) -> Level:
    assert definition.cap is not None, "the catalogue demands it of a mean"
    sums = _sums(whole)
    if not sums.units:
        raise _silent(definition, f"no units {over}")
    amounts = Amounts(sums.mean, math.sqrt(sums.variance), definition.cap)
    return Level(None, amounts, means.estimate_dispersion([_sums(piece) for piece in pieces]))


def _of_latency(definition: MetricDefinition, whole: Sample, pieces: Sequence[Sample], over: str) -> Level:
    seen = _histogram(definition, whole)
    if not seen.requests:
        raise _silent(definition, f"no requests {over}")
    latencies = Latencies(definition.buckets, seen.counts, seen.total, seen.squares)
    return Level(None, latencies, scores.estimate_dispersion([_histogram(definition, piece) for piece in pieces]))


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
