"""Text of a file as data, and the same text with one value changed: every other character stays as people wrote it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

Change = tuple[int, int, str]
"""The characters from the first to before the second are replaced by the text."""


class NotReadable(Exception):
    """The text is not what its file's name says; the message finishes "…/flags.json can't be read: …"."""


class NotEditable(Exception):
    """The value can't be changed without changing others; the message finishes "the file can't be edited: …"."""


class Syntax(Protocol):
    """How a kind of file is written."""

    def parsed(self, text: str) -> Any:
        """The data: dicts with text as keys, lists, text, numbers, truth values and None. Raises NotReadable."""
        ...

    def changes(self, text: str, path: Sequence[str], value: Mapping[str, Any]) -> Sequence[Change]:
        """What makes the mapping at `path` into `value`, of which each member that is the same stays untouched.

        Of two that begin at the same place, the first stands first.
        """
        ...

    def apart(self, text: str, path: Sequence[str]) -> str:
        """The same data, where nothing else uses parts of the value at `path`: what did has a copy of its own.

        The text as it is where that can't be.
        """
        ...

    def rewritten(self, text: str, path: Sequence[str], value: Mapping[str, Any]) -> Iterable[str]:
        """Ways to write the text with `value` at `path`, the one that changes fewest characters first.

        Comments may get lost, and what each reads as is for the caller to see.
        """
        ...

    def doubtful(self, text: str, path: Sequence[str]) -> frozenset[str]:
        """Which members of the mapping at `path` `edited` may refuse to change; it changes all others."""
        ...


def edited(syntax: Syntax, text: str, path: Sequence[str], value: Mapping[str, Any]) -> str:
    """`text` with the mapping at `path`, which is there, made into `value`.

    What comes out is read again: it differs in that one value or nothing is changed. Raises NotReadable, NotEditable.
    """
    wanted = _with(syntax.parsed(text), path, value)
    result, done = "", 0
    for start, end, replacement in _sorted(syntax, text, path, value):
        result += text[done:start] + replacement
        done = end
    result += text[done:]
    if not _reads_as(syntax, result, wanted):
        raise NotEditable(
            f"{path[-1]!r} shares parts with other values, or is written in a way that can't be edited; write it out "
            "by itself"
        )
    return result


def edited_apart(syntax: Syntax, text: str, path: Sequence[str], value: Mapping[str, Any]) -> str:
    """As `edited`, and where other values use parts of that one they get copies first."""
    try:
        return edited(syntax, text, path, value)
    except NotEditable:
        separate = syntax.apart(text, path)
        if separate == text or not _reads_as(syntax, separate, syntax.parsed(text)):
            raise
    return edited(syntax, separate, path, value)


def edited_at_any_price(syntax: Syntax, text: str, path: Sequence[str], value: Mapping[str, Any]) -> str:
    """As `edited_apart`, and where that refuses comments and ways of writing are given up, but no other value."""
    try:
        return edited_apart(syntax, text, path, value)
    except NotEditable:
        wanted = _with(syntax.parsed(text), path, value)
        # What can just be read may be nested too deeply to be written.
        with suppress(RecursionError):
            for candidate in syntax.rewritten(text, path, value):
                if _reads_as(syntax, candidate, wanted):
                    return candidate
        raise


def _sorted(syntax: Syntax, text: str, path: Sequence[str], value: Mapping[str, Any]) -> Sequence[Change]:
    """The changes in the order of the text; none where the value is nested too deeply to be written."""
    try:
        return sorted(syntax.changes(text, path, value), key=lambda change: change[0])
    except RecursionError:
        return ()


def _reads_as(syntax: Syntax, text: str, wanted: Any) -> bool:
    try:
        return bool(syntax.parsed(text) == wanted)
    except NotReadable:
        return False


def _with(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    return {**document, path[0]: _with(document[path[0]], path[1:], value)}
