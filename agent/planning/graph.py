"""The graph of planning: gather → calculate → sketch → check ⇄ repair, or else the calculators' plan, saying so.

The calculators make the plan first and are its frame: a model, where there is one, sketches inside it. It has no effect
but that an answer is read, drawn and checked. At the end it is foretold what the plan does as a whole.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar, cast

from agent.bounds import Budget
from agent.model import WITHOUT_A_MODEL, ModelOptions, ModelUnavailable
from agent.planning import wording
from agent.planning.dialogue import Dialogue
from agent.planning.drawing import Frame, draw
from agent.planning.facts import Facts
from agent.planning.foretelling import foretold
from agent.planning.proposals import PlanRequest
from agent.planning.rules import Rules
from agent.planning.sketch import Choices, Sketch, read_sketch
from agent.stopping import TimeIsUp, unless_stopped
from tools.errors import InvalidInput, NotFound, Unavailable
from tools.flags.base import FlagRef
from tools.plans.planner import Baseline, Draft, draft_plan
from tools.plans.validation import InvalidPlan

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

ReadT = TypeVar("ReadT")

MOST_REPAIRS = 2
MOST_STEPS = 2 * MOST_REPAIRS + 10
"""Of the graph: more than its longest way, and not the library's own limit, which would not count as said."""
MOST_ADDED = 3
"""Metrics that a sketch may add: each is read over the whole planning window."""


class Sources(Protocol):
    """Where facts come from: what is there now, or what was recorded."""

    async def gather(self, request: PlanRequest) -> Facts:
        """Everything that the plan is made from."""
        ...

    async def measure(self, ref: FlagRef, metric: str) -> Baseline:
        """What one more metric did."""
        ...


class Talker(Protocol):
    """Opens the talk with the model."""

    @property
    def options(self) -> ModelOptions:
        """The model, and how it is used."""
        ...

    async def begin(
        self, facts: Facts, rules: Rules, choices: Choices, instructions: str, budget: Budget | None
    ) -> Dialogue:
        """A talk about the plan of these facts, within the budget; None: within one of its own. Raises
        ModelUnavailable."""
        ...


@dataclass(slots=True)
class Talk:
    """What is said about one plan, until `stop` is set or the `budget` is spent: `dialogue` is None until it began;
    `added` are the metrics that it brought up."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    budget: Budget | None = None
    dialogue: Dialogue | None = None
    added: dict[str, Baseline] = field(default_factory=dict)

    async def unless_over(self, reading: Coroutine[Any, Any, ReadT]) -> ReadT:
        """What the reading returns or raises, unless nobody waits for it any more. Raises Stopped, TimeIsUp."""
        return await unless_stopped(reading, self.stop, within=self.budget.seconds_left if self.budget else None)

    async def ask(self, question: str) -> "State":
        """The model's answer, or why there is none. Raises Stopped."""
        assert self.dialogue is not None
        try:
            return {"answer": await self.dialogue.ask(question), "trouble": None}
        except ModelUnavailable as trouble:
            return {"trouble": _said(trouble)}


class State(TypedDict, total=False):
    """What the nodes hand on. `fault` is why the last answer can't be used, `trouble` why none came."""

    request: PlanRequest
    rules: Rules
    talk: Talk
    facts: Facts
    frame: Frame
    answer: str
    repairs: int
    fault: str | None
    trouble: str | None
    draft: Draft


class PlanningGraph:
    """Carries a request through. It is compiled when it is first run."""

    def __init__(self, sources: Sources, talker: Talker | None) -> None:
        self._sources = sources
        self._talker = talker if talker is not None and talker.options.may_sketch else None

    async def run(self, request: PlanRequest, rules: Rules, talk: Talk) -> State:
        """The state at the end; `talk` is filled in as it goes. Raises what `Planner.propose` does."""
        # In a thread: nothing is acknowledged and nothing watched while the event loop loads the library.
        graph = await asyncio.to_thread(lambda: self._graph)
        given: State = {"request": request, "rules": rules, "talk": talk}
        # Said here, for else it is that of the conversation's graph, inside which this one runs.
        state: Any = await self._traced(graph.ainvoke(given, {"recursion_limit": MOST_STEPS}))
        return cast("State", state)

    async def _traced(self, planning: Awaitable[ReadT]) -> ReadT:
        """What the planning comes to, under a span of its own if a model has a part in it."""
        if self._talker is None:
            return await planning
        from agent.tracing import planning_span

        with planning_span(self._talker.options):
            return await planning

    @cached_property
    def _graph(self) -> "CompiledStateGraph[State, None, State, State]":
        # Loading it takes longer than a whole rollback, so only those who plan wait for it.
        from langgraph.graph import END, START, StateGraph

        graph = StateGraph(State)
        graph.add_node("gather", self._gather)
        graph.add_node("calculate", self._calculate)
        graph.add_edge(START, "gather")
        graph.add_edge("gather", "calculate")
        graph.add_node("foretell", self._foretell)
        graph.add_edge("foretell", END)
        if self._talker is None:
            graph.add_edge("calculate", "foretell")
            return graph.compile()
        graph.add_node("sketch", self._sketch)
        graph.add_node("check", self._check)
        graph.add_node("repair", self._repair)
        graph.add_node("give_up", self._give_up)
        graph.add_edge("calculate", "sketch")
        for asked in ("sketch", "repair"):
            graph.add_conditional_edges(asked, _answered, ["check", "give_up"])
        graph.add_conditional_edges("check", _checked, ["repair", "give_up", "foretell"])
        graph.add_edge("give_up", "foretell")
        return graph.compile()

    async def _gather(self, state: State) -> State:
        return {"facts": await state["talk"].unless_over(self._sources.gather(state["request"]))}

    async def _calculate(self, state: State) -> State:
        """The calculators' plan."""
        facts, rules = state["facts"], state["rules"]
        strategy = facts.request.strategy
        # In a thread: why a stage can't be proven may take it a second.
        draft = await asyncio.to_thread(
            draft_plan, facts.feature, facts.baselines, rules.policy, rules.defaults, strategy, rules.kinds, facts.mixes
        )
        rules.check(draft.plan)
        return {"draft": draft}

    async def _sketch(self, state: State) -> State:
        """Ask for the first sketch."""
        assert self._talker is not None
        facts, draft, rules, talk = state["facts"], state["draft"], state["rules"], state["talk"]
        evidence = wording.evidence_of(facts, draft)
        frame = Frame(facts, evidence, draft, rules)
        choices = frame.choices(rules.titles)
        try:
            talk.dialogue = await self._talker.begin(facts, rules, choices, wording.instructions(), talk.budget)
        except ModelUnavailable as trouble:
            return {"frame": frame, "trouble": _said(trouble)}
        talk.dialogue.stop = talk.stop
        return {"frame": frame, "repairs": 0, **await talk.ask(wording.question(frame, choices, rules.titles))}

    async def _check(self, state: State) -> State:
        """Draw the sketch in its frame: a checked plan, or what is wrong with it."""
        assert self._talker is not None
        try:
            sketch = read_sketch(state["answer"])
            await self._measure_added(sketch, state)
            draft = await asyncio.to_thread(draw, sketch, state["frame"], [*state["talk"].added.values()])
        except InvalidInput as fault:
            return {"fault": "\n".join(fault.problems) if isinstance(fault, InvalidPlan) else str(fault)}
        return {"fault": None, "draft": Draft(draft.plan, (wording.sketched(self._talker.options), *draft.notes))}

    async def _repair(self, state: State) -> State:
        """Say what is wrong, and ask again."""
        answered = await state["talk"].ask(wording.repair(state.get("fault") or ""))
        return {"repairs": state["repairs"] + 1, **answered}

    async def _give_up(self, state: State) -> State:
        """The calculators' plan, saying why it is theirs."""
        draft, trouble = state["draft"], state.get("trouble")
        why = wording.not_answered(trouble) if trouble else wording.not_passed(state.get("fault") or "")
        return {"draft": Draft(draft.plan, (why, *draft.notes))}

    async def _foretell(self, state: State) -> State:
        """Put what the plan does as a whole among its reasons."""
        return {"draft": await foretold(state["draft"], [*state["facts"].baselines, *state["talk"].added.values()])}

    async def _measure_added(self, sketch: Sketch, state: State) -> None:
        """Read what the metrics did that the sketch adds; one that can't be read is none that can be used."""
        frame, added = state["frame"], state["talk"].added
        ref = FlagRef(frame.plan.flag, frame.plan.environment)
        for metric in dict.fromkeys(one.metric for one in sketch.guardrails):
            if metric in frame.rails or metric in added or len(added) >= MOST_ADDED:
                continue
            try:
                added[metric] = await state["talk"].unless_over(self._sources.measure(ref, metric))
            except (InvalidInput, NotFound, Unavailable, TimeIsUp):
                continue


def _answered(state: State) -> str:
    return "give_up" if state.get("trouble") else "check"


def _checked(state: State) -> str:
    if state.get("fault") is None:
        return "foretell"
    return "repair" if state["repairs"] < MOST_REPAIRS else "give_up"


def _said(trouble: ModelUnavailable) -> str:
    return str(trouble).removesuffix(WITHOUT_A_MODEL).strip()
