"""The backtest's chart: a row for each harm to each guardrail, in a picture that grows with them."""

import struct
from datetime import timedelta

import pytest

from bot.backtest_chart import Row, drawn, rows_of
from bot.console.backtesting import lines
from bot.style import Theme
from tools.gates import Direction, Minutes
from tools.metrics.catalogue import MetricKind
from tools.rollouts.backtesting.report import Hurt, LeftOut, MetricCatch, Replayed, Report

RATES = ("errors", "failures")


def hurt(factor: float, *catches: MetricCatch) -> Replayed:
    """What became of the replays with a harm to these rates."""
    harm = Hurt(MetricKind.RATIO, Direction.INCREASE, tuple(one.metric for one in catches), factor)
    replays, caught = (sum(column) for column in zip(*((one.replays, one.caught) for one in catches), strict=True))
    return Replayed(harm, replays, caught, 0, replays - caught, None, (), (), catches)


def report(*harmful: Replayed, rolled_back: int = 1) -> Report:
    """Of 200 replays without harm, some of them rolled back."""
    harmless = Replayed(None, 200, rolled_back, 6, 194 - rolled_back, None, (), ())
    span, left_out = timedelta(days=14), (LeftOut("latency", "It is too new."),)
    return Report("new-checkout", "production", "ab" * 32, span, timedelta(minutes=1), (), left_out, harmless, harmful)


SMALL = hurt(1.5, MetricCatch("errors", 100, 0, None), MetricCatch("failures", 100, 61, Minutes(240.0, 610.0)))
LARGE = hurt(5.0, *(MetricCatch(metric, 100, 100, Minutes(2.0, 2.0)) for metric in RATES))


def height(picture: bytes) -> int:
    """Of a PNG as wide as Slack shows it."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, found = struct.unpack(">II", picture[16:24])
    assert width == 1600
    assert isinstance(found, int)
    return found


def test_each_guardrail_has_its_harms_in_order_of_their_size() -> None:
    rows = rows_of(report(SMALL, LARGE))
    assert [row.name or row.sign for row in rows] == ["errors", "×1.5", "×5", "failures", "×1.5", "×5"]
    assert rows[4] == Row(sign="×1.5", catch=SMALL.by_metric[1])


@pytest.mark.parametrize("theme", Theme)
def test_it_is_as_high_as_it_has_rows(theme: Theme) -> None:
    few, many = drawn(report(LARGE), theme), drawn(report(SMALL, LARGE), theme)
    assert height(many) - height(few) == pytest.approx(2 * 72, abs=1)
    assert len(many) < 500_000


def test_what_is_never_caught_or_was_never_hurt_is_drawn_too() -> None:
    never = hurt(1.5, MetricCatch("errors", 100, 0, None))
    assert height(drawn(report(never, rolled_back=194))) > height(drawn(report()))


def test_the_table_has_a_row_for_each_harm_to_each_guardrail() -> None:
    rows = "\n".join(lines(report(SMALL, LARGE))).splitlines()
    told = [" ".join(row.split()) for row in rows if row.startswith(("none", "×"))]
    assert told[:2] == ["none 1 of 200 6 193 –", "×1.5 errors 0 of 100 0 0 –"]
    assert told[2].startswith("×1.5 failures 61 of 100 0 0 4 h (10 h")
    assert told[3:5] == ["×5 errors 100 of 100 0 0 2 min (2 min)", "×5 failures 100 of 100 0 0 2 min (2 min)"]
    assert told[5] == "×1.5 failures, where it is caught:"
    assert len(told) == 8
    alone = "\n".join(lines(report(hurt(2.0, MetricCatch("m", 1, 0, None)))))
    assert "\n×2    " in alone


def test_names_that_are_too_long_are_cut() -> None:
    long = hurt(2.0, MetricCatch("m" * 200, 1, 1, Minutes(0.5, 40_000.0)))
    assert height(drawn(report(long))) == height(drawn(report(hurt(2.0, MetricCatch("m", 1, 1, Minutes(1.0, 1.0))))))
