"""How a guardrail went from check to check: both arms' rates and the evidence, for charts and their text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, func, or_, select

from tools.errors import NotFound
from tools.gates import Verdict
from tools.plans.model import Exposure, Guardrail
from tools.records.database import Database
from tools.records.models import GateCheck
from tools.rollouts import store
from tools.rollouts.judging import Numbers

MOST_POINTS = 600
"""More than a picture can show. Of a longer rollout every so manieth check is taken, and the last."""


class NothingToTrace(NotFound):
    """There is no check of that guardrail."""


@dataclass(frozen=True, slots=True)
class Point:
    """A check: where the rollout stood, and the guardrail's verdict then, whose counts are totals so far."""

    at: datetime
    stage: int
    exposure: Exposure
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Trace:
    """The points of one guardrail, the oldest first; `numbers` says what its metric's numbers are."""

    flag: str
    environment: str
    guardrail: Guardrail
    points: tuple[Point, ...]
    numbers: Numbers = field(default_factory=Numbers)

    @property
    def stages(self) -> tuple[Point, ...]:
        """The first point of each stage's time."""
        before = (None, *self.points)
        return tuple(
            point
            for last, point in zip(before, self.points, strict=False)
            if last is None or (last.stage, last.exposure) != (point.stage, point.exposure)
        )

    @property
    def last(self) -> Point:
        """The newest."""
        return self.points[-1]


@dataclass(frozen=True, slots=True)
class Course:
    """What a rollout's checks wrote down, the oldest first: each row's moment, stage, and the JSON of its inputs and
    of its verdict. It is read quickly and understood slowly, so that the latter can be done elsewhere."""

    flag: str
    environment: str
    rows: tuple[tuple[datetime, int, str, str], ...]


async def trace(database: Database, rollout_id: str, metric: str | None = None) -> Trace:
    """A guardrail's course; without `metric` that of the one with the most evidence of harm now.

    Raises RolloutNotFound, NothingToTrace.
    """
    return traced(await course(database, rollout_id), metric)


async def course(database: Database, rollout_id: str, *, most: int = MOST_POINTS) -> Course:
    """The checks of a rollout, thinned to somewhat more than `most` at the utmost.

    Raises RolloutNotFound, NothingToTrace.
    """
    async with database.read() as session:
        rollout = await store.load(session, rollout_id, lock=False)
        numbered = (
            select(
                GateCheck.id,
                func.row_number().over(order_by=(GateCheck.at, GateCheck.id)).label("number"),
                func.count().over().label("count"),
            )
            .where(GateCheck.rollout_id == rollout_id)
            .subquery()
        )
        thinned = or_(numbered.c.number % (numbered.c.count // most + 1) == 0, numbered.c.number == numbered.c.count)
        query = (
            select(GateCheck.at, GateCheck.stage, cast(GateCheck.inputs, Text), cast(GateCheck.verdict, Text))
            .join(numbered, numbered.c.id == GateCheck.id)
            .where(thinned)
            .order_by(GateCheck.at, GateCheck.id)
        )
        rows = (await session.execute(query)).all()
    if not rows:
        raise NothingToTrace(f"The gate of {rollout.flag} has not been checked yet, so there is nothing to draw.")
    return Course(rollout.flag, rollout.environment, tuple((row[0], row[1], row[2], row[3]) for row in rows))


def traced(course: Course, metric: str | None = None) -> Trace:
    """The course of that guardrail, or of the one with the most evidence of harm now. Raises NothingToTrace."""
    checks = [_Check(at, stage, json.loads(inputs), json.loads(verdict)) for at, stage, inputs, verdict in course.rows]
    item = _gravest(checks[-1]) if metric is None else _named(checks, metric)
    guardrail, numbers = Guardrail.model_validate(item["guardrail"]), Numbers.model_validate(item.get("numbers", {}))
    points = tuple(point for check in checks if (point := _point(check, guardrail.metric)) is not None)
    return Trace(course.flag, course.environment, guardrail, points, numbers)


@dataclass(frozen=True, slots=True)
class _Check:
    """A row of a course, understood."""

    at: datetime
    stage: int
    inputs: dict[str, Any]
    verdict: dict[str, Any]


def _gravest(check: _Check) -> dict[str, Any]:
    """The input of the guardrail that the check thought the worst of."""
    verdicts = [Verdict.from_json(plain) for plain in check.verdict["guardrails"]]
    pairs: zip[tuple[dict[str, Any], Verdict]] = zip(check.inputs["guardrails"], verdicts, strict=True)
    return max(pairs, key=lambda pair: (pair[1].outcome.severity, pair[1].harm_e))[0]


def _named(checks: Sequence[_Check], metric: str) -> dict[str, Any]:
    known = set[str]()
    for check in reversed(checks):
        for item in check.inputs["guardrails"]:
            if item["guardrail"]["metric"] == metric:
                return dict(item)
            known.add(item["guardrail"]["metric"])
    raise NothingToTrace(f"{metric} guards nothing in this rollout; it is guarded by {', '.join(sorted(known))}.")


def _point(check: _Check, metric: str) -> Point | None:
    metrics = [item["guardrail"]["metric"] for item in check.inputs["guardrails"]]
    if metric not in metrics:
        return None
    verdict = Verdict.from_json(check.verdict["guardrails"][metrics.index(metric)])
    return Point(check.at, check.stage, Exposure.model_validate(check.inputs["exposure"]), verdict)
