"""Charts drawn in a process of their own, of low priority and bounded in time: whatever watches a rollout goes first.

The process is `main`, run by the same Python: it reads what to draw from its input and writes pictures and their texts.
"""

import asyncio
import base64
import json
import os
import pickle
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tools.errors import SluiceError, Unavailable
from tools.rollouts.trace import Course, traced

NICENESS = 15
SECONDS = 60.0
"""For some charts on a busy machine; one alone takes a second or two, most of it to begin."""
LONGEST_COMPLAINT = 400


class DrawingFailed(Unavailable):
    """The process did not answer, or not in time."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart as PNG, and what it shows in words."""

    picture: bytes
    says: str


async def drawn_apart(courses: Sequence[Course]) -> list[Drawn | None]:
    """Each course's chart, of the guardrail with the most evidence of harm; None where there is nothing to draw.

    Raises DrawingFailed.
    """
    # The same modules as here, and nothing that happens to lie in the present folder.
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", code, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    try:
        async with asyncio.timeout(SECONDS):
            answer, complaint = await process.communicate(_packed(courses))
    except TimeoutError:
        raise DrawingFailed(f"The charts were not drawn within {SECONDS:g} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = complaint.decode(errors="replace").strip()[-LONGEST_COMPLAINT:]
        raise DrawingFailed(f"Drawing ended with status {process.returncode}: {last}")
    found = json.loads(answer)
    return [None if one is None else Drawn(base64.b64decode(one["picture"]), one["says"]) for one in found]


def main() -> None:
    """Draw what standard input asks for."""
    os.nice(NICENESS)
    # Only the process that started this one writes here.
    asked: list[tuple[str, str, tuple[tuple[datetime, int, str, str], ...]]] = pickle.load(sys.stdin.buffer)  # noqa: S301
    sys.stdout.write(json.dumps([_answer(Course(*one)) for one in asked]))


def _packed(courses: Sequence[Course]) -> bytes:
    # Plain values only: to take objects apart takes the longer the more there are.
    return pickle.dumps([(course.flag, course.environment, course.rows) for course in courses])


def _answer(course: Course) -> dict[str, str] | None:
    from bot.chart import Theme, described, drawn

    try:
        trace = traced(course)
    except (SluiceError, LookupError, TypeError, ValueError):
        # Rows that nobody can read any more; the other charts have nothing to do with them.
        return None
    return {"picture": base64.b64encode(drawn(trace, Theme.CARD)).decode(), "says": described(trace)}
