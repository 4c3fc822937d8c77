"""How far a run may go: calls of a model, tokens and time, over everything that one run asks a model for.

The conversation and the sketch of a plan inside it draw on the same budget, so that neither can get round the other's.
"""

import asyncio
from dataclasses import dataclass

from agent.model import ModelOptions


@dataclass(slots=True)
class Budget:
    """What a run may use up, and what it has. `deadline` is a moment of the event loop's clock."""

    options: ModelOptions
    deadline: float
    calls: int = 0
    tokens: int = 0

    @classmethod
    def of(cls, options: ModelOptions) -> "Budget":
        """The whole budget; its time begins now."""
        return cls(options, asyncio.get_running_loop().time() + options.max_seconds)

    @property
    def seconds_left(self) -> float:
        """Never below nought."""
        return max(self.deadline - asyncio.get_running_loop().time(), 0.0)

    def asked(self) -> None:
        """Count a call; one that failed was one too."""
        self.calls += 1

    def used(self, input_tokens: int, output_tokens: int) -> None:
        """Count tokens."""
        self.tokens += input_tokens + output_tokens

    def spent(self) -> str | None:
        """Why the model may be asked no more, as the beginning of a sentence; None while it may."""
        return self.too_many() or self.too_late()

    def too_many(self) -> str | None:
        """Whether the calls or the tokens are used up."""
        if self.calls >= self.options.max_calls:
            return f"That took more than {self.options.max_calls} steps"
        if self.tokens >= self.options.max_tokens:
            return f"That took more than {self.options.max_tokens:,} tokens"
        return None

    def too_late(self) -> str | None:
        """Whether the time is up."""
        return self.took_too_long if self.seconds_left <= 0 else None

    @property
    def took_too_long(self) -> str:
        """What is said once the time is up."""
        return f"That took longer than {self.options.max_seconds:g} s"
