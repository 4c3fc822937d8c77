"""What a metric recorded, cut into pieces."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tools.metrics.base import MetricQuery, Sample, Window
from tools.metrics.catalogue import Catalogue, MetricDefinition
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
