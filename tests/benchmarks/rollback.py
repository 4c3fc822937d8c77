"""From a breach to the read-back that confirms the rollback: by the times of the records, in the embedded set-up."""

import asyncio
from datetime import datetime
from pathlib import Path

import pytest

from tests.benchmarks.conftest import Figures
from tests.benchmarks.fleet import BAD, Fleet, open_fleet
from tools.records.log import Event
from tools.records.models import GateCheck
from tools.rollouts.events import Happening

ROLLBACKS = 20
CROWD, ROLLBACKS_IN_A_CROWD = 100, 5
TARGET_S, LONGEST_S = 1.0, 30.0

pytestmark = pytest.mark.benchmark


async def test_breach_to_read_back(tmp_path: Path, figures: Figures) -> None:
    async with open_fleet(tmp_path) as fleet:
        seconds = [await _breach(fleet, f"flag-{number}", []) for number in range(ROLLBACKS)]
    figures.times("breach evaluated → read-back", seconds, target_s=TARGET_S)


async def test_breach_to_read_back_in_a_crowd(tmp_path: Path, figures: Figures) -> None:
    async with open_fleet(tmp_path) as fleet:
        crowd = [f"crowd-{number}" for number in range(CROWD)]
        for flag in crowd:
            await fleet.start(flag)
        seconds = [await _breach(fleet, f"flag-{number}", crowd) for number in range(ROLLBACKS_IN_A_CROWD)]
    figures.times(f"the same, {CROWD} others due all the time", seconds)


async def _breach(fleet: Fleet, flag: str, crowd: list[str]) -> float:
    """Seconds from the beginning of the check that finds the breach to the read-back of 0 %."""
    rollout_id = await fleet.start(flag)
    fleet.serve([flag, *crowd])
    await fleet.services.controller.tick()
    fleet.serve([flag], BAD)
    fleet.serve(crowd)
    kinds = dict[str, Event]()
    async with asyncio.timeout(LONGEST_S):
        while Happening.ROLLED_BACK not in kinds:
            await fleet.services.controller.tick()
            kinds = {event.kind: event for event in await fleet.events(rollout_id)}
    checked = await _check_time(fleet, str(kinds[Happening.ROLLBACK_STARTED].payload["check"]))
    assert kinds[Happening.ROLLED_BACK].payload["exposure"] == "0 %"
    return (kinds[Happening.ROLLED_BACK].at - checked).total_seconds()


async def _check_time(fleet: Fleet, check_id: str) -> datetime:
    async with fleet.services.database.read() as session:
        check = await session.get(GateCheck, check_id)
    assert check is not None
    return check.at
