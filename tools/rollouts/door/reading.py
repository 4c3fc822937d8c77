"""Reading: rollouts as they are shown, and what their flags serve. Nothing changes."""

from sqlalchemy import select

from tools.flags.base import FlagRef
from tools.flags.urgency import urgently
from tools.plans.model import Exposure
from tools.records.models import Rollout
from tools.rollouts import glance as glances
from tools.rollouts import store
from tools.rollouts.door.context import Context
from tools.rollouts.glance import Glance
from tools.rollouts.phases import LIVE, Phase
from tools.rollouts.views import RolloutView, view


async def get(context: Context, rollout_id: str) -> RolloutView:
    """The rollout of that id."""
    async with context.database.read() as session:
        return await view(session, await context.rollout(session, rollout_id, lock=False))


async def find(context: Context, flag: str, environment: str) -> RolloutView:
    """The flag's rollout."""
    found = await seen(context, flag, environment)
    if found is None:
        raise store.RolloutNotFound(
            f"{flag} has no rollout in {environment}. Plan one with `/rollout plan {flag}`, or see `/rollout list`."
        )
    return found


async def seen(context: Context, flag: str, environment: str) -> RolloutView | None:
    """The flag's open rollout, or else its newest; None without one."""
    async with context.database.read() as session:
        rollout = await store.find(session, flag, environment, scope=context.scope)
        return await view(session, rollout) if rollout is not None else None


async def all_open(context: Context) -> list[RolloutView]:
    """Every rollout that has not ended, the newest first."""
    open_ones = select(Rollout).where(Rollout.live_key.is_not(None), context.scope.rows())
    async with context.database.read() as session:
        rollouts = await session.scalars(open_ones.order_by(Rollout.created_at.desc()))
        return [await view(session, rollout) for rollout in rollouts.all()]


async def open_flags(context: Context) -> list[FlagRef]:
    """The flags of the rollouts that have not ended, the newest first."""
    open_ones = select(Rollout.flag, Rollout.environment).where(Rollout.live_key.is_not(None), context.scope.rows())
    async with context.database.read() as session:
        rows = await session.execute(open_ones.order_by(Rollout.created_at.desc()))
        return [FlagRef(flag, environment) for flag, environment in rows]


async def glance(context: Context, *, most: int) -> Glance:
    """What is open, what people are asked, and what was decided; `most` rollouts are read in full."""
    at = context.clock.now()
    return await glances.glance(context.database, context.policy, context.people, context.scope, at=at, most=most)


async def has_taken_part(context: Context, person: str) -> bool:
    """Whether the person ever asked for a rollout here or answered a question about one."""
    async with context.database.read() as session:
        return await glances.has_taken_part(session, person, context.scope)


async def check_free(context: Context, flag: str, environment: str) -> None:
    """Raise TakenElsewhere while another workspace is rolling the flag out."""
    async with context.database.read() as session:
        await store.find_free(session, flag, environment, scope=context.scope)


async def check_flag(context: Context, flag: str, environment: str) -> None:
    """Raise FlagNotFound or FlagServiceUnavailable, unless a running rollout shows that there is the flag."""
    async with context.database.read() as session:
        found = await store.find_free(session, flag, environment, scope=context.scope)
    if found is None or Phase(found.phase) not in LIVE | {Phase.ROLLING_BACK}:
        # Who asks is about to take the flag to 0 %.
        with urgently():
            await context.flags.read(FlagRef(flag, environment))


async def served(context: Context, rollout_id: str) -> Exposure | None:
    """What the flag serves before its rollout starts; None once it has. Raises FlagServiceUnavailable."""
    async with context.database.read() as session:
        rollout = await context.rollout(session, rollout_id, lock=False)
    if Phase(rollout.phase) is not Phase.PROPOSED:
        return None
    return (await context.flags.read(FlagRef(rollout.flag, rollout.environment))).exposure
