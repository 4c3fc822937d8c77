"""What the metrics did lately: the baselines that stages are sized with."""

from dataclasses import dataclass
from datetime import timedelta

from tools.clock import Clock, in_words
from tools.flags.base import FlagState
from tools.gates import Counts, estimate_dispersion
from tools.metrics.base import MetricQuery, Reading, Window
from tools.metrics.catalogue import MetricKind
from tools.metrics.router import Metrics
from tools.plans.planner import Baseline, CannotBeProven, PlanningDefaults
from tools.specs.base import Kpi

SLICES = 40
"""Into how many pieces the past is cut, to see how bursty it is."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Reads baselines over the planning window."""

    metrics: Metrics
    defaults: PlanningDefaults
    clock: Clock

    async def baseline(self, kpi: Kpi, flag: FlagState, *, stated: str | None = None) -> Baseline:
        """What the metric did, without treatment. Raises CannotBeProven for a silent metric, UnknownMetric, …"""
        definition = self.metrics.define(kpi.metric)
        if definition.kind is not MetricKind.RATIO:
            raise CannotBeProven(
                f"{kpi.metric} is a {definition.kind}, and stages can only be sized for rates of events so far: leave "
                "it out of the plan, or count in a metric of its own what is too slow or too little."
            )
        window, slices = self._windows(kpi.metric)
        queries = [MetricQuery(kpi.metric, flag.ref.flag, flag.ref.environment, piece) for piece in (window, *slices)]
        # One after the other: planning must not crowd out the gates' own reads.
        whole, *pieces = [_without(await self.metrics.read(query), flag.treatment) for query in queries]
        if not whole.events:
            raise CannotBeProven(
                f"{kpi.metric} has {whole.exposures:,} exposures and no events for {flag.ref} in the last "
                f"{in_words(self.defaults.traffic_window)}, so no length of a stage can be computed. "
                "Check the metric's query, or name another metric in the spec."
            )
        minutes = max((window.end - window.start).total_seconds() / 60, 1e-9)
        paces = [piece.exposures / (minutes / SLICES) for piece in pieces]
        return Baseline(
            metric=kpi.metric,
            direction=kpi.direction,
            requests_per_minute=whole.exposures / minutes,
            base_rate=min(whole.events / whole.exposures, 0.999),
            dispersion=estimate_dispersion(pieces),
            margin=kpi.margin,
            stated=stated,
            quietest=min(paces),
            busiest=max(paces),
        )

    def of_catalogue(self, metric: str) -> Kpi:
        """The metric as the catalogue has it. Raises UnknownMetric."""
        definition = self.metrics.catalogue.get(metric)
        return Kpi(metric=definition.name, direction=definition.direction)

    def _windows(self, metric: str) -> tuple[Window, list[Window]]:
        end = self.clock.now() - self.metrics.define(metric).settle
        start = end - self.defaults.traffic_window
        step: timedelta = self.defaults.traffic_window / SLICES
        return Window(start, end), [Window(start + step * i, start + step * (i + 1)) for i in range(SLICES)]


def _without(reading: Reading, treatment: str) -> Counts:
    """Everything that treatment did not serve."""
    samples = [sample for variant, sample in reading.by_variant.items() if variant != treatment]
    return Counts(sum(sample.exposures for sample in samples), sum(sample.events for sample in samples))
