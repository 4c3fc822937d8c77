"""What the tools work with on a person's behalf. The part that talks to the model never holds a desk."""

from dataclasses import dataclass

from sqlalchemy import or_, select

from agent.planner import Planner
from tools.clock import Clock
from tools.errors import NotFound
from tools.flags.base import FlagRef, FlagService
from tools.metrics.router import Metrics
from tools.plans.policy import Policy
from tools.records.database import Database
from tools.records.models import Conversation, Rollout
from tools.rollouts.service import RolloutService
from tools.rollouts.store import RolloutNotFound
from tools.rollouts.views import RolloutView
from tools.specs.base import SpecSource

NAMES_WITHIN_S = 5.0
"""How long anybody waits for the names of all flags or specs: without them only fewer are known."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts of Sluice that tools use. `flags` is read from only: every change goes through `rollouts`."""

    database: Database
    clock: Clock
    flags: FlagService
    metrics: Metrics
    specs: SpecSource
    policy: Policy
    planner: Planner
    rollouts: RolloutService

    async def find(self, workspace: str, flag: str, environment: str) -> RolloutView:
        """The flag's rollout as this workspace may see it. Raises RolloutNotFound."""
        view = await self.rollouts.find(flag, environment)
        return _visible(view, workspace)

    async def get(self, workspace: str, rollout_id: str) -> RolloutView:
        """The rollout of that id as this workspace may see it. Raises RolloutNotFound."""
        return _visible(await self.rollouts.get(rollout_id), workspace)

    async def open(self, workspace: str) -> list[RolloutView]:
        """This workspace's rollouts that have not ended, the newest first."""
        return [view for view in await self.rollouts.open() if _is_visible(view, workspace)]

    async def open_flags(self, workspace: str) -> list[FlagRef]:
        """The flags of this workspace's rollouts that have not ended, the newest first: quicker than `open`."""
        query = (
            select(Rollout.flag, Rollout.environment)
            .outerjoin(Conversation, Conversation.id == Rollout.conversation_id)
            .where(Rollout.live_key.is_not(None))
            .where(or_(Conversation.id.is_(None), Conversation.workspace.in_(("", workspace))))
            .order_by(Rollout.created_at.desc())
        )
        async with self.database.read() as session:
            return [FlagRef(flag, environment) for flag, environment in await session.execute(query)]

    async def check_free(self, workspace: str, flag: str, environment: str) -> None:
        """Return unless another workspace is rolling the flag out. Raises RolloutNotFound."""
        try:
            view = await self.rollouts.find(flag, environment)
        except NotFound:
            return
        if view.ended_at is None:
            _visible(view, workspace)

    async def find_or_none(self, workspace: str, flag: str, environment: str) -> RolloutView | None:
        """The flag's rollout, None where this workspace sees none."""
        try:
            return await self.find(workspace, flag, environment)
        except NotFound:
            return None


def _visible(view: RolloutView, workspace: str) -> RolloutView:
    if not _is_visible(view, workspace):
        raise RolloutNotFound(f"{view.flag} has no rollout in {view.environment} that this workspace can see.")
    return view


def _is_visible(view: RolloutView, workspace: str) -> bool:
    return view.place is None or view.place.workspace in ("", workspace)
