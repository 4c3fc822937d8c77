"""What a source answered to a metric's selectors, number by number, put together to each question's rows. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tools.metrics.answer import SEGMENT
from tools.metrics.base import BadMetricAnswer, Window
from tools.metrics.catalogue import MetricKind
from tools.metrics.counters import Absent, CounterTemplate, Key, Selector

NEWEST = "newest"
"""The column with the moment of the newest sample, in seconds since 1970."""

KNOWN = "known"
"""The column that there is where there are any events at all, of whatever flag."""


class Cell(NamedTuple):
    """One number: of which column and question, for which variant.

    `within` is the segment of a mix, and of a column of buckets the upper edge up to which was counted.
    """

    column: str
    key: Key
    variant: str | None
    value: float
    within: str | float | None = None


class Rows:
    """The answer to one metric's query, by question. With `own_edges` the values were counted up to the metric's own
    edges, so that one without a count has none; else the edges are those that a histogram happens to have.

    Raises BadMetricAnswer for two numbers of one column, question, variant and segment.
    """

    def __init__(
        self, template: CounterTemplate[Any], window: Window, cells: Iterable[Cell], *, own_edges: bool = False
    ) -> None:
        self._own_edges = own_edges
        self._template: CounterTemplate[Selector] = template
        # What was counted has a newest sample in the window; where its series are gone by now, nobody knows when.
        self._oldest = window.start.timestamp()
        self._by_key = defaultdict[Key, dict[tuple[str | None, str | float | None], dict[str, float]]](dict)
        self._edges = defaultdict[Key, dict[str | None, dict[float, float]]](dict)
        self._columns = set[str]()
        try:
            self._add(cells)
        except TypeError:
            # What no dictionary can have as a key.
            raise self._bad("has a label that is no text") from None

    def _add(self, cells: Iterable[Cell]) -> None:
        for cell in cells:
            column, key, variant, value, within = cell
            if column == "buckets":
                row: dict[Any, float] = self._edges[key].setdefault(variant, {})
                name: Any = within
            elif column == KNOWN:
                self._columns.add(column)
                continue
            else:
                self._columns.add(column)
                row, name = self._by_key[key].setdefault((variant, within), {}), column
            if name in row:
                raise self._bad(f"has two rows of one variant in {column}")
            row[name] = value

    @property
    def lacks_events(self) -> bool:
        """Whether exposures were counted, and of nobody any events, though the metric has such."""
        wanted = "events" in self._template.selectors and self._template.query.absent is Absent.UNKNOWN
        return wanted and "exposures" in self._columns and not self._columns & {"events", KNOWN}

    def of(self, key: Key) -> tuple[Sequence[str], list[Sequence[Any]]]:
        """The columns, and the question's rows. Raises BadMetricAnswer."""
        kind = self._template.definition.kind
        if kind is MetricKind.LATENCY:
            return ("variant", "exposures", "bucket", "newest"), list(self._bucket_rows(key))
        found = self._by_key.get(key, {})
        cells = [(group, row) for group, row in found.items() if "exposures" in row]
        newest = [row.get(NEWEST, self._oldest) for _, row in cells]
        if kind is MetricKind.RATIO:
            rows = [(variant, row["exposures"], row.get("events", 0.0)) for (variant, _), row in cells]
            return ("variant", "exposures", "events", "newest"), _with(rows, newest)
        if kind is MetricKind.MEAN:
            self._require_sums([row for _, row in cells])
            sums = [(group[0], row["exposures"], row["total"], row["total_squares"]) for group, row in cells]
            return ("variant", "exposures", "total", "total_squares", "newest"), _with(sums, newest)
        if kind is MetricKind.MIX:
            mixed = [(variant, row["exposures"], segment) for (variant, segment), row in cells]
            return ("variant", "exposures", SEGMENT, "newest"), _with(mixed, newest)
        return ("variant", "exposures", "newest"), _with([(group[0], row["exposures"]) for group, row in cells], newest)

    def _require_sums(self, rows: Sequence[Mapping[str, float]]) -> None:
        for row in rows:
            for column in ("total", "total_squares"):
                if column not in row:
                    raise self._bad(f"counts exposures without {column}; both must have the same labels")

    def _bucket_rows(self, key: Key) -> Iterable[Sequence[Any]]:
        for variant, found in self._edges.get(key, {}).items():
            newest = self._by_key.get(key, {}).get((variant, None), {}).get(NEWEST, self._oldest)
            below = 0.0
            for edge in self._template.definition.edges:
                if edge not in found and self._own_edges:
                    found[edge] = below
                if edge not in found:
                    there = ", ".join(f"{one:g}" for one in sorted(found))
                    raise self._bad(
                        f"has no bucket up to {edge:g}; there are {there}: take the metric's buckets from them"
                    )
                # Estimates of what was reset may fall by a little from one edge to the next.
                reached = max(below, round(found[edge])) if math.isfinite(found[edge]) else found[edge]
                yield variant, reached - below, edge, newest
                below = reached

    def _bad(self, problem: str) -> BadMetricAnswer:
        return BadMetricAnswer(f"The answer to the metric {self._template.definition.name!r} {problem}.")


def _with(rows: Iterable[Sequence[Any]], newest: Iterable[float]) -> list[Sequence[Any]]:
    return [(*row, moment) for row, moment in zip(rows, newest, strict=True)]
