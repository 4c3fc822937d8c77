"""What is told of a rollout as one message: a line, or the lines of a while together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bot import texts
from bot.blocks.mrkdwn import mention, moment_to_the_second, name

MOST_MENTIONED = 20


@dataclass(frozen=True, slots=True)
class News:
    """A line of mrkdwn, when it came to be, the people it is for, and whether all of the channel should see it.

    `about` is the flag and its environment where the line stands in no thread of theirs, `asks` the id of the approval
    that it asks for.
    """

    at: datetime
    line: str
    people: tuple[str, ...] = ()
    broadcast: bool = False
    about: tuple[str, str] | None = None
    asks: str | None = None


def together(news: Sequence[News], *, about: tuple[str, str] | None = None) -> str:
    """The message that says it all, in order: each person is mentioned once; lines of a while say when each came.

    `about` is the flag and its environment of all of them, where they stand in another place than their thread.
    """
    people = list(dict.fromkeys(person for one in news for person in one.people))[:MOST_MENTIONED]
    if len(news) == 1:
        lines = [placed(news[0], about)]
    else:
        dated = [texts.TOLD_LATE_LINE.format(at=moment_to_the_second(one.at), line=placed(one, about)) for one in news]
        lines = [texts.TOLD_LATE.format(count=len(news)), *dated]
    return texts.MENTIONING.format(people=" ".join(map(mention, people)), line="\n".join(lines)).strip()


def mine(news: Sequence[News], *, before: int = 0) -> str:
    """The message that says it all to who asked for the rollouts, in order; `before` counts what it has no line for."""
    if len(news) + before == 1:
        return placed(news[0], None)
    lines = [texts.TOLD_LATE_LINE.format(at=moment_to_the_second(one.at), line=placed(one, None)) for one in news]
    earlier = [texts.NEWS_BEFORE.format(count=before)] if before else []
    return "\n".join([texts.NEWS_OF_MINE.format(count=len(news) + before), *earlier, *lines])


def placed(news: News, about: tuple[str, str] | None) -> str:
    """Its line as it stands in the message, where the message is about no flag of its own."""
    place = news.about or about
    if place is None:
        return news.line
    flag, environment = place
    return texts.ABOUT.format(flag=name(flag), environment=name(environment), line=news.line)
