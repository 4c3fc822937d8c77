"""A recorded planning played again: from its recorded facts and rules, and never with an effect.

With the recorded model's own words everything must be as it was; with a live model it is shown what differs.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from agent.bounds import Budget
from agent.model import ModelOptions, ModelUnavailable
from agent.planner import outcome_of, proposal_of
from agent.planning.dialogue import Dialogue, FormRefused
from agent.planning.drafter import read_inputs
from agent.planning.facts import Facts
from agent.planning.graph import PlanningGraph, Talk
from agent.planning.proposals import PlanRequest
from agent.planning.rules import Rules
from agent.planning.sketch import Choices
from agent.scripted import Line, ScriptedModel
from agent.stopping import Stopped
from agent.turns import Ending
from tools.flags.base import FlagRef
from tools.metrics.base import UnknownMetric
from tools.plans.planner import Baseline
from tools.records.models import AgentRun, ModelCall

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from agent.graph import Exchange

UNHURRIED = 600.0
"""Seconds for a live model: a record is not compared by the clock."""
UNBOUNDED = {"max_calls": 10**9, "max_tokens": 10**9}
"""The run that asked for the plan may have used its budget up: a record ends where it ended."""
NOT_RECORDED = "No answer to this was recorded."
_MEASURED = TypeAdapter(dict[str, Baseline])


@dataclass(frozen=True, slots=True)
class Planned:
    """What came of it: `outcome` has `plan` and `notes`, as the run's own output has them, and nothing without a plan.

    `exchanges` are those with the model; `asked` is how many of the recorded answers that took, and one more where it
    would have gone on.
    """

    ending: Ending
    outcome: Mapping[str, Any]
    exchanges: "Sequence[Exchange]"
    asked: int


async def plan_again(
    run: AgentRun,
    exchanges: Sequence[ModelCall],
    model: "BaseChatModel | None" = None,
    options: ModelOptions | None = None,
) -> Planned:
    """What comes of a recorded run of kind "planning" that has ended.

    `model` None: the recorded one's words. `options` None: as the recorded one was asked.
    """
    facts, rules = read_inputs(run.inputs)
    measured = _MEASURED.validate_python((run.output or {}).get("measured", {}))
    asked = options or ModelOptions.model_validate({**run.model_parameters, "name": run.model or None})
    script, book = _Script(run, exchanges), _Kept()
    spoken = model or ScriptedModel(lines=script.next_line)
    talker = _Talker(asked, spoken, book, asked if model else asked.model_copy(update=UNBOUNDED))
    graph = PlanningGraph(_Recorded(facts, measured), talker)
    try:
        state = await graph.run(facts.request, rules, Talk())
    except Exception as error:
        # What stopped it, or a fault of ours, does so again.
        if not isinstance(error, _BrokeThen) and type(error).__name__ != run.error:
            raise
        return Planned(script.ending, {}, book.exchanges, script.asked)
    if model is None and script.was_cut_off:
        # After its last answer it was ended by what is no part of the record.
        return Planned(script.ending, {}, book.exchanges, script.asked)
    ending = Ending.UNAVAILABLE if state.get("trouble") else Ending.ANSWERED
    return Planned(ending, outcome_of(proposal_of(state["draft"], facts)), book.exchanges, script.asked)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What was gathered then."""

    facts: Facts
    measured: Mapping[str, Baseline]

    async def gather(self, request: PlanRequest) -> Facts:
        return self.facts

    async def measure(self, ref: FlagRef, metric: str) -> Baseline:
        if metric not in self.measured:
            raise UnknownMetric(f"{metric} was not measured then.")
        return self.measured[metric]


@dataclass(frozen=True, slots=True)
class _Kept:
    """Keeps the exchanges here: a replay writes no row."""

    exchanges: "list[Exchange]" = field(default_factory=list)

    async def keep(self, exchange: "Exchange") -> None:
        self.exchanges.append(exchange)

    async def close(self, ending: Ending, outcome: Mapping[str, Any], *, error: str | None = None) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class _Talker:
    """`bounds` are those of the budget."""

    options: ModelOptions
    model: "BaseChatModel"
    book: _Kept
    bounds: ModelOptions

    async def begin(
        self, facts: Facts, rules: Rules, choices: Choices, instructions: str, budget: Budget | None = None
    ) -> Dialogue:
        from langchain_core.messages import SystemMessage

        deadline = asyncio.get_running_loop().time() + UNHURRIED
        budget = budget or Budget(self.bounds, deadline)
        return Dialogue(self.model, self.options, choices, self.book, budget, deadline, [SystemMessage(instructions)])


class _BrokeThen(Exception):
    """The planning ended by a fault at this point."""


@dataclass(slots=True)
class _Script:
    """What the recorded model said or failed with, and after that what ended the talk."""

    run: AgentRun
    exchanges: Sequence[ModelCall]
    asked: int = 0

    @property
    def ending(self) -> Ending:
        """How the recorded planning ended."""
        return Ending(self.run.outcome)

    @property
    def was_cut_off(self) -> bool:
        """Whether it was ended after all that is recorded, and all of that was said."""
        return self.ending in (Ending.STOPPED, Ending.FAILED) and self.asked == len(self.exchanges)

    def next_line(self, _messages: "Sequence[BaseMessage]") -> Line:
        """The answer to the next question."""
        from langchain_core.messages import AIMessage, messages_from_dict

        if self.asked >= len(self.exchanges):
            return self._end()
        row = self.exchanges[self.asked]
        self.asked += 1
        if row.response is None:
            return self._failure(row.error or "")
        (message,) = messages_from_dict([row.response])
        return message if isinstance(message, AIMessage) else AIMessage(message.content)

    def _failure(self, error: str) -> Exception:
        is_last = self.asked == len(self.exchanges)
        if is_last and self.ending in (Ending.STOPPED, Ending.FAILED):
            return self._end()
        # Where it was asked on, or wanted to be, it had refused the form of the question.
        asked_on = not is_last or not error.startswith(self.run.error or "")
        return (FormRefused if asked_on else ModelUnavailable)(error)

    def _end(self) -> Exception:
        match self.ending:
            case Ending.UNAVAILABLE:
                return ModelUnavailable(self.run.error or "")
            case Ending.STOPPED:
                return Stopped()
            case Ending.FAILED:
                return _BrokeThen()
            case Ending.ANSWERED | Ending.BOUNDED:
                self.asked = len(self.exchanges) + 1
                return ModelUnavailable(NOT_RECORDED)
