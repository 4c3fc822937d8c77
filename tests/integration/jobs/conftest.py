"""A database that several runners share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tools.records.database import Database
from tools.records.models import Record


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that has its tables."""
    url: str = (
        request.getfixturevalue("postgres_url") if request.param == "postgresql" else f"sqlite:///{tmp_path}/j.db"
    )
    database = Database(url)
    async with database.engine.begin() as connection:
        await connection.run_sync(Record.metadata.create_all)
    await database.close()
    return url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    yield database
    await database.close()
