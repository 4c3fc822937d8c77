"""A metric's query in Prometheus: selectors of counters, and the one expression that counts with them. Pure.

A counter is counted from the last sample before the window to the last one in it, series by series, so that windows
side by side count every increment once; `increase` alone extrapolates, and says nothing of a window with one sample.
A series that began in the window began at 0. One that fell was reset: what it reached since counts, and where it was
reset amid the window, Prometheus's own `increase`.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tools.metrics.base import MetricQuery, Window
from tools.metrics.catalogue import BadDefinition, MetricDefinition, MetricKind

COLUMN = "sluice_column"
NEWEST, KNOWN = "newest", "known"
EDGE = "le"
BEFORE = "5m"
"""How long before the window the last sample of a series may be; Prometheus looks back as far."""

PLACEHOLDERS = ("flag", "environment")
COLUMNS: Mapping[MetricKind, tuple[str, ...]] = {
    MetricKind.RATIO: ("exposures", "events"),
    MetricKind.MEAN: ("exposures", "total", "total_squares"),
    MetricKind.LATENCY: ("buckets",),
    MetricKind.ASSIGNMENTS: ("exposures",),
    MetricKind.MIX: ("exposures",),
}

_LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*"
_MATCHER = rf"""\s*({_LABEL})\s*(=~|!~|!=|=)\s*("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`[^`]*`)\s*"""
_SELECTOR = re.compile(rf"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(?:\{{((?:{_MATCHER}(?:,|(?=\}})))*)\s*\}})?\s*")
_MATCHERS = re.compile(_MATCHER)
_PLACEHOLDER = re.compile(r"\$(\w+)")


class Absent(StrEnum):
    """What it means that no series of events is there while there are exposures."""

    UNKNOWN = "unknown"  # none happened if other flags have some, otherwise nobody knows
    ZERO = "zero"  # none happened


class CounterQuery(BaseModel):
    """A metric's query in Prometheus, or a server that speaks its language: a selector of counters for each column.

    A selector is a name and matchers, in which `"$flag"` and `"$environment"` stand for what is asked about. `variant`
    and `segment` are labels. `buckets` is a latency's histogram: its counters by `le`, in the unit of the metric's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    exposures: str = ""
    events: str = ""
    total: str = ""
    total_squares: str = ""
    buckets: str = ""
    variant: Annotated[str, Field(pattern=rf"^{_LABEL}$")] = "variant"
    segment: Annotated[str, Field(pattern=rf"^({_LABEL})?$")] = ""
    absent: Absent = Absent.UNKNOWN


@dataclass(frozen=True, slots=True)
class Selector:
    """Series by name and matchers: `fixed` as they are written, `open` the labels whose value is the question's."""

    name: str
    fixed: tuple[str, ...]
    open: tuple[tuple[str, str], ...]

    def text(self, opened: Mapping[str, str]) -> str:
        """The selector with the open labels' matchers; without those that `opened` has none for."""
        matchers = [*self.fixed, *(opened[label] for label, _ in self.open if label in opened)]
        return f"{self.name}{{{', '.join(matchers)}}}" if matchers or not self.name else self.name


@dataclass(frozen=True, slots=True)
class Moments:
    """A window in milliseconds since 1970, from `start` (inclusive) to `end` (exclusive)."""

    start: int
    end: int

    @classmethod
    def of(cls, start: datetime, end: datetime) -> "Moments":
        """Samples have whole milliseconds."""
        millisecond, zero = timedelta(milliseconds=1), datetime.fromtimestamp(0, start.tzinfo)
        return cls((start - zero) // millisecond, (end - zero) // millisecond)


@dataclass(frozen=True)
class CounterTemplate:
    """A checked query of one metric: its selectors by column.

    `open` are the labels that tell one question's series from another's, each with its template.
    """

    definition: MetricDefinition
    query: CounterQuery
    selectors: Mapping[str, Selector]
    open: tuple[tuple[str, str], ...]

    @cached_property
    def shown_by(self) -> str:
        """What an answer's rows of one question are told apart by."""
        return _list(self.labels[len(self.open) :])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What is counted by."""
        kind = self.definition.kind
        more = {MetricKind.LATENCY: (EDGE,), MetricKind.MIX: (self.query.segment,)}.get(kind, ())
        return (*(label for label, _ in self.open), self.query.variant, *more)

    def key(self, query: MetricQuery) -> tuple[str, ...]:
        """The values of the open labels in this question, by which its part of an answer is found."""
        values = {"flag": query.flag, "environment": query.environment}
        return tuple(_filled(template, values) for _, template in self.open)

    def expression(self, keys: Iterable[tuple[str, ...]], moments: Moments) -> str:
        """One expression for all these keys at once, each column's rows labelled with its name."""
        opened = self._opened(keys)
        parts = [
            _named(_counted(selector.text(opened), self.labels, moments), column)
            for column, selector in self.selectors.items()
        ]
        first = next(iter(self.selectors.values()))
        newest = f"max by ({_list(self._whose)}) (timestamp({first.text(opened)} @ {_at(moments.end)}))"
        parts.append(_named(newest, NEWEST))
        if "events" in self.selectors and self.query.absent is Absent.UNKNOWN:
            known = f"count({self.selectors['events'].text({})} @ {_at(moments.end)})"
            parts.append(_named(known, KNOWN))
        return "\nor ".join(parts)

    def shown(self, query: MetricQuery, window: str) -> str:
        """What is counted for one question, in few lines: checks keep it. `window` is what `spoken` says of it."""
        opened = {label: _one_of(label, (value,)) for (label, _), value in zip(self.open, self.key(query), strict=True)}
        lines = [f"{column}: {selector.text(opened)}\n" for column, selector in self.selectors.items()]
        return f"{''.join(lines)}# {query.flag!r} in {query.environment!r} by {self.shown_by}, {window}"

    @property
    def _whose(self) -> tuple[str, ...]:
        return tuple(label for label in self.labels if label != EDGE)

    def _opened(self, keys: Iterable[tuple[str, ...]]) -> dict[str, str]:
        """The open labels' matchers."""
        columns = zip(self.open, zip(*keys, strict=True), strict=False)
        return {label: _one_of(label, tuple(dict.fromkeys(found))) for (label, _), found in columns}


def spoken(window: Window) -> str:
    """The window, for people."""
    return f"from {window.start.isoformat()} to {window.end.isoformat()}"


def parse_counters(definition: MetricDefinition) -> CounterTemplate:
    """The definition's query, checked. Raises BadDefinition naming the metric and what to change."""
    if isinstance(definition.query, str):
        columns = " and ".join(COLUMNS[definition.kind])
        raise _refused(definition, f"must be a table that has a selector for {columns}, such as query.exposures = '…'")
    try:
        query = CounterQuery.model_validate(definition.query)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _refused(definition, f"has a wrong {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    _check_columns(definition, query)
    selectors = {column: _parsed(definition, column, getattr(query, column)) for column in COLUMNS[definition.kind]}
    template = CounterTemplate(definition, query, selectors, next(iter(selectors.values())).open)
    for column, selector in selectors.items():
        if selector.open != template.open:
            raise _refused(definition, f"must name $flag and $environment in {column} in the same labels as before it")
    if len(set(template.labels)) < len(template.labels) or COLUMN in template.labels:
        raise _refused(definition, f"uses one label for two things; it counts by {_list(template.labels)}")
    return template


def _check_columns(definition: MetricDefinition, query: CounterQuery) -> None:
    kind, needed = definition.kind, COLUMNS[definition.kind]
    for column in ("exposures", "events", "total", "total_squares", "buckets"):
        if bool(getattr(query, column)) is not (column in needed):
            problem = "needs" if column in needed else "can't have"
            raise _refused(definition, f"{problem} {column}, being of the kind {kind}: it has {', '.join(needed)}")
    if bool(query.segment) is not (kind is MetricKind.MIX):
        raise _refused(definition, "needs the label of its segment, being a mix, or has one, not being a mix")
    if definition.sums:
        raise _refused(definition, "has no sum of squares, so that the metric can't have sums; remove sums")


def _parsed(definition: MetricDefinition, column: str, text: str) -> Selector:
    found = _SELECTOR.fullmatch(text)
    if found is None or not text.strip():
        raise _refused(
            definition,
            f"has in {column} no selector: write a counter's name and its matchers, such as "
            'http_requests_total{flag="$flag", code=~"5.."}, without functions',
        )
    fixed, open_ = list[str](), list[tuple[str, str]]()
    for label, operator, literal in _MATCHERS.findall(found[2] or ""):
        names = _PLACEHOLDER.findall(literal) if operator == "=" or "$flag" in literal or "$env" in literal else []
        if not names:
            fixed.append(f"{label}{operator}{literal}")
            continue
        for name in names:
            if name not in PLACEHOLDERS:
                raise _refused(definition, f"has ${name} in {column}; allowed are $flag and $environment")
        if operator != "=" or "\\" in literal:
            raise _refused(definition, f'has {label}{operator}{literal} in {column}; write {label}="${names[0]}"')
        open_.append((label, literal[1:-1]))
    return Selector(found[1] or "", tuple(fixed), tuple(sorted(open_)))


def _counted(series: str, by: Iterable[str], moments: Moments) -> str:
    span, end = f"[{moments.end - moments.start}ms]", _at(moments.end)
    last = f"last_over_time({series}{span} @ {end})"
    before = f"last_over_time({series}[{BEFORE}] @ {_at(moments.start)})"
    reset = f"increase({series}{span} @ {end}) and resets({series}{span} @ {end}) > 0"
    return f"sum by ({_list(by)}) (({reset}) or ({last} - {before} >= 0) or {last})"


def _named(expression: str, column: str) -> str:
    return f'label_replace({expression}, "{COLUMN}", "{column}", "", "")'


def _at(moment: int) -> str:
    """Just before it: windows end before their last millisecond, and Prometheus's include it."""
    return f"{(moment - 1) / 1000:.3f}"


def _one_of(label: str, values: Sequence[str]) -> str:
    if len(values) == 1:
        return f"{label}={quoted(values[0])}"
    return f"{label}=~{quoted('|'.join(map(re.escape, values)))}"


def quoted(value: str) -> str:
    """A string of PromQL: JSON's escapes are among Go's."""
    return json.dumps(value.encode("utf-8", "replace").decode(), ensure_ascii=False)


def _filled(template: str, values: Mapping[str, str]) -> str:
    whole = values.get(template[1:])
    return whole if whole is not None else _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _refused(definition: MetricDefinition, problem: str) -> BadDefinition:
    return BadDefinition(
        f"The query of the metric {definition.name!r} {problem}.", metric=definition.name, field="query"
    )
