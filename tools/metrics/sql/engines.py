"""Databases asked read-only and in bounded time: by async drivers, and by others in threads of their own."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import NullPool, QueuePool, TextClause, create_engine, event, text
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tools.metrics.base import BadSource

ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
OUTER_GRACE_S = 2.0
"""How much later than the database itself this process gives up."""

CHECKED_EVERY = 10_000
"""SQLite instructions between two looks at the time (well under a millisecond)."""

THREADS = 4
POOL: Mapping[str, Any] = {"pool_pre_ping": True, "pool_recycle": 1800}

Answer = tuple[Sequence[str], Sequence[Sequence[Any]]]
"""The columns' names, and the rows."""


class DriverFault(Exception):
    """A driver failed in a way of its own."""


class Database(Protocol):
    """A database that can be asked. What it raises is an SQLAlchemyError, an OSError or a DriverFault."""

    dialect: str

    async def ask(self, statement: TextClause, values: Mapping[str, Any], most: int) -> Answer:
        """The statement's rows, one more than `most` at most."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


def open_database(url: URL, timeout_s: float) -> Database:
    """What asks it. Raises BadSource where the driver is not there."""
    try:
        engine = create_async_engine(
            url,
            pool_size=THREADS,
            max_overflow=THREADS,
            pool_timeout=timeout_s,
            connect_args=_connect_args(url, timeout_s),
            **POOL,
        )
        return AsyncDatabase(engine, timeout_s)
    except InvalidRequestError:
        if url.get_backend_name() not in ASYNC_DRIVERS:
            return _in_threads(url, timeout_s)
        raise _no_driver(url) from None
    except (SQLAlchemyError, ImportError):
        raise _no_driver(url) from None


class AsyncDatabase:
    """By an async driver."""

    def __init__(self, engine: AsyncEngine, timeout_s: float) -> None:
        self._engine, self._timeout_s = engine, timeout_s
        self.dialect = engine.dialect.name
        if self.dialect == "sqlite":
            event.listen(engine.sync_engine, "connect", _refuse_writes)

    async def ask(self, statement: TextClause, values: Mapping[str, Any], most: int) -> Answer:
        """The statement's rows, one more than `most` at most."""
        async with asyncio.timeout(self._timeout_s + OUTER_GRACE_S), self.connected() as connection:
            result = await connection.execute(statement, dict(values))
            return list(result.keys()), result.fetchmany(most + 1)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncConnection]:
        """A connection that can only read, and that the database itself bounds in time, where it can."""
        async with self._engine.connect() as connection:
            if self.dialect == "sqlite":
                await _interrupt_after(connection, self._timeout_s)
            if self.dialect == "postgresql":
                await _restrict(connection, self._timeout_s)
            yield connection


class ThreadDatabase:
    """By a driver that is not async, in a few threads: when they are all busy, others wait for their time and no more.

    Every transaction is rolled back. A statement that takes too long is interrupted where the driver can do so.
    """

    def __init__(self, engine: Engine, timeout_s: float) -> None:
        self._engine, self._timeout_s = engine, timeout_s
        self.dialect = engine.dialect.name
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sluice-sql")

    async def ask(self, statement: TextClause, values: Mapping[str, Any], most: int) -> Answer:
        """The statement's rows, one more than `most` at most."""
        question = _Question(self._engine, statement, values, most)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, question.ask)
        except TimeoutError:
            question.interrupt()
            raise

    async def close(self) -> None:
        """Close every connection that nobody uses, and wait for no thread."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._engine.dispose)


@dataclass
class _Question:
    """A statement that is run in a thread."""

    engine: Engine
    statement: TextClause
    values: Mapping[str, Any]
    most: int
    connection: Connection | None = None

    def ask(self) -> Answer:
        try:
            with self.engine.connect() as connection:
                self.connection = connection
                result = connection.execute(self.statement, dict(self.values))
                return list(result.keys()), result.fetchmany(self.most + 1)
        except (SQLAlchemyError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - raised again
            # Drivers of warehouses raise what their own clients do, of which no class is common.
            raise DriverFault(f"{type(error).__name__}: {error}") from None
        finally:
            self.connection = None

    def interrupt(self) -> None:
        """Ask the driver to stop, so that its thread is free again; not each can."""
        connection = self.connection
        with suppress(SQLAlchemyError):
            stop = getattr(connection.connection, "interrupt", None) if connection is not None else None
            if stop is not None:
                stop()


def _in_threads(url: URL, timeout_s: float) -> ThreadDatabase:
    pool: dict[str, Any] = {"poolclass": QueuePool, "pool_size": THREADS, "max_overflow": 0, **POOL}
    if url.get_backend_name() == "duckdb":
        # While a file is open here, nobody else can write it.
        pool = {"poolclass": NullPool}
    try:
        engine = create_engine(url, connect_args=_connect_args(url, timeout_s), **pool)
    except (SQLAlchemyError, ImportError, TypeError):
        raise _no_driver(url) from None
    if engine.dialect.name == "duckdb":
        event.listen(engine, "connect", _in_utc)
    return ThreadDatabase(engine, timeout_s)


def _no_driver(url: URL) -> BadSource:
    return BadSource(
        f"The metric database's driver {url.drivername!r} can't be used: install it (such as snowflake-sqlalchemy or "
        "sqlalchemy-bigquery), and for PostgreSQL, SQLite and MySQL take an async one (postgresql, sqlite or "
        "mysql+asyncmy).",
        field="url",
    )


def _connect_args(url: URL, timeout_s: float) -> dict[str, Any]:
    seconds = math.ceil(timeout_s)
    if url.get_backend_name() == "sqlite":
        return {"timeout": timeout_s}
    if url.drivername.endswith("+psycopg"):
        # Without prepared statements the source also works behind a transaction pooler.
        return {"connect_timeout": max(2, seconds), "prepare_threshold": None}
    if url.get_backend_name() == "duckdb":
        return {"read_only": True}
    if url.get_backend_name() == "snowflake":
        bounded = {"STATEMENT_TIMEOUT_IN_SECONDS": max(1, seconds), "TIMEZONE": "UTC"}
        return {"login_timeout": max(2, seconds), "network_timeout": max(2, seconds), "session_parameters": bounded}
    return {}


async def _interrupt_after(connection: AsyncConnection, seconds: float) -> None:
    loop_time = asyncio.get_running_loop().time
    deadline = loop_time() + seconds
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None, "a connection that was just opened has its driver's"
    await driver.set_progress_handler(lambda: loop_time() > deadline, CHECKED_EVERY)


async def _restrict(connection: AsyncConnection, seconds: float) -> None:
    await connection.execute(text("SET TRANSACTION READ ONLY"))
    # Local to the transaction, because a pooler may hand the session on.
    local = text("SELECT set_config('statement_timeout', :limit, true), set_config('TimeZone', 'UTC', true)")
    await connection.execute(local, {"limit": str(math.ceil(seconds * 1000))})


def _refuse_writes(connection: Any, _record: Any) -> None:
    _execute(connection, "PRAGMA query_only=ON")


def _in_utc(connection: Any, _record: Any) -> None:
    """Times without a zone are compared in the session's."""
    _execute(connection, "SET TimeZone = 'UTC'")


def _execute(connection: Any, statement: str) -> None:
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()
