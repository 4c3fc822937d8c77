"""Bring a database's schema to this release."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from tools.errors import ConfigurationError
from tools.records.database import Database, lift_limits

MIGRATE_LOCK = 7_263_411
"""Key of the PostgreSQL advisory lock that lets one process migrate at a time."""


def config() -> Config:
    """Alembic's settings: nothing in a file, the connection is handed over."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    settings.set_main_option("path_separator", "os")
    return settings


async def migrate(database: Database) -> None:
    """Run the migrations that are missing; nothing when there are none, or when a newer release ran its own.

    Raises ConfigurationError when the folder of a SQLite file is not there.
    """
    if database.file is not None and not database.file.parent.is_dir():
        raise ConfigurationError(
            f"There is no folder {database.file.parent} for the database {database.file.name}: make it, or correct the "
            "URL."
        )
    async with database.engine.execution_options(sluice_write=True).begin() as connection:
        if not database.is_sqlite:
            # A migration takes as long as it takes, and so does the wait for another process's.
            await lift_limits(connection, "statement_timeout", "lock_timeout")
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATE_LOCK})
            # Not so the wait for a table: everybody else would queue behind it.
            await connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
        await connection.run_sync(_upgrade)


async def is_current(database: Database) -> bool:
    """Whether the schema has what this release needs: it is this release's or a newer one's, not absent or behind.

    While one process after the other is replaced, those of the older release go on with the newer one's schema.
    """
    async with database.engine.connect() as connection:
        current = await connection.run_sync(_current)
    script = ScriptDirectory.from_config(config())
    return current == script.get_current_head() or _is_newer(current, script)


def _upgrade(connection: Connection) -> None:
    settings = config()
    if _is_newer(_current(connection), ScriptDirectory.from_config(settings)):
        return
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")


def _is_newer(current: str | None, script: ScriptDirectory) -> bool:
    """Whether the revision is none that this release knows."""
    return current is not None and current not in {one.revision for one in script.walk_revisions()}


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
