"""The flag services under the contract: a new vendor adds one entry to `SUBJECTS`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools.clock import SystemClock
from tools.flags.base import FlagRef, FlagService
from tools.flags.embedded import EmbeddedFlagService
from tools.flags.memory import MemoryFlagService
from tools.records.database import Database
from tools.records.migrate import migrate


@dataclass(frozen=True)
class Subject:
    """A service, and how a flag nobody is exposed to comes to be in it, with variants old and new."""

    service: FlagService
    create: Callable[[FlagRef], Awaitable[None]]


Opener = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Subject]]


def memory(*, compare_and_set: bool) -> Opener:
    @asynccontextmanager
    async def open_subject(_request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
        service = MemoryFlagService(compare_and_set=compare_and_set)
        yield Subject(service, lambda ref: service.define(ref, "old", "new"))

    return open_subject


def embedded(url_of: Callable[[pytest.FixtureRequest], str]) -> Opener:
    @asynccontextmanager
    async def open_subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
        database = Database(url_of(request))
        await migrate(database)
        service = EmbeddedFlagService(database, SystemClock())
        yield Subject(service, lambda ref: service.define(ref, "old", "new"))
        await database.close()

    return open_subject


def sqlite_file(request: pytest.FixtureRequest) -> str:
    directory: Path = request.getfixturevalue("tmp_path")
    return f"sqlite:///{directory / 'flags.sqlite'}"


def postgres(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("postgres_url")
    return url


SUBJECTS = {
    "memory": memory(compare_and_set=True),
    "memory-without-compare-and-set": memory(compare_and_set=False),
    "embedded-sqlite": embedded(sqlite_file),
    "embedded-sqlite-memory": embedded(lambda _request: "sqlite://"),
    "embedded-postgres": embedded(postgres),
}


@pytest.fixture(params=SUBJECTS)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with SUBJECTS[request.param](request) as opened:
        yield opened
