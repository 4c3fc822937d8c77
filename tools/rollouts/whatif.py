"""What would have happened with another margin: the stored checks are judged again, in order, with it.

Nothing is measured anew. The data are those of the exposures that there were, so that it says when a guardrail would
have been proven safe or harmful, not what would have come of a stage that had then lasted longer.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select, tuple_

from tools.clock import written
from tools.errors import InvalidInput, NotFound
from tools.gates import Direction, Harm, Outcome, Verdict, amount
from tools.records.database import Database
from tools.records.models import GateCheck
from tools.rollouts import assessing, checks, store

MOST_CHECKS = 6_000
"""How many checks are judged again at most, from the first on."""
BATCH = 50
"""How many are read, and judged before others are let through."""


class NeverChecked(NotFound):
    """The rollout has no check of that metric."""


@dataclass
class Course:
    """How a guardrail went in a stage with one margin: when it was first proven safe or harmful, where it ended."""

    passed: datetime | None = None
    failed: datetime | None = None
    suspected: datetime | None = None
    last: Verdict | None = None

    def note(self, at: datetime, verdict: Verdict) -> None:
        """One more verdict."""
        self.last = verdict
        if verdict.outcome is Outcome.PASS:
            self.passed = self.passed or at
        if verdict.outcome is Outcome.FAIL:
            self.failed = self.failed or at
        if verdict.harm is not Harm.NONE:
            self.suspected = self.suspected or at

    def __str__(self) -> str:
        if self.failed is not None:
            return f"proven harmful at {written(self.failed)}"
        if self.passed is not None:
            return f"proven safe at {written(self.passed)}"
        if self.suspected is not None:
            return f"suspected of harm at {written(self.suspected)}, proven neither way"
        if self.last is None or self.last.outcome in (Outcome.NO_DATA, Outcome.ERROR):
            return "without data"
        return f"not proven (evidence of safety {amount(self.last.safe_e)}, of harm {amount(self.last.harm_e)})"


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A metric's course by stage (an index), as it was and as it would have been with `margin`; str() tells it."""

    metric: str
    margin: float
    as_it_was: dict[int, Course]
    as_it_would_be: dict[int, Course]
    cut: bool = field(default=False)

    def __str__(self) -> str:
        told = [self._stage(stage) for stage in sorted(self.as_it_would_be)]
        cut = f" Only the first {MOST_CHECKS:,} checks were looked at." if self.cut else ""
        return f"With the margin ×{self.margin:g} {self.metric} would have been {'; '.join(told)}.{cut}"

    def _stage(self, stage: int) -> str:
        would, was = str(self.as_it_would_be[stage]), str(self.as_it_was[stage])
        return f"{would} in stage {stage + 1} ({'as it was' if would == was else f'in fact {was}'})"


async def with_margin(database: Database, rollout_id: str, metric: str, margin: float) -> WhatIf:
    """The rollout's checks of that metric judged again with another margin.

    Raises RolloutNotFound, NeverChecked, and InvalidInput for a margin that makes no sense.
    """
    if not 1.001 <= margin <= 100:
        raise InvalidInput(f"A margin is a factor between 1.001 and 100 (2 means twice the rate), not {margin:g}.")
    async with database.read() as session:
        flag = (await store.load(session, rollout_id, lock=False)).flag
    replay, number = Replay(metric, margin), 0
    async for check in _in_order(database, rollout_id):
        if number == MOST_CHECKS:
            break
        number += 1
        replay.judge(check.inputs, check.answers, check.verdict)
    if not replay.would:
        known = ", ".join(sorted(replay.metrics)) or "nothing yet"
        raise NeverChecked(f"{metric} was not looked at in the rollout of {flag}; it was {known}.")
    return WhatIf(metric, margin, replay.was, replay.would, cut=number == MOST_CHECKS)


async def _in_order(database: Database, rollout_id: str) -> AsyncIterator[GateCheck]:
    """The rollout's checks, the oldest first, a few at a time, so that nobody waits for the database or for this."""
    query = select(GateCheck).where(GateCheck.rollout_id == rollout_id).order_by(GateCheck.at, GateCheck.id)
    last: GateCheck | None = None
    while True:
        later = query if last is None else query.where(tuple_(GateCheck.at, GateCheck.id) > (last.at, last.id))
        async with database.read() as session:
            found = (await session.scalars(later.limit(BATCH))).all()
        for check in found:
            yield check
        if len(found) < BATCH:
            return
        last = found[-1]
        await asyncio.sleep(0)


class Replay:
    """Judges checks one after the other with another margin, carrying its own evidence. Pure."""

    def __init__(self, metric: str, margin: float) -> None:
        self._metric = metric
        self._margin = margin
        self._carried: dict[str, Any] = {}
        self.metrics: set[str] = set()
        self.was: dict[int, Course] = {}
        self.would: dict[int, Course] = {}

    def judge(self, plain_inputs: Any, plain_answers: Iterable[Any], plain_verdict: Any) -> None:
        """One check, as it is stored."""
        inputs = checks.Inputs.model_validate(plain_inputs)
        self.metrics |= {item.guardrail.metric for item in inputs.guardrails}
        metrics = [item.guardrail.metric for item in inputs.guardrails]
        if self._metric not in metrics:
            return
        index = metrics.index(self._metric)
        # The others are judged as they were: what several show together is a guardrail's verdict too.
        items = (self._changed(item) if item.guardrail.metric == self._metric else item for item in inputs.guardrails)
        changed = inputs.model_copy(update={"guardrails": tuple(items)})
        judged = assessing.assess(changed, [checks.Answer.model_validate(answer) for answer in plain_answers])
        self._carried |= judged.evidence
        self.was.setdefault(inputs.stage, Course()).note(
            inputs.at, Verdict.from_json(plain_verdict["guardrails"][index])
        )
        self.would.setdefault(inputs.stage, Course()).note(inputs.at, judged.by_guardrail[index])

    def _changed(self, item: checks.GuardrailInput) -> checks.GuardrailInput:
        rail = item.guardrail
        ceiling = item.ceiling
        if ceiling is not None and rail.ceiling is None:
            # It was made of control's rate with the margin.
            if rail.direction is Direction.INCREASE:
                ceiling = min(ceiling / rail.margin * self._margin, checks.LARGEST_CEILING)
            else:
                ceiling = ceiling * rail.margin / self._margin
        update = {
            "guardrail": rail.model_copy(update={"margin": self._margin}),
            "ceiling": ceiling,
            "carried": self._carried.get(item.key),
        }
        return item.model_copy(update=update)
