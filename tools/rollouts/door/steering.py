"""While it runs: going further, pausing and going on, and all that lowers exposure."""

from sqlalchemy.ext.asyncio import AsyncSession

from tools.errors import Conflict, NotAllowed
from tools.plans.model import Plan
from tools.plans.policy import Members
from tools.records.models import Approval, Rollout
from tools.rollouts import approvals, lowering, raising, store
from tools.rollouts.door import admission, hands, membership, reading, waking
from tools.rollouts.door.context import Context
from tools.rollouts.phases import Phase, words
from tools.rollouts.staleness import SpecChanged
from tools.rollouts.views import RolloutView


async def promote(context: Context, rollout_id: str, *, actor: str) -> RolloutView:
    """Go to the next stage before the proof is complete; anyone's wish but an approver's becomes a question."""
    await admission.check(context, actor)
    if (await context.look_at_spec(rollout_id)).news:
        raise SpecChanged("The spec changed at this very moment: look at the card, and decide again.")
    served = await hands.look(context, rollout_id)
    members = await membership.known(context, *await context.plan(rollout_id))

    async def act(session: AsyncSession) -> str | None:
        rollout, plan = await context.load(session, rollout_id)
        at, policy = context.clock.now(), context.policy.of(rollout.workspace)
        if await hands.respected(session, rollout, served, at=at):
            return rollout.pause_reason
        if Phase(rollout.phase) is Phase.PROGRESSING:
            await raising.ask_to_promote(session, rollout, plan, policy, actor=actor, at=at, members=members)
        elif Phase(rollout.phase) is not Phase.WAITING_PROMOTION:
            raise Conflict(f"The rollout is {words(Phase(rollout.phase))}; only a progressing one can be promoted.")
        await raising.check_sight(session, rollout, plan, at=at)
        for approval in await approvals.pending(session, rollout_id):
            if await _may_answer(context, session, approval, rollout, plan, actor, members):
                await raising.vote(
                    session, approval, rollout, plan, policy, actor=actor, known_good=None, at=at, members=members
                )
        return None

    by_hand = await store.transact(context.database, act)
    if by_hand is not None:
        raise Conflict(f"{by_hand} So it is paused: the card shows what can be done now.")
    return await waking.woken(context, rollout_id)


async def ask_to_promote(context: Context, rollout_id: str, *, actor: str) -> RolloutView:
    """Ask the approvers for the next stage, unless they are being asked. Raises Conflict, NotAllowed."""
    await admission.check(context, actor)
    members = await membership.known(context, *await context.plan(rollout_id))

    async def act(session: AsyncSession) -> None:
        rollout, plan = await context.load(session, rollout_id)
        at, policy = context.clock.now(), context.policy.of(rollout.workspace)
        if Phase(rollout.phase) is not Phase.WAITING_PROMOTION:
            await raising.check_sight(session, rollout, plan, at=at)
            await raising.ask_to_promote(session, rollout, plan, policy, actor=actor, at=at, members=members)

    return await waking.changed(context, rollout_id, act)


async def pause(context: Context, rollout_id: str, *, actor: str, reason: str) -> RolloutView:
    """Promote nothing until someone resumes."""
    await admission.check_lowering(context, actor)

    async def act(session: AsyncSession) -> None:
        rollout = await context.rollout(session, rollout_id)
        await lowering.pause(session, rollout, actor=actor, reason=reason, at=context.clock.now())

    return await waking.changed(context, rollout_id, act)


async def resume(context: Context, rollout_id: str, *, actor: str) -> RolloutView:
    """Go on where it paused."""
    await admission.check(context, actor)
    members = await membership.known(context, *await context.plan(rollout_id))

    async def act(session: AsyncSession) -> None:
        rollout, plan = await context.load(session, rollout_id)
        at, policy = context.clock.now(), context.policy.of(rollout.workspace)
        await raising.resume(session, rollout, plan, policy, actor=actor, at=at, members=members)

    return await waking.changed(context, rollout_id, act)


async def roll_back(context: Context, rollout_id: str, *, actor: str, reason: str) -> RolloutView:
    """Restore the exposure from before the rollout; a plan that has not started is cancelled instead."""
    await admission.check_lowering(context, actor)

    async def act(session: AsyncSession) -> None:
        rollout = await context.rollout(session, rollout_id)
        await lowering.roll_back(session, rollout, actor=actor, reason=reason, at=context.clock.now())

    return await waking.changed(context, rollout_id, act)


async def lower(context: Context, rollout_id: str, percent: float, *, actor: str, reason: str) -> RolloutView:
    """Pause the rollout at a lower percentage of whom it reaches."""
    await admission.check_lowering(context, actor)
    lowering.check_percent(percent, context.flags.capabilities.granularity)

    async def act(session: AsyncSession) -> None:
        rollout = await context.rollout(session, rollout_id)
        await lowering.lower(session, rollout, percent, actor=actor, reason=reason, at=context.clock.now())

    return await waking.changed(context, rollout_id, act)


async def kill(context: Context, flag: str, environment: str, *, actor: str, reason: str) -> RolloutView | None:
    """Take the flag to 0 % for everyone."""
    await admission.check_lowering(context, actor)
    await reading.check_flag(context, flag, environment)

    async def act(session: AsyncSession) -> str | None:
        at, scope = context.clock.now(), context.scope
        return await lowering.kill(session, flag, environment, actor=actor, reason=reason, at=at, scope=scope)

    return await waking.woken_or_none(context, await store.transact(context.database, act))


async def _may_answer(
    context: Context,
    session: AsyncSession,
    approval: Approval,
    rollout: Rollout,
    plan: Plan,
    person: str,
    members: Members,
) -> bool:
    policy = context.policy.of(rollout.workspace)
    try:
        await approvals.check_voter(session, approval, rollout, plan, policy, person=person, members=members)
    except (NotAllowed, Conflict):
        return False
    return True
