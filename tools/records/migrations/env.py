"""Run by Alembic with the connection that `tools.records.migrate` hands over."""

from typing import Literal

from alembic import context
from sqlalchemy import Connection

from tools.records.models import Record, UtcDateTime


def render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write our column type by its own name in generated migrations."""
    return "UtcDateTime()" if kind == "type" and isinstance(item, UtcDateTime) else False


connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Record.metadata,
    # SQLite can't alter most things in place.
    render_as_batch=connection.dialect.name == "sqlite",
    render_item=render_item,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
