"""Several replicas write one flag with the same expected version: their engines share nothing but the database."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from tools.clock import SystemClock
from tools.flags.base import FlagRef, FlagServiceUnavailable, FlagVersionConflict
from tools.flags.embedded import EmbeddedFlagService
from tools.plans.model import Exposure
from tools.records.database import Database
from tools.records.migrate import migrate
from tools.records.models import Flag

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


async def test_a_write_that_waits_for_a_locked_row_ends_in_time(postgres_url: str) -> None:
    database = Database(postgres_url)
    await migrate(database)
    service = EmbeddedFlagService(database, SystemClock(), answer_within=timedelta(seconds=0.3))
    await service.define(REF, "old", "new")
    async with database.write() as session:
        await session.execute(select(Flag).with_for_update())
        with pytest.raises(FlagServiceUnavailable, match=r"did not answer within 0\.3 s"):
            await service.write(REF, Exposure(percent=50), expected="1")
        assert (await service.read(REF)).exposure.percent == 0
    await service.write(REF, Exposure(percent=50), expected="1")
    assert (await service.read(REF)).exposure.percent == 50
    await database.close()
