"""Specs in Jira and Confluence, of Atlassian's cloud or one's own Data Center.

Protocols: Jira Cloud REST v3 (`/rest/api/3/search/jql`, `/rest/api/3/issue`) and Data Center's v2
(`/rest/api/2/search`), with `expand=renderedFields`; Confluence Cloud REST v2 (`/wiki/api/v2`) and Data Center's
`/rest/api/content`, whose bodies are in the storage format. developer.atlassian.com. The cloud takes a user's e-mail
address and API token (RFC 7617), Data Center a personal access token.
"""

import asyncio
import base64
import re
from collections.abc import Sequence
from typing import Any

import httpx
from pydantic import BaseModel, Field

from tools.specs.base import SpecNotFound
from tools.specs.documents import page_document, page_read
from tools.specs.fetching import Fetcher, bearer
from tools.specs.markdown import Document
from tools.specs.options import BadSpecSource, SpecSourceOptions
from tools.specs.page import PageUnreadable, read_confluence
from tools.specs.remote import all_of, check_count, named_documents, parsed, read_as

PER_PAGE = 50
MOST_PAGES = 20
_KEY = re.compile(r"[A-Z][A-Z0-9_]{1,50}-\d{1,10}")


class _Rendered(BaseModel):
    description: str | None = None


class _Issue(BaseModel):
    key: str
    fields: dict[str, Any] = Field(default_factory=dict)
    rendered: _Rendered = Field(default_factory=_Rendered, alias="renderedFields")


class _Issues(BaseModel):
    """Cloud says `isLast` and `nextPageToken`, Data Center `total`."""

    issues: list[_Issue]
    next_token: str | None = Field(default=None, alias="nextPageToken")
    is_last: bool | None = Field(default=None, alias="isLast")
    total: int | None = None


class _Me(BaseModel):
    active: bool = True


class JiraLibrary:
    """The issues that `jql` finds, and any that somebody names; the description is the spec."""

    def __init__(self, options: SpecSourceOptions, fetcher: Fetcher) -> None:
        self._url = options.needs("url", "https://acme.atlassian.net")
        self._pages = httpx.URL(self._url)
        self._jql = options.jql
        self._cloud = not options.data_center
        self._api = f"{self._url}/rest/api/{3 if self._cloud else 2}"
        self._fetcher = fetcher

    @property
    def place(self) -> str:
        """The site."""
        return f"Jira at {self._pages.host}"

    def has(self, address: httpx.URL) -> bool:
        """Whether it is an issue of the site."""
        return self._key(address) is not None

    async def documents(self, _flag: str | None) -> Sequence[Document]:
        """Every issue that the search finds."""
        if self._jql is None:
            return []
        found = list[_Issue]()
        token: str | None = None
        for _ in range(MOST_PAGES):
            query = {"jql": self._jql, "expand": "renderedFields", "maxResults": str(PER_PAGE)}
            if self._cloud:
                query |= {} if token is None else {"nextPageToken": token}
            else:
                query |= {"startAt": str(len(found))}
            page, _ = await read_as(self._fetcher, _Issues, self._api + self._search, query=query | self._fields)
            found += page.issues
            token = page.next_token
            # Either says that it was the last page; a token that leads back to it would be followed for ever.
            ended = (page.is_last or token is None) if self._cloud else len(found) >= (page.total or 0)
            if not page.issues or ended:
                return await asyncio.to_thread(list, map(self._document, found))
        check_count(PER_PAGE * MOST_PAGES + 1, f"the jql in {self.place}")
        return []

    async def document(self, address: httpx.URL) -> Document:
        """The issue at that address."""
        key = self._key(address)
        if key is None:
            raise SpecNotFound(f"{self.place} has no issue at such an address.")
        query = {"expand": "renderedFields"} | self._fields
        found, _ = await read_as(self._fetcher, _Issue, f"{self._api}/issue/{key}", query=query)
        return await asyncio.to_thread(self._document, found)

    async def check(self) -> None:
        """Return when issues can be read."""
        await read_as(self._fetcher, _Me, f"{self._api}/myself")
        if self._jql is not None:
            query = {"jql": self._jql, "maxResults": "1"} | self._fields
            await read_as(self._fetcher, _Issues, self._api + self._search, query=query)

    @property
    def _search(self) -> str:
        return "/search/jql" if self._cloud else "/search"

    @property
    def _fields(self) -> dict[str, str]:
        return {"fields": "summary,description"}

    def _key(self, address: httpx.URL) -> str | None:
        root = self._pages.path.rstrip("/")
        same = (address.scheme, address.host, address.port) == (self._pages.scheme, self._pages.host, self._pages.port)
        key = address.path.removeprefix(f"{root}/browse/")
        return key if same and key != address.path and _KEY.fullmatch(key) else None

    def _document(self, issue: _Issue) -> Document:
        title = str(issue.fields.get("summary") or "") or None
        return page_document(f"{self._url}/browse/{issue.key}", issue.rendered.description or "", title=title)


class _Storage(BaseModel):
    value: str = ""


class _Body(BaseModel):
    storage: _Storage = Field(default_factory=_Storage)


class _Page(BaseModel):
    id: str
    title: str
    status: str = "current"
    body: _Body = Field(default_factory=_Body)
    links: dict[str, str] = Field(default_factory=dict, alias="_links")


class _Pages(BaseModel):
    results: list[_Page]
    links: dict[str, str] = Field(default_factory=dict, alias="_links")


class _Space(BaseModel):
    id: str
    key: str


class _Spaces(BaseModel):
    results: list[_Space]


class ConfluenceLibrary:
    """The pages of a space, those that are named, and any that somebody names."""

    def __init__(self, options: SpecSourceOptions, fetcher: Fetcher) -> None:
        self._cloud = not options.data_center
        url = options.needs("url", "https://acme.atlassian.net").removesuffix("/wiki")
        self._root = f"{url}/wiki" if self._cloud else url
        self._pages = httpx.URL(self._root)
        self._space = options.space
        self._named = options.pages
        self._fetcher = fetcher
        for page in self._named:
            if (address := parsed(page)) is None or not self.has(address):
                raise BadSpecSource(
                    f"A page of Confluence is named by its address, such as {self._root}/spaces/ENG/pages/12345/A.",
                    field="pages",
                )

    @property
    def place(self) -> str:
        """The site."""
        return f"Confluence at {self._pages.host}"

    def has(self, address: httpx.URL) -> bool:
        """Whether it is a page of the site."""
        return self._id(address) is not None

    async def documents(self, _flag: str | None) -> Sequence[Document]:
        """Every page of the space, and those that are named."""
        pages = [] if self._space is None else await self._of_space(self._space)
        found = await asyncio.to_thread(list, map(self._document, pages))
        return found + await named_documents(self, self._named)

    async def document(self, address: httpx.URL) -> Document:
        """The page at that address."""
        page_id = self._id(address)
        if page_id is None:
            raise SpecNotFound(f"{self.place} has no page at such an address.")
        if self._cloud:
            found, _ = await read_as(
                self._fetcher, _Page, f"{self._root}/api/v2/pages/{page_id}", query={"body-format": "storage"}
            )
        else:
            found, _ = await read_as(
                self._fetcher, _Page, f"{self._root}/rest/api/content/{page_id}", query={"expand": "body.storage"}
            )
        if found.status != "current":
            raise SpecNotFound(f"The page of {self.place} at that address is {found.status}.")
        return await asyncio.to_thread(self._document, found)

    async def check(self) -> None:
        """Return when pages can be read."""
        if self._space is not None and self._cloud:
            await self._space_id(self._space)
        elif self._space is not None:
            query = {"spaceKey": self._space, "type": "page", "limit": "1"}
            await read_as(self._fetcher, _Pages, f"{self._root}/rest/api/content", query=query)
        await all_of(self.document(httpx.URL(page)) for page in self._named)

    async def _of_space(self, space: str) -> list[_Page]:
        if self._cloud:
            url = f"{self._root}/api/v2/spaces/{await self._space_id(space)}/pages"
            query = {"body-format": "storage", "status": "current", "limit": str(PER_PAGE)}
        else:
            url = f"{self._root}/rest/api/content"
            query = {"spaceKey": space, "type": "page", "expand": "body.storage", "limit": str(PER_PAGE)}
        found = list[_Page]()
        following: httpx.URL | str | None = url
        for _ in range(MOST_PAGES):
            page, _headers = await read_as(self._fetcher, _Pages, following or url, query=query)
            found += page.results
            if "next" not in page.links:
                return found
            # The rest of the address is the site's own, whatever host the answer names.
            following, query = self._pages.join(httpx.URL(page.links["next"]).raw_path.decode()), {}
            if not self._cloud and not following.path.startswith(f"{self._pages.path.rstrip('/')}/"):
                following = httpx.URL(f"{self._root}{following.raw_path.decode()}")
        check_count(PER_PAGE * MOST_PAGES + 1, f"the space {space} of {self.place}")
        return found

    async def _space_id(self, key: str) -> str:
        found, _ = await read_as(self._fetcher, _Spaces, f"{self._root}/api/v2/spaces", query={"keys": key})
        for space in found.results:
            if space.key == key:
                return space.id
        raise SpecNotFound(f"{self.place} has no space {key!r}, or does not show it to this token.")

    def _id(self, address: httpx.URL) -> str | None:
        """A page's id, from `…/pages/12345/Title` or `…?pageId=12345`."""
        same = (address.scheme, address.host, address.port) == (self._pages.scheme, self._pages.host, self._pages.port)
        root = self._pages.path.rstrip("/")
        if not same or not address.path.startswith(f"{root}/"):
            return None
        found = re.search(r"/pages/(\d+)(?:/|$)", address.path)
        page_id = found[1] if found else address.params.get("pageId", "")
        return page_id if page_id.isdecimal() else None

    def _document(self, page: _Page) -> Document:
        default = f"/pages/viewpage.action?pageId={page.id}"
        source = f"{self._root}{page.links.get('webui', default)}"
        if (address := parsed(source)) is None or self._id(address) != page.id:
            source = f"{self._root}{default}"
        try:
            read = read_confluence(page.body.storage.value)
        except PageUnreadable as error:
            return Document(source, problem=str(error))
        return page_read(source, read, title=page.title)


def authorization(options: SpecSourceOptions, token: str) -> dict[str, str]:
    """How a token is shown: with the user that it is of, or by itself."""
    if options.user is None:
        return bearer(token)
    pair = base64.b64encode(f"{options.user}:{token}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}
