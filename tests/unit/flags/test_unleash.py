"""Unleash's traps, against the strict fake; what is served is what the engine of Unleash's SDKs says."""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from yggdrasil_engine.engine import UnleashEngine

from tests.contract.flags.conftest import unleash_options
from tests.contract.flags.fake_unleash import TOKEN, FakeUnleash
from tools.errors import ConfigurationError
from tools.flags.base import FlagNotFound, FlagRef, FlagServiceUnavailable, NotSettable
from tools.flags.unleash.options import UnleashOptions
from tools.flags.unleash.service import UnleashFlagService
from tools.flags.urgency import urgently
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

REF = FlagRef("checkout", "production")
ADDRESS = "https://unleash.example.com"
KEYS = 200
ACME = Audience(tenants=("acme",))

FLEXIBLE: dict[str, Any] = {
    "name": "flexibleRollout",
    "parameters": {"rollout": "50", "stickiness": "userId", "groupId": "group"},
}


@pytest.fixture
def server() -> FakeUnleash:
    fake = FakeUnleash()
    fake.define(REF.flag)
    return fake


@asynccontextmanager
async def opened(
    transport: httpx.AsyncBaseTransport, *, environment: str | None = None, timeout_s: float = 5, **options: object
) -> AsyncIterator[UnleashFlagService]:
    """The service over a transport; `options` differ from the contract's."""
    changed = unleash_options(ADDRESS, TOKEN).model_copy(update=options)
    service = UnleashFlagService(
        changed, timeout=timedelta(seconds=timeout_s), environment=environment, transport=transport
    )
    yield service
    await service.close()


@pytest.fixture
async def service(server: FakeUnleash) -> AsyncIterator[UnleashFlagService]:
    async with opened(server) as service:
        yield service


async def _write(service: UnleashFlagService, exposure: Exposure, ref: FlagRef = REF) -> None:
    await service.write(ref, exposure, expected=ANY)


async def _by_hand(server: FakeUnleash, method: str, what: str, body: object = None) -> httpx.Response:
    """A request of somebody else's, which is not among those that Sluice asked."""
    before = list(server.asked)
    path = f"/api/admin/projects/default/features/{REF.flag}/environments/production/{what}"
    async with httpx.AsyncClient(transport=server, base_url=ADDRESS, headers={"Authorization": TOKEN}) as client:
        answer = await client.request(method, path, json=body)
    server.asked[:] = before
    return answer


def _answers(status: int, headers: dict[str, str] | None = None, **body: object) -> Callable[..., Awaitable[Any]]:
    async def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body, headers=headers)

    return answer


def _fails(error: type[httpx.TransportError]) -> Callable[..., Awaitable[httpx.Response]]:
    async def answer(request: httpx.Request) -> httpx.Response:
        raise error("no", request=request)

    return answer


# -- what services are served ---------------------------------------------------------------------------------------


class Sdk:
    """Whom the SDKs' engine serves what the server keeps."""

    def __init__(self, server: FakeUnleash) -> None:
        self._engine = UnleashEngine()
        self._server = server

    def exposed(self, keys: int = KEYS, **properties: str) -> set[str]:
        self._engine.take_state(json.dumps(self._server.client_features()))
        users = (f"user-{number}" for number in range(keys))
        return {user for user in users if self._on(user, properties)}

    def variants(self, keys: int = KEYS) -> set[str]:
        self._engine.take_state(json.dumps(self._server.client_features()))
        asked = (self._engine.get_variant(REF.flag, {"userId": f"user-{number}"}) for number in range(keys))
        return {answer.variant.name for answer in asked}

    def _on(self, user: str, properties: dict[str, str]) -> bool:
        context = {"userId": user, "properties": properties}
        return bool(self._engine.is_enabled(REF.flag, context).is_enabled)


async def test_shares_are_met_sticky_and_only_grow(server: FakeUnleash, service: UnleashFlagService) -> None:
    sdk, before = Sdk(server), set[str]()
    for percent in (1, 10, 50, 100):
        await _write(service, Exposure(percent=percent))
        exposed = sdk.exposed(2_000)
        assert len(exposed) / 2_000 * 100 == pytest.approx(percent, abs=3)
        assert before <= exposed
        assert sdk.exposed(2_000) == exposed
        before = exposed


async def test_a_quarter_is_a_quarter(server: FakeUnleash, service: UnleashFlagService) -> None:
    await _write(service, Exposure(percent=25))
    assert len(Sdk(server).exposed(10_000)) == pytest.approx(2_500, abs=150)


async def test_an_audience_by_tenant_and_region(server: FakeUnleash, service: UnleashFlagService) -> None:
    await _write(service, Exposure(percent=100, audience=Audience(tenants=("acme", "globex"), regions=("eu",))))
    sdk = Sdk(server)
    assert len(sdk.exposed(tenant="globex", region="eu")) == KEYS
    assert not sdk.exposed(tenant="globex", region="us")
    assert not sdk.exposed(tenant="initech", region="eu")
    assert not sdk.exposed(tenant="acme")


async def test_shadow_and_live_are_different_variants(server: FakeUnleash, service: UnleashFlagService) -> None:
    sdk = Sdk(server)
    await _write(service, Exposure(percent=50, mode=Mode.SHADOW))
    assert sdk.variants() == {"shadow", "disabled"}
    shadowed = sdk.exposed()
    await _write(service, Exposure(percent=50))
    assert sdk.variants() == {"new", "disabled"}
    assert sdk.exposed() == shadowed


async def test_without_a_shadow_variant_there_are_no_shadow_stages(server: FakeUnleash) -> None:
    async with opened(server, shadow_variant=None) as service:
        assert not service.capabilities.shadow


# -- never more than asked ------------------------------------------------------------------------------------------


class Watching(httpx.AsyncBaseTransport):
    """Looks at what is served after every request."""

    def __init__(self, server: FakeUnleash) -> None:
        self._server = server
        self._sdk = Sdk(server)
        self.most = set[str]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._server.handle_async_request(request)
        self.most |= self._sdk.exposed(tenant="acme", region="eu")
        return answer


def _strategy(rollout: str, **more: object) -> dict[str, Any]:
    return FLEXIBLE | {"parameters": FLEXIBLE["parameters"] | {"rollout": rollout}} | more


STARTS: dict[str, tuple[bool, list[dict[str, Any]]]] = {
    "nothing yet": (False, []),
    "on without a strategy": (True, []),
    "off, with everyone's strategy": (False, [_strategy("100")]),
    "off, with everyone's strategy disabled": (False, [_strategy("100", disabled=True)]),
    "on at 30": (True, [_strategy("30")]),
    "on at 30, beside a disabled one for everyone": (True, [_strategy("30"), _strategy("100", disabled=True)]),
    "on for a tenant": (
        True,
        [_strategy("100", constraints=[{"contextName": "tenant", "operator": "IN", "values": ["globex"]}])],
    ),
    "left twice by Sluice": (
        True,
        [_strategy("20", title="Set by Sluice (1)"), _strategy("40", title="Set by Sluice")],
    ),
}
TARGETS = (NOT_EXPOSED, Exposure(percent=5), Exposure(percent=60, audience=ACME), Exposure(percent=100))


@pytest.mark.parametrize(("start", "target"), list(product(STARTS, TARGETS)), ids=str)
async def test_nobody_is_exposed_in_between(server: FakeUnleash, start: str, target: Exposure) -> None:
    enabled, strategies = STARTS[start]
    for strategy in strategies:
        assert (await _by_hand(server, "POST", "strategies", strategy)).is_success
    server.environment(REF.flag)["enabled"] = enabled
    sdk, watching = Sdk(server), Watching(server)
    before = sdk.exposed(tenant="acme", region="eu")
    async with opened(watching) as service:
        await _write(service, target)
        after = sdk.exposed(tenant="acme", region="eu")
        assert watching.most <= before | after
        assert len(after) / KEYS * 100 == pytest.approx(target.percent, abs=7)
        assert (await service.read(REF)).exposure == target


async def test_the_strategy_is_set_before_the_flag_is_on(server: FakeUnleash, service: UnleashFlagService) -> None:
    await _write(service, Exposure(percent=5))
    assert server.asked == ["POST strategies", "POST on"]
    await _write(service, Exposure(percent=10))
    await _write(service, NOT_EXPOSED)
    assert [asked.split("/")[0] for asked in server.asked[2:]] == ["PATCH strategies"] * 2


async def test_what_on_added_for_everyone_is_switched_off(server: FakeUnleash, service: UnleashFlagService) -> None:
    await _write(service, NOT_EXPOSED)

    async def taken_away_before(request: httpx.Request) -> httpx.Response:
        server.environment(REF.flag)["strategies"].clear()
        return await server.really(request)

    server.went_wrong = [server.really, server.really, taken_away_before]
    with pytest.raises(NotSettable, match="off again"):
        await _write(service, Exposure(percent=5))
    assert not server.environment(REF.flag)["enabled"]
    assert not Sdk(server).exposed()


# -- traps ----------------------------------------------------------------------------------------------------------


async def test_the_token_is_sent_as_it_is(server: FakeUnleash, service: UnleashFlagService) -> None:
    sent = list[httpx.Headers]()

    async def look(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers)
        return await server.really(request)

    server.went_wrong = [look]
    await service.read(REF)
    assert sent[0]["Authorization"] == TOKEN


async def test_on_without_a_strategy_is_read_as_everyone(server: FakeUnleash, service: UnleashFlagService) -> None:
    await _by_hand(server, "POST", "on")
    assert (await service.read(REF)).exposure == Exposure(percent=100)
    server.environment(REF.flag)["strategies"].clear()
    assert (await service.read(REF)).exposure == Exposure(percent=100)
    assert len(Sdk(server).exposed()) == KEYS


async def test_put_would_wipe_variants_and_a_change_keeps_them(
    server: FakeUnleash, service: UnleashFlagService
) -> None:
    variant = {"name": "express", "weight": 1000, "weightType": "variable", "stickiness": "default"}
    await _by_hand(server, "POST", "strategies", FLEXIBLE | {"variants": [variant]})
    await _write(service, Exposure(percent=20))
    kept = server.strategy(REF.flag)
    assert kept["variants"] == [variant]
    assert (kept["parameters"]["stickiness"], kept["parameters"]["groupId"]) == ("userId", "group")
    assert (await service.read(REF)).treatment == "express"
    await _by_hand(server, "PUT", f"strategies/{kept['id']}", FLEXIBLE)
    assert server.strategy(REF.flag)["variants"] == []


@pytest.mark.parametrize("rollout", ["150", "abc", "33.5", "-1", "", "007"])
async def test_a_rollout_that_is_no_whole_percent_is_the_most(
    server: FakeUnleash, service: UnleashFlagService, rollout: str
) -> None:
    await _by_hand(server, "POST", "strategies", _strategy(rollout))
    server.environment(REF.flag)["enabled"] = True
    state = await service.read(REF)
    assert state.exposure == Exposure(percent=100)
    assert "not a whole number from 0 to 100" in state.obstacle
    if rollout in ("150", "abc", "33.5"):
        assert not Sdk(server).exposed()


async def test_rollouts_are_sent_as_whole_numbers_in_text(server: FakeUnleash, service: UnleashFlagService) -> None:
    for percent in (7, 7.0, 100):
        await _write(service, Exposure(percent=percent))
        assert server.strategy(REF.flag)["parameters"]["rollout"] == f"{percent:g}"


async def test_a_disabled_last_strategy_takes_the_flag_with_it(
    server: FakeUnleash, service: UnleashFlagService
) -> None:
    await _write(service, Exposure(percent=50))
    path = f"strategies/{server.strategy(REF.flag)['id']}"
    await _by_hand(server, "PATCH", path, [{"op": "replace", "path": "/disabled", "value": True}])
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    await _by_hand(server, "PATCH", path, [{"op": "replace", "path": "/disabled", "value": False}])
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    await _write(service, Exposure(percent=5))
    assert (await service.read(REF)).exposure == Exposure(percent=5)


async def test_an_archived_flag_is_not_there(server: FakeUnleash, service: UnleashFlagService) -> None:
    await _write(service, Exposure(percent=50))
    server.archived.add(REF.flag)
    asked = list(server.asked)
    with pytest.raises(FlagNotFound, match="archived"):
        await _write(service, Exposure(percent=60))
    assert server.asked == asked


async def test_what_changes_between_a_writes_read_and_its_change_is_not_noticed(
    server: FakeUnleash, service: UnleashFlagService
) -> None:
    assert not service.capabilities.compare_and_set
    await _write(service, Exposure(percent=50))
    state = await service.read(REF)

    async def then_lowered(request: httpx.Request) -> httpx.Response:
        answer = await server.really(request)
        server.environment(REF.flag)["strategies"][0]["parameters"]["rollout"] = "20"
        return answer

    server.went_wrong = [then_lowered]
    await service.write(REF, Exposure(percent=30), expected=state.version)
    assert (await service.read(REF)).exposure == Exposure(percent=30)


async def test_a_change_by_hand_makes_another_version(server: FakeUnleash, service: UnleashFlagService) -> None:
    await _write(service, Exposure(percent=50))
    before = await service.read(REF)
    server.environment(REF.flag)["strategies"][0]["parameters"]["stickiness"] = "random"
    assert (await service.read(REF)).version != before.version


# -- flags that people built ----------------------------------------------------------------------------------------

FOREIGN: dict[str, tuple[list[dict[str, Any]], str, float]] = {
    "two strategies": ([_strategy("10"), _strategy("20")], "it has 2 strategies", 30),
    "everyone's": ([{"name": "default", "parameters": {}}], "its strategy is default", 100),
    "a segment": ([_strategy("10", segments=[1])], "segments", 10),
    "another field": (
        [_strategy("10", constraints=[{"contextName": "appVersion", "operator": "IN", "values": ["1"]}])],
        "a constraint on appVersion",
        10,
    ),
    "all but a tenant": (
        [_strategy("10", constraints=[{"contextName": "tenant", "operator": "NOT_IN", "values": ["a"]}])],
        "its constraint on tenant",
        10,
    ),
    "a variant with another kind of name": (
        [
            _strategy(
                "40",
                variants=[{"name": "new one", "weight": 1000, "weightType": "variable", "stickiness": "default"}],
            )
        ],
        "a name that plans can't hold",
        40,
    ),
    "several variants": (
        [
            _strategy(
                "40",
                variants=[
                    {"name": name, "weight": 500, "weightType": "variable", "stickiness": "default"} for name in "ab"
                ],
            )
        ],
        "2 variants",
        40,
    ),
}


@pytest.mark.parametrize("built", FOREIGN)
async def test_what_is_no_exposure_is_named_and_only_lowered(
    server: FakeUnleash, service: UnleashFlagService, built: str
) -> None:
    strategies, why, most = FOREIGN[built]
    for strategy in strategies:
        await _by_hand(server, "POST", "strategies", strategy)
    server.environment(REF.flag)["enabled"] = True
    [state] = await service.list(REF.environment)
    assert why in state.obstacle
    assert state.exposure == Exposure(percent=most)
    with pytest.raises(NotSettable, match=why):
        await _write(service, Exposure(percent=100))
    assert server.asked == []
    await _write(service, Exposure(percent=1))
    assert server.asked == ["POST off"]
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    assert not Sdk(server).exposed()


async def test_a_parent_that_is_off_keeps_a_flag_from_everybody_and_is_told(
    server: FakeUnleash, service: UnleashFlagService
) -> None:
    server.define("cart")
    assert (await _by_hand(server, "POST", "../../dependencies", {"feature": "cart"})).is_success
    await _write(service, Exposure(percent=100))
    assert not Sdk(server).exposed()
    assert (await service.read(REF)).depends_on == ("cart",)
    await _write(service, Exposure(percent=100), FlagRef("cart", REF.environment))
    assert len(Sdk(server).exposed()) == KEYS


async def test_a_flag_that_must_be_off_is_none_to_depend_on(server: FakeUnleash, service: UnleashFlagService) -> None:
    for parent, enabled in (("cart", True), ("legacy", False)):
        server.define(parent)
        await _by_hand(server, "POST", "../../dependencies", {"feature": parent, "enabled": enabled})
    await _write(service, Exposure(percent=100))
    assert len(Sdk(server).exposed()) == KEYS
    assert (await service.read(REF)).depends_on == ()


# -- trouble --------------------------------------------------------------------------------------------------------

TROUBLE = {
    "not authorized": (_answers(401, name="UnauthorizedError"), "set SLUICE_UNLEASH_TOKEN"),
    "not allowed": (_answers(403, name="PermissionError"), "must be an admin token"),
    "the page that answers for what is not there, such as OFREP": (lambda _request: _page(), "did not answer in JSON"),
    "elsewhere": (_answers(301, {"Location": "https://elsewhere.example.com"}), "sent Sluice elsewhere"),
    "refused": (_answers(400, name="BadDataError", details=[{"message": "Bad\nidea"}]), "refused it (400): Bad idea."),
    "refused with details by name": (_answers(400, details={"flag": "no"}), "refused it (400): it gave no reason."),
    "another answer": (_answers(200, hello="there"), "as no release does"),
}


async def _page() -> httpx.Response:
    return httpx.Response(200, text="<html>")


@pytest.mark.parametrize("kind", TROUBLE)
async def test_an_answer_that_helps_nobody_says_what_to_do(
    server: FakeUnleash, service: UnleashFlagService, kind: str
) -> None:
    server.went_wrong = [TROUBLE[kind][0]]
    with pytest.raises(FlagServiceUnavailable) as failure:
        await service.read(REF)
    assert TROUBLE[kind][1] in str(failure.value)
    assert TOKEN not in "".join(traceback.format_exception(failure.value))
    assert server.requests == 1


@pytest.mark.parametrize(
    "trouble", [_answers(502), _answers(429), *map(_fails, (httpx.ReadTimeout, httpx.ConnectError))]
)
async def test_reading_is_tried_again(
    server: FakeUnleash, service: UnleashFlagService, trouble: Callable[..., Awaitable[Any]], no_waiting: list[float]
) -> None:
    server.went_wrong = [trouble, trouble]
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    assert (server.requests, len(no_waiting)) == (3, 2)


async def test_trying_ends(server: FakeUnleash, service: UnleashFlagService, no_waiting: list[float]) -> None:
    server.went_wrong = [_answers(503)] * 9
    with pytest.raises(FlagServiceUnavailable, match=r"answered 503; see its logs"):
        await service.read(REF)
    assert server.requests == 4


async def test_a_wait_that_the_service_asks_for_is_kept(
    server: FakeUnleash, service: UnleashFlagService, no_waiting: list[float]
) -> None:
    server.went_wrong = [_answers(429, {"Retry-After": "2"})]
    await service.read(REF)
    assert 2 <= no_waiting[0] < 3


async def test_a_wait_beyond_the_call_is_told_at_once(server: FakeUnleash, service: UnleashFlagService) -> None:
    server.went_wrong = [_answers(429, {"Retry-After": "60"})]
    with pytest.raises(FlagServiceUnavailable, match="wants fewer requests"):
        await service.read(REF)
    assert server.requests == 1


@pytest.mark.parametrize("trouble", [_answers(502), _fails(httpx.ReadTimeout)])
async def test_a_raise_is_sent_once(
    server: FakeUnleash, service: UnleashFlagService, trouble: Callable[..., Awaitable[Any]]
) -> None:
    for before, requests in ((None, 2), (Exposure(percent=1), 2)):
        if before is not None:
            await _write(service, before)
        server.requests = 0
        server.went_wrong = [server.really, trouble]
        with pytest.raises(FlagServiceUnavailable):
            await _write(service, Exposure(percent=50))
        assert server.requests == requests


async def test_what_was_never_sent_is_sent_again(
    server: FakeUnleash, service: UnleashFlagService, no_waiting: list[float]
) -> None:
    server.went_wrong = [server.really, _fails(httpx.ConnectError), _answers(429)]
    await _write(service, Exposure(percent=50))
    assert server.asked == ["POST strategies", "POST on"]


@pytest.mark.parametrize("percent", [50, 0])
async def test_only_nobody_is_still_set_after_a_wait_in_which_the_flag_may_change(
    server: FakeUnleash, service: UnleashFlagService, no_waiting: list[float], percent: float
) -> None:
    await _write(service, Exposure(percent=5))
    server.went_wrong = [server.really, _answers(429, {"Retry-After": "4"})]
    if percent:
        with pytest.raises(FlagServiceUnavailable, match=r"wants fewer requests \(429\)"):
            await _write(service, Exposure(percent=percent))
    else:
        await _write(service, NOT_EXPOSED)
    with urgently():
        assert (await service.read(REF)).exposure == Exposure(percent=5 if percent else 0)


async def test_nobody_is_harmed_by_taking_back_twice(
    server: FakeUnleash, service: UnleashFlagService, no_waiting: list[float]
) -> None:
    await _write(service, Exposure(percent=50))
    server.went_wrong = [server.really, _answers(502)]
    await _write(service, NOT_EXPOSED)
    assert (await service.read(REF)).exposure == NOT_EXPOSED


async def test_a_strategy_made_twice_is_left_once(server: FakeUnleash, service: UnleashFlagService) -> None:
    async def lost(request: httpx.Request) -> httpx.Response:
        await server.really(request)
        raise httpx.ReadTimeout("no", request=request)

    server.went_wrong = [server.really, lost]
    with pytest.raises(FlagServiceUnavailable, match="can't be reached"):
        await _write(service, Exposure(percent=5))
    await _by_hand(server, "POST", "strategies", server.strategy(REF.flag) | {"id": "late"})
    await _write(service, Exposure(percent=5))
    assert len(server.environment(REF.flag)["strategies"]) == 1
    assert (await service.read(REF)).exposure == Exposure(percent=5)


async def test_what_two_writes_left_goes_before_what_stays_is_lowered(
    server: FakeUnleash, service: UnleashFlagService
) -> None:
    shadow = {"name": "shadow", "weight": 1000, "weightType": "variable", "stickiness": "default"}
    left = (_strategy("50", title="Set by Sluice", variants=[shadow]), *[_strategy("50", title="Set by Sluice")] * 2)
    for strategy in left:
        await _by_hand(server, "POST", "strategies", strategy)
    server.environment(REF.flag)["enabled"] = True
    first, second, third = (one["id"] for one in server.environment(REF.flag)["strategies"])
    assert Sdk(server).variants() == {"shadow", "disabled"}
    await _write(service, NOT_EXPOSED)
    assert server.asked == [
        f"DELETE strategies/{third}",
        f"DELETE strategies/{second}",
        f"PATCH strategies/{first}",
    ]
    assert (await service.read(REF)).exposure == NOT_EXPOSED


async def test_a_server_that_hangs_is_left_in_time(server: FakeUnleash) -> None:
    async def for_ever(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    server.went_wrong = [for_ever]
    async with opened(server, timeout_s=0.05) as service:
        with pytest.raises(FlagServiceUnavailable, match=r"did not answer within 0\.05 s"):
            await service.read(REF)


# -- settings -------------------------------------------------------------------------------------------------------


async def test_a_project_that_is_not_there(server: FakeUnleash) -> None:
    async with opened(server, project="shop") as service:
        with pytest.raises(FlagServiceUnavailable, match=r"no project 'shop': set flags\.unleash\.project"):
            await service.check()


async def test_an_environment_that_is_not_there(server: FakeUnleash) -> None:
    async with opened(server, environment="live") as service:
        with pytest.raises(FlagServiceUnavailable, match=r"no environment 'live', only development, production"):
            await service.check()


def test_a_token_comes_from_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert UnleashOptions(url=ADDRESS, token_file=file).secret() == TOKEN


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (UnleashOptions(token=SecretStr(TOKEN)), "flags.unleash.url is not set"),
        (UnleashOptions(url=ADDRESS), "set SLUICE_UNLEASH_TOKEN"),
        (UnleashOptions(url=ADDRESS, token=SecretStr("a\nb")), "copy it again"),
        (UnleashOptions(url=ADDRESS, token_file=Path("nowhere")), "can't be read"),
    ],
)
def test_a_wrong_setting_is_one_sentence(options: UnleashOptions, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        UnleashFlagService(options, timeout=timedelta(seconds=1))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("unleash.example.com", "starts with https"),
        ("https://me:secret@unleash.example.com", "leave credentials, "),
        ("https://unleash.example.com/?token=secret", r"leave credentials, a \? and a # out of the address"),
        ("https://unleash.example.com/#secret", r"leave credentials, a \? and a # out of the address"),
    ],
)
def test_an_address_that_will_not_do_is_not_repeated(url: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as failure:
        UnleashOptions(url=url)
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("url", ["https://unleash.example.com", "https://unleash.example.com/api/"])
def test_the_address_may_be_that_of_the_page_or_of_the_api(url: str) -> None:
    assert UnleashOptions(url=url).url == "https://unleash.example.com/"


@pytest.fixture
def no_waiting(service: UnleashFlagService) -> list[float]:
    """How long was waited, in seconds, without waiting."""
    waited = list[float]()

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    service._api._sleep = sleep
    return waited
