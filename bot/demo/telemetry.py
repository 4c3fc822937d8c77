"""The shop's telemetry: one row a request, written in batches to a SQLite database that others read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Self

import aiosqlite

FLUSH_EVERY_S = 0.2

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS checkout_requests (
    at REAL NOT NULL,            -- when the request was answered, seconds since 1970 UTC
    step TEXT NOT NULL,          -- open or pay
    session TEXT NOT NULL,
    flag TEXT NOT NULL,
    environment TEXT NOT NULL,
    variant TEXT NOT NULL,
    shadow INTEGER NOT NULL,     -- 1: ran beside the path that answered, nobody saw it
    customer TEXT NOT NULL,
    tenant TEXT NOT NULL,
    region TEXT NOT NULL,
    status INTEGER NOT NULL,
    latency_ms REAL NOT NULL,
    flag_error TEXT              -- why the flag could not be evaluated; control was served
);
CREATE INDEX IF NOT EXISTS ix_requests_at ON checkout_requests (flag, environment, step, at);
CREATE INDEX IF NOT EXISTS ix_requests_session ON checkout_requests (session, step, shadow, status);
"""


class Row(NamedTuple):
    """One request as it is stored; the fields are the table's columns."""

    at: float
    step: str
    session: str
    flag: str
    environment: str
    variant: str
    shadow: bool
    customer: str
    tenant: str
    region: str
    status: int
    latency_ms: float
    flag_error: str | None


INSERT = f"INSERT INTO checkout_requests ({', '.join(Row._fields)}) VALUES ({', '.join('?' * len(Row._fields))})"  # noqa: S608 - the column names are this module's own


class Telemetry:
    """Takes rows at once and writes them a few times a second, in a task of its own."""

    def __init__(self, database: aiosqlite.Connection) -> None:
        self._database = database
        self._waiting: list[Row] = []
        self._writing: asyncio.Task[None] | None = None
        self.answered = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Self]:
        """Telemetry into the database at `path`, made when it is missing; everything is written when this ends."""
        async with aiosqlite.connect(path) as database:
            await database.executescript(SCHEMA)
            telemetry = cls(database)
            telemetry._writing = asyncio.create_task(telemetry._write_again_and_again())
            try:
                yield telemetry
            finally:
                telemetry._writing.cancel()
                await asyncio.gather(telemetry._writing, return_exceptions=True)
                await telemetry.flush()

    def add(self, row: Row) -> None:
        """Have the row written with the next batch."""
        self._waiting.append(row)
        self.answered += not row.shadow

    @property
    def healthy(self) -> bool:
        """Whether rows are still being written."""
        return self._writing is not None and not self._writing.done()

    async def flush(self) -> None:
        """Write what is waiting, in one transaction."""
        rows, self._waiting = self._waiting, []
        if rows:
            await self._database.executemany(INSERT, rows)
            await self._database.commit()

    async def _write_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.flush()
