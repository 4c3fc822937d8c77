"""What the tools work with on a person's behalf. The part that talks to the model never holds a desk."""

from dataclasses import dataclass, replace

from agent.planner import Planner
from tools.clock import Clock
from tools.errors import NotFound
from tools.flags.base import FlagService
from tools.metrics.router import Metrics
from tools.plans.policy import Policy
from tools.records.database import Database
from tools.rollouts.service import RolloutService
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

    def of(self, workspace: str) -> "Desk":
        """The desk at which people of that workspace are served: its rollouts are all there are."""
        return replace(self, rollouts=self.rollouts.of(workspace))

    async def find_or_none(self, flag: str, environment: str) -> RolloutView | None:
        """The flag's rollout, None where none is seen."""
        try:
            return await self.rollouts.find(flag, environment)
        except NotFound:
            return None
