"""What the agent answered, as a message: what it did, what it says, what comes from the records, and what to press.

Only `markdown` is a model's, and `bot.blocks.prose` has made it safe; all else is built from rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from slack_sdk.models.blocks import (
    Block,
    ContextActionsBlock,
    FeedbackButtonObject,
    FeedbackButtonsElement,
    MarkdownBlock,
    PlanBlock,
    TaskCardBlock,
)

from agent.turns import NOT_DONE
from bot import texts
from bot.blocks import parts
from bot.blocks.fences import with_code
from bot.blocks.mrkdwn import ELLIPSIS, clock_time, escape, fitted, name, person, plain, verbatim
from bot.blocks.prose import prose
from tools.rollouts.confirmations import ConfirmationView, Status

CONFIRM, DISMISS, FEEDBACK = "answer.confirm", "answer.dismiss", "answer.feedback"
GOOD, BAD = "good", "bad"
MOST_TASKS = 20
MOST_TITLE = 200
MOST_FACTS = 1800
MOST_FACT = 900
MOST_SUMMARY = 300
MOST_WORDS = 3000
"""Characters of an answer's text alone; Slack takes 4,000 in an edit."""


@dataclass(frozen=True, slots=True)
class Task:
    """A tool call as it is shown; `status` is in_progress, complete, error, or pending while it waits for a button."""

    id: str
    title: str
    status: str

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end."""
        return self.status != "in_progress"


@dataclass(frozen=True, slots=True)
class Question:
    """What waits, or waited, for a person's button; `decided_at` is when they pressed one."""

    asked: ConfirmationView
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What a run came to. `rated`: people may say what they think of it."""

    run_id: str
    text: str
    facts: Sequence[str] = ()
    tasks: Sequence[Task] = ()
    questions: Sequence[Question] = ()
    more: Sequence[Block] = ()
    rated: bool = True


@dataclass(frozen=True, slots=True)
class Rendered:
    """A whole message: all its `blocks`, and of these the `tasks` and `markdown` that may be streamed and the `tail`.

    `summary` is for notifications. Where Slack does not take the blocks there are `simple` ones, which every workspace
    knows, with the same to press; `words` are its text alone.
    """

    summary: str
    tasks: Sequence[Task]
    markdown: str
    tail: Sequence[Block]
    blocks: Sequence[Block]
    simple: Sequence[Block]
    words: str


def rendered(said: Said, zone: tzinfo = UTC) -> Rendered:
    """The whole answer; moments in its Markdown are in `zone`, elsewhere in each reader's."""
    in_utc = prose(said.text)
    markdown = in_utc if zone is UTC else prose(said.text, zone=zone)
    summary = _summary(in_utc) or texts.ANSWERED
    words = _words(in_utc) or summary
    foot = [*_facts(said), *(block for asked in said.questions for block in _question(asked)), *said.more]
    tail = [*foot, _feedback(said.run_id)] if said.rated else foot
    body = [MarkdownBlock(text=markdown)] if markdown else []
    blocks = parts.message([*_tasks(said.tasks), *body, *tail])
    simple = parts.message([parts.section(words), *foot])
    return Rendered(summary, said.tasks, markdown, parts.message(tail), blocks, simple, words)


def rendered_so_far(tasks: Sequence[Task], markdown: str, in_utc: str) -> tuple[Sequence[Block], str]:
    """A message that is still being written: its blocks, and what notifications say.

    `in_utc` is the same Markdown with its moments in UTC, which notifications put into each reader's zone.
    """
    body = [MarkdownBlock(text=markdown)] if markdown.strip() else []
    foot = [parts.context(texts.STILL_WORKING)]
    return parts.message([*_tasks(tasks), *body, *foot]), _summary(in_utc) or texts.STILL_WORKING


def _tasks(tasks: Sequence[Task]) -> list[Block]:
    """The newest tool calls."""
    shown = [
        TaskCardBlock(task_id=task.id, title=plain(task.title, MOST_TITLE) or ELLIPSIS, status=task.status)
        for task in tasks[-MOST_TASKS:]
    ]
    return [PlanBlock(title=texts.TASKS, tasks=shown)] if shown else []


def _facts(said: Said) -> list[Block]:
    """The sentences from rows, unless they are what was said anyway."""
    spoken = " ".join(said.text.split())
    facts = [fact for fact in dict.fromkeys(said.facts) if " ".join(fact.removeprefix(NOT_DONE).split()) not in spoken]
    if not facts:
        return []
    lines = [line for fact in facts for line in _fact_lines(fact)]
    return [parts.context(texts.FROM_THE_RECORDS, *_as_many_as_fit(lines, MOST_FACTS))]


def _fact_lines(fact: str) -> list[str]:
    first, *others = [escape(line, MOST_FACT) for line in fact.splitlines() if line.strip()] or [""]
    return [texts.RECORD.format(fact=first), *others]


def _as_many_as_fit(lines: Sequence[str], most: int) -> list[str]:
    kept, length = list[str](), 0
    for line in lines:
        length += len(line) + 1
        if length > most:
            return [*kept, texts.MORE_RECORDS.format(count=len(lines) - len(kept))]
        kept.append(line)
    return kept


def _question(question: Question) -> list[Block]:
    """What waits for the person's button, or what became of it."""
    asked = question.asked
    facts = {
        "flag": name(asked.flag),
        "environment": name(asked.environment),
        "percent": texts.percentage(asked.percent) if asked.percent is not None else "",
    }
    what, yes = (words.format(**facts) for words in texts.CONFIRMATIONS[asked.action])
    who = person(asked.person)
    if asked.status is not Status.OPEN:
        at = clock_time(question.decided_at or asked.expires_at)
        return [parts.section(f"*{what}*\n{texts.CONFIRMATION_OUTCOMES[asked.status].format(person=who, at=at)}")]
    intro = texts.CONFIRMATION_INTRO.format(person=who, until=clock_time(asked.expires_at))
    return [
        parts.section(f"*{what}*\n{intro}"),
        parts.actions(
            parts.button(yes, CONFIRM, asked.id, style="danger"),
            parts.button(texts.CONFIRMATION_NO, DISMISS, asked.id),
        ),
    ]


def _feedback(run_id: str) -> Block:
    good = FeedbackButtonObject(
        text=texts.FEEDBACK_GOOD, accessibility_label=texts.FEEDBACK_GOOD, value=f"{GOOD}:{run_id}"
    )
    bad = FeedbackButtonObject(text=texts.FEEDBACK_BAD, accessibility_label=texts.FEEDBACK_BAD, value=f"{BAD}:{run_id}")
    element = FeedbackButtonsElement(action_id=FEEDBACK, positive_button=good, negative_button=bad)
    return ContextActionsBlock(elements=[element])


def _words(markdown: str) -> str:
    """The text with its lines, as text that Slack makes nothing of."""
    lines = [(verbatim if is_code else escape)(line, MOST_WORDS) for line, is_code in with_code(markdown.splitlines())]
    return fitted("\n".join(lines), MOST_WORDS).strip()


def _summary(markdown: str) -> str:
    return escape(markdown, MOST_SUMMARY)
