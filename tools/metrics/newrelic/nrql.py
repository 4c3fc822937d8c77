"""A metric's selections in NRQL, and the queries that count with them. Pure.

After https://docs.newrelic.com/docs/nrql/nrql-syntax-clauses-functions/. FACET says nothing of events without the
attribute, so that these are asked for on their own.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tools.metrics.base import Window
from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.metrics.cells import NEWEST
from tools.metrics.counters import CounterTemplate, Key, Moments, parse_counters
from tools.metrics.selections import Dialect, Selection, escaped, parse_selection

LARGEST_ANSWER = 5_000
"""Groups in one answer at most: what LIMIT MAX stands for."""

LOOKED_BACK = timedelta(days=7)
"""How far back is looked for any events at all."""

VALUE = "value"

Selections = CounterTemplate[Selection]

CLAUSES = ("FACET", "TIMESERIES", "SINCE", "UNTIL", "LIMIT", "OFFSET", "COMPARE", "WITH", "ORDER", "EXTRAPOLATE")

NRQL = Dialect(
    functions=("count", "sum"),
    clauses=frozenset({*CLAUSES, "SLIDE", "JOIN", "AS", "TIMESTAMP"}),
    regular=False,
    literal=escaped,
    name=lambda name: f"`{name}`",
    example="SELECT count(*) FROM Transaction WHERE feature_flag.key = '$flag'",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One NRQL query: of which column, what it is grouped by, and by which names its answer has the counts.

    `facets` are the labels in the order of an answer's; those missing have no value in what is counted. `edges` are the
    upper edges of a histogram's counts.
    """

    column: str
    facets: tuple[str, ...]
    edges: tuple[float, ...]
    text: str


def parse_nrql(definition: MetricDefinition) -> Selections:
    """The definition's query, checked. Raises BadDefinition naming the metric and what to change."""
    return parse_counters(
        definition,
        lambda column, text: parse_selection(NRQL, column, text),
        label=re.compile(r"[^`\\\x00-\x1f]+"),
    )


def queries(template: Selections, keys: Iterable[Key], window: Window) -> list[Asked]:
    """What counts for all these keys at once, by column and by which of the labels are there."""
    values = template.values(keys)
    return [
        _asked(template, column, one, absent, values, window)
        for column, one in template.selectors.items()
        for absent in _absences(template.arms)
    ]


def any_event(template: Selections, window: Window) -> str:
    """What counts the events there were lately, of whatever flag."""
    events, lately = template.selectors["events"], Window(window.end - LOOKED_BACK, window.end)
    conditions = events.conditions({})
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT count(*) AS {VALUE} FROM {events.source}{where}{_span(lately)}"  # noqa: S608 - values are escaped


def _asked(
    template: Selections,
    column: str,
    one: Selection,
    absent: Sequence[str],
    values: Mapping[str, Sequence[str]],
    window: Window,
) -> Asked:
    edges = template.definition.edges if template.definition.kind is MetricKind.LATENCY else ()
    facets = tuple(label for label in template.labels if label not in absent)
    there = (f"{NRQL.name(label)} IS {'' if label in absent else 'NOT '}NULL" for label in template.arms)
    moments = Moments.of(window.start, window.end)
    inside = (f"timestamp >= {moments.start}", f"timestamp < {moments.end}")
    where = " AND ".join((*one.conditions(values), *there, *inside))
    group = f" FACET {', '.join(map(NRQL.name, facets))} LIMIT MAX" if facets else ""
    # Groups are found by the first function, whose attribute each event has.
    counted = ", ".join((f"max(timestamp) AS {NEWEST}", *_counts(one, edges)))
    text = f"SELECT {counted} FROM {one.source} WHERE {where}{group}{_span(window)}"  # noqa: S608 - values are escaped
    return Asked(column, facets, edges, text)


def _counts(one: Selection, edges: Sequence[float]) -> Iterator[str]:
    if not edges:
        yield f"{one.counted} AS {VALUE}"
    for place, edge in enumerate(edges):
        counted = f"count({one.field})"
        narrower = counted if math.isinf(edge) else f"filter({counted}, WHERE {one.field} <= {edge!r})"
        yield f"{narrower} AS {VALUE}{place}"


def _span(window: Window) -> str:
    """What is read at all, to whole milliseconds; its end does not count in it."""
    moments = Moments.of(window.start, window.end)
    return f" SINCE {moments.start} UNTIL {moments.end}"


def _absences(labels: Sequence[str]) -> Iterator[Sequence[str]]:
    """Every choice of labels that may be missing, none of them first."""
    for many in range(len(labels) + 1):
        yield from itertools.combinations(labels, many)
