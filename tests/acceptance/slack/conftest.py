from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.slack.office import Office, new_office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with new_office(tmp_path) as running:
        yield running
