"""A selector as a query without its window: SELECT what FROM where WHERE which, as NRQL and InfluxQL have it. Pure.

What is written stays as it is, but for the conditions whose value is the question's; the window, the grouping and the
limits are the source's to add.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tools.metrics.counters import Open, WrongSelector, filled

_QUOTED = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`"""
_SHAPE = re.compile(r"SELECT\s+(.+?)\s+FROM\s+(.+?)(?:\s+WHERE\s+(.+))?", re.IGNORECASE | re.DOTALL)
_OPEN = re.compile(r"""\s*(?:([A-Za-z_][\w.:]*)|`([^`]+)`|"([^"\\]+)")\s*=\s*'([^'\\]*)'\s*""")
_COUNTED = re.compile(r"""(\w+)\s*\(\s*(\*|[A-Za-z_][\w.:]*|`[^`]+`|"[^"\\]+")\s*\)""", re.IGNORECASE)
_NAME = re.compile(r"""[A-Za-z_][\w.:]*|`[^`]+`|"[^"\\]+\"""")
_COMMENT = re.compile(r";|--|//|/\*|#")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a language writes such queries.

    `functions` are those that count, `clauses` words that a selector can't have, `regular` tells whether it has
    /expressions/, `literal` quotes a value, `name` a label.
    """

    functions: tuple[str, ...]
    clauses: frozenset[str]
    regular: bool
    literal: Callable[[str], str]
    name: Callable[[str], str]
    example: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What is counted: `function` of `field`, none for the bare values of a histogram; `fixed` as it is written."""

    dialect: Dialect
    function: str
    field: str
    source: str
    fixed: tuple[str, ...]
    open: Open

    @property
    def counted(self) -> str:
        """What is selected."""
        return f"{self.function}({self.field})" if self.function else self.field

    def text(self, values: Mapping[str, Sequence[str]]) -> str:
        """The query with the open labels' conditions."""
        where = " AND ".join(self.conditions(values))
        text = f"SELECT {self.counted} FROM {self.source}"  # noqa: S608 - values are escaped
        return f"{text} WHERE {where}" if where else text

    def conditions(self, values: Mapping[str, Sequence[str]]) -> list[str]:
        """All that must hold."""
        return [*self.fixed, *(self._one_of(label, values[label]) for label, _ in self.open if label in values)]

    def _one_of(self, label: str, values: Sequence[str]) -> str:
        name = self.dialect.name(label)
        equal = [f"{name} = {self.dialect.literal(value)}" for value in values]
        return equal[0] if len(equal) == 1 else f"({' OR '.join(equal)})"


def parse_selection(dialect: Dialect, column: str, text: str) -> Selection:
    """The selector of a column. Raises WrongSelector saying what to write."""
    plain = _masked(text, dialect)
    shape = _SHAPE.fullmatch(plain)
    if shape is None:
        raise WrongSelector(f"no selection: write such as {dialect.example}")
    _refuse_more(dialect, plain)
    counted, source = text[slice(*shape.span(1))].strip(), text[slice(*shape.span(2))].strip()
    if "(" in plain[slice(*shape.span(2))] or filled(counted) or filled(source):
        raise WrongSelector(f"more than a selection: write such as {dialect.example}")
    function, field = _counted(column, counted, dialect)
    start, end = shape.span(3)
    fixed, open_ = list[str](), list[tuple[str, str]]()
    for condition in _conditions(text, plain, start, end) if start >= 0 else ():
        if not filled(condition):
            fixed.append(condition)
            continue
        found = _OPEN.fullmatch(condition)
        if found is None:
            raise WrongSelector(f"the condition {condition}; write one such as flag = '$flag'")
        open_.append((found[1] or found[2] or found[3], found[4]))
    return Selection(dialect, function, field, source, tuple(fixed), tuple(sorted(open_)))


def escaped(value: str, quote: str = "'") -> str:
    """A literal in which quotes, backslashes and line ends are escaped by a backslash."""
    plain = value.encode("utf-8", "replace").decode().replace("\\", "\\\\").replace(quote, f"\\{quote}")
    return f"{quote}{plain.replace(chr(10), chr(92) + 'n').replace(chr(13), chr(92) + 'r')}{quote}"


def _masked(text: str, dialect: Dialect) -> str:
    """The text with everything quoted made unreadable, at the same places."""
    pattern = rf"{_QUOTED}|(?<=~)\s*/(?:\\.|[^/\\])+/" if dialect.regular else _QUOTED
    return re.sub(pattern, lambda found: "\0" * len(found[0]), text)


def _refuse_more(dialect: Dialect, plain: str) -> None:
    if _COMMENT.search(plain):
        raise WrongSelector("more than one statement, or a comment; write one selection")
    words: list[str] = re.findall(r"\w+", plain.upper())
    for word in words:
        if word in dialect.clauses or (word == "SELECT" and words.count(word) > 1):
            raise WrongSelector(f"the clause {word}; the window, groups and limits are added: write {dialect.example}")


def _counted(column: str, counted: str, dialect: Dialect) -> tuple[str, str]:
    if column == "buckets":
        if _NAME.fullmatch(counted) is None:
            raise WrongSelector("no plain value; write what is measured, such as SELECT duration FROM …")
        return "", counted
    found = _COUNTED.fullmatch(counted)
    if found is None or found[1].lower() not in dialect.functions:
        functions = " or ".join(f"{name}(…)" for name in dialect.functions)
        raise WrongSelector(f"{counted}, which can't be counted exactly; write {functions}: {dialect.example}")
    return found[1].lower(), found[2]


def _conditions(text: str, plain: str, start: int, end: int) -> list[str]:
    """What is joined by AND outside of brackets."""
    found, depth, last = list[str](), 0, start
    for word in re.finditer(r"[()]|\bAND\b|\bOR\b", plain[start:end], re.IGNORECASE):
        if word[0] in "()":
            depth += 1 if word[0] == "(" else -1
        elif depth == 0 and word[0].upper() == "OR":
            raise WrongSelector("an OR that is not in brackets; write WHERE (a OR b) AND …")
        elif depth == 0:
            found.append(text[last : start + word.start()].strip())
            last = start + word.end()
    if depth:
        raise WrongSelector("brackets that are not closed")
    return [*found, text[last:end].strip()]
