"""Accepting what a gate finds of a metric, and having it count again."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from tools.rollouts import acceptances, store
from tools.rollouts.acceptances import Acceptable, AcceptanceView
from tools.rollouts.door import admission, membership, waking
from tools.rollouts.door.context import Context
from tools.rollouts.views import RolloutView


async def acceptable(context: Context, rollout_id: str, *, actor: str) -> Acceptable:
    """What that person could accept of the newest check now."""
    await admission.check(context, actor)
    plan, workspace = await context.plan(rollout_id)
    members = await membership.about(context, plan, workspace, actor)
    async with context.database.read() as session:
        rollout, policy = await context.rollout(session, rollout_id, lock=False), context.policy.of(workspace)
        await acceptances.check_may(session, rollout, plan, policy, actor, members=members)
        check = await store.last_check(session, rollout)
        return acceptances.acceptable(rollout, check, policy, at=context.clock.now())


async def accept(
    context: Context, rollout_id: str, metric: str, *, until: datetime, reason: str, actor: str
) -> RolloutView:
    """Override what the gate finds of a metric until a moment."""
    await admission.check(context, actor)
    members = await membership.about(context, *await context.plan(rollout_id), actor)

    async def act(session: AsyncSession) -> None:
        rollout, plan = await context.load(session, rollout_id)
        await acceptances.make(
            session,
            rollout,
            plan,
            context.policy.of(rollout.workspace),
            metric=metric,
            until=until,
            reason=reason,
            person=actor,
            members=members,
            at=context.clock.now(),
        )

    return await waking.changed(context, rollout_id, act)


async def withdraw_acceptance(
    context: Context, acceptance_id: str, *, actor: str
) -> tuple[AcceptanceView, RolloutView]:
    """Have it count again."""
    await admission.check_lowering(context, actor)

    async def act(session: AsyncSession) -> tuple[AcceptanceView, str]:
        row = await acceptances.get(session, acceptance_id)
        rollout = await context.rollout(session, row.rollout_id)
        await acceptances.withdraw(session, rollout, row, person=actor, at=context.clock.now())
        return acceptances.view(row), rollout.id

    withdrawn, rollout_id = await store.transact(context.database, act)
    return withdrawn, await waking.woken(context, rollout_id)
