"""Migrations on the command line."""

from sqlalchemy.exc import SQLAlchemyError

from bot.bootstrap import naming, shown_url
from bot.settings import Settings
from tools.errors import Unavailable
from tools.records.database import Database
from tools.records.migrate import migrate


async def bring_up_to_date(settings: Settings) -> None:
    """Run the migrations that are missing. Raises ConfigurationError, Unavailable."""
    database = Database(settings.database.url.get_secret_value())
    try:
        with naming(settings, "database", "url"):
            await migrate(database)
    except (SQLAlchemyError, OSError) as error:
        raise Unavailable(
            f"The database {shown_url(database)} can't be migrated "
            f"({type(error).__name__}): see whether it is up, and whether its account may change tables."
        ) from None
    finally:
        await database.close()
