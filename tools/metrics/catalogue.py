"""The metrics that plans may name, and how each is asked for."""

import difflib
import math
from collections.abc import Iterable, Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tools.errors import ConfigurationError
from tools.gates import Direction
from tools.gates.histograms import wrong_edges
from tools.metrics.base import UnknownMetric


class BadDefinition(ConfigurationError):
    """A metric is defined in a way that can't be used: its name, the field that is wrong, and what would be right."""

    def __init__(self, message: str, *, metric: str, field: str) -> None:
        super().__init__(message)
        self.metric = metric
        self.field = field


class MetricKind(StrEnum):
    """What a metric's numbers are, and so which test may judge them."""

    RATIO = "ratio"  # events among exposures: errors, conversions
    MEAN = "mean"  # an amount for each unit: revenue
    LATENCY = "latency"  # a histogram of how long requests took
    ASSIGNMENTS = "assignments"  # units that got a variant for the first time: the sample ratio
    MIX = "mix"  # what the requests are made of: tenants, regions, devices


class TimeFormat(StrEnum):
    """How a source stores moments, so that a window's edges are compared as it compares its own."""

    DATETIME = "datetime"  # the database's own type; without a zone it means UTC
    EPOCH = "epoch"  # seconds since 1970-01-01 UTC, whole or with a fraction
    ISO = "iso"  # text like 2026-01-31T12:00:00.500Z: always UTC, always with as many digits


class MetricDefinition(BaseModel):
    """One metric of the catalogue. `query` is the source's own language, with the source's own parameters: a text, or
    a table of several.

    `settle` is how long after a moment all its rows are there: a window that ends later than that is incomplete.
    `direction` is the change that is harm where a plan does not say otherwise. `objective` is the highest acceptable
    rate, in events per exposure: what is left of it over a window is the error budget.

    A mean needs `cap`: the query cuts every unit's value at it, on both sides, before it sums and squares, so that no
    single unit decides a rollout. A latency needs `buckets`: all upper edges but infinity, rising; with `sums` the
    query answers the latencies' sum and sum of squares as well, which decides sooner. Assignments have exposures alone:
    each unit once, in the window in which it first got its variant. A mix has exposures by `segment`, which may be
    anything that tells requests apart: it guards nothing, and what of it drifts is said.

    `unit_query` is the same question, answered unit by unit (a user, a session): the query's columns and `unit`, which
    is NULL for those that need not be told apart, such as users without an event. Only backtests ask it: with it they
    deal users to the arms, as the flag does, instead of counts.

    `route` is the one, such as POST /checkout, that a metric is about: it is suggested where that changes in a spec,
    and guards only where somebody names it. With `routes` the metric stands for one of each, `NAME.post_checkout`,
    whose query has it as `$route`, or `$method` and `$path`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,79}$")]
    source: Annotated[str, Field(min_length=1)]
    title: Annotated[str, Field(min_length=1, max_length=120)]
    unit: Annotated[str, Field(max_length=40)] = ""
    kind: MetricKind = MetricKind.RATIO
    query: Annotated[str, Field(min_length=1)] | Annotated[dict[str, str], Field(min_length=1)]
    time_format: TimeFormat = TimeFormat.DATETIME
    settle: Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(hours=24))] = timedelta(0)
    direction: Direction = Direction.INCREASE
    objective: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    cap: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)] | None = None
    buckets: Annotated[tuple[float, ...], Field(max_length=63)] = ()
    sums: bool = False
    unit_query: Annotated[str, Field(min_length=1)] | None = None
    route: Annotated[str, Field(min_length=1)] | None = None
    routes: Annotated[tuple[str, ...], Field(max_length=200)] = ()

    @model_validator(mode="after")
    def _check_objective(self) -> Self:
        if self.objective is not None and self.kind is MetricKind.ASSIGNMENTS:
            raise ValueError("assignments are held against the plan's share and have no objective")
        if self.objective is not None and self.kind is MetricKind.MIX:
            raise ValueError("a mix guards nothing and has no objective")
        if self.objective is not None and self.direction is not Direction.INCREASE:
            raise ValueError("an objective is the highest acceptable rate, so the metric's harm must be an increase")
        if self.objective is not None and self.kind is not MetricKind.RATIO:
            raise ValueError(f"an objective is a rate, which a {self.kind} has none of")
        return self

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if (self.cap is not None) is not (self.kind is MetricKind.MEAN):
            raise ValueError("a mean needs a cap, at which the query cuts every unit's value, and nothing else has one")
        if bool(self.buckets) is not (self.kind is MetricKind.LATENCY):
            raise ValueError("a latency needs buckets, all upper edges but infinity, and nothing else has them")
        if self.sums and self.kind is not MetricKind.LATENCY:
            raise ValueError("sums say that a latency's query answers them; a mean's always does")
        if self.kind is MetricKind.LATENCY and self.direction is not Direction.INCREASE:
            raise ValueError("a latency does harm when it increases")
        if self.unit_query is not None and self.kind is MetricKind.LATENCY:
            raise ValueError("a latency's buckets are dealt as they are, so it has no unit_query")
        if self.unit_query is not None and self.kind is MetricKind.ASSIGNMENTS:
            raise ValueError("a backtest deals the units itself, so assignments have no unit_query")
        if self.unit_query is not None and self.kind is MetricKind.MIX:
            raise ValueError("a backtest does not replay a mix, so it has no unit_query")
        if self.buckets and (wrong := wrong_edges(self.edges)) is not None:
            raise ValueError(wrong)
        return self

    @property
    def edges(self) -> tuple[float, ...]:
        """All the upper edges of a latency's buckets, the last infinity; empty for other kinds."""
        return (*self.buckets, math.inf) if self.buckets else ()


class Catalogue:
    """Metric definitions by name. Raises ConfigurationError for a name given twice."""

    def __init__(self, definitions: Iterable[MetricDefinition]) -> None:
        self._by_name: dict[str, MetricDefinition] = {}
        for definition in definitions:
            if definition.name in self._by_name:
                raise ConfigurationError(f"The metric {definition.name!r} is defined twice; remove one.")
            self._by_name[definition.name] = definition

    def __iter__(self) -> Iterator[MetricDefinition]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> MetricDefinition:
        """The definition of that name. Raises UnknownMetric, listing near names or else the known ones."""
        if name not in self._by_name:
            raise UnknownMetric(f"No metric is called {name!r}. {self._known(name)}")
        return self._by_name[name]

    @property
    def kinds(self) -> dict[str, MetricKind]:
        """What each metric's numbers are, by its name."""
        return {definition.name: definition.kind for definition in self}

    def of_source(self, source: str) -> "Catalogue":
        """The metrics that this source answers."""
        return Catalogue(definition for definition in self if definition.source == source)

    def _known(self, name: str) -> str:
        if not self._by_name:
            return "The catalogue is empty: define metrics in the settings."
        near = difflib.get_close_matches(name, self._by_name, n=3)
        return (
            f"Did you mean {', '.join(near)}?" if near else f"Known metrics: {', '.join(sorted(self._by_name)[:20])}."
        )
