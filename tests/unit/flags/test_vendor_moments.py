"""Never more than asked, at any moment: LaunchDarkly, Flagsmith and GrowthBook are looked at after every request.

Answers get lost, requests land late or not at all, writes are ended amid them, and where versions are compared nothing
from before undoes a lowering. Nothing that could be put into force later stays behind.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

import httpx
import pytest
from flag_engine.engine import get_evaluation_result
from growthbook import GrowthBook
from hypothesis import given, settings
from hypothesis import strategies as st
from ldclient.context import Context

from tests.contract.flags.conftest import flagsmith_options, growthbook_options, launchdarkly_options
from tests.contract.flags.fake_flagsmith import FakeFlagsmith
from tests.contract.flags.fake_growthbook import FakeGrowthBook
from tests.contract.flags.fake_launchdarkly import FakeLaunchDarkly
from tests.unit.flags.launchdarkly_sdk import evaluating
from tests.unit.flags.troubles import without_waiting
from tools.errors import SluiceError
from tools.flags.base import FlagRef
from tools.flags.flagsmith.service import FlagsmithFlagService
from tools.flags.growthbook.service import GrowthBookFlagService
from tools.flags.launchdarkly.service import LaunchDarklyFlagService
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

REF = FlagRef("checkout", "production")
SOON = timedelta(seconds=5)
PEOPLE: tuple[dict[str, str], ...] = tuple(
    {"id": f"user-{number}", **more} for number in range(15) for more in ({"tenant": "acme", "region": "eu"}, {})
)

Server = FakeLaunchDarkly | FakeFlagsmith | FakeGrowthBook
Service = LaunchDarklyFlagService | FlagsmithFlagService | GrowthBookFlagService
Served = frozenset[tuple[int, str]]
"""Who, by number, is served what that is not the old way."""


@dataclass(frozen=True)
class Vendor:
    """How to make a server with a flag, a service over it, and how an SDK reads what the server keeps."""

    server: Callable[[], Server]
    service: Callable[[httpx.AsyncBaseTransport], Service]
    served: Callable[[Any], Served]
    audiences: bool = True


def _launchdarkly_server() -> FakeLaunchDarkly:
    server = FakeLaunchDarkly()
    server.define(REF.flag)
    return server


def _of_launchdarkly(server: FakeLaunchDarkly) -> Served:
    # SDKs make nothing of the version.
    return _launchdarkly_serves(json.dumps(server.sdk_flag(REF.flag) | {"version": 1}))


@cache
def _launchdarkly_serves(flag: str) -> Served:
    with evaluating({REF.flag: json.loads(flag)}) as client:
        people = [Context.from_dict({"kind": "user", "key": one["id"], **one}) for one in PEOPLE]
        return _not_old([client.variation(REF.flag, person, "old") for person in people])


def _flagsmith_server() -> FakeFlagsmith:
    server = FakeFlagsmith()
    server.define(REF.flag)
    return server


def _of_flagsmith(server: FakeFlagsmith) -> Served:
    return _flagsmith_serves(json.dumps(server.context(REF.flag)))


@cache
def _flagsmith_serves(context: str) -> Served:
    values = list[object]()
    for one in PEOPLE:
        asked: Any = {**json.loads(context), "identity": {"identifier": one["id"], "key": one["id"]}}
        flag = get_evaluation_result(asked)["flags"][REF.flag]
        values.append(flag["value"] if flag["enabled"] else "old")
    return _not_old(values)


def _growthbook_server() -> FakeGrowthBook:
    server = FakeGrowthBook()
    server.define(REF.flag)
    server.rule(REF.flag, coverage=0, seed="of this flag")
    return server


def _of_growthbook(server: FakeGrowthBook) -> Served:
    return _growthbook_serves(json.dumps(server.payload(REF.flag)))


@cache
def _growthbook_serves(features: str) -> Served:
    sdk, values = GrowthBook(features=json.loads(features)), list[object]()
    for one in PEOPLE:
        sdk.set_attributes(dict(one))
        values.append(sdk.get_feature_value(REF.flag, "old"))
    sdk.destroy()
    return _not_old(values)


def _not_old(values: list[object]) -> Served:
    return frozenset((number, str(value)) for number, value in enumerate(values) if value != "old")


VENDORS = {
    "launchdarkly": Vendor(
        _launchdarkly_server,
        lambda transport: LaunchDarklyFlagService(launchdarkly_options(), timeout=SOON, transport=transport),
        _of_launchdarkly,
    ),
    "flagsmith": Vendor(
        _flagsmith_server,
        lambda transport: FlagsmithFlagService(flagsmith_options(), timeout=SOON, transport=transport),
        _of_flagsmith,
        audiences=False,
    ),
    "growthbook": Vendor(
        _growthbook_server,
        lambda transport: GrowthBookFlagService(growthbook_options(), timeout=SOON, transport=transport),
        _of_growthbook,
    ),
}


@cache
def meant(name: str, exposure: Exposure) -> Served:
    """Who the exposure is for: a flag that was never anything else."""

    async def written() -> Served:
        server = VENDORS[name].server()
        await _write(VENDORS[name].service(server), exposure)
        return VENDORS[name].served(server)

    return asyncio.run(written())


async def _write(service: Service, exposure: Exposure) -> None:
    without_waiting(service._api)
    try:
        await service.write(REF, exposure, expected=(await service.read(REF)).version)
    finally:
        await service.close()


@dataclass
class Weather(httpx.AsyncBaseTransport):
    """What becomes of requests is drawn, and who is served is looked at after each."""

    vendor: Vendor
    server: Server
    draw: Callable[[], str]
    allowed: Served
    late: list[httpx.Request] = field(default_factory=list)
    write: asyncio.Task[None] | None = None

    async def writing(self, exposure: Exposure) -> None:
        """Write it, by a service of its own."""
        self.write = asyncio.create_task(_write(self.vendor.service(self), exposure))
        await asyncio.wait({self.write})
        with _refused():
            await self.write

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fate = self.draw() if request.method != "GET" else "carried out"
        if fate == "late":
            self.late.append(request)
        answer = await self.server.really(request) if fate in ("carried out", "lost", "ended after") else None
        self.look(request)
        if fate.startswith("ended") and self.write is not None:
            self.write.cancel()
            await asyncio.sleep(0)
        if fate == "carried out" and answer is not None:
            return answer
        raise httpx.ReadTimeout("no", request=request)

    async def deliver(self) -> None:
        """Let what is late land."""
        for request in self.late:
            await self.server.really(request)
            self.look(request)
        self.late.clear()

    def look(self, after: httpx.Request) -> None:
        assert self.vendor.served(self.server) <= self.allowed, f"{after.method} {after.url.path}"


FATES = st.sampled_from(["carried out"] * 5 + ["lost", "late", "never sent", "ended before", "ended after"])
AUDIENCES = st.sampled_from([Audience(), Audience(tenants=("acme",)), Audience(tenants=("acme",), regions=("eu",))])
EXPOSURES = st.builds(
    Exposure, percent=st.sampled_from([0, 1, 10, 33, 50, 100]), mode=st.sampled_from(Mode), audience=AUDIENCES
)


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except (SluiceError, asyncio.CancelledError):
        return


async def _lived_through(name: str, exposures: list[Exposure], draw: Callable[[], str]) -> None:
    vendor, server = VENDORS[name], VENDORS[name].server()
    weather = Weather(vendor, server, draw, vendor.served(server))
    for exposure in exposures:
        weather.allowed |= await asyncio.to_thread(meant, name, exposure)
        await weather.writing(exposure)
    calm = vendor.service(server)
    await _write(calm, NOT_EXPOSED)
    assert not vendor.served(server)
    assert not (isinstance(server, FakeGrowthBook) and server.drafts)
    if calm.capabilities.compare_and_set:
        weather.allowed = frozenset()
    await weather.deliver()


@pytest.mark.parametrize("name", VENDORS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_nobody_is_served_who_is_not_meant_to_be(name: str, data: st.DataObject) -> None:
    exposures = data.draw(st.lists(EXPOSURES, min_size=1, max_size=4))
    if not VENDORS[name].audiences:
        exposures = [exposure.model_copy(update={"audience": Audience()}) for exposure in exposures]
    asyncio.run(_lived_through(name, exposures, lambda: data.draw(FATES)))


def test_what_is_served_is_seen() -> None:
    for name in VENDORS:
        assert {value for _, value in meant(name, Exposure(percent=100))} == {"new"}
        assert {value for _, value in meant(name, Exposure(percent=100, mode=Mode.SHADOW))} == {"shadow"}
        assert meant(name, NOT_EXPOSED) == frozenset()
