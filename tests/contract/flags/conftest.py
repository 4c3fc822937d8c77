"""The flag services under the contract: a new vendor adds one entry to `SUBJECTS`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.contract.flags.fake_flagsmith import PROJECT as FLAGSMITH_PROJECT
from tests.contract.flags.fake_flagsmith import TOKEN as FLAGSMITH_TOKEN
from tests.contract.flags.fake_flagsmith import FakeFlagsmith
from tests.contract.flags.fake_growthbook import TOKEN as GROWTHBOOK_TOKEN
from tests.contract.flags.fake_growthbook import FakeGrowthBook
from tests.contract.flags.fake_launchdarkly import TOKEN as LAUNCHDARKLY_TOKEN
from tests.contract.flags.fake_launchdarkly import FakeLaunchDarkly
from tests.contract.flags.fake_unleash import TOKEN, FakeUnleash
from tests.flag_files import FlagFiles
from tests.unleash import named_unleash
from tools.clock import SystemClock
from tools.flags.base import FlagRef, FlagService
from tools.flags.embedded import EmbeddedFlagService
from tools.flags.files.flagd import Flagd
from tools.flags.files.gofeatureflag import GoFeatureFlag
from tools.flags.flagsmith.options import FlagsmithOptions
from tools.flags.flagsmith.service import FlagsmithFlagService
from tools.flags.growthbook.options import GrowthBookOptions
from tools.flags.growthbook.service import GrowthBookFlagService
from tools.flags.launchdarkly.options import LaunchDarklyOptions
from tools.flags.launchdarkly.service import LaunchDarklyFlagService
from tools.flags.memory import MemoryFlagService
from tools.flags.unleash.options import UnleashOptions
from tools.flags.unleash.service import UnleashFlagService
from tools.records.database import Database
from tools.records.migrate import migrate


@dataclass(frozen=True)
class Subject:
    """A service, and how a flag nobody is exposed to comes to be in it, with variants old and new.

    `finest` is the least share, in percent, that those who evaluate its flags tell from none and from twice as much.
    """

    service: FlagService
    create: Callable[[FlagRef], Awaitable[None]]
    finest: float
    everywhere: bool = False
    """Whether a flag that is made is in each environment."""
    fences: bool = True
    """Whether a write that leaves the exposure as it is makes a new version too."""
    compares: bool = True
    """Whether a write that exposes anybody is refused for another version; not where a vendor that carries out writes
    late is simulated."""
    delete_once_told: Callable[[str], None] | None = None
    """Has a flag deleted by other hands right after the next answer that names it; None where a list is one answer."""


Opener = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Subject]]


def deleting_once_told(
    server: FakeUnleash | FakeLaunchDarkly | FakeFlagsmith | FakeGrowthBook, kept: dict[str, Any]
) -> Callable[[str], None]:
    """A hand that deletes a flag of the server right after an answer that names it."""

    def soon(flag: str) -> None:
        async def watched(request: httpx.Request) -> httpx.Response:
            answer = await server.really(request)
            if flag.encode() in await answer.aread():
                kept.pop(flag, None)
            return answer

        server.went_wrong = [watched] * 2

    return soon


def memory(*, compare_and_set: bool) -> Opener:
    @asynccontextmanager
    async def open_subject(_request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
        service = MemoryFlagService(compare_and_set=compare_and_set)

        async def create(ref: FlagRef) -> None:
            await service.define(ref, "old", "new")

        yield Subject(service, create, finest=0.001, compares=compare_and_set)

    return open_subject


def embedded(url_of: Callable[[pytest.FixtureRequest], str]) -> Opener:
    @asynccontextmanager
    async def open_subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
        database = Database(url_of(request))
        await migrate(database)
        service = EmbeddedFlagService(database, SystemClock())
        yield Subject(service, lambda ref: service.define(ref, "old", "new"), finest=0.001)
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

    yield Subject(service, create, finest=1, everywhere=True, delete_once_told=deleting_once_told(server, server.flags))
    await service.close()


@asynccontextmanager
async def real_unleash(_request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with named_unleash() as server:
        service = UnleashFlagService(unleash_options(server.url, server.admin_token), timeout=timedelta(seconds=30))
        yield Subject(service, lambda ref: server.define(ref.flag), finest=1, everywhere=True)
        await service.close()


def flags_in_files(suffix: str, kind: type[Flagd] | type[GoFeatureFlag]) -> Opener:
    """A file for each environment, beside which people may have flags of their own."""

    @asynccontextmanager
    async def open_subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
        folder: Path = request.getfixturevalue("tmp_path")
        files = FlagFiles(folder, suffix, kind)
        files.without_flags()
        service = files.service(control="old", treatment="new")

        async def create(ref: FlagRef) -> None:
            files.define(ref)

        yield Subject(service, create, finest=0.001)

    return open_subject


def launchdarkly_options(**changes: object) -> LaunchDarklyOptions:
    """LaunchDarkly with a variation for shadow stages."""
    options = LaunchDarklyOptions(token=SecretStr(LAUNCHDARKLY_TOKEN), shadow_variation="shadow")
    return options.model_copy(update=changes)


def fake_launchdarkly(*, compare_and_set: bool) -> Opener:
    @asynccontextmanager
    async def open_subject(_request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
        server = FakeLaunchDarkly()
        options = launchdarkly_options(compare_and_set=compare_and_set)
        service = LaunchDarklyFlagService(options, timeout=timedelta(seconds=10), transport=server)

        async def create(ref: FlagRef) -> None:
            server.define(ref.flag)

        delete = deleting_once_told(server, server.flags)
        yield Subject(service, create, finest=0.001, everywhere=True, delete_once_told=delete)
        await service.close()

    return open_subject


def flagsmith_options(**changes: object) -> FlagsmithOptions:
    """Flagsmith with a variant for shadow stages."""
    options = FlagsmithOptions(project=FLAGSMITH_PROJECT, token=SecretStr(FLAGSMITH_TOKEN), shadow_variant="shadow")
    return options.model_copy(update=changes)


@asynccontextmanager
async def fake_flagsmith(_request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    server = FakeFlagsmith()
    service = FlagsmithFlagService(flagsmith_options(), timeout=timedelta(seconds=10), transport=server)

    async def create(ref: FlagRef) -> None:
        server.define(ref.flag)

    delete = deleting_once_told(server, server.features)
    yield Subject(service, create, finest=0.01, everywhere=True, fences=False, delete_once_told=delete)
    await service.close()


def growthbook_options(**changes: object) -> GrowthBookOptions:
    """GrowthBook with the contract's words, and a value for shadow stages."""
    options = GrowthBookOptions(token=SecretStr(GROWTHBOOK_TOKEN), treatment="new", shadow_value="shadow")
    return options.model_copy(update=changes)


@asynccontextmanager
async def fake_growthbook(_request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    server = FakeGrowthBook()
    service = GrowthBookFlagService(growthbook_options(), timeout=timedelta(seconds=10), transport=server)

    async def create(ref: FlagRef) -> None:
        server.define(ref.flag)

    delete = deleting_once_told(server, server.live)
    yield Subject(service, create, finest=0.1, everywhere=True, delete_once_told=delete)
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
    "launchdarkly-fake": fake_launchdarkly(compare_and_set=True),
    "flagsmith-fake": fake_flagsmith,
    "growthbook-fake": fake_growthbook,
    "launchdarkly-fake-semantic": fake_launchdarkly(compare_and_set=False),
    "flagd-json": flags_in_files(".json", Flagd),
    "flagd-yaml": flags_in_files(".yaml", Flagd),
    "gofeatureflag-json": flags_in_files(".json", GoFeatureFlag),
    "gofeatureflag-yaml": flags_in_files(".yaml", GoFeatureFlag),
    "unleash": real_unleash,
}
REAL = ("unleash",)


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.real] * (name in REAL)) for name in SUBJECTS])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with SUBJECTS[request.param](request) as opened:
        yield opened
