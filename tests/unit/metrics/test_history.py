"""What a metric recorded, cut into pieces."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tools.gates import BadCounts
from tools.metrics import answer
from tools.metrics import history as history_module
from tools.metrics.base import MetricQuery, Sample, Window
from tools.metrics.catalogue import Catalogue, MetricDefinition, MetricKind
from tools.metrics.history import MOST_READS, History, NoHistory, read_history, step_for
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics

END = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEFINITION = MetricDefinition(name="errors", source="memory", title="Errors", query="-")
QUERY = MetricQuery("errors", "new-checkout", "production", Window(END - 6 * HOUR, END))


def recorded(*observations: Observation) -> Metrics:
    source = MemoryMetricSource([DEFINITION])
    source.add("errors", "new-checkout", "production", *observations)
    return Metrics(Catalogue([DEFINITION]), {"memory": source})


async def test_every_variant_but_treatment_is_counted_in_the_piece_it_falls_into() -> None:
    metrics = recorded(
        Observation("old", END - 6 * HOUR, 100, 1),
        Observation("older", END - 6 * HOUR, 50, 2),
        Observation("new", END - 6 * HOUR, 1000, 1000),
        Observation("old", END - timedelta(seconds=1), 10, 3),
        Observation("old", END, 7777, 77),
    )
    reads = list[int]()
    history = await read_history(metrics, QUERY, HOUR, without="new", progress=lambda: reads.append(1))
    assert history.pieces == (Sample(150, 3), *[Sample(0)] * 4, Sample(10, 3))
    assert history.total == Sample(160, 6)
    assert history.silent == pytest.approx(4 / 6)
    assert len(reads) == 6


@pytest.mark.parametrize(
    ("observations", "words"),
    [
        ((), "errors has no data for new-checkout in production over the last 6 h"),
        ((Observation("old", END - HOUR, 90, 0),), "90 exposures and no events"),
        ((Observation("new", END - HOUR, 90, 9),), "no data"),
    ],
)
async def test_without_history_one_sentence_says_so(observations: tuple[Observation, ...], words: str) -> None:
    with pytest.raises(NoHistory, match=words):
        await read_history(recorded(*observations), QUERY, HOUR, without="new")


async def test_a_window_shorter_than_a_piece_has_no_history() -> None:
    with pytest.raises(NoHistory, match="no data"):
        await read_history(recorded(Observation("old", END - HOUR, 9, 1)), QUERY, 7 * HOUR, without="new")


@pytest.mark.parametrize(("since", "minutes"), [(timedelta(hours=6), 1), (timedelta(days=14), 11)])
def test_a_long_history_is_read_in_longer_pieces(since: timedelta, minutes: int) -> None:
    step = step_for(since, timedelta(minutes=1))
    assert step == timedelta(minutes=minutes)
    assert since / step <= MOST_READS


def history_of(events: list[int], exposures: int = 10_000) -> History:
    return History("errors", END, HOUR, tuple(Sample(exposures, number) for number in events))


def test_bursts_are_seen_and_an_outage_is_not_taken_for_them() -> None:
    rng = np.random.default_rng(3)
    calm = rng.poisson(60, 400).tolist()
    bursty = (4 * rng.poisson(15, 400)).tolist()
    assert history_of(calm).dispersion == 1.0
    assert history_of(bursty).dispersion == pytest.approx(4.0, rel=0.3)
    outage = [*calm[:200], 6000, 100, 7000, 200, *calm[200:]]
    assert history_of(outage).dispersion < 1.3


def test_a_history_that_tells_nothing_of_bursts_has_none() -> None:
    assert history_of([5]).dispersion == 1.0
    assert replace(history_of([5]), pieces=(Sample(0), Sample(10), Sample(10))).dispersion == 1.0


BY_UNIT = DEFINITION.model_copy(update={"unit_query": "-"})


def of_users(*observations: Observation) -> Metrics:
    source = MemoryMetricSource([BY_UNIT])
    source.add("errors", "new-checkout", "production", *observations)
    return Metrics(Catalogue([BY_UNIT]), {"memory": source})


async def test_a_metric_that_can_say_whose_its_numbers_are_is_read_by_unit() -> None:
    metrics = of_users(
        Observation("old", END - 6 * HOUR, 5, 1, unit="anna"),
        Observation("old", END - 6 * HOUR, 3, 0, unit="ben"),
        Observation("new", END - 6 * HOUR, 9, 9, unit="ben"),
        Observation("old", END - 2 * HOUR, 4, 2, unit="anna"),
    )
    history = await read_history(metrics, QUERY, HOUR, without="new")
    units = history.units
    assert units is not None
    assert history.pieces == (Sample(8, 1), *[Sample(0)] * 3, Sample(4, 2), Sample(0))
    assert len(units.ids) == 1, "Ben had no event"
    assert units.rest == (Sample(3, 0), *[Sample(0)] * 5)
    assert units.first.tolist() == [0, 1, 1, 1, 1, 2, 2]
    assert units.of.tolist() == [0, 0]
    later = history.since(4)
    assert later.pieces == (Sample(4, 2), Sample(0))
    assert later.start == END - 2 * HOUR
    assert later.units is not None
    assert (later.units.first.tolist(), later.units.of.tolist()) == ([0, 1, 1], [0])
    assert len(later.units.rest) == 2
    assert later.units.events.tolist() == [2]


async def test_too_many_users_are_read_as_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    users = [Observation("old", END - HOUR, 1, 1, unit=f"user {number}") for number in range(30)]
    monkeypatch.setattr(history_module, "MOST_UNIT_ROWS", 29)
    history = await read_history(of_users(*users), QUERY, HOUR, without="new")
    assert history.units is None
    assert history.total == Sample(30, 30)
    monkeypatch.undo()
    monkeypatch.setattr(answer, "MAX_UNIT_ROWS", 29)
    assert (await read_history(of_users(*users), QUERY, HOUR, without="new")).units is None


async def test_latencies_whose_buckets_were_others_are_refused() -> None:
    latency = MetricDefinition(
        name="errors", source="memory", title="Latency", query="-", kind=MetricKind.LATENCY, buckets=(0.1, 0.5)
    )
    source = MemoryMetricSource([latency])
    metrics = Metrics(Catalogue([latency]), {"memory": source})
    source.add("errors", "new-checkout", "production", Observation("old", END - HOUR, 9, bucket=0.1))
    assert (await read_history(metrics, QUERY, HOUR, without="new")).histograms[5].counts == (9, 0, 0)
    source.add("errors", "new-checkout", "production", Observation("old", END - 3 * HOUR, 9, bucket=0.2))
    with pytest.raises(BadCounts, match=r"A bucket ends at 0\.2"):
        await read_history(metrics, QUERY, HOUR, without="new")


def test_amounts_that_move_more_than_by_chance_are_bursty() -> None:
    rng = np.random.default_rng(3)

    def amounts(spread: float) -> History:
        totals = 100 * (50 + spread * rng.normal(0, 3, 400))
        pieces = tuple(Sample(100, 0, total, 100 * 900 + total**2 / 100) for total in totals.tolist())
        return History("revenue", END, HOUR, pieces, kind=MetricKind.MEAN, cap=1000.0)

    assert amounts(1.0).dispersion == pytest.approx(1, abs=0.3)
    assert amounts(2.0).dispersion == pytest.approx(4, rel=0.3)


@pytest.mark.parametrize("pieces", [40, 60, 360])
def test_a_calm_past_is_hardly_ever_bursty_however_short(pieces: int) -> None:
    """Lumps that nobody saw would be dealt to one arm or the other, and be harm that a gate then finds."""
    rng = np.random.default_rng(9)
    found = [history_of(rng.poisson(12, pieces).tolist()).dispersion for _ in range(100)]
    assert np.mean(np.array(found) > 1) <= 0.05
    assert history_of((6 * rng.poisson(3, pieces)).tolist()).dispersion > 2
