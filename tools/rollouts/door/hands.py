"""What the flag serves as people let it go further: what a hand changed since the last look comes first.

A question about a next stage is about the exposure that was confirmed. Where the flag serves something else, nobody has
said yes to that.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tools.flags.base import FlagRef, FlagState
from tools.plans.model import Exposure
from tools.records.models import Rollout
from tools.rollouts import store
from tools.rollouts.door.context import Context
from tools.rollouts.executor import respect_hand
from tools.rollouts.phases import Phase

GOES_FURTHER = frozenset({Phase.PROGRESSING, Phase.WAITING_PROMOTION})


@dataclass(frozen=True, slots=True)
class Served:
    """What the flag serves, and the exposure that was confirmed before it was read, as its row has it."""

    state: FlagState
    confirmed: dict[str, Any] | None


async def look(context: Context, rollout_id: str) -> Served | None:
    """What the flag serves now; None while no next stage can begin. Raises FlagNotFound, FlagServiceUnavailable."""
    async with context.database.read() as session:
        rollout = await context.rollout(session, rollout_id, lock=False)
    if Phase(rollout.phase) not in GOES_FURTHER:
        return None
    return Served(await context.flags.read(FlagRef(rollout.flag, rollout.environment)), rollout.settled)


async def respected(session: AsyncSession, rollout: Rollout, served: Served | None, *, at: datetime) -> bool:
    """Pause the rollout where a hand changed its flag, which withdraws what people are asked; whether one did.

    What is being set, or was confirmed since the flag was read, is no hand's.
    """
    if served is None or Phase(rollout.phase) not in GOES_FURTHER or rollout.stage_since is None:
        return False
    if rollout.settled != served.confirmed or served.state.exposure == Exposure.model_validate(rollout.settled):
        return False
    if await store.open_intents(session, rollout.id):
        return False
    await respect_hand(session, rollout, served.state, at=at)
    store.change(rollout, at=at, due_at=at)
    return True
