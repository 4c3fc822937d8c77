"""The gate chart: a guardrail's rates in both arms, the limit between them, the evidence, the stages; and its text.

A picture is drawn for Slack's width: text is large, lines are told apart by style and by words beside them as well as
by colour. There is a light and a dark one, and one for cards, which is smaller and whose ground is easy on the eyes in
Slack's light and dark alike, for a message can't know which of them its reader has chosen.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bot import texts
from bot.style import MARGIN_IN, NAME_POINTS, PALETTES, TITLE_POINTS, Palette, Theme, plain, png
from tools.gates import CountTest, Direction, Harm, Outcome, Verdict
from tools.gates.intervals import rate_interval
from tools.metrics.catalogue import MetricKind
from tools.metrics.units import in_unit
from tools.rollouts.trace import Point, Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

PROMOTES = 1 / CountTest.alpha_safe
SURENESS = f"{100 * (1 - CountTest.alpha_safe):g} %"
LEAST_EVIDENCE, MOST_EVIDENCE = 0.1, 1e4
LEAST_STAGE = 0.12
"""How near two names of stages may stand, in parts of the width."""
WORD_AWAY, WORD_GAP = 12, 10
"""Points from a verdict's mark to its word, and at least between two words."""
MOST_RATE, RATE_ROOM = 1.0, 0.03
"""What no rate exceeds, and how much is left above it for marks."""
NAME_HEIGHT_IN = 0.21
"""How high a name at the end of a line is."""

SIZES_IN = {Theme.LIGHT: (8.0, 5.4), Theme.DARK: (8.0, 5.4), Theme.CARD: (6.8, 4.9)}


def drawn(trace: Trace, theme: Theme = Theme.LIGHT) -> bytes:
    """The chart as a PNG, 200 dots an inch. It takes a fraction of a second of a processor: call it in a thread."""
    return png(lambda: figure(trace, theme))


def described(trace: Trace) -> str:
    """What the chart shows, in words: for whoever can't see it, and beside it."""
    last, rail = trace.last.verdict, trace.guardrail
    span = trace.last.at - trace.points[0].at
    worst = max(trace.points, key=lambda point: point.verdict.harm_e)
    seen, compared = (_shown(trace, value) for value in _values(trace, trace.last))
    arms = seen + _range_of(trace, "treatment", last.treatment_n)
    if not _is_relative(trace):
        control = _range_of(trace, "control", last.control_n)
        arms += texts.CHART_CONTROL.format(value=compared, range=control)
    harm = texts.CHART_HARM if rail.of_split else texts.CHART_HARM_AND_SAFETY
    lines = [
        texts.CHART_HEAD.format(
            metric=rail.metric,
            flag=trace.flag,
            environment=trace.environment,
            span=texts.duration(span),
            checks=texts.count(len(trace.points)),
        ),
        texts.CHART_ARMS.format(arms=arms, limit=_limit_said(trace), sureness=_sureness_said(trace)),
        harm.format(
            evidence=texts.evidence(worst.verdict.harm_e),
            levels=_levels_said(last),
            safety=texts.evidence(last.safe_e),
            needed=texts.evidence(PROMOTES),
        ),
        texts.CHART_STAGES.format(stages=", ".join(_stage_said(trace, point) for point in trace.stages)),
    ]
    lines += [_verdict_said(trace, point) for point in _events(trace)]
    return "\n".join(lines)


def figure(trace: Trace, theme: Theme = Theme.LIGHT) -> "Figure":
    """The chart, as matplotlib is to draw it."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    palette, size_in = PALETTES[theme], SIZES_IN[theme]
    layout = ConstrainedLayoutEngine(w_pad=MARGIN_IN, h_pad=MARGIN_IN)
    drawing = Figure(figsize=size_in, facecolor=palette.ground, layout=layout)
    rates, evidence = drawing.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    for axes in (rates, evidence):
        plain(axes, palette)
    _draw_rates(rates, trace, palette)
    _draw_evidence(evidence, trace, palette)
    _draw_stages(rates, evidence, trace, palette)
    _draw_title(drawing, trace, palette)
    # Words are told apart by where they really are, once all else has its place.
    drawing.draw_without_rendering()
    _draw_events(rates, trace, palette)
    return drawing


def _draw_title(drawing: "Figure", trace: Trace, palette: Palette) -> None:
    """On one line if it fits, else the metric on the first and the flag on the second, each as far as it fits."""
    style: dict[str, Any] = {"fontsize": TITLE_POINTS, "fontweight": "bold"}
    metric, flag = trace.guardrail.metric, texts.CHART_FLAG.format(flag=trace.flag, environment=trace.environment)
    title = texts.CHART_TITLE.format(metric=metric, flag=flag)
    probe = drawing.text(0, 0, "", **style)
    room = drawing.bbox.width - 2 * MARGIN_IN * drawing.dpi

    def fits(said: str) -> bool:
        probe.set_text(said)
        return probe.get_window_extent().width <= room

    if not fits(title):
        title = "\n".join(_shortened(line, fits) for line in (metric, flag))
    probe.remove()
    left = MARGIN_IN / drawing.get_figwidth()
    drawing.suptitle(title, x=left, ha="left", color=palette.text, **style)


def _shortened(said: str, fits: Callable[[str], bool]) -> str:
    """It whole if it fits, else without its middle: names of one kind begin alike and differ at their ends."""
    if fits(said):
        return said
    kept = bisect_left(range(len(said)), True, key=lambda kept: not fits(_without_middle(said, kept))) - 1
    return _without_middle(said, max(kept, 1))


def _without_middle(said: str, kept: int) -> str:
    return f"{said[: kept - kept // 3]}…{said[len(said) - kept // 3 :]}"


def _draw_rates(axes: "Axes", trace: Trace, palette: Palette) -> None:
    from matplotlib.ticker import FuncFormatter

    times = _times(trace)
    arms = (
        ("control", [_values(trace, point)[1] for point in trace.points], palette.control, "--"),
        ("treatment", [_values(trace, point)[0] for point in trace.points], palette.treatment, "-"),
    )
    for name, values, colour, style in arms:
        lows, highs = zip(*(_interval(trace, point, name) for point in trace.points), strict=True)
        axes.fill_between(times, _numbers(lows), _numbers(highs), color=colour, alpha=0.16, linewidth=0)
        axes.plot(times, _numbers(values), color=colour, linestyle=style, linewidth=2.2)
    limits = [_limit(trace, point) for point in trace.points]
    axes.plot(times, _numbers(limits), color=palette.limit, linestyle=":", linewidth=2.2)
    axes.set_ylim(*_rate_range(trace, limits))
    axes.set_ylabel(_ylabel(trace), color=palette.faint, fontsize=11)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(trace, value)))
    ends = [(values[-1], name, colour) for name, values, colour, _ in arms] + [
        (limits[-1], texts.CHART_LIMIT_NAME, palette.limit)
    ]
    _label_ends(axes, [(value, name, colour) for value, name, colour in ends if value is not None])


def _draw_evidence(axes: "Axes", trace: Trace, palette: Palette) -> None:
    from matplotlib.ticker import FuncFormatter

    times = _times(trace)
    harm = [_shown_evidence(point.verdict.harm_e) for point in trace.points]
    safe = [_shown_evidence(point.verdict.safe_e) for point in trace.points]
    axes.set_yscale("log")
    levels = _levels(trace.last.verdict)
    top = max(200.0, 2 * max(*harm, *safe), *(2 * level for level, _ in levels))
    axes.set_ylim(LEAST_EVIDENCE, min(top, MOST_EVIDENCE))
    axes.plot(times, safe, color=palette.safe, linewidth=2.2)
    axes.plot(times, harm, color=palette.limit, linestyle="-.", linewidth=2.2)
    for level, _ in levels:
        axes.axhline(level, color=palette.faint, linestyle=(0, (1, 2)), linewidth=1.2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel(texts.CHART_EVIDENCE, color=palette.faint, fontsize=11)
    axes.minorticks_off()
    axes.set_xlabel(texts.CHART_TIME.format(unit=_unit(trace)[1]), color=palette.faint, fontsize=11)
    named = [(safe[-1], texts.CHART_OF_SAFETY, palette.safe), (harm[-1], texts.CHART_OF_HARM, palette.limit)]
    _label_ends(axes, [*named, *((level, said, palette.faint) for level, said in levels)])


def _draw_stages(rates: "Axes", evidence: "Axes", trace: Trace, palette: Palette) -> None:
    width, last_named = max(_times(trace)[-1], 1e-9), -math.inf
    for point in trace.stages:
        at = _elapsed(trace, point)
        for axes in (rates, evidence):
            axes.axvline(at, color=palette.grid, linewidth=1.4)
        if (at - last_named) / width < LEAST_STAGE:
            continue
        last_named = at
        rates.annotate(
            f"{point.exposure.percent:g} %",
            (at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, 3),
            textcoords="offset points",
            color=palette.text,
            fontsize=12,
            fontweight="bold",
        )


def _draw_events(axes: "Axes", trace: Trace, palette: Palette) -> None:
    """The first check of each kind of verdict that means something, with its word where there is room for it."""
    # The gravest is named first, whatever stands beside it.
    events = sorted(_events(trace), key=lambda point: (-point.verdict.outcome.severity, point.at))
    seen = [(point, rate) for point in events if (rate := _values(trace, point)[0]) is not None]
    for point, rate in seen:
        _, marker, colour = _mark(point, palette)
        at = _elapsed(trace, point)
        axes.plot([at], [rate], marker=marker, markersize=10, color=colour, linestyle="none", zorder=5)
    # The names of stages and lines stand outside the frame, where no word of these goes.
    taken = list["Bbox"]()
    for point, rate in seen:
        word, _, colour = _mark(point, palette)
        taken += _placed(axes, word, (_elapsed(trace, point), rate), colour, palette, taken)


def _placed(
    axes: "Axes", word: str, at: tuple[float, float], colour: str, palette: Palette, taken: Sequence["Bbox"]
) -> list["Bbox"]:
    """Where the word was put beside its mark: above, else below, kept off other words; nowhere without room."""
    gap = WORD_GAP * axes.figure.dpi / 72
    for away, stands in ((WORD_AWAY, "bottom"), (-WORD_AWAY, "top")):
        said = axes.annotate(
            word,
            at,
            xytext=(0, away),
            textcoords="offset points",
            ha="center",
            va=stands,
            color=colour,
            fontsize=11,
            fontweight="bold",
            bbox={"facecolor": palette.ground, "alpha": 0.75, "edgecolor": "none", "pad": 1.0},
        )
        said.set_in_layout(False)
        box, frame = said.get_window_extent(), axes.bbox
        aside = max(frame.x0 - box.x0, 0.0) + min(frame.x1 - box.x1, 0.0)
        said.xyann = (72 * aside / axes.figure.dpi, away)
        box = said.get_window_extent()
        if frame.y0 <= box.y0 and box.y1 <= frame.y1 and not any(box.padded(gap).overlaps(other) for other in taken):
            return [box]
        said.remove()
    return []


def _mark(point: Point, palette: Palette) -> tuple[str, str, str]:
    """What is said of a verdict, its mark and its colour."""
    if point.verdict.outcome is Outcome.FAIL:
        return texts.CHART_PROVEN_HARMFUL, "X", palette.limit
    if point.verdict.harm is Harm.SUSPECTED:
        return texts.CHART_SUSPECTED, "^", palette.limit
    return texts.CHART_PROVEN_SAFE, "o", palette.safe


def _label_ends(axes: "Axes", ends: Sequence[tuple[float, str, str]]) -> None:
    """The names at the lines' right ends, apart from each other even where the lines meet."""
    low, high = axes.get_ylim()
    is_log = axes.get_yscale() == "log"

    def height(value: float) -> float:
        value = min(max(value, low), high)
        return math.log(value / low) / math.log(high / low) if is_log else (value - low) / (high - low)

    inches = axes.bbox.height / axes.figure.dpi
    heights = _apart([height(value) for value, _, _ in sorted(ends)], NAME_HEIGHT_IN / inches)
    for (_, name, colour), at in zip(sorted(ends), heights, strict=True):
        axes.annotate(
            name,
            (1.0, at),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=NAME_POINTS,
            annotation_clip=False,
        )


def _apart(heights: Sequence[float], least: float) -> list[float]:
    """Those heights, from the lowest to the highest, moved as little up or down as keeps them `least` apart."""
    placed = list[float]()
    for height in heights:
        placed.append(max(height, placed[-1] + least) if placed else max(height, least / 4))
    top = 1 - least / 4
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], top)
        top = placed[index] - least
    return placed


def _interval(trace: Trace, point: Point, arm: str) -> tuple[float | None, float | None]:
    """Where the arm's rate lies; of a mean or a latency where treatment's does beside control's, of a split nothing."""
    verdict, is_treatment = point.verdict, arm == "treatment"
    if trace.numbers.kind in (MetricKind.MEAN, MetricKind.LATENCY):
        return _beside_control(trace, point) if is_treatment else (None, None)
    if trace.numbers.kind is not MetricKind.RATIO:
        return None, None
    exposures = verdict.treatment_n if is_treatment else verdict.control_n
    events = verdict.treatment_events if is_treatment else verdict.control_events
    rate = verdict.treatment_rate if is_treatment else verdict.control_rate
    if not exposures or rate is None or abs(rate - events / exposures) > 1e-9:
        return None, None
    return rate_interval(exposures, events, dispersion=trace.guardrail.dispersion)


def _beside_control(trace: Trace, point: Point) -> tuple[float | None, float | None]:
    """The verdict's bounds on the ratio, around treatment's value: what control's chance adds is in it."""
    ratio, between, (value, _) = point.verdict.ratio, point.verdict.ratio_range, _values(trace, point)
    if between is None or not ratio or value is None:
        return None, None
    low, high = sorted(bound * value / ratio for bound in between)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)


def _values(trace: Trace, point: Point) -> tuple[float | None, float | None]:
    """Treatment's and control's rate, mean or latency; of a histogram without sums treatment's in units of control."""
    verdict = point.verdict
    if _is_relative(trace):
        return verdict.ratio, None if verdict.ratio is None else 1.0
    return verdict.treatment_rate, verdict.control_rate


def _is_relative(trace: Trace) -> bool:
    return trace.numbers.kind is MetricKind.LATENCY and not trace.numbers.sums


def _shown(trace: Trace, value: float | None) -> str:
    if value is not None and _is_relative(trace):
        return texts.VALUE_TIMES_CONTROL.format(times=f"{value:.3g}")
    return texts.measured(value, trace.numbers)


def _tick(trace: Trace, value: float) -> str:
    """A number on the axis of rates."""
    if _is_relative(trace):
        return f"×{value:.3g}"
    if trace.numbers.kind in (MetricKind.MEAN, MetricKind.LATENCY):
        return in_unit(value, trace.numbers.unit)
    return f"{100 * value:.3g} %"


def _levels(verdict: Verdict) -> list[tuple[float, str]]:
    """From which evidence on what happens, for the picture."""
    levels = dict[float, list[str]]()
    for level, said in (
        (verdict.pause_from, texts.CHART_PAUSES),
        (PROMOTES, texts.CHART_PROMOTES),
        (verdict.rollback_from, texts.CHART_ROLLS_BACK),
    ):
        if level is not None:
            levels.setdefault(level, []).append(said)
    return [(level, f"{texts.evidence(level)} {', '.join(said)}") for level, said in levels.items()]


def _levels_said(verdict: Verdict) -> str:
    pairs = ((verdict.pause_from, texts.CHART_PAUSES), (verdict.rollback_from, texts.CHART_ROLLS_BACK))
    return ", ".join(f"{texts.evidence(level)} {said}" for level, said in pairs if level is not None)


def _limit(trace: Trace, point: Point) -> float | None:
    """What treatment must be proven to be better than; None where that means nothing: no mean is so many times 0."""
    (_, rate), margin = _values(trace, point), trace.guardrail.margin
    if rate is None:
        return trace.guardrail.ceiling
    if trace.guardrail.of_split:
        return rate
    if trace.numbers.kind is MetricKind.MEAN and rate <= 0:
        return None
    limit = rate * margin if trace.guardrail.direction is Direction.INCREASE else rate / margin
    return None if trace.numbers.kind is MetricKind.RATIO and limit > MOST_RATE else limit


def _rate_range(trace: Trace, limits: Sequence[float | None]) -> tuple[float, float]:
    """Both arms' values and the limit, late enough to be steady, and the bands but those of the first minutes."""
    late = len(trace.points) // 10
    seen = [value for point in trace.points[late:] for value in _values(trace, point)]
    seen += limits[late:]
    seen += [_values(trace, point)[0] for point in _events(trace)]
    seen += _band_range(trace)
    found = [value for value in seen if value is not None]
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    room = 0.25 * (high - low or abs(high) or 1.0)
    below_zero = trace.numbers.kind is MetricKind.MEAN and low < 0
    low, high = low - room if below_zero else max(low - room, 0.0), high + 1.6 * room
    is_share = trace.numbers.kind in (MetricKind.RATIO, MetricKind.ASSIGNMENTS)
    return low, min(high, MOST_RATE + RATE_ROOM) if is_share else high


def _band_range(trace: Trace) -> list[float]:
    """How far treatment's band of a mean or a latency is to be seen: the newest whole, and as many as that lets.

    The half of the earlier bands reach no further, but at most as far again as the newest is wide. The band of a rate
    may leave the picture: it begins as wide as all that a rate can be.
    """
    if trace.numbers.kind is MetricKind.RATIO:
        return []
    intervals = (_interval(trace, point, "treatment") for point in trace.points)
    bands = [(low, high) for low, high in intervals if low is not None and high is not None]
    if not bands:
        return []
    low, high = bands[-1]
    lows, highs = (sorted(edges) for edges in zip(*bands, strict=True))
    half, wide = len(bands) // 2, high - low
    return [low, high, max(lows[half], low - wide), min(highs[-1 - half], high + wide)]


def _events(trace: Trace) -> list[Point]:
    """When harm was first suspected, when it was proven, or when safety was in each stage."""
    found = dict[tuple[int, str], Point]()
    for point in trace.points:
        verdict = point.verdict
        if verdict.outcome is Outcome.FAIL:
            found.setdefault((-1, "fail"), point)
        elif verdict.harm is Harm.SUSPECTED:
            found.setdefault((-1, "suspected"), point)
        elif verdict.outcome is Outcome.PASS:
            found.setdefault((point.stage, "pass"), point)
    return sorted(found.values(), key=lambda point: point.at)


def _times(trace: Trace) -> list[float]:
    return [_elapsed(trace, point) for point in trace.points]


def _elapsed(trace: Trace, point: Point) -> float:
    """In the time axis's unit."""
    return (point.at - trace.points[0].at).total_seconds() / _unit(trace)[0]


def _unit(trace: Trace) -> tuple[float, str]:
    """In what the time axis counts: seconds of one, and its name."""
    span = (trace.last.at - trace.points[0].at).total_seconds()
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if span >= 2.5 * size:
            return size, name
    return 1.0, "seconds"


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _shown_evidence(e_value: float) -> float:
    return min(max(e_value, LEAST_EVIDENCE), MOST_EVIDENCE)


def _range_of(trace: Trace, arm: str, exposures: int) -> str:
    if not exposures:
        return ""
    low, high = _interval(trace, trace.last, arm)
    between = "" if low is None or high is None else f"{_shown(trace, low)} to {_shown(trace, high)}, "
    return f" ({between}of {texts.count(exposures)})"


def _has_band(trace: Trace) -> bool:
    return any(low is not None for low, _ in (_interval(trace, point, "treatment") for point in trace.points))


def _sureness_said(trace: Trace) -> str:
    """How sure the ranges are: not each by itself but all of them, at however many checks."""
    return texts.CHART_SURE.format(sureness=SURENESS) if _has_band(trace) else ""


def _ylabel(trace: Trace) -> str:
    kinds = {
        MetricKind.MEAN: texts.CHART_MEAN,
        MetricKind.LATENCY: texts.CHART_LATENCY,
        MetricKind.ASSIGNMENTS: texts.CHART_SHARE,
    }
    shown = kinds.get(trace.numbers.kind, texts.CHART_RATE)
    return texts.CHART_BAND.format(shown=shown, sureness=SURENESS) if _has_band(trace) else shown


def _limit_said(trace: Trace) -> str:
    found, (_, control) = _limit(trace, trace.last), _values(trace, trace.last)
    if found is None and control is not None:
        if trace.numbers.kind is MetricKind.MEAN:
            return texts.CHART_LIMIT_NONE
        return texts.CHART_LIMIT_UNREACHED.format(margin=f"{trace.guardrail.margin:g}")
    limit = _shown(trace, found)
    if trace.guardrail.of_split:
        return texts.CHART_LIMIT_OF_SPLIT.format(limit=limit)
    is_upper = trace.guardrail.direction is Direction.INCREASE
    return (texts.CHART_LIMIT_BELOW if is_upper else texts.CHART_LIMIT_ABOVE).format(limit=limit)


def _after(trace: Trace, point: Point) -> str:
    since: timedelta = point.at - trace.points[0].at
    return texts.CHART_AFTER.format(span=texts.duration(since))


def _stage_said(trace: Trace, point: Point) -> str:
    said = texts.CHART_STAGE_FIRST if point is trace.points[0] else texts.CHART_STAGE
    return said.format(exposure=point.exposure, after=_after(trace, point))


def _verdict_said(trace: Trace, point: Point) -> str:
    if point.verdict.outcome is Outcome.FAIL:
        said = texts.CHART_HARM_PROVEN
    elif point.verdict.harm is Harm.SUSPECTED:
        said = texts.CHART_HARM_SUSPECTED
    else:
        said = texts.CHART_SAFE
    return said.format(number=point.stage + 1, after=_after(trace, point))
