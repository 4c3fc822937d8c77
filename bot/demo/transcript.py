"""What is printed while the story is told: one line a happening, with the seconds since it began."""

import itertools
import textwrap
import time
from collections.abc import Iterable
from typing import TextIO

from bot import texts
from bot.demo.slack import Post

WIDTH = 118
INDENT = " " * 11
DECISIONS = texts.DECISIONS.strip("*")
HEADLINES = 3
"""Lines of a card that tell its flag, its phase and its exposure."""


class Transcript:
    """Writes lines with relative times. Every post is told once, and a card again when its headline has changed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._began = time.monotonic()
        self._told: dict[tuple[str, str], str] = {}

    @property
    def seconds(self) -> float:
        """Since the transcript began."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """One happening, folded when it is long."""
        head = f"{self.seconds:7.1f} s  "
        folded = textwrap.wrap(text, WIDTH - len(INDENT)) or [""]
        self._write(head + folded[0])
        self._below(folded[1:])

    def show(self, posts: Iterable[Post]) -> None:
        """What is new among the app's posts."""
        for post in posts:
            headline = _headline(post)
            if self._told.get((post.channel, post.ts)) != headline:
                self._told[post.channel, post.ts] = headline
                self._tell(post)

    def _tell(self, post: Post) -> None:
        where = "in the thread" if post.thread_ts not in (None, post.ts) else f"in #{post.room}"
        if not post.is_card:
            self.say(f"{post.user} {where}: {' '.join(post.lines) or post.text}")
            return
        self.say(f"{post.user}'s card {where}:")
        # What was decided stands in the thread, which is told line by line.
        news = itertools.takewhile(lambda line: line != DECISIONS, post.lines)
        shown = [*news, " ".join(f"[{button.label}]" for button in post.buttons)]
        self._below(f"│ {line}" for text in shown for line in textwrap.wrap(text, WIDTH - len(INDENT) - 2))

    def _below(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._write(INDENT + line)

    def _write(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()


def _headline(post: Post) -> str:
    """What of a post is news: a message's text; of a card, which is brought up to date at every check, its first lines
    and its buttons."""
    if not post.is_card:
        return post.text
    return "\n".join((*post.lines[:HEADLINES], *(button.label for button in post.buttons)))
