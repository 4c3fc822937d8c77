"""The gate chart: a picture of the right size in two themes, and a text that says what is in it."""

import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import numpy as np
import pytest

from bot.chart import described, drawn, figure
from bot.style import PALETTES, Theme
from tools.gates import CountEvidence, Counts, CountTest, Direction, Outcome, Verdict, judge, no_data, update
from tools.gates.verdict import NoData
from tools.metrics.catalogue import MetricKind
from tools.plans.model import Exposure, Guardrail
from tools.rollouts.judging import Numbers
from tools.rollouts.trace import Point, Trace

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAGES = ((0, 5.0), (60, 10.0), (150, 25.0))


def course(
    ratio: float, *, minutes: int = 200, harmful_from: int = 0, stages: Sequence[tuple[int, float]] = STAGES
) -> Trace:
    """A rollout checked each minute until harm is proven."""
    rng, test = np.random.default_rng(4), CountTest(Direction.INCREASE, 2.0)
    evidence, points = CountEvidence.start(test), list[Point]()
    for minute in range(minutes):
        stage = max(index for index, (since, _) in enumerate(stages) if minute >= since)
        share = stages[stage][1] / 100
        arms = [(600 * share, ratio if minute >= harmful_from else 1.0), (600 * (1 - share), 1.0)]
        exposed = [int(rng.poisson(mean)) for mean, _ in arms]
        treatment, control = (
            Counts(n, int(rng.binomial(n, 0.01 * factor))) for n, (_, factor) in zip(exposed, arms, strict=True)
        )
        evidence = update(test, evidence, control, treatment)
        verdict = judge(test, evidence)
        exposure = Exposure(percent=stages[stage][1])
        points.append(Point(START + timedelta(minutes=minute), stage, exposure, verdict))
        if verdict.outcome is Outcome.FAIL:
            break
    return Trace("new-checkout", "production", Guardrail(metric="errors"), tuple(points))


def with_levels(trace: Trace, **levels: float) -> Trace:
    """The same with other evidence from which on it pauses and rolls back."""
    points = tuple(replace(point, verdict=replace(point.verdict, **levels)) for point in trace.points)
    return replace(trace, points=points)


def size(picture: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_it_is_a_picture_for_slacks_width(theme: Theme, ratio: float) -> None:
    picture = drawn(course(ratio), theme)
    assert size(picture) == ((1360, 980) if theme is Theme.CARD else (1600, 1080))
    assert len(picture) < 500_000


CROWDED: dict[str, Trace] = {
    "safe": course(1.0),
    "harmed": course(4.0, harmful_from=100),
    "harmed at once": course(4.0),
    "two stages proven soon after each other": course(1.0, stages=((0, 5.0), (60, 10.0), (80, 25.0))),
    "proven near the left end and soon after": course(1.0, minutes=90, stages=((0, 25.0), (26, 50.0), (60, 75.0))),
    "proven before harm": course(4.0, minutes=90, harmful_from=60, stages=((0, 25.0), (40, 50.0))),
    "pauses, promotes and rolls back apart": with_levels(course(1.0), pause_from=40.0, rollback_from=100.0),
    "harmed, and levels apart": with_levels(course(4.0, harmful_from=100), pause_from=40.0, rollback_from=100.0),
}


@pytest.mark.parametrize("theme", [Theme.CARD, Theme.LIGHT])
@pytest.mark.parametrize("trace", CROWDED.values(), ids=CROWDED)
def test_no_word_stands_on_another_or_on_the_evidence(trace: Trace, theme: Theme) -> None:
    picture = figure(trace, theme)
    picture.draw_without_rendering()
    rates, evidence = picture.axes
    boxes = [(text.get_text(), text.get_window_extent()) for axes in (rates, evidence) for text in axes.texts]
    assert {"control", "treatment", "limit", "of safety", "of harm"} <= {said for said, _ in boxes}
    on_words = [(one, other) for (one, box), (other, its) in combinations(boxes, 2) if box.overlaps(its)]
    assert on_words == []
    lines = [line.get_transform().transform_path(line.get_path()) for line in evidence.lines]
    inside = [(said, box) for said, box in boxes if box.overlaps(evidence.bbox)]
    on_lines = [said for said, box in inside if any(line.intersects_bbox(box, filled=False) for line in lines)]
    assert on_lines == []


def test_its_text_says_how_safety_was_proven() -> None:
    text = described(course(1.0))
    assert "errors of new-checkout in production over 3 h 19 min, 200 checks shown." in text
    assert "it must stay below" in text
    assert "Stages: 5 % at first, 10 % after 1 h, 25 % after 2 h 30 min." in text
    assert "Stage 1 was proven safe after" in text
    assert "Harm" not in text


def test_its_text_says_when_harm_was_proven() -> None:
    text = described(course(4.0, harmful_from=100))
    assert "Harm was proven after" in text
    assert "50 rolls back" in text


def test_a_single_check_and_one_without_data_are_drawn() -> None:
    one = course(1.0, minutes=1)
    assert size(drawn(one)) == (1600, 1080)
    blind = Point(START, 0, Exposure(percent=5), no_data(NoData.EMPTY, "No interval has been counted yet."))
    trace = Trace("f", "e", Guardrail(metric="errors"), (blind,))
    assert size(drawn(trace)) == (1600, 1080)
    assert "Treatment ?, control ?" in described(trace)


def test_everyone_exposed_has_the_ceiling_for_a_limit() -> None:
    points = tuple(
        Point(START + timedelta(minutes=minute), 0, Exposure(percent=100), no_data(NoData.STALE, "Old."))
        for minute in range(3)
    )
    trace = Trace("f", "e", Guardrail(metric="errors", ceiling=0.02), points)
    assert "it must stay below 2 %" in described(trace)
    assert size(drawn(trace)) == (1600, 1080)


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", Theme)
def test_every_colour_can_be_told_from_the_ground(theme: Theme) -> None:
    palette = PALETTES[theme]
    ground = luminance(palette.ground)
    for colour in (palette.text, palette.faint, palette.treatment, palette.control, palette.limit, palette.safe):
        low, high = sorted((ground, luminance(colour)))
        assert (high + 0.05) / (low + 0.05) >= 4.5


MEAN = Numbers(kind=MetricKind.MEAN, cap=100.0, unit="EUR")
BUCKETS = Numbers(kind=MetricKind.LATENCY, buckets=(0.1,))
SPLIT = Numbers(kind=MetricKind.ASSIGNMENTS)


def told(numbers: Numbers, rail: Guardrail, *verdicts: Verdict) -> Trace:
    """A rollout checked each minute with these verdicts."""
    exposure = Exposure(percent=5)
    points = [Point(START + timedelta(minutes=at), 0, exposure, verdict) for at, verdict in enumerate(verdicts)]
    return Trace("new-checkout", "production", rail, tuple(points), numbers)


SEEN = Verdict(Outcome.INCONCLUSIVE, "", ratio=0.974, harm_e=3.0, safe_e=2.0, treatment_n=900, control_n=9000)


@pytest.mark.parametrize(
    ("numbers", "rail", "rates", "words"),
    [
        (
            MEAN,
            Guardrail(metric="revenue", direction=Direction.DECREASE, margin=1.05),
            (21.43, 22.0),
            "Treatment 21.43 EUR (of 900), control 22 EUR (of 9,000); it must stay above 20.95 EUR.",
        ),
        (
            BUCKETS,
            Guardrail(metric="latency", margin=1.25),
            (None, None),
            "Treatment 0.974 × control (of 900); it must stay below 1.25 × control.",
        ),
        (
            SPLIT,
            Guardrail(metric="split", of_split=True),
            (0.091, 0.1),
            "Treatment 9.1 % (of 900), control 10 % (of 9,000); 10 % are planned.",
        ),
    ],
)
def test_means_and_latencies_are_never_percentages(
    numbers: Numbers, rail: Guardrail, rates: tuple[float | None, float | None], words: str
) -> None:
    verdict = replace(SEEN, treatment_rate=rates[0], control_rate=rates[1])
    trace = told(numbers, rail, *[verdict] * 5)
    assert words in described(trace)
    assert size(drawn(trace)) == (1600, 1080)


@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize(
    ("numbers", "rail", "rates", "words"),
    [
        (
            MEAN,
            Guardrail(metric="revenue", direction=Direction.DECREASE, margin=1.05),
            (20.0, 20.0),
            "Treatment 20 EUR (19 EUR to 21 EUR, of 900), control 20 EUR (of 9,000)",
        ),
        (
            Numbers(kind=MetricKind.LATENCY, buckets=(0.1,), sums=True, unit="s"),
            Guardrail(metric="latency", margin=1.25),
            (0.2, 0.2),
            "Treatment 0.2 s (0.19 s to 0.21 s, of 900), control 0.2 s (of 9,000)",
        ),
        (
            BUCKETS,
            Guardrail(metric="latency", margin=1.25),
            (None, None),
            "Treatment 1 × control (0.95 × control to 1.05 × control, of 900)",
        ),
    ],
)
def test_means_and_latencies_have_a_band_that_is_said_too(
    theme: Theme, numbers: Numbers, rail: Guardrail, rates: tuple[float | None, float | None], words: str
) -> None:
    bare = replace(SEEN, treatment_rate=rates[0], control_rate=rates[1], ratio=1.0)
    banded = replace(bare, ratio_range=(0.95, 1.05))
    assert words in described(told(numbers, rail, bare, banded))
    with_band, without = (drawn(told(numbers, rail, *[one] * 5), theme) for one in (banded, bare))
    assert size(with_band) == size(without)
    assert with_band != without


def test_what_has_no_bounds_yet_has_no_band() -> None:
    """So of rows that an earlier release wrote, and of a mean of nought."""
    rail = Guardrail(metric="revenue", direction=Direction.DECREASE)
    endless = replace(SEEN, treatment_rate=1e15, control_rate=20.0, ratio=1e-300, ratio_range=(0.5, 2.0))
    for odd in (SEEN, replace(SEEN, ratio=0.0, ratio_range=(-1.0, 1.0)), replace(SEEN, ratio=None), endless):
        trace = told(MEAN, rail, replace(odd, treatment_rate=0.0, control_rate=20.0), odd)
        assert size(drawn(trace)) == (1600, 1080)
        assert " to " not in described(trace).splitlines()[1]


def test_the_levels_are_the_verdicts() -> None:
    rail = Guardrail(metric="errors")
    shared = replace(SEEN, treatment_rate=0.01, control_rate=0.01, pause_from=40.0, rollback_from=100.0)
    assert "(40 pauses, 100 rolls back); of safety it is 2.0 of 20." in described(told(Numbers(), rail, shared, shared))
    only_pauses = replace(shared, pause_from=1000.0, rollback_from=None)
    trace = told(SPLIT, Guardrail(metric="split", of_split=True), only_pauses, only_pauses)
    assert "Evidence of harm was at most 3.0 (1,000 pauses).\n" in described(trace)
    assert size(drawn(trace)) == (1600, 1080)
