"""Text for Slack. Whatever comes from outside passes through `plain` or `escape` before it stands in a message.

Tokens and escaping: https://docs.slack.dev/messaging/formatting-message-text.
"""

import re
import unicodedata
from datetime import datetime

from bot.blocks.moments import rewritten
from tools.rollouts.events import SLUICE

ELLIPSIS = "…"
NAME_CHARACTERS = 80
SENTENCE_CHARACTERS = 600

_USER_ID = re.compile(r"[UW][A-Z0-9]{2,20}")
_GROUP_ID = re.compile(r"S[A-Z0-9]{2,20}")
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:%|ms|s|min|h|d)(?!\w))")
_ENTITIES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))


def plain(text: object, most: int = SENTENCE_CHARACTERS) -> str:
    """Text from outside as one line of at most `most` characters, without control or direction characters."""
    printable = "".join(
        character if unicodedata.category(character) not in _UNPRINTABLE else " " for character in str(text)
    )
    return shortened(" ".join(printable.split()), most)


def escape(text: object, most: int = SENTENCE_CHARACTERS) -> str:
    """Text from outside for mrkdwn, at most `most` characters: it can't mention anybody, link or break a line.

    Moments that it writes out, as `tools.clock.written` does or in ISO 8601 with UTC, are in the reader's zone.
    """
    return fitted(rewritten(_without_markup(plain(text, most)), _in_the_readers_zone), most)


def verbatim(text: object, most: int = SENTENCE_CHARACTERS) -> str:
    """As `escape`, with moments as they were written: for names and code."""
    return fitted(_without_markup(plain(text, most)), most)


def name(text: object, most: int = NAME_CHARACTERS) -> str:
    """A name from outside for mrkdwn, fit to stand between backticks."""
    return verbatim(plain_name(text, most), most)


def plain_name(text: object, most: int = NAME_CHARACTERS) -> str:
    """A name from outside for a sentence that is escaped later, as errors are."""
    return plain(text, most).replace("`", "´") or ELLIPSIS


def person(who: str) -> str:
    """A person as a mention, Sluice by its name, anybody else (the command line) by what they are called."""
    if who == SLUICE:
        return "Sluice"
    return f"<@{who}>" if is_mentionable(who) else escape(who, NAME_CHARACTERS)


def mention(who: str) -> str:
    """A person, or everybody in a Slack user group, as policy names them."""
    return f"<!subteam^{who}>" if _GROUP_ID.fullmatch(who) else person(who)


def is_mentionable(who: str) -> bool:
    """Whether it is a Slack user id, so that Slack notifies them."""
    return _USER_ID.fullmatch(who) is not None


def clock_time(moment: datetime) -> str:
    """A time of day in the reader's zone, to the second."""
    return _date(moment, "{time_secs}", f"{moment:%H:%M:%S} UTC")


def moment_of(moment: datetime) -> str:
    """A day and a time in the reader's zone."""
    return _date(moment, "{date_short_pretty} at {time}", f"{moment:%Y-%m-%d %H:%M} UTC")


def moment_to_the_second(moment: datetime) -> str:
    """A day and a time in the reader's zone, to the second."""
    return _date(moment, "{date_short_pretty} at {time_secs}", f"{moment:%Y-%m-%d %H:%M:%S} UTC")


def bound(text: str) -> str:
    """No line breaks between a number and its unit."""
    return _BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", text)


def shortened(text: str, most: int) -> str:
    """`text`, or its beginning and an ellipsis."""
    return text if len(text) <= most else text[: most - 1].rstrip() + ELLIPSIS


def fitted(mrkdwn: str, most: int) -> str:
    """Finished mrkdwn cut to `most` characters without splitting a token or an entity."""
    if len(mrkdwn) <= most:
        return mrkdwn
    cut = mrkdwn[: most - 1]
    if cut.rfind("<") > cut.rfind(">"):
        cut = cut[: cut.rfind("<")]
    if cut.rfind("&") > cut.rfind(";"):
        cut = cut[: cut.rfind("&")]
    return cut.rstrip() + ELLIPSIS


def _without_markup(text: str) -> str:
    for character, entity in _ENTITIES:
        text = text.replace(character, entity)
    return text


def _in_the_readers_zone(moment: datetime, to_the_second: bool) -> str:
    return moment_to_the_second(moment) if to_the_second else moment_of(moment)


def _date(moment: datetime, form: str, fallback: str) -> str:
    return f"<!date^{int(moment.timestamp())}^{form}|{fallback}>"
