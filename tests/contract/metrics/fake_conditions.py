"""Conditions as NRQL and InfluxQL have them, evaluated: what the fakes of both have in common.

`ok`: comparisons with numbers and quoted text, =~ and !~ with /expressions/, IS [NOT] NULL, brackets, AND and OR.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

Row = Mapping[str, Any]
Test = Callable[[Row], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:\\.|[^'\\\n])*')|(?P<quoted>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<regular>/(?:\\.|[^/\\])+/)
        |(?P<number>-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)|(?P<word>[A-Za-z_][\w.:]*)|(?P<sign><=|>=|!=|=~|!~|[=<>(),*]))""",
    re.VERBOSE,
)
_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


class Unexpected(Exception):
    """What can't be understood, and where."""


class Tokens:
    """A query, word by word."""

    def __init__(self, text: str) -> None:
        self._found = list[tuple[str, str]]()
        place = 0
        while place < len(text.rstrip()):
            found = _TOKEN.match(text, place)
            if found is None:
                raise Unexpected(f"at position {place}, unexpected '{text[place:].strip()[:10]}'")
            place = found.end()
            assert found.lastgroup is not None
            self._found.append((found.lastgroup, found[found.lastgroup]))
        self._next = 0

    def ahead(self) -> tuple[str, str]:
        return self._found[self._next] if self._next < len(self._found) else ("end", "")

    def take(self, *kinds: str) -> str:
        kind, text = self.ahead()
        if kind not in kinds:
            raise Unexpected(f"at position {self._next}, unexpected '{text}'")
        self._next += 1
        return text

    def taken(self, *words: str) -> bool:
        """Whether these words come next; they are passed."""
        coming = [text.upper() for kind, text in self._found[self._next : self._next + len(words)] if kind != "text"]
        if coming != list(words):
            return False
        self._next += len(words)
        return True

    def expect(self, *words: str) -> None:
        if not self.taken(*words):
            raise Unexpected(f"at position {self._next}, unexpected '{self.ahead()[1]}'")

    def name(self) -> str:
        """Of a label, quoted or not."""
        text = self.take("word", "quoted")
        return unescaped(text) if text[0] in '"`' else text

    def number(self) -> float:
        return float(self.take("number"))


def unescaped(text: str) -> str:
    """What is between the quotes."""
    plain = text[1:-1]
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), plain, flags=re.DOTALL)


def condition(tokens: Tokens) -> Test:
    """Alternatives."""
    tests = [_all_of(tokens)]
    while tokens.taken("OR"):
        tests.append(_all_of(tokens))
    return lambda row: any(test(row) for test in tests)


def _all_of(tokens: Tokens) -> Test:
    tests = [_one(tokens)]
    while tokens.taken("AND"):
        tests.append(_one(tokens))
    return lambda row: all(test(row) for test in tests)


def _one(tokens: Tokens) -> Test:
    if tokens.taken("("):
        inner = condition(tokens)
        tokens.expect(")")
        return inner
    name = tokens.name()
    if tokens.taken("IS", "NOT", "NULL"):
        return lambda row: row.get(name) is not None
    if tokens.taken("IS", "NULL"):
        return lambda row: row.get(name) is None
    sign = tokens.take("sign")
    if sign in ("=~", "!~"):
        pattern = re.compile(tokens.take("regular")[1:-1])
        return lambda row: (pattern.search(str(row.get(name) or "")) is not None) is (sign == "=~")
    if sign not in _COMPARED:
        raise Unexpected(f"unexpected '{sign}'")
    compare, value = _COMPARED[sign], _value(tokens)
    return lambda row: row.get(name) is not None and _alike(row[name], value) and compare(row[name], value)


def _value(tokens: Tokens) -> str | float:
    kind, text = tokens.ahead()
    tokens.take("text", "number")
    # Nanoseconds are more than a float can have.
    return unescaped(text) if kind == "text" else int(text) if re.fullmatch(r"-?\d+", text) else float(text)


def _alike(left: Any, right: Any) -> bool:
    return isinstance(left, str) is isinstance(right, str)
