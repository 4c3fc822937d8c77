"""One way to reach the database: `read()` and `write()` sessions on SQLite (embedded) or PostgreSQL."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker, create_async_engine

from tools.errors import ConfigurationError
from tools.records.sqlite import SqliteConnection, SqliteModule

BUSY_TIMEOUT_S = 10
ABANDONED_WITHIN_S = 2
LIMITS_S = {"statement_timeout": 60, "lock_timeout": 30, "idle_in_transaction_session_timeout": 15}
"""How long, in seconds, a statement on PostgreSQL may run, wait for a lock, and a transaction may do nothing.

Nobody waits for ever for a process that hangs: its locks are free after the last of them, which is the shortest, so
that those who wait for them go on. A URL's own `options` win:
`postgresql://…/sluice?options=-c%20statement_timeout%3D60s`, where 0 means no limit.
"""
ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


BUSY = frozenset({"55P03", "40P01", "40001"})
"""PostgreSQL's codes for a lock that was not free in time, for a deadlock, and for a change that another overtook."""


def parse_url(given: str) -> URL:
    """A database URL with its async driver. Raises ConfigurationError for anything but SQLite and PostgreSQL."""
    try:
        url = make_url(given)
    except ArgumentError:
        raise ConfigurationError(
            "The database URL can't be read; write it like sqlite:///sluice.db or postgresql://user:password@host/name."
        ) from None
    backend = url.drivername.partition("+")[0]
    if backend not in ASYNC_DRIVERS:
        raise ConfigurationError(f"The database must be sqlite or postgresql, not {backend!r}.")
    return url.set(drivername=ASYNC_DRIVERS[backend])


class Database:
    """Sessions on one database. A write session is one transaction that commits at the end of its block.

    On SQLite writers take the write lock from the start (BEGIN IMMEDIATE), and one process's writers queue in memory
    instead of polling the file lock. On PostgreSQL every session has the limits of LIMITS_S.

    `file` is SQLite's, None for a database in memory or on a server. Connecting makes the file, but never a folder.
    """

    def __init__(self, url: str) -> None:
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        in_memory = self.is_sqlite and self.url.database in (None, "", ":memory:")
        named = self.url.database if self.is_sqlite and not in_memory and "uri" not in self.url.query else None
        self.file = Path(named) if named is not None else None
        self._opened = _Opened()
        options = _sqlite_options(in_memory, self._opened) if self.is_sqlite else _postgres_options(self.url)
        self.engine = create_async_engine(self.url, **options)
        if self.is_sqlite:
            _listen_to_sqlite(self.engine.sync_engine)
        # For who writes without a session: transactions that take SQLite's write lock from the start.
        self.writing_engine = self.engine.execution_options(sluice_write=True)
        self._writers = async_sessionmaker(self.writing_engine, expire_on_commit=False, autoflush=True)
        self._readers = async_sessionmaker(self.engine, expire_on_commit=False, autoflush=False)
        self._write_lock = asyncio.Lock() if self.is_sqlite else None
        # One in-memory connection serves everybody, so that readers must queue with writers.
        self._read_lock = self._write_lock if in_memory else None

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction: committed when the block ends, rolled back when it raises."""
        async with _held(self._write_lock), self._writers.begin() as session:
            yield session

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session to read from; nothing is committed."""
        async with _held(self._read_lock), self._readers() as session:
            yield session

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        """One moment to read from, however long the reader takes between two reads: for what is printed on the way."""
        async with self.read() as session:
            if not self.is_sqlite:
                connection = await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
                await lift_limits(connection, "idle_in_transaction_session_timeout")
            yield session

    async def close(self) -> None:
        """Close every connection, those too that somebody still works with: nobody gives these back any more."""
        await self.engine.dispose()
        await self._opened.close()


async def lift_limits(connection: AsyncConnection, *names: str) -> None:
    """Free the rest of a PostgreSQL transaction from these of LIMITS_S."""
    for name in names:
        await connection.execute(text("SELECT set_config(:name, '0', true)"), {"name": name})


def insert_for(session: AsyncSession) -> Callable[[Any], sqlite.Insert | postgresql.Insert]:
    """The database's own `insert`, which knows ON CONFLICT."""
    return sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert


class _Opened:
    """The SQLite connections that are open: each has a thread, and would be left to the garbage collector with it."""

    def __init__(self) -> None:
        self._connections = set[aiosqlite.Connection]()

    async def open(self, *arguments: Any, **options: Any) -> aiosqlite.Connection:
        """A connection. When the call is cancelled meanwhile, what was being opened is closed."""
        connection = aiosqlite.connect(*arguments, **options)
        # As SQLAlchemy sets it where it opens connections itself: the process's end waits for none.
        connection._thread.daemon = True
        opening = asyncio.ensure_future(connection)
        self._connections = {one for one in self._connections if one._running} | {connection}
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # A thread opens the file: left alone, it would leave it open, or report to an event loop that has ended.
            await asyncio.wait([opening], timeout=ABANDONED_WITHIN_S)
            await _closed(connection)
            raise

    async def close(self) -> None:
        """Close those that are open still."""
        for connection in self._connections:
            await _closed(connection)
        self._connections.clear()


async def _closed(connection: aiosqlite.Connection) -> None:
    """Have the connection's thread close it after what it is at, and end; one that hangs is left to itself."""
    if connection._running and connection._connection is not None and (ended := connection.stop()) is not None:
        await asyncio.wait([ended], timeout=ABANDONED_WITHIN_S)


def is_busy(error: OperationalError) -> bool:
    """Whether somebody else held what was to be written, for longer than anyone waits or while waiting for this."""
    return getattr(error.orig, "sqlstate", None) in BUSY or _is_sqlite_busy(error.orig)


def _is_sqlite_busy(error: BaseException | None) -> bool:
    # The lowest byte is the kind of error, the others are its circumstances.
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


@asynccontextmanager
async def _held(lock: asyncio.Lock | None) -> AsyncIterator[None]:
    if lock is None:
        yield
        return
    async with lock:
        yield


def _sqlite_options(in_memory: bool, opened: _Opened) -> dict[str, Any]:
    options: dict[str, Any] = {"module": SqliteModule(opened.open)}
    return options if in_memory else {**options, "pool_size": 8, "max_overflow": 0, "pool_timeout": 60}


def _postgres_options(url: URL) -> dict[str, Any]:
    limits = [f"-c {name}={seconds}s" for name, seconds in LIMITS_S.items()]
    # Of an option that is given twice the server takes the last.
    own = url.normalized_query.get("options", ())
    return {
        "pool_size": 8,
        "max_overflow": 4,
        "pool_timeout": 60,
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        # A host that falls silent must become an error: a clock that waits for ever watches nothing.
        "connect_args": {
            "connect_timeout": 10,
            "keepalives_idle": 10,
            "tcp_user_timeout": 15_000,
            "options": " ".join([*limits, *own]),
        },
    }


def _writes_ahead(cursor: Any) -> bool:
    """Have the file write ahead (WAL); False when somebody else is at it, for whom SQLite does not wait here."""
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if not _is_sqlite_busy(error):
            raise
        return False
    return True


def _listen_to_sqlite(engine: Any) -> None:
    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver's own transaction control starts transactions too late; ours are explicit below.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
        while not _writes_ahead(cursor):
            # For this it waits, and raises when it takes too long.
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("ROLLBACK")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("sluice_write", False)
        statement = "BEGIN IMMEDIATE" if writes else "BEGIN"
        driver: Any = connection.connection.dbapi_connection
        if isinstance(driver, SqliteConnection):
            driver.begin(statement)
        else:  # an engine may be given connections of another kind
            connection.exec_driver_sql(statement)
