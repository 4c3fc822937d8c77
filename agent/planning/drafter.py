"""The model that sketches plans, and where what it says is kept."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from agent.bounds import Budget
from agent.model import ModelOptions
from agent.planning.dialogue import Dialogue
from agent.planning.facts import Facts
from agent.planning.rules import Rules
from agent.planning.sketch import Choices
from tools.clock import Clock
from tools.records.database import Database

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

LONGEST_TALK = 40.0
"""Seconds that a model gets for one plan, with every repair."""

_FACTS = TypeAdapter(Facts)
_RULES = TypeAdapter(Rules)


@dataclass(frozen=True, slots=True)
class Drafter:
    """Opens talks about plans. `open_model` is called in a thread, once a plan; it raises ModelUnavailable."""

    options: ModelOptions
    open_model: "Callable[[], BaseChatModel]"
    database: Database
    clock: Clock
    seconds: float = LONGEST_TALK

    async def begin(
        self, facts: Facts, rules: Rules, choices: Choices, instructions: str, budget: Budget | None = None
    ) -> Dialogue:
        """A talk about the plan of these facts, within the budget of the run that asks and within `seconds`. Raises
        ModelUnavailable."""
        from langchain_core.messages import SystemMessage

        from agent.planning.books import open_book
        from agent.recorder import Recorder

        model = await asyncio.to_thread(self.open_model)
        recorder = Recorder(self.database, self.clock)
        book = await open_book(recorder, self.options, facts.request, inputs_of(facts, rules))
        budget = budget or Budget.of(self.options)
        deadline = min(asyncio.get_running_loop().time() + self.seconds, budget.deadline)
        return Dialogue(model, self.options, choices, book, budget, deadline, [SystemMessage(instructions)])


def inputs_of(facts: Facts, rules: Rules) -> dict[str, Any]:
    """Everything that a plan is made and checked with, as plain JSON: with the same answers it is the same plan."""
    return {"facts": _FACTS.dump_python(facts, mode="json"), "rules": _RULES.dump_python(rules, mode="json")}


def read_inputs(inputs: Mapping[str, Any]) -> tuple[Facts, Rules]:
    """The same from plain JSON."""
    return _FACTS.validate_python(inputs["facts"], strict=False), _RULES.validate_python(inputs["rules"], strict=False)
