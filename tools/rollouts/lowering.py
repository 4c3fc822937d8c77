"""What lowers exposure or holds it, inside the caller's transaction: no approval, no model, no flag service needed."""

import math
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from tools.errors import Conflict, InvalidInput
from tools.plans.model import NOT_EXPOSED, Exposure
from tools.records.models import Intent, Rollout
from tools.rollouts import approvals, changes, store
from tools.rollouts.events import Happening, Tell, flag_happened, happened
from tools.rollouts.phases import LIVE, Phase, words
from tools.rollouts.scope import EVERYWHERE, Scope

NOT_STARTED = (Phase.DRAFT, Phase.PROPOSED)


def check_percent(percent: float, granularity: float) -> None:
    """Raise InvalidInput unless the flag service can serve `percent`; `granularity` is its finest share in percent."""
    if not math.isfinite(percent) or not 0 <= percent <= 100:
        raise InvalidInput(f"An exposure is between 0 and 100 %, not {percent:g}.")
    steps = percent / granularity
    if abs(steps - round(steps)) > 1e-6:
        raise InvalidInput(f"{percent:g} % is finer than the flag service can serve; use multiples of {granularity:g}.")


async def pause(session: AsyncSession, rollout: Rollout, *, actor: str, reason: str, at: datetime) -> None:
    """Promote nothing until someone resumes. Raises IllegalTransition."""
    await changes.pause(session, rollout, actor=actor, at=at, reason=reason, ends="Resume, or roll back.")


async def cancel(
    session: AsyncSession, rollout: Rollout, *, actor: str, reason: str, at: datetime, tell: Tell = Tell.THREAD
) -> None:
    """Drop a plan that has not started. Raises IllegalTransition."""
    await approvals.void_pending(session, rollout, at=at, why=f"The plan was dropped: {reason}")
    store.move(rollout, Phase.CANCELLED, at=at)
    await happened(session, rollout, Happening.CANCELLED, at=at, actor=actor, tell=tell, reason=reason)


async def roll_back(session: AsyncSession, rollout: Rollout, *, actor: str, reason: str, at: datetime) -> None:
    """Restore what was served before; a plan that has not started is cancelled. Raises Conflict for an ended one."""
    phase = Phase(rollout.phase)
    if phase in NOT_STARTED:
        await cancel(session, rollout, actor=actor, reason=reason, at=at)
    elif phase is not Phase.ROLLING_BACK:
        refuse_ended(rollout)
        await changes.roll_back(session, rollout, actor=actor, at=at, reason=reason)


async def kill(
    session: AsyncSession,
    flag: str,
    environment: str,
    *,
    actor: str,
    reason: str,
    at: datetime,
    scope: Scope = EVERYWHERE,
) -> str | None:
    """Take the flag to 0 % for everyone; the id of the rollout that this ends, None when there is none.

    Raises TakenElsewhere while another workspace's rollout of the flag is open.
    """
    rollout = await store.find_free(session, flag, environment, scope=scope)
    if rollout is not None:
        rollout = await store.load(session, rollout.id)
    if rollout is not None and Phase(rollout.phase) in LIVE:
        await changes.roll_back(session, rollout, actor=actor, at=at, reason=reason, target=NOT_EXPOSED)
        return rollout.id
    if rollout is not None and Phase(rollout.phase) is Phase.ROLLING_BACK:
        await changes.aim_lower(session, rollout, actor=actor, at=at, reason=reason)
        return rollout.id
    if rollout is not None and Phase(rollout.phase) in NOT_STARTED:
        await cancel(session, rollout, actor=actor, reason=f"The flag was killed: {reason}", at=at)
    await _kill_alone(session, flag, environment, actor, reason, at, scope.home)
    return None


async def lower(
    session: AsyncSession, rollout: Rollout, percent: float, *, actor: str, reason: str, at: datetime
) -> None:
    """Pause at `percent` of whom the rollout reaches now; at 0 % roll back, to nothing at all. Raises Conflict."""
    phase = Phase(rollout.phase)
    if percent == 0 and phase not in LIVE:
        await roll_back(session, rollout, actor=actor, reason=reason, at=at)
        return
    refuse_ended(rollout)
    if phase not in LIVE:
        raise Conflict(f"The rollout is {words(phase)}, so there is no exposure to lower to {percent:g} %.")
    if percent == 0:
        served = Exposure.model_validate(rollout.known_good)
        target = NOT_EXPOSED if served.percent else None
        await changes.roll_back(session, rollout, actor=actor, at=at, reason=reason, target=target)
        return
    before = await _reached(session, rollout, percent)
    target = before.model_copy(update={"percent": percent})
    await changes.lower(session, rollout, target, actor=actor, at=at, reason=reason, before=before)


def refuse_ended(rollout: Rollout) -> None:
    """Raise Conflict when the rollout has ended."""
    if rollout.live_key is None:
        raise Conflict(
            f"The rollout of {rollout.flag} has ended ({words(Phase(rollout.phase))}). "
            f"To take the flag to 0 % use `/rollout kill {rollout.flag}`."
        )


async def _reached(session: AsyncSession, rollout: Rollout, percent: float) -> Exposure:
    """The exposure that is being set, or else the one that was last confirmed. Raises Conflict unless that is more."""
    settled = Exposure.model_validate(rollout.settled)
    intents = await store.open_intents(session, rollout.id)
    setting = Exposure.model_validate(intents[-1].target) if intents else settled
    if percent >= setting.percent:
        raise Conflict(f"It is at {setting} already; lowering it means less than that.")
    if settled.percent and (settled.mode, settled.audience) != (setting.mode, setting.audience):
        # Neither is a part of the other, so that no share of the one is less than the other for everybody.
        raise Conflict(f"It is on its way from {settled} to {setting}; wait for that, or roll back.")
    return setting


async def _kill_alone(
    session: AsyncSession, flag: str, environment: str, actor: str, reason: str, at: datetime, workspace: str
) -> None:
    session.add(
        Intent(
            rollout_id=None,
            workspace=workspace,
            flag=flag,
            environment=environment,
            epoch=0,
            purpose=store.Purpose.KILL,
            target=NOT_EXPOSED.model_dump(mode="json"),
            status=store.IntentStatus.OPEN,
            requester=actor,
            created_at=at,
            due_at=at,
        )
    )
    facts = {"flag": flag, "environment": environment, "reason": reason}
    await session.flush()
    await flag_happened(session, Happening.KILL_ORDERED, at=at, actor=actor, facts=facts, workspace=workspace)
