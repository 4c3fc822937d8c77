"""Specs in GitLab, gitlab.com's or one's own: files of a project at a ref, issues, merge requests.

Protocol: docs.gitlab.com/api (repositories, repository_files, issues, merge_requests), v4.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from tools.specs.addresses import quoted
from tools.specs.base import SpecNotFound, SpecSourceUnavailable
from tools.specs.documents import document_read
from tools.specs.fetching import Fetcher
from tools.specs.markdown import Document
from tools.specs.options import SpecSourceOptions
from tools.specs.remote import JSON, check_count, read_as
from tools.specs.repository import Blobs, File, check_scope, documents_of, file_named, lists_file, path_below, unpacked

PUBLIC = "https://gitlab.com"
PER_PAGE = 100
MOST_PAGES = 50
NEXT = "x-next-page"
ISSUES = ("issues", "work_items")


class _Entry(BaseModel):
    id: str
    path: str
    type: str
    mode: str = ""


class _Content(BaseModel):
    content: str
    encoding: str


class _Issue(BaseModel):
    iid: int
    title: str
    description: str | None = None
    web_url: str


class _Project(BaseModel):
    path_with_namespace: str


Listed = TypeVar("Listed", _Entry, _Issue)


class GitLabLibrary:
    """One project: the files below `path` at `ref`, and the open issues and merge requests with `label`."""

    def __init__(self, options: SpecSourceOptions, fetcher: Fetcher) -> None:
        check_scope(options)
        self._options = options
        self._fetcher = fetcher
        self._project = (options.repository or "").strip("/")
        self._pages = httpx.URL(options.url or PUBLIC)
        self._api = f"{str(self._pages).rstrip('/')}/api/v4/projects/{quote(self._project, safe='')}"
        self._blobs = Blobs()

    @property
    def place(self) -> str:
        """The project."""
        return f"{self._pages.host}/{self._project}"

    def has(self, address: httpx.URL) -> bool:
        """Whether it is a file, an issue or a merge request of the project."""
        return self._named(address) is not None

    async def documents(self, _flag: str | None) -> Sequence[Document]:
        """Every file that may be a spec, and every issue and merge request that is labelled as one."""
        found = list[Document]()
        if self._options.path is not None:
            files = await self._files(self._options.path)
            found += await documents_of(files, self._options.path, self.place, self._blobs, self._blob)
        if self._options.label is not None:
            query = {"labels": self._options.label, "state": "opened"}
            for kind in ("issues", "merge_requests"):
                found += map(_of_issue, await self._listed(_Issue, f"/{kind}", query))
        return found

    def lists(self, address: httpx.URL) -> bool:
        """Whether it is such a file, or, beside files, an issue or a merge request, which may be labelled as a spec."""
        kind, *rest = self._named(address) or ("",)
        if kind in (*ISSUES, "merge_requests"):
            return self._options.path is not None and self._options.label is not None
        return kind == "blob" and lists_file(self._options, rest)

    async def apis(self) -> Sequence[Document]:
        """Every file that may be an OpenAPI."""
        if self._options.path is None:
            return []
        files = await self._files(self._options.path)
        return await documents_of(files, self._options.path, self.place, self._blobs, self._blob, apis=True)

    async def document(self, address: httpx.URL) -> Document:
        """The file, issue or merge request at that address."""
        kind, *rest = self._named(address) or ("",)
        if kind in (*ISSUES, "merge_requests"):
            listing = "issues" if kind in ISSUES else kind
            found, _ = await read_as(self._fetcher, _Issue, f"{self._api}/{listing}/{rest[0]}")
            return _of_issue(found)
        named = file_named(rest, self._options.ref)
        if kind != "blob" or named is None:
            raise SpecNotFound(f"{self.place} has no file at such an address.")
        ref, path = named
        url = f"{self._api}/repository/files/{quote(path, safe='')}"
        content = await self._content(url, {"ref": ref})
        document = await document_read(str(address), content, path=path)
        return document or Document(str(address), problem="it is neither Markdown nor an OpenAPI")

    async def check(self) -> None:
        """Return when the project can be read."""
        await read_as(self._fetcher, _Project, self._api)
        if self._options.path is not None:
            await self._files(self._options.path)

    def _named(self, address: httpx.URL) -> Sequence[str] | None:
        """What an address names, as its parts after `/-/`."""
        parts = path_below(address, self._pages, self._project)
        if parts is None or len(parts) < 3 or parts[0] != "-":
            return None
        kind, rest = parts[1], parts[2:]
        is_item = kind in (*ISSUES, "merge_requests") and re.fullmatch(r"[0-9]{1,18}", rest[0]) is not None
        return [kind, *rest] if is_item or (kind == "blob" and len(rest) > 1) else None

    async def _files(self, below: str) -> list[File]:
        ref = self._options.ref or "HEAD"
        # Of trees only branches and tags are documented, and that none stands for the default branch.
        query = {"recursive": "true"} | ({} if self._options.ref is None else {"ref": ref})
        if below.strip("/"):
            query["path"] = below.strip("/")
        root = f"{str(self._pages).rstrip('/')}/{self._project}/-/blob/{quoted(ref)}"
        entries = await self._listed(_Entry, "/repository/tree", query)
        return [
            File(one.path, one.id, f"{root}/{quoted(one.path)}")
            for one in entries
            if one.type == "blob" and one.mode != "120000"
        ]

    async def _blob(self, sha: str) -> bytes:
        return await self._content(f"{self._api}/repository/blobs/{quote(sha, safe='')}", None)

    async def _content(self, url: str, query: Mapping[str, str] | None) -> bytes:
        found, _ = await read_as(self._fetcher, _Content, url, query=query)
        content = unpacked(found.content) if found.encoding == "base64" else None
        if content is None:
            raise SpecSourceUnavailable(
                f"{self.place} gives a file in a way that can't be read; see whether it is text."
            )
        return content

    async def _listed(self, model: type[Listed], path: str, query: Mapping[str, str]) -> list[Listed]:
        found, page = list[Listed](), "1"
        for _ in range(MOST_PAGES):
            asked = {**query, "per_page": str(PER_PAGE), "page": page}
            fetched = await self._fetcher.get(self._api + path, accept=JSON, query=asked)
            try:
                found += TypeAdapter(list[model]).validate_json(fetched.body)  # type: ignore[valid-type]
            except ValidationError:
                raise SpecSourceUnavailable(
                    f"{self.place} answered something else than its API does; see whether the source's url is right."
                ) from None
            page = fetched.headers.get(NEXT, "")
            if not page.isdecimal():
                return found
        check_count(PER_PAGE * MOST_PAGES, self.place)
        return found


def authorization(token: str) -> dict[str, str]:
    """How a token is shown: personal, project and group access tokens alike."""
    return {"PRIVATE-TOKEN": token}


def _of_issue(issue: _Issue) -> Document:
    text = (issue.description or "").replace("\r\n", "\n")
    return Document(issue.web_url, content=text.encode(), title=issue.title, fenced=True)
