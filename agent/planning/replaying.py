"""A recorded planning played again: from its recorded facts and rules, and never with an effect.

With the recorded model's own words everything must be as it was; with a live model it is shown what differs.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from agent.scripted import ScriptedModel
from agent.turns import Ending
from tools.flags.base import FlagRef
from tools.metrics.base import UnknownMetric
from tools.plans.planner import Baseline
from tools.records.models import AgentRun, ModelCall

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

    from agent.graph import Exchange

UNHURRIED = 600.0
"""Seconds for a live model: a record is not compared by the clock."""
_MEASURED = TypeAdapter(dict[str, Baseline])


async def plan_again(
    run: AgentRun,
    exchanges: Sequence[ModelCall],
    model: "BaseChatModel | None" = None,
    options: ModelOptions | None = None,
) -> dict[str, Any]:
    """What comes of a recorded run of kind "planning": `plan` and `notes`, as the run's own output has them.

    `model` None: the recorded one's words. `options` None: as the recorded one was asked.
    """
    facts, rules = read_inputs(run.inputs)
    measured = _MEASURED.validate_python((run.output or {}).get("measured", {}))
    asked = options or ModelOptions.model_validate({**run.model_parameters, "name": run.model or None})
    talker = _Talker(asked, model or ScriptedModel.of(_lines(exchanges)))
    state = await PlanningGraph(_Recorded(facts, measured), talker).run(facts.request, rules, Talk())
    return outcome_of(proposal_of(state["draft"], facts))


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


class _NoBook:
    """Keeps nothing: a replay writes no row."""

    async def next_position(self) -> int:
        return 0

    async def keep(self, exchange: "Exchange") -> None:
        """Nothing to keep."""

    async def close(self, ending: Ending, outcome: Mapping[str, Any], *, error: str | None = None) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class _Talker:
    options: ModelOptions
    model: "BaseChatModel"

    async def begin(
        self, facts: Facts, rules: Rules, choices: Choices, instructions: str, budget: Budget | None = None
    ) -> Dialogue:
        from langchain_core.messages import SystemMessage

        deadline = asyncio.get_running_loop().time() + UNHURRIED
        budget = budget or Budget(self.options, deadline)
        return Dialogue(self.model, self.options, choices, _NoBook(), budget, deadline, [SystemMessage(instructions)])


def _lines(exchanges: Sequence[ModelCall]) -> "Iterator[AIMessage | Exception]":
    """What the recorded model said, or failed with."""
    from langchain_core.messages import AIMessage, messages_from_dict

    for number, row in enumerate(exchanges, start=1):
        if row.response is None:
            # Where it was asked on, it had refused the form of the question; any other failure was the end.
            yield (FormRefused if number < len(exchanges) else ModelUnavailable)(row.error or "")
            continue
        (message,) = messages_from_dict([row.response])
        yield message if isinstance(message, AIMessage) else AIMessage(message.content)
