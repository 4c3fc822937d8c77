"""From a feature's spec and its telemetry to a plan that people can be shown.

Reads and proposes; nothing here can set an exposure.
"""

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, TypedDict

from agent.planning.facts import Archive, Facts
from agent.planning.proposals import PlanRequest, Proposal
from agent.planning.telemetry import Telemetry
from tools.clock import Clock
from tools.flags.base import FlagRef, FlagService
from tools.metrics.router import Metrics
from tools.plans.model import Plan
from tools.plans.planner import Baseline, Draft, PlanningDefaults, draft_plan
from tools.plans.policy import Policy
from tools.plans.revision import Changes, revise_plan
from tools.plans.validation import check_plan
from tools.rollouts.views import RolloutView
from tools.specs.base import Spec, SpecSource

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

__all__ = ["PlanRequest", "Planner", "Proposal"]


class State(TypedDict, total=False):
    """What the graph's nodes hand on."""

    request: PlanRequest
    facts: Facts
    draft: Draft


class Planner:
    """Makes proposals. Reads the spec, the flag and the metrics; writes nothing."""

    def __init__(
        self,
        specs: SpecSource,
        flags: FlagService,
        metrics: Metrics,
        policy: Policy,
        defaults: PlanningDefaults,
        clock: Clock,
    ) -> None:
        self._archive = Archive(specs, flags, Telemetry(metrics, defaults, clock))
        self._flags = flags
        self._policy = policy
        self._defaults = defaults

    async def propose(self, request: PlanRequest) -> Proposal:
        """A plan for the flag.

        Raises FlagNotFound, InvalidSpec, InvalidPlan, CannotBeProven, and what the sources raise.
        """
        # In a thread: nothing is acknowledged and nothing watched while the event loop loads the library.
        graph = await asyncio.to_thread(lambda: self._graph)
        state = await graph.ainvoke({"request": request})
        facts: Facts = state["facts"]
        return _proposal(state["draft"], facts.spec, facts.warnings)

    async def revise(self, view: RolloutView, changes: Changes, *, words: str) -> Proposal:
        """The rollout's plan with the changes that somebody asked for in these words; lengths and samples are computed
        from what its metrics did lately.

        Raises InvalidInput for a change that can't be made, InvalidPlan, CannotBeProven, and what the sources raise.
        """
        plan = view.plan
        baselines, missing = await self._archive.remeasure(plan, changes.add_metrics)
        draft = revise_plan(plan, changes, baselines, self._policy, self._defaults, words=words)
        self._check(draft.plan)
        spec, outdated = await self._archive.spec_behind(plan)
        return _proposal(draft, spec, (*outdated, *missing))

    async def traffic(self, flag: str, environment: str, metric: str) -> Baseline:
        """What a metric of the catalogue did for the flag over the planning window, without treatment.

        Raises FlagNotFound, UnknownMetric, CannotBeProven for a silent metric, and what the sources raise.
        """
        return await self._archive.measure(FlagRef(flag, environment), metric)

    @cached_property
    def _graph(self) -> "CompiledStateGraph[State, None, State, State]":
        # Loading it takes longer than a whole rollback, so only those who plan wait for it.
        from langgraph.graph import END, START, StateGraph

        graph = StateGraph(State)
        graph.add_node("gather", self._gather)
        graph.add_node("draft", self._draft)
        graph.add_edge(START, "gather")
        graph.add_edge("gather", "draft")
        graph.add_edge("draft", END)
        return graph.compile()

    async def _gather(self, state: State) -> State:
        return {"facts": await self._archive.gather(state["request"])}

    async def _draft(self, state: State) -> State:
        facts = state["facts"]
        draft = draft_plan(facts.feature, facts.baselines, self._policy, self._defaults, facts.request.strategy)
        self._check(draft.plan)
        return {"draft": draft}

    def _check(self, plan: Plan) -> None:
        able = self._flags.capabilities
        check_plan(plan, self._policy, granularity=able.granularity, audiences=able.audiences, shadow=able.shadow)


def _proposal(draft: Draft, spec: Spec | None, warnings: tuple[str, ...]) -> Proposal:
    notes = (*warnings, *draft.notes)
    # In the plan, so that they are part of what is approved.
    plan = draft.plan.model_copy(update={"rationale": (*draft.plan.rationale, *notes)})
    return Proposal(plan, spec, notes)
