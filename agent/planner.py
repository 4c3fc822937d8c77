"""From a feature's spec and its telemetry to a plan that people can be shown: gather, draft, check.

The graph has no model in it: the calculators draft, policy and validation check. It reads and proposes; nothing here
can set an exposure.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, TypedDict

from tools.clock import Clock, in_words
from tools.flags.base import FlagNotFound, FlagRef, FlagService, FlagState
from tools.gates import Counts, estimate_dispersion
from tools.metrics.base import MetricQuery, Reading, Window
from tools.metrics.router import Metrics
from tools.plans.model import Audience, Plan, Strategy
from tools.plans.planner import Baseline, CannotBeProven, Draft, Feature, PlanningDefaults, draft_plan
from tools.plans.policy import Policy
from tools.plans.validation import check_plan
from tools.specs.base import Kpi, Spec, SpecNotFound, SpecSource

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

SLICES = 40
"""Into how many pieces the past is cut, to see how bursty it is."""
FULLY_LIVE = 100.0


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a person asked for; `strategy` None leaves it to the planner."""

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


class State(TypedDict, total=False):
    """What the graph's nodes hand on."""

    request: PlanRequest
    spec: Spec | None
    flag: FlagState
    baselines: tuple[Baseline, ...]
    warnings: tuple[str, ...]
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
        self._specs = specs
        self._flags = flags
        self._metrics = metrics
        self._policy = policy
        self._defaults = defaults
        self._clock = clock

    async def propose(self, request: PlanRequest) -> Proposal:
        """A plan for the flag.

        Raises FlagNotFound, InvalidSpec, InvalidPlan, CannotBeProven, and what the sources raise.
        """
        # In a thread: nothing is acknowledged and nothing watched while the event loop loads the library.
        graph = await asyncio.to_thread(lambda: self._graph)
        state = await graph.ainvoke({"request": request})
        draft: Draft = state["draft"]
        notes = (*state["warnings"], *draft.notes)
        # In the plan, so that they are part of what is approved.
        plan = draft.plan.model_copy(update={"rationale": (*draft.plan.rationale, *notes)})
        return Proposal(plan, state["spec"], notes)

    @cached_property
    def _graph(self) -> "CompiledStateGraph[State, None, State, State]":
        # Loading it takes longer than a whole rollback, so only those who plan wait for it.
        from langgraph.graph import END, START, StateGraph

        graph = StateGraph(State)
        graph.add_node("gather", self._gather)
        graph.add_node("draft", self._draft)
        graph.add_node("check", self._check)
        graph.add_edge(START, "gather")
        graph.add_edge("gather", "draft")
        graph.add_edge("draft", "check")
        graph.add_edge("check", END)
        return graph.compile()

    async def _gather(self, state: State) -> State:
        request = state["request"]
        spec = await self._read_spec(request.flag)
        flag = await self._flags.read(FlagRef(request.flag, request.environment))
        warnings = [] if spec is not None else [f"There is no spec for {request.flag}: every metric guards it."]
        warnings += _ownership(spec)
        warnings += await self._dependencies(spec, request.environment)
        kpis = spec.kpis if spec is not None and spec.kpis else self._every_metric()
        try:
            # One after the other: planning must not crowd out the gates' own reads.
            baselines = tuple([await self._baseline(kpi, flag) for kpi in kpis])
        except CannotBeProven as error:
            raise CannotBeProven(" ".join([str(error), *warnings])) from None
        return {"spec": spec, "flag": flag, "baselines": baselines, "warnings": tuple(warnings)}

    async def _draft(self, state: State) -> State:
        request, spec, flag = state["request"], state["spec"], state["flag"]
        feature = Feature(
            flag=request.flag,
            environment=request.environment,
            control=flag.control,
            treatment=flag.treatment,
            tags=spec.tags if spec is not None else (),
            depends_on=spec.depends_on if spec is not None else (),
            spec_author=spec.author if spec is not None else None,
            spec_sha256=spec.sha256 if spec is not None else None,
            audience=Audience(tenants=spec.tenants, regions=spec.regions) if spec is not None else Audience(),
        )
        return {"draft": draft_plan(feature, state["baselines"], self._policy, self._defaults, request.strategy)}

    async def _check(self, state: State) -> State:
        able = self._flags.capabilities
        check_plan(
            state["draft"].plan,
            self._policy,
            granularity=able.granularity,
            audiences=able.audiences,
            shadow=able.shadow,
        )
        return {}

    async def _read_spec(self, flag: str) -> Spec | None:
        try:
            return await self._specs.read(flag)
        except SpecNotFound:
            return None

    def _every_metric(self) -> Sequence[Kpi]:
        return [Kpi(metric=metric.name, direction=metric.direction) for metric in self._metrics.catalogue]

    async def _baseline(self, kpi: Kpi, flag: FlagState) -> Baseline:
        """What the metric did over the traffic window, without treatment. Raises CannotBeProven for a silent metric."""
        window, slices = self._windows(kpi.metric)
        queries = [MetricQuery(kpi.metric, flag.ref.flag, flag.ref.environment, piece) for piece in (window, *slices)]
        whole, *pieces = [_without(await self._metrics.read(query), flag.treatment) for query in queries]
        if not whole.events:
            raise CannotBeProven(
                f"{kpi.metric} has {whole.exposures:,} exposures and no events for {flag.ref} in the last "
                f"{in_words(self._defaults.traffic_window)}, so no length of a stage can be computed. "
                "Check the metric's query, or name another metric in the spec."
            )
        minutes = max((window.end - window.start).total_seconds() / 60, 1e-9)
        return Baseline(
            metric=kpi.metric,
            direction=kpi.direction,
            requests_per_minute=whole.exposures / minutes,
            base_rate=min(whole.events / whole.exposures, 0.999),
            dispersion=estimate_dispersion(pieces),
            margin=kpi.margin,
        )

    def _windows(self, metric: str) -> tuple[Window, list[Window]]:
        end = self._clock.now() - self._metrics.settle(metric)
        start = end - self._defaults.traffic_window
        step: timedelta = self._defaults.traffic_window / SLICES
        return Window(start, end), [Window(start + step * i, start + step * (i + 1)) for i in range(SLICES)]

    async def _dependencies(self, spec: Spec | None, environment: str) -> list[str]:
        """A sentence for each flag that this one needs and that not everyone has yet."""
        found = []
        for name in spec.depends_on if spec is not None else ():
            try:
                exposure = (await self._flags.read(FlagRef(name, environment))).exposure
            except FlagNotFound:
                found.append(f"It depends on {name}, which is not a flag in {environment}.")
                continue
            if exposure.live_percent < FULLY_LIVE or not exposure.audience.everyone:
                found.append(f"It depends on {name}, which is at {exposure}: finish that first.")
        return found


def _ownership(spec: Spec | None) -> list[str]:
    """Whether the rule that a spec's author does not approve can be held."""
    if spec is None or spec.author is not None:
        return []
    return ["The spec names no author by Slack user id, so nobody is barred from approving as its author."]


def _without(reading: Reading, treatment: str) -> Counts:
    """Everything that treatment did not serve."""
    samples = [sample for variant, sample in reading.by_variant.items() if variant != treatment]
    return Counts(sum(sample.exposures for sample in samples), sum(sample.events for sample in samples))
