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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import frontmatter
import yaml  # type: ignore[import-untyped]
from frontmatter.default_handlers import YAMLHandler
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tools.specs.base import USER_ID, InvalidSpec, Kpi, Spec, SpecNotFound
from tools.specs.visible import hidden, may_hide, seen
from tools.specs.yaml_text import load_yaml

MAX_BYTES = 256 * 1024
MOST_HIDDEN = 40
"""Characters: fewer that nobody sees are a line that was commented out, or nothing at all."""
SHOWN_NAMES = 10
SHOWN_PROBLEMS = 3

_FRONT_MATTER = re.compile(r"\s*-{3,}\s*$", re.MULTILINE)
_FENCED = re.compile(
    r"\s*((?:#{1,6}[ \t][^\n]*\n\s*)?)```[ \t]*(?:ya?ml)?[ \t]*\r?\n"
    r"((?:(?![ \t]*```)[^\n]*\n)*)[ \t]*```[ \t]*\r?(?:\n|\Z)"
)
"""A block of code that begins a text, perhaps below a heading."""
_NAMES_A_FLAG = re.compile(r"^flag:", re.MULTILINE)
_CHAPTER = re.compile(r"^#[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
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
    """One document's bytes and where they are from; `problem` instead of bytes when they could not be taken.

    With `away` that is because nobody could ask for it, so that nothing is known of what it is.
    `flag` is what it is filed under where that is known from outside its text, such as by the settings or by whoever
    named it; `title` what it is called there. With `fenced`, a code block of YAML that begins the text is front matter
    too, for places in which nothing else can be written. `api` are an OpenAPI's operations: such a document stands
    beside the one that people wrote, if there is one. `counts` is of what its hash is, where that is not `content`.
    `notes` are sentences on how it was read.
    """

    source: str
    content: bytes = b""
    problem: str | None = None
    flag: str | None = None
    title: str | None = None
    fenced: bool = False
    api: Mapping[str, str] | None = None
    counts: bytes | None = None
    notes: tuple[str, ...] = ()
    away: bool = False

    @property
    def sha256(self) -> str:
        """The hash of what a change of the spec would be a change of."""
        return hashlib.sha256(self.content if self.counts is None else self.counts).hexdigest()


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
    written = [document for document in found if document.api is None]
    if len(written) > 1:
        names = " and ".join(document.source for document in written)
        raise InvalidSpec(f"The flag {flag!r} has more than one spec: {names}; keep one.")
    apis = [document for document in found if document.api is not None]
    return _with_apis(parse_spec(written[0]), apis) if written else _with_apis(parse_spec(apis[0]), apis[1:])


def parse_spec(document: Document) -> Spec:
    """The document as a spec. Raises InvalidSpec naming the file and the field."""
    text = _text_of(document)
    metadata, body = _metadata(document, text)
    try:
        fields = _FrontMatter.model_validate(metadata)
    except ValidationError as error:
        raise InvalidSpec(f"{document.source}: {_first_problem(error)}") from error
    if document.flag is not None and fields.flag != document.flag:
        raise InvalidSpec(f"{document.source}: it is about the flag {fields.flag!r}, not {document.flag!r}.")
    first = _HEADING.search(body) if document.title is None else _CHAPTER.search(body)
    title = fields.title or (first[1] if first else None) or document.title
    if title is None:
        raise InvalidSpec(f"{document.source}: give it a title, in the front matter or as a heading.")
    return Spec(
        **fields.model_dump(exclude={"title", "author"}),
        title=title,
        author=_author(fields),
        body=seen(body),
        source=document.source,
        content=text,
        sha256=document.sha256,
        operations=dict(document.api or {}),
        notes=(*document.notes, *_hidden(text)),
    )


def _with_apis(spec: Spec, apis: Sequence[Document]) -> Spec:
    """The spec with the operations of the OpenAPI documents beside it, whose change is a change of the spec."""
    if not apis:
        return spec
    content = "\n\n".join([spec.content, *(_text_of(document) for document in apis)])
    hashes = sorted([spec.sha256, *(document.sha256 for document in apis)])
    operations = dict(spec.operations)
    for document in apis:
        operations |= document.api or {}
    return spec.model_copy(
        update={
            "beside": tuple(document.source for document in apis),
            "operations": operations,
            "content": content,
            "sha256": hashlib.sha256("\n".join(hashes).encode()).hexdigest(),
            "notes": (*spec.notes, *(note for document in apis for note in document.notes)),
        }
    )


def _hidden(text: str) -> tuple[str, ...]:
    count = hidden(text)
    left_out = f"{count} characters of the spec that its readers don't see were left out."
    html = "The spec has HTML that may hide text from its readers, and that was read: see who wrote it."
    return (*((left_out,) if count >= MOST_HIDDEN else ()), *((html,) if may_hide(text) else ()))


def _author(fields: _FrontMatter) -> str | None:
    """Who is named as the author, else the owner where that is a person."""
    if fields.author is None and fields.owner is not None and USER_ID.fullmatch(fields.owner):
        return fields.owner
    return fields.author


def _flag_of(document: Document) -> str | None:
    """The flag that the document names, None when it is no spec. Raises InvalidSpec when that can't be told."""
    if document.flag is not None and document.problem is None:
        return document.flag
    text = _text_of(document)
    if not _has_front_matter(document, text):
        return None
    metadata, _ = _metadata(document, text)
    flag = metadata.get("flag")
    if not isinstance(flag, str) or not flag:
        raise InvalidSpec(f"{document.source}: 'flag' is missing or no text; name the flag that the spec is about.")
    return flag


def _has_front_matter(document: Document, text: str) -> bool:
    return _FRONT_MATTER.match(text) is not None or _fence(document, text) is not None


def _fence(document: Document, text: str) -> re.Match[str] | None:
    """The block of code that stands for front matter."""
    found = _FENCED.match(text) if document.fenced else None
    return found if found is not None and _NAMES_A_FLAG.search(found[2]) else None


def _metadata(document: Document, text: str) -> tuple[dict[str, Any], str]:
    """The front matter and the rest; a document that is filed under its flag need not name it."""
    filed = {} if document.flag is None else {"flag": document.flag}
    if not _has_front_matter(document, text) and filed:
        return filed, text
    fence = _fence(document, text)
    metadata, body = _split(document.source, f"---\n{fence[2]}---\n{text[fence.end() :]}" if fence else text)
    return {**filed, **metadata}, f"{fence[1]}{body}" if fence else body


def _text_of(document: Document) -> str:
    if document.problem is not None:
        raise InvalidSpec(f"{document.source}: {document.problem}.")
    if len(document.content) > MAX_BYTES:
        raise InvalidSpec(f"{document.source}: the file is larger than {MAX_BYTES // 1024} KB.")
    try:
        text = document.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"{document.source}: byte {error.start} is not UTF-8; save the file as UTF-8.") from error
    if "\0" in text:
        raise InvalidSpec(f"{document.source}: it has a NUL, which is no character of a text; take it out.")
    return text


def _split(source: str, text: str) -> tuple[dict[str, Any], str]:
    try:
        metadata, body = frontmatter.parse(text, handler=_PlainYaml())
    except yaml.YAMLError as error:
        raise InvalidSpec(f"{source}: the front matter is no valid YAML{_where(error)}.") from error
    except (ArithmeticError, ValueError, RecursionError) as error:
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


class _PlainYaml(YAMLHandler):
    def load(self, fm: str, **_kwargs: Any) -> Any:
        return load_yaml(fm)
