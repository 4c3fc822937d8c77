"""Rollouts of a flag that is in Unleash: promoted there, taken back after an outage, and people's own changes."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from tests.contract.flags.conftest import unleash_options
from tests.contract.flags.fake_unleash import TOKEN, FakeUnleash
from tests.unit.rollouts.world import FLAG, JONAS, World, running_world
from tools.flags.unleash.service import UnleashFlagService
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase

BAD = {"new": (50, 40)}


@pytest.fixture
def server() -> FakeUnleash:
    fake = FakeUnleash()
    fake.define(FLAG.flag)
    return fake


@pytest.fixture
async def world(server: FakeUnleash) -> AsyncIterator[World]:
    options = unleash_options("https://unleash.example.com", TOKEN).model_copy(update={"sdk_refresh": timedelta(0)})
    service = UnleashFlagService(options, timeout=timedelta(seconds=5), transport=server)
    service._api._sleep = _at_once
    async with running_world(other=service) as world:
        yield world
    await service.close()


async def _at_once(_seconds: float) -> None:
    """Retries need not wait here."""


async def _nobody_answers(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("down", request=request)


def served(server: FakeUnleash) -> str:
    """What Unleash serves: the rollout where the flag is on."""
    room = server.environment(FLAG.flag)
    if not room["enabled"]:
        return "off"
    return "+".join(one["parameters"]["rollout"] for one in room["strategies"])


async def test_each_stage_is_set_there(world: World, server: FakeUnleash) -> None:
    view = await world.started()
    assert served(server) == "5"
    for _ in range(400):
        view = await world.live(view.id, 1)
        if served(server) == "25":
            break
    assert (served(server), view.phase) == ("25", Phase.PROGRESSING)


async def test_an_outage_delays_a_rollback_and_no_longer(world: World, server: FakeUnleash) -> None:
    view = await world.started()
    await world.live(view.id, 2)
    server.went_wrong = [_nobody_answers] * 10_000
    view = await world.live(view.id, 12, **BAD)
    assert view.phase is Phase.ROLLING_BACK
    assert served(server) == "5"
    assert Happening.ROLLBACK_STUCK in await world.kinds(view.id)
    server.went_wrong.clear()
    await world.live(view.id, 1)
    assert served(server) == "0"
    # Without compare-and-set a write from before may still land: that is watched for.
    await world.live(view.id, 1)
    assert (await world.service.get(view.id)).phase is Phase.ROLLING_BACK
    server.environment(FLAG.flag)["strategies"][0]["parameters"]["rollout"] = "25"
    await world.live(view.id, 1)
    assert served(server) == "0"
    assert (await world.live(view.id, 8)).phase is Phase.ROLLED_BACK


async def test_a_strategy_that_somebody_adds_pauses_and_pages(world: World, server: FakeUnleash) -> None:
    view = await world.started()
    room = server.environment(FLAG.flag)
    room["strategies"].append(server.strategy(FLAG.flag) | {"id": "by-hand", "title": "for the beta"})
    view = await world.live(view.id, 2)
    assert view.phase is Phase.PAUSED
    changed = next(event for event in await world.events(view.id) if event.kind == Happening.CHANGED_BY_HAND)
    assert (changed.payload["expected"], changed.payload["found"], changed.payload["raised"]) == ("5 %", "10 %", True)
    await world.service.roll_back(view.id, actor=JONAS, reason="who was that?")
    assert served(server) == "off"
