"""What the metrics did lately: the baselines that stages are sized with."""

from dataclasses import dataclass
from datetime import timedelta

from agent.planning.levels import level_of, without
from tools.clock import Clock, in_words
from tools.flags.base import FlagState
from tools.metrics.base import MetricQuery, Sample, Window, together
from tools.metrics.router import Metrics
from tools.plans.defaults import PlanningDefaults
from tools.plans.kinds import guards, is_sized
from tools.plans.mixes import mix_of
from tools.plans.model import Expected
from tools.plans.planner import Baseline, CannotBeProven
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
        """What the metric did, without treatment.

        Raises CannotBeProven for a silent metric and for one that no stage is sized with, UnknownMetric, …
        """
        definition = self.metrics.define(kpi.metric)
        if not is_sized(definition.kind):
            what = "counts assignments" if guards(definition.kind) else "says what requests are made of"
            raise CannotBeProven(f"{kpi.metric} {what}: it watches stages by itself, and no stage is sized with it.")
        window, slices = self._windows(kpi.metric)
        queries = [MetricQuery(kpi.metric, flag.ref.flag, flag.ref.environment, piece) for piece in (window, *slices)]
        # One after the other: planning must not crowd out the gates' own reads.
        whole, *pieces = [without(await self.metrics.read(query), flag.treatment) for query in queries]
        over = f"for {flag.ref} in the last {in_words(self.defaults.traffic_window)}"
        level = level_of(definition, whole, pieces, over)
        minutes = max((window.end - window.start).total_seconds() / 60, 1e-9)
        paces = [piece.exposures / (minutes / SLICES) for piece in pieces]
        return Baseline(
            metric=kpi.metric,
            direction=kpi.direction,
            requests_per_minute=whole.exposures / minutes,
            base_rate=level.base_rate,
            dispersion=level.dispersion,
            margin=kpi.margin,
            stated=stated,
            quietest=min(paces),
            busiest=max(paces),
            values=level.values,
            unit=definition.unit,
        )

    async def mix(self, metric: str, flag: FlagState) -> Expected:
        """What the flag's traffic is made of. Raises NoMix where that can't be told, UnknownMetric, …"""
        _, slices = self._windows(metric)
        pieces = list[Sample]()
        for window in slices:
            reading = await self.metrics.read(MetricQuery(metric, flag.ref.flag, flag.ref.environment, window))
            pieces.append(together(reading.by_variant.values()))
        return mix_of(metric, pieces, self.defaults.traffic_window / SLICES)

    def of_catalogue(self, metric: str) -> Kpi:
        """The metric as the catalogue has it. Raises UnknownMetric."""
        definition = self.metrics.catalogue.get(metric)
        return Kpi(metric=definition.name, direction=definition.direction)

    def _windows(self, metric: str) -> tuple[Window, list[Window]]:
        end = self.clock.now() - self.metrics.define(metric).settle
        start = end - self.defaults.traffic_window
        step: timedelta = self.defaults.traffic_window / SLICES
        return Window(start, end), [Window(start + step * i, start + step * (i + 1)) for i in range(SLICES)]
