"""Charts for cards, drawn in a process of their own."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tools.apart import done_apart
from tools.errors import SluiceError
from tools.rollouts.trace import Course, traced

SECONDS = 60.0
"""For some charts on a busy machine; one alone takes a second or two, most of it to begin."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart as PNG, and what it shows in words."""

    picture: bytes
    says: str


# Plain values only: to take objects apart takes the longer the more there are.
Plain = tuple[str, str, tuple[tuple[datetime, int, str, str], ...]]


async def drawn_apart(courses: Sequence[Course]) -> list[Drawn | None]:
    """Each course's chart, of the guardrail with the most evidence of harm; None where there is nothing to draw.

    Raises NotDoneApart.
    """
    asked: list[Plain] = [(course.flag, course.environment, course.rows) for course in courses]
    found = await done_apart(draw, asked, seconds=SECONDS, what="Drawing charts")
    return [None if one is None else Drawn(base64.b64decode(one["picture"]), one["says"]) for one in found]


def draw(asked: Sequence[Plain]) -> list[dict[str, str] | None]:
    """Each as JSON can say it."""
    return [_answer(Course(*one)) for one in asked]


def _answer(course: Course) -> dict[str, str] | None:
    from bot.chart import described, drawn
    from bot.style import Theme

    try:
        trace = traced(course)
    except (SluiceError, LookupError, TypeError, ValueError):
        # Rows that nobody can read any more; the other charts have nothing to do with them.
        return None
    return {"picture": base64.b64encode(drawn(trace, Theme.CARD)).decode(), "says": described(trace)}
