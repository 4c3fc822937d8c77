"""Versions of a rollout's plan: which may take another's place, and what a new one does.

Everything here happens in the caller's transaction.
"""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from tools.errors import Conflict
from tools.plans.caution import check_caution
from tools.plans.diff import differences
from tools.plans.model import Plan
from tools.records.models import PlanVersion, Rollout
from tools.rollouts import acceptances, approvals, staleness, store
from tools.rollouts.events import Happening, Tell, happened
from tools.rollouts.phases import LIVE, Phase, words
from tools.specs.base import Spec
from tools.specs.snapshots import keep_snapshot

MOST_CHANGES = 12
"""How many differences a log event names."""


def check_revision(rollout: Rollout, running: Plan, revised: Plan, expected: int | None = None) -> None:
    """Raise Conflict unless the rollout may go on by `revised` instead of `running`.

    `expected` is the version that `revised` was made from, where that matters.
    """
    phase = Phase(rollout.phase)
    if expected is not None and rollout.plan_version != expected:
        raise Conflict(
            f"Meanwhile the plan of {rollout.flag} became v{rollout.plan_version}, and v{expected} was edited: look at "
            "its card, and edit it again."
        )
    if (revised.flag, revised.environment) != (rollout.flag, rollout.environment):
        raise Conflict(f"That plan is of another flag than {rollout.flag} in {rollout.environment}; plan it by itself.")
    if phase not in LIVE | {Phase.PROPOSED}:
        raise Conflict(f"The rollout is {words(phase)}, so its plan can't be changed; propose a new one.")
    if revised.sha256 == running.sha256:
        raise Conflict("That is the plan already, so there is nothing to change.")
    if phase in LIVE:
        assert rollout.stage is not None
        check_caution(running, revised, rollout.stage)


async def add_version(
    session: AsyncSession,
    rollout: Rollout,
    plan: Plan,
    *,
    author: str,
    reason: str,
    spec: Spec | None,
    at: datetime,
    told: bool = False,
) -> None:
    """Put the plan in force; every approval that is still asked belongs to the version before and is void.

    What differs is told in the thread of a rollout that runs, and of one that does not where it is `told`.

    A promotion that was being asked about is asked about anew as soon as the gate passes by the new plan.
    """
    await approvals.void_pending(session, rollout, at=at, why="The plan has a newer version.")
    phase, version = Phase(rollout.phase), rollout.plan_version + 1
    before = await store.plan_version(session, rollout) if version > 1 else None
    session.add(
        PlanVersion(
            rollout_id=rollout.id,
            version=version,
            sha256=plan.sha256,
            body=plan.to_json(),
            author=author,
            reason=reason,
            spec_snapshot_id=await _spec_behind(session, plan, spec, before, at),
            created_at=at,
        )
    )
    if phase is Phase.DRAFT:
        store.move(rollout, Phase.PROPOSED, at=at, plan_version=version, requester=author)
    elif phase is Phase.PROPOSED:
        store.change(rollout, at=at, plan_version=version, requester=author)
    elif phase is Phase.WAITING_PROMOTION:
        store.move(rollout, Phase.PROGRESSING, at=at, plan_version=version, due_at=at)
    else:
        store.change(rollout, at=at, plan_version=version, due_at=at)
    await staleness.rest_on(session, rollout, plan, spec, at=at)
    former = None if before is None else Plan.model_validate(before.body)
    changes = differences(former, plan) if former is not None else ()
    await happened(
        session,
        rollout,
        Happening.PLAN_PROPOSED if before is None else Happening.PLAN_REVISED,
        at=at,
        actor=author,
        tell=Tell.THREAD if phase in LIVE or told else Tell.NOBODY,
        version=version,
        plan_sha256=plan.sha256,
        spec_sha256=plan.spec_sha256,
        reason=reason,
        changes=list(changes[:MOST_CHANGES]),
    )
    if former is not None:
        await acceptances.void_changed(session, rollout, former, plan, at=at)


async def _spec_behind(
    session: AsyncSession, plan: Plan, spec: Spec | None, before: PlanVersion | None, at: datetime
) -> str | None:
    """The id of the snapshot of the spec that the plan rests on: the one given, or still that of the version before."""
    if spec is not None:
        return await keep_snapshot(session, spec, at=at)
    same = before is not None and plan.spec_sha256 is not None and before.body["spec_sha256"] == plan.spec_sha256
    return before.spec_snapshot_id if before is not None and same else None
