"""Flagsmith's traps, against the strict fake; what is served is what the engine of Flagsmith's SDKs says."""

import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from flag_engine.engine import get_evaluation_result
from pydantic import SecretStr, ValidationError

from tests.contract.flags.conftest import flagsmith_options
from tests.contract.flags.fake_flagsmith import TOKEN, FakeFlagsmith
from tests.unit.flags.troubles import Answer, answers, fails, without_waiting
from tools.errors import ConfigurationError
from tools.flags.base import ApprovalRequired, FlagNotFound, FlagRef, FlagServiceUnavailable, NotSettable
from tools.flags.flagsmith.options import FlagsmithOptions
from tools.flags.flagsmith.service import FlagsmithFlagService
from tools.plans.model import NOT_EXPOSED, Exposure, Mode

REF = FlagRef("checkout", "production")
KEYS = 2_000
DEALT = "flag_engine.segments.evaluator.get_hashed_percentage_for_object_ids"


@pytest.fixture
def server() -> FakeFlagsmith:
    fake = FakeFlagsmith()
    fake.define(REF.flag)
    return fake


@asynccontextmanager
async def opened(
    transport: httpx.AsyncBaseTransport, *, environment: str | None = None, **options: object
) -> AsyncIterator[FlagsmithFlagService]:
    """The service over a transport; `options` differ from the contract's."""
    service = FlagsmithFlagService(
        flagsmith_options(**options), timeout=timedelta(seconds=5), environment=environment, transport=transport
    )
    without_waiting(service._api)
    yield service
    await service.close()


@pytest.fixture
async def service(server: FakeFlagsmith) -> AsyncIterator[FlagsmithFlagService]:
    async with opened(server) as service:
        yield service


async def write(service: FlagsmithFlagService, exposure: Exposure) -> None:
    await service.write(REF, exposure, expected=ANY)


def served(server: FakeFlagsmith, user: str) -> object:
    """What the engine serves an identity: the value where the flag is on."""
    context: Any = {**server.context(REF.flag), "identity": {"identifier": user, "key": user}}
    flag = get_evaluation_result(context)["flags"][REF.flag]
    return flag["value"] if flag["enabled"] else "off"


def exposed(server: FakeFlagsmith, keys: int = 200, value: object = "new") -> set[str]:
    """The identities of so many that are served the value."""
    return {user for user in (f"user-{number}" for number in range(keys)) if served(server, user) == value}


# -- what services are served ---------------------------------------------------------------------------------------


async def test_a_quarter_is_a_quarter(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    await write(service, Exposure(percent=25))
    assert len(exposed(server, 10_000)) / 100 == pytest.approx(25, abs=1.5)


async def test_shares_are_met_sticky_and_only_grow(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    before = set[str]()
    for percent in (1, 10, 33.33, 100):
        await write(service, Exposure(percent=percent))
        now = exposed(server, KEYS)
        assert len(now) / KEYS * 100 == pytest.approx(percent, abs=3)
        assert before <= now == exposed(server, KEYS)
        before = now


async def test_a_hundredth_is_what_the_engine_can_tell_apart(
    server: FakeFlagsmith, service: FlagsmithFlagService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts() -> list[int]:
        """Which of the first parts into which the engine deals identities are served treatment."""
        found = list[int]()
        for part in range(5):
            dealt = part / 9_998 * 100
            monkeypatch.setattr(DEALT, partial(lambda dealt, *_, **__: dealt, dealt))
            found += [part] * (served(server, "anybody") == "new")
        return found

    for percent, expected in ((0.01, [0]), (0.02, [0, 1]), (0.03, [0, 1, 2])):
        await write(service, Exposure(percent=percent))
        assert parts() == expected
    server.weigh(REF.flag, 0.001, 0)
    assert parts() == [0], "a finer weight is served as a hundredth"


async def test_shadow_and_live_are_different_variants(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    await write(service, Exposure(percent=50, mode=Mode.SHADOW))
    shadowed = exposed(server, value="shadow")
    assert shadowed
    assert not exposed(server)
    await write(service, Exposure(percent=50))
    assert exposed(server) == shadowed


async def test_a_flag_without_the_shadow_variant_has_no_shadow_stages(server: FakeFlagsmith) -> None:
    async with opened(server, shadow_variant=None, treatment="new") as service:
        assert not service.capabilities.shadow
    async with opened(server, shadow_variant="dark", treatment="new") as service:
        with pytest.raises(NotSettable, match="no variant 'dark'"):
            await write(service, Exposure(percent=1, mode=Mode.SHADOW))


class Watching(httpx.AsyncBaseTransport):
    """Looks at what is served after every request."""

    def __init__(self, server: FakeFlagsmith) -> None:
        self._server = server
        self.most = set[str]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._server.handle_async_request(request)
        self.most |= exposed(self._server)
        return answer


STARTS = {"off": ((0, 0), False), "off, with everyone's weight": ((100, 0), False), "on at 30": ((30, 0), True)}
TARGETS = (NOT_EXPOSED, Exposure(percent=5), Exposure(percent=60), Exposure(percent=100))


@pytest.mark.parametrize(("start", "target"), list(product(STARTS, TARGETS)), ids=str)
async def test_nobody_is_exposed_in_between(server: FakeFlagsmith, start: str, target: Exposure) -> None:
    weights, enabled = STARTS[start]
    server.weigh(REF.flag, *weights, enabled=enabled)
    before, watching = exposed(server), Watching(server)
    async with opened(watching) as service:
        await write(service, target)
        assert (await service.read(REF)).exposure == target
    after = exposed(server)
    assert watching.most <= before | after
    assert len(after) / 2 == pytest.approx(target.percent, abs=7)
    assert len(server.asked) == 1


# -- traps ----------------------------------------------------------------------------------------------------------


async def test_every_variant_is_named(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    await write(service, Exposure(percent=10.5))
    treatment, shadow = (option["id"] for option in server.features[REF.flag]["multivariate_options"])
    weights = [{"id": treatment, "weight": 10.5}, {"id": shadow, "weight": 0}]
    assert server.asked == [{"environment_default": {"enabled": True, "variants": weights}}]


async def test_the_value_that_is_control_stays(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    await write(service, Exposure(percent=10))
    assert server.state(REF.flag)["environment_default"]["value"] == {"type": "string", "value": "old"}


async def test_a_flag_that_is_off_serves_nobody(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    server.weigh(REF.flag, 40, 0, enabled=False)
    assert (await service.read(REF)).exposure == NOT_EXPOSED


async def test_a_change_by_hand_makes_another_version(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    before = await service.read(REF)
    server.weigh(REF.flag, 0, 0, enabled=True)
    assert (await service.read(REF)).version != before.version


@pytest.mark.parametrize(
    ("values", "value", "names"),
    [((True,), False, ("false", "true")), ((2,), 1, ("1", "2")), (("two words",), None, ("control", "on"))],
)
async def test_variants_go_by_their_values(
    server: FakeFlagsmith, service: FlagsmithFlagService, values: tuple[object, ...], value: object, names: object
) -> None:
    server.define("other", *values, value=value)
    state = await service.read(FlagRef("other", "production"))
    assert ((state.control, state.treatment), state.obstacle) == (names, "")


async def test_flags_whose_names_begin_alike_are_apart(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    server.page_size = 1
    server.define("checkout-2")
    server.weigh("checkout-2", 9, 0)
    assert (await service.read(FlagRef("checkout-2", "production"))).exposure == Exposure(percent=9)
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    assert [state.ref.flag for state in await service.list("production")] == ["checkout", "checkout-2"]


async def test_an_archived_flag_is_not_there(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    server.features[REF.flag]["is_archived"] = True
    assert not await service.list("production")
    with pytest.raises(FlagNotFound, match="archived"):
        await service.read(REF)


# -- flags that people built ----------------------------------------------------------------------------------------


def _overridden(server: FakeFlagsmith) -> None:
    server.weigh(REF.flag, 10, 0)
    default = server.state(REF.flag)["environment_default"]
    shares = [{**share, "weight": 20.0005} for share in default["variants"]]
    server.state(REF.flag)["segment_overrides"] = [
        {"segment": {"id": 1}, "priority": 0, **default, "variants": shares},
    ]


def _individual(server: FakeFlagsmith) -> None:
    server.weigh(REF.flag, 10, 0)
    server.features[REF.flag]["num_identity_overrides"] = 1


def _switch(server: FakeFlagsmith) -> None:
    del server.features[REF.flag]
    server.define(REF.flag, None)
    server.weigh(REF.flag)


def _ambiguous(server: FakeFlagsmith) -> None:
    del server.features[REF.flag]
    server.define(REF.flag, "a", "b")
    server.weigh(REF.flag, 10, 0)


FOREIGN = {
    "segments": (_overridden, "segment overrides", 40.001),
    "individuals": (_individual, "identity overrides", 100),
    "a switch": (_switch, "it has no variants", 100),
    "two that can be the new one": (_ambiguous, "several variants", 10),
    "two variants": (lambda server: server.weigh(REF.flag, 30, 20), "serves several variants", 50),
    "a fine weight": (lambda server: server.weigh(REF.flag, 10.00001, 0), "finer than plans can say", 10.001),
}


@pytest.mark.parametrize("built", FOREIGN)
async def test_what_is_no_exposure_is_named_and_only_lowered(
    server: FakeFlagsmith, service: FlagsmithFlagService, built: str
) -> None:
    build, why, most = FOREIGN[built]
    build(server)
    [state] = await service.list(REF.environment)
    assert why in state.obstacle
    assert state.exposure == Exposure(percent=most)
    with pytest.raises(NotSettable, match=why):
        await write(service, Exposure(percent=100))
    assert server.asked == []
    await write(service, NOT_EXPOSED)
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    assert not server.state(REF.flag)["environment_default"]["enabled"]
    assert not any(one["enabled"] for one in server.state(REF.flag)["segment_overrides"])


# -- trouble --------------------------------------------------------------------------------------------------------


async def test_change_requests_are_named_with_what_to_do(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    server.change_requests.add("Production")
    with pytest.raises(ApprovalRequired, match="wants change requests there: switch them off"):
        await write(service, Exposure(percent=5))
    async with opened(server, environment="production") as checked:
        with pytest.raises(FlagServiceUnavailable, match="In Production Flagsmith wants change requests"):
            await checked.check()


TROUBLE = {
    "not authorized": (answers(401), "set SLUICE_FLAGSMITH_TOKEN"),
    "not allowed": (answers(403, detail="no"), "the API key must be an organisation's"),
    "a page": (answers(200, text="<html>"), "did not answer in JSON"),
    "refused": (answers(400, detail="Bad\nidea"), "refused it (400): Bad idea."),
    "another answer": (answers(200, hello="there"), "otherwise than its Admin API does"),
    "no rows": (answers(200, results=[{"id": "x"}]), "otherwise than its Admin API does"),
}


@pytest.mark.parametrize("kind", TROUBLE)
async def test_an_answer_that_helps_nobody_says_what_to_do(
    server: FakeFlagsmith, service: FlagsmithFlagService, kind: str
) -> None:
    for before in (0, 1, 2):
        server.went_wrong = [server.really] * before + [TROUBLE[kind][0]]
        async with opened(server) as service:
            with pytest.raises(FlagServiceUnavailable) as failure:
                await service.read(REF)
        assert TROUBLE[kind][1] in str(failure.value)
        assert TOKEN not in "".join(traceback.format_exception(failure.value))


async def test_a_key_of_nobody_is_told(server: FakeFlagsmith) -> None:
    async with opened(server, token=SecretStr("of-nobody")) as service:
        with pytest.raises(FlagServiceUnavailable, match="does not allow it: the API key"):
            await service.check()


@pytest.mark.parametrize("trouble", [answers(503), answers(429, {"Retry-After": "1"}), fails(httpx.ReadTimeout)])
async def test_reading_and_switching_off_are_tried_again_and_a_share_is_sent_once(
    server: FakeFlagsmith, service: FlagsmithFlagService, trouble: Answer
) -> None:
    server.went_wrong = [trouble, trouble]
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    server.weigh(REF.flag, 50, 0)
    # What lowers a flag now would raise it when it lands after a rollback.
    for percent in (40, 60):
        server.went_wrong = [server.really, server.really, answers(502)]
        with pytest.raises(FlagServiceUnavailable):
            await write(service, Exposure(percent=percent))
        assert (await service.read(REF)).exposure == Exposure(percent=50)
    server.went_wrong = [server.really, server.really, trouble]
    await write(service, NOT_EXPOSED)
    assert (await service.read(REF)).exposure == NOT_EXPOSED


@pytest.mark.parametrize(("at", "message"), [(2, "has no endpoint for updating flags"), (3, "any more")])
async def test_a_flag_that_goes_while_it_is_set(
    server: FakeFlagsmith, service: FlagsmithFlagService, at: int, message: str
) -> None:
    server.went_wrong = [server.really] * at + [answers(404)]
    with pytest.raises(FlagNotFound, match=message):
        await write(service, Exposure(percent=5))


async def test_what_was_not_stored_as_sent_is_told(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    server.went_wrong = [server.really] * 3 + [answers(200, **server.state(REF.flag))]
    with pytest.raises(FlagServiceUnavailable, match="did not store 5 %"):
        await write(service, Exposure(percent=5))


async def test_a_list_that_does_not_end_is_left(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    server.went_wrong = [server.really, *[answers(200, results=[], next="more")] * 200]
    assert await service.list("production") == []
    assert server.requests == 101


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"project": 8}, "no environment 'production' that the key may see, only none"),
        (
            {"environments": {"production": "live"}},
            "no environment 'live' that the key may see, only Production, staging",
        ),
    ],
)
async def test_what_is_wrong_is_said(server: FakeFlagsmith, options: dict[str, Any], message: str) -> None:
    async with opened(server, environment="production", **options) as service:
        with pytest.raises(FlagServiceUnavailable, match=message):
            await service.check()


async def test_a_flagsmith_that_is_too_old_is_told(server: FakeFlagsmith) -> None:
    async with opened(server, environment="production") as service:
        await service.check()
        server.went_wrong = [server.really, server.really, answers(404)]
        with pytest.raises(FlagServiceUnavailable, match=r"has no endpoint for updating flags .* update it"):
            await service.check()
        server.went_wrong = [server.really, answers(404), server.really, answers(404)]
        with pytest.raises(FlagServiceUnavailable, match=r"has no endpoint for updating flags .* update it"):
            await service.list("production")
        server.features.clear()
        await service.check()


async def test_what_is_deleted_while_listing_may_be_all_there_is(
    server: FakeFlagsmith, service: FlagsmithFlagService
) -> None:
    async def deleted(request: httpx.Request) -> httpx.Response:
        server.features.clear()
        return await server.really(request)

    server.went_wrong = [server.really, server.really, deleted]
    assert await service.list("production") == []


async def test_a_page_that_is_gone_ends_the_list(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    server.define("checkout-2")
    server.page_size = 1

    async def deleted(request: httpx.Request) -> httpx.Response:
        del server.features["checkout-2"]
        return await server.really(request)

    server.went_wrong = [server.really, server.really, deleted]
    assert [state.ref.flag for state in await service.list("production")] == ["checkout"]


async def test_a_project_that_is_not_there(server: FakeFlagsmith, service: FlagsmithFlagService) -> None:
    server.went_wrong = [server.really, answers(404, detail="Not found.")]
    with pytest.raises(FlagServiceUnavailable, match=r"no project 7 .* set flags\.flagsmith\.project"):
        await service.read(REF)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (FlagsmithOptions(token=SecretStr(TOKEN)), r"flags\.flagsmith\.project is not set"),
        (FlagsmithOptions(project=7), r"set SLUICE_FLAGSMITH_TOKEN, or flags\.flagsmith\.token_file"),
        (FlagsmithOptions(project=7, token_file=Path("nowhere")), "can't be read"),
    ],
)
def test_a_wrong_setting_is_one_sentence(options: FlagsmithOptions, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FlagsmithFlagService(options, timeout=timedelta(seconds=1))


def test_the_address_may_be_that_of_the_api(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"Api-Key {TOKEN}\n")
    options = FlagsmithOptions(url="https://flags.example.com/api/v1/", token_file=tmp_path / "token")
    assert (options.url, options.secret()) == ("https://flags.example.com", TOKEN)
    with pytest.raises(ValidationError, match="leave credentials, ") as failure:
        FlagsmithOptions(url="https://me:secret@flags.example.com")
    assert "secret" not in str(failure.value)
