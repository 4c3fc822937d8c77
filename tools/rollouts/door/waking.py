"""After a change: what it orders is carried out at once, and the rollout is shown as it is then."""

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from tools.rollouts import store
from tools.rollouts.door import reading
from tools.rollouts.door.context import Context
from tools.rollouts.views import RolloutView


async def changed(context: Context, rollout_id: str, act: Callable[[AsyncSession], Awaitable[None]]) -> RolloutView:
    """Change the rollout in a transaction; the rollout as it is once that was carried out."""
    await store.transact(context.database, act)
    return await woken(context, rollout_id)


async def woken(context: Context, rollout_id: str) -> RolloutView:
    """The rollout, once what was ordered is carried out."""
    await context.wake(rollout_id)
    return await reading.get(context, rollout_id)


async def woken_or_none(context: Context, rollout_id: str | None) -> RolloutView | None:
    """The same; None for the flag of no rollout."""
    if rollout_id is None:
        await context.wake(None)
        return None
    return await woken(context, rollout_id)
