"""Specs in GitHub, or GitHub Enterprise Server: files of a repository at a ref, issues, pull requests.

Protocol: docs.github.com/rest (git trees and blobs, repository contents, issues, pulls), API version 2022-11-28. A tree
names each blob's hash, so that a look costs one request and those for the files that changed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from tools.specs.addresses import quoted
from tools.specs.base import SpecNotFound, SpecSourceUnavailable
from tools.specs.documents import document_read
from tools.specs.fetching import Fetcher
from tools.specs.markdown import Document
from tools.specs.options import SpecSourceOptions
from tools.specs.remote import check_count, parsed, read_as
from tools.specs.repository import Blobs, File, check_scope, documents_of, file_named, lists_file, path_below, unpacked

PUBLIC_API, PUBLIC_PAGES = "https://api.github.com", "https://github.com"
VERSION = "2022-11-28"
ACCEPT = ("application/vnd.github+json", "application/json")
OBJECT = ("application/vnd.github.object+json", "application/json")
"""What is at a path always as an object, where folders would be lists, and files above 1 MB refused."""

HEADERS = {"X-GitHub-Api-Version": VERSION}
PER_PAGE = 100
MOST_PAGES = 10
BLOB = "blob"


class _Entry(BaseModel):
    path: str
    mode: str = ""
    type: str
    sha: str


class _Tree(BaseModel):
    tree: list[_Entry]
    truncated: bool


class _Blob(BaseModel):
    content: str
    encoding: str


class _Contents(BaseModel):
    type: str
    content: str = ""
    encoding: str = ""


class _Issue(BaseModel):
    number: int
    title: str
    body: str | None = None
    html_url: str


class _Issues(BaseModel):
    """A bare list of the API's, which `read_as` has no word for."""

    issues: list[_Issue]


class _Repository(BaseModel):
    full_name: str


class GitHubLibrary:
    """One repository: the files below `path` at `ref`, and the open issues and pull requests with `label`."""

    def __init__(self, options: SpecSourceOptions, fetcher: Fetcher) -> None:
        check_scope(options)
        self._options = options
        self._fetcher = fetcher
        self._repository = (options.repository or "").strip("/")
        self._api = f"{api_of(options)}/repos/{self._repository}"
        self._pages = httpx.URL(options.url or PUBLIC_PAGES)
        self._blobs = Blobs()

    @property
    def place(self) -> str:
        """The repository."""
        return f"{self._pages.host}/{self._repository}"

    def has(self, address: httpx.URL) -> bool:
        """Whether it is a file, an issue or a pull request of the repository."""
        parts = path_below(address, self._pages, self._repository)
        return parts is not None and len(parts) > 1 and parts[0] in ("blob", "issues", "pull")

    async def documents(self, _flag: str | None) -> Sequence[Document]:
        """Every file that may be a spec, and every issue that is labelled as one."""
        found = list[Document]()
        if self._options.path is not None:
            found += await documents_of(await self._files(), self._options.path, self.place, self._blobs, self._blob)
        if self._options.label is not None:
            found += map(_of_issue, await self._labelled(self._options.label))
        return found

    def lists(self, address: httpx.URL) -> bool:
        """Whether it is such a file, or, beside files, an issue or a pull request, which may be labelled as a spec."""
        kind, *rest = path_below(address, self._pages, self._repository) or ("",)
        if kind in ("issues", "pull"):
            return self._options.path is not None and self._options.label is not None
        return kind == "blob" and lists_file(self._options, rest)

    async def apis(self) -> Sequence[Document]:
        """Every file that may be an OpenAPI."""
        if self._options.path is None:
            return []
        files = await self._files()
        return await documents_of(files, self._options.path, self.place, self._blobs, self._blob, apis=True)

    async def document(self, address: httpx.URL) -> Document:
        """The file, issue or pull request at that address."""
        parts = path_below(address, self._pages, self._repository) or ()
        if len(parts) > 1 and parts[0] in ("issues", "pull"):
            return await self._issue(parts)
        named = file_named(parts[1:], self._options.ref)
        if named is None:
            raise SpecNotFound(f"{self.place} has no file at such an address.")
        ref, path = named
        url = f"{self._api}/contents/{quoted(path)}"
        found, _ = await read_as(self._fetcher, _Contents, url, query={"ref": ref}, accept=OBJECT)
        content = unpacked(found.content) if found.type == "file" and found.encoding == "base64" else None
        if content is None:
            return Document(str(address), problem="it is no file, or larger than 1 MB")
        document = await document_read(str(address), content, path=path)
        return document or Document(str(address), problem="it is neither Markdown nor an OpenAPI")

    async def check(self) -> None:
        """Return when the repository can be read."""
        await self._read(_Repository, "")
        if self._options.path is not None:
            await self._files()

    async def _files(self) -> list[File]:
        ref = self._options.ref or "HEAD"
        found, _ = await self._read(_Tree, f"/git/trees/{quote(ref, safe='')}", {"recursive": "1"})
        if found.truncated:
            raise SpecSourceUnavailable(
                f"{self.place} has more files than GitHub lists at once; keep specs in a repository of their own."
            )
        root = f"{str(self._pages).rstrip('/')}/{self._repository}/blob/{quoted(ref)}"
        return [
            File(one.path, one.sha, f"{root}/{quoted(one.path)}")
            for one in found.tree
            # A link's blob is a path, which is followed nowhere.
            if one.type == BLOB and one.mode != "120000"
        ]

    async def _blob(self, sha: str) -> bytes:
        found, _ = await self._read(_Blob, f"/git/blobs/{quote(sha, safe='')}")
        content = unpacked(found.content) if found.encoding == "base64" else None
        if content is None:
            raise SpecSourceUnavailable(
                f"{self.place} gives a file in a way that can't be read; see whether it is text."
            )
        return content

    async def _labelled(self, label: str) -> list[_Issue]:
        found = list[_Issue]()
        for page in range(1, MOST_PAGES + 1):
            query = {"labels": label, "state": "open", "per_page": str(PER_PAGE), "page": str(page)}
            issues = await self._list("/issues", query)
            found += issues
            if len(issues) < PER_PAGE:
                return found
        check_count(PER_PAGE * MOST_PAGES + 1, f"the label {label!r} in {self.place}")
        return found

    async def _issue(self, parts: Sequence[str]) -> Document:
        if re.fullmatch(r"[0-9]{1,18}", parts[1]) is None:
            raise SpecNotFound(f"{self.place} has no issue at such an address.")
        kind = "issues" if parts[0] == "issues" else "pulls"
        found, _ = await self._read(_Issue, f"/{kind}/{parts[1]}")
        # GitHub redirects to where an issue was transferred to, which the token may see and the settings do not name.
        where = parsed(found.html_url)
        if where is None or path_below(where, self._pages, self._repository) is None:
            raise SpecNotFound(
                f"What was at that address of {self.place} is in another repository now, or the repository has another "
                "name: name it by its address there, and the repository in the source's settings."
            )
        return _of_issue(found)

    async def _list(self, path: str, query: Mapping[str, str]) -> list[_Issue]:
        fetched = await self._fetcher.get(self._api + path, accept=ACCEPT, query=query)
        try:
            return _Issues.model_validate_json(b'{"issues":' + fetched.body + b"}").issues
        except ValueError:
            raise SpecSourceUnavailable(
                f"{self.place} did not list its issues; see whether its url is right."
            ) from None

    async def _read(
        self, model: type[Any], path: str, query: Mapping[str, str] | None = None
    ) -> tuple[Any, httpx.Headers]:
        return await read_as(self._fetcher, model, self._api + path, query=query, accept=ACCEPT)


def api_of(options: SpecSourceOptions) -> str:
    """Where the API is: GitHub's own, or that of an Enterprise Server."""
    return PUBLIC_API if options.url in (None, PUBLIC_PAGES) else f"{options.url}/api/v3"


def _of_issue(issue: _Issue) -> Document:
    body = (issue.body or "").replace("\r\n", "\n")
    return Document(issue.html_url, content=body.encode(), title=issue.title, fenced=True)
