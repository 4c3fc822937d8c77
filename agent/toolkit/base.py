"""What a tool is: a name, typed arguments, a typed result, and a sentence for people that is made from rows.

A tool never takes raw query text, an approver, or a margin past policy; what raises exposure is a request that policy
and people answer. A tool is one module of this folder; `agent.toolkit.registry` lists them.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from agent.bounds import Budget
from agent.desk import Desk
from agent.stopping import unless_stopped
from agent.turns import Turn

LONGEST_NAME = 200

AnswerT = TypeVar("AnswerT")


class Effect(StrEnum):
    """What a tool can lead to."""

    READ = "read"
    PLAN = "plan"  # writes a plan version, which people approve
    REQUEST = "request"  # asks for more exposure: policy and people answer
    LOWER = "lower"  # lowers exposure or holds it: at once only if the person's own words name it


class Arguments(BaseModel):
    """Base of every tool's arguments, which are JSON: strict about what it does not know, and about types.

    No text and no truth value is taken for a number; a whole number is one for a float, an array for a tuple.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, str_max_length=2000)


class Result(BaseModel):
    """What a tool answers. `said` is for people and made from rows; `data` is what the model reads.

    `rollout_id` is the rollout it was about; `confirmation_id` what waits for the person's button.
    """

    model_config = ConfigDict(frozen=True)

    said: str
    data: dict[str, Any] = Field(default_factory=dict)
    rollout_id: str | None = None
    confirmation_id: str | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """What a tool works with: the run, its turn, the desk, and what is set when somebody stops the run.

    Whichever desk it is made with, a tool works at that of the turn's workspace.

    `budget` is what the run may still ask of a model; None: a tool that asks one has its own.
    """

    run_id: str
    turn: Turn
    desk: Desk
    stop: asyncio.Event
    budget: Budget | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "desk", self.desk.of(self.turn.workspace))

    async def unless_over(self, reading: Coroutine[Any, Any, AnswerT]) -> AnswerT:
        """What the reading returns or raises; it is cancelled once the run is stopped or its time is up.

        Only for what leaves nothing half-done: a rollback that was cut off between its rows and the executor's call
        would be one that happened and that nobody is told of. What has an effect is let come to its end, which takes
        no longer than the database's own limits. Raises Stopped, TimeIsUp.
        """
        return await unless_stopped(reading, self.stop, within=self.budget.seconds_left if self.budget else None)


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


@dataclass(frozen=True, slots=True)
class Tool(Generic[ArgumentsT]):
    """A tool. `title` is a template over the arguments, for people: "Reading the spec of {flag}"."""

    name: str
    description: str
    title: str
    effect: Effect
    arguments: type[ArgumentsT]
    run: Callable[[Context, ArgumentsT], Coroutine[Any, Any, Result]]
