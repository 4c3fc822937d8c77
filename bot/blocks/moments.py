"""Moments that a text writes out in UTC, as `tools.clock.written` does or in ISO 8601: found, and written otherwise.

What is kept says UTC; only what is shown is written anew.
"""

import re
from collections.abc import Callable
from datetime import datetime, tzinfo

from tools.clock import written

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_IN_WORDS = rf"(?P<day>[0-3][0-9]) (?P<month>{'|'.join(_MONTHS)}) (?P<year>20[0-9]{{2}})"
_IN_DIGITS = r"(?P<date>20[0-9]{2}-[01][0-9]-[0-3][0-9])"
_TIME = r"(?P<time>[0-2][0-9]:[0-5][0-9])(?P<seconds>:[0-5][0-9])?(?:\.[0-9]{1,9})?"
_IN_A_NAME_BEFORE, _IN_A_NAME_AFTER = r"(?<![\w/=?&#.%+@:-])", r"(?![\w/…]|[:.+−–-]\w| [+−-][0-9])"
_WRITTEN_OUT = rf"{_IN_A_NAME_BEFORE}(?:{_IN_WORDS}|{_IN_DIGITS})[ T]{_TIME}(?: UTC|Z|\+00:00){_IN_A_NAME_AFTER}"
_CODE = r"(?<!`)(?P<ticks>`++)(?:.*?(?<!`)(?P=ticks)(?!`)|.*)"
_ADDRESS = r"(?:[A-Za-z]{1,12}://|www\.)\S*"
_MOMENT = re.compile(rf"(?P<verbatim>{_CODE}|{_ADDRESS})|{_WRITTEN_OUT}")
_ZONE = r" ?(?:(?!AM\b|PM\b)[A-Z]{2,5}\b|[+−-][0-9])|Z\b"
_BARE = rf"(?<![\d:+−-])[0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9])?+(?:\.[0-9]{{1,9}})?+(?!\d|:\d|{_ZONE})"
_WITHOUT_ZONE = re.compile(rf"{_ADDRESS}|(?P<time>{_BARE})")
_BEGUN = re.compile(rf"\b(?:[0-3][0-9] (?:(?:{'|'.join(_MONTHS)}) (?:20[0-9]{{2}} )?)?|{_IN_DIGITS} )\Z")

Writing = Callable[[datetime, bool], str]
"""How a moment is to be written, given whether it was to the second."""


def rewritten(text: str, writing: Writing) -> str:
    """A line with each moment as `writing` has it, but for those in code and in addresses.

    Of several times the last may name the zone of all, or the first: beside one that names none, all stay in UTC.
    """
    if any(found["time"] for found in _WITHOUT_ZONE.finditer(text)):
        return text
    return _MOMENT.sub(lambda found: found[0] if found["verbatim"] else _anew(found, writing), text)


def in_zone(markdown: str, zone: tzinfo) -> str:
    """A line of Markdown with its moments in that zone."""
    return rewritten(markdown, lambda moment, to_the_second: written(moment, seconds=to_the_second, zone=zone))


def before_begun(text: str) -> str:
    """A text that goes on, up to where the last words of it may turn out to be a moment's first."""
    found = _BEGUN.search(text)
    return text if found is None else text[: found.start()]


def _anew(found: re.Match[str], writing: Writing) -> str:
    date = found["date"] or f"{found['year']}-{_MONTHS.index(found['month']) + 1:02}-{found['day']}"
    try:
        moment = datetime.fromisoformat(f"{date}T{found['time']}{found['seconds'] or ':00'}+00:00")
    except ValueError:
        return found[0]
    return writing(moment, found["seconds"] is not None)
