"""The talk with a model about one plan: bounded in calls, tokens and time, every exchange kept as a row.

This part talks to the model and holds messages and a way to keep them, nothing that could change a flag.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from agent.bounds import Budget
from agent.model import ModelOptions, ModelUnavailable, Style, is_refusal, unavailable
from agent.moves import cleaned_message
from agent.planning.sketch import Choices, sketch_schema
from agent.stopping import unless_stopped
from agent.turns import Ending

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage

    from agent.graph import Exchange

CHARACTERS_A_TOKEN = 4
LONGEST_ECHO = 4000
"""How much of an answer is sent back with what is wrong with it."""


class FormRefused(ModelUnavailable):
    """The server understood, and does not answer in the form that it was asked for."""


class Book(Protocol):
    """Where the talk about one plan is kept."""

    async def keep(self, exchange: "Exchange") -> None:
        """Write an exchange down."""
        ...

    async def close(self, ending: Ending, outcome: Mapping[str, Any], *, error: str | None = None) -> None:
        """Write down what came of it."""
        ...


@dataclass(slots=True)
class Dialogue:
    """`deadline` is a moment of the event loop's clock; `stop` is set when nobody wants an answer any more.

    `budget` is that of the run that wants the plan, which others draw on too. The messages grow with each question and
    answer.
    """

    model: "BaseChatModel"
    options: ModelOptions
    choices: Choices
    book: Book
    budget: Budget
    deadline: float
    messages: "list[BaseMessage]" = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: int = 0
    _plain: bool = False
    _refused: bool = False

    async def ask(self, question: str) -> str:
        """The answer to the next question. Raises Stopped, and ModelUnavailable, also when the budget is spent."""
        from langchain_core.messages import AIMessage, HumanMessage

        self.messages.append(HumanMessage(question))
        answer = str((await self._answered()).text)
        self.messages.append(AIMessage(answer[:LONGEST_ECHO]))
        return answer

    async def _answered(self) -> "AIMessage":
        try:
            return await self._exchanged()
        except ModelUnavailable:
            if self._plain or not self._refused:
                raise
            # Some servers know nothing of schemas: the same question without one.
            self._plain = True
            return await self._exchanged()

    async def _exchanged(self) -> "AIMessage":
        from agent.tracing import failed, model_span, used

        # Time is left to the deadline: what is asked too late is a row too, and is played again as it was.
        if (why := self.budget.too_many()) is not None:
            raise ModelUnavailable(f"{why}.")
        self.budget.asked()
        self._asked += 1
        with model_span(self.options) as span:
            exchange, failure = await self._tried()
            used(span, exchange.input_tokens, exchange.output_tokens)
            if failure is not None:
                failed(span, type(failure).__name__)
        self.budget.used(exchange.input_tokens, exchange.output_tokens)
        await self.book.keep(exchange)
        if failure is not None:
            raise failure
        assert exchange.response is not None
        return exchange.response

    async def _tried(self) -> "tuple[Exchange, Exception | None]":
        """One request, and what came of it."""
        from agent.graph import Exchange

        started, request = time.monotonic(), list(self.messages)
        response: AIMessage | None = None
        failure: Exception | None = None
        said: str | None = None
        try:
            async with asyncio.timeout_at(self.deadline):
                response = cleaned_message(await unless_stopped(self._invoked(), self.stop))
        except Exception as error:  # noqa: BLE001 - kept as a row, then raised by the caller
            trouble = unavailable(error)
            failure = trouble or error
            # An unknown failure's words may hold anything.
            said = str(trouble) if trouble is not None else type(error).__name__
            self._refused = _is_refusal(error)
        return Exchange(
            self._asked, request, response, said, *tokens(request, response), time.monotonic() - started
        ), failure

    async def _invoked(self) -> "AIMessage":
        if self._plain or self.options.style is Style.TEXT:
            return await self.model.ainvoke(self.messages)
        small = self.options.style is Style.SCHEMA
        # Said in full: what is inferred from a model's name is wrong for most endpoints.
        schema = {"name": "sketch", "strict": False, "schema": sketch_schema(self.choices, small=small)}
        form = {"type": "json_schema", "json_schema": schema}
        return await self.model.bind(response_format=form).ainvoke(self.messages)


def tokens(request: "Sequence[BaseMessage]", response: "AIMessage | None") -> tuple[int, int]:
    """Tokens in and out: as the model counted them, else about four characters each."""
    if response is not None and response.usage_metadata:
        return response.usage_metadata["input_tokens"], response.usage_metadata["output_tokens"]
    asked = sum(len(str(message.content)) for message in request) // CHARACTERS_A_TOKEN
    return asked, len(str(response.content)) // CHARACTERS_A_TOKEN if response is not None else 0


def _is_refusal(error: Exception) -> bool:
    """Whether another form of the same question may do."""
    return isinstance(error, FormRefused) or is_refusal(error)
