"""What a run of the agent is given, what it answers, and how it is seen while it works."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pydantic import Field

from tools.plans.model import Value

STOPPED = "I was asked to stop, so I did."
NOT_DONE = "Not done: "
"""How a fact begins that tells of what was refused."""


class Said(Value):
    """A message of the thread. `author` is a Slack user id; `new`: it is what this run answers."""

    author: str
    text: str
    at: datetime
    by_sluice: bool = False
    new: bool = False


class Turn(Value):
    """Everything a run starts from; with the model's and the tools' answers it can be played again.

    `person` wrote every new message and is who acts. `rollout_id` is the rollout that the thread is about, if any;
    `flag` and `rollout_environment` are its, `environment` is the usual one. Cards go to `channel`. `now` is when the
    run began. `overtaken`: an order to lower or hold exposure was read before these words, though said after them.
    """

    conversation_id: str
    workspace: str
    channel: str
    person: str
    messages: tuple[Said, ...]
    environment: str
    now: datetime
    flag: str | None = None
    rollout_id: str | None = None
    rollout_environment: str | None = None
    overtaken: bool = False
    earlier_calls: tuple[str, ...] = Field(default=())
    """One line for each tool call of the thread's last runs, so that "start it" has something to refer to."""

    @property
    def words(self) -> tuple[str, ...]:
        """The new messages, the oldest first."""
        return tuple(said.text for said in self.messages if said.new)


class Ending(StrEnum):
    """How a run ended."""

    ANSWERED = "answered"
    STOPPED = "stopped"  # somebody stopped it
    BOUNDED = "bounded"  # it ran into its bounds and says what it has
    UNAVAILABLE = "unavailable"  # the model did not answer, or there is none
    FAILED = "failed"  # a fault of ours, logged with a reference


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run came to. `text` is Markdown and may be a model's: whoever shows it neutralises it.

    `facts` are sentences made from rows. `confirmations` are ids of what waits for the person's button; `rollouts`
    the ids of rollouts whose card should be shown or is already.
    """

    run_id: str
    ending: Ending
    text: str
    facts: tuple[str, ...] = ()
    confirmations: tuple[str, ...] = ()
    rollouts: tuple[str, ...] = ()


class Voice(Protocol):
    """Where a run is seen while it goes. Nothing here may fail the run: whoever shows it handles what goes wrong."""

    async def thinking(self) -> None:
        """The model is being asked."""
        ...

    async def calling(self, call_id: str, tool: str, title: str) -> None:
        """A tool was called; `title` says so in words for people."""
        ...

    async def called(self, call_id: str, tool: str, title: str, *, failed: bool) -> None:
        """It answered."""
        ...

    async def saying(self, piece: str) -> None:
        """The next piece of the answer's text, as the model writes it."""
        ...


@dataclass(slots=True)
class Silent:
    """A voice that keeps what it was told, for the command line and for tests."""

    calls: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    async def thinking(self) -> None:
        """Nothing to show."""

    async def calling(self, call_id: str, tool: str, title: str) -> None:
        self.calls.append(tool)

    async def called(self, call_id: str, tool: str, title: str, *, failed: bool) -> None:
        """Nothing to show."""

    async def saying(self, piece: str) -> None:
        self.pieces.append(piece)


def last_words(messages: Sequence[Said]) -> str:
    """The new messages as one text."""
    return "\n".join(said.text for said in messages if said.new)
