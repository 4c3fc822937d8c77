"""What the metrics did lately: the baselines that stages are sized with."""

from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent.planning.levels import level_of, span_of, without
from tools.clock import Clock, in_words
from tools.flags.base import FlagState
from tools.metrics.base import MetricQuery, Reading, Window, together
from tools.metrics.router import Metrics
from tools.plans.defaults import PACES, PlanningDefaults
from tools.plans.kinds import guards, is_sized
from tools.plans.mixes import mix_of
from tools.plans.model import Expected
from tools.plans.planner import Baseline, CannotBeProven
from tools.specs.base import Kpi

PATIENCE = timedelta(seconds=5)
"""So long one metric's past is read in fine pieces; a source that is slower is asked for the rest in coarse ones."""


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
        past = await self._past(kpi.metric, flag, self.defaults.slices)
        parts = [[without(piece, flag.treatment) for piece in part] for part in past]
        pieces = [piece for part in parts for piece in part]
        whole = together(pieces)
        over = f"for {flag.ref} in the last {in_words(self.defaults.traffic_window)}"
        level = level_of(definition, whole, pieces, over)
        minutes = max(self.defaults.traffic_window.total_seconds() / 60, 1e-9)
        in_parts = [together(part) for part in parts]
        paces = [part.exposures / (minutes / PACES) for part in in_parts]
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
            span=span_of(definition, in_parts),
        )

    async def mix(self, metric: str, flag: FlagState) -> Expected:
        """What the flag's traffic is made of. Raises NoMix where that can't be told, UnknownMetric, …"""
        past = await self._past(metric, flag, PACES)
        parts = [together(sample for piece in part for sample in piece.by_variant.values()) for part in past]
        return mix_of(metric, parts, self.defaults.traffic_window / PACES)

    def of_catalogue(self, metric: str) -> Kpi:
        """The metric as the catalogue has it. Raises UnknownMetric."""
        definition = self.metrics.catalogue.get(metric)
        return Kpi(metric=definition.name, direction=definition.direction)

    async def _past(self, metric: str, flag: FlagState, slices: int) -> list[list[Reading]]:
        """Its last `traffic_window` in PACES parts in order of time, each in `slices` / PACES pieces.

        Where the source has taken long, the rest of each part is one piece.

        One piece after the other: planning must not crowd out the gates' own reads.
        """
        began = self.clock.now()
        step = self.defaults.traffic_window / slices
        length = step * (slices // PACES)
        first = began - self.metrics.define(metric).settle - length * PACES
        windows = [Window(first + length * part, first + length * (part + 1)) for part in range(PACES)]
        variants = (flag.control, flag.treatment)
        asked = MetricQuery(metric, flag.ref.flag, flag.ref.environment, windows[0], variants)
        return [await self._part(replace(asked, window=window), step, began + PATIENCE) for window in windows]

    async def _part(self, query: MetricQuery, step: timedelta, patient_until: datetime) -> list[Reading]:
        """The window in pieces of `step` while there is time, and what is left of it in one."""
        pieces, read_until, end = list[Reading](), query.window.start, query.window.end
        async with aclosing(self.metrics.read_slices(query, step)) as slices:
            while read_until < end and self.clock.now() < patient_until:
                pieces.append(await anext(slices))
                read_until += step
        if read_until < end:
            pieces.append(await self.metrics.read(replace(query, window=Window(read_until, end))))
        return pieces
