"""A database in memory that works in the caller's thread: for tests that make many thousands of transactions."""

import sqlite3
from typing import Any

from sqlalchemy import event
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection

from tests.unit.rollouts.simulation import InlineConnection
from tools.records.database import Database


class InlineDatabase(Database):
    """The real database without its threads."""

    def __init__(self) -> None:
        super().__init__("sqlite://")
        self._memory = sqlite3.connect(":memory:")
        self._opened = list[InlineConnection]()

        @event.listens_for(self.engine.sync_engine, "do_connect")
        def connect(dialect: Any, _record: Any, _args: Any, _options: Any) -> AsyncAdapt_aiosqlite_connection:
            connection = InlineConnection(self._memory)
            self._opened.append(connection)
            return AsyncAdapt_aiosqlite_connection(dialect, connection)

    async def close(self) -> None:
        """Close it, and forget what it held."""
        await super().close()
        for connection in self._opened:
            await connection.close()
        self._memory.close()
