"""An OpenAPI document as a spec: its operations, and which of them changed since the one before. Pure.

`x-sluice` at its root is the front matter: flag, owner, tags and all that a Markdown spec has. An operation is told
by its route, `POST /checkout`, and by a hash of everything that a client may notice: servers, parameters, bodies,
answers, security with its schemes, and all that it refers to; words for people are left out. Source: OpenAPI 3.1, 3.0
and 2.0.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import yaml  # type: ignore[import-untyped]

from tools.canonical import canonical_json
from tools.specs.yaml_text import DEEPEST, load_yaml

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
MOST_OPERATIONS = 1_000
MOST_NODES = 200_000
LONGEST_SUMMARY = 120
_FOR_PEOPLE = frozenset(
    {"summary", "description", "externalDocs", "example", "examples", "tags", "operationId", "x-sluice"}
)
_OF_NAMES = frozenset(
    {
        *("properties", "patternProperties", "dependentSchemas", "dependentRequired", "dependencies", "definitions"),
        *("$defs", "responses", "headers", "content", "encoding", "links", "callbacks", "variables", "mapping"),
        *("parameters", "schemas"),
    }
)
"""Of these the keys are names of the document's own, and may well be called "description"."""
_DATA = frozenset({"default", "const", "enum"})
"""These are what they are, whatever their keys are called."""
_INHERITED = ("security", "servers", "host", "basePath", "schemes", "consumes", "produces")
"""What a document says of all operations that say nothing else, nor what is around them."""
_SCHEMES = ("components/securitySchemes", "securityDefinitions")
"""Where schemes of security are, by version."""
FRONT_MATTER = "x-sluice"
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_MARKS = ("openapi", "swagger")
"""The keys of which a document has one at its root."""
_FIRST_LINE = re.compile(r"^(?![ \t]*+(?:[#%\r\n]|---|\Z))( *)", re.MULTILINE)
"""The one that begins the data of YAML: no blank line, comment, directive or beginning of the document."""
_JSON_PIECE = re.compile(
    r'"(?P<text>(?:[^"\\]++|\\.?)*+)"?(?P<colon>\s*+:)?|(?P<opens>[{\[])|(?P<closes>[}\]])', re.DOTALL
)


class NotOpenApi(ValueError):
    """The document is no OpenAPI; the message is the rest of a sentence that begins with its name."""


class Change(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Api:
    """What an OpenAPI document says: its title and words, and its operations with their hashes, sorted by route."""

    title: str | None
    front_matter: Mapping[str, Any] | None
    text: str
    operations: Mapping[str, str]


def read_api(content: str) -> Api | None:
    """The document, in JSON or YAML; None for what is neither an OpenAPI nor means to be. Raises NotOpenApi."""
    if not is_marked(content):
        return None
    root = _loaded(content)
    if not isinstance(root, dict) or root.keys().isdisjoint(_MARKS):
        return None
    operations = dict(sorted(_operations(root)))
    info = root.get("info")
    info = info if isinstance(info, dict) else {}
    front = root.get(FRONT_MATTER)
    if front is not None and not isinstance(front, dict):
        raise NotOpenApi(f"{FRONT_MATTER} must be a table, with the flag in it")
    title = info.get("title")
    return Api(
        title=title if isinstance(title, str) and title else None,
        front_matter=front,
        text=_text(root, info, operations),
        operations=operations,
    )


def is_marked(content: str) -> bool:
    """Whether the data says at its root that it is an OpenAPI, in JSON or YAML; other data is nobody's concern.

    Told without understanding the rest, which may be broken or too large, and in linear time.
    """
    first = _FIRST_LINE.search(content)
    if first is None or not any(mark in content for mark in _MARKS):
        return False
    if content.startswith("{", first.end()):
        return _is_marked_json(content, first.end())
    line = rf"""^{first[1]}["']?(?:{"|".join(_MARKS)})["']?[ \t]*+:"""
    return re.search(line, content, re.MULTILINE) is not None


def _is_marked_json(content: str, start: int) -> bool:
    depth = 0
    for piece in _JSON_PIECE.finditer(content, start):
        if depth == 1 and piece["colon"] is not None and piece["text"] in _MARKS:
            return True
        depth += (piece["opens"] is not None) - (piece["closes"] is not None)
    return False


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Change]:
    """The routes whose operations differ, by name."""
    found = {}
    for route in sorted({*before, *after}):
        if route not in before:
            found[route] = Change.ADDED
        elif route not in after:
            found[route] = Change.REMOVED
        elif before[route] != after[route]:
            found[route] = Change.CHANGED
    return found


def _loaded(content: str) -> Any:
    try:
        loaded = json.loads(content) if content.lstrip().startswith("{") else load_yaml(content)
    except (yaml.YAMLError, ArithmeticError, ValueError, RecursionError) as error:
        raise NotOpenApi(f"it is neither JSON nor plain YAML ({type(error).__name__})") from None
    if _is_deeper(loaded, DEEPEST):
        raise NotOpenApi(f"it has more than {DEEPEST} levels")
    return loaded


def _is_deeper(data: Any, levels: int) -> bool:
    """Whether there are more lists and tables inside each other, told without recursion."""
    level = [data]
    for _ in range(levels):
        level = [inner for one in level for inner in _inside(one) if isinstance(inner, dict | list)]
    return bool(level)


def _inside(one: Any) -> Iterable[Any]:
    if isinstance(one, dict):
        return one.values()
    return one if isinstance(one, list) else ()


def _operations(root: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    paths = root.get("paths")
    if not isinstance(paths, dict):
        return
    reader, count = _Reader(root), 0
    for path, item in paths.items():
        if not isinstance(item, dict) or not isinstance(path, str):
            continue
        around = reader.digest({key: item[key] for key in ("parameters", "servers", "$ref") if key in item})
        for method in METHODS:
            if isinstance(item.get(method), dict):
                count += 1
                if count > MOST_OPERATIONS:
                    raise NotOpenApi(f"it has more than {MOST_OPERATIONS} operations")
                operation = item[method]
                own = {*operation, *(("servers",) if "servers" in item else ())}
                inherited = tuple(key for key in _INHERITED if key not in own)
                parts = (reader.digest(operation), around, reader.inherited(inherited), reader.schemes(operation))
                yield f"{method.upper()} {path}", _hashed(parts)


class _Reader:
    """Hashes parts of a document with all that they refer to in it, each of which is read and hashed once.

    How much is read is bounded; time grows with that and with the references in it.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._nodes = 0
        self._own: dict[str, tuple[str, list[str]]] = {}
        self._whole: dict[str, str] = {}
        self._inherited: dict[Sequence[str], str] = {}

    def inherited(self, keys: Sequence[str]) -> str:
        """The hash of what the document says under these keys of all operations."""
        if keys not in self._inherited:
            found = {key: self._root[key] for key in keys if key in self._root}
            self._inherited[keys] = _hashed([self.digest(found), self.schemes(found)])
        return self._inherited[keys]

    def schemes(self, part: Mapping[str, Any]) -> str:
        """The hash of the schemes that the part's security names."""
        security = part.get("security")
        wanted = [one for one in security if isinstance(one, dict)] if isinstance(security, list) else []
        names = sorted({str(name).replace("~", "~0").replace("/", "~1") for one in wanted for name in one})
        return self.digest([{"$ref": f"#/{place}/{name}"} for name in names for place in _SCHEMES])

    def digest(self, part: Any) -> str:
        """The hash of what a client may notice of `part`."""
        own, due = self._stripped(part)
        for name in due:
            if name not in self._whole:
                self._settle(name)
        return _hashed([own, self._reached(due)])

    def _reached(self, due: Iterable[str]) -> list[tuple[str, str]]:
        return [(name, self._whole[name]) for name in sorted(due)]

    def _named(self, name: str) -> tuple[str, list[str]]:
        """The hash of what a reference stands for, and what that refers to."""
        if name not in self._own:
            own, due = self._stripped(_pointed(self._root, name))
            self._own[name] = _hashed(own), due
        return self._own[name]

    def _settle(self, start: str) -> None:
        """Hash what `start` stands for and everything that it leads to, all parts of a circle at once.

        Source: R. Tarjan, Depth-first search and linear graph algorithms (1972), without recursion.
        """
        number: dict[str, int] = {}
        lowest: dict[str, int] = {}
        unsettled: list[str] = []
        path: list[tuple[str, Iterator[str]]] = []

        def enter(name: str) -> None:
            number[name] = lowest[name] = len(number)
            unsettled.append(name)
            path.append((name, iter(self._named(name)[1])))

        enter(start)
        while path:
            name, due = path[-1]
            following = next((one for one in due if one not in self._whole), None)
            if following is None:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[name])
                if lowest[name] == number[name]:
                    self._close(_popped(unsettled, name))
            elif following in number:
                lowest[name] = min(lowest[name], number[following])
            else:
                enter(following)

    def _close(self, circle: Sequence[str]) -> None:
        """Hash parts that all lead to each other, or one that does not lead to itself."""
        members = sorted((name, self._named(name)[0]) for name in circle)
        onwards = {one for name in circle for one in self._named(name)[1]}.difference(circle)
        self._whole |= dict.fromkeys(circle, _hashed([members, self._reached(onwards)]))

    def _stripped(self, part: Any) -> tuple[Any, list[str]]:
        due = set[str]()
        return self._without_words(part, due), sorted(due)

    def _without_words(self, part: Any, due: set[str], *, names: bool = False) -> Any:
        if not isinstance(part, dict | list):
            return self._plain(part)
        self._count()
        if isinstance(part, list):
            return [self._without_words(one, due) for one in part]
        if isinstance(reference := part.get("$ref"), str) and reference.startswith("#/"):
            due.add(reference)
        return {
            str(key): self._kept(str(key), value, due) if not names else self._without_words(value, due)
            for key, value in part.items()
            if names or key not in _FOR_PEOPLE
        }

    def _kept(self, key: str, value: Any, due: set[str]) -> Any:
        """What is kept under a keyword."""
        if key in _DATA:
            return self._plain(value)
        if key == "scopes" and isinstance(value, dict):
            # What each is for is told to people.
            return self._plain(sorted(map(str, value)))
        return self._without_words(value, due, names=key in _OF_NAMES)

    def _plain(self, value: Any) -> Any:
        """Data as it is, in what JSON has."""
        self._count()
        if isinstance(value, list):
            return [self._plain(one) for one in value]
        if isinstance(value, dict):
            return {str(key): self._plain(one) for key, one in value.items()}
        return value if isinstance(value, str | int | float | bool | None) else str(value)

    def _count(self) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise NotOpenApi("it is larger than an API for people to read")


def _popped(stack: list[str], last: str) -> list[str]:
    """Everything from `last` to the top, taken off."""
    taken = list[str]()
    while not taken or taken[-1] != last:
        taken.append(stack.pop())
    return taken


def _hashed(part: Any) -> str:
    try:
        return hashlib.sha256(canonical_json(part).encode()).hexdigest()
    except UnicodeEncodeError:
        raise NotOpenApi("it has half a surrogate pair, which is no character") from None
    except ValueError:
        raise NotOpenApi("it has a number that is none in JSON, such as NaN or 1e400") from None


def _pointed(root: Any, reference: str) -> Any:
    """What a JSON pointer leads to (RFC 6901); None where that is nothing."""
    found = root
    for step in reference.removeprefix("#/").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and _INDEX.fullmatch(key) and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found


def _text(root: Mapping[str, Any], info: Mapping[str, Any], operations: Iterable[str]) -> str:
    """What people read of it: its description, and a line for each operation."""
    described = info.get("description")
    lines = [described.strip(), ""] if isinstance(described, str) and described.strip() else []
    for route in operations:
        method, _, path = route.partition(" ")
        summary = root["paths"][path][method.lower()].get("summary")
        said = f": {' '.join(summary.split())[:LONGEST_SUMMARY]}" if isinstance(summary, str) and summary else ""
        lines.append(f"- {route}{said}")
    return "\n".join(lines)
