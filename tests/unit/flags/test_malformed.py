"""Whatever a flag vendor answers, where that is not as its API has it: what was asked, or an error of ours."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from unittest.mock import ANY

import httpx
import pytest

from tests.contract.flags.conftest import (
    flagsmith_options,
    growthbook_options,
    launchdarkly_options,
    unleash_options,
)
from tests.contract.flags.fake_flagsmith import FakeFlagsmith
from tests.contract.flags.fake_growthbook import FakeGrowthBook
from tests.contract.flags.fake_launchdarkly import FakeLaunchDarkly
from tests.contract.flags.fake_unleash import TOKEN, FakeUnleash
from tests.contract.metrics.test_malformed import Mangling, Path, places, replaced
from tests.unit.flags.troubles import without_waiting
from tools.errors import SluiceError
from tools.flags.base import FlagRef, FlagServiceUnavailable
from tools.flags.flagsmith.service import FlagsmithFlagService
from tools.flags.growthbook.service import GrowthBookFlagService
from tools.flags.http import FlagApi
from tools.flags.launchdarkly.service import LaunchDarklyFlagService
from tools.flags.unleash.service import UnleashFlagService
from tools.plans.model import NOT_EXPOSED, Exposure

REF = FlagRef("checkout", "production")
HALF = Exposure(percent=50)
SOON = timedelta(seconds=10)
LONE_SURROGATE = "caf\ud83d"
JUNK: tuple[Any, ...] = (None, -1, 10**400, "1e999", LONE_SURROGATE, [None])

Service = UnleashFlagService | LaunchDarklyFlagService | FlagsmithFlagService | GrowthBookFlagService
Call = Callable[[Service], Awaitable[object]]
CALLS: dict[str, Call] = {
    "read": lambda service: service.read(REF),
    "list": lambda service: service.list("production"),
    "check": lambda service: service.check(),
    "raise": lambda service: service.write(REF, Exposure(percent=60), expected=ANY),
    "take back": lambda service: service.write(REF, NOT_EXPOSED, expected=ANY),
}


class ManglingVendor(Mangling):
    """The same for a vendor that also answers with nothing, or refuses what makes no sense to it."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            given = await self._inner.handle_async_request(request)
        except ValueError:
            return httpx.Response(400, json={"message": "It names what is not there."})
        body = await given.aread()
        if not body:
            return given
        answer = json.loads(body)
        if len(self.answers) == self.number:
            answer = replaced(answer, self.path, self.junk)
        self.answers.append(answer)
        kind = {"content-type": "application/json"}
        return httpx.Response(given.status_code, headers=kind, content=json.dumps(answer))


def vendor_of(name: str) -> tuple[Mangling, Service]:
    """A server with the flag, whose answers are mangled, and the service over it."""
    if name == "unleash":
        unleash = FakeUnleash()
        unleash.define(REF.flag)
        mangling = ManglingVendor(unleash)
        url = "https://unleash.example.com"
        return mangling, UnleashFlagService(unleash_options(url, TOKEN), timeout=SOON, transport=mangling)
    if name == "flagsmith":
        flagsmith = FakeFlagsmith()
        flagsmith.define(REF.flag)
        mangling = ManglingVendor(flagsmith)
        return mangling, FlagsmithFlagService(flagsmith_options(), timeout=SOON, transport=mangling)
    if name == "growthbook":
        growthbook = FakeGrowthBook()
        growthbook.define(REF.flag)
        mangling = ManglingVendor(growthbook)
        return mangling, GrowthBookFlagService(growthbook_options(), timeout=SOON, transport=mangling)
    launchdarkly = FakeLaunchDarkly()
    launchdarkly.define(REF.flag)
    mangling = ManglingVendor(launchdarkly)
    options = launchdarkly_options(compare_and_set=name == "launchdarkly")
    return mangling, LaunchDarklyFlagService(options, timeout=SOON, transport=mangling)


async def half(name: str) -> tuple[Mangling, Service]:
    """The same, at 50 %."""
    mangling, service = vendor_of(name)
    without_waiting(service._api)
    version = (await service.read(REF)).version
    await service.write(REF, HALF, expected=version)
    mangling.mangle(-1, (), None)
    return mangling, service


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["unleash", "launchdarkly", "launchdarkly-semantic", "flagsmith", "growthbook"])
async def test_what_is_not_as_its_api_has_it_is_what_was_asked_or_an_error_of_ours(name: str, call: str) -> None:
    mangling, service = await half(name)
    await CALLS[call](service)
    answers = [*mangling.answers]
    await service.close()
    for number, answer in enumerate(answers):
        for path in places(answer):
            for junk in JUNK:
                mangling, service = await half(name)
                mangling.mangle(number, path, junk)
                try:
                    await CALLS[call](service)
                except SluiceError:
                    pass
                finally:
                    mangling.mangle(-1, (), None)
                    await service.close()


async def test_a_text_that_is_cut_amid_a_character_keeps_no_other_flag_from_being_listed() -> None:
    server = FakeGrowthBook()
    server.define(REF.flag)
    server.define("other")
    mangling = ManglingVendor(server)
    service = GrowthBookFlagService(growthbook_options(), timeout=SOON, transport=mangling)
    description: Path = ("features", 1, "description")
    mangling.mangle(0, description, LONE_SURROGATE)
    states = await service.list("production")
    assert [(state.ref.flag, state.description) for state in states] == [("checkout", ""), ("other", "caf\ufffd")]
    await service.close()


async def test_a_pair_of_surrogates_is_the_character_that_it_stands_for() -> None:
    body = json.dumps({"said": "caf\U0001f600"})
    assert "ud83d" in body
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, text=body))
    api = FlagApi("Flags", "https://f.example", {}, timeout=SOON, fixes={}, transport=transport)
    assert await api.call("GET", "/", repeatable=True) == {"said": "caf\U0001f600"}
    await api.close()


async def test_what_nobody_foresaw_in_an_answer_is_an_answer_otherwise_than_its_api_has_it() -> None:
    api = FlagApi("Flags", "https://f.example", {}, timeout=SOON, fixes={})
    with pytest.raises(FlagServiceUnavailable, match="Flags answered otherwise than its API does; see whether"):
        async with api.answering():
            raise OverflowError
    with pytest.raises(asyncio.CancelledError):
        async with api.answering():
            raise asyncio.CancelledError
    await api.close()
