"""A schema that is absent or behind is refused; one that a newer release made is left alone and accepted."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.config import Config

from tools.records import migrate as migrating
from tools.records.database import Database
from tools.records.migrate import config, is_current, migrate

NEXT = """
revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    pass
"""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'sluice.db'}")
    yield made
    await made.close()


@pytest.fixture
def next_release(tmp_path: Path) -> Config:
    """The settings of a release with one migration more."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "0002_next.py").write_text(NEXT, encoding="utf-8")
    settings = config()
    own = Path(migrating.__file__).parent / "migrations" / "versions"
    settings.set_main_option("version_locations", f"{own}:{tmp_path / 'more'}")
    return settings


async def test_no_schema_is_not_current(database: Database) -> None:
    assert not await is_current(database)
    await migrate(database)
    assert await is_current(database)


async def test_a_schema_that_is_behind_is_not_current(
    database: Database, next_release: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(database)
    monkeypatch.setattr(migrating, "config", lambda: next_release)
    assert not await is_current(database)


async def test_the_older_release_goes_on_with_a_newer_schema(
    database: Database, next_release: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(migrating, "config", lambda: next_release)
        await migrate(database)
        assert await is_current(database)
    assert await is_current(database)
    await migrate(database)
    monkeypatch.setattr(migrating, "config", lambda: next_release)
    assert await is_current(database), "the older one changed nothing"
