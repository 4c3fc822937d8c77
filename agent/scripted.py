"""A chat model that says what it was given to say: for replays, evaluations and tests."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable

Line = AIMessage | Exception
Lines = Callable[[Sequence[BaseMessage]], Line]


class OutOfLines(RuntimeError):
    """The script is at its end, and more was asked for."""


class ScriptedModel(BaseChatModel):
    """Answers with the next line, whatever is asked; an exception in the script is raised.

    `asked` keeps what each answer was given for. Tools may be bound to it: they change nothing.
    """

    lines: Lines
    asked: list[list[BaseMessage]] = []  # noqa: RUF012 - pydantic copies it for each instance

    @classmethod
    def of(cls, lines: Iterable[Line | str]) -> "ScriptedModel":
        """One that says these lines, one after the other."""
        left = iter(lines)

        def next_line(_messages: Sequence[BaseMessage]) -> Line:
            line = next(left, None)
            if line is None:
                raise OutOfLines("The script has no more lines.")
            return AIMessage(line) if isinstance(line, str) else line

        return cls(lines=next_line)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Runnable[Any, AIMessage]:
        """Take note of nothing: the script knows what it calls."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        self.asked.append(list(messages))
        line = self.lines(messages)
        if isinstance(line, Exception):
            raise line
        return ChatResult(generations=[ChatGeneration(message=line)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        return self._generate(messages, stop, None, **options)
