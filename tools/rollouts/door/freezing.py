"""Freezes as people see, make and lift them."""

from sqlalchemy.ext.asyncio import AsyncSession

from tools.errors import NotAllowed
from tools.plans import policy as policies
from tools.rollouts import freezes, store
from tools.rollouts.door import admission, membership
from tools.rollouts.door.context import Context
from tools.rollouts.freezes import FreezeView, Wish


async def standing(context: Context) -> list[FreezeView]:
    """Every freeze that is not over, those of the settings too, in the order in which they begin."""
    async with context.database.read() as session:
        found = await freezes.standing(session, context.policy, at=context.clock.now())
        return [one for one in found if freezes.seen(context.scope, one.workspace)]


async def freeze(context: Context, wish: Wish, *, actor: str) -> FreezeView:
    """Have nothing start and nothing go further in an environment."""
    context.scope.check_begins(wish.workspace)
    await check_may_freeze(context, wish.environment, actor=actor)

    async def act(session: AsyncSession) -> FreezeView:
        return await freezes.make(session, wish, actor=actor, at=context.clock.now())

    return await store.transact(context.database, act)


async def unfreeze(context: Context, freeze_id: str, *, actor: str) -> FreezeView:
    """End a freeze now; the operator's own is theirs to end where there are many workspaces."""
    await admission.check(context, actor)
    async with context.database.read() as session:
        environment = (await freezes.get(session, freeze_id, context.scope)).environment
    await check_may_freeze(context, environment, actor=actor)

    async def act(session: AsyncSession) -> FreezeView:
        row = await freezes.get(session, freeze_id, context.scope)
        if not context.scope.sees(row.workspace):
            raise NotAllowed("Whoever runs Sluice made this freeze for everybody: ask them to lift it.")
        return await freezes.lift(session, row, actor=actor, at=context.clock.now())

    return await store.transact(context.database, act)


async def check_may_freeze(context: Context, environment: str, *, actor: str) -> None:
    """Raise as `freeze` would for that person now."""
    await admission.check_lowering(context, actor)
    policy, workspace = context.policy.of(context.scope.home), context.scope.home
    names = policies.approvers_in(policy, environment)
    named = actor in names or policies.is_account(actor)
    members = policies.NOT_READ if named else await membership.among(context, names, workspace, actor)
    freezes.check_may(policy, environment, actor, members=members)
