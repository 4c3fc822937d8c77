"""A recorded run played again: with its inputs and its tools' recorded answers, and never with an effect.

The model's part comes from the record too, and then everything must be as it was, or from a live model, and then it is
shown where the answer differs. A call that was not recorded is answered with just that.
"""

import asyncio
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, messages_from_dict
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from agent.briefing import Briefing
from agent.graph import Course, Exchange, Finding, OutOfBounds, Run, converse
from agent.model import ModelOptions, ModelUnavailable
from agent.moves import Call, Offer, plain_messages
from agent.planning.books import PLANNING
from agent.planning.replaying import plan_again
from agent.planning.wording import prompt_version as planning_version
from agent.recorder import RUNNING, bounded
from agent.redaction import redacted, redacted_value
from agent.scripted import ScriptedModel
from agent.session import answer_text, opening, prompt_version
from agent.stopping import Stopped
from agent.toolkit.base import Result
from agent.toolkit.box import as_finding
from agent.toolkit.box import offers as offers_of
from agent.toolkit.registry import TOOLS
from agent.turns import Ending, Silent, Turn
from tools.errors import Conflict, NotFound
from tools.records.database import Database
from tools.records.models import AgentRun, ModelCall, ToolCall

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

NOT_RECORDED = "This call was not recorded, so there is no answer to it."
CUT_OFF = "Planning {run} was cut off before it came to anything, so it is not played again."
UNBOUNDED = {"max_seconds": 600.0, "max_tokens": 10**9}
"""Time and tokens end a replay of a record where they ended the run, by the record and not by the clock."""


class RunNotFound(NotFound):
    """There is no run of that id."""


class CantReplay(Conflict):
    """The run can't be played again; the message says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """A run's rows. `exchanges` are its own; those about a plan are in that plan's record, in `plannings`."""

    run: AgentRun
    exchanges: Sequence[ModelCall]
    calls: Sequence[ToolCall]
    plannings: "Sequence[Record]" = ()

    @property
    def turn(self) -> Turn:
        """What it started from."""
        return Turn.model_validate(self.run.inputs["turn"])

    @property
    def ending(self) -> Ending:
        """How it ended."""
        return Ending(self.run.outcome)

    @property
    def options(self) -> ModelOptions:
        """The model that it was had with, without its key."""
        return ModelOptions.model_validate({**self.run.model_parameters, "name": self.run.model or None})

    @property
    def asked_a_model(self) -> bool:
        """Whether it came so far as to ask one; an order that is carried out at once does not."""
        return "briefing" in self.run.inputs


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the replay is not what was recorded: of what, and both as text."""

    of: str
    recorded: str
    again: str

    def lines(self) -> Iterator[str]:
        """As a diff."""
        pair = self.recorded.splitlines(), self.again.splitlines()
        yield from difflib.unified_diff(*pair, f"{self.of}, recorded", f"{self.of}, again", lineterm="", n=2)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of it. `notes` say what was not as it was then and need not differ in its answer: prompts, tools."""

    notes: tuple[str, ...]
    differences: tuple[Difference, ...]
    text: str

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


async def find(database: Database, run_id: str) -> Record:
    """The rows of a run. Raises RunNotFound, and CantReplay for one that goes on."""
    async with database.read() as session:
        run = await session.get(AgentRun, run_id)
        if run is None:
            raise RunNotFound(f"There is no run {run_id!r}.")
        if run.outcome == RUNNING:
            raise CantReplay(f"Run {run_id} has not ended; play it again once it has.")
        return await _record(session, run)


async def _record(session: AsyncSession, run: AgentRun) -> Record:
    exchanges = select(ModelCall).where(ModelCall.run_id == run.id).order_by(ModelCall.position)
    calls = select(ToolCall).where(ToolCall.run_id == run.id).order_by(ToolCall.position)
    under = select(AgentRun).where(AgentRun.parent_run_id == run.id).order_by(AgentRun.started_at, AgentRun.id)
    return Record(
        run,
        (await session.scalars(exchanges)).all(),
        (await session.scalars(calls)).all(),
        [await _record(session, planning) for planning in (await session.scalars(under)).all()],
    )


async def replay(record: Record, model: "BaseChatModel | None", options: ModelOptions | None = None) -> Replayed:
    """Play it again with a live model, or with the recorded one's own words where `model` is None; and then the
    plannings under it, just so.

    `options` are how a live model is asked; None: as the recorded one was. Raises ModelUnavailable of a live model.
    """
    played = await _played(record, model, options)
    for planning in record.plannings:
        played = _with_planning(played, planning, await replay(planning, model, options))
    return played


def _with_planning(played: Replayed, planning: Record, again: Replayed) -> Replayed:
    differences = (replace(one, of=f"{one.of} of planning {planning.run.id}") for one in again.differences)
    notes = dict.fromkeys((*played.notes, *again.notes))
    return replace(played, notes=tuple(notes), differences=(*played.differences, *differences))


async def _played(record: Record, model: "BaseChatModel | None", options: ModelOptions | None) -> Replayed:
    if record.run.kind == PLANNING:
        return await _planned(record, model, options)
    if not record.asked_a_model:
        return _without_a_model(record)
    again = _Again(record, model, options or record.options)
    ending, text, course = await again.play()
    differences = [*again.differences(), *_answer_differs(record, ending, text, course)]
    asked = options or record.options
    notes = _notes(record, asked, prompt_version(asked), again.exchanges, is_live=model is not None)
    return Replayed(tuple(notes), tuple(differences), text)


@dataclass
class _Again:
    """One replay on its way: what answers for the model, for the tools and for whoever keeps the rows."""

    record: Record
    live: "BaseChatModel | None"
    options: ModelOptions
    exchanges: list[Exchange] = field(default_factory=list)
    made: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._left = list(self.record.calls)
        self._lines = iter(self.record.exchanges)
        self._spoken = 0

    async def play(self) -> tuple[Ending, str, Course]:
        """How it ended, what it said, and how it went. Raises ModelUnavailable of a live model."""
        inputs, course = self.record.run.inputs, Course()
        offers = [_offer(plain) for plain in inputs["offers"]]
        options = self.options if self.live is not None else self.options.model_copy(update=UNBOUNDED)
        run = Run(
            model=self.live or ScriptedModel(lines=self._next_line),
            options=options,
            offers=offers,
            act=self._answered,
            keeper=self,
            voice=Silent(),
            stop=asyncio.Event(),
            is_stopped=self._is_stopped,
        )
        messages = opening(self.record.turn, Briefing.model_validate(inputs["briefing"]), options, offers_of(TOOLS, {}))
        ending, error = Ending.ANSWERED, None
        try:
            await converse(run, messages, course)
        except Stopped:
            ending = Ending.STOPPED
        except OutOfBounds as bound:
            ending, error = Ending.BOUNDED, str(bound)
        except ModelUnavailable as trouble:
            if self.live is not None:
                raise
            ending, error = Ending.UNAVAILABLE, str(trouble)
        except _BrokeThen:
            ending, error = Ending.FAILED, self.record.run.error
        except _AskedForMore:
            self._spoken += 1
        return ending, redacted(answer_text(ending, error, course)), course

    def differences(self) -> Iterator[Difference]:
        """Where its calls are others than those recorded."""
        recorded = [_call_line(row.tool, row.arguments) for row in self.record.calls]
        again = [_call_line(tool, arguments) for tool, arguments in self.made]
        if recorded != again:
            yield Difference("calls", "\n".join(recorded) or "none", "\n".join(again) or "none")
        if self.live is None and self._spoken != len(self.record.exchanges):
            yield Difference("requests to the model", str(len(self.record.exchanges)), str(self._spoken))
        for call in self.unrecorded:
            yield Difference("call", "not recorded", call)

    async def model_called(self, exchange: Exchange) -> None:
        """Keep it here: a replay writes no row."""
        self.exchanges.append(exchange)

    def _next_line(self, _messages: Sequence[BaseMessage]) -> AIMessage | Exception:
        row = next(self._lines, None)
        if row is None:
            return self._end() or _AskedForMore()
        self._spoken += 1
        if row.response is not None:
            (message,) = messages_from_dict([row.response])
            return message if isinstance(message, AIMessage) else AIMessage(message.content)
        if row.error == Stopped.__name__:
            return Stopped()
        if row.error == OutOfBounds.__name__:
            return OutOfBounds(self.record.run.error or "")
        if self.record.ending is Ending.FAILED:
            return _BrokeThen()
        return ModelUnavailable(row.error or self.record.run.error or "")

    async def _answered(self, call: Call) -> Finding:
        """The recorded answer: of a call of that name with those arguments, the earliest that is left."""
        arguments = redacted_value(bounded(call.arguments))
        self.made.append((call.tool[:100], arguments))
        row = next((one for one in self._left if (one.tool, one.arguments) == (call.tool[:100], arguments)), None)
        if row is None:
            self.unrecorded.append(_call_line(call.tool, arguments))
            return Finding(text=json.dumps({"error": NOT_RECORDED}), said=NOT_RECORDED, failed=True)
        self._left.remove(row)
        return as_finding(_result(row))

    async def _is_stopped(self) -> bool:
        """Never with a live model. With the record's: where the run was ended, it ends again."""
        if self.live is None and self._spoken == len(self.record.exchanges) and not self._left:
            ended = self._end()
            if ended is not None:
                raise ended
        return False

    def _end(self) -> Exception | None:
        """What ended the run other than an answer."""
        error = self.record.run.error or ""
        match self.record.ending:
            case Ending.ANSWERED:
                return None
            case Ending.STOPPED:
                return Stopped()
            case Ending.BOUNDED:
                return OutOfBounds(error)
            case Ending.UNAVAILABLE:
                return ModelUnavailable(error)
            case Ending.FAILED:
                return _BrokeThen()


class _BrokeThen(Exception):
    """The run ended by a fault at this point."""


class _AskedForMore(Exception):
    """The run had its answer at this point, and the replay wants another move."""


async def _planned(record: Record, model: "BaseChatModel | None", options: ModelOptions | None) -> Replayed:
    """A run that made a plan: compared in how it ended, the plan and its notes."""
    if record.run.output is None:
        return Replayed((CUT_OFF.format(run=record.run.id),), (), "")
    again = await plan_again(record.run, record.exchanges, model, options)
    pairs = [("ending", record.ending.value, again.ending.value)]
    pairs += [
        (part, _pretty(record.run.output.get(part)), _pretty(again.outcome.get(part))) for part in ("plan", "notes")
    ]
    if model is None:
        pairs.append(("requests to the model", str(len(record.exchanges)), str(again.asked)))
    differences = tuple(Difference(part, then, now) for part, then, now in pairs if then != now)
    asked = options or record.options
    notes = _notes(record, asked, planning_version(), again.exchanges, is_live=model is not None)
    return Replayed(tuple(notes), differences, _pretty(again.outcome.get("plan")))


def _pretty(value: Any) -> str:
    return json.dumps(redacted_value(value), ensure_ascii=False, indent=1, sort_keys=True)


def _without_a_model(record: Record) -> Replayed:
    """A run that asked no model: an order that was carried out at once, or a fault before anything was asked."""
    course = Course()
    course.findings += [as_finding(_result(row)) for row in record.calls]
    text = redacted(answer_text(record.ending, record.run.error, course))
    note = "No model was asked in this run: the person's words were an order."
    if "order" not in record.run.inputs:
        note = "The run ended before a model was asked."
    return Replayed((note,), tuple(_answer_differs(record, record.ending, text, course)), text)


def _answer_differs(record: Record, ending: Ending, text: str, course: Course) -> Iterator[Difference]:
    output = record.run.output or {}
    if record.ending is not ending:
        yield Difference("ending", record.ending.value, ending.value)
    recorded = str(output.get("text", ""))
    if recorded != text:
        yield Difference("answer", recorded, text)
    facts = "\n".join(output.get("facts", ()))
    again = "\n".join(redacted_value([*course.facts]))
    if facts != again:
        yield Difference("findings", facts, again)


def _notes(
    record: Record, options: ModelOptions, prompts: str, exchanges: Sequence[Exchange], *, is_live: bool
) -> Iterator[str]:
    """`prompts` are the versions of those in use now."""
    if record.run.prompt_version != prompts:
        yield f"The prompts are others than then: {record.run.prompt_version} was used, there is {prompts}."
    elif not is_live and _requests_differ(record, exchanges):
        yield "What the model is told is put together in another way than then."
    if is_live and (options.name or "") != record.run.model:
        yield f"The model is another: {record.run.model or 'none'} then, {options.name} now."


def _requests_differ(record: Record, exchanges: Sequence[Exchange]) -> bool:
    return any(
        [(one["type"], one["data"].get("content")) for one in row.request]
        != [(one["type"], one["data"].get("content")) for one in redacted_value(plain_messages(exchange.request))]
        for row, exchange in zip(record.exchanges, exchanges, strict=False)
    )


def _result(row: ToolCall) -> Result:
    """What the tool answered; a call that was cut off has no answer."""
    return Result.model_validate(row.result) if row.result else Result(said="The call was cut off.", failed=True)


def _offer(plain: Mapping[str, Any]) -> Offer:
    function = plain["function"]
    return Offer(function["name"], function["description"], function["parameters"])


def _call_line(tool: str, arguments: Mapping[str, Any]) -> str:
    return (
        f"{tool}({', '.join(f'{name}={json.dumps(value, ensure_ascii=False)}' for name, value in arguments.items())})"
    )
