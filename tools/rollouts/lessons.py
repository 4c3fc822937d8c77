"""What earlier rollouts teach: which were rolled back, at which exposure, on which metric, and how long proof took.

Only rollouts that have ended teach, and only those with something in common: the flag, a tag, or a metric. Reasons and
names are data that people and systems wrote; whoever shows them escapes them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from tools.clock import in_words
from tools.gates import Harm
from tools.plans.model import Plan
from tools.records import log
from tools.records.database import Database
from tools.records.log import Event
from tools.records.models import GateCheck, PlanVersion, Rollout
from tools.rollouts import checks
from tools.rollouts.events import SLUICE, Happening
from tools.rollouts.phases import Phase
from tools.rollouts.scope import Scope

LOOKED_AT = 200
"""How many of the newest ended rollouts are looked at."""
MOST_LESSONS = 5
MOST_EVENTS = 100
LONGEST_REASON = 240
TELLING = (
    Happening.EXPOSURE_CONFIRMED,
    Happening.PROMOTED,
    Happening.SUCCEEDED,
    Happening.ROLLBACK_STARTED,
)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one rollout teaches.

    `exposure` is where it was rolled back, `metrics` on which harm was seen then, `by_gate` whether the gate did it and
    not a person; all of these None, empty or False for one that succeeded. `proofs` has how long each promoted stage
    took, by its exposure in words. `shared` says what it has in common with what is asked about.
    """

    flag: str
    environment: str
    phase: Phase
    ended_at: datetime
    shared: tuple[str, ...]
    exposure: str | None
    metrics: tuple[str, ...]
    by_gate: bool
    reason: str | None
    proofs: tuple[tuple[str, timedelta], ...]

    def __str__(self) -> str:
        when = f"{self.ended_at:%d %b %Y}"
        if self.phase is Phase.ROLLED_BACK:
            whom = "by the gate" if self.by_gate else "by a person"
            on = f" on {', '.join(self.metrics)}" if self.metrics else ""
            told = f"{self.flag} in {self.environment} was rolled back {whom} at {self.exposure or '?'}{on} ({when})"
            told += f": {self.reason}" if self.reason else "."
        else:
            told = f"{self.flag} in {self.environment} was proven safe ({when})."
        return told + self._slowest()

    def _slowest(self) -> str:
        if not self.proofs:
            return ""
        exposure, took = max(self.proofs, key=lambda proof: proof[1])
        return f" Its slowest proof, at {exposure}, took {in_words(took)}."


async def lessons(
    database: Database,
    *,
    flag: str,
    tags: Collection[str],
    metrics: Collection[str],
    scope: Scope,
    most: int = MOST_LESSONS,
) -> list[Lesson]:
    """What the ended rollouts within the scope teach about such a flag, the nearest and newest first."""
    found: list[tuple[Rollout, tuple[str, ...]]] = []
    async with database.read() as session:
        for rollout, body in await _ended(session, scope):
            if shared := _shared(Plan.model_validate(body), flag, tags, metrics):
                found.append((rollout, shared))
        # The same flag teaches most; the order is otherwise the newest first, as they were read.
        found.sort(key=lambda one: (one[0].flag != flag, -len(one[1])))
        return [await _lesson(session, rollout, shared) for rollout, shared in found[:most]]


async def _ended(session: AsyncSession, scope: Scope) -> Sequence[Row[Rollout, dict[str, Any]]]:
    """The newest ended rollouts with their plans' bodies."""
    in_force = and_(PlanVersion.rollout_id == Rollout.id, PlanVersion.version == Rollout.plan_version)
    query = (
        select(Rollout, PlanVersion.body)
        .join(PlanVersion, in_force)
        .where(Rollout.phase.in_((Phase.ROLLED_BACK, Phase.SUCCEEDED)), scope.rows())
    )
    return (await session.execute(query.order_by(Rollout.ended_at.desc()).limit(LOOKED_AT))).all()


def _shared(plan: Plan, flag: str, tags: Collection[str], metrics: Collection[str]) -> tuple[str, ...]:
    theirs = {rail.metric for stage in plan.stages for rail in stage.guardrails}
    return (
        *([f"the flag {flag}"] if plan.flag == flag else []),
        *(f"the tag {tag}" for tag in sorted(set(tags) & set(plan.tags))),
        *(f"the metric {metric}" for metric in sorted(set(metrics) & theirs)),
    )


async def _lesson(session: AsyncSession, rollout: Rollout, shared: tuple[str, ...]) -> Lesson:
    events = await log.newest(session, rollout.id, kinds=TELLING, limit=MOST_EVENTS)
    back = next((event for event in reversed(events) if event.kind == Happening.ROLLBACK_STARTED), None)
    assert rollout.ended_at is not None
    return Lesson(
        flag=rollout.flag,
        environment=rollout.environment,
        phase=Phase(rollout.phase),
        ended_at=rollout.ended_at,
        shared=shared,
        exposure=str(back.payload["before"]) if back is not None else None,
        metrics=await _harmed(session, back) if back is not None else (),
        by_gate=back is not None and back.actor == SLUICE,
        reason=str(back.payload["reason"])[:LONGEST_REASON] if back is not None else None,
        proofs=tuple(_proofs(events)),
    )


async def _harmed(session: AsyncSession, back: Event) -> tuple[str, ...]:
    """The metrics in which the check behind the rollback saw harm; none where a person rolled back."""
    check = await session.get(GateCheck, back.payload["check"]) if back.payload.get("check") else None
    if check is None:
        return ()
    harm = checks.harm_by_metric(check)
    proven = tuple(metric for metric, seen in harm.items() if seen == Harm.PROVEN)
    return proven or tuple(harm)


def _proofs(events: Sequence[Event]) -> list[tuple[str, timedelta]]:
    """How long each stage that was followed by another lasted, from when its exposure was confirmed."""
    found, since, exposure = list[tuple[str, timedelta]](), None, ""
    for event in events:
        if event.kind == Happening.EXPOSURE_CONFIRMED and since is None:
            since, exposure = event.at, str(event.payload["exposure"])
        elif event.kind in (Happening.PROMOTED, Happening.SUCCEEDED) and since is not None:
            found.append((exposure, event.at - since))
            since = None
    return found
