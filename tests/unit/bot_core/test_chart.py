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


@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize("trace", CROWDED.values(), ids=CROWDED)
def test_the_gravest_verdict_is_always_named(trace: Trace, theme: Theme) -> None:
    names = [text.get_text() for text in figure(trace, theme).axes[0].texts]
    harmed = trace.last.verdict.outcome is Outcome.FAIL
    assert ("harm proven" if harmed else "proven safe") in names


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


REVENUE = Guardrail(metric="revenue", direction=Direction.DECREASE, margin=1.05)


def value_of(treatment: float, control: float, ratio_range: tuple[float, float] | None = None) -> Verdict:
    return replace(
        SEEN, treatment_rate=treatment, control_rate=control, ratio=treatment / control, ratio_range=ratio_range
    )


def drawn_lines(trace: Trace) -> tuple[tuple[float, float], list[str], list[list[float]]]:
    """The range of the upper axes, the names at its lines' ends, and the lines' values."""
    rates = figure(trace).axes[0]
    lines = [np.asarray(line.get_ydata(), float).tolist() for line in rates.lines[:3]]
    return rates.get_ylim(), [text.get_text() for text in rates.texts], lines


def test_a_mean_below_0_is_seen_and_has_no_limit_that_is_relative_to_it() -> None:
    trace = told(MEAN, REVENUE, *[value_of(-3.0 - at / 10, -2.0) for at in range(20)])
    (low, high), names, (control, treatment, limits) = drawn_lines(trace)
    assert low < min(treatment) < max(control) < high
    assert "limit" not in names
    assert np.isnan(limits).all()
    assert "control's mean is not above 0, so no limit is drawn." in described(trace)
    mixed = told(MEAN, REVENUE, *[value_of(at - 1.5, 2.0) for at in range(4)])
    (low, _), names, _ = drawn_lines(mixed)
    assert low < -1.5
    assert "limit" in names


def test_what_is_never_below_0_is_not_drawn_below_it() -> None:
    trace = told(Numbers(), Guardrail(metric="errors"), *[value_of(0.001 * at, 0.001) for at in range(1, 9)])
    assert drawn_lines(trace)[0][0] == 0


def test_a_limit_that_no_rate_can_reach_is_said_and_not_drawn() -> None:
    trace = told(Numbers(), Guardrail(metric="cancelled"), *[value_of(0.9, 0.8)] * 5)
    (_, high), names, (_, _, limits) = drawn_lines(trace)
    assert high <= 1.05
    assert "limit" not in names
    assert np.isnan(limits).all()
    text = described(trace)
    assert "its limit, 2 × control, would be above 100 %, so no rate can exceed it." in text
    assert "160 %" not in text
    assert "limit" in drawn_lines(told(Numbers(), Guardrail(metric="cancelled"), *[value_of(0.5, 0.4)] * 5))[1]


LATENCY = Numbers(kind=MetricKind.LATENCY, buckets=(0.1,), sums=True, unit="s")


@pytest.mark.parametrize("wide", [1, 5, 9])
@pytest.mark.parametrize("of_all", [10, 40])
def test_wide_bands_at_the_start_do_not_flatten_what_follows(wide: int, of_all: int) -> None:
    slow = Guardrail(metric="latency", margin=1.25)
    found = [value_of(0.2, 0.2, (0.02, 40.0) if at < wide else (0.9, 1.15)) for at in range(of_all)]
    (low, high), _, (_, _, limits) = drawn_lines(told(LATENCY, slow, *found))
    assert low < 0.9 * 0.2
    assert max(limits) == pytest.approx(0.25)
    assert 0.25 < high < 0.4


def test_the_newest_band_is_inside_however_wide_it_is() -> None:
    found = [value_of(0.2, 0.2, (0.9, 1.1))] * 9 + [value_of(0.2, 0.2, (0.4, 3.0))]
    (low, high), _, _ = drawn_lines(told(LATENCY, Guardrail(metric="latency", margin=1.25), *found))
    assert low <= 0.08
    assert high >= 0.6


@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize(
    ("metric", "flag"),
    [
        ("checkout_payment_provider_timeouts_of_returning_customers", "new-checkout"),
        ("errors", "checkout-with-saved-cards-and-one-click-for-returning-customers"),
        ("m" * 120, "W" * 120),
    ],
)
def test_a_title_stays_inside_however_long_the_names_are(metric: str, flag: str, theme: Theme) -> None:
    trace = replace(course(1.0, minutes=60), flag=flag, guardrail=Guardrail(metric=metric))
    picture = figure(trace, theme)
    picture.draw_without_rendering()
    title = picture._suptitle  # type: ignore[attr-defined]
    box = title.get_window_extent()
    assert box.x1 <= picture.bbox.x1
    assert box.y1 <= picture.bbox.y1
    assert title.get_text().startswith(metric[:15])
    assert f"\n{flag[:15]}" in title.get_text()
    assert metric in described(trace)
    assert flag in described(trace)
    tops = [text.get_window_extent().y1 for text in picture.axes[0].texts]
    assert max(tops) < box.y0


@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize("numbers", [Numbers(), MEAN.model_copy(update={"cap": 1e9})], ids=["rate", "amounts"])
@pytest.mark.parametrize("second", range(15, 60, 3))
def test_words_of_verdicts_keep_apart(second: int, numbers: Numbers, theme: Theme) -> None:
    """Two stages proven safe, ever further from each other, and axes as narrow as their numbers make them."""
    scale = 1.0 if numbers.kind is MetricKind.RATIO else 1234567.8
    passed = replace(SEEN, outcome=Outcome.PASS, treatment_rate=0.0105 * scale, control_rate=0.01 * scale)
    quiet = replace(passed, outcome=Outcome.INCONCLUSIVE)
    points = tuple(
        Point(
            START + timedelta(minutes=minute),
            int(minute > 12),
            Exposure(percent=5),
            passed if minute in (12, second) else quiet,
        )
        for minute in range(62)
    )
    picture = figure(Trace("f", "e", Guardrail(metric="errors"), points, numbers), theme)
    picture.draw_without_rendering()
    boxes = [text.get_window_extent() for text in picture.axes[0].texts if text.get_text() == "proven safe"]
    assert boxes
    assert not [one for one, other in combinations(boxes, 2) if one.padded(4).overlaps(other)]
    assert all(box.y0 >= picture.axes[0].bbox.y0 and box.y1 <= picture.axes[0].bbox.y1 for box in boxes)
