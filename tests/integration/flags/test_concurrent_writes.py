"""Several replicas write one flag with the same expected version: their engines share nothing but the database."""

import asyncio
from pathlib import Path

import pytest

from tools.clock import SystemClock
from tools.flags.base import FlagRef, FlagVersionConflict
from tools.flags.embedded import EmbeddedFlagService
from tools.plans.model import Exposure
from tools.records.database import Database
from tools.records.migrate import migrate

REF = FlagRef("checkout", "production")
REPLICAS = 5
WRITES = 50


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'flags.sqlite'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


async def test_one_write_wins(url: str) -> None:
    databases = [Database(url) for _ in range(REPLICAS)]
    await migrate(databases[0])
    services = [EmbeddedFlagService(database, SystemClock()) for database in databases]
    await services[0].define(REF, "old", "new")
    for version in range(1, 4):
        results = await asyncio.gather(
            *(services[i % REPLICAS].write(REF, Exposure(percent=i + 1), expected=str(version)) for i in range(WRITES)),
            return_exceptions=True,
        )
        winners = [i + 1 for i, result in enumerate(results) if result is None]
        losers = [type(result) for result in results if result is not None]
        state = await services[0].read(REF)
        assert (winners, losers) == ([state.exposure.percent], [FlagVersionConflict] * (WRITES - 1))
        assert state.version == str(version + 1)
    for database in databases:
        await database.close()
