import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.slack.office import Office, make_blank, new_office


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blank") / "blank.db"
    asyncio.run(make_blank(path))
    return path


@pytest.fixture
async def office(tmp_path: Path, blank: Path) -> AsyncIterator[Office]:
    async with new_office(tmp_path, blank) as running:
        yield running
