"""A whole rollout on real servers, of which Prometheus and then Unleash are killed and started again in its middle."""

import asyncio
import time
from pathlib import Path

import pytest

from bot import texts
from tests.acceptance.outages.shop import BAD
from tests.acceptance.outages.site import CHANNEL, FLAG, REQUESTER, Site, open_site
from tools.rollouts import audit
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase

PAGED_WITHIN_S, BACK_WITHIN_S = 60, 10
SETTLED_S = 1.5
"""More than the SDK's refresh."""
KEYS = 2_000

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("outages"), pytest.mark.timeout(240)]


async def test_a_rollout_whose_servers_die(
    tmp_path: Path, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    async with open_site(tmp_path, postgres_url) as site:
        opened = time.monotonic()
        await _start(site)
        paged = await _without_prometheus(site)
        await _go_on(site)
        stopped, back = await _without_unleash(site)
        await _end(site)
        ended = time.monotonic()
    with capsys.disabled():
        print(  # noqa: T201
            f"\nPrometheus away: paged after {paged:.1f} s; Unleash away: people told of the rollback after "
            f"{stopped:.1f} s, and it was done {back:.1f} s after Unleash was back; "
            f"{ended - began:.0f} s in all, {opened - began:.0f} s of them to start everything"
        )


async def _start(site: Site) -> None:
    await site.slack.command(REQUESTER, CHANNEL, "/rollout", f"plan {FLAG}")
    await site.press(texts.APPROVE)
    await site.happened(Happening.EXPOSURE_CONFIRMED)
    assert await site.stored() == (True, "10")


async def _without_prometheus(site: Site) -> float:
    """Kill it until a person was paged, and start it again; after how many seconds that was."""
    killed = time.monotonic()
    site.prometheus.stop()
    paged = await site.paged("The gate is blind") - killed
    assert paged <= PAGED_WITHIN_S
    await site.journal.refresh()
    assert site.journal.of(Happening.PROMOTED) == []
    assert len(site.journal.of(Happening.APPROVAL_REQUESTED)) == 1, "that of the start"
    assert await site.stored() == (True, "10")
    site.prometheus.start()
    await site.happened(Happening.METRICS_BACK)
    return paged


async def _go_on(site: Site) -> None:
    """The gate passes once it sees again, and Jonas lets it go on."""
    await site.happened(Happening.APPROVAL_REQUESTED, 2)
    assert len(site.journal.of(Happening.PROMOTED)) == 0
    await site.press(texts.APPROVE)
    await site.happened(Happening.EXPOSURE_CONFIRMED, 2)
    assert await site.stored() == (True, "50")
    await site.sdk.sees(lambda: len(site.sdk.exposed(KEYS)) > KEYS * 0.4)


async def _without_unleash(site: Site) -> tuple[float, float]:
    """Do harm while it is away; when people knew of the rollback, and when it was done once Unleash was there again."""
    killed = time.monotonic()
    site.own_unleash.kill()
    site.shop.rate = BAD
    await site.happened(Happening.ROLLBACK_STARTED)
    told = await site.paged("is rolling it back") - killed
    assert told <= PAGED_WITHIN_S
    await site.own_unleash.start()
    returned = time.monotonic()
    # It may be rolled back before anybody can look.
    assert await site.stored() in {(True, "50"), (True, "0")}, "nothing of it was lost"
    await site.happened(Happening.ROLLBACK_VERIFYING)
    assert await site.stored() == (True, "0")
    await site.sdk.sees(lambda: not site.sdk.exposed(KEYS))
    back = time.monotonic() - returned
    assert back <= BACK_WITHIN_S
    return told, back


async def _end(site: Site) -> None:
    await site.happened(Happening.ROLLED_BACK)
    await site.card_says(texts.PHASES[Phase.ROLLED_BACK][1])
    await asyncio.sleep(SETTLED_S)
    assert await site.stored() == (True, "0")
    assert site.sdk.exposed(KEYS) == set()
    assert [len(site.journal.of(kind)) for kind in (Happening.PROMOTED, Happening.ROLLED_BACK)] == [1, 1], site.story()
    assert (await audit.verify(site.records)).faults == ()

    async def is_told() -> bool:
        return await site.asked("sum(sluice_rollback_read_back_seconds_count)") == 1

    await site.until(is_told, "Prometheus has not scraped from Sluice that it rolled back")
