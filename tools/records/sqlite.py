"""SQLite under asyncio with one visit to a connection's thread a statement, where SQLAlchemy's own adapter makes six.

A visit costs two switches between threads and two turns of the event loop, which is more than most statements take.
"""

import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any, NamedTuple, TypeVar

import aiosqlite
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
    AsyncAdapt_aiosqlite_ss_cursor,
)
from sqlalchemy.util import EMPTY_DICT
from sqlalchemy.util.concurrency import await_

Answer = TypeVar("Answer")


class _Answered(NamedTuple):
    """What is left of a statement once its cursor is closed, under the names that SQLAlchemy reads of a cursor."""

    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None
    arraysize: int = 1


_UNASKED = _Answered()


class SqliteCursor(AsyncAdapt_aiosqlite_cursor):
    """A cursor that has been read to its end and closed by the time that its statement has been carried out."""

    __slots__ = ()

    _cursor: Any
    _adapt_connection: "SqliteConnection"

    def __init__(self, adapt_connection: Any) -> None:
        # Not super's, which opens a cursor first.
        self._adapt_connection = adapt_connection
        self._cursor, self._rows, self._soft_closed_memoized = _UNASKED, deque(), EMPTY_DICT

    def execute(self, operation: Any, parameters: Any = None) -> Any:
        """Carry out one statement."""
        return self._take(lambda cursor: cursor.execute(operation, () if parameters is None else parameters))

    def executemany(self, operation: Any, seq_of_parameters: Any) -> Any:
        """Carry out one statement with each of the parameters. What it selects is not kept."""
        return self._take(lambda cursor: cursor.executemany(operation, seq_of_parameters), keep=False)

    def close(self) -> None:
        """Forget what has not been read."""
        self._rows.clear()

    async def _async_soft_close(self) -> None:
        """Nothing is open, and what was selected is still to be read."""

    def _take(self, ask: Callable[[sqlite3.Cursor], object], *, keep: bool = True) -> "SqliteCursor":
        def work(connection: sqlite3.Connection) -> tuple[_Answered, list[Any]]:
            with closing(connection.cursor()) as cursor:
                ask(cursor)
                # How many rows were changed is known once those that they return have been read.
                rows = cursor.fetchall() if keep and cursor.description else []
                return _Answered(cursor.description, cursor.rowcount, cursor.lastrowid), rows

        try:
            self._cursor, rows = await_(self._adapt_connection.visit(work))
        except Exception as error:  # noqa: BLE001 — translated, and raised as SQLAlchemy's adapter does
            self._adapt_connection._handle_exception(error)
        self._rows = deque(rows)
        return self


class SqliteStream(AsyncAdapt_aiosqlite_ss_cursor):
    """A cursor that is read while it is open: SQLAlchemy's, in the transaction that was to begin."""

    __slots__ = ()

    _adapt_connection: "SqliteConnection"

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        await self._adapt_connection.visit(_nothing)
        return await super()._execute_async(operation, parameters)


class SqliteConnection(AsyncAdapt_aiosqlite_connection):
    """A connection that knows whether a transaction is open, and ends none that never began."""

    __slots__ = ("_beginning", "_idle")

    _connection: Any
    _cursor_cls = SqliteCursor
    _ss_cursor_cls = SqliteStream

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self._beginning: str | None = None
        # Only what the thread said last is known: while it works, and after it failed, there may be a transaction.
        self._idle = False

    def begin(self, statement: str) -> None:
        """Have `statement` begin a transaction right before the next statement, which raises what it raises."""
        self._beginning = statement

    async def visit(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """What `work` makes of the connection, in the connection's thread and in the transaction that was to begin."""
        beginning = self._beginning

        def carry_out(connection: sqlite3.Connection) -> tuple[Answer, bool]:
            # Open already where a statement failed that was to be the first.
            if beginning is not None and not connection.in_transaction:
                connection.execute(beginning).close()
            return work(connection), not connection.in_transaction

        async with self._execute_mutex:
            self._idle = False
            answered: tuple[Answer, bool] = await self._connection._execute(carry_out, self._connection._conn)
            self._beginning = None
        answer, self._idle = answered
        return answer

    def commit(self) -> None:
        """End the transaction, if there is one."""
        self._end(super().commit)

    def rollback(self) -> None:
        """End the transaction, if there is one."""
        self._end(super().rollback)

    def _end(self, ending: Callable[[], None]) -> None:
        self._beginning = None
        if not self._idle:
            ending()
            self._idle = True


class SqliteModule(AsyncAdapt_aiosqlite_dbapi):
    """What SQLAlchemy takes for the driver's module: its own, connecting with `opened`, which opens a connection."""

    def __init__(self, opened: Callable[..., Awaitable[aiosqlite.Connection]]) -> None:
        super().__init__(aiosqlite, sqlite3)
        self._opened = opened

    def connect(self, *arguments: Any, **options: Any) -> SqliteConnection:
        """A connection. Raises sqlite3's errors."""
        return SqliteConnection(self, await_(self._opened(*arguments, **options)))


def _nothing(_connection: sqlite3.Connection) -> None:
    return None
