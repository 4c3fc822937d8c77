"""Which documents of a library are of the same flag, so that they are one spec: known from looks through all of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import httpx
import structlog

from tools.clock import Clock
from tools.specs.base import SpecSourceUnavailable
from tools.specs.markdown import Document, shelve

KNOWN_FOR = timedelta(minutes=5)
"""How long it is good enough to know who stands beside whom; the documents themselves are read afresh each time."""
TRIED_FOR = timedelta(minutes=1)
"""How long a library is left alone that could not be looked through, or not at all of it."""
PATIENCE_S = 2.0
"""How long a reading waits to know better; the look then goes on for those that come."""
NOT_LOOKED_THROUGH = "specs_not_looked_through"

log = structlog.get_logger(__name__)


@runtime_checkable
class Listing(Protocol):
    """A library in which OpenAPI documents may stand beside what people wrote."""

    def lists(self, address: httpx.URL) -> bool:
        """Whether `documents` has what is at that address, as far as can be told without asking."""
        ...

    async def documents(self, flag: str | None) -> Sequence[Document]:
        """All of them."""
        ...

    async def apis(self) -> Sequence[Document]:
        """Those among them that may be OpenAPI documents."""
        ...


class Neighbours:
    """Who stands beside whom in `library`. A look through it is one for all flags, and `within` bounds it."""

    def __init__(
        self,
        library: Listing,
        clock: Clock,
        within: Callable[[Awaitable[Sequence[Document]]], Awaitable[Sequence[Document]]],
    ) -> None:
        self._library = library
        self._clock = clock
        self._within = within
        self._is_api = dict[str, dict[str, bool]]()
        self._known = set[bool]()
        self._wholly = set[bool]()
        self._due = dict[bool, datetime]()
        self._looks = dict[bool, asyncio.Task[None]]()

    async def of(self, document: Document, flag: str) -> list[str]:
        """The addresses of the flag's documents, for one that people wrote only of OpenAPI documents.

        What was known before, where the library can't be looked through, or not in time.
        """
        whole = document.api is not None
        if self._clock.now() >= self._due.get(whole, self._clock.now()):
            await self._looked_through(whole)
        return [address for address, is_api in self._is_api.get(flag, {}).items() if is_api or whole]

    def is_known(self, document: Document) -> bool:
        """Whether all was looked through, at least once, for what may stand beside such a document."""
        return (document.api is not None) in self._wholly

    def note(self, documents: Sequence[Document], *, whole: bool = True) -> None:
        """Remember what a look found: at all documents, or else at OpenAPI documents alone."""
        unread = {document.source for document in documents if document.problem is not None}
        found = {
            flag: {document.source: document.api is not None for document in shelved}
            for flag, shelved in shelve(documents).by_flag.items()
        }
        for flag, known in self._is_api.items():
            for address, is_api in known.items():
                # What can't be read now is still there.
                if address in unread or not (whole or is_api):
                    found.setdefault(flag, {}).setdefault(address, is_api)
        self._is_api = found
        due = self._clock.now() + (TRIED_FOR if unread else KNOWN_FOR)
        kinds = (True, False) if whole else (False,)
        self._due |= dict.fromkeys(kinds, due)
        self._known.update(kinds)
        if not any(document.away for document in documents):
            self._wholly.update(kinds)

    async def close(self) -> None:
        """Look no further."""
        for task in self._looks.values():
            task.cancel()
        await asyncio.gather(*self._looks.values(), return_exceptions=True)

    async def _looked_through(self, whole: bool) -> None:
        task = self._looks.get(whole)
        if task is None or task.done():
            task = self._looks[whole] = asyncio.create_task(self._look(whole))
        try:
            # Before the first look nobody knows, and a document for which that matters would seem to have changed.
            async with asyncio.timeout(PATIENCE_S if whole in self._known else None):
                await asyncio.shield(task)
        except TimeoutError:
            log.warning(NOT_LOOKED_THROUGH, reason=f"it takes longer than {PATIENCE_S:g} s")

    async def _look(self, whole: bool) -> None:
        try:
            documents = await self._within(self._library.documents(None) if whole else self._library.apis())
        except SpecSourceUnavailable as error:
            self._due[whole] = self._clock.now() + TRIED_FOR
            log.warning(NOT_LOOKED_THROUGH, reason=str(error))
        else:
            self.note(documents, whole=whole)
