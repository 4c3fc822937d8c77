"""Rows that a metric source answered, checked and added up to a reading. Pure.

Columns: `variant` and `exposures`; for a ratio also `events`; for a mean `total` and `total_squares` of the units'
capped values; for a latency `bucket` (the upper edge: one row a variant and bucket, each with the bucket's own count,
and with its own `total` and `total_squares` where the metric has sums); for a mix `segment` (one row a variant and
segment: text or a whole number, NULL for none); for assignments no other; optional `newest`.
An unknown column is refused, because a misspelt `events` would otherwise read as no errors at all. Rows by unit have a
column `unit` too.
"""

import hashlib
import math
import numbers
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from tools.metrics.base import BadMetricAnswer, Reading, Sample, TooManyUnits, UnitSample
from tools.metrics.catalogue import MetricDefinition, MetricKind, TimeFormat

REQUIRED = {"variant", "exposures"}
REQUIRED_BY_KIND: Mapping[MetricKind, set[str]] = {
    MetricKind.RATIO: {"events"},
    MetricKind.MEAN: {"total", "total_squares"},
    MetricKind.LATENCY: {"bucket"},
    MetricKind.ASSIGNMENTS: set(),
    MetricKind.MIX: {"segment"},
}
SUMS = {"total", "total_squares"}
OPTIONAL = {"events", "total", "total_squares", "newest", "bucket"}
SEGMENT = "segment"
MAX_ROWS = 1_000
MAX_UNIT_ROWS = 50_000
MAX_LABEL = 200
LARGEST_PLAIN = 2**53
"""Whole numbers up to here are floats without loss."""

MAX_SEGMENT = 80
"""Characters of a segment's label; of a longer one the rest is cut."""
UNIT = "unit"
UNIT_DIGITS = 16
"""Hex digits of SHA-256 that stand for a unit's id."""


_Values = Mapping[str, Any]
"""One row's values by column."""


class _Row(NamedTuple):
    variant: str | None
    bucket: float | None
    exposures: int
    events: int
    total: float
    total_squares: float
    newest: datetime | None
    segment: str | None = None


def reading_of(
    definition: MetricDefinition, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, query: str
) -> Reading:
    """What `rows` say, per variant. Raises BadMetricAnswer naming the column that can't be right."""
    names = _checked_columns(definition, columns)
    if len(rows) > MAX_ROWS:
        raise _bad(definition, "variant", f"has more than {MAX_ROWS} rows; {_grouped(definition)}")
    raw, reader = [dict(zip(names, row, strict=True)) for row in rows], _Reader(definition, buckets="bucket" in names)
    parsed = list(map(reader.row, raw))
    if definition.kind is not MetricKind.MIX:
        # Labels that were cut may be alike; they are added up.
        _refuse_duplicates(definition, parsed)
    moments = [row.newest for row in parsed if row.newest is not None]
    return Reading(
        by_variant=_by_variant(parsed, mixed=definition.kind is MetricKind.MIX),
        query=query,
        newest=max(moments, default=None),
        raw=[_plain_row(row) for row in raw],
    )


def units_of(
    definition: MetricDefinition, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> tuple[UnitSample, ...]:
    """What `rows` say, per unit. Raises BadMetricAnswer naming the column that can't be right, and TooManyUnits."""
    names = _checked_columns(definition, columns, {UNIT})
    if len(rows) > MAX_UNIT_ROWS:
        raise TooManyUnits(f"{definition.name} has more than {MAX_UNIT_ROWS:,} units in one piece of its history.")
    reader = _Reader(definition, buckets=False)
    return tuple(reader.unit_sample(dict(zip(names, row, strict=True))) for row in rows)


def _checked_columns(
    definition: MetricDefinition, columns: Sequence[str], more: Collection[str] = frozenset()
) -> Sequence[str]:
    given = tuple(columns)
    if (known := _usual_columns(definition.kind, definition.sums, given)) is not None and not more:
        return known
    names = [name.lower() for name in given]
    required = _required(definition.kind, definition.sums).union(more)
    for name in sorted(required - set(names)):
        who = "assignments need" if definition.kind is MetricKind.ASSIGNMENTS else f"a {definition.kind} needs"
        raise _bad(definition, name, f"is missing; {who} {', '.join(sorted(required))}")
    for name in sorted(set(names) - required - OPTIONAL):
        raise _bad(definition, name, f"is unknown; allowed are {', '.join(sorted(required | OPTIONAL))}")
    for name in names:
        if names.count(name) > 1:
            raise _bad(definition, name, "is there twice")
    return names


def _required(kind: MetricKind, sums: bool) -> frozenset[str]:
    return frozenset(REQUIRED | REQUIRED_BY_KIND[kind] | (SUMS if sums else set()))


# Thousands of answers a tick have the same columns.
@lru_cache(maxsize=64)
def _usual_columns(kind: MetricKind, sums: bool, columns: tuple[str, ...]) -> tuple[str, ...] | None:
    """The columns, where there is nothing to say about them."""
    names, required = set(columns), _required(kind, sums)
    right = required <= names <= required | OPTIONAL and len(names) == len(columns)
    return columns if right else None


def _refuse_duplicates(definition: MetricDefinition, rows: Sequence[_Row]) -> None:
    seen = {(row.variant, row.bucket) for row in rows}
    if len(seen) == len(rows):
        return
    seen.clear()
    for row in rows:
        if (row.variant, row.bucket) in seen:
            raise _bad(definition, "variant", f"has two rows for {row.variant!r}; group by variant")
        seen.add((row.variant, row.bucket))


def _grouped(definition: MetricDefinition) -> str:
    if definition.kind is MetricKind.MIX:
        return "group by variant and a segment with fewer values, or name the small ones alike"
    return "group by variant"


def _by_variant(rows: Sequence[_Row], *, mixed: bool) -> Mapping[str | None, Sample]:
    groups: dict[str | None, list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.variant, []).append(row)
    return {variant: _sample(group, mixed=mixed) for variant, group in groups.items()}


def _sample(rows: Sequence[_Row], *, mixed: bool) -> Sample:
    if len(rows) == 1 and rows[0].bucket is None and not mixed:
        return Sample(rows[0].exposures, rows[0].events, rows[0].total, rows[0].total_squares)
    _, edges, exposures, events, totals, squares, _, labels = zip(*rows, strict=True)
    segments = dict[str | None, int]()
    for label, count in zip(labels, exposures, strict=True) if mixed else ():
        segments[label] = segments.get(label, 0) + count
    return Sample(
        exposures=sum(exposures),
        events=sum(events),
        total=math.fsum(totals),
        total_squares=math.fsum(squares),
        buckets=() if edges[0] is None else tuple(sorted(zip(edges, exposures, strict=True))),
        segments=tuple(sorted(segments.items(), key=lambda pair: str(pair[0]))),
    )


class _Reader:
    """Takes the values of an answer's rows, by column, for what they are meant to be.

    Thousands of rows a tick: a value that is usual is looked at once.
    """

    def __init__(self, definition: MetricDefinition, *, buckets: bool) -> None:
        self._definition = definition
        self._buckets = buckets
        self._last: tuple[Any, datetime | None] = (None, None)

    def row(self, given: _Values) -> _Row:
        exposures = self._count(given, "exposures")
        events = self._count(given, "events") if "events" in given else 0
        if events > exposures:
            raise self._bad("events", f"is {events}, more than the {exposures} exposures; count each exposure once")
        total_squares = self._number(given, "total_squares") if "total_squares" in given else 0.0
        self._refuse_negative("total_squares", total_squares)
        return _Row(
            self._variant(given),
            self._edge(given) if self._buckets else None,
            exposures,
            events,
            self._number(given, "total") if "total" in given else 0.0,
            total_squares,
            self._newest(given) if "newest" in given else None,
            self._segment(given) if SEGMENT in given else None,
        )

    def unit_sample(self, given: _Values) -> UnitSample:
        row = self.row(given)
        return UnitSample(self._unit(given), row.variant, row.exposures, row.events, row.total, row.total_squares)

    def _unit(self, given: _Values) -> str | None:
        unit = given[UNIT]
        if unit is None:
            return None
        if isinstance(unit, bool) or not isinstance(unit, str | int | uuid.UUID):
            shown = f"is a {type(unit).__name__}"
            raise self._bad(UNIT, f"{shown}; it must be text or a whole number, or NULL for who is not told apart")
        # Half a surrogate pair may come from a database that does not check its text.
        return hashlib.sha256(str(unit).encode("utf-8", "surrogatepass")).hexdigest()[:UNIT_DIGITS]

    def _variant(self, given: _Values) -> str | None:
        label = given["variant"]
        if label is not None and not isinstance(label, str):
            raise self._bad("variant", f"is {_shown(label)}; it must be text, or NULL for rows without a variant")
        if label is not None and len(label) > MAX_LABEL:
            raise self._bad("variant", f"has a label of {len(label)} characters; at most {MAX_LABEL} are allowed")
        return label

    def _segment(self, given: _Values) -> str | None:
        label = given[SEGMENT]
        if label is None:
            return None
        if isinstance(label, bool) or not isinstance(label, str | int | uuid.UUID):
            raise self._bad(SEGMENT, f"is a {type(label).__name__}; it must be text or a whole number, or NULL")
        # Half a surrogate pair may come from a database that does not check its text, and no row can keep it.
        text = str(label).replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        return text if len(text) <= MAX_SEGMENT else f"{text[: MAX_SEGMENT - 1]}…"

    def _count(self, given: _Values, column: str) -> int:
        value = given[column]
        if type(value) is int and 0 <= value <= LARGEST_PLAIN:
            return value
        value = self._numeric(column, value)
        if type(value) is not int and (not math.isfinite(value) or value != int(value)):
            raise self._bad(column, f"is {_shown(value)}, not a whole number")
        self._refuse_negative(column, value)
        return int(value)

    def _number(self, given: _Values, column: str) -> float:
        value = float(self._numeric(column, given[column]))
        if not math.isfinite(value):
            raise self._bad(column, f"is {value}, not a number that can be added up")
        return value

    def _edge(self, given: _Values) -> float:
        value = given["bucket"]
        if type(value) is not float:
            value = float(self._numeric("bucket", value))
        if math.isnan(value):
            raise self._bad("bucket", f"is {value}, not a number that can be added up")
        return value

    def _numeric(self, column: str, value: Any) -> Any:
        if type(value) is float or (type(value) is int and abs(value) <= LARGEST_PLAIN):
            return value
        if value is None:
            raise self._bad(column, "is NULL; write COALESCE(…, 0) where nothing means none")
        if isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal):
            raise self._bad(column, f"is {_shown(value)}, not a number")
        try:
            float(value)
        except (OverflowError, ValueError):
            raise self._bad(column, f"is {_shown(value)}, too large or not a number") from None
        return value

    def _refuse_negative(self, column: str, value: float) -> None:
        if value < 0:
            raise self._bad(column, f"is {value}, less than zero")

    def _newest(self, given: _Values) -> datetime | None:
        value = given["newest"]
        # What is scraped at once has one moment.
        if self._last[0] is not value:
            self._last = (value, self._moment("newest", value))
        return self._last[1]

    def _moment(self, column: str, value: Any) -> datetime | None:
        if value is None:
            return None
        try:
            moment = _MOMENTS[self._definition.time_format](value)
        except (TypeError, ValueError, ArithmeticError, OSError):
            expected = self._definition.time_format
            raise self._bad(column, f"is {_shown(value)}, not a time in the format {expected}") from None
        if moment.tzinfo is UTC:
            return moment
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def _bad(self, column: str, problem: str) -> BadMetricAnswer:
        return _bad(self._definition, column, problem)


def _from_epoch(value: Any) -> datetime:
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal)):
        raise TypeError
    return _since_epoch(float(value))


# What is scraped at once has one moment.
@lru_cache(maxsize=256)
def _since_epoch(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _from_database(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


_MOMENTS: Mapping[TimeFormat, Callable[[Any], datetime]] = {
    TimeFormat.DATETIME: _from_database,
    TimeFormat.EPOCH: _from_epoch,
    TimeFormat.ISO: datetime.fromisoformat,
}


def _plain_row(row: dict[str, Any]) -> dict[str, Any]:
    # What can be kept as it is needs no copy.
    for value in row.values():
        kind = type(value)
        usual = kind is int or value is None or (kind is float and math.isfinite(value))
        if not (usual or (kind is str and "\0" not in value)):
            return {name: _plain(value) for name, value in row.items()}
    return row


def _plain(value: Any) -> Any:
    """`value` as JSON can keep it."""
    if isinstance(value, str):
        # PostgreSQL keeps no NUL.
        return value.replace("\0", "\ufffd") if "\0" in value else value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _bad(definition: MetricDefinition, column: str, problem: str) -> BadMetricAnswer:
    return BadMetricAnswer(f"The query of the metric {definition.name!r} is wrong: column {column!r} {problem}.")
