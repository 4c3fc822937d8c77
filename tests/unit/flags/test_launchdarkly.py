"""LaunchDarkly's traps, against the strict fake; what is served is what its server-side SDK says."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import product
from typing import Any

import httpx
import pytest

from tests.contract.flags.conftest import launchdarkly_options
from tests.contract.flags.fake_launchdarkly import FakeLaunchDarkly
from tests.unit.flags.launchdarkly_sdk import Sdk, running_sdk
from tools.flags.base import FlagRef, FlagVersionConflict, NotSettable
from tools.flags.launchdarkly.service import LaunchDarklyFlagService
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

REF = FlagRef("checkout", "production")
ACME = Audience(tenants=("acme",))
KEYS = 2_000


def rollout(*weights: tuple[int, int], **more: object) -> dict[str, Any]:
    """What a rule serves: variations and their thousandths of a percent."""
    return {"rollout": {"variations": [{"variation": one, "weight": weight} for one, weight in weights], **more}}


def clause(attribute: str, *values: str, **more: object) -> dict[str, Any]:
    return {"contextKind": "user", "attribute": attribute, "op": "in", "negate": False, "values": list(values), **more}


def rule(served: dict[str, Any], *clauses: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"_id": "rule", "clauses": list(clauses), "trackEvents": False, **served, **more}


@pytest.fixture
def server() -> FakeLaunchDarkly:
    fake = FakeLaunchDarkly()
    fake.define(REF.flag)
    return fake


@asynccontextmanager
async def opened(transport: httpx.AsyncBaseTransport, **options: object) -> AsyncIterator[LaunchDarklyFlagService]:
    """The service over a transport; `options` differ from the contract's."""
    service = LaunchDarklyFlagService(
        launchdarkly_options(**options), timeout=timedelta(seconds=5), transport=transport
    )
    yield service
    await service.close()


@pytest.fixture(params=[True, False], ids=["json-patch", "semantic-patch"])
async def service(request: pytest.FixtureRequest, server: FakeLaunchDarkly) -> AsyncIterator[LaunchDarklyFlagService]:
    async with opened(server, compare_and_set=request.param) as service:
        yield service


@pytest.fixture
def sdk(server: FakeLaunchDarkly) -> Iterator[Sdk]:
    with running_sdk(server, REF.flag) as sdk:
        yield sdk


async def write(service: LaunchDarklyFlagService, exposure: Exposure, ref: FlagRef = REF) -> None:
    await service.write(ref, exposure, expected=(await service.read(ref)).version)


# -- what services are served ---------------------------------------------------------------------------------------


async def test_a_quarter_is_a_quarter(service: LaunchDarklyFlagService, sdk: Sdk) -> None:
    await write(service, Exposure(percent=25))
    assert sdk.share(10_000) == pytest.approx(25, abs=1.5)


async def test_shares_are_met_sticky_and_only_grow(service: LaunchDarklyFlagService, sdk: Sdk) -> None:
    before = set[str]()
    for percent in (1, 10, 33.333, 100):
        await write(service, Exposure(percent=percent))
        exposed = sdk.exposed(KEYS)
        assert len(exposed) / KEYS * 100 == pytest.approx(percent, abs=3)
        assert before <= exposed == sdk.exposed(KEYS)
        before = exposed


async def test_an_audience_by_tenant_and_region(service: LaunchDarklyFlagService, sdk: Sdk) -> None:
    await write(service, Exposure(percent=100, audience=Audience(tenants=("acme", "globex"), regions=("eu",))))
    assert sdk.share(100, tenant="globex", region="eu") == 100
    assert not sdk.exposed(tenant="globex", region="us")
    assert not sdk.exposed(tenant="initech", region="eu")
    assert not sdk.exposed(tenant="acme")


async def test_everyone_is_dealt_as_the_audience_was(service: LaunchDarklyFlagService, sdk: Sdk) -> None:
    await write(service, Exposure(percent=20, audience=ACME))
    of_acme = sdk.exposed(tenant="acme")
    await write(service, Exposure(percent=20))
    assert sdk.exposed(tenant="acme") == of_acme


async def test_shadow_and_live_are_different_variations(service: LaunchDarklyFlagService, sdk: Sdk) -> None:
    await write(service, Exposure(percent=50, mode=Mode.SHADOW))
    shadowed = sdk.exposed(value="shadow")
    assert shadowed
    assert not sdk.exposed(value="new")
    await write(service, Exposure(percent=50))
    assert sdk.exposed(value="new") == shadowed


async def test_nobody_in_shadow_is_read_back_as_that(service: LaunchDarklyFlagService) -> None:
    for audience in (Audience(), ACME):
        for percent in (10, 0, 0):
            exposure = Exposure(percent=percent, mode=Mode.SHADOW, audience=audience)
            await write(service, exposure)
            assert (await service.read(REF)).exposure == exposure


async def test_without_a_shadow_variation_there_are_no_shadow_stages(server: FakeLaunchDarkly) -> None:
    server.define("two", False, True)
    async with opened(server, shadow_variation=None) as service:
        assert not service.capabilities.shadow
    async with opened(server) as service:
        with pytest.raises(NotSettable, match="no variation 'shadow'"):
            await write(service, Exposure(percent=1, mode=Mode.SHADOW), FlagRef("two", "production"))


@pytest.mark.parametrize("off", [0, 1])
async def test_a_flag_of_true_and_false_has_its_off_variation_for_control(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService, off: int
) -> None:
    server.define("switch", True, False, off=off)
    ref = FlagRef("switch", "production")
    state = await service.read(ref)
    assert (state.control, state.treatment) == (("true", "false"), ("false", "true"))[off]
    await write(service, Exposure(percent=25), ref)
    with running_sdk(server, "switch") as sdk:
        assert sdk.share(10_000, value=off == 1) == pytest.approx(25, abs=1.5)


# -- never more than asked ------------------------------------------------------------------------------------------


class Watching(httpx.AsyncBaseTransport):
    """Looks at what is served after every request."""

    def __init__(self, server: FakeLaunchDarkly, sdk: Sdk) -> None:
        self._server = server
        self._sdk = sdk
        self.most = set[str]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._server.handle_async_request(request)
        self.most |= self._sdk.exposed(tenant="acme", region="eu")
        return answer


STARTS: dict[str, dict[str, Any]] = {
    "new": {},
    "off, and for everyone once it is on": {"fallthrough": {"variation": 1}},
    "on for nobody": {"on": True, "fallthrough": {"variation": 0}},
    "on at 30": {"on": True, "fallthrough": rollout((0, 70_000), (1, 30_000))},
    "on at 30, the new one first": {"on": True, "fallthrough": rollout((1, 30_000), (0, 70_000), (2, 0))},
    "on for a tenant": {
        "on": True,
        "fallthrough": {"variation": 0},
        "rules": [rule({"variation": 1}, clause("tenant", "globex"))],
    },
}
TARGETS = (NOT_EXPOSED, Exposure(percent=5), Exposure(percent=60, audience=ACME), Exposure(percent=100))


@pytest.mark.parametrize(("start", "target"), list(product(STARTS, TARGETS)), ids=str)
async def test_nobody_is_exposed_in_between(server: FakeLaunchDarkly, sdk: Sdk, start: str, target: Exposure) -> None:
    server.change(REF.flag, **STARTS[start])
    before = sdk.exposed(tenant="acme", region="eu")
    watching = Watching(server, sdk)
    async with opened(watching) as service:
        for _ in range(2):  # the second time nothing is left to change
            await write(service, target)
            assert (await service.read(REF)).exposure == target
    after = sdk.exposed(tenant="acme", region="eu")
    assert watching.most <= before | after
    assert len(after) / 200 * 100 == pytest.approx(target.percent, abs=9)


async def test_the_exposure_and_the_switch_are_one_request(server: FakeLaunchDarkly) -> None:
    async with opened(server) as service:
        await write(service, Exposure(percent=15))
    [body] = server.asked
    weights = [{"variation": 0, "weight": 85_000}, {"variation": 1, "weight": 15_000}]
    assert body["patch"] == [
        {"op": "test", "path": "/environments/production/version", "value": 1},
        {
            "op": "replace",
            "path": "/environments/production/fallthrough",
            "value": {"rollout": {"variations": weights, "contextKind": "user"}},
        },
        {"op": "replace", "path": "/environments/production/on", "value": True},
    ]


async def test_semantic_patches_are_in_thousandths_of_a_percent(server: FakeLaunchDarkly) -> None:
    old, new, _ = (variation["_id"] for variation in server.flags[REF.flag]["variations"])
    async with opened(server, compare_and_set=False) as service:
        await write(service, Exposure(percent=15))
    [body] = server.asked
    assert body["environmentKey"] == "production"
    assert body["instructions"] == [
        {
            "kind": "updateFallthroughVariationOrRollout",
            "rolloutWeights": {old: 85_000, new: 15_000},
            "rolloutContextKind": "user",
        },
        {"kind": "turnFlagOn"},
    ]


# -- traps ----------------------------------------------------------------------------------------------------------


async def test_a_context_without_the_kind_gets_the_first_variation_even_at_0(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService, sdk: Sdk
) -> None:
    server.change(REF.flag, on=True, fallthrough=rollout((1, 0), (0, 100_000)))
    assert sdk.without_user() == "new"
    for exposure in (NOT_EXPOSED, Exposure(percent=50), NOT_EXPOSED):
        await write(service, exposure)
        assert sdk.without_user() == "old"


async def test_a_patch_that_changes_nothing_keeps_the_version_and_so_is_not_left_at_that(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService
) -> None:
    for exposure in (NOT_EXPOSED, Exposure(percent=0.001), Exposure(percent=100, audience=ACME)):
        await write(service, exposure)
        before, sent = server.environment(REF.flag)["version"], len(server.asked)
        await write(service, exposure)
        assert server.environment(REF.flag)["version"] > before
        assert len(server.asked) == sent + 3


async def test_what_people_dealt_stays_dealt(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService, sdk: Sdk
) -> None:
    by_company = rollout((0, 70_000), (1, 30_000), contextKind="user", bucketBy="company", seed=7)
    server.change(REF.flag, on=True, fallthrough=by_company)
    before = sdk.exposed()
    await write(service, Exposure(percent=50))
    after = server.environment(REF.flag)["fallthrough"]["rollout"]
    assert (after["contextKind"], after["bucketBy"]) == ("user", "company")
    assert before <= sdk.exposed()


async def test_the_seed_of_a_rollout_stays(server: FakeLaunchDarkly) -> None:
    server.change(REF.flag, on=True, fallthrough=rollout((0, 70_000), (1, 30_000), seed=7))
    async with opened(server) as service:
        await write(service, Exposure(percent=50))
    assert server.environment(REF.flag)["fallthrough"]["rollout"]["seed"] == 7


async def test_a_rule_keeps_what_it_is_beside_its_rollout(
    server: FakeLaunchDarkly, service: LaunchDarklyFlagService
) -> None:
    mine = rule(rollout((0, 90_000), (1, 10_000)), clause("tenant", "acme"), description="Ours", trackEvents=True)
    server.change(REF.flag, on=True, rules=[mine], fallthrough={"variation": 0})
    await write(service, Exposure(percent=20, audience=ACME))
    [after] = server.environment(REF.flag)["rules"]
    assert (after["_id"], after["description"], after["trackEvents"]) == ("rule", "Ours", True)
    await write(service, Exposure(percent=20, audience=Audience(regions=("eu",))))
    [after] = server.environment(REF.flag)["rules"]
    assert [one["attribute"] for one in after["clauses"]] == ["region"]


async def test_audiences_may_be_of_other_kinds_of_context(server: FakeLaunchDarkly) -> None:
    async with opened(server, tenant_kind="organization", tenant_attribute="key") as service:
        await write(service, Exposure(percent=20, audience=ACME))
        assert (await service.read(REF)).exposure.audience == ACME
    [[made]] = [one["clauses"] for one in server.environment(REF.flag)["rules"]]
    assert (made["contextKind"], made["attribute"], made["values"]) == ("organization", "key", ["acme"])


async def test_writes_of_two_at_once_are_one(server: FakeLaunchDarkly) -> None:
    async with opened(server) as one, opened(server) as other:
        version = (await one.read(REF)).version
        writes = [
            service.write(REF, Exposure(percent=percent), expected=version)
            for service, percent in ((one, 10), (other, 20))
        ]
        results = await asyncio.gather(*writes, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["FlagVersionConflict", "NoneType"]
    assert isinstance(next(result for result in results if result is not None), FlagVersionConflict)


async def test_prerequisites_are_told(server: FakeLaunchDarkly, service: LaunchDarklyFlagService) -> None:
    server.change(REF.flag, prerequisites=[{"key": "cart", "variation": 0}])
    assert (await service.read(REF)).depends_on == ("cart",)
