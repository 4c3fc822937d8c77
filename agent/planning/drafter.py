"""The model that sketches plans, and where what it says is kept."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from agent.model import ModelOptions
from agent.planning.dialogue import Dialogue
from agent.planning.drawing import Frame
from agent.planning.facts import Facts
from agent.planning.sketch import Choices
from tools.clock import Clock
from tools.records.database import Database

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

LONGEST_TALK = 40.0
"""Seconds that a model gets for one plan, with every repair."""

_FACTS = TypeAdapter(Facts)


@dataclass(frozen=True, slots=True)
class Drafter:
    """Opens talks about plans. `open_model` is called in a thread, once a plan; it raises ModelUnavailable."""

    options: ModelOptions
    open_model: "Callable[[], BaseChatModel]"
    database: Database
    clock: Clock
    seconds: float = LONGEST_TALK

    async def begin(self, frame: Frame, choices: Choices, instructions: str) -> Dialogue:
        """A talk about the plan of this frame. Raises ModelUnavailable."""
        from langchain_core.messages import SystemMessage

        from agent.planning.books import open_book
        from agent.recorder import Recorder

        model = await asyncio.to_thread(self.open_model)
        recorder = Recorder(self.database, self.clock)
        book = await open_book(recorder, self.options, frame.facts.request, inputs_of(frame, choices))
        seconds = min(self.seconds, self.options.max_seconds)
        deadline = asyncio.get_running_loop().time() + seconds
        return Dialogue(model, self.options, choices, book, deadline, [SystemMessage(instructions)])


def inputs_of(frame: Frame, choices: Choices) -> dict[str, Any]:
    """Everything that a sketch is drawn and checked with, as plain JSON: with the answers it gives the same plan."""
    return {
        "facts": _FACTS.dump_python(frame.facts, mode="json"),
        "policy": frame.policy.model_dump(mode="json"),
        "defaults": frame.defaults.model_dump(mode="json"),
        "metrics": list(choices.metrics),
    }
