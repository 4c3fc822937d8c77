"""From a feature's spec and its telemetry to a plan that people can be shown.

Reads and proposes; nothing here can set an exposure. A model, where there is one, sketches: which stages, which
guardrails, why. The calculators make the plan first and are its frame: they compute every length and sample, policy and
validation check the result, and where no sketch passes their own plan stands.
"""

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, TypedDict

from agent.model import WITHOUT_A_MODEL, ModelUnavailable
from agent.planning import wording
from agent.planning.circumstances import Circumstances
from agent.planning.dialogue import Dialogue
from agent.planning.drafter import Drafter
from agent.planning.drawing import Frame, draw
from agent.planning.facts import Archive, Facts
from agent.planning.proposals import PlanRequest, Proposal
from agent.planning.sketch import Sketch, read_sketch
from agent.planning.telemetry import Telemetry
from agent.turns import Ending
from tools.clock import Clock
from tools.errors import InvalidInput, NotFound, Unavailable
from tools.flags.base import FlagRef, FlagService
from tools.metrics.router import Metrics
from tools.plans.model import Plan
from tools.plans.planner import Baseline, Draft, PlanningDefaults, draft_plan
from tools.plans.policy import Policy
from tools.plans.revision import Changes, revise_plan
from tools.plans.validation import InvalidPlan, check_plan
from tools.records.database import Database
from tools.rollouts.views import RolloutView
from tools.specs.base import Spec, SpecSource

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

__all__ = ["PlanRequest", "Planner", "Proposal"]

MOST_REPAIRS = 2
MOST_ADDED = 3
"""Metrics that a sketch may add: each is read over the whole planning window."""


class Talk:
    """The talk with the model about one plan: none before it began, or where there is no model."""

    def __init__(self) -> None:
        self.dialogue: Dialogue | None = None
        self.added: dict[str, Baseline] = {}


class State(TypedDict, total=False):
    """What the graph's nodes hand on. `fault` is why the last answer can't be used, `trouble` why none came."""

    request: PlanRequest
    talk: Talk
    facts: Facts
    frame: Frame
    answer: str
    repairs: int
    fault: str | None
    trouble: str | None
    draft: Draft


class Planner:
    """Makes proposals. Reads specs, flags, metrics and past rollouts; writes only what a model was asked and said.

    Without `drafter` no model is asked; without `database` nothing is learned from earlier rollouts.
    """

    def __init__(
        self,
        specs: SpecSource,
        flags: FlagService,
        metrics: Metrics,
        policy: Policy,
        defaults: PlanningDefaults,
        clock: Clock,
        drafter: Drafter | None = None,
        database: Database | None = None,
    ) -> None:
        circumstances = Circumstances(metrics, policy, defaults, clock, database)
        self._archive = Archive(specs, flags, Telemetry(metrics, defaults, clock), circumstances)
        self._flags = flags
        self._metrics = metrics
        self._policy = policy
        self._defaults = defaults
        self._drafter = drafter

    async def propose(self, request: PlanRequest) -> Proposal:
        """A plan for the flag.

        Raises FlagNotFound, InvalidSpec, InvalidPlan, CannotBeProven, and what the sources raise.
        """
        # In a thread: nothing is acknowledged and nothing watched while the event loop loads the library.
        graph = await asyncio.to_thread(lambda: self._graph)
        talk = Talk()
        try:
            state = await graph.ainvoke({"request": request, "talk": talk})
        except BaseException as error:
            await _close(talk, Ending.FAILED, error=type(error).__name__)
            raise
        facts: Facts = state["facts"]
        proposal = _proposal(state["draft"], facts.spec, facts.warnings)
        trouble = state.get("trouble")
        await _close(
            talk, Ending.UNAVAILABLE if trouble else Ending.ANSWERED, proposal, error=trouble or state.get("fault")
        )
        return proposal

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
        graph.add_node("calculate", self._calculate)
        graph.add_edge(START, "gather")
        graph.add_edge("gather", "calculate")
        if self._drafter is None or self._drafter.options.name is None:
            graph.add_edge("calculate", END)
            return graph.compile()
        graph.add_node("sketch", self._sketch)
        graph.add_node("check", self._check_sketch)
        graph.add_node("repair", self._repair)
        graph.add_node("give_up", self._give_up)
        graph.add_edge("calculate", "sketch")
        for asked in ("sketch", "repair"):
            graph.add_conditional_edges(asked, _answered, ["check", "give_up"])
        graph.add_conditional_edges("check", _checked, ["repair", "give_up", END])
        graph.add_edge("give_up", END)
        return graph.compile()

    async def _gather(self, state: State) -> State:
        return {"facts": await self._archive.gather(state["request"])}

    async def _calculate(self, state: State) -> State:
        facts = state["facts"]
        draft = draft_plan(facts.feature, facts.baselines, self._policy, self._defaults, facts.request.strategy)
        self._check(draft.plan)
        return {"draft": draft}

    async def _sketch(self, state: State) -> State:
        """Ask for the first sketch."""
        assert self._drafter is not None
        facts, draft = state["facts"], state["draft"]
        evidence = wording.evidence_of(facts, draft)
        frame = Frame(facts, evidence, draft, self._policy, self._defaults, self._flags.capabilities)
        choices = frame.choices(metric.name for metric in self._metrics.catalogue)
        try:
            state["talk"].dialogue = await self._drafter.begin(frame, choices, wording.instructions())
        except ModelUnavailable as trouble:
            return {"frame": frame, "trouble": _said(trouble)}
        titles = [f"{one.name}: {one.title}" for one in self._metrics.catalogue if one.name not in frame.rails]
        return {"frame": frame, "repairs": 0, **await _ask(state["talk"], wording.question(frame, choices, titles))}

    async def _check_sketch(self, state: State) -> State:
        """Draw the sketch in its frame: a checked plan, or what is wrong with it."""
        try:
            sketch = read_sketch(state["answer"])
            await self._measure_added(sketch, state)
            draft = draw(sketch, state["frame"], [*state["talk"].added.values()])
        except InvalidInput as fault:
            return {"fault": "\n".join(fault.problems) if isinstance(fault, InvalidPlan) else str(fault)}
        assert self._drafter is not None
        note = wording.sketched(self._drafter.options)
        return {"fault": None, "draft": Draft(draft.plan, (note, *draft.notes))}

    async def _repair(self, state: State) -> State:
        """Say what is wrong, and ask again."""
        question = wording.repair(state.get("fault") or "")
        return {"repairs": state["repairs"] + 1, **await _ask(state["talk"], question)}

    async def _give_up(self, state: State) -> State:
        """The calculators' plan, saying why it is theirs."""
        draft, trouble = state["draft"], state.get("trouble")
        why = wording.not_answered(trouble) if trouble else wording.not_passed(state.get("fault") or "")
        return {"draft": Draft(draft.plan, (why, *draft.notes))}

    async def _measure_added(self, sketch: Sketch, state: State) -> None:
        """Read what the metrics did that the sketch adds; one that can't be read is none that can be used."""
        frame, talk = state["frame"], state["talk"]
        ref = FlagRef(frame.plan.flag, frame.plan.environment)
        for metric in dict.fromkeys(one.metric for one in sketch.guardrails):
            if metric in frame.rails or metric in talk.added or len(talk.added) >= MOST_ADDED:
                continue
            try:
                talk.added[metric] = await self._archive.measure(ref, metric)
            except (InvalidInput, NotFound, Unavailable):
                continue

    def _check(self, plan: Plan) -> None:
        able = self._flags.capabilities
        check_plan(plan, self._policy, granularity=able.granularity, audiences=able.audiences, shadow=able.shadow)


async def _ask(talk: Talk, question: str) -> State:
    assert talk.dialogue is not None
    try:
        return {"answer": await talk.dialogue.ask(question), "trouble": None}
    except ModelUnavailable as trouble:
        return {"trouble": _said(trouble)}


def _said(trouble: ModelUnavailable) -> str:
    return str(trouble).removesuffix(WITHOUT_A_MODEL).strip()


def _answered(state: State) -> str:
    return "give_up" if state.get("trouble") else "check"


def _checked(state: State) -> str:
    if state.get("fault") is None:
        return "__end__"
    return "repair" if state["repairs"] < MOST_REPAIRS else "give_up"


async def _close(talk: Talk, ending: Ending, proposal: Proposal | None = None, *, error: str | None = None) -> None:
    if talk.dialogue is None:
        return
    outcome = {} if proposal is None else {"plan": proposal.plan.to_json(), "notes": list(proposal.notes)}
    await talk.dialogue.book.close(ending, outcome, error=error)


def _proposal(draft: Draft, spec: Spec | None, warnings: tuple[str, ...]) -> Proposal:
    notes = (*warnings, *draft.notes)
    # In the plan, so that they are part of what is approved.
    plan = draft.plan.model_copy(update={"rationale": (*draft.plan.rationale, *notes)})
    return Proposal(plan, spec, notes)
