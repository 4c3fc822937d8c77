"""A metric's query as a table: for each column a selector, in the source's own language, of what is counted. Pure.

What the sources of such tables have in common: which columns a kind needs, and which labels tell one question's answer
from another's.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Annotated, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tools.metrics.base import MetricQuery, Window
from tools.metrics.catalogue import BadDefinition, MetricDefinition, MetricKind

PLACEHOLDERS = ("flag", "environment")
COLUMNS: Mapping[MetricKind, tuple[str, ...]] = {
    MetricKind.RATIO: ("exposures", "events"),
    MetricKind.MEAN: ("exposures", "total", "total_squares"),
    MetricKind.LATENCY: ("buckets",),
    MetricKind.ASSIGNMENTS: ("exposures",),
    MetricKind.MIX: ("exposures",),
}
ALL_COLUMNS = ("exposures", "events", "total", "total_squares", "buckets")

_PLACEHOLDER = re.compile(r"\$(\w+)")

BEFORE = timedelta(hours=1)
"""How long before a window the last sample of a counter may be. One that was silent for longer is taken for a new one,
and all that it ever counted for what came in the window."""
KEYS_KEPT = 4096
"""Of how many flags and environments the words are remembered."""

Key = tuple[str, ...]
"""The values of the open labels in one question, by which its part of an answer is found."""

Open = tuple[tuple[str, str], ...]
"""Labels whose value is the question's, each with its template."""

Label = Annotated[str, Field(max_length=200)]


class WrongSelector(Exception):
    """A selector can't be used: what of it, and what would be right."""


class Selector(Protocol):
    """What is counted in one column."""

    @property
    def open(self) -> Open:
        """The labels whose value is the question's, in the order of their names."""
        ...

    def text(self, values: Mapping[str, Sequence[str]]) -> str:
        """The selector with the open labels at one of these values; without those that `values` has none for."""
        ...


S = TypeVar("S", bound=Selector)


class Absent(StrEnum):
    """What it means that nothing of events is there while there are exposures."""

    UNKNOWN = "unknown"  # none happened if any ever did, otherwise nobody knows
    ZERO = "zero"  # none happened


class CounterQuery(BaseModel):
    """A metric's query: a selector for each column, in which `$flag` and `$environment` stand for what is asked about.

    `variant` and `segment` are the labels (tags, attributes) that are counted by. `buckets` is what a latency's
    histogram is made of.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    exposures: str = ""
    events: str = ""
    total: str = ""
    total_squares: str = ""
    buckets: str = ""
    variant: Label = "variant"
    segment: Label = ""
    absent: Absent = Absent.UNKNOWN


@dataclass(frozen=True)
class CounterTemplate(Generic[S]):
    """A checked query of one metric: its selectors by column, and the labels that tell questions apart."""

    definition: MetricDefinition
    query: CounterQuery
    selectors: Mapping[str, S]
    open: Open
    fold: Callable[[str], str] = str

    @property
    def first(self) -> S:
        """What everything else is held against: exposures, or a histogram."""
        return next(iter(self.selectors.values()))

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """The labels by which one question's rows are told apart."""
        return (self.query.variant, self.query.segment) if self.query.segment else (self.query.variant,)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels that are counted by."""
        return (*(label for label, _ in self.open), *self.arms)

    def key(self, query: MetricQuery) -> Key:
        """The values of the open labels in this question."""
        values = {"flag": query.flag, "environment": query.environment}
        return tuple([self.fold(_filled(template, values)) for _, template in self.open])

    def values(self, keys: Iterable[Key]) -> dict[str, Sequence[str]]:
        """Those that each open label has in these, each once."""
        columns = zip(self.open, zip(*keys, strict=True), strict=False)
        return {label: tuple(dict.fromkeys(found)) for (label, _), found in columns}

    def shown(self, query: MetricQuery, key: Key, window: str) -> str:
        """What is counted for one question, in few lines: checks keep it. `window` is what `spoken` says of it."""
        return f"{self._counted(key)}# {query.flag!r} in {query.environment!r} by {self._by}, {window}"

    @cached_property
    def _counted(self) -> Callable[[Key], str]:
        """The lines of a key, which are the same at each tick."""

        @lru_cache(maxsize=KEYS_KEPT)
        def lines(key: Key) -> str:
            values = {label: (value,) for (label, _), value in zip(self.open, key, strict=True)}
            return "".join(f"{column}: {selector.text(values)}\n" for column, selector in self.selectors.items())

        return lines

    @cached_property
    def _by(self) -> str:
        return ", ".join(self.arms)


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


def spoken(window: Window) -> str:
    """The window, for people."""
    return f"from {window.start.isoformat()} to {window.end.isoformat()}"


def parse_counters(
    definition: MetricDefinition,
    parse: Callable[[str, str], S],
    *,
    label: re.Pattern[str],
    reserved: frozenset[str] = frozenset(),
    fold: Callable[[str], str] = str,
) -> CounterTemplate[S]:
    """The definition's query, checked; `parse` reads a column's selector, `label` is what names of labels look like.

    `fold` is what the source makes of a label's value before it keeps it. Raises BadDefinition naming the metric and
    what to change.
    """
    if isinstance(definition.query, str):
        columns = " and ".join(COLUMNS[definition.kind])
        raise _refused(definition, f"must be a table that has a selector for {columns}, such as query.exposures = '…'")
    try:
        query = CounterQuery.model_validate(definition.query)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _refused(definition, f"has a wrong {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    _check_columns(definition, query)
    for name in ("variant", "segment"):
        if (given := getattr(query, name)) and not label.fullmatch(given):
            raise _refused(definition, f"has a wrong {name}: {given!r} is no name of a label here")
    selectors = {column: _parsed(definition, parse, column, query) for column in COLUMNS[definition.kind]}
    template = CounterTemplate(definition, query, selectors, next(iter(selectors.values())).open, fold)
    _check_labels(template, reserved)
    return template


def filled(text: str) -> list[str]:
    """The placeholders in it. Raises WrongSelector for one that is not known."""
    names: list[str] = _PLACEHOLDER.findall(text)
    for name in names:
        if name not in PLACEHOLDERS:
            raise WrongSelector(f"${name}; allowed are $flag and $environment")
    return names


def _check_columns(definition: MetricDefinition, query: CounterQuery) -> None:
    kind, needed = definition.kind, COLUMNS[definition.kind]
    for column in ALL_COLUMNS:
        if bool(getattr(query, column)) is not (column in needed):
            problem = "needs" if column in needed else "can't have"
            raise _refused(definition, f"{problem} {column}, being of the kind {kind}: it has {', '.join(needed)}")
    if bool(query.segment) is not (kind is MetricKind.MIX):
        raise _refused(definition, "needs the label of its segment, being a mix, or has one, not being a mix")
    if not query.variant:
        raise _refused(definition, "needs the label of the variant")
    if definition.sums:
        raise _refused(definition, "has no sum of squares, so that the metric can't have sums; remove sums")


def _check_labels(template: CounterTemplate[S], reserved: frozenset[str]) -> None:
    for column, selector in template.selectors.items():
        if selector.open != template.open:
            problem = f"must name $flag and $environment in {column} in the same labels as before it"
            raise _refused(template.definition, problem)
    labels = template.labels
    if len(set(labels)) < len(labels) or reserved.intersection(labels):
        raise _refused(template.definition, f"uses one label for two things; it counts by {', '.join(labels)}")


def _parsed(definition: MetricDefinition, parse: Callable[[str, str], S], column: str, query: CounterQuery) -> S:
    try:
        return parse(column, getattr(query, column).strip())
    except WrongSelector as wrong:
        raise _refused(definition, f"has in {column} {wrong}") from None


def _filled(template: str, values: Mapping[str, str]) -> str:
    whole = values.get(template[1:]) if template.startswith("$") else None
    return whole if whole is not None else _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def _refused(definition: MetricDefinition, problem: str) -> BadDefinition:
    return BadDefinition(
        f"The query of the metric {definition.name!r} {problem}.", metric=definition.name, field="query"
    )
