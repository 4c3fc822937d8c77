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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from operator import is_
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
    raw, has_buckets = [dict(zip(names, row, strict=True)) for row in rows], "bucket" in names
    parsed = [_Reader(definition, row).row(has_buckets) for row in raw]
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
    return tuple(_Reader(definition, dict(zip(names, row, strict=True))).unit_sample() for row in rows)


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


def _refuse_duplicates(definition: MetricDefinition, rows: Iterable[_Row]) -> None:
    seen: set[tuple[str | None, float | None]] = set()
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
    segments = dict[str | None, int]()
    for row in rows if mixed else ():
        segments[row.segment] = segments.get(row.segment, 0) + row.exposures
    return Sample(
        exposures=sum([row.exposures for row in rows]),
        events=sum([row.events for row in rows]),
        total=math.fsum([row.total for row in rows]),
        total_squares=math.fsum([row.total_squares for row in rows]),
        buckets=tuple(sorted([(row.bucket, row.exposures) for row in rows if row.bucket is not None])),
        segments=tuple(sorted(segments.items(), key=lambda pair: str(pair[0]))),
    )


class _Reader:
    """Takes one row's values for what they are meant to be."""

    def __init__(self, definition: MetricDefinition, values: Mapping[str, Any]) -> None:
        self._definition = definition
        self._values = values

    def row(self, has_buckets: bool) -> _Row:
        given = self._values
        exposures, events = self._count("exposures"), self._count("events") if "events" in given else 0
        total_squares = self._number("total_squares") if "total_squares" in given else 0.0
        if total_squares < 0:
            self._refuse_negative("total_squares", total_squares)
        if events > exposures:
            raise self._bad("events", f"is {events}, more than the {exposures} exposures; count each exposure once")
        return _Row(
            variant=self._variant(),
            bucket=self._number("bucket", infinite=True) if has_buckets else None,
            exposures=exposures,
            events=events,
            total=self._number("total") if "total" in given else 0.0,
            total_squares=total_squares,
            newest=self._moment("newest"),
            segment=self._segment() if SEGMENT in given else None,
        )

    def unit_sample(self) -> UnitSample:
        row = self.row(has_buckets=False)
        return UnitSample(self._unit(), row.variant, row.exposures, row.events, row.total, row.total_squares)

    def _unit(self) -> str | None:
        unit = self._values[UNIT]
        if unit is None:
            return None
        if isinstance(unit, bool) or not isinstance(unit, str | int | uuid.UUID):
            shown = f"is a {type(unit).__name__}"
            raise self._bad(UNIT, f"{shown}; it must be text or a whole number, or NULL for who is not told apart")
        # Half a surrogate pair may come from a database that does not check its text.
        return hashlib.sha256(str(unit).encode("utf-8", "surrogatepass")).hexdigest()[:UNIT_DIGITS]

    def _variant(self) -> str | None:
        label = self._values["variant"]
        if label is not None and not isinstance(label, str):
            raise self._bad("variant", f"is {_shown(label)}; it must be text, or NULL for rows without a variant")
        if label is not None and len(label) > MAX_LABEL:
            raise self._bad("variant", f"has a label of {len(label)} characters; at most {MAX_LABEL} are allowed")
        return label

    def _segment(self) -> str | None:
        label = self._values[SEGMENT]
        if label is None:
            return None
        if isinstance(label, bool) or not isinstance(label, str | int | uuid.UUID):
            raise self._bad(SEGMENT, f"is a {type(label).__name__}; it must be text or a whole number, or NULL")
        # Half a surrogate pair may come from a database that does not check its text, and no row can keep it.
        text = str(label).replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        return text if len(text) <= MAX_SEGMENT else f"{text[: MAX_SEGMENT - 1]}…"

    def _count(self, column: str) -> int:
        value = self._values[column]
        # Thousands of rows a tick: what is usual is looked at once.
        if type(value) is int and 0 <= value <= LARGEST_PLAIN:
            return value
        value = self._numeric(column)
        if type(value) is not int and (not math.isfinite(value) or value != int(value)):
            raise self._bad(column, f"is {_shown(value)}, not a whole number")
        self._refuse_negative(column, value)
        return int(value)

    def _number(self, column: str, *, infinite: bool = False) -> float:
        value = float(self._numeric(column))
        if math.isnan(value) or (math.isinf(value) and not infinite):
            raise self._bad(column, f"is {value}, not a number that can be added up")
        return value

    def _numeric(self, column: str) -> Any:
        value = self._values[column]
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

    def _moment(self, column: str) -> datetime | None:
        value = self._values.get(column)
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
    plain = [_plain(value) for value in row.values()]
    return row if all(map(is_, plain, row.values())) else dict(zip(row, plain, strict=True))


def _plain(value: Any) -> Any:
    """`value` as JSON can keep it."""
    # Ten thousands of values a tick: what is usual goes first.
    kind = type(value)
    if kind is int or value is None or (kind is float and math.isfinite(value)):
        return value
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
