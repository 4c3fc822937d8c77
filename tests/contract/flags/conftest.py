"""The flag services under the contract: a new vendor adds one entry to `SUBJECTS`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.contract.flags.fake_unleash import TOKEN, FakeUnleash
from tests.unleash import named_unleash
from tools.clock import SystemClock
from tools.flags.base import FlagRef, FlagService
from tools.flags.embedded import EmbeddedFlagService
from tools.flags.memory import MemoryFlagService
from tools.flags.unleash.options import UnleashOptions
from tools.flags.unleash.service import UnleashFlagService
from tools.records.database import Database
from tools.records.migrate import migrate


@dataclass(frozen=True)
class Subject:
    """A service, and how a flag nobody is exposed to comes to be in it, with variants old and new."""

    service: FlagService
    create: Callable[[FlagRef], Awaitable[None]]
    everywhere: bool = False
    """Whether a flag that is made is in each environment."""


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


def unleash_options(url: str, token: str) -> UnleashOptions:
    """Unleash with the contract's words: its open source has two environments, and no others can be made."""
    return UnleashOptions(
        url=url,
        token=SecretStr(token),
        environments={"staging": "development"},
        control="old",
        treatment="new",
        shadow_variant="shadow",
    )


@asynccontextmanager
async def fake_unleash(_request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    server = FakeUnleash()
    options = unleash_options("https://unleash.example.com", TOKEN)
    service = UnleashFlagService(options, timeout=timedelta(seconds=10), transport=server)

    async def create(ref: FlagRef) -> None:
        server.define(ref.flag)

    yield Subject(service, create, everywhere=True)
    await service.close()


@asynccontextmanager
async def real_unleash(_request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with named_unleash() as server:
        service = UnleashFlagService(unleash_options(server.url, server.admin_token), timeout=timedelta(seconds=30))
        yield Subject(service, lambda ref: server.define(ref.flag), everywhere=True)
        await service.close()


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
    "unleash-fake": fake_unleash,
    "unleash": real_unleash,
}
REAL = ("unleash",)


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.real] * (name in REAL)) for name in SUBJECTS])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with SUBJECTS[request.param](request) as opened:
        yield opened
