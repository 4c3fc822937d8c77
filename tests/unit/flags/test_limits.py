"""A flag service that wants no requests for a while: it is left alone, and rollbacks get through all the same."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from unittest.mock import ANY

import httpx
import pytest

from tests.contract.flags.conftest import growthbook_options
from tests.contract.flags.fake_growthbook import FakeGrowthBook
from tests.unit.flags.troubles import answers, without_waiting
from tests.unit.rollouts.world import FLAG, JONAS, World, running_world
from tools.flags import http as flags_over_http
from tools.flags.base import FlagServiceUnavailable
from tools.flags.growthbook.service import GrowthBookFlagService
from tools.flags.http import FlagApi, Refusal
from tools.flags.urgency import is_urgent, urgently
from tools.plans.model import NOT_EXPOSED, Exposure
from tools.rollouts.phases import Phase

TIMEOUT_S = 5


class Counted(httpx.AsyncBaseTransport):
    """How many requests came to the fake, which refuses as many as it is told to as a limit does."""

    def __init__(self, server: FakeGrowthBook) -> None:
        self.server = server
        self.requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return await self.server.handle_async_request(request)

    def limits(self, seconds: int, times: int = 1) -> None:
        self.server.went_wrong = [answers(429, {"Retry-After": str(seconds)})] * times


@pytest.fixture
def transport() -> Counted:
    server = FakeGrowthBook()
    server.define(FLAG.flag)
    return Counted(server)


@pytest.fixture
async def service(transport: Counted) -> AsyncIterator[GrowthBookFlagService]:
    options = growthbook_options(sdk_refresh=timedelta(0))
    service = GrowthBookFlagService(options, timeout=timedelta(seconds=TIMEOUT_S), transport=transport)
    without_waiting(service._api)
    yield service
    await service.close()


async def refused(asked: Awaitable[object], says: str) -> None:
    with pytest.raises(FlagServiceUnavailable, match=says):
        await asked


async def closed(transport: Counted, service: GrowthBookFlagService, seconds: int) -> None:
    """Have a read refused for so long."""
    transport.limits(seconds)
    await refused(service.read(FLAG), r"wants fewer requests \(429\)")
    transport.requests = 0


async def test_nothing_is_asked_before_the_limit_is_over(transport: Counted, service: GrowthBookFlagService) -> None:
    await closed(transport, service, 60)
    for asked in (service.read(FLAG), service.list("production"), service.check()):
        await refused(asked, r"wants no more requests for (60|59) s \(429\); Sluice asks again by itself then")
    assert transport.requests == 0


async def test_writes_are_sent_all_the_same(transport: Counted, service: GrowthBookFlagService) -> None:
    waited = without_waiting(service._api)
    await closed(transport, service, 60)
    await service.write(FLAG, Exposure(percent=5), expected=ANY)
    await service.write(FLAG, NOT_EXPOSED, expected=ANY)
    assert (transport.requests > 2, waited, is_urgent()) == (True, [], False)
    with urgently():
        assert (await service.read(FLAG)).exposure == NOT_EXPOSED


async def test_a_write_waits_where_that_leaves_it_time(transport: Counted, service: GrowthBookFlagService) -> None:
    await closed(transport, service, TIMEOUT_S)
    service._api._closed_until -= TIMEOUT_S * 0.6
    waited = without_waiting(service._api)
    with urgently():
        await service.read(FLAG)
    assert len(waited) == 1
    assert TIMEOUT_S * 0.3 < waited[0] <= TIMEOUT_S * 0.4


async def test_a_short_limit_is_waited_for(transport: Counted, service: GrowthBookFlagService) -> None:
    waited = without_waiting(service._api)
    transport.limits(2)
    await service.read(FLAG)
    await service.read(FLAG)
    assert [2 <= waited[0] < 3, 1 < waited[1] <= 2, len(waited)] == [True, True, 2]


async def test_a_limit_may_be_told_as_a_moment(transport: Counted, service: GrowthBookFlagService) -> None:
    told = {"Date": "Mon, 23 Nov 2026 09:00:00 GMT", "Retry-After": "Mon, 23 Nov 2026 09:01:00 GMT"}
    transport.server.went_wrong = [answers(429, told)]
    await refused(service.read(FLAG), r"wants fewer requests \(429\)")
    await refused(service.read(FLAG), r"wants no more requests for (60|59) s")


async def test_a_limit_ends(transport: Counted, service: GrowthBookFlagService) -> None:
    await closed(transport, service, 86_400)
    left = service._api._closed_until - asyncio.get_running_loop().time()
    assert left <= flags_over_http.LONGEST_CLOSED_S
    service._api._closed_until -= left
    assert (await service.read(FLAG)).exposure == NOT_EXPOSED


async def test_a_limit_that_is_not_told_closes_nothing(transport: Counted, service: GrowthBookFlagService) -> None:
    transport.server.went_wrong = [answers(429)] * flags_over_http.ATTEMPTS
    await refused(service.read(FLAG), "wants fewer requests")
    await service.read(FLAG)


@pytest.fixture
async def world(service: GrowthBookFlagService) -> AsyncIterator[World]:
    async with running_world(other=service) as world:
        yield world


@pytest.mark.parametrize("bad", [True, False])
async def test_a_rollback_does_not_fail_for_a_reads_limit(
    world: World, transport: Counted, service: GrowthBookFlagService, bad: bool
) -> None:
    view = await world.started()
    await world.live(view.id, 2)
    assert await world.percent() == 5
    await closed(transport, service, 60)
    await refused(service.read(FLAG), "wants no more requests")
    if bad:
        view = await world.live(view.id, 2, new=(50, 40))
        assert view.phase is Phase.ROLLING_BACK
    else:
        await world.service.kill(FLAG.flag, FLAG.environment, actor=JONAS, reason="it hurts")
    with urgently():
        assert await world.percent() == 0


async def test_nothing_is_raised_while_nothing_can_be_read(
    world: World, transport: Counted, service: GrowthBookFlagService
) -> None:
    view = await world.proposed()
    assert view.approval is not None
    await closed(transport, service, 60)
    with pytest.raises(FlagServiceUnavailable, match="wants no more requests"):
        await world.service.approve(view.approval.id, actor=JONAS)
    assert transport.requests == 0


async def test_a_key_that_the_service_repeats_is_not_shown() -> None:
    says = {"message": f"{'x' * 90} no such key: hunter2-very-secret"}
    transport = httpx.MockTransport(lambda _request: httpx.Response(400, json=says))
    headers = {"Authorization": "Bearer hunter2-very-secret"}
    api = FlagApi("Flags", "https://f.example", headers, timeout=timedelta(seconds=1), fixes={}, transport=transport)
    with pytest.raises(Refusal) as refused:
        await api.call("GET", "/", repeatable=True)
    assert "hunter2" not in f"{refused.value} {refused.value.reason}"
    assert "no such key: ***" in str(refused.value)
    await api.close()


@pytest.mark.parametrize("location", ["login:8080/x", "https:login"])
async def test_a_redirect_to_no_address_is_as_good_as_no_answer(location: str) -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(302, headers={"Location": location}))
    api = FlagApi("Flags", "https://f.example", {}, timeout=timedelta(seconds=1), fixes={}, transport=transport)
    without_waiting(api)
    await refused(api.call("GET", "/", repeatable=True), r"Flags can't be reached \(InvalidURL\)")
    await api.close()
