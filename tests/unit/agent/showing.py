"""What Slack would be given of an answer, while it is written and when it is whole; and what must never be in that."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.redaction import redacted
from agent.turns import Answer
from bot.blocks.conversation import Said, Task, rendered
from bot.blocks.prose import MOST_PROSE, prose, prose_so_far
from bot.voice import redacted_so_far

TOKENS = re.compile(r"<[!@#]|<[a-z][a-z0-9+.-]*:[^>]*\||<https?:", re.IGNORECASE)
"""What Slack takes for a mention, or for a link that may be another than it looks like."""
MOMENTS = re.compile(r"<!date\^\d+\^(?:[ ,]|at|\{[a-z_]+\})+\|[^<>|]*>")
"""What Slack shows as a moment in the reader's zone."""
IN_MARKDOWN = re.compile(r"\]\(|\]\[|@(?:channel|here|everyone)", re.IGNORECASE)
"""What its Markdown takes for them besides."""


@dataclass
class Listener:
    """A voice that keeps what it would show, as the one for Slack does.

    `tasks` are the tool calls as they are shown, `written` the texts shown while they were written. `steps` counts the
    calls that were carried out, and the model's messages that called nothing.
    """

    tasks: dict[str, Task] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    thoughts: int = 0
    steps: int = 0
    _saying: str = ""
    _called: bool = True

    async def thinking(self) -> None:
        """Another message of the model is to come."""
        if self._saying:
            self.written.append(prose(redacted(self._saying.strip())))
            self._saying = ""
        self.thoughts += 1
        self.steps += 1
        self._called = False

    async def calling(self, call_id: str, tool: str, title: str) -> None:
        self.tasks[call_id] = Task(call_id, title, "in_progress")
        if self.thoughts:
            self.steps += self._called
            self._called = True

    async def called(self, call_id: str, tool: str, title: str, *, failed: bool) -> None:
        self.tasks[call_id] = Task(call_id, title, "error" if failed else "complete")

    async def saying(self, piece: str) -> None:
        self._saying = (self._saying + piece)[:MOST_PROSE]
        self.written.append(prose_so_far(redacted_so_far(self._saying)))

    def faults(self, answer: Answer, secrets: Sequence[str] = ()) -> list[str]:
        """What was shown, or is in the whole message, and must not be."""
        whole = rendered(Said(answer.run_id, answer.text, answer.facts, [*self.tasks.values()]))
        titles = [task.title for task in self.tasks.values()]
        markdown = [whole.markdown, *self.written]
        texts = [*titles, *markdown, whole.summary, *_texts([block.to_dict() for block in whole.blocks])]
        return [
            *(secret for secret in secrets if any(secret in text for text in texts)),
            *(_around(found) for text in texts if (found := TOKENS.search(MOMENTS.sub("", text))) is not None),
            *(_around(found) for text in (*titles, *markdown) if (found := IN_MARKDOWN.search(text)) is not None),
        ]


def _texts(plain: Any) -> Iterator[str]:
    """Every text in plain JSON."""
    if isinstance(plain, str):
        yield plain
    elif isinstance(plain, dict):
        for one in plain.values():
            yield from _texts(one)
    elif isinstance(plain, list | tuple):
        for one in plain:
            yield from _texts(one)


def _around(found: re.Match[str]) -> str:
    return found.string[max(found.start() - 40, 0) : found.end() + 40]
