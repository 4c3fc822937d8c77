"""The conversation's graph: think ⇄ act, within bounds.

This part talks to the model and holds neither desk nor settings, only what it was handed: messages, offers, and a way
to have a call carried out. What a call may do is decided on the other side of that.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage

from agent.bounds import Budget
from agent.model import WITHOUT_A_MODEL, ModelOptions, ModelUnavailable, Style, Wording, unavailable
from agent.moves import Call, Move, Offer, cleaned, cleaned_message, prepared, understand
from agent.prompts import as_data
from agent.stopping import Stopped, TimeIsUp, unless_stopped
from agent.tracing import failed, model_span, used
from agent.turns import NOT_DONE, Voice
from tools.plans.model import Value

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable
    from langgraph.runtime import Runtime

LONGEST_REPLY = 12_000
CHARACTERS_A_TOKEN = 4
SILENT_STARTS = ("{", "[", "`", "<")
END = "__end__"
"""LangGraph's own name for the end, which is not imported before it is needed."""
NOTHING_SAID = "Your move was empty. Call a tool, or reply."


class OutOfBounds(Exception):
    """The run used up its calls, its time or its tokens; the message says which."""


class Finding(Value):
    """A tool's answer as the model reads it: `text` is JSON; `said` is made from rows, for people."""

    text: str
    said: str
    failed: bool


class Keeper(Protocol):
    """Keeps what was asked of the model, and what it answered."""

    async def model_called(self, exchange: "Exchange") -> None:
        """Write an exchange down."""
        ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to the model. `error` is set when nothing came; `latency_s` in seconds."""

    position: int
    request: Sequence[BaseMessage]
    response: AIMessage | None
    error: str | None
    input_tokens: int
    output_tokens: int
    latency_s: float


@dataclass(slots=True)
class Course:
    """How a run went so far, also when it did not come to its end. `calls` are the conversation's own."""

    reply: str = ""
    findings: list[Finding] = field(default_factory=list)
    calls: int = 0

    @property
    def facts(self) -> tuple[str, ...]:
        """What the tools found, in sentences made from rows; where all was refused, why: models may differ."""
        found = tuple(finding.said for finding in self.findings if not finding.failed)
        return found or tuple(NOT_DONE + finding.said for finding in self.findings[-1:])


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that the graph works with. `budget` is shared with whatever asks a model on its way; None: its own.

    `is_stopped` is asked at each step whether something else than `stop` ends the run there.
    """

    model: "BaseChatModel"
    options: ModelOptions
    offers: Sequence[Offer]
    act: Callable[[Call], Awaitable[Finding]]
    keeper: Keeper
    voice: Voice
    stop: asyncio.Event
    budget: Budget | None = None
    is_stopped: Callable[[], Awaitable[bool]] | None = None


class State(TypedDict, total=False):
    """What the nodes hand on."""

    messages: list[BaseMessage]
    move: Move
    then: str


async def converse(run: Run, messages: Sequence[BaseMessage], course: Course) -> None:
    """Think and act until the model replies; `course` is filled in as it goes.

    Raises Stopped, OutOfBounds, ModelUnavailable.
    """
    graph = await asyncio.to_thread(_graph)
    bounds = {"recursion_limit": 2 * run.options.max_calls + 5}
    await graph.ainvoke({"messages": list(messages)}, bounds, context=_Steps(run, course))
    if run.options.wording is Wording.ROWS and course.findings:
        # After a refusal small models promise what they can't do: the tool's own sentence is the answer.
        course.reply = ""


@cache
def _graph() -> Any:
    """The graph, which is the same for every run: what a run works with is its context."""
    from langgraph.graph import START, StateGraph

    graph = StateGraph(State, context_schema=_Steps)
    graph.add_node("think", _think)
    graph.add_node("act", _act)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", _next, ["think", "act", END])
    graph.add_conditional_edges("act", _next, ["think", END])
    return graph.compile()


async def _think(state: State, runtime: "Runtime[_Steps]") -> State:
    return await runtime.context.think(state)


async def _act(state: State, runtime: "Runtime[_Steps]") -> State:
    return await runtime.context.act(state)


def _next(state: State) -> str:
    return state["then"]


@dataclass(slots=True, eq=False)
class _Steps:
    """What the graph's nodes do in one run. `_failed`: what the calls that failed said; `_insists`: one came again."""

    _run: Run
    _course: Course
    _model: "Runnable[Any, AIMessage]" = field(init=False)
    _budget: Budget = field(init=False)
    _failed: dict[tuple[str, str], str] = field(default_factory=dict)
    _insists: bool = False

    def __post_init__(self) -> None:
        self._model = prepared(self._run.model, self._run.options, self._run.offers)
        self._budget = self._run.budget or Budget.of(self._run.options)

    async def think(self, state: State) -> State:
        """Ask the model for its next move. Then act on calls; think again about an empty move; end with a reply."""
        course, run = self._course, self._run
        await self._check()
        course.calls += 1
        self._budget.asked()
        await run.voice.thinking()
        message = await self._ask(state["messages"])
        move = understand(message, run.options, run.offers, prefix=f"call-{course.calls}")
        if not move.calls:
            course.reply = move.text.strip()[:LONGEST_REPLY]
            if not course.reply:
                then = "think" if self._budget.calls < run.options.max_calls else END
                return {"messages": [*state["messages"], HumanMessage(NOTHING_SAID)], "move": move, "then": then}
        then = "act" if move.calls else END
        return {"messages": [*state["messages"], self._as_said(message, move)], "move": move, "then": then}

    async def act(self, state: State) -> State:
        """Have the calls carried out, one after the other."""
        answers = list[BaseMessage]()
        for call in state["move"].calls:
            # Calls and tokens are checked where they are used up: what the last answer asks for is still done.
            await self._check_stop()
            if (why := self._budget.too_late()) is not None:
                raise out_of_bounds(why)
            finding = await self._run.act(call)
            self._course.findings.append(finding)
            self._note(call, finding)
            answers.append(self._as_answer(call, finding))
        return {"messages": [*state["messages"], *answers], "then": END if self._is_said() else "think"}

    def _is_said(self) -> bool:
        """Whether what the tools said is the answer: where rows word it, and where the model insists on what failed."""
        last = self._course.findings[-1:]
        return self._insists or (self._run.options.wording is Wording.ROWS and bool(last) and not last[0].failed)

    def _note(self, call: Call, finding: Finding) -> None:
        """Whether the model makes a call again that failed just like that, as small ones do until they run out."""
        made = (call.tool, json.dumps(dict(call.arguments), sort_keys=True, default=str))
        self._insists = finding.failed and self._failed.get(made) == finding.said
        if finding.failed:
            self._failed[made] = finding.said

    async def _ask(self, messages: list[BaseMessage]) -> AIMessage:
        with model_span(self._run.options) as span:
            exchange, failure = await self._exchanged(messages)
            used(span, exchange.input_tokens, exchange.output_tokens)
            if failure is not None:
                failed(span, type(failure).__name__)
        self._budget.used(exchange.input_tokens, exchange.output_tokens)
        await self._run.keeper.model_called(exchange)
        if failure is not None:
            raise failure
        assert exchange.response is not None
        return exchange.response

    async def _exchanged(self, messages: list[BaseMessage]) -> tuple[Exchange, Exception | None]:
        """One request, and what came of it."""
        started = time.monotonic()
        response: AIMessage | None = None
        failure: Exception | None = None
        try:
            response = await self._answered(messages)
        except (Stopped, OutOfBounds) as ended:
            failure = ended
        except Exception as error:  # noqa: BLE001 - kept as a row, then raised by the caller
            failure = unavailable(error) or error
        said = None
        if failure is not None:
            # An unknown failure's words may hold anything.
            said = str(failure) if isinstance(failure, ModelUnavailable) else type(failure).__name__
        tokens = _tokens(messages, response)
        latency = time.monotonic() - started
        return Exchange(self._course.calls, messages, response, said, *tokens, latency), failure

    async def _answered(self, messages: list[BaseMessage]) -> AIMessage:
        """The model's message, unless the run is stopped or its time is up first."""
        try:
            streamed = self._streamed(messages)
            return cleaned_message(await unless_stopped(streamed, self._run.stop, within=self._budget.seconds_left))
        except TimeIsUp:
            raise out_of_bounds(self._budget.took_too_long) from None

    async def _streamed(self, messages: list[BaseMessage]) -> AIMessage:
        whole: AIMessageChunk | None = None
        shown = False
        async for chunk in self._model.astream(messages):
            if not isinstance(chunk, AIMessageChunk):
                # What can't stream comes as one message.
                return chunk
            whole = chunk if whole is None else whole + chunk
            text = str(whole.text)
            if self._run.options.style is Style.TOOLS and text.strip() and not text.strip().startswith(SILENT_STARTS):
                await self._run.voice.saying(cleaned(str(chunk.text) if shown else text))
                shown = True
        if whole is None:
            raise ModelUnavailable(f"The model answered nothing. {WITHOUT_A_MODEL}")
        return whole

    def _as_said(self, message: AIMessage, move: Move) -> AIMessage:
        """The move in the conversation: every call with an id, so that each can be answered."""
        if self._run.options.style is not Style.TOOLS or not move.calls:
            return AIMessage(str(message.text))
        calls = [{"id": call.id, "name": call.tool, "args": dict(call.arguments)} for call in move.calls]
        return AIMessage(move.text, tool_calls=calls)

    def _as_answer(self, call: Call, finding: Finding) -> BaseMessage:
        text = as_data(f"answer of {call.tool}", json.loads(finding.text))
        if self._run.options.style is Style.TOOLS:
            return ToolMessage(text, tool_call_id=call.id, status="error" if finding.failed else "success")
        return HumanMessage(text)

    async def _check(self) -> None:
        await self._check_stop()
        if (why := self._budget.spent()) is not None:
            raise out_of_bounds(why)

    async def _check_stop(self) -> None:
        is_stopped = self._run.is_stopped
        if self._run.stop.is_set() or (is_stopped is not None and await is_stopped()):
            raise Stopped


def out_of_bounds(why: str) -> OutOfBounds:
    """The end of a run, for this reason: the beginning of a sentence."""
    return OutOfBounds(f"{why}, so I stopped.")


def _tokens(request: Sequence[BaseMessage], response: AIMessage | None) -> tuple[int, int]:
    """Tokens in and out: as the model counted them, else about four characters each."""
    if response is not None and response.usage_metadata:
        return response.usage_metadata["input_tokens"], response.usage_metadata["output_tokens"]
    asked = sum(len(str(message.content)) for message in request) // CHARACTERS_A_TOKEN
    if response is None:
        return asked, 0
    said = len(str(response.content)) + sum(len(str(call["args"])) for call in response.tool_calls)
    return asked, said // CHARACTERS_A_TOKEN
