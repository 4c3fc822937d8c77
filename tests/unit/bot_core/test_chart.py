"""The gate chart: a picture of the right size in two themes, and a text that says what is in it."""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bot.chart import PALETTES, Theme, described, drawn
from tools.gates import CountEvidence, Counts, CountTest, Direction, Outcome, judge, no_data, update
from tools.gates.verdict import NoData
from tools.plans.model import Exposure, Guardrail
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


def size(picture: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


@pytest.mark.parametrize("theme", Theme)
@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_it_is_a_picture_for_slacks_width(theme: Theme, ratio: float) -> None:
    picture = drawn(course(ratio), theme)
    assert size(picture) == (1600, 1080)
    assert len(picture) < 500_000


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
