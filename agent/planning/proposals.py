"""What a person asks the planner for, and what they get."""

from dataclasses import dataclass

from tools.plans.model import Plan, Strategy
from tools.rollouts.scope import NOBODY, Scope
from tools.specs.base import Spec


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a person asked for; `strategy` None leaves it to the planner.

    `wishes` are the person's own words. `run_id` is the agent's run that asks, None when nobody's run does. `scope`
    is whose earlier rollouts may teach something. `spec` is the address of the document that they named as the spec;
    `again`: it is where the plan before had its spec from, which may have moved.
    """

    flag: str
    environment: str
    strategy: Strategy | None
    requester: str
    wishes: str = ""
    run_id: str | None = None
    scope: Scope = NOBODY
    spec: str | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan, the spec it rests on (None: there was none), and sentences for people to read before they approve."""

    plan: Plan
    spec: Spec | None
    notes: tuple[str, ...]
