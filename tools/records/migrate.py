"""Bring a database's schema to this release."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from tools.records.database import Database

MIGRATE_LOCK = 7_263_411
"""Key of the PostgreSQL advisory lock that lets one process migrate at a time."""


def config() -> Config:
    """Alembic's settings: nothing in a file, the connection is handed over."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    settings.set_main_option("path_separator", "os")
    return settings


async def migrate(database: Database) -> None:
    """Run the migrations that are missing; nothing when there are none."""
    async with database.engine.execution_options(sluice_write=True).begin() as connection:
        if not database.is_sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATE_LOCK})
        await connection.run_sync(_upgrade)


async def is_current(database: Database) -> bool:
    """Whether the schema is this release's."""
    async with database.engine.connect() as connection:
        return await connection.run_sync(_current) == ScriptDirectory.from_config(config()).get_current_head()


def _upgrade(connection: Connection) -> None:
    settings = config()
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
