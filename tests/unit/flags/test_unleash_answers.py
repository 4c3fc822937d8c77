"""What Unleash may answer while somebody changes a flag, and flags as people may build them."""

from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import ANY

import httpx
import pytest

from tests.contract.flags.fake_unleash import FakeUnleash
from tests.unit.flags.test_unleash import REF, opened
from tools.flags.base import FlagNotFound, FlagRef, FlagServiceUnavailable, NotSettable
from tools.flags.unleash.service import UnleashFlagService
from tools.plans.model import NOT_EXPOSED, Exposure

HALF = Exposure(percent=50)
VARIANT = {"name": "new", "weight": 1000, "weightType": "variable", "stickiness": "default"}


@pytest.fixture
def server() -> FakeUnleash:
    fake = FakeUnleash()
    fake.define(REF.flag)
    return fake


@pytest.fixture
async def service(server: FakeUnleash) -> AsyncIterator[UnleashFlagService]:
    async with opened(server) as service:
        yield service


@pytest.mark.parametrize(
    "stored", [{"id": "1"}, {"id": "1", "name": "flexibleRollout", "parameters": {"rollout": "150"}}]
)
async def test_what_is_not_stored_as_it_was_sent_is_told_and_not_switched_on(
    server: FakeUnleash, service: UnleashFlagService, stored: dict[str, Any]
) -> None:
    async def otherwise(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=stored)

    server.went_wrong = [server.really, otherwise]
    with pytest.raises(FlagServiceUnavailable, match=f"Unleash did not store 50 % for {REF} as it was sent"):
        await service.write(REF, HALF, expected=ANY)
    assert server.asked == []


async def test_a_strategy_that_is_gone_before_it_is_changed_is_told(
    server: FakeUnleash, service: UnleashFlagService
) -> None:
    await service.write(REF, HALF, expected=ANY)

    async def without_it(request: httpx.Request) -> httpx.Response:
        server.environment(REF.flag)["strategies"].clear()
        return await server.really(request)

    server.went_wrong = [server.really, without_it]
    with pytest.raises(FlagServiceUnavailable, match="was changed in Unleash while it was being set"):
        await service.write(REF, NOT_EXPOSED, expected=ANY)


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "answer lost"])
async def test_what_was_switched_on_for_everyone_is_switched_off(
    server: FakeUnleash, service: UnleashFlagService, answered: bool
) -> None:
    async def without_its_strategy(request: httpx.Request) -> httpx.Response:
        server.environment(REF.flag)["strategies"].clear()
        answer = await server.really(request)
        if not answered:
            raise httpx.ReadTimeout("no", request=request)
        return answer

    server.went_wrong = [server.really, server.really, without_its_strategy]
    with pytest.raises(NotSettable, match="was changed in Unleash while it was switched on, and is off again"):
        await service.write(REF, HALF, expected=ANY)
    assert not server.environment(REF.flag)["enabled"]


async def test_what_may_be_on_as_it_was_meant_stays_so(server: FakeUnleash, service: UnleashFlagService) -> None:
    async def lost(request: httpx.Request) -> httpx.Response:
        await server.really(request)
        raise httpx.ReadTimeout("no", request=request)

    server.went_wrong = [server.really, server.really, lost]
    with pytest.raises(FlagServiceUnavailable, match="can't be reached"):
        await service.write(REF, HALF, expected=ANY)
    assert (await service.read(REF)).exposure == HALF


async def test_a_flag_that_is_archived_while_they_are_listed_is_left_out(
    server: FakeUnleash, service: UnleashFlagService
) -> None:
    server.define("search")

    async def then_archived(request: httpx.Request) -> httpx.Response:
        answer = await server.really(request)
        server.archived.add(REF.flag)
        return answer

    server.went_wrong = [then_archived]
    assert [state.ref for state in await service.list("production")] == [FlagRef("search", "production")]


@pytest.mark.parametrize("answer", [[], {"features": "none"}, {"features": ["none"]}, {"features": [{}]}])
async def test_an_address_that_answers_something_else_is_named(
    server: FakeUnleash, service: UnleashFlagService, answer: object
) -> None:
    async def otherwise(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=answer)

    server.went_wrong = [otherwise]
    with pytest.raises(FlagServiceUnavailable, match=r"as its admin API does; see flags\.unleash\.url"):
        await service.list("production")


def _strategy(**parts: object) -> dict[str, Any]:
    return {"name": "flexibleRollout", "parameters": {"rollout": "10"}, **parts}


@pytest.mark.parametrize(
    ("strategy", "room", "why"),
    [
        (_strategy(), {"variants": [VARIANT]}, "it has variants of the environment"),
        (
            _strategy(variants=[VARIANT | {"payload": {"type": "string", "value": "x"}}]),
            {},
            "its variant has a payload",
        ),
        (
            _strategy(constraints=[{"contextName": "tenant", "operator": "IN", "values": ["A & B"]}]),
            {},
            "its audience has a name that plans can't hold",
        ),
    ],
)
async def test_what_no_exposure_describes_is_named(
    server: FakeUnleash, service: UnleashFlagService, strategy: dict[str, Any], room: dict[str, Any], why: str
) -> None:
    server.environment(REF.flag).update(enabled=True, strategies=[server._stored(strategy, REF.flag)], **room)
    state = await service.read(REF)
    assert why in state.obstacle
    assert state.exposure == Exposure(percent=10)


async def test_a_variant_without_a_name_is_named(server: FakeUnleash, service: UnleashFlagService) -> None:
    strategy = server._stored(_strategy(variants=[VARIANT]), REF.flag)
    server.environment(REF.flag).update(enabled=True, strategies=[strategy | {"variants": [{"weight": 1000}]}])
    assert "its strategy has a variant without a name" in (await service.read(REF)).obstacle
    await service.write(REF, NOT_EXPOSED, expected=ANY)
    assert (await service.read(REF)).exposure == NOT_EXPOSED


async def test_a_project_whose_environments_have_no_names_is_none(
    server: FakeUnleash, service: UnleashFlagService
) -> None:
    async def otherwise(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"environments": [{}]})

    server.went_wrong = [otherwise]
    with pytest.raises(FlagServiceUnavailable, match=r"as its admin API does; see flags\.unleash\.url"):
        await service.check()


async def test_on_with_nothing_but_a_disabled_strategy_is_for_everyone(
    server: FakeUnleash, service: UnleashFlagService
) -> None:
    strategy = server._stored(_strategy(disabled=True), REF.flag)
    server.environment(REF.flag).update(enabled=True, strategies=[strategy])
    assert (await service.read(REF)).exposure == Exposure(percent=100)


async def test_an_older_release_says_in_the_flag_that_it_is_archived(
    server: FakeUnleash, service: UnleashFlagService
) -> None:
    server.flags[REF.flag]["archived"] = True
    with pytest.raises(FlagNotFound, match="it is archived"):
        await service.read(REF)
