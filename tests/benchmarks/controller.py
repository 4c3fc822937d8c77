"""How many rollouts one controller checks a second: metric read, verdict and evidence stored, card renewed."""

import time
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import func, select

from tests.benchmarks.conftest import Figures
from tests.benchmarks.fleet import Fleet, open_fleet
from tools.records.models import GateCheck

ROLLOUTS = 100
ROUNDS, ROUND_S = 3, 4.0

pytestmark = pytest.mark.benchmark


async def test_sqlite(tmp_path: Path, figures: Figures) -> None:
    figures.add(f"rollouts checked on SQLite, of {ROLLOUTS}", await _rate(tmp_path, None), "/s")


async def test_postgresql(tmp_path: Path, postgres_url: str, figures: Figures) -> None:
    figures.add(f"rollouts checked on PostgreSQL, of {ROLLOUTS}", await _rate(tmp_path, postgres_url), "/s")


async def _rate(directory: Path, url: str | None) -> float:
    """The median of some rounds in which every rollout is due all the time."""
    async with open_fleet(directory, url) as fleet:
        flags = [f"flag-{number}" for number in range(ROLLOUTS)]
        for flag in flags:
            await fleet.start(flag)
        return median([await _round(fleet, flags) for _ in range(ROUNDS)])


async def _round(fleet: Fleet, flags: list[str]) -> float:
    before, began = await _checks(fleet), time.perf_counter()
    while time.perf_counter() - began < ROUND_S:
        fleet.serve(flags)
        await fleet.services.controller.tick()
    elapsed = time.perf_counter() - began
    return (await _checks(fleet) - before) / elapsed


async def _checks(fleet: Fleet) -> int:
    async with fleet.services.database.read() as session:
        return (await session.scalars(select(func.count()).select_from(GateCheck))).one()
