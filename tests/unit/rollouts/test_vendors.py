"""Rollouts of a flag that is in LaunchDarkly, Flagsmith or GrowthBook, taken back when that is possible again."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.contract.flags.conftest import flagsmith_options, growthbook_options, launchdarkly_options
from tests.contract.flags.fake_flagsmith import FakeFlagsmith
from tests.contract.flags.fake_growthbook import FakeGrowthBook
from tests.contract.flags.fake_launchdarkly import FakeLaunchDarkly
from tests.unit.flags.troubles import without_waiting
from tests.unit.rollouts.world import FLAG, JONAS, World, by_kind, running_world
from tools.flags.flagsmith.service import FlagsmithFlagService
from tools.flags.growthbook.service import GrowthBookFlagService
from tools.flags.launchdarkly.service import LaunchDarklyFlagService
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase

BAD = {"new": (50, 40)}
SOON = timedelta(seconds=5)
AT_ONCE = timedelta(0)

Server = FakeLaunchDarkly | FakeFlagsmith | FakeGrowthBook


@dataclass
class Vendor:
    """A vendor's fake, the service over it, how approvals become necessary there or not, and what it says then."""

    server: Server
    service: LaunchDarklyFlagService | FlagsmithFlagService | GrowthBookFlagService
    approvals: Callable[[bool], None]
    words: str


def _launchdarkly() -> Vendor:
    server = FakeLaunchDarkly()
    service = LaunchDarklyFlagService(launchdarkly_options(sdk_refresh=AT_ONCE), timeout=SOON, transport=server)

    def approvals(wanted: bool) -> None:
        server.approvals = {"production"} if wanted else set()

    return Vendor(server, service, approvals, "Approval is required to make this request")


def _flagsmith() -> Vendor:
    server = FakeFlagsmith()
    service = FlagsmithFlagService(flagsmith_options(sdk_refresh=AT_ONCE), timeout=SOON, transport=server)

    def approvals(wanted: bool) -> None:
        server.change_requests = {"Production"} if wanted else set()

    return Vendor(server, service, approvals, "Cannot update flags in an environment with change requests enabled")


def _growthbook() -> Vendor:
    server = FakeGrowthBook()
    service = GrowthBookFlagService(growthbook_options(sdk_refresh=AT_ONCE), timeout=SOON, transport=server)

    def approvals(wanted: bool) -> None:
        server.approvals = wanted

    return Vendor(server, service, approvals, "[approval-required] This revision requires approval")


VENDORS = {"launchdarkly": _launchdarkly, "flagsmith": _flagsmith, "growthbook": _growthbook}


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    made = VENDORS[request.param]()
    made.server.define(FLAG.flag)
    without_waiting(made.service._api)
    return made


@pytest.fixture
async def world(vendor: Vendor) -> AsyncIterator[World]:
    async with running_world(other=vendor.service) as world:
        yield world
    await vendor.service.close()


async def served(vendor: Vendor) -> float:
    return (await vendor.service.read(FLAG)).exposure.percent


async def test_a_rollback_waits_for_what_people_must_change_there(world: World, vendor: Vendor) -> None:
    view = await world.started()
    await world.live(view.id, 2)
    assert await served(vendor) == 5
    vendor.approvals(True)
    while view.phase is Phase.PROGRESSING:
        view = await world.live(view.id, 1, **BAD)
    assert view.phase is Phase.ROLLING_BACK
    # At once, and not after a minute.
    stuck = next(event for event in await world.events(view.id) if event.kind == Happening.ROLLBACK_STUCK)
    assert "Sluice has approvals of its own and must be able to roll back" in str(stuck.payload["error"])
    assert vendor.words in str(stuck.payload["error"])
    vendor.approvals(False)
    view = await world.live(view.id, 1)
    assert await served(vendor) == 0
    # Only where versions are compared is it over: elsewhere a write from before may still land.
    compared = vendor.service.capabilities.compare_and_set
    assert (view.phase is Phase.ROLLED_BACK) is compared
    assert (await world.live(view.id, 0 if compared else 9)).phase is Phase.ROLLED_BACK


async def test_a_raise_pauses_until_people_have_seen_to_it_there(world: World, vendor: Vendor) -> None:
    view = await world.started()
    await world.live(view.id, 2)
    vendor.approvals(True)
    while view.phase is Phase.PROGRESSING:
        view = await world.live(view.id, 1)
    assert (view.phase, await served(vendor)) == (Phase.PAUSED, 5)
    paused = by_kind(await world.events(view.id))[Happening.PAUSED]
    assert vendor.words in str(paused.payload["reason"])
    before = vendor.server.requests
    await world.live(view.id, 3)
    # A look at the flag takes two requests at most: nothing is sent again.
    assert vendor.server.requests - before <= 6
    assert (await world.kinds(view.id)).count(Happening.PAUSED) == 1
    vendor.approvals(False)
    await world.service.resume(view.id, actor=JONAS)
    assert await served(vendor) == 25
