"""One way to reach the database: `read()` and `write()` sessions on SQLite (embedded) or PostgreSQL."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from tools.errors import ConfigurationError

BUSY_TIMEOUT_S = 10
ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


def parse_url(text: str) -> URL:
    """A database URL with its async driver. Raises ConfigurationError for anything but SQLite and PostgreSQL."""
    try:
        url = make_url(text)
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
    instead of polling the file lock.
    """

    def __init__(self, url: str) -> None:
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        in_memory = self.is_sqlite and self.url.database in (None, "", ":memory:")
        if self.is_sqlite and not in_memory and self.url.database is not None:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_async_engine(self.url, **_engine_options(self.is_sqlite, in_memory))
        if self.is_sqlite:
            _listen_to_sqlite(self.engine.sync_engine)
        self._writers = async_sessionmaker(
            self.engine.execution_options(sluice_write=True), expire_on_commit=False, autoflush=True
        )
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
        """A snapshot to read from; nothing is committed."""
        async with _held(self._read_lock), self._readers() as session:
            yield session

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def insert_for(session: AsyncSession) -> Callable[[Any], sqlite.Insert | postgresql.Insert]:
    """The database's own `insert`, which knows ON CONFLICT."""
    return sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert


class _ClosesItself(sqlite3.Connection):
    """An SQLite connection that is closed when nobody holds it any more.

    The driver opens files in a thread. What it opened for a call that was cancelled meanwhile reaches nobody.
    """

    def __del__(self) -> None:
        # A file that could not be opened made no connection that could be closed.
        with suppress(sqlite3.ProgrammingError):
            self.close()


@asynccontextmanager
async def _held(lock: asyncio.Lock | None) -> AsyncIterator[None]:
    if lock is None:
        yield
        return
    async with lock:
        yield


def _engine_options(is_sqlite: bool, in_memory: bool) -> dict[str, Any]:
    if is_sqlite:
        # The last to hold an abandoned connection is the driver's thread or ours.
        options: dict[str, Any] = {"connect_args": {"factory": _ClosesItself, "check_same_thread": False}}
        return options if in_memory else {**options, "pool_size": 8, "max_overflow": 0, "pool_timeout": 60}
    return {
        "pool_size": 8,
        "max_overflow": 4,
        "pool_timeout": 60,
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        # A host that falls silent must become an error: a clock that waits for ever watches nothing.
        "connect_args": {"connect_timeout": 10, "keepalives_idle": 10, "tcp_user_timeout": 15_000},
    }


def _listen_to_sqlite(engine: Any) -> None:
    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver's own transaction control starts transactions too late; ours are explicit below.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("sluice_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
