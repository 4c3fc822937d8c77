"""A spec source somewhere else: a vendor's library of documents, understood as a folder's files are."""

import asyncio
import inspect
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import httpx
import structlog
from pydantic import BaseModel, ValidationError

from tools.clock import Clock
from tools.specs.addresses import stays
from tools.specs.base import InvalidSpec, Spec, SpecNotFound, SpecSourceUnavailable
from tools.specs.fetching import Fetcher
from tools.specs.markdown import Document, pick, shelve
from tools.specs.neighbours import Listing, Neighbours

READING_S = 90.0
"""How long all requests of one look at a library may take."""
LISTED_FOR = timedelta(minutes=1)
"""How long a listing is good enough to suggest names from; a spec itself is read afresh each time."""
AT_ONCE = 4
JSON = ("application/json",)
MOST_DOCUMENTS = 1_000
LONGEST_ADDRESS = 1_000
SPEC_NOT_UNDERSTOOD = "spec_not_understood"

log = structlog.get_logger(__name__)

Model = TypeVar("Model", bound=BaseModel)
Read = TypeVar("Read")


class Library(Protocol):
    """A vendor's documents. `place` is what people call it."""

    @property
    def place(self) -> str: ...

    def has(self, address: httpx.URL) -> bool:
        """Whether the library has documents at such addresses."""
        ...

    async def documents(self, flag: str | None) -> Sequence[Document]:
        """Those that may be specs; where only one flag's are wanted, the others' may be left out."""
        ...

    async def document(self, address: httpx.URL) -> Document:
        """The document at that address. Raises SpecNotFound, SpecSourceUnavailable."""
        ...

    async def check(self) -> None:
        """Return when documents can be read. Raises SpecSourceUnavailable."""
        ...


class RemoteSpecSource:
    """A library as a spec source. `flags` has the address of each flag's document that is named in the settings."""

    def __init__(self, library: Library, fetcher: Fetcher, flags: Mapping[str, str], clock: Clock) -> None:
        self._library = library
        self._fetcher = fetcher
        self._flags = dict(flags)
        self._clock = clock
        self._listed: tuple[datetime, list[str]] | None = None
        self._neighbours = Neighbours(library, clock, self._within) if isinstance(library, Listing) else None

    async def read(self, flag: str) -> Spec:
        """The spec of a flag. Raises SpecNotFound, InvalidSpec, SpecSourceUnavailable."""
        if flag in self._flags:
            return self._alone(await self._document(self._flags[flag]), flag)
        return pick(flag, shelve(await self._documents(flag)), place=self._library.place)

    async def list(self) -> Sequence[str]:
        """The flags that have a spec, by name, as they were a minute ago at most."""
        now = self._clock.now()
        if self._listed is None or not now - LISTED_FOR < self._listed[0] <= now:
            shelf = shelve(await self._documents(None))
            for sentence in shelf.broken:
                log.warning(SPEC_NOT_UNDERSTOOD, problem=sentence)
            self._listed = now, sorted({*shelf.by_flag, *self._flags})
        return list(self._listed[1])

    async def check(self) -> None:
        """Return when the library can be read. Raises SpecSourceUnavailable saying what to do."""
        try:
            await self._within(self._library.check())
        except SpecNotFound as error:
            raise SpecSourceUnavailable(str(error)) from None

    def has(self, address: str) -> bool:
        """Whether that is the address of a document of this library."""
        url = parsed(address)
        return url is not None and self._library.has(url)

    def lists(self, address: str, flag: str) -> bool:
        """Whether a look through the library finds what is at that address, as far as can be told without asking."""
        url = parsed(address)
        if flag in self._flags:
            return url == parsed(self._flags[flag])
        return url is not None and isinstance(self._library, Listing) and self._library.lists(url)

    async def read_at(self, address: str, flag: str) -> Spec:
        """The flag's spec at that address. Raises SpecNotFound, InvalidSpec, SpecSourceUnavailable."""
        document = await self._document(address)
        found = self._alone(document, flag)
        # What the settings name for a flag is all of its spec.
        if flag in self._flags or not self.lists(found.source, flag):
            return found
        return await self._with_neighbours(document, flag, found)

    async def close(self) -> None:
        """Close every connection."""
        if self._neighbours is not None:
            await self._neighbours.close()
        await self._fetcher.close()

    async def _documents(self, flag: str | None) -> Sequence[Document]:
        documents = await self._within(self._library.documents(flag))
        if self._neighbours is not None:
            self._neighbours.note(documents)
        return documents

    async def _document(self, address: str) -> Document:
        url = parsed(address)
        if url is None or not self._library.has(url):
            raise SpecNotFound(f"{self._library.place} has no documents at such an address.")
        return await self._within(self._library.document(url))

    def _alone(self, document: Document, flag: str) -> Spec:
        if document.problem is not None:
            raise InvalidSpec(f"{document.source}: {document.problem}.")
        return pick(flag, shelve([replace(document, flag=flag)]), place=self._library.place)

    async def _with_neighbours(self, document: Document, flag: str, alone: Spec) -> Spec:
        """The spec of which the document is a part; `alone` where it is none, or nothing else is of it."""
        if self._neighbours is None or flag not in shelve([document]).by_flag:
            return alone
        addresses = await self._neighbours.of(document, flag)
        # Asked at once: a look that ends later has found what is not among these.
        whole = self._neighbours.is_known(document)
        others = [address for address in addresses if address != document.source]
        found = await self._within(named_documents(self._library, others))
        # Of several OpenAPI documents the one that is listed first is the spec.
        found.insert(addresses.index(document.source) if document.source in addresses else 0, document)
        try:
            spec = pick(flag, shelve(found), place=self._library.place)
        except InvalidSpec:
            spec = alone
        return spec.model_copy(update={"whole": whole})

    async def _within(self, reading: Awaitable[Read]) -> Read:
        try:
            async with asyncio.timeout(READING_S):
                return await reading
        except TimeoutError:
            raise SpecSourceUnavailable(
                f"{self._library.place} could not be read within {READING_S:g} s; have Sluice read less of it."
            ) from None


def parsed(address: str) -> httpx.URL | None:
    """The address without its fragment; None for what is none, is longer than any that is kept, or leads elsewhere."""
    if len(address) > LONGEST_ADDRESS:
        return None
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        return None
    usable = url.host and url.scheme in ("https", "http") and stays(url)
    return url.copy_with(fragment=None) if usable else None


async def read_as(
    fetcher: Fetcher,
    model: type[Model],
    url: str | httpx.URL,
    *,
    query: Mapping[str, str] | None = None,
    body: object = None,
    form: Mapping[str, str] | None = None,
    accept: Sequence[str] = JSON,
) -> tuple[Model, httpx.Headers]:
    """The answer, checked, and its headers. Raises as the fetcher does."""
    fetched = await fetcher.get(url, accept=accept, query=query, body=body, form=form)
    try:
        return model.model_validate_json(fetched.body), fetched.headers
    except ValidationError:
        raise SpecSourceUnavailable(
            f"{fetched.url.host} answered something else than its API does; see whether the source's url is right."
        ) from None


async def all_of(readings: Iterable[Awaitable[Read]]) -> list[Read]:
    """Every reading's answer, a few at a time. Raises what the first that fails does."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(reading: Awaitable[Read]) -> Read:
        async with gate:
            return await reading

    begun = list(readings)
    tasks = [asyncio.ensure_future(one(reading)) for reading in begun]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        for reading in begun:
            # What was cancelled before its turn came would be complained of as never awaited.
            if inspect.iscoroutine(reading) and inspect.getcoroutinestate(reading) == inspect.CORO_CREATED:
                reading.close()


async def named_documents(library: Library, addresses: Sequence[str]) -> list[Document]:
    """The documents at those addresses; one that is gone is a problem of its own and not of the others."""

    async def one(address: str) -> Document:
        try:
            return await library.document(httpx.URL(address))
        except SpecNotFound as error:
            return Document(address, problem=str(error).rstrip("."))

    return await all_of(map(one, addresses))


def check_count(count: int, place: str) -> None:
    """Raise SpecSourceUnavailable for a library that holds more than anybody's specs."""
    if count > MOST_DOCUMENTS:
        raise SpecSourceUnavailable(f"{place} holds more than {MOST_DOCUMENTS} documents; name a part with only specs.")
