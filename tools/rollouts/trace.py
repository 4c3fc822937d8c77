"""How a guardrail went from check to check: both arms' rates and the evidence, for charts and their text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select

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


async def trace(database: Database, rollout_id: str, metric: str | None = None) -> Trace:
    """A guardrail's course; without `metric` that of the one with the most evidence of harm now.

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
        thinned = or_(
            numbered.c.number % (numbered.c.count / MOST_POINTS + 1) == 0, numbered.c.number == numbered.c.count
        )
        query = (
            select(GateCheck.at, GateCheck.stage, GateCheck.inputs, GateCheck.verdict)
            .join(numbered, numbered.c.id == GateCheck.id)
            .where(thinned)
            .order_by(GateCheck.at, GateCheck.id)
        )
        rows = (await session.execute(query)).all()
    if not rows:
        raise NothingToTrace(f"The gate of {rollout.flag} has not been checked yet, so there is nothing to draw.")
    item = _gravest(rows[-1]) if metric is None else _named(rows, metric)
    guardrail, numbers = Guardrail.model_validate(item["guardrail"]), Numbers.model_validate(item.get("numbers", {}))
    points = tuple(point for row in rows if (point := _point(row, guardrail.metric)) is not None)
    return Trace(rollout.flag, rollout.environment, guardrail, points, numbers)


def _gravest(row: Any) -> dict[str, Any]:
    """The input of the guardrail that the check thought the worst of."""
    verdicts = [Verdict.from_json(plain) for plain in row.verdict["guardrails"]]
    pairs: zip[tuple[dict[str, Any], Verdict]] = zip(row.inputs["guardrails"], verdicts, strict=True)
    return max(pairs, key=lambda pair: (pair[1].outcome.severity, pair[1].harm_e))[0]


def _named(rows: Sequence[Any], metric: str) -> dict[str, Any]:
    known = set[str]()
    for row in reversed(rows):
        for item in row.inputs["guardrails"]:
            if item["guardrail"]["metric"] == metric:
                return dict(item)
            known.add(item["guardrail"]["metric"])
    raise NothingToTrace(f"{metric} guards nothing in this rollout; it is guarded by {', '.join(sorted(known))}.")


def _point(row: Any, metric: str) -> Point | None:
    metrics = [item["guardrail"]["metric"] for item in row.inputs["guardrails"]]
    if metric not in metrics:
        return None
    verdict = Verdict.from_json(row.verdict["guardrails"][metrics.index(metric)])
    return Point(row.at, row.stage, Exposure.model_validate(row.inputs["exposure"]), verdict)
