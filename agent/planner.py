"""From a feature's spec and its telemetry to a plan that people can be shown."""

from dataclasses import dataclass

from tools.plans.model import Plan, Strategy
from tools.specs.base import Spec


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a person asked for; `strategy` None leaves it to the spec's risk tags."""

    flag: str
    environment: str
    strategy: Strategy | None
    requester: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan, the spec it rests on (None: there was none), and sentences for people to read before they approve."""

    plan: Plan
    spec: Spec | None
    notes: tuple[str, ...]


class Planner:
    """Makes proposals."""

    async def propose(self, request: PlanRequest) -> Proposal:
        """Raises SpecNotFound, FlagNotFound, MetricSourceUnavailable, CannotBeProven."""
        raise NotImplementedError
