"""A metric's selections in InfluxQL, and the statements that count with them. Pure.

After https://docs.influxdata.com/influxdb/v1/query_language/spec/; what is used of it is the same in 1, 2 and 3. A
tag that a series does not have is the empty text in an answer. `increase` is no function of InfluxQL: what a counter
rose by needs each of its points, from the last one before the window on.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from tools.metrics.base import Window
from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.metrics.cells import NEWEST
from tools.metrics.counters import BEFORE, CounterTemplate, Key, WrongSelector, parse_counters
from tools.metrics.selections import Dialect, Selection, escaped, parse_selection

VALUE = "value"
INCREASE = "increase"
LOOKED_BACK = timedelta(days=7)
"""How far back is looked for any events at all."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Selections = CounterTemplate[Selection]


class Part(Enum):
    """What a statement answers of a column."""

    WHOLE = "its numbers, by question"
    INSIDE = "its counters' points in the window"
    BEFORE = "its counters' last points before the window"


@dataclass(frozen=True, slots=True)
class Statement:
    """What is run for a column, or what of its histogram is up to an upper edge."""

    column: str
    edge: float | None
    text: str
    part: Part = Part.WHOLE


INFLUXQL = Dialect(
    functions=("count", "sum", INCREASE),
    clauses=frozenset(["GROUP", "ORDER", "LIMIT", "OFFSET", "SLIMIT", "SOFFSET", "FILL", "INTO", "TZ", "TIME", "AS"]),
    regular=True,
    literal=escaped,
    name=lambda name: escaped(name, '"'),
    example="""SELECT sum("count") FROM "requests" WHERE "flag" = '$flag'""",
)


def parse_influxql(definition: MetricDefinition) -> Selections:
    """The definition's query, checked. Raises BadDefinition naming the metric and what to change."""
    return parse_counters(definition, _parsed, label=re.compile(r'[^"\\\x00-\x1f]+'))


def statements(template: Selections, keys: Iterable[Key], window: Window) -> list[Statement]:
    """What counts for all these keys at once, one statement a column and bucket, and the one for the newest sample."""
    values, made = template.values(keys), list[Statement]()
    group = f" GROUP BY {', '.join(map(INFLUXQL.name, template.labels))}"
    for column, one in template.selectors.items():
        if one.function == INCREASE:
            before, last = Window(window.start - BEFORE, window.start), f"last({one.field})"
            inside = _statement(one, one.field, values, window, " GROUP BY *")
            made.append(Statement(column, None, inside, Part.INSIDE))
            made.append(Statement(column, None, _statement(one, last, values, before, " GROUP BY *"), Part.BEFORE))
            continue
        for counted, edge, more in _counts(template, one):
            made.append(Statement(column, edge, _statement(one, counted, values, window, group, more)))
    newest = _statement(template.first, f"last({template.first.field})", values, window, group)
    return [*made, Statement(NEWEST, None, newest)]


def any_event(template: Selections, window: Window) -> str:
    """What answers a row if there were any events lately, of whatever flag."""
    events, lately = template.selectors["events"], Window(window.end - LOOKED_BACK, window.end)
    return _statement(events, events.field, {}, lately, " LIMIT 1")


def nanoseconds(moment: datetime) -> int:
    """Since 1970, as InfluxDB has it."""
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def _parsed(column: str, text: str) -> Selection:
    found = parse_selection(INFLUXQL, column, text)
    if found.field == "*":
        raise WrongSelector('count(*), which counts field by field; write one field, such as count("took")')
    return found


def _counts(template: Selections, one: Selection) -> Sequence[tuple[str, float | None, tuple[str, ...]]]:
    if template.definition.kind is not MetricKind.LATENCY:
        return [(one.counted, None, ())]
    count, edges = f"count({one.field})", template.definition.edges
    return [(count, edge, () if math.isinf(edge) else (f"{one.field} <= {edge!r}",)) for edge in edges]


def _statement(
    one: Selection,
    counted: str,
    values: Mapping[str, Sequence[str]],
    window: Window,
    rest: str,
    more: Sequence[str] = (),
) -> str:
    inside = (f"time >= {nanoseconds(window.start)}", f"time < {nanoseconds(window.end)}")
    where = " AND ".join((*one.conditions(values), *more, *inside))
    return f'SELECT {counted} AS "{VALUE}" FROM {one.source} WHERE {where}{rest}'  # noqa: S608 - values are escaped
