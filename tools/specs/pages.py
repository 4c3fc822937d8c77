"""Specs at https addresses: pages, Markdown and OpenAPI documents, on the hosts that the settings name."""

from collections.abc import Sequence

import httpx

from tools.specs.base import SpecNotFound, SpecSourceUnavailable
from tools.specs.documents import READABLE, document_read, may_be_api
from tools.specs.fetching import Fetcher
from tools.specs.markdown import Document
from tools.specs.options import BadSpecSource, SpecSourceOptions
from tools.specs.remote import all_of, named_documents, parsed


class PageLibrary:
    """The documents at `pages`, and, where somebody names one, at any address of `hosts`."""

    def __init__(self, options: SpecSourceOptions, fetcher: Fetcher) -> None:
        if not hosts_of(options):
            raise BadSpecSource(
                "Name the pages that are specs, or the hosts whose pages people may name.", field="pages"
            )
        if options.url is None and (options.token is not None or options.token_file is not None):
            raise BadSpecSource(
                "A token is sent to the source's url alone, and there is none: set it, or leave the token out.",
                field="url",
            )
        self._pages = options.pages
        self._fetcher = fetcher

    @property
    def place(self) -> str:
        """Its hosts."""
        return ", ".join(self._fetcher.bounds.hosts)

    def has(self, address: httpx.URL) -> bool:
        """Whether it is on one of the hosts, at a port that they may be asked at."""
        bounds = self._fetcher.bounds
        return bounds.allow(address.host) and bounds.allow_port(address) and not address.userinfo

    async def documents(self, _flag: str | None) -> Sequence[Document]:
        """Every page that is named."""
        return await named_documents(self, self._pages)

    def lists(self, address: httpx.URL) -> bool:
        """Whether it is a page that is named."""
        return address in map(parsed, self._pages)

    async def apis(self) -> Sequence[Document]:
        """Every page that is not by its name something else than an OpenAPI; one that can't be read is a problem."""

        async def one(page: str) -> Document:
            try:
                return await self.document(httpx.URL(page))
            except (SpecNotFound, SpecSourceUnavailable) as error:
                away = isinstance(error, SpecSourceUnavailable)
                return Document(str(httpx.URL(page)), problem=str(error).rstrip("."), away=away)

        return await all_of(one(page) for page in self._pages if may_be_api(httpx.URL(page).path))

    async def document(self, address: httpx.URL) -> Document:
        """The document at that address."""
        fetched = await self._fetcher.get(address, accept=READABLE)
        document = await document_read(str(address), fetched.body, media_type=fetched.media_type, fenced=True)
        return document or Document(str(address), problem="it is data that is no OpenAPI")

    async def check(self) -> None:
        """Return when every page can be read."""
        await all_of(self.document(httpx.URL(page)) for page in self._pages)


def hosts_of(options: SpecSourceOptions) -> tuple[str, ...]:
    """The hosts that are named, and those of the pages."""
    found = list(options.hosts)
    for page in (*options.pages, *options.flags.values()):
        url = parsed(page)
        if url is None or (url.scheme != "https" and not options.networks):
            raise BadSpecSource(
                "Pages are named by addresses such as https://specs.example.com/checkout.", field="pages"
            )
        found.append(url.host)
    if options.url is not None:
        found.append(httpx.URL(options.url).host)
    return tuple(dict.fromkeys(found))
