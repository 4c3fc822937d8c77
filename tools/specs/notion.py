"""Specs in Notion: pages of a data source whose property names the flag, and pages that are named.

Protocol: developers.notion.com/reference (query a data source, retrieve a page, retrieve block children), with the
header Notion-Version 2025-09-03, in which a database's rows are in its data sources. Too many requests are answered
by 429 or 529, with Retry-After.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field, field_validator

from tools.specs.base import SpecNotFound, SpecSourceUnavailable
from tools.specs.fetching import Fetcher
from tools.specs.markdown import Document
from tools.specs.options import BadSpecSource, SpecSourceOptions
from tools.specs.remote import check_count, named_documents, parsed, read_as

API = "https://api.notion.com"
VERSION = "2025-09-03"
HEADERS = {"Notion-Version": VERSION}
PAGES = ("notion.so", "www.notion.so", "app.notion.com")
PER_PAGE = 100
MOST_REQUESTS = 50
"""For one page: a hundred blocks each, or the blocks inside one."""
DEEPEST = 8
_ID = re.compile(r"([0-9a-f]{32})$|([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$")
TEXTS = ("title", "rich_text")
_NUMBERED, _BULLET = "numbered_list_item", "bulleted_list_item"
_TIGHT = (_NUMBERED, _BULLET, "to_do")
_HEADINGS = {"heading_1": "#", "heading_2": "##", "heading_3": "###", "heading_4": "####"}


class _Column(BaseModel):
    """A column of a data source. What else it has is under its type's name, where a page has its value."""

    type: str


class _Value(BaseModel):
    """What a page has in a column."""

    model_config = {"extra": "allow"}

    type: str

    @property
    def text(self) -> str:
        """What it says, where it is of a type that is text."""
        return _rich(self.model_extra or {}, self.type).strip() if self.type in TEXTS else ""


class _Page(BaseModel):
    id: str
    url: str = ""
    in_trash: bool = False
    properties: dict[str, _Value] = Field(default_factory=dict)


class _Status(BaseModel):
    type: str = ""


class _Rows(BaseModel):
    """A data source's pages, without the data sources that a wiki has beside them."""

    results: list[_Page]
    has_more: bool = False
    next_cursor: str | None = None
    request_status: _Status = Field(default_factory=_Status)

    @field_validator("results", mode="before")
    @classmethod
    def _pages_alone(cls, given: object) -> object:
        if not isinstance(given, list):
            return given
        return [one for one in given if isinstance(one, dict) and one.get("object") == "page"]


class _Block(BaseModel):
    """A block; where the token may not read what it says, only its id is there."""

    model_config = {"extra": "allow"}

    id: str
    type: str | None = None
    has_children: bool = False

    @property
    def inside(self) -> Mapping[str, Any]:
        """What a block of its type says."""
        found = (self.model_extra or {}).get(self.type or "")
        return found if isinstance(found, dict) else {}


class _Blocks(BaseModel):
    results: list[_Block]
    has_more: bool = False
    next_cursor: str | None = None


class _Source(BaseModel):
    properties: dict[str, _Column] = Field(default_factory=dict)


class NotionLibrary:
    """The pages of a data source, by the property that has the flag, and those that somebody names."""

    def __init__(self, options: SpecSourceOptions, fetcher: Fetcher) -> None:
        self._api = f"{options.url or API}/v1"
        self._source = None if options.data_source is None else page_id(options.data_source)
        if options.data_source is not None and self._source is None:
            raise BadSpecSource("Write the data source's id, of 32 hex digits.", field="data_source")
        self._property = options.flag_property
        self._named = options.pages
        for page in self._named:
            if (address := parsed(page)) is None or not self.has(address):
                raise BadSpecSource("A page of Notion is named by its address, as its link has it.", field="pages")
        self._fetcher = fetcher

    @property
    def place(self) -> str:
        """Notion."""
        return "Notion"

    def has(self, address: httpx.URL) -> bool:
        """Whether it is a page's address."""
        return (address.host in PAGES or address.host.endswith(".notion.site")) and page_id(address.path) is not None

    async def documents(self, flag: str | None) -> Sequence[Document]:
        """The pages that name a flag, with their texts where it is one flag's that is wanted."""
        found = list[Document]()
        # Where none has the flag, the others' names are what is offered instead.
        for page in await self._rows(flag) or (await self._rows(None) if flag is not None else []):
            value = page.properties.get(self._property)
            named = "" if value is None else value.text
            if named:
                document = await self._document(page) if named == flag else Document(_address(page))
                found.append(_filed(document, named))
        return found + await named_documents(self, self._named)

    async def document(self, address: httpx.URL) -> Document:
        """The page at that address."""
        found = page_id(address.path)
        if found is None:
            raise SpecNotFound("Notion has no page at such an address.")
        page, _ = await read_as(self._fetcher, _Page, f"{self._api}/pages/{found}")
        if page.in_trash:
            raise SpecNotFound("The page of Notion at that address is in the trash.")
        return await self._document(page)

    async def check(self) -> None:
        """Return when pages can be read, and have the property that names their flag."""
        if self._source is None:
            for address in self._named:
                await read_as(self._fetcher, _Page, f"{self._api}/pages/{page_id(httpx.URL(address).path)}")
            return
        await self._kind()

    async def _kind(self) -> str:
        """Of what type the property with the flag is now, by which a filter must name it."""
        found, _ = await read_as(self._fetcher, _Source, f"{self._api}/data_sources/{self._source}")
        column = found.properties.get(self._property)
        if column is None or column.type not in TEXTS:
            raise SpecSourceUnavailable(
                f"Notion's data source has no property {self._property!r} with text: add one that has each page's "
                "flag, or name it as flag_property."
            )
        return column.type

    async def _rows(self, flag: str | None) -> list[_Page]:
        if self._source is None:
            return []
        found, cursor = list[_Page](), None
        only = {} if flag is None else {"filter": {"property": self._property, await self._kind(): {"equals": flag}}}
        for _ in range(MOST_REQUESTS):
            body: dict[str, Any] = {"page_size": PER_PAGE, **only}
            if cursor is not None:
                body["start_cursor"] = cursor
            rows, _headers = await read_as(
                self._fetcher, _Rows, f"{self._api}/data_sources/{self._source}/query", body=body
            )
            if rows.request_status.type == "incomplete":
                raise SpecSourceUnavailable(
                    "Notion answers only a part of the data source's pages; name one with only specs."
                )
            found += [page for page in rows.results if not page.in_trash]
            cursor = rows.next_cursor
            if not rows.has_more or cursor is None:
                return found
            check_count(len(found), "Notion's data source")
        return found

    async def _document(self, page: _Page) -> Document:
        title = next((one.text for one in page.properties.values() if one.type == "title"), "")
        budget = _Budget(MOST_REQUESTS)
        text = await self._text(page.id, budget, 0)
        return Document(_address(page), content=text.encode(), title=title or None, fenced=True)

    async def _text(self, block: str, budget: "_Budget", depth: int) -> str:
        """The blocks inside one, as Markdown."""
        blocks, number = await self._children(block, budget), 0
        lines = list[str]()
        for one in blocks:
            number = number + 1 if one.type == _NUMBERED else 0
            below = ""
            if one.has_children and one.type not in ("child_page", "child_database"):
                if depth == DEEPEST:
                    raise SpecSourceUnavailable("A page of Notion is nested too deeply; make it flatter.")
                below = await self._text(one.id, budget, depth + 1)
            lines += _markdown(one, below, number)
        return _spaced(lines)

    async def _children(self, block: str, budget: "_Budget") -> list[_Block]:
        found, cursor = list[_Block](), None
        while True:
            budget.spend()
            query = {"page_size": str(PER_PAGE)} | ({} if cursor is None else {"start_cursor": cursor})
            url = f"{self._api}/blocks/{quote(block, safe='')}/children"
            blocks, _ = await read_as(self._fetcher, _Blocks, url, query=query)
            if any(one.type is None for one in blocks.results):
                raise SpecSourceUnavailable(
                    "Notion does not show what a page says: let the token's integration read content."
                )
            found += blocks.results
            cursor = blocks.next_cursor
            if not blocks.has_more or cursor is None:
                return found


class _Budget:
    """How many requests a page may still take."""

    def __init__(self, left: int) -> None:
        self._left = left

    def spend(self) -> None:
        """Raise SpecSourceUnavailable for one too many."""
        if self._left == 0:
            raise SpecSourceUnavailable(f"A page of Notion takes more than {MOST_REQUESTS} requests; make it shorter.")
        self._left -= 1


def page_id(written: str) -> str | None:
    """The id at the end of an address's path or of what somebody wrote, without hyphens."""
    found = _ID.search(written.lower().rstrip("/"))
    return None if found is None else (found[1] or found[2]).replace("-", "")


def _address(page: _Page) -> str:
    address = parsed(page.url)
    known = address is not None and address.scheme == "https" and page_id(address.path) is not None
    return page.url if known else f"https://www.notion.so/{page.id.replace('-', '')}"


def _filed(document: Document, flag: str) -> Document:
    return Document(
        document.source,
        content=document.content,
        problem=document.problem,
        flag=flag,
        title=document.title,
        fenced=document.fenced,
        notes=document.notes,
    )


def _rich(inside: Mapping[str, Any], key: str = "rich_text") -> str:
    given = inside.get(key)
    texts: Iterable[Any] = given if isinstance(given, list) else ()
    return "".join(str(one.get("plain_text", "")) for one in texts if isinstance(one, dict))


def _quoted(inside: Mapping[str, Any]) -> str:
    return "\n".join(f"> {line}" for line in _rich(inside).splitlines())


def _cells(inside: Mapping[str, Any]) -> str:
    cells = inside.get("cells")
    rows = cells if isinstance(cells, list) else []
    return "| " + " | ".join(_rich({"rich_text": cell}).replace("\n", " ") for cell in rows) + " |"


_PLAIN_BLOCKS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "paragraph": _rich,
    "toggle": _rich,
    "callout": _quoted,
    "quote": _quoted,
    "divider": lambda _inside: "---",
    "table_row": _cells,
    "equation": lambda inside: str(inside.get("expression", "")),
    "child_page": lambda inside: str(inside.get("title", "")),
    "code": lambda inside: f"```{inside.get('language', '')}\n{_rich(inside)}\n```",
}


def _markdown(block: _Block, below: str, number: int) -> list[str]:
    """A block as Markdown, what is in it indented where it is an item; what has no text is left out."""
    inside, kind = block.inside, block.type or ""
    if kind in _HEADINGS:
        lines = [f"{_HEADINGS[kind]} {_rich(inside)}"]
    elif kind in _TIGHT:
        mark = (
            f"{number}."
            if kind == _NUMBERED
            else "-"
            if kind == _BULLET
            else f"- [{'x' if inside.get('checked') else ' '}]"
        )
        indented = "".join(f"  {line}\n" if line else "\n" for line in below.splitlines()).rstrip()
        return [f"{mark} {_rich(inside)}" + (f"\n{indented}" if indented else "")]
    else:
        lines = [_PLAIN_BLOCKS[kind](inside)] if kind in _PLAIN_BLOCKS else []
    return [line for line in [*lines, below.rstrip()] if line.strip()]


def _spaced(lines: Sequence[str]) -> str:
    """Items of a list and rows of a table under each other, all else apart."""
    text = ""
    for line in lines:
        close = line.startswith(("- ", "| ")) or re.match(r"\d+\. ", line)
        apart = (
            "\n" if close and text.rstrip("\n").rsplit("\n", 1)[-1][:1] in ("-", "|", " ", *"0123456789") else "\n\n"
        )
        text += (apart if text else "") + line
    return f"{text}\n" if text else ""
