"""A database in memory that works in the caller's thread: for tests that make many thousands of transactions."""

import sqlite3
from typing import Any

from sqlalchemy import event
from sqlalchemy.util import await_only

from tools.records.database import Database


class InlineCursor(sqlite3.Cursor):
    """SQLite's own, with what SQLAlchemy calls of a cursor under asyncio."""

    async def _async_soft_close(self) -> None:
        """Nothing to free early: what was selected is still to be read."""


class InlineConnection:
    """What SQLAlchemy's adapters for asyncio offer, with nothing to wait for: no thread's timing has a say.

    Several may stand on one `memory`, one after the other: what is interrupted loses its connection, and as with a file
    nothing but the transaction is lost with it.
    """

    def __init__(self, memory: sqlite3.Connection) -> None:
        memory.rollback()
        self._connection = memory
        self.create_function = memory.create_function
        self.execute = memory.execute
        self.commit = memory.commit
        self.rollback = memory.rollback

    @property
    def isolation_level(self) -> str | None:
        """Who starts transactions; None: nobody but us."""
        return self._connection.isolation_level

    @isolation_level.setter
    def isolation_level(self, value: Any) -> None:
        self._connection.isolation_level = value

    def cursor(self, server_side: bool = False) -> InlineCursor:
        """A cursor; SQLite's are all the same."""
        # SQLAlchemy refuses drivers under which nothing at all is awaited.
        await_only(_nothing())
        return self._connection.cursor(InlineCursor)

    def close(self) -> None:
        """Leave the memory to whoever comes next."""

    def terminate(self) -> None:
        """As `close`."""


async def _nothing() -> None:
    return None


class InlineDatabase(Database):
    """The real database without its threads."""

    def __init__(self) -> None:
        super().__init__("sqlite://")
        self.memory = sqlite3.connect(":memory:")

        @event.listens_for(self.engine.sync_engine, "do_connect")
        def connect(_dialect: Any, _record: Any, _args: Any, _options: Any) -> InlineConnection:
            return InlineConnection(self.memory)

    async def close(self) -> None:
        """Close it, and forget what it held."""
        await super().close()
        self.memory.close()
