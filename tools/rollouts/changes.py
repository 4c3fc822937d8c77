"""What a decision does to a rollout, in one transaction: phase, event, outbox, intent."""

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tools.errors import Conflict
from tools.plans.model import NOT_EXPOSED, Exposure, Plan
from tools.records.models import GateCheck, Rollout
from tools.rollouts import approvals, checks, store
from tools.rollouts.events import SLUICE, Happening, Tell, happened
from tools.rollouts.phases import Phase, words


async def start(
    session: AsyncSession, rollout: Rollout, plan: Plan, *, known_good: Exposure | None, actor: str, at: datetime
) -> None:
    """The first stage begins; `known_good` is what the flag served before. Raises Conflict."""
    if Phase(rollout.phase) is not Phase.PROPOSED:
        raise Conflict(f"The rollout is {words(Phase(rollout.phase))}: it can't be started.")
    if known_good is None:
        raise Conflict("The rollout changed at the same moment. Look at its card and try again.")
    check_room(plan, known_good)
    plain = known_good.model_dump(mode="json")
    store.move(rollout, Phase.PROGRESSING, at=at, stage=0, stage_since=None, known_good=plain, settled=plain, due_at=at)
    await store.end_kill_watches(session, rollout.flag, rollout.environment, at=at)
    store.intend(session, rollout, plan.stages[0].exposure, store.Purpose.START, at=at)
    await happened(
        session,
        rollout,
        Happening.STARTED,
        at=at,
        actor=actor,
        stage=0,
        exposure=str(plan.stages[0].exposure),
        known_good=str(known_good),
        plan_sha256=plan.sha256,
    )


def check_room(plan: Plan, served: Exposure) -> None:
    """Raise Conflict when the flag serves as much as the first stage already: starting would not be a rollout."""
    first = plan.stages[0].exposure
    if served.percent >= first.percent and served.mode is first.mode:
        raise Conflict(
            f"{plan.flag} serves {served} already and the first stage is {first}. Take it to 0 % with "
            f"`/rollout kill {plan.flag}`, or plan stages above {served}."
        )


async def promote(
    session: AsyncSession,
    rollout: Rollout,
    plan: Plan,
    *,
    actor: str,
    at: datetime,
    check: GateCheck,
    why: str,
    **facts: Any,
) -> None:
    """The next stage begins, or the rollout has succeeded when there is none; `why` is what `check` shows."""
    assert rollout.stage is not None
    following = rollout.stage + 1
    evidence = {"check": check.id, "check_sha256": checks.digest(check), **facts}
    if following == len(plan.stages):
        store.move(rollout, Phase.SUCCEEDED, at=at)
        await happened(session, rollout, Happening.SUCCEEDED, at=at, actor=actor, why=why, **evidence)
        return
    before, after = plan.stages[rollout.stage].exposure, plan.stages[following].exposure
    store.move(rollout, Phase.PROGRESSING, at=at, stage=following, stage_since=None, harm_accepted={}, due_at=at)
    store.intend(session, rollout, after, store.Purpose.PROMOTE, at=at)
    await happened(
        session,
        rollout,
        Happening.PROMOTED,
        at=at,
        actor=actor,
        stage=following,
        before=str(before),
        after=str(after),
        why=why,
        **evidence,
    )


async def pause(
    session: AsyncSession,
    rollout: Rollout,
    *,
    actor: str = SLUICE,
    at: datetime,
    reason: str,
    ends: str,
    tell: Tell = Tell.THREAD,
    **facts: Any,
) -> None:
    """Nothing is promoted until a person resumes; exposures that were still to be set are not set any more."""
    await store.void_intents(session, rollout.id, at=at)
    await approvals.void_pending(session, rollout, at=at, why=reason)
    store.move(rollout, Phase.PAUSED, at=at, pause_reason=reason, pause_ends=ends, paused_at=at)
    await happened(session, rollout, Happening.PAUSED, at=at, actor=actor, tell=tell, reason=reason, ends=ends, **facts)


async def lower(
    session: AsyncSession,
    rollout: Rollout,
    target: Exposure,
    *,
    actor: str,
    at: datetime,
    reason: str,
    before: Exposure,
) -> None:
    """Pause at `target`, which is less than `before`: what was still to be set or asked is void."""
    await store.void_intents(session, rollout.id, at=at)
    await approvals.void_pending(session, rollout, at=at, why=reason)
    paused = {
        "pause_reason": f"Lowered to {target}: {reason}",
        "pause_ends": "Resume to go back to the stage's exposure, which takes an approver, or roll back.",
        "paused_at": at,
        "verify_until": None,
        "due_at": at,
    }
    if Phase(rollout.phase) is Phase.PAUSED:
        store.change(rollout, at=at, **paused)
    else:
        store.move(rollout, Phase.PAUSED, at=at, **paused)
    store.intend(session, rollout, target, store.Purpose.LOWER, at=at)
    await happened(
        session,
        rollout,
        Happening.EXPOSURE_LOWERED,
        at=at,
        actor=actor,
        urgent=True,
        reason=reason,
        before=str(before),
        target=str(target),
    )


async def roll_back(
    session: AsyncSession,
    rollout: Rollout,
    *,
    actor: str = SLUICE,
    at: datetime,
    reason: str,
    target: Exposure | None = None,
    **facts: Any,
) -> None:
    """Restore the known-good exposure (or `target`). The new epoch voids approvals and exposures still to be set."""
    known_good = Exposure.model_validate(rollout.known_good) if rollout.known_good else NOT_EXPOSED
    aim = target or known_good
    await store.void_intents(session, rollout.id, at=at)
    await approvals.void_pending(session, rollout, at=at, why=reason)
    before = Exposure.model_validate(rollout.settled) if rollout.settled else None
    store.move(
        rollout,
        Phase.ROLLING_BACK,
        at=at,
        epoch=rollout.epoch + 1,
        rollback_reason=reason,
        rollback_since=at,
        verify_until=None,
        due_at=at,
    )
    purpose = store.Purpose.KILL if target is not None else store.Purpose.ROLL_BACK
    store.intend(session, rollout, aim, purpose, at=at)
    await happened(
        session,
        rollout,
        Happening.ROLLBACK_STARTED,
        at=at,
        actor=actor,
        tell=Tell.PERSON,
        urgent=True,
        reason=reason,
        before=str(before) if before is not None else None,
        target=str(aim),
        epoch=rollout.epoch,
        **facts,
    )


async def aim_lower(session: AsyncSession, rollout: Rollout, *, actor: str, at: datetime, reason: str) -> None:
    """A rollback that is under way goes to 0 % instead of the known-good exposure."""
    await store.void_intents(session, rollout.id, at=at)
    store.change(rollout, at=at, verify_until=None, due_at=at)
    store.intend(session, rollout, NOT_EXPOSED, store.Purpose.KILL, at=at)
    await happened(
        session,
        rollout,
        Happening.KILL_ORDERED,
        at=at,
        actor=actor,
        tell=Tell.THREAD,
        urgent=True,
        reason=reason,
        target=str(NOT_EXPOSED),
    )
