"""Flags that people built in LaunchDarkly in a way that no exposure describes, and what goes wrong."""

import traceback
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from tests.contract.flags.fake_launchdarkly import TOKEN, FakeLaunchDarkly
from tests.unit.flags.launchdarkly_sdk import running_sdk
from tests.unit.flags.test_launchdarkly import ACME, REF, clause, opened, rollout, rule, write
from tests.unit.flags.troubles import Answer, answers, fails, lost, without_waiting
from tools.errors import ConfigurationError
from tools.flags.base import (
    ApprovalRequired,
    FlagNotFound,
    FlagRef,
    FlagServiceUnavailable,
    FlagVersionConflict,
    NotSettable,
)
from tools.flags.launchdarkly.options import LaunchDarklyOptions
from tools.flags.launchdarkly.service import LaunchDarklyFlagService
from tools.plans.model import NOT_EXPOSED, Exposure


@pytest.fixture
def server() -> FakeLaunchDarkly:
    fake = FakeLaunchDarkly()
    fake.define(REF.flag)
    return fake


@pytest.fixture(params=[True, False], ids=["json-patch", "semantic-patch"])
async def service(request: pytest.FixtureRequest, server: FakeLaunchDarkly) -> AsyncIterator[LaunchDarklyFlagService]:
    async with opened(server, compare_and_set=request.param) as service:
        yield service


# -- flags that people built ----------------------------------------------------------------------------------------

TEN = rollout((0, 90_000), (1, 10_000))
FOREIGN: dict[str, tuple[dict[str, Any], str, float]] = {
    "two rules": (
        {
            "rules": [rule(TEN, clause("tenant", "a")), rule({"variation": 0}, clause("tenant", "b"))],
            "fallthrough": TEN,
        },
        "it has 2 targeting rules",
        10,
    ),
    "a rule beside the default rule": (
        {"rules": [rule(rollout((0, 60_000), (1, 40_000)), clause("tenant", "a"))], "fallthrough": TEN},
        "both its rule and its default rule",
        40,
    ),
    "a target": ({"targets": [{"values": ["mira"], "variation": 1}], "fallthrough": TEN}, "individual targets", 100),
    "a target of another kind": (
        {"contextTargets": [{"values": ["phone"], "variation": 0, "contextKind": "device"}], "fallthrough": TEN},
        "individual targets",
        10,
    ),
    "another attribute": (
        {"rules": [rule(TEN, clause("plan", "gold"))], "fallthrough": {"variation": 0}},
        "not one list of tenants",
        10,
    ),
    "another kind of context": (
        {"rules": [rule(TEN, clause("tenant", "a", contextKind="device"))], "fallthrough": {"variation": 0}},
        "not one list of tenants",
        10,
    ),
    "all but a tenant": (
        {"rules": [rule(TEN, clause("tenant", "a", negate=True))], "fallthrough": {"variation": 0}},
        "not one list of tenants",
        10,
    ),
    "a segment": (
        {"rules": [rule({"variation": 1}, clause("segmentMatch", "beta", op="segmentMatch"))], "fallthrough": TEN},
        "not one list of tenants",
        100,
    ),
    "no conditions": ({"rules": [rule(TEN)], "fallthrough": {"variation": 0}}, "no conditions", 10),
    "a disabled rule": (
        {"rules": [rule(TEN, clause("tenant", "a"), disabled=True)], "fallthrough": {"variation": 0}},
        "is disabled",
        10,
    ),
    "a tenant that plans can't hold": (
        {"rules": [rule(TEN, clause("tenant", "Acme Inc."))], "fallthrough": {"variation": 0}},
        "that plans can't hold",
        10,
    ),
    "two new ones": ({"fallthrough": rollout((0, 50_000), (1, 30_000), (2, 20_000))}, "other variations", 50),
    "an experiment": (
        {"fallthrough": rollout((0, 50_000), (1, 50_000), experimentAllocation={"defaultVariation": 0})},
        "an experiment or a guarded rollout runs on it",
        100,
    ),
    "nothing served": ({"fallthrough": {}}, "serves nothing that Sluice knows", 100),
    "no off variation": ({"fallthrough": TEN, "offVariation": None}, "no off variation", 100),
    "the shadow variation when off": ({"fallthrough": TEN, "offVariation": 2}, "off variation is the shadow", 100),
}


@pytest.mark.parametrize("built", FOREIGN)
async def test_what_is_no_exposure_is_named_and_only_lowered(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService, built: str
) -> None:
    parts, why, most = FOREIGN[built]
    server.change(REF.flag, on=True, **parts)
    [state] = await service.list(REF.environment)
    assert why in state.obstacle
    assert state.exposure == Exposure(percent=most)
    with pytest.raises(NotSettable, match=why):
        await write(service, Exposure(percent=100))
    assert server.asked == []
    server.environment(REF.flag)["fallthrough"] = parts["fallthrough"] or {"variation": 1}
    await write(service, NOT_EXPOSED)
    assert (await service.read(REF)).exposure == NOT_EXPOSED
    with running_sdk(server, REF.flag) as sdk:
        assert not sdk.exposed()


@pytest.mark.parametrize(
    ("values", "options", "why"),
    [
        (("a", "b", "c"), {}, "several variations that can be the new one"),
        (({"x": 1}, {"x": 2}), {}, "neither a value nor a name"),
        (("a", "b", "c"), {"treatment": "c"}, ""),
        ((1, 2), {}, ""),
    ],
)
async def test_variations_must_be_told_apart(
    server: FakeLaunchDarkly, values: tuple[object, ...], options: dict[str, Any], why: str
) -> None:
    server.define("many", *values)
    server.change("many", fallthrough={"variation": 0})
    async with opened(server, **options) as service:
        state = await service.read(FlagRef("many", "production"))
    assert why in state.obstacle
    assert bool(state.obstacle) is bool(why)
    if not why:
        assert (state.control, state.treatment) == (str(values[0]), str(values[-1]))


async def test_a_variation_of_an_object_goes_by_its_name(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService
) -> None:
    server.define("layout", {"columns": 1}, {"columns": 2})
    for variation, name in zip(server.flags["layout"]["variations"], ("narrow", "wide"), strict=True):
        variation["name"] = name
    state = await service.read(FlagRef("layout", "production"))
    assert (state.control, state.treatment, state.obstacle) == ("narrow", "wide", "")


async def test_a_migration_flag_is_left_alone(server: FakeLaunchDarkly, service: LaunchDarklyFlagService) -> None:
    server.flags[REF.flag]["_purpose"] = "migration"
    assert "migration flag" in (await service.read(REF)).obstacle


async def test_an_archived_flag_is_not_there(server: FakeLaunchDarkly, service: LaunchDarklyFlagService) -> None:
    server.flags[REF.flag]["archived"] = True
    assert not await service.list(REF.environment)
    with pytest.raises(FlagNotFound, match="archived"):
        await service.read(REF)


async def test_lists_are_read_to_their_end(server: FakeLaunchDarkly, service: LaunchDarklyFlagService) -> None:
    for number in range(205):
        server.define(f"flag-{number:03}")
    assert len(await service.list("production")) == 206
    assert server.requests == 3


# -- refusals -------------------------------------------------------------------------------------------------------


async def test_approvals_there_are_named_with_what_to_do(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService
) -> None:
    server.approvals.add("production")
    with pytest.raises(ApprovalRequired, match="bypass required approvals"):
        await write(service, Exposure(percent=5))
    assert (await service.read(REF)).exposure == NOT_EXPOSED


async def test_a_change_that_waits_is_told_of_and_holds_up_no_lowering(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService
) -> None:
    await write(service, Exposure(percent=50))
    server.pending.add(REF.flag)
    with pytest.raises(NotSettable, match=r"pending scheduled change\): where a scheduled change"):
        await write(service, Exposure(percent=60))
    for exposure in (Exposure(percent=40), Exposure(percent=30, audience=ACME), NOT_EXPOSED):
        await write(service, exposure)
        assert (await service.read(REF)).exposure == exposure


@pytest.mark.parametrize("status", [400, 409, 422])
async def test_a_failed_test_is_a_conflict_whatever_it_is_answered_with(server: FakeLaunchDarkly, status: int) -> None:
    server.test_failed = status

    async def changed_before(request: httpx.Request) -> httpx.Response:
        server.change(REF.flag, on=True)
        return await server.really(request)

    async with opened(server) as service:
        version = (await service.read(REF)).version
        server.went_wrong = [server.really, changed_before]
        with pytest.raises(FlagVersionConflict, match="at version 2, not 1"):
            await service.write(REF, Exposure(percent=5), expected=version)
    assert server.asked == []


BUSY = answers(409, code="optimistic_locking_error", message="Conflict. Optimistic lock error. Try again later.")


async def test_a_patch_that_came_at_the_same_time_as_another_is_sent_again(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService
) -> None:
    server.went_wrong = [server.really, server.really, BUSY, server.really, BUSY, server.really]
    await write(service, Exposure(percent=5))
    server.went_wrong = [server.really, server.really, *[BUSY, server.really] * 3]
    with pytest.raises(FlagServiceUnavailable, match="all the time"):
        await write(service, Exposure(percent=6))


@pytest.mark.parametrize(("percent", "left"), [(50, 1), (0, 0)])
async def test_a_hand_that_came_at_the_same_time_is_respected_but_for_nobody(
    server: FakeLaunchDarkly, percent: float, left: float
) -> None:
    async with opened(server, compare_and_set=False) as service, opened(server) as hand:
        await service.write(REF, Exposure(percent=5), expected=ANY)
        version = (await service.read(REF)).version

        async def a_hand(request: httpx.Request) -> httpx.Response:
            await hand.write(REF, Exposure(percent=1), expected=version)
            return await BUSY(request)

        server.went_wrong = [server.really, a_hand]
        written = service.write(REF, Exposure(percent=percent), expected=version)
        if percent:
            with pytest.raises(FlagVersionConflict, match=f"not {version}; read it again"):
                await written
        else:
            await written
        assert (await service.read(REF)).exposure == Exposure(percent=left)


async def test_a_lost_answer_is_asked_for_again_where_the_version_is_tested(server: FakeLaunchDarkly) -> None:
    async with opened(server) as service:
        without_waiting(service._api)
        version = (await service.read(REF)).version
        server.went_wrong = [server.really, lost(server.really)]
        with pytest.raises(FlagVersionConflict):
            await service.write(REF, Exposure(percent=5), expected=version)
        assert (await service.read(REF)).exposure == Exposure(percent=5)


@pytest.mark.parametrize("percent", [5, 60])
async def test_a_share_without_a_test_is_sent_once(server: FakeLaunchDarkly, percent: float) -> None:
    async with opened(server, compare_and_set=False) as service:
        await service.write(REF, Exposure(percent=50), expected=ANY)
        before = server.requests
        server.went_wrong = [server.really, answers(502)]
        with pytest.raises(FlagServiceUnavailable):
            await service.write(REF, Exposure(percent=percent), expected=ANY)
        assert server.requests - before == 2


async def test_nobody_without_a_test_is_tried_again(server: FakeLaunchDarkly) -> None:
    async with opened(server, compare_and_set=False) as service:
        without_waiting(service._api)
        await service.write(REF, Exposure(percent=50), expected=ANY)
        server.went_wrong = [server.really, answers(502)]
        await service.write(REF, NOT_EXPOSED, expected=ANY)
        assert (await service.read(REF)).exposure == NOT_EXPOSED


@pytest.mark.parametrize(
    ("gone", "error", "message"),
    [
        (answers(404), FlagNotFound, "deleted in LaunchDarkly"),
        (answers(403, message="no"), FlagServiceUnavailable, "must be allowed"),
    ],
)
async def test_a_flag_that_goes_while_it_is_set(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService, gone: Answer, error: type[Exception], message: str
) -> None:
    server.went_wrong = [server.really, server.really, gone]
    with pytest.raises(error, match=message):
        await write(service, Exposure(percent=5))


async def test_a_flag_that_is_archived_while_it_is_set(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService
) -> None:
    async def archived(request: httpx.Request) -> httpx.Response:
        server.flags[REF.flag]["archived"] = True
        return await server.really(request)

    server.went_wrong = [server.really, server.really, archived]
    with pytest.raises(FlagNotFound, match="it is archived"):
        await write(service, Exposure(percent=5))


async def test_a_patch_may_be_answered_without_environments(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService
) -> None:
    server.answers_environments = False
    await write(service, Exposure(percent=5))
    assert (await service.read(REF)).exposure == Exposure(percent=5)


async def test_what_was_not_stored_as_sent_is_told(server: FakeLaunchDarkly, service: LaunchDarklyFlagService) -> None:
    async def otherwise(request: httpx.Request) -> httpx.Response:
        await server.really(request)
        server.change(REF.flag, on=True, fallthrough=rollout((0, 0), (1, 100_000)))
        return httpx.Response(200, json=server.flags[REF.flag])

    server.went_wrong = [server.really, server.really, otherwise]
    with pytest.raises(FlagServiceUnavailable, match="did not store 5 %"):
        await write(service, Exposure(percent=5))


# -- trouble --------------------------------------------------------------------------------------------------------

TROUBLE = {
    "not authorized": (answers(401), "set SLUICE_LAUNCHDARKLY_TOKEN"),
    "not allowed": (answers(403), "must be allowed to read and to change flags"),
    "a page": (answers(200, text="<html>"), "did not answer in JSON"),
    "elsewhere": (answers(301, {"Location": "https://elsewhere.example.com"}), "sent Sluice elsewhere"),
    "another answer": (answers(200, hello="there"), "otherwise than its API does in version 20240415"),
}


@pytest.mark.parametrize("kind", TROUBLE)
async def test_an_answer_that_helps_nobody_says_what_to_do(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService, kind: str
) -> None:
    server.went_wrong = [TROUBLE[kind][0]]
    with pytest.raises(FlagServiceUnavailable) as failure:
        await service.read(REF)
    assert TROUBLE[kind][1] in str(failure.value)
    assert TOKEN not in "".join(traceback.format_exception(failure.value))
    assert server.requests == 1


async def test_an_environment_that_is_answered_without_words_is_none(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService
) -> None:
    server.went_wrong = [answers(200, items=[{**server.flags[REF.flag], "environments": {}}], totalCount=1)]
    assert await service.list("nowhere") == []
    server.went_wrong = [answers(200, **{**server.flags[REF.flag], "environments": {}})]
    with pytest.raises(FlagNotFound, match="checkout in nowhere"):
        await service.read(FlagRef(REF.flag, "nowhere"))


async def test_a_list_that_does_not_end_is_left(server: FakeLaunchDarkly, service: LaunchDarklyFlagService) -> None:
    server.went_wrong = [answers(200, items=[server.flags[REF.flag]], totalCount=10_000)] * 200
    assert len(await service.list("production")) == 100


async def test_a_list_that_is_none_is_told(server: FakeLaunchDarkly, service: LaunchDarklyFlagService) -> None:
    server.went_wrong = [answers(200, items="none")]
    with pytest.raises(FlagServiceUnavailable, match="not answer as its API does"):
        await service.list("production")


async def test_the_end_of_a_window_is_waited_for(server: FakeLaunchDarkly, service: LaunchDarklyFlagService) -> None:
    waited = without_waiting(service._api)
    told = {"Date": "Mon, 23 Nov 2026 09:00:00 GMT", "X-Ratelimit-Reset": "1795424403500"}
    server.went_wrong = [answers(429, told), answers(429, {"Retry-After": "1"}), answers(429, {"Date": "never"})]
    await service.read(REF)
    assert [3.5 <= waited[0] < 5, 1 <= waited[1] < 2, waited[2] < 1] == [True] * 3


@pytest.mark.parametrize("trouble", [answers(503), fails(httpx.ConnectError), fails(httpx.ReadTimeout)])
async def test_reading_is_tried_again(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService, trouble: Answer
) -> None:
    without_waiting(service._api)
    server.went_wrong = [trouble, trouble]
    assert (await service.read(REF)).exposure == NOT_EXPOSED


# -- the doctor -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"project": "nope"}, "no project 'nope'"),
        ({"environments": {"production": "live"}}, "no environment 'live'"),
        ({"token": SecretStr("of-nobody")}, "set SLUICE_LAUNCHDARKLY_TOKEN"),
    ],
)
async def test_what_is_wrong_is_said(server: FakeLaunchDarkly, options: dict[str, Any], message: str) -> None:
    async with opened(server, **options) as service:
        with pytest.raises(FlagServiceUnavailable, match=message):
            await service.check()


async def _checked(server: FakeLaunchDarkly, **options: object) -> None:
    async with opened(server, environments={"production": "production"}, **options) as service:
        await service.check()
        await service.check()


async def test_a_patch_is_tried_once_without_changing_anything(server: FakeLaunchDarkly) -> None:
    before = server.environment(REF.flag)["version"]
    await _checked(server)
    assert (server.asked, server.environment(REF.flag)["version"]) == ([], before)
    assert server.requests == 2 + 2 + 2


async def test_approvals_are_told_before_they_are_in_the_way(server: FakeLaunchDarkly) -> None:
    server.approvals.add("production")
    with pytest.raises(FlagServiceUnavailable, match="In production LaunchDarkly wants changes there to be approved"):
        await _checked(server)
    await _checked(server, compare_and_set=False)


@pytest.mark.parametrize(
    ("answer", "message"),
    [(answers(422, message="No such path"), r"\(No such path\).*compare_and_set = false"), (answers(403), "the role")],
)
async def test_a_version_that_is_not_tested_is_told(server: FakeLaunchDarkly, answer: Answer, message: str) -> None:
    server.went_wrong = [server.really, server.really, server.really, answer]
    with pytest.raises(FlagServiceUnavailable, match=message):
        await _checked(server)


async def test_a_project_without_flags_has_nothing_to_try(server: FakeLaunchDarkly) -> None:
    server.flags.clear()
    await _checked(server)


# -- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (LaunchDarklyOptions(), "set SLUICE_LAUNCHDARKLY_TOKEN, or flags.launchdarkly.token_file"),
        (LaunchDarklyOptions(token=SecretStr("a\nb")), "copy it again"),
        (LaunchDarklyOptions(token_file=Path("nowhere")), "flags.launchdarkly.token_file nowhere can't be read"),
    ],
)
def test_a_wrong_setting_is_one_sentence(options: LaunchDarklyOptions, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LaunchDarklyFlagService(options, timeout=timedelta(seconds=1))


def test_the_address_of_another_region(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    options = LaunchDarklyOptions(url="https://app.eu.launchdarkly.com/api/v2/", token_file=tmp_path / "token")
    assert (options.url, options.secret()) == ("https://app.eu.launchdarkly.com", TOKEN)
    with pytest.raises(ValidationError, match="leave credentials, ") as failure:
        LaunchDarklyOptions(url="https://me:secret@app.launchdarkly.com")
    assert "secret" not in str(failure.value)
