"""SIGTERM while a rollout runs: what was begun is finished, nothing is held, and the exit is quick and clean."""

import pytest

from tests.acceptance.crash.site import Site
from tools.rollouts.events import Happening
from tools.rollouts.phases import Phase

QUICK_S = 5.0

pytestmark = pytest.mark.timeout(120)


async def test_it_leaves_nothing_half_done(site: Site) -> None:
    await site.started()
    await site.happened(Happening.PROMOTED)
    status, seconds = await site.terminate()
    assert (status, seconds < QUICK_S) == (0, True), f"status {status} after {seconds:.1f} s"
    assert "Traceback" not in site.serve.log.read_text(encoding="utf-8")
    assert site.rows("intents", "status = 'open'") == 0
    assert site.rows("leases") == 0
    assert site.rows("jobs", "status = 'running'") == 0
    assert site.times(Happening.EXPOSURE_CONFIRMED) == 2, site.story()
    await site.start()
    await site.ends(Phase.SUCCEEDED)
