"""kill -9 of the real process in each phase and between its steps; started again, the rollout ends as it should.

`SLUICE_TEST_SEED` repeats the random moments of a run that failed; a failure prints it.
"""

import asyncio
import os
import random

import pytest

from bot import texts
from bot.demo.slack import SlackRefused
from tests.acceptance.crash.site import BAD, CUSTOMERS, FLAG, REQUESTER, Site
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase

CHECKS_S = 0.5
"""Time for a few gate checks."""
FIRST_SHARE = 5 / CUSTOMERS
"""What a stage of 10 % serves of the customers asked."""
KILLS = 2
LONGEST_LIFE_S = 1.0
SEED = "SLUICE_TEST_SEED"

pytestmark = pytest.mark.timeout(120)


async def test_while_the_start_waits_for_an_approval_and_in_the_first_stage(site: Site) -> None:
    await site.proposed()
    await site.kill()
    with pytest.raises(SlackRefused):
        await site.press(texts.APPROVE)
    await site.start()
    await site.press(texts.APPROVE)
    await site.happened(Happening.EXPOSURE_CONFIRMED)
    await site.kill()
    assert site.times(Happening.PROMOTED) == 0
    await site.start()
    await site.ends(Phase.SUCCEEDED)


async def test_between_the_posted_card_and_the_note_of_where_it_is(site: Site) -> None:
    site.hold("card places")
    await site.proposed()
    await site.kill()
    site.release()
    await site.start()
    await site.press(texts.APPROVE)
    await site.ends(Phase.SUCCEEDED)


async def test_what_breaks_while_nobody_watches_is_found(site: Site) -> None:
    await site.started()
    await site.kill()
    site.telemetry.rate = BAD
    await site.start()
    await site.ends(Phase.ROLLED_BACK)


async def test_between_the_decision_to_promote_and_the_flag(site: Site) -> None:
    site.hold("later flag writes")
    await site.started()
    await site.happened(Happening.PROMOTED)
    await asyncio.sleep(CHECKS_S)
    assert await site.served() == FIRST_SHARE
    await site.kill()
    assert site.times(Happening.EXPOSURE_CONFIRMED) == 1
    site.release()
    await site.start()
    await site.ends(Phase.SUCCEEDED)


async def test_between_the_raised_flag_and_its_confirmation(site: Site) -> None:
    site.hold("later confirmations")
    await site.started()
    await site.happened(Happening.PROMOTED)
    await site.until_served(1.0)
    await site.kill()
    assert site.times(Happening.EXPOSURE_CONFIRMED) == 1
    site.release()
    await site.start()
    await site.ends(Phase.SUCCEEDED)


async def test_while_a_promotion_waits_for_an_approval(asking_site: Site) -> None:
    site = asking_site
    await site.started()
    await site.happened(Happening.APPROVAL_REQUESTED, 2)
    await site.kill()
    await site.start()
    await asyncio.sleep(CHECKS_S)
    assert await site.served() < 1, "waiting is no approval"
    await site.press(texts.APPROVE)
    await site.ends(Phase.SUCCEEDED)


async def test_what_breaks_before_the_approval_comes_is_rolled_back(asking_site: Site) -> None:
    site = asking_site
    await site.started()
    await site.happened(Happening.APPROVAL_REQUESTED, 2)
    await site.kill()
    site.telemetry.rate = BAD
    await site.start()
    await site.ends(Phase.ROLLED_BACK)
    assert site.times(Happening.APPROVAL_VOIDED) == 1


async def test_while_it_is_paused(site: Site) -> None:
    await site.started()
    await site.rollout(f"pause {FLAG}")
    await site.happened(Happening.PAUSED)
    await site.kill()
    await site.start()
    await asyncio.sleep(CHECKS_S)
    await site.journal.refresh()
    assert site.times(Happening.PROMOTED) == 0, "it stays paused"
    await site.press(texts.RESUME)
    await site.ends(Phase.SUCCEEDED)


async def test_between_a_breach_and_the_flag(site: Site) -> None:
    site.hold("later flag writes")
    await site.started()
    site.telemetry.rate = BAD
    await site.happened(Happening.ROLLBACK_STARTED)
    assert await site.served() > 0
    await site.kill()
    site.release()
    await site.start()
    await site.ends(Phase.ROLLED_BACK)


async def test_between_the_lowered_flag_and_its_confirmation(site: Site) -> None:
    site.hold("later confirmations")
    await site.started()
    await site.press(texts.ROLL_BACK, person=REQUESTER)
    await site.until_served(0.0)
    await site.kill()
    assert site.times(Happening.ROLLED_BACK) == 0
    site.release()
    await site.start()
    await site.ends(Phase.ROLLED_BACK)


async def test_the_command_line_rolls_back_while_nothing_runs(site: Site) -> None:
    await site.started()
    await site.kill()
    assert "is rolled back: it serves 0 %" in await site.sluice("rollback", FLAG)
    await site.start()
    await site.ends(Phase.ROLLED_BACK)


@pytest.fixture
def moments() -> random.Random:
    """Where to die. pytest shows what is printed here when the test fails."""
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(2**32))
    print(f"{SEED}={seed}")  # noqa: T201
    return random.Random(seed)


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.ROLLED_BACK])
async def test_at_any_moment(asking_site: Site, phase: Phase, moments: random.Random) -> None:
    site = asking_site
    await site.proposed()
    await site.until_told()
    if phase is Phase.ROLLED_BACK:
        site.telemetry.rate = BAD
    for _ in range(KILLS):
        async with site.people():
            life = moments.uniform(0, LONGEST_LIFE_S)
            print(f"it lives for {life:.3f} s")  # noqa: T201
            await asyncio.sleep(life)
            await site.kill()
        await site.start()
    async with site.people():
        await site.ends(phase)
    assert "Whole:" in await site.sluice("audit", "verify")
