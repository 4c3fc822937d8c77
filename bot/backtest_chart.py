"""The backtest's chart: how long each guardrail takes to catch harms of each size, and what happens without harm.

In the gate chart's style (`bot.style`). Half of the catches lie up to the dot and nine of ten up to the bar's end;
beside them stand both times and how many were caught at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot import texts
from bot.style import MARGIN_IN, NAME_POINTS, PALETTES, SMALL_POINTS, TITLE_POINTS, Palette, Theme, plain, png
from tools.rollouts.backtesting.report import MetricCatch, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN, ROW_IN = 8.0, 0.36
SAID_IN, HARMLESS_IN, BAR_IN, ENDS_IN = 0.46, 1.03, 1.12, 1.4
"""Where, from the top: what was replayed; what happens without harm, its bar, how these replays ended."""
BAR_HEIGHT_IN, HEAD_IN, COLUMNS_AT_IN = 0.2, 2.06, 1.98
FOOT_IN = 0.6
LEFT_IN, RIGHT_IN = 0.85, 2.75
"""What is left of the times for the harms' sizes, and right of them for the numbers."""
COLUMNS_IN = (0.7, 1.5, 2.6)
"""Where the numbers end, right of the times: the median, nine of ten, how many are caught."""
HOUR, DAY = 60.0, 1440.0
TICKS = (1.0, 3.0, 10.0, 30.0, 2 * HOUR, 6 * HOUR, DAY, 3 * DAY, 10 * DAY, 30 * DAY)
FINE_TICKS = (
    0.5,
    1.0,
    2.0,
    3.0,
    5.0,
    10.0,
    15.0,
    20.0,
    30.0,
    45.0,
    60.0,
    90.0,
    *(h * HOUR for h in (2, 3, 4, 6, 8, 12)),
)
LEAST_TICKS, MOST_TICKS = 4, 6
LONGEST_TITLE, LONGEST_NAME = 54, 60
"""Characters that there is room for."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the chart: a guardrail's name, or a size of harm (`sign`) and what became of it."""

    name: str = ""
    sign: str = ""
    catch: MetricCatch | None = None


def drawn(report: Report, theme: Theme = Theme.LIGHT) -> bytes:
    """The chart as a PNG, 200 dots an inch; the more guardrails, the higher. Call it in a thread."""
    return png(lambda: _figure(report, PALETTES[theme]))


def rows_of(report: Report) -> list[Row]:
    """Each guardrail's name and below it its harms, the smallest first."""
    found = dict[str, list[Row]]()
    for one in report.harmful:
        assert one.hurt is not None, "what is harmful hurts something"
        for catch in one.by_metric:
            found.setdefault(catch.metric, []).append(Row(sign=one.hurt.sign, catch=catch))
    return [row for metric, harms in found.items() for row in (Row(name=metric), *harms)]


def _figure(report: Report, palette: Palette) -> "Figure":
    from matplotlib.figure import Figure

    rows = rows_of(report)
    height = HEAD_IN + FOOT_IN + ROW_IN * len(rows) if rows else ENDS_IN + 0.32
    figure = Figure(figsize=(WIDTH_IN, height), facecolor=palette.ground)
    _draw_head(figure, report, palette)
    whole = 1 - 2 * MARGIN_IN / WIDTH_IN
    bar = MARGIN_IN / WIDTH_IN, 1 - (BAR_IN + BAR_HEIGHT_IN) / height, whole, BAR_HEIGHT_IN / height
    _draw_harmless(figure.add_axes(bar), report, palette)
    if rows:
        width = (WIDTH_IN - LEFT_IN - RIGHT_IN) / WIDTH_IN
        times = figure.add_axes((LEFT_IN / WIDTH_IN, FOOT_IN / height, width, ROW_IN * len(rows) / height))
        _draw_times(times, rows, palette)
    return figure


def _draw_head(figure: "Figure", report: Report, palette: Palette) -> None:
    left, height = MARGIN_IN / WIDTH_IN, figure.get_figheight()
    title = _cut(f"Backtest · {report.flag}, {report.environment}", LONGEST_TITLE)
    figure.text(
        left, 1 - MARGIN_IN / height, title, color=palette.text, fontsize=TITLE_POINTS, fontweight="bold", va="top"
    )
    said = f"replayed over the last {texts.duration(report.span)}, a look each {texts.duration(report.looked_every)}"
    if report.left_out:
        said += f"; without {', '.join(one.metric for one in report.left_out)}"
    said = _cut(said, LONGEST_NAME + LONGEST_NAME // 4)
    figure.text(left, 1 - SAID_IN / height, said, color=palette.faint, fontsize=SMALL_POINTS, va="top")
    one, at = report.harmless, 1 - HARMLESS_IN / height
    false = f"Without harm {one.rolled_back:,} of {one.replays:,} rolled back"
    figure.text(left, at, false, color=palette.text, fontsize=NAME_POINTS, fontweight="bold")
    sure = f"with 95 % confidence at most {100 * one.at_most:.2g} %"
    figure.text(1 - left, at, sure, color=palette.faint, fontsize=SMALL_POINTS, ha="right")


def _draw_harmless(axes: "Axes", report: Report, palette: Palette) -> None:
    """A bar of all replays without harm by how they ended, and the words of it in the same order."""
    one = report.harmless
    axes.set_axis_off()
    axes.set_xlim(0, one.replays)
    axes.set_ylim(0, 1)
    parts = (
        (one.promoted, "promoted to the end", palette.safe, ""),
        (one.asked, "left to a person", palette.control, "///"),
        (one.rolled_back, "rolled back", palette.limit, "xxx"),
    )
    places = ((0.0, "left"), (0.5, "center"), (1.0, "right"))
    start = 0
    for (count, word, colour, hatch), (place, side) in zip(parts, places, strict=True):
        axes.barh(0.5, count, left=start, height=1.0, color=colour, hatch=hatch, edgecolor=palette.ground, linewidth=0)
        axes.annotate(
            f"{count:,} {word}",
            (place, 0.0),
            xycoords="axes fraction",
            xytext=(0, -5),
            textcoords="offset points",
            ha=side,
            va="top",
            color=colour,
            fontsize=SMALL_POINTS,
        )
        start += count


def _draw_times(axes: "Axes", rows: Sequence[Row], palette: Palette) -> None:
    plain(axes, palette, grid="x")
    axes.set_xscale("log")
    axes.set_xlim(*_range(rows))
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([])
    _time_ticks(axes)
    axes.set_xlabel("until it is rolled back, of those caught", color=palette.faint, fontsize=SMALL_POINTS)
    for said, inches in zip(("● half", "| 9 of 10", "caught"), COLUMNS_IN, strict=True):
        _number(axes, said, (COLUMNS_AT_IN - HEAD_IN) / ROW_IN, inches, palette.faint, stands="baseline")
    for at, row in enumerate(rows):
        if row.catch is None:
            _beside(axes, _cut(row.name, LONGEST_NAME), at + 0.6, palette, bold=True)
        else:
            _beside(axes, row.sign, at + 0.5, palette)
            _draw_catch(axes, row.catch, at + 0.5, palette)


def _draw_catch(axes: "Axes", catch: MetricCatch, y: float, palette: Palette) -> None:
    half, most, caught = COLUMNS_IN
    missed = catch.caught < catch.replays
    said = f"{catch.caught:,} of {catch.replays:,}"
    _number(axes, said, y, caught, palette.limit if missed else palette.text, bold=missed)
    if catch.minutes is None:
        for inches in (half, most):
            _number(axes, "–", y, inches, palette.faint)
        return
    axes.axhline(y, color=palette.grid, linewidth=0.8)
    median, p90 = catch.minutes.median, catch.minutes.p90
    for colour, alpha in ((palette.ground, 1.0), (palette.treatment, 0.35)):
        axes.plot([median, p90], [y, y], color=colour, alpha=alpha, linewidth=5, solid_capstyle="butt")
    axes.plot([p90], [y], marker="|", markersize=13, markeredgewidth=2.2, color=palette.treatment)
    axes.plot([median], [y], marker="o", markersize=9, color=palette.treatment)
    for value, inches in ((median, half), (p90, most)):
        _number(axes, _short(value), y, inches, palette.text)


def _beside(axes: "Axes", said: str, y: float, palette: Palette, *, bold: bool = False) -> None:
    """Text at the left margin."""
    axes.annotate(
        said,
        (0.0, y),
        xycoords=("axes fraction", "data"),
        xytext=(72 * (MARGIN_IN - LEFT_IN), 0),
        textcoords="offset points",
        va="center",
        color=palette.text,
        fontsize=NAME_POINTS,
        fontweight="bold" if bold else "normal",
        annotation_clip=False,
        bbox={"facecolor": palette.ground, "edgecolor": "none", "pad": 1.5},
    )


def _number(
    axes: "Axes", said: str, y: float, inches: float, colour: str, *, bold: bool = False, stands: str = "center"
) -> None:
    """Text that ends so many inches right of the times."""
    axes.annotate(
        said,
        (1.0, y),
        xycoords=("axes fraction", "data"),
        xytext=(72 * inches, 0),
        textcoords="offset points",
        ha="right",
        va=stands,
        color=colour,
        fontsize=NAME_POINTS,
        fontweight="bold" if bold else "normal",
        annotation_clip=False,
    )


def _range(rows: Sequence[Row]) -> tuple[float, float]:
    found = [row.catch.minutes for row in rows if row.catch is not None and row.catch.minutes is not None]
    if not found:
        return 1.0, 60.0
    low, high = min(one.median for one in found), max(one.p90 for one in found)
    return low / 1.5, max(high, 3 * low) * 1.5


def _time_ticks(axes: "Axes") -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = axes.get_xlim()
    ticks, fine = ([tick for tick in some if low <= tick <= high] for some in (TICKS, FINE_TICKS))
    if len(ticks) < LEAST_TICKS and len(fine) <= MOST_TICKS:
        ticks = fine
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda minutes, _: _short(minutes)))


def _cut(said: str, longest: int) -> str:
    return said if len(said) <= longest else f"{said[: longest - 1]}…"


def _short(minutes: float) -> str:
    """`6.5 min`, `81 min`, `2.3 h`, `10 d`."""
    for size, unit in ((DAY, "d"), (HOUR, "h")):
        if minutes >= 2 * size:
            return f"{minutes / size:.2g} {unit}"
    return f"{minutes:.3g} min" if minutes < 10 else f"{minutes:.0f} min"
