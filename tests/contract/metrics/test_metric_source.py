"""What every metric source promises."""

import itertools
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.contract.metrics.benches import ERRORS, NOON, Bench, query
from tools.metrics.base import (
    BadMetricAnswer,
    MetricSource,
    MetricSourceUnavailable,
    Sample,
    UnitSource,
    UnknownMetric,
)
from tools.metrics.catalogue import Catalogue
from tools.metrics.router import Metrics


async def test_it_counts_per_variant_and_says_when_the_newest_sample_was(bench: Bench) -> None:
    await bench.seen("control", 1, 90, 2)
    await bench.seen("control", 2.5, 10)
    await bench.seen("treatment", 2, 5, 1)
    reading = await bench.source.read(query(0, 10))
    assert reading.by_variant == {"control": Sample(100, 2), "treatment": Sample(5, 1)}
    assert reading.newest is not None
    assert timedelta(0) <= NOON + timedelta(seconds=2.5) - reading.newest < max(bench.grain, timedelta(microseconds=1))
    assert reading.newest.utcoffset() == timedelta(0)


async def test_a_window_holds_its_start_and_not_its_end(bench: Bench) -> None:
    for at_s in (-0.000001, 0, 9.999999, 10):
        await bench.seen("control", at_s, 1)
    reading = await bench.source.read(query(0, 10))
    assert reading.by_variant["control"].exposures == 2


async def test_windows_side_by_side_count_each_row_once(bench: Bench) -> None:
    for n in range(20):
        await bench.seen("control", n * 0.37, 1)
    edges = [0, 0.37, 1.11, 2.5, 2.500001, 5, 8]
    counts = [
        (await bench.source.read(query(start, end))).by_variant.get("control", Sample(0)).exposures
        for start, end in itertools.pairwise(edges)
    ]
    assert sum(counts) == 20


async def test_rows_without_a_variant_have_their_own_key(bench: Bench) -> None:
    await bench.seen(None, 1, 7)
    await bench.seen("control", 1, 1)
    reading = await bench.source.read(query(0, 10))
    assert reading.by_variant == {None: Sample(7), "control": Sample(1)}


async def test_a_variant_is_found_by_its_name_however_the_source_spells_it(bench: Bench) -> None:
    """As all that asks for a flag's metrics does: through the door to all sources."""
    await bench.seen("Classic", 1, 7)
    await bench.seen("Express_2", 1, 5, 1)
    metrics = Metrics(Catalogue([ERRORS.model_copy(update={"unit_query": None})]), {ERRORS.source: bench.source})
    asked = replace(query(0, 10), variants=("Classic", "Express_2"))
    expected = {"Classic": Sample(7), "Express_2": Sample(5, 1)}
    assert (await metrics.read(asked)).by_variant == expected
    assert [one.by_variant async for one in metrics.read_slices(asked, timedelta(seconds=10))] == [expected]
    await metrics.close()


async def test_no_rows_are_an_empty_answer(bench: Bench) -> None:
    await bench.seen("control", 100, 1)
    reading = await bench.source.read(query(0, 10))
    assert (reading.by_variant, reading.newest, reading.raw) == ({}, None, [])


@pytest.mark.parametrize("flag", ["'; DROP TABLE observations; --", '"', ":flag", "100%", "naïve ☃"])
async def test_a_flags_name_is_data(bench: Bench, flag: str) -> None:
    await bench.seen("control", 1, 3, flag=flag)
    await bench.seen("control", 1, 5)
    if not bench.can_name(flag):
        with pytest.raises(BadMetricAnswer, match="can't have a label with the value"):
            await bench.source.read(query(0, 10, flag=flag))
        return
    assert (await bench.source.read(query(0, 10, flag=flag))).by_variant == {"control": Sample(3)}
    assert (await bench.source.read(query(0, 10))).by_variant == {"control": Sample(5)}


async def test_the_query_names_what_was_asked_and_the_raw_answer_is_plain_json(bench: Bench) -> None:
    await bench.seen(None, 1, 90, 2)
    reading = await bench.source.read(query(0, 10))
    for word in ("new-checkout", "production", "12:00:00", "12:00:10"):
        assert word in reading.query
    assert json.loads(json.dumps(reading.raw)) == reading.raw
    assert reading.raw[0]["exposures"] == 90


async def test_an_unknown_metric_is_named_with_near_ones(bench: Bench) -> None:
    with pytest.raises(UnknownMetric, match=r"'checkout_error'.*checkout_errors"):
        await bench.source.read(query(0, 10, metric="checkout_error"))


@pytest.mark.parametrize(("exposures", "events", "column"), [(-1, 0, "exposures"), (1, -1, "events"), (1, 2, "events")])
async def test_an_answer_that_cannot_be_counted_names_the_column(
    bench: Bench, exposures: int, events: int, column: str
) -> None:
    await bench.seen("control", 1, exposures, events)
    with pytest.raises(BadMetricAnswer, match=f"'checkout_errors'.*'{column}'"):
        await bench.source.read(query(0, 10))


async def test_a_check_of_a_working_source_returns(bench: Bench) -> None:
    await bench.source.check()


async def test_a_source_that_is_away_says_so(absent: MetricSource) -> None:
    with pytest.raises(MetricSourceUnavailable) as read:
        await absent.read(query(0, 10))
    with pytest.raises(MetricSourceUnavailable) as check:
        await absent.check()
    assert "hunter2" not in f"{read.value} {check.value}"


async def test_it_answers_unit_by_unit_without_saying_who_they_are(bench_by_unit: Bench) -> None:
    bench = bench_by_unit
    assert isinstance(bench.source, UnitSource)
    await bench.seen("old", 0, 10, 3, unit="anna@example.com")
    await bench.seen("old", 1, 5, 0, unit="anna@example.com")
    await bench.seen("new", 1, 2, 1, unit="anna@example.com")
    await bench.seen("old", 2, 7, 0, unit="ben@example.com")
    await bench.seen("old", 3, 100, 50)
    await bench.seen("old", 60, 9, 9, unit="late@example.com")
    found = await bench.source.read_units(query(0, 60))
    assert "example.com" not in repr(found)
    anna = {one.variant: one for one in found if one.exposures in (15, 2)}
    assert anna["old"].unit == anna["new"].unit
    assert anna["old"].events == 3
    assert sorted((one.variant, one.exposures, one.events) for one in found) == [
        ("new", 2, 1),
        ("old", 7, 0),
        ("old", 15, 3),
        ("old", 100, 50),
    ]
    assert len({one.unit for one in found if one.unit is not None}) == 2
