"""A service that reads flags from a file with flagd's OpenFeature provider, unmodified, while Sluice replaces it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent

from tests.flag_files import FlagFiles
from tools.flags.base import FlagRef, FlagServiceUnavailable
from tools.flags.files.flagd import Flagd
from tools.flags.files.service import FileFlagService
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

REF = FlagRef("checkout", "production")
POLL_MS = 20
SEEN_WITHIN_S = 10
DEFAULT = "code's default"


@pytest.fixture(params=[".json", ".yaml"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FlagFiles:
    made = FlagFiles(tmp_path, request.param, Flagd)
    made.define(REF)
    made.define(FlagRef("other", "production"))
    return made


@pytest.fixture
def service(files: FlagFiles) -> FileFlagService:
    return files.service(control="old", treatment="new")


class Sdk:
    """The provider, which looks for another file every POLL_MS, and what it says of it."""

    def __init__(self, path: Path) -> None:
        self.errors = list[str]()
        provider = FlagdProvider(
            resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=POLL_MS
        )
        api.set_provider_and_wait(provider)
        self._client = api.get_client()
        self._client.add_handler(ProviderEvent.PROVIDER_ERROR, self._failed)

    def _failed(self, event: EventDetails) -> None:
        self.errors.append(event.message or "")

    def variant(self, key: str | None, flag: str = REF.flag, **attributes: str) -> str | None:
        context = EvaluationContext(key, dict(attributes))
        return self._client.get_string_details(flag, DEFAULT, context).variant

    def exposed(self, keys: int, **attributes: str) -> set[str]:
        users = (f"user-{number}" for number in range(keys))
        return {user for user in users if self.variant(user, **attributes) in ("new", "shadow")}

    async def sees(self, condition: Callable[[], bool]) -> None:
        """Return once the provider has a file that meets the condition."""
        async with asyncio.timeout(SEEN_WITHIN_S):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(POLL_MS / 1000)


@pytest.fixture
async def sdk(files: FlagFiles) -> AsyncIterator[Sdk]:
    yield Sdk(files.path())
    api.shutdown()
    api.clear_providers()


async def _write(service: FileFlagService, exposure: Exposure) -> None:
    await service.write(REF, exposure, expected=(await service.read(REF)).version)


async def test_sees_each_change(service: FileFlagService, sdk: Sdk) -> None:
    for percent, variant in ((100, "new"), (0, "old"), (100, "new")):
        await _write(service, Exposure(percent=percent))
        await sdk.sees(lambda: sdk.variant("user-1") == variant)  # noqa: B023 - waited for within the turn
        assert sdk.variant("user-1", "other") == "old"


async def test_sees_the_last_of_changes_within_one_tick_of_its_clock(service: FileFlagService, sdk: Sdk) -> None:
    for _ in range(5):
        await _write(service, Exposure(percent=100))
        await _write(service, NOT_EXPOSED)
    await _write(service, Exposure(percent=100))
    await sdk.sees(lambda: sdk.variant(None) == "new")


async def test_a_quarter_of_an_audience_in_shadow_and_live(service: FileFlagService, sdk: Sdk) -> None:
    acme = Audience(tenants=("acme",))
    await _write(service, Exposure(percent=25, mode=Mode.SHADOW, audience=acme))
    await sdk.sees(lambda: len(sdk.exposed(100, tenant="acme")) > 5)
    shadowed = sdk.exposed(2_000, tenant="acme")
    assert len(shadowed) / 2_000 == pytest.approx(0.25, abs=0.03)
    assert sdk.variant(next(iter(shadowed)), tenant="acme") == "shadow"
    assert not sdk.exposed(100, tenant="globex")
    await _write(service, Exposure(percent=25, audience=acme))
    await sdk.sees(lambda: sdk.variant(next(iter(shadowed)), tenant="acme") == "new")
    assert sdk.exposed(2_000, tenant="acme") == shadowed


async def test_what_other_hands_break_is_named_while_services_keep_what_they_had(
    files: FlagFiles, service: FileFlagService, sdk: Sdk
) -> None:
    await _write(service, Exposure(percent=100))
    await sdk.sees(lambda: sdk.variant("user-1") == "new")
    text = files.path().read_text()
    files.path().write_text(text[: len(text) // 2] + "]")
    await sdk.sees(lambda: bool(sdk.errors))
    assert sdk.variant("user-1") == "new"
    with pytest.raises(FlagServiceUnavailable, match=r"can't be read: .* line \d+.*Mend it: until then services keep"):
        await service.check()
    files.path().write_text(text)
    await service.check()
    await _write(service, NOT_EXPOSED)
    await sdk.sees(lambda: sdk.variant("user-1") == "old")


async def test_a_flag_that_the_service_refuses_the_file_for_is_named(
    files: FlagFiles, service: FileFlagService, sdk: Sdk
) -> None:
    files.define(FlagRef("search", "production"), {"state": "on", "variants": {"a": 1}})
    await sdk.sees(lambda: bool(sdk.errors))
    with pytest.raises(FlagServiceUnavailable, match="a flag 'search' whose state is neither"):
        await service.read(REF)
