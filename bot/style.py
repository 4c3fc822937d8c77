"""How pictures look: their themes and colours, and what all of their axes have in common.

A picture is drawn for Slack's width: text is large, and nothing is said by colour alone. There is a light and a dark
theme, and one for cards, whose ground is easy on the eyes in Slack's light and dark alike, for a message can't know
which of them its reader has chosen.
"""

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 200
MARGIN_IN = 0.12
TITLE_POINTS, NAME_POINTS, SMALL_POINTS = 15, 12, 11

# matplotlib's text layout is not made for several threads at once.
_DRAWING = threading.Lock()


class Theme(StrEnum):
    """What the picture is to be seen on."""

    LIGHT = "light"
    DARK = "dark"
    CARD = "card"


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of a theme; each has a contrast of at least 4.5 to the ground, but for the grid."""

    ground: str
    text: str
    faint: str
    grid: str
    treatment: str
    control: str
    limit: str
    safe: str


PALETTES = {
    Theme.LIGHT: Palette("#ffffff", "#1d1c1d", "#616061", "#e4e4e4", "#1264a3", "#616061", "#c01343", "#007a5a"),
    Theme.DARK: Palette("#1a1d21", "#f2f2f2", "#ababad", "#33373c", "#5cb8f5", "#ababad", "#ff8aa5", "#4fd1a1"),
    Theme.CARD: Palette("#232a33", "#f4f6f8", "#b8c0c9", "#3a434e", "#6bc1f7", "#b8c0c9", "#ff93ab", "#5cdbab"),
}


def png(draw: Callable[[], "Figure"]) -> bytes:
    """The figure as a PNG, 200 dots an inch. It takes a fraction of a second of a processor: call it in a thread."""
    with _DRAWING:
        out = io.BytesIO()
        draw().savefig(out, format="png", dpi=DOTS_PER_INCH)
    return out.getvalue()


def plain(axes: "Axes", palette: Palette, *, grid: str = "y") -> None:
    """No frame but the line below, and a quiet grid along that axis."""
    axes.set_facecolor(palette.ground)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis="y" if grid == "y" else "x", color=palette.grid, linewidth=0.8)
    axes.tick_params(colors=palette.faint, labelsize=SMALL_POINTS, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(palette.grid)
