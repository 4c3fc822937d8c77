"""A metric's selectors in Datadog's language, and the queries that count with them. Pure.

After https://docs.datadoghq.com/metrics/advanced-filtering/ and https://docs.datadoghq.com/dashboards/functions/rollup/.
Rollups are aligned to 1970 and never reach over a window's edges: a long window is cut into pieces, each with a step
that divides it and that its points are few enough for.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tools.metrics.catalogue import MetricDefinition, MetricKind
from tools.metrics.counters import CounterTemplate, Key, Open, WrongSelector, filled, parse_counters

STEPS = (1, 60, 3_600)
"""Seconds between an answer's points, of which each divides the next."""

MOST_POINTS = 1_440
"""Of one series in an answer; beyond 1,500 Datadog takes a longer step."""

LOOKED_BACK = timedelta(days=7)
"""How far back is looked for any events at all."""

LONGEST_TAG = 200

_METRIC = re.compile(r"(?:(sum|count)\s*:)?\s*([a-zA-Z][\w.]*)\s*(?:\{([^{}]*)\})?")
_KEY = r"[a-zA-Z][\w.\-/]*"
_TERM = re.compile(
    rf"(?:!|NOT\s+)?{_KEY}\s*:\s*[^\s,(){{}}]+|{_KEY}\s+(?:NOT\s+)?IN\s*\([^(){{}}]+\)|\((?:[^(){{}}]|\([^(){{}}]*\))+\)",
    re.IGNORECASE,
)
_OPEN = re.compile(rf"({_KEY})\s*:\s*([^\s,(){{}}]+)")
_VALUE = re.compile(r"[\w.\-/:]*[\w.\-/]")
_AND = re.compile(r"(?:\s*,\s*|\s+AND\s+)(?![^(]*\))", re.IGNORECASE)

EXAMPLE = "checkout.requests{feature_flag.key:$flag, env:$environment}"


@dataclass(frozen=True, slots=True)
class Scope:
    """A metric, how its points are put together, and what of it is meant: `fixed` terms as they are written."""

    aggregator: str
    metric: str
    fixed: tuple[str, ...]
    open: Open

    def text(self, values: Mapping[str, Sequence[str]]) -> str:
        """The metric and its scope with the open tags' values."""
        return f"{self.aggregator}:{self.metric}{{{self._terms(values)}}}"

    def query(self, values: Mapping[str, Sequence[str]], by: Sequence[str], step_s: int, edge: float | None) -> str:
        """What counts it in steps, by tags; of a distribution only the values up to the edge."""
        limited = edge is not None and not math.isinf(edge)
        aggregator = f"count(v: v<={edge!r})" if limited else self.aggregator
        group = f" by {{{','.join(by)}}}" if by else ""
        scope = f"{self.metric}{{{self._terms(values)}}}"
        return f"{aggregator}:{scope}{group}.as_count().rollup(sum, {step_s})"

    def _terms(self, values: Mapping[str, Sequence[str]]) -> str:
        opened = [_one_of(tag, values[tag]) for tag, _ in self.open if tag in values]
        return " AND ".join((*self.fixed, *opened)) or "*"


Scopes = CounterTemplate[Scope]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a window in seconds since 1970, from `start` (inclusive) to `end` (exclusive), in steps."""

    start: int
    end: int
    step: int


def pieces(start: int, end: int) -> Iterator[Piece]:
    """The window in as few parts as there must be."""
    yield from _pieces(start, end, 0)


def even_pieces(start: int, end: int, step: int) -> Iterator[Piece]:
    """The window in parts of one step, which divides it."""
    span = step * MOST_POINTS
    yield from (Piece(at, min(at + span, end), step) for at in range(start, end, span))


def parse_scopes(definition: MetricDefinition) -> Scopes:
    """The definition's query, checked. Raises BadDefinition naming the metric and what to change."""
    return parse_counters(definition, _parsed, label=re.compile(_KEY), fold=str.lower)


def can_be_tag(value: str) -> bool:
    """Whether Datadog keeps such a value as it is, but for its capitals: what it changes, others may be changed to."""
    return len(value) <= LONGEST_TAG and _VALUE.fullmatch(value) is not None


def columns(template: Scopes) -> list[tuple[str, float | None]]:
    """What is asked for: each column, a histogram's once for each upper edge."""
    if template.definition.kind is MetricKind.LATENCY:
        return [("buckets", edge) for edge in template.definition.edges]
    return [(column, None) for column in template.selectors]


def queries(template: Scopes, keys: Sequence[Key], step_s: int) -> list[str]:
    """What counts for all these keys at once, one query for each of `columns`."""
    values = template.values(keys)
    return [template.selectors[name].query(values, template.labels, step_s, edge) for name, edge in columns(template)]


def _pieces(start: int, end: int, place: int) -> Iterator[Piece]:
    step = STEPS[place]
    if start >= end:
        return
    if (end - start) // step <= MOST_POINTS or place == len(STEPS) - 1:
        yield from even_pieces(start, end, step)
        return
    longer = STEPS[place + 1]
    first, last = -(-start // longer) * longer, end // longer * longer
    yield from _pieces(start, first, place)
    yield from _pieces(first, last, place + 1)
    yield from _pieces(last, end, place)


def _parsed(column: str, text: str) -> Scope:
    found = _METRIC.fullmatch(text)
    if found is None:
        raise WrongSelector(f"no metric with its scope: write such as {EXAMPLE}, without functions and groups")
    aggregator, metric, scope = found[1], found[2], (found[3] or "").strip()
    if column == "buckets" and aggregator == "sum":
        raise WrongSelector("sum:, though a histogram counts values; leave it out")
    fixed, open_ = list[str](), list[tuple[str, str]]()
    for term in _AND.split(scope) if scope not in ("", "*") else ():
        if _TERM.fullmatch(term) is None:
            raise WrongSelector(f"{term!r} in its scope; write tag:value, !tag:value or tag IN (…), an OR in brackets")
        opened = _OPEN.fullmatch(term)
        if not filled(term):
            # With IN there can be no sign for NOT.
            fixed.append(f"NOT {term[1:]}" if term.startswith("!") else term)
        elif opened is None:
            raise WrongSelector(f"{term!r} in its scope; write tag:$flag")
        else:
            open_.append((opened[1], opened[2]))
    return Scope(aggregator or ("count" if column == "buckets" else "sum"), metric, tuple(fixed), tuple(sorted(open_)))


def _one_of(tag: str, values: Sequence[str]) -> str:
    return f"{tag}:{values[0]}" if len(values) == 1 else f"{tag} IN ({', '.join(values)})"
