"""One run of the agent, from a person's words to an answer, with everything in between kept as rows."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from agent import prompts
from agent.bounds import Budget
from agent.briefing import Briefing, brief
from agent.desk import Desk
from agent.direct import order_in
from agent.graph import Course, Finding, OutOfBounds, Run, converse, out_of_bounds
from agent.model import WITHOUT_A_MODEL, ModelOptions, ModelUnavailable, Style
from agent.moves import Call, Offer, in_words
from agent.recorder import Recorder, watched
from agent.redaction import redacted
from agent.routing import shortlist
from agent.stopping import Stopped, TimeIsUp
from agent.toolkit.base import Context, Effect, Tool
from agent.toolkit.box import Toolbox, offers
from agent.tracing import failed, run_span
from agent.turns import STOPPED, Answer, Ending, Turn, Voice, last_words
from tools.records.models import new_id

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

RUN_FAILED = "agent.run_failed"
NOTHING_FOUND = "I have no answer to that. Say it in other words, or try `/rollout help`."
SO_FAR = "What I have so far:"
REFERENCE = "reference "
LONGEST_WORDS = 8000
FEW_MESSAGES, SHORT_MESSAGE, FEW_NAMES = 4, 200, 20

OpenModel = Callable[[], "BaseChatModel"]

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Agent:
    """Answers turns. `open_model` is called in a thread, once a run; it raises ModelUnavailable when there is none."""

    desk: Desk
    options: ModelOptions
    open_model: OpenModel
    tools: Sequence[Tool[Any]]

    @property
    def recorder(self) -> Recorder:
        """What keeps the runs."""
        return Recorder(self.desk.database, self.desk.clock)

    async def run(self, turn: Turn, voice: Voice, stop: asyncio.Event, *, run_id: str | None = None) -> Answer:
        """Answer the turn's new messages. Whatever goes wrong is an answer too; only cancellation is raised.

        `run_id` is the id that the run is to have; None: a new one.
        """
        run_id = run_id or new_id()
        context = Context(run_id, turn, self.desk, stop, Budget.of(self.options))
        toolbox = Toolbox({tool.name: tool for tool in self.tools}, context, self.recorder, voice)
        course = Course()
        with run_span(run_id, turn.conversation_id, self.options) as span:
            ending, error = await self._carried_through(toolbox, course, voice, stop)
            if error is not None:
                failed(span, ending.value)
        answer = Answer(
            run_id=run_id,
            ending=ending,
            text=redacted(answer_text(ending, error, course)),
            facts=course.facts,
            confirmations=tuple(result.confirmation_id for result in toolbox.results if result.confirmation_id),
            rollouts=tuple(dict.fromkeys(result.rollout_id for result in toolbox.results if result.rollout_id)),
        )
        await self._end(turn, answer, error)
        return answer

    async def _begin(self, context: Context, **inputs: Any) -> None:
        """Write down what the run starts from, before it asks or does anything. Raises Stopped."""
        version = prompt_version(self.options)
        begun = self.recorder.begin(context.turn, self.options, version, run_id=context.run_id, inputs=inputs)
        if (await begun)[1]:
            context.stop.set()
            raise Stopped

    async def _end(self, turn: Turn, answer: Answer, error: str | None) -> None:
        """Close the run; one that ended before it was known what it starts from is begun for that."""
        recorder, output = self.recorder, output_of(answer)
        if not await recorder.end(answer.run_id, answer.ending, output, error=error):
            await recorder.begin(turn, self.options, prompt_version(self.options), run_id=answer.run_id)
            await recorder.end(answer.run_id, answer.ending, output, error=error)

    async def _carried_through(
        self, toolbox: Toolbox, course: Course, voice: Voice, stop: asyncio.Event
    ) -> tuple[Ending, str | None]:
        """How it ended, and what is kept of an error."""
        run_id = toolbox.context.run_id
        try:
            await self._act_on(toolbox, course, voice, stop)
        except Stopped:
            return Ending.STOPPED, None
        except OutOfBounds as bound:
            return Ending.BOUNDED, str(bound)
        except TimeIsUp:
            return Ending.BOUNDED, str(out_of_bounds((toolbox.context.budget or Budget.of(self.options)).took_too_long))
        except ModelUnavailable as trouble:
            return Ending.UNAVAILABLE, str(trouble)
        except Exception:
            reference = secrets.token_hex(4)
            logger.exception(RUN_FAILED, reference=reference, run=run_id)
            return Ending.FAILED, f"{REFERENCE}{reference}"
        return Ending.ANSWERED, None

    async def _act_on(self, toolbox: Toolbox, course: Course, voice: Voice, stop: asyncio.Event) -> None:
        """Carry out what is plainly ordered, for that needs no model; else converse."""
        if stop.is_set():
            raise Stopped
        if await self._ordered(toolbox, course, alone=True):
            return
        try:
            await self._converse(toolbox, course, voice, stop)
        except ModelUnavailable:
            if not course.findings:
                await self._ordered(toolbox, course, alone=False)
            raise

    async def _ordered(self, toolbox: Toolbox, course: Course, *, alone: bool) -> bool:
        """Whether the person's words ordered something, which is done then."""
        order = await toolbox.context.unless_over(order_in(toolbox.context, alone=alone))
        if order is None:
            return False
        await self._begin(toolbox.context, order={"tool": order.tool, "arguments": dict(order.arguments)})
        course.findings.append(finding := await self._carry_out(toolbox, order))
        if finding.failed:
            _check_cut_off(toolbox.context)
        return True

    async def _carry_out(self, toolbox: Toolbox, call: Call) -> Finding:
        """Carry a call out, unless it has an effect and the run is to stop. Raises Stopped."""
        tool = toolbox.tools.get(call.tool)
        if tool is not None and tool.effect is not Effect.READ and toolbox.context.stop.is_set():
            raise Stopped
        return await toolbox.carry_out(call)

    async def _converse(self, toolbox: Toolbox, course: Course, voice: Voice, stop: asyncio.Event) -> None:
        context, recorder, options = toolbox.context, self.recorder, self.options
        turn, run_id = context.turn, context.run_id
        briefing = await context.unless_over(brief(context.desk, turn))
        offered = offered_to(options, self.tools, turn, briefing)
        functions = [offer.as_function() for offer in offered]
        await self._begin(context, briefing=briefing.model_dump(mode="json"), offers=functions)
        run = Run(
            model=await asyncio.to_thread(self.open_model),
            options=options,
            offers=offered,
            act=partial(self._carry_out, toolbox),
            keeper=recorder.keeper(run_id, options, prompt_version(options)),
            voice=voice,
            stop=stop,
            budget=context.budget,
        )
        async with watched(recorder, run_id, stop):
            await converse(run, opening(turn, briefing, options, offers(self.tools, {})), course)


def _check_cut_off(context: Context) -> None:
    """An order that failed because the run was over ends it as one that is over. Raises Stopped, TimeIsUp."""
    if context.stop.is_set():
        raise Stopped
    if context.budget is not None and context.budget.too_late():
        raise TimeIsUp


def offered_to(options: ModelOptions, tools: Sequence[Tool[Any]], turn: Turn, briefing: Briefing) -> tuple[Offer, ...]:
    """The tools that the model may call next; one that is held to a schema has fewer to choose from."""
    if options.style is Style.SCHEMA:
        return shortlist(tools, turn, briefing)
    return offers(tools, briefing.choices())


def opening(turn: Turn, briefing: Briefing, options: ModelOptions, known: Sequence[Offer]) -> list[BaseMessage]:
    """The messages that a run starts with. What comes from outside is marked as data; the person's words are not.

    `known` are all the tools. What is the same in every run comes first, so that servers need not read it each time.
    """
    if options.style is Style.TOOLS:
        system, context = prompts.load("system").text, _context(turn, briefing)
    else:
        system, context = prompts.load("moves").fill(tools=in_words(known)), _short_context(briefing)
    text = prompts.load("turn").fill(
        context=prompts.as_data("context", {key: value for key, value in context.items() if value}),
        words=redacted(last_words(turn.messages))[-LONGEST_WORDS:],
    )
    return [SystemMessage(system), HumanMessage(redacted(text))]


def _context(turn: Turn, briefing: Briefing) -> dict[str, Any]:
    return {
        "now": turn.now.strftime("%Y-%m-%d %H:%M UTC"),
        "thread": briefing.thread,
        "rollout_of_this_thread": briefing.rollout,
        "done_earlier": briefing.earlier_calls,
        "flags": briefing.flags,
        "metrics": briefing.metrics,
        "environment": turn.environment,
    }


def _short_context(briefing: Briefing) -> dict[str, Any]:
    """What a small model needs of it: it reads a hundred words a second, and gets lost in many."""
    thread = [{**one, "said": str(one["said"])[:SHORT_MESSAGE]} for one in briefing.thread[-FEW_MESSAGES:]]
    return {
        "thread": thread,
        "rollout_of_this_thread": briefing.rollout,
        "flags": briefing.flags[:FEW_NAMES],
        "metrics": briefing.metrics[:FEW_NAMES],
    }


def prompt_version(options: ModelOptions) -> str:
    """The versions of the prompts that a conversation is made of."""
    names = ["system" if options.style is Style.TOOLS else "moves", "turn"]
    return prompts.version(*(prompts.load(name) for name in names))


def output_of(answer: Answer) -> Mapping[str, Any]:
    """What a run's row keeps of the answer, and what a replay is compared with."""
    return {
        "ending": answer.ending.value,
        "text": answer.text,
        "facts": list(answer.facts),
        "confirmations": len(answer.confirmations),
        "rollouts": len(answer.rollouts),
    }


def answer_text(ending: Ending, error: str | None, course: Course) -> str:
    """What is said at the end of a run; `error` is what its row keeps of what ended it."""
    match ending:
        case Ending.ANSWERED:
            return course.reply or _said(course)
        case Ending.STOPPED:
            return _with_findings(STOPPED, course)
        case Ending.BOUNDED | Ending.UNAVAILABLE:
            return _with_findings(error or "", course)
        case Ending.FAILED:
            reference = (error or "").removeprefix(REFERENCE)
            said = f"Something went wrong on my side. Tell whoever runs Sluice: `{reference}`. {WITHOUT_A_MODEL}"
            return _with_findings(said, course)


def _said(course: Course) -> str:
    """The answer that rows give, where the model words none: what the tools said."""
    said = [finding.said for finding in course.findings if not finding.failed] or [
        finding.said for finding in course.findings[-1:]
    ]
    return "\n".join(dict.fromkeys(said)) or NOTHING_FOUND


def _with_findings(sentence: str, course: Course) -> str:
    said = [finding.said for finding in course.findings if not finding.failed]
    return "\n".join([sentence, SO_FAR, *dict.fromkeys(said)]) if said else sentence
