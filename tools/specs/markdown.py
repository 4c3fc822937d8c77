"""A spec as a Markdown file with YAML front matter, and how the right one is found among several. Pure.

---
flag: new-checkout
owner: payments
author: U0123ABCDEF
tags: [revenue-critical]
kpis:
  - {metric: checkout_errors, direction: increase, margin: 2.0}
depends_on: [new-cart]
regions: [eu]
tenants: [acme]
---
# One-page checkout
What it does, and why.
"""

import difflib
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import frontmatter
import yaml  # type: ignore[import-untyped]
from frontmatter.default_handlers import YAMLHandler
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tools.specs.base import USER_ID, InvalidSpec, Kpi, Spec, SpecNotFound

MAX_BYTES = 256 * 1024
SHOWN_NAMES = 10
SHOWN_PROBLEMS = 3

_FRONT_MATTER = re.compile(r"\s*-{3,}\s*$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)


class _FrontMatter(BaseModel):
    """What people may write in a spec's front matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flag: str = Field(min_length=1, max_length=200)
    title: str | None = Field(default=None, min_length=1)
    owner: str | None = None
    author: str | None = None
    tags: tuple[str, ...] = ()
    kpis: tuple[Kpi, ...] = ()
    depends_on: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()

    @field_validator("author")
    @classmethod
    def _known_as(cls, author: str | None) -> str | None:
        if author is not None and USER_ID.fullmatch(author) is None:
            raise ValueError("name the author by Slack user id, such as U0123ABCDEF")
        return author


@dataclass(frozen=True, slots=True)
class Document:
    """One file's bytes and where they are from; `problem` instead of bytes when they could not be taken."""

    source: str
    content: bytes = b""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Shelf:
    """Documents sorted by the flag they name. `broken` are sentences about those whose flag can't be told."""

    by_flag: dict[str, list[Document]]
    broken: Sequence[str]


def shelve(documents: Iterable[Document]) -> Shelf:
    """Sort the documents; those without front matter are not specs and are left out."""
    by_flag: dict[str, list[Document]] = {}
    broken = []
    for document in documents:
        try:
            flag = _flag_of(document)
        except InvalidSpec as error:
            broken.append(str(error))
            continue
        if flag is not None:
            by_flag.setdefault(flag, []).append(document)
    return Shelf(by_flag, broken)


def pick(flag: str, shelf: Shelf, *, place: str) -> Spec:
    """The flag's spec. Raises SpecNotFound, and InvalidSpec when it can't be understood or there are two."""
    found = shelf.by_flag.get(flag, [])
    if not found:
        raise SpecNotFound(f"No spec in {place} names the flag {flag!r}. {_hints(flag, shelf)}")
    if len(found) > 1:
        names = " and ".join(document.source for document in found)
        raise InvalidSpec(f"The flag {flag!r} has more than one spec: {names}; keep one.")
    return parse_spec(found[0])


def parse_spec(document: Document) -> Spec:
    """The document as a spec. Raises InvalidSpec naming the file and the field."""
    text = _text_of(document)
    metadata, body = _split(document.source, text)
    try:
        fields = _FrontMatter.model_validate(metadata)
    except ValidationError as error:
        raise InvalidSpec(f"{document.source}: {_first_problem(error)}") from error
    heading = _HEADING.search(body)
    title = fields.title or (heading[1] if heading else None)
    if title is None:
        raise InvalidSpec(f"{document.source}: give it a title, in the front matter or as a heading.")
    return Spec(
        **fields.model_dump(exclude={"title", "author"}),
        title=title,
        author=_author(fields),
        body=body,
        source=document.source,
        content=text,
        sha256=hashlib.sha256(document.content).hexdigest(),
    )


def _author(fields: _FrontMatter) -> str | None:
    """Who is named as the author, else the owner where that is a person."""
    if fields.author is None and fields.owner is not None and USER_ID.fullmatch(fields.owner):
        return fields.owner
    return fields.author


def _flag_of(document: Document) -> str | None:
    """The flag that the document names, None when it is no spec. Raises InvalidSpec when that can't be told."""
    text = _text_of(document)
    if not _FRONT_MATTER.match(text):
        return None
    metadata, _ = _split(document.source, text)
    flag = metadata.get("flag")
    if not isinstance(flag, str) or not flag:
        raise InvalidSpec(f"{document.source}: 'flag' is missing or no text; name the flag that the spec is about.")
    return flag


def _text_of(document: Document) -> str:
    if document.problem is not None:
        raise InvalidSpec(f"{document.source}: {document.problem}.")
    if len(document.content) > MAX_BYTES:
        raise InvalidSpec(f"{document.source}: the file is larger than {MAX_BYTES // 1024} KB.")
    try:
        return document.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"{document.source}: byte {error.start} is not UTF-8; save the file as UTF-8.") from error


def _split(source: str, text: str) -> tuple[dict[str, Any], str]:
    try:
        metadata, body = frontmatter.parse(text, handler=_PlainYaml())
    except yaml.YAMLError as error:
        raise InvalidSpec(f"{source}: the front matter is no valid YAML{_where(error)}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"{source}: the front matter can't be understood ({type(error).__name__}).") from error
    if not metadata:
        raise InvalidSpec(f"{source}: the front matter is empty or not closed by a line '---'.")
    return dict(metadata), body


def _where(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return ""
    # The mark counts lines from 0, the opening '---' being the first.
    return f" in line {error.problem_mark.line + 1}: {error.problem}"


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    message = said[0].lower() + said[1:]
    known = f" (known fields: {', '.join(_FrontMatter.model_fields)})" if first["type"] == "extra_forbidden" else ""
    return f"'{field}': {message}{known}."


def _hints(flag: str, shelf: Shelf) -> str:
    names = sorted(shelf.by_flag)
    near = difflib.get_close_matches(flag, names, n=3) or names[:SHOWN_NAMES]
    hints = [f"There are specs for {', '.join(near)}." if near else "There are none yet."]
    if shelf.broken:
        more = len(shelf.broken) - SHOWN_PROBLEMS
        rest = f" And {more} more." if more > 0 else ""
        hints.append(f"Not understood: {' '.join(shelf.broken[:SHOWN_PROBLEMS])}{rest}")
    return " ".join(hints)


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Safe YAML without aliases (they can grow without bound) and without a key given twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


class _PlainYaml(YAMLHandler):
    def load(self, fm: str, **kwargs: Any) -> Any:
        return super().load(fm, Loader=_PlainLoader, **kwargs)
