"""What requests are answered with, and the only way to a rollout: within the scope of whoever asks."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from tools.clock import Clock
from tools.flags.base import FlagService
from tools.people.base import People
from tools.plans.kinds import Kinds
from tools.plans.model import Plan
from tools.plans.policy import Policy
from tools.records.database import Database
from tools.records.models import Rollout
from tools.rollouts import store
from tools.rollouts.scope import Scope
from tools.rollouts.watching import Look, SpecWatcher

Wake = Callable[[str | None], Awaitable[None]]


async def no_wake(_rollout_id: str | None) -> None:
    """Leave it to the next tick."""


@dataclass(frozen=True, slots=True)
class Context:
    """Where rollouts are, what binds them, who is in the groups that policy names, and whose rollouts are seen.

    `wake` is awaited with a rollout's id (None: a flag without one) once an exposure is to be set. Without `specs`
    nobody looks whether specs change.
    """

    database: Database
    flags: FlagService
    policy: Policy
    clock: Clock
    people: People
    kinds: Kinds
    scope: Scope
    wake: Wake
    specs: SpecWatcher | None = None

    async def rollout(self, session: AsyncSession, rollout_id: str, *, lock: bool = True) -> Rollout:
        """The rollout, locked until the transaction ends: what the scope does not see does not exist.

        Raises RolloutNotFound.
        """
        return await store.load(session, rollout_id, lock=lock, scope=self.scope)

    async def load(self, session: AsyncSession, rollout_id: str, *, lock: bool = True) -> tuple[Rollout, Plan]:
        """As `rollout`, with the plan in force."""
        rollout = await self.rollout(session, rollout_id, lock=lock)
        return rollout, await store.plan_of(session, rollout)

    async def look_at_spec(self, rollout_id: str) -> Look:
        """How the spec behind the plan in force stands at this moment. Raises RolloutNotFound."""
        return Look() if self.specs is None else await self.specs.look(rollout_id)

    async def plan(self, rollout_id: str) -> tuple[Plan, str]:
        """The plan in force, and whose rollout it is. Raises RolloutNotFound."""
        async with self.database.read() as session:
            rollout, plan = await self.load(session, rollout_id, lock=False)
            return plan, rollout.workspace
