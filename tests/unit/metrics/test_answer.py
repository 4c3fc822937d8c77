"""Rows into readings: what is taken, and what is refused with the column's name."""

import json
import math
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.metrics.definitions import definition
from tools.metrics.answer import MAX_ROWS, MAX_UNIT_ROWS, reading_of, units_of
from tools.metrics.base import BadMetricAnswer, Reading, Sample, TooManyUnits
from tools.metrics.catalogue import TimeFormat

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = ("variant", "exposures", "events")


def read(
    *rows: tuple[Any, ...], columns: tuple[str, ...] = COLUMNS, times: TimeFormat = TimeFormat.DATETIME
) -> Reading:
    return reading_of(definition(time_format=times), columns, rows, query="SELECT")


def test_the_numeric_types_of_databases_are_counts() -> None:
    assert read(("a", Decimal(3), 2.0), ("b", 2**70, Decimal("0"))).by_variant == {
        "a": Sample(3, 2),
        "b": Sample(2**70, 0),
    }


def test_sums_are_kept() -> None:
    columns = (*COLUMNS, "total", "total_squares")
    sample = read(("a", 2, 0, Decimal("1.5"), 4), columns=columns).by_variant["a"]
    assert (sample.total, sample.total_squares) == (1.5, 4.0)


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ({"kind": "mean", "cap": 100.0}, "'total' is missing; a mean needs exposures, total, total_squares, variant"),
        ({"kind": "latency", "buckets": (0.1,)}, "'bucket' is missing; a latency needs bucket, exposures, variant"),
        ({"kind": "latency", "buckets": (0.1,), "sums": True}, "'bucket' is missing"),
    ],
)
def test_each_kind_needs_its_columns(kind: dict[str, Any], missing: str) -> None:
    with pytest.raises(BadMetricAnswer, match=missing):
        reading_of(definition(**kind), ("variant", "exposures"), [("a", 1)], query="SELECT")


def test_assignments_have_exposures_alone() -> None:
    split, columns = definition(kind="assignments"), ("variant", "exposures")
    assert reading_of(split, columns, [("a", 3), ("b", 2)], query="SELECT").by_variant == {
        "a": Sample(3),
        "b": Sample(2),
    }
    for wrong in (-1, math.nan, 0.5, None):
        with pytest.raises(BadMetricAnswer, match="'exposures' is"):
            reading_of(split, columns, [("a", wrong)], query="SELECT")
    with pytest.raises(BadMetricAnswer, match="'exposures' is missing; assignments need exposures, variant"):
        reading_of(split, ("variant",), [], query="SELECT")


def test_the_sums_of_a_latency_are_added_over_its_buckets() -> None:
    latency = definition(kind="latency", buckets=(0.1,), sums=True)
    columns = ("variant", "exposures", "bucket", "total", "total_squares")
    rows = [("a", 3, 0.1, 0.15, 0.01), ("a", 1, math.inf, 0.5, 0.25)]
    sample = reading_of(latency, columns, rows, query="SELECT").by_variant["a"]
    assert (sample.exposures, sample.buckets) == (4, ((0.1, 3), (math.inf, 1)))
    assert (sample.total, sample.total_squares) == (0.65, 0.26)


def test_column_names_are_not_told_apart_by_case() -> None:
    assert read(("a", 1, 0), columns=("VARIANT", "Exposures", "events")).by_variant == {"a": Sample(1)}


def test_buckets_are_gathered_by_variant_in_the_order_of_their_edges() -> None:
    columns = (*COLUMNS, "bucket")
    reading = read(("a", 1, 0, math.inf), ("a", 5, 0, Decimal("0.1")), ("b", 2, 1, 0.1), columns=columns)
    assert reading.by_variant["a"] == Sample(6, 0, buckets=((0.1, 5), (math.inf, 1)))
    assert reading.by_variant["b"] == Sample(2, 1, buckets=((0.1, 2),))
    assert json.loads(json.dumps(reading.raw, allow_nan=False))[0]["bucket"] == "inf"


@pytest.mark.parametrize(
    ("columns", "row", "problem"),
    [
        (("exposures", "events"), (1, 0), "'variant' is missing"),
        (("variant", "events"), ("a", 0), "'exposures' is missing"),
        (("variant", "exposures"), ("a", 1), "'events' is missing"),
        ((*COLUMNS, "evnets"), ("a", 1, 0, 0), "'evnets' is unknown"),
        ((*COLUMNS, "Events"), ("a", 1, 0, 0), "'events' is there twice"),
        (COLUMNS, ("a", None, 0), "'exposures' is NULL"),
        (COLUMNS, ("a", 1, None), "'events' is NULL"),
        (COLUMNS, ("a", -1, 0), "'exposures' is -1"),
        (COLUMNS, ("a", 1, -1), "'events' is -1"),
        (COLUMNS, ("a", 1.5, 0), "'exposures' is 1.5, not a whole number"),
        (COLUMNS, ("a", Decimal("1.5"), 0), "'exposures' is 1.5, not a whole number"),
        (COLUMNS, ("a", math.nan, 0), "'exposures' is nan"),
        (COLUMNS, ("a", Decimal("NaN"), 0), "'exposures' is NaN"),
        (COLUMNS, ("a", Decimal("sNaN"), 0), "'exposures' is sNaN"),
        (COLUMNS, ("a", math.inf, 0), "'exposures' is inf"),
        (COLUMNS, ("a", 10**400, 0), "'exposures' is 1000.*too large"),
        (COLUMNS, ("a", "12", 0), "'exposures' is '12', not a number"),
        (COLUMNS, ("a", True, 0), "'exposures' is True, not a number"),
        (COLUMNS, ("a", 1, 2), "'events' is 2, more than the 1 exposures"),
        (COLUMNS, (7, 1, 0), "'variant' is 7; it must be text"),
        (COLUMNS, ("l" * 201, 1, 0), "'variant' has a label of 201 characters"),
        ((*COLUMNS, "total"), ("a", 1, 0, math.nan), "'total' is nan"),
        ((*COLUMNS, "total"), ("a", 1, 0, math.inf), "'total' is inf"),
        ((*COLUMNS, "total"), ("a", 1, 0, None), "'total' is NULL"),
        ((*COLUMNS, "total_squares"), ("a", 1, 0, -1.0), "'total_squares' is -1.0"),
        ((*COLUMNS, "bucket"), ("a", 1, 0, None), "'bucket' is NULL"),
        ((*COLUMNS, "bucket"), ("a", 1, 0, math.nan), "'bucket' is nan"),
        ((*COLUMNS, "newest"), ("a", 1, 0, "soon"), "'newest' is 'soon', not a time"),
        ((*COLUMNS, "newest"), ("a", 1, 0, date(2026, 3, 1)), "'newest' is 2026-03-01, not a time"),
        ((*COLUMNS, "newest"), ("a", 1, 0, 5), "'newest' is 5, not a time"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_column(
    columns: tuple[str, ...], row: tuple[Any, ...], problem: str
) -> None:
    with pytest.raises(BadMetricAnswer, match=f"'checkout_errors'.*{problem}"):
        read(row, columns=columns)


def test_columns_are_checked_also_when_there_are_no_rows() -> None:
    with pytest.raises(BadMetricAnswer, match="'events' is missing"):
        read(columns=("variant", "exposures"))


@pytest.mark.parametrize("label", ["a", None])
def test_two_rows_for_one_variant_are_refused(label: str | None) -> None:
    with pytest.raises(BadMetricAnswer, match="two rows"):
        read((label, 1, 0), (label, 2, 0))


def test_two_rows_for_one_bucket_are_refused() -> None:
    with pytest.raises(BadMetricAnswer, match="two rows"):
        read(("a", 1, 0, 0.5), ("a", 2, 0, Decimal("0.5")), columns=(*COLUMNS, "bucket"))


def test_an_answer_without_end_is_refused() -> None:
    with pytest.raises(BadMetricAnswer, match="more than 1000 rows"):
        read(*((f"user-{n}", 1, 0) for n in range(MAX_ROWS + 1)))


@pytest.mark.parametrize(
    ("times", "value"),
    [
        (TimeFormat.DATETIME, NOON),
        (TimeFormat.DATETIME, NOON.replace(tzinfo=None)),
        (TimeFormat.DATETIME, NOON.astimezone(timezone(timedelta(hours=5)))),
        (TimeFormat.DATETIME, "2026-03-01 12:00:00.000000"),
        (TimeFormat.DATETIME, "2026-03-01T12:00:00Z"),
        (TimeFormat.EPOCH, int(NOON.timestamp())),
        (TimeFormat.EPOCH, Decimal(int(NOON.timestamp()))),
        (TimeFormat.EPOCH, NOON.timestamp()),
        (TimeFormat.ISO, "2026-03-01T12:00:00"),
        (TimeFormat.ISO, "2026-03-01T14:00:00+02:00"),
    ],
)
def test_the_newest_moment_is_read_as_the_metric_stores_time(times: TimeFormat, value: Any) -> None:
    reading = read(("a", 1, 0, value), columns=(*COLUMNS, "newest"), times=times)
    assert reading.newest == NOON
    assert reading.newest.utcoffset() == timedelta(0)


@pytest.mark.parametrize("value", [True, "12", math.nan, 1e30, -1e30, NOON])
def test_what_is_no_epoch_is_refused(value: Any) -> None:
    with pytest.raises(BadMetricAnswer, match=r"'newest'.*epoch"):
        read(("a", 1, 0, value), columns=(*COLUMNS, "newest"), times=TimeFormat.EPOCH)


@pytest.mark.parametrize("value", [5, NOON, "noon"])
def test_what_is_no_iso_text_is_refused(value: Any) -> None:
    with pytest.raises(BadMetricAnswer, match=r"'newest'.*iso"):
        read(("a", 1, 0, value), columns=(*COLUMNS, "newest"), times=TimeFormat.ISO)


def test_the_newest_of_all_variants_counts_and_null_is_none() -> None:
    columns = (*COLUMNS, "newest")
    rows = (("a", 1, 0, NOON), ("b", 1, 0, NOON + timedelta(seconds=1)), ("c", 0, 0, None))
    assert read(*rows, columns=columns).newest == NOON + timedelta(seconds=1)
    assert read(("a", 1, 0, None), columns=columns).newest is None


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.datetimes(),
)


@given(
    st.sampled_from(list(TimeFormat)),
    st.lists(st.tuples(st.one_of(st.none(), st.sampled_from("ab"), values), *([values] * 6)), max_size=3),
)
def test_any_rows_are_a_sound_reading_or_a_bad_answer(times: TimeFormat, rows: list[tuple[Any, ...]]) -> None:
    columns = (*COLUMNS, "total", "total_squares", "bucket", "newest")
    try:
        reading = read(*rows, columns=columns, times=times)
    except BadMetricAnswer:
        return
    json.dumps(reading.raw, allow_nan=False)
    for sample in reading.by_variant.values():
        assert 0 <= sample.events <= sample.exposures
        assert math.isfinite(sample.total)
        assert sample.total_squares >= 0
        assert sum(count for _, count in sample.buckets) == sample.exposures


@given(
    st.dictionaries(st.one_of(st.none(), st.text(max_size=5)), st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)))
)
def test_sound_rows_are_what_they_say(counts: dict[str | None, tuple[int, int]]) -> None:
    rows = [(label, clean + events, events) for label, (clean, events) in counts.items()]
    assert read(*rows).by_variant == {label: Sample(total, events) for label, total, events in rows}


@pytest.mark.parametrize("unit", [True, 1.5, b"anna"])
def test_a_unit_is_named_by_text_or_by_a_number(unit: object) -> None:
    with pytest.raises(BadMetricAnswer, match="must be text or a whole number") as refused:
        units_of(definition(), ("unit", *COLUMNS), [(unit, "a", 1, 0)])
    assert "anna" not in str(refused.value)


def test_who_is_not_told_apart_has_no_unit() -> None:
    found = units_of(definition(), ("unit", *COLUMNS), [(None, "a", 5, 1), (7, "a", 1, 0), ("7", "a", 1, 0)])
    assert [one.unit is None for one in found] == [True, False, False]
    assert found[1].unit == found[2].unit


def test_numbers_of_units_are_checked_as_any_other() -> None:
    with pytest.raises(BadMetricAnswer, match="'events' is 2, more than the 1 exposures"):
        units_of(definition(), ("unit", *COLUMNS), [(7, "a", 1, 2)])
    with pytest.raises(BadMetricAnswer, match="'unit' is missing"):
        units_of(definition(), COLUMNS, [])
    with pytest.raises(TooManyUnits, match="more than 50,000 units"):
        units_of(definition(), ("unit", *COLUMNS), [(0, "a", 1, 0)] * (MAX_UNIT_ROWS + 1))


MIXED = ("variant", "segment", "exposures")


def mixed(*rows: tuple[Any, ...], columns: tuple[str, ...] = MIXED) -> Reading:
    return reading_of(definition(kind="mix"), columns, rows, query="SELECT")


def test_a_mix_has_its_segments_by_variant() -> None:
    house = uuid.UUID(int=7)
    reading = mixed(("a", "eu", 3), ("a", None, 2), ("a", 42, 1), ("a", house, 1), ("b", "eu", 5), (None, "", 4))
    assert reading.by_variant["a"].segments == ((str(house), 1), ("42", 1), (None, 2), ("eu", 3))
    assert reading.by_variant["b"] == Sample(5, segments=(("eu", 5),))
    assert reading.by_variant[None].segments == (("", 4),)
    assert json.loads(json.dumps(reading.raw)) == reading.raw


def test_long_labels_are_cut_and_alike_ones_added_up() -> None:
    reading = mixed(("a", "x" * 100, 3), ("a", "x" * 90, 2), ("a", "nul\0", 1), ("a", "\ud800", 1))
    assert reading.by_variant["a"].segments == (("?", 1), ("nul\ufffd", 1), ("x" * 79 + "…", 5))
    assert "\0" not in str(reading.raw)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([("a", 1.5, 1)], "'segment' is a float; it must be text or a whole number"),
        ([("a", True, 1)], "'segment' is a bool"),
        ([("a", "eu", -1)], "'exposures' is -1, less than zero"),
        ([("a", "eu", math.nan)], "not a whole number"),
        (
            [("a", str(i), 1) for i in range(MAX_ROWS + 1)],
            "more than 1000 rows; group by variant and a segment with fewer",
        ),
    ],
)
def test_what_can_be_no_mix_is_refused(rows: list[tuple[Any, ...]], problem: str) -> None:
    with pytest.raises(BadMetricAnswer, match=problem):
        mixed(*rows)


def test_a_mix_needs_its_column_and_no_other_kind_has_it() -> None:
    with pytest.raises(BadMetricAnswer, match="'segment' is missing; a mix needs exposures, segment, variant"):
        mixed(("a", 1), columns=("variant", "exposures"))
    with pytest.raises(BadMetricAnswer, match="'segment' is unknown"):
        read(("a", 1, 0, "eu"), columns=(*COLUMNS, "segment"))
