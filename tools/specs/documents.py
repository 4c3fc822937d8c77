"""From a file's bytes to a document: by its media type where a server said one, else by its name."""

import asyncio
from pathlib import PurePosixPath

import yaml  # type: ignore[import-untyped]

from tools.specs.markdown import Document
from tools.specs.openapi import NotOpenApi, is_marked, read_api
from tools.specs.page import Page, PageUnreadable, read_page

MARKDOWN = ("text/markdown", "text/plain", "text/x-markdown")
HTML = ("text/html", "application/xhtml+xml")
API = (
    *("application/json", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"),
    *("application/vnd.oai.openapi", "application/vnd.oai.openapi+json", "application/openapi+json"),
    *("application/openapi+yaml",),
)
LARGEST = 4 * 2**20
"""Bytes; what people wrote is held to less."""
LARGEST_API = 2**20
"""Bytes: YAML takes up to 2 s a megabyte."""
READABLE = (*MARKDOWN, *HTML, *API)
_BY_ENDING = {".md": MARKDOWN[0], ".markdown": MARKDOWN[0], ".html": HTML[0], ".htm": HTML[0]} | dict.fromkeys(
    (".json", ".yaml", ".yml"), API[0]
)


def is_readable(path: str) -> bool:
    """Whether a file of that name may be a spec; hidden ones are not."""
    pure = PurePosixPath(path)
    return pure.suffix.lower() in _BY_ENDING and not any(part.startswith(".") for part in pure.parts)


def may_be_api(path: str) -> bool:
    """Whether a document of that name may be an OpenAPI; what has no such ending may be anything."""
    return _BY_ENDING.get(PurePosixPath(path).suffix.lower(), API[0]) in API


def document_of(
    source: str, content: bytes, *, media_type: str = "", path: str = "", title: str | None = None, fenced: bool = False
) -> Document | None:
    """The document, None for data that is no OpenAPI. What can't be understood is a document with a problem."""
    try:
        return _understood(source, content, media_type=media_type, path=path, title=title, fenced=fenced)
    except (ArithmeticError, ValueError, RecursionError) as error:
        # One odd document must not keep others, which nobody doubts, from being read.
        return Document(source, problem=f"it can't be understood ({type(error).__name__})")


def _understood(
    source: str, content: bytes, *, media_type: str, path: str, title: str | None, fenced: bool
) -> Document | None:
    kind = _BY_ENDING.get(PurePosixPath(path).suffix.lower(), media_type)
    if kind in API:
        return _api_document(source, content, title=title)
    if len(content) > LARGEST:
        return Document(source, problem=f"the file is larger than {LARGEST // 2**20} MB")
    if kind in HTML:
        return page_document(source, content.decode("utf-8", "replace"), title=title)
    return Document(source, content=content, title=title, fenced=fenced)


async def document_read(
    source: str, content: bytes, *, media_type: str = "", path: str = "", fenced: bool = False
) -> Document | None:
    """The same in a thread: to understand a large one takes seconds, in which rollouts are to be watched."""
    return await asyncio.to_thread(document_of, source, content, media_type=media_type, path=path, fenced=fenced)


def page_document(source: str, markup: str, *, title: str | None = None) -> Document:
    """An HTML page as a document: the Markdown of what its readers see."""
    try:
        page = read_page(markup)
    except PageUnreadable as error:
        return Document(source, problem=str(error))
    return page_read(source, page, title=title)


def page_read(source: str, page: Page, *, title: str | None) -> Document:
    """What was read of a page as a document."""
    return Document(source, content=page.text.encode(), title=title or page.title, fenced=True, notes=page.notes)


def _api_document(source: str, content: bytes, *, title: str | None) -> Document | None:
    """An OpenAPI as a document: its front matter, its words and its operations with their hashes.

    Its own hash is of the front matter, the words that a plan is made from and the operations: it changes when what a
    client may notice does, or what the rollout rests on, and not when it is only written in another way.
    """
    if len(content) > LARGEST_API:
        if not is_marked(content.decode("utf-8-sig", "replace")):
            return None
        return Document(source, problem=f"it is data of more than {LARGEST_API // 2**20} MB")
    try:
        api = read_api(content.decode("utf-8-sig"))
    except (NotOpenApi, UnicodeDecodeError) as error:
        return Document(source, problem=str(error) if isinstance(error, NotOpenApi) else "it is not UTF-8")
    if api is None:
        return None
    head = ""
    if api.front_matter:
        front = {**({"title": api.title} if api.title else {}), **api.front_matter}
        head = f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n"
    hashes = "\n".join(f"{route} {digest}" for route, digest in api.operations.items())
    text = f"{head}{api.text}\n\n```operations\n{hashes}\n```\n"
    front_matter = yaml.safe_dump({"title": api.title, **(api.front_matter or {})}, sort_keys=True)
    counts = f"{front_matter}{api.text}\n{hashes}"
    return Document(source, content=text.encode(), title=title or api.title, api=api.operations, counts=counts.encode())
