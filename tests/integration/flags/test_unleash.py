"""A real Unleash: what its own SDK serves after Sluice's writes, and the traps, so that the fake has them too."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from tests.contract.flags.conftest import unleash_options
from tests.integration.flags.unleash_sdk import Sdk, running_sdk
from tests.unleash import UnleashServer, named_unleash
from tools.flags.base import FlagNotFound, FlagRef, FlagServiceUnavailable, NotSettable
from tools.flags.unleash.service import UnleashFlagService
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

REF = FlagRef("checkout", "production")
PLACE = f"features/{REF.flag}/environments/{REF.environment}"
KEYS = 2_000
ROUNDS = 5
FLEXIBLE = {"name": "flexibleRollout", "parameters": {"rollout": "50", "stickiness": "default", "groupId": REF.flag}}
VARIANT = {"name": "express", "weight": 1000, "weightType": "variable", "stickiness": "default"}

pytestmark = pytest.mark.real


@pytest.fixture
async def server() -> AsyncIterator[UnleashServer]:
    async with named_unleash() as server:
        await server.define(REF.flag)
        yield server


@pytest.fixture
async def service(server: UnleashServer) -> AsyncIterator[UnleashFlagService]:
    options = unleash_options(server.url, server.admin_token)
    service = UnleashFlagService(options, timeout=timedelta(seconds=30), environment=REF.environment)
    yield service
    await service.close()


@pytest.fixture
async def sdk(server: UnleashServer, tmp_path: Path) -> AsyncIterator[Sdk]:
    async with running_sdk(server, REF.flag, tmp_path) as sdk:
        yield sdk


async def _write(service: UnleashFlagService, exposure: Exposure) -> None:
    await service.write(REF, exposure, expected=ANY)


async def _strategy(server: UnleashServer) -> dict[str, Any]:
    [strategy] = await server.ask("GET", f"{PLACE}/strategies")
    return dict(strategy)


def _compared(rollout: str) -> list[dict[str, str]]:
    path = "/parameters/rollout"
    return [{"op": "test", "path": path, "value": "50"}, {"op": "replace", "path": path, "value": rollout}]


class TestTheSdk:
    async def test_shares_are_met_sticky_and_only_grow(self, service: UnleashFlagService, sdk: Sdk) -> None:
        before = set[str]()
        for percent in (5, 50, 100):
            await _write(service, Exposure(percent=percent))
            await sdk.sees(lambda: len(sdk.exposed(KEYS)) > len(before))  # noqa: B023 - waited for within the turn
            exposed = sdk.exposed(KEYS)
            assert len(exposed) / KEYS * 100 == pytest.approx(percent, abs=3)
            assert before <= exposed
            assert sdk.exposed(KEYS) == exposed
            before = exposed
        await _write(service, NOT_EXPOSED)
        await sdk.sees(lambda: not sdk.exposed(KEYS))

    async def test_an_audience_by_tenant_and_region(self, service: UnleashFlagService, sdk: Sdk) -> None:
        await _write(service, Exposure(percent=100, audience=Audience(tenants=("acme", "globex"), regions=("eu",))))
        await sdk.sees(lambda: len(sdk.exposed(50, tenant="globex", region="eu")) == 50)
        for outside in (
            {"tenant": "globex", "region": "us"},
            {"tenant": "initech", "region": "eu"},
            {"tenant": "acme"},
        ):
            assert not sdk.exposed(50, **outside)

    async def test_shadow_and_live_are_different_variants(self, service: UnleashFlagService, sdk: Sdk) -> None:
        await _write(service, Exposure(percent=50, mode=Mode.SHADOW))
        await sdk.sees(lambda: sdk.variants(KEYS) == {"shadow", "disabled"})
        shadowed = sdk.exposed(KEYS)
        await _write(service, Exposure(percent=50))
        await sdk.sees(lambda: sdk.variants(KEYS) == {"new", "disabled"})
        assert sdk.exposed(KEYS) == shadowed

    async def test_a_rollout_that_is_no_whole_percent_serves_nobody(
        self, server: UnleashServer, service: UnleashFlagService, sdk: Sdk
    ) -> None:
        await _write(service, Exposure(percent=50))
        await sdk.sees(lambda: bool(sdk.exposed(100)))
        path = f"{PLACE}/strategies/{(await _strategy(server))['id']}"
        await server.ask("PATCH", path, [{"op": "replace", "path": "/parameters/rollout", "value": "150"}])
        assert "not a whole number" in (await service.read(REF)).obstacle
        await sdk.sees(lambda: not sdk.exposed(KEYS))


class TestTraps:
    async def test_put_wipes_variants_and_a_change_keeps_them(
        self, server: UnleashServer, service: UnleashFlagService
    ) -> None:
        await server.ask("POST", f"{PLACE}/strategies", FLEXIBLE | {"variants": [VARIANT]})
        await _write(service, Exposure(percent=20))
        kept = await _strategy(server)
        assert kept["variants"] == [VARIANT]
        assert (await service.read(REF)).treatment == "express"
        await server.ask("PUT", f"{PLACE}/strategies/{kept['id']}", FLEXIBLE)
        assert (await _strategy(server))["variants"] == []

    async def test_on_without_a_strategy_makes_one_for_everyone(
        self, server: UnleashServer, service: UnleashFlagService
    ) -> None:
        await server.ask("POST", f"{PLACE}/on")
        assert (await _strategy(server))["parameters"]["rollout"] == "100"
        assert (await service.read(REF)).exposure == Exposure(percent=100)

    @pytest.mark.parametrize("rollout", ["150", "abc", "33.5"])
    async def test_any_rollout_is_stored(
        self, server: UnleashServer, service: UnleashFlagService, rollout: str
    ) -> None:
        await server.ask("POST", f"{PLACE}/strategies", FLEXIBLE | {"parameters": {"rollout": rollout}})
        assert (await _strategy(server))["parameters"]["rollout"] == rollout
        assert "not a whole number" in (await service.read(REF)).obstacle

    async def test_a_disabled_last_strategy_takes_the_flag_with_it(
        self, server: UnleashServer, service: UnleashFlagService
    ) -> None:
        await _write(service, Exposure(percent=50))
        path = f"{PLACE}/strategies/{(await _strategy(server))['id']}"
        for disabled in (True, False):
            await server.ask("PATCH", path, [{"op": "replace", "path": "/disabled", "value": disabled}])
            assert (await service.read(REF)).exposure == NOT_EXPOSED
        await _write(service, Exposure(percent=5))
        assert (await service.read(REF)).exposure == Exposure(percent=5)

    async def test_an_archived_flag_takes_a_patch_but_is_not_there(
        self, server: UnleashServer, service: UnleashFlagService
    ) -> None:
        await _write(service, Exposure(percent=50))
        path = f"{PLACE}/strategies/{(await _strategy(server))['id']}"
        await server.ask("POST", "archive", {"features": [REF.flag]})
        await server.ask("PATCH", path, [{"op": "replace", "path": "/parameters/rollout", "value": "60"}])
        with pytest.raises(FlagNotFound, match="archived"):
            await _write(service, Exposure(percent=70))
        assert not await service.list(REF.environment)

    async def test_a_test_operation_is_not_compare_and_set(
        self, server: UnleashServer, service: UnleashFlagService
    ) -> None:
        won = 0
        for _ in range(ROUNDS):
            await _write(service, Exposure(percent=50))
            path = f"{PLACE}/strategies/{(await _strategy(server))['id']}"
            answers = await asyncio.gather(
                *(server.client.patch(path, json=_compared(str(percent))) for percent in range(1, 11))
            )
            won = max(won, sum(answer.is_success for answer in answers))
        assert won > 1
        assert not service.capabilities.compare_and_set

    async def test_several_strategies_are_lowered_only(
        self, server: UnleashServer, service: UnleashFlagService
    ) -> None:
        for _ in range(2):
            await server.ask("POST", f"{PLACE}/strategies", FLEXIBLE)
        await server.ask("POST", f"{PLACE}/on")
        state = await service.read(REF)
        assert (state.exposure, state.obstacle) == (
            Exposure(percent=100),
            "it has 2 strategies; leave one gradual rollout",
        )
        with pytest.raises(NotSettable):
            await _write(service, Exposure(percent=100))
        await _write(service, NOT_EXPOSED)
        assert (await service.read(REF)).exposure == NOT_EXPOSED

    async def test_a_parent_is_told(self, server: UnleashServer, service: UnleashFlagService) -> None:
        await server.define("cart")
        await server.define("legacy")
        await server.ask("POST", f"features/{REF.flag}/dependencies", {"feature": "cart"})
        assert (await service.read(REF)).depends_on == ("cart",)
        await server.ask("POST", f"features/{REF.flag}/dependencies", {"feature": "legacy", "enabled": False})
        assert (await service.read(REF)).depends_on == ()


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"token": "of-nobody"}, "set SLUICE_UNLEASH_TOKEN"),
            ({"token": "default:production.of-a-service"}, "must be an admin token"),
            ({"project": "nope"}, "no project 'nope'"),
            ({"environments": {"production": "live"}}, "no environment 'live'"),
        ],
    )
    async def test_is_said(self, server: UnleashServer, changes: dict[str, Any], message: str) -> None:
        token = changes.pop("token", server.admin_token)
        options = unleash_options(server.url, token).model_copy(update=changes)
        service = UnleashFlagService(options, timeout=timedelta(seconds=30), environment=REF.environment)
        with pytest.raises(FlagServiceUnavailable, match=message):
            await service.check()
        await service.close()
