import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.crash.site import Site, make_blank, open_site


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the tables and the flag."""
    path = tmp_path_factory.mktemp("blank") / "blank.db"
    asyncio.run(make_blank(path))
    return path


@pytest.fixture
async def site(tmp_path: Path, blank: Path) -> AsyncIterator[Site]:
    """A site where steps that are proven safe are taken without asking."""
    async with open_site(tmp_path, blank) as running:
        yield running


@pytest.fixture
async def asking_site(tmp_path: Path, blank: Path) -> AsyncIterator[Site]:
    """A site where people are asked before a step of more than 20 points."""
    async with open_site(tmp_path, blank, largest_free_step=20) as running:
        yield running
