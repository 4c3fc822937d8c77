"""A rollout whose Unleash is killed while treatment does harm, and started again."""

import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.contract.flags.conftest import unleash_options
from tests.unit.rollouts.world import FLAG, World, running_world
from tests.unleash import OwnUnleash, UnleashServer, own_unleash, talking_to
from tools.flags.unleash.service import UnleashFlagService
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase

BAD = {"new": (50, 40)}
BACK_WITHIN_S = 10

pytestmark = pytest.mark.real


async def test_a_rollback_is_done_within_ten_seconds_of_its_return(tmp_path: Path) -> None:
    async with own_unleash(tmp_path) as own, talking_to(own.url) as server:
        await server.define(FLAG.flag)
        options = unleash_options(own.url, server.admin_token).model_copy(update={"sdk_refresh": timedelta(0)})
        service = UnleashFlagService(options, timeout=timedelta(seconds=10))
        async with running_world(other=service) as world:
            await _harmed_without_unleash(world, own, server)
        await service.close()


async def _harmed_without_unleash(world: World, own: OwnUnleash, server: UnleashServer) -> None:
    view = await world.started()
    await world.live(view.id, 2)
    assert await _served(server) == (True, "5")
    own.kill()
    view = await world.live(view.id, 8, **BAD)
    assert view.phase is Phase.ROLLING_BACK
    assert Happening.ROLLBACK_STUCK in await world.kinds(view.id)
    await own.start()
    assert await _served(server) == (True, "5")
    began = time.monotonic()
    while await _served(server) != (True, "0"):
        assert time.monotonic() - began < BACK_WITHIN_S
        world.clock.advance(1)
        await world.controller.tick()


async def _served(server: UnleashServer) -> tuple[bool, str]:
    room = await server.ask("GET", f"features/{FLAG.flag}/environments/{FLAG.environment}")
    return room["enabled"], room["strategies"][0]["parameters"]["rollout"]
