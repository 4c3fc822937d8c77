"""What InfluxDB answers to a metric's statements, as cells. Pure.

A counter's points are added up series by series: what it rose by from one to the next, and all of it where it fell, for
then it was reset. A series that began in the window began at 0.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tools.metrics.cells import NEWEST, Cell
from tools.metrics.counters import Key
from tools.metrics.influxdb.influxql import VALUE, Part, Selections, Statement

NANOSECONDS = 1e9

Whose = tuple[Key, str | None, str | None]
"""The question, the variant and the segment."""

Tags = frozenset[tuple[str, str]]


def cells_of(template: Selections, answers: Iterable[tuple[Statement, Sequence[Any]]]) -> Iterator[Cell]:
    """Each statement's series. Raises KeyError, TypeError, ValueError and the like for what is no series of numbers."""
    before, inside = dict[tuple[str, Tags], float](), list[tuple[str, Any]]()
    for statement, found in answers:
        for one in found:
            if statement.part is Part.WHOLE:
                yield from _cell(template, statement, one)
            elif statement.part is Part.BEFORE:
                before[statement.column, _tags(one)] = _values(one)[-1]
            else:
                inside.append((statement.column, one))
    risen = defaultdict[tuple[str, Whose], float](float)
    for column, one in inside:
        risen[column, _whose(template, one)] += _increase(before.get((column, _tags(one)), 0.0), _values(one))
    for (column, (key, variant, segment)), value in risen.items():
        yield Cell(column, key, variant, value, segment)


def _cell(template: Selections, statement: Statement, series: Any) -> Iterator[Cell]:
    row = dict(zip(series["columns"], series["values"][0], strict=True))
    key, variant, segment = _whose(template, series)
    if row[VALUE] is not None:
        value = float(row[VALUE]) if statement.column != NEWEST else row["time"] / NANOSECONDS
        yield Cell(statement.column, key, variant, value, segment if statement.edge is None else statement.edge)


def _whose(template: Selections, series: Any) -> Whose:
    tags: Mapping[str, str] = series.get("tags") or {}
    key = tuple([tags.get(label, "") for label, _ in template.open])
    segment = tags.get(template.query.segment) or None if template.query.segment else None
    return key, tags.get(template.query.variant) or None, segment


def _tags(series: Any) -> Tags:
    """Which series it is; an empty tag is one that it does not have."""
    return frozenset((name, value) for name, value in (series.get("tags") or {}).items() if value)


def _values(series: Any) -> list[float]:
    place = series["columns"].index(VALUE)
    return [float(row[place]) for row in series["values"]]


def _increase(last: float, values: Iterable[float]) -> float:
    total = 0.0
    for value in values:
        total += value - last if value >= last else value
        last = value
    return total
