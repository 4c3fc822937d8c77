"""What the door to all metrics adds to its sources: variants by their own names, however a source spells them."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tools.errors import SluiceError
from tools.metrics.base import BadMetricAnswer, MetricQuery, Reading, Sample, UnknownMetric, Window
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.memory import MemoryMetricSource, Observation
from tools.metrics.router import Metrics
from tools.metrics.trial import try_metric

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ERRORS = MetricDefinition(name="errors", source="m", title="Errors", query="-")
QUERY = MetricQuery("errors", "f", "production", Window(NOON, NOON + timedelta(minutes=1)))


class SmallLetters(MemoryMetricSource):
    """Keeps labels in small letters, of 10 characters at most."""

    def fold(self, label: str) -> str:
        if len(label) > 10:
            raise BadMetricAnswer(f"{label!r} is too long.")
        return label.lower()


def metrics(source: MemoryMetricSource, *labels: str | None) -> Metrics:
    source.add("errors", "f", "production", *[Observation(label, NOON, n, 0) for n, label in enumerate(labels, 1)])
    return Metrics(Catalogue([ERRORS]), {"m": source})


async def test_what_a_source_has_in_small_letters_is_the_variant_that_was_asked_about() -> None:
    ours = metrics(SmallLetters([ERRORS]), "classic", "express", "other", None)
    named = replace(QUERY, variants=("Classic", "Express"))
    expected = {"Classic": Sample(1), "Express": Sample(2), "other": Sample(3), None: Sample(4)}
    assert (await ours.read(named)).by_variant == expected
    assert [one.by_variant async for one in ours.read_slices(named, timedelta(seconds=30))] == [expected, {}]
    assert set((await ours.read(QUERY)).by_variant) == {"classic", "express", "other", None}


async def test_where_labels_are_kept_as_they_are_other_letters_are_another_label() -> None:
    ours = metrics(MemoryMetricSource([ERRORS]), "classic", "Express")
    found = await ours.read(replace(QUERY, variants=("Classic", "Express")))
    assert set(found.by_variant) == {"classic", "Express"}


async def test_a_metric_that_is_tried_out_is_told_apart_as_a_gate_would() -> None:
    span = timedelta(minutes=1)
    tried = await try_metric(
        metrics(SmallLetters([ERRORS]), "classic", "express"),
        "errors",
        "f",
        "production",
        control="Classic",
        treatment="Express",
        now=NOON + span / 2,
        span=span,
        stale_after=span,
    )
    assert [(label, sample.exposures) for _, label, sample in tried.arms] == [("Classic", 1), ("Express", 2)]
    assert tried.can_be_judged


@pytest.mark.parametrize(
    ("variants", "problem"),
    [
        (("Classic", "classic"), "the variants 'Classic' and 'classic' .* are both kept as 'classic': call one"),
        (("old", "far too long for it"), "is too long"),
    ],
)
async def test_variants_that_a_source_can_not_tell_apart_are_refused_before_it_is_asked(
    variants: tuple[str, str], problem: str
) -> None:
    source = SmallLetters([ERRORS])
    source.outage = "It was asked."
    ours, named = metrics(source, "classic"), replace(QUERY, variants=variants)
    with pytest.raises(BadMetricAnswer, match=problem):
        await ours.read(named)
    with pytest.raises(BadMetricAnswer, match=problem):
        await anext(ours.read_slices(named, timedelta(seconds=30)))


class Asked(MemoryMetricSource):
    """Answers many at once, and counts how often it was asked."""

    grain = timedelta(seconds=1)
    times = 0

    async def read_together(self, queries: Sequence[MetricQuery]) -> Sequence[Reading | SluiceError]:
        self.times += 1
        return [await self.read(query) for query in queries]


async def test_what_was_read_ahead_is_answered_together_without_asking_again_and_by_the_variants_names() -> None:
    minute = timedelta(minutes=1)
    next_window = Window(NOON + minute, NOON + 2 * minute)
    source = Asked([ERRORS])
    for flag in ("f", "g"):
        source.add("errors", flag, "production", Observation("on", NOON + minute, 7, 0))
    ours = Metrics(Catalogue([ERRORS]), {"m": source})
    both = [replace(QUERY, flag=flag) for flag in ("f", "g")]
    await ours.read_together(both)
    first, second = (replace(one, window=next_window) for one in both)
    (found,) = await ours.read_together([first])
    assert source.times == 2
    (ahead,) = await ours.read_together([second])
    assert source.times == 2, "it came with its companion's"
    assert isinstance(found, Reading)
    assert isinstance(ahead, Reading)
    assert found.by_variant == ahead.by_variant == {"on": Sample(7)}
    await ours.close()


async def test_of_what_is_read_together_each_has_its_own_error() -> None:
    ours = metrics(SmallLetters([ERRORS]), "classic")
    unknown = replace(QUERY, metric="unheard")
    alike = replace(QUERY, variants=("Classic", "classic"))
    found = await ours.read_together([QUERY, unknown, alike])
    assert [type(one) for one in found] == [Reading, UnknownMetric, BadMetricAnswer]


async def test_who_reads_together_and_is_told_to_stop_stops() -> None:
    class Stopping(MemoryMetricSource):
        async def read(self, query: MetricQuery) -> Reading:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await metrics(Stopping([ERRORS]), "classic").read_together([QUERY])
