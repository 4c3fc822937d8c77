"""Metrics from a SQL database: the team's own query, run read-only and bounded in time.

Read-only and timed out by the server itself on PostgreSQL, by the engine on SQLite (opened with mode=ro). On other
databases give Sluice an account that may only read; there the limit in time is this process's own.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from sqlalchemy import TextClause, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tools.metrics.answer import MAX_ROWS, MAX_UNIT_ROWS, reading_of, units_of
from tools.metrics.base import BadMetricAnswer, BadSource, MetricQuery, MetricSourceUnavailable, Reading, UnitSample
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.template import SqlTemplate, parse_template, parse_unit_template

DEFAULT_TIMEOUT = timedelta(seconds=10)
OUTER_GRACE_S = 2.0
"""How much later than the database itself this process gives up."""

ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
CHECKED_EVERY = 10_000
"""SQLite instructions between two looks at the time (well under a millisecond)."""

# As a subquery the template can only be a query, and its answer can't fill the memory.
BOUNDED = "SELECT * FROM (\n{}\n) AS answer LIMIT "
EXPLAINED = {
    "sqlite": f"EXPLAIN QUERY PLAN {BOUNDED}{MAX_ROWS + 1}",
    "postgresql": f"EXPLAIN {BOUNDED}{MAX_ROWS + 1}",
}


class SqlMetricSource:
    """Answers the metrics of `definitions` from one database.

    Raises BadSource for a URL and BadDefinition for a query that can't be used; neither they nor any later error show
    the URL's password.
    """

    def __init__(
        self, url: str, definitions: Iterable[MetricDefinition], *, timeout: timedelta = DEFAULT_TIMEOUT
    ) -> None:
        self._catalogue = Catalogue(definitions)
        self._templates = {definition.name: parse_template(definition) for definition in self._catalogue}
        by_unit = {definition.name: parse_unit_template(definition) for definition in self._catalogue}
        self._by_unit = {name: template for name, template in by_unit.items() if template is not None}
        self._timeout_s = timeout.total_seconds()
        self._url = _parse_url(url)
        self._engine = _engine(self._url, self._timeout_s)

    async def read(self, query: MetricQuery) -> Reading:
        """The metric over the window. Raises UnknownMetric, BadMetricAnswer, MetricSourceUnavailable."""
        definition = self._catalogue.get(query.metric)
        template = self._templates[definition.name]
        columns, rows = await self._answer(template, query, MAX_ROWS)
        return reading_of(definition, columns, rows, query=template.shown(template.values(query)))

    async def read_units(self, query: MetricQuery) -> tuple[UnitSample, ...]:
        """The metric over the window, unit by unit.

        Raises UnknownMetric, BadMetricAnswer (TooManyUnits among others), MetricSourceUnavailable.
        """
        definition = self._catalogue.get(query.metric)
        if definition.name not in self._by_unit:
            raise BadMetricAnswer(f"The metric {definition.name!r} has no unit_query, so it can't be asked by unit.")
        columns, rows = await self._answer(self._by_unit[definition.name], query, MAX_UNIT_ROWS)
        # Thousands of rows, while others wait for the event loop.
        return await asyncio.to_thread(units_of, definition, columns, rows)

    async def check(self) -> None:
        """Return when the database answers and understands every query. Raises MetricSourceUnavailable."""
        await self._run(text("SELECT 1"), {}, "a first question")
        if self._dialect not in EXPLAINED:
            return
        for name, template in (*self._templates.items(), *self._by_unit.items()):
            unset = dict.fromkeys(template.names)
            await self._run(template.statement(EXPLAINED[self._dialect]), unset, f"the metric {name!r}")

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @property
    def _dialect(self) -> str:
        return self._engine.dialect.name

    async def _answer(
        self, template: SqlTemplate, query: MetricQuery, most: int
    ) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """One row more than `most` at most."""
        wrapped = f"{BOUNDED}{most + 1}" if self._dialect in EXPLAINED else "{}"
        statement, values = template.statement(wrapped), template.values(query)
        return await self._run(statement, values, f"the metric {template.definition.name!r}", most=most)

    async def _run(
        self, statement: TextClause, values: dict[str, Any], what: str, *, most: int = MAX_ROWS
    ) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        self._require_file()
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            async with asyncio.timeout(self._timeout_s + OUTER_GRACE_S), self._read_only() as connection:
                result = await connection.execute(statement, values)
                return list(result.keys()), result.fetchmany(most + 1)
        except (SQLAlchemyError, OSError) as error:
            problem = self._problem(error, clock() - started)
            raise MetricSourceUnavailable(f"The metric database {_place(self._url)} {problem}: {what}.") from (
                None if self._holds_secret(str(error)) else error
            )

    @asynccontextmanager
    async def _read_only(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            if self._dialect == "sqlite":
                await _interrupt_after(connection, self._timeout_s)
            if self._dialect == "postgresql":
                await _restrict(connection, self._timeout_s)
            yield connection

    def _require_file(self) -> None:
        """Say plainly that a SQLite file is missing, which the driver would not."""
        if self._dialect == "sqlite" and not Path(_place(self._url)).exists():
            raise MetricSourceUnavailable(
                f"The metric database {_place(self._url)} does not exist (yet); check the source's url."
            )

    def _problem(self, error: Exception, elapsed_s: float) -> str:
        if isinstance(error, TimeoutError) or elapsed_s >= self._timeout_s:
            return f"did not answer within {self._timeout_s:g} s (make the query faster or the timeout longer)"
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0][:200]
        for secret in _secrets(self._url):
            reason = reason.replace(secret, "***")
        return f"refused ({reason})"

    def _holds_secret(self, message: str) -> bool:
        return any(secret in message for secret in _secrets(self._url))


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


def _parse_url(given: str) -> URL:
    try:
        url = make_url(given)
    except ArgumentError:
        raise BadSource(
            "The metric database's URL can't be read; write it like postgresql://user:password@host/name.", field="url"
        ) from None
    if "+" not in url.drivername:
        url = url.set(drivername=ASYNC_DRIVERS.get(url.drivername, url.drivername))
    return _read_only_file(url) if url.get_backend_name() == "sqlite" else url


def _read_only_file(url: URL) -> URL:
    if url.database in (None, "", ":memory:"):
        raise BadSource(
            "The metric database can't be one in memory, which nobody else fills; name a file.", field="url"
        )
    assert url.database is not None
    if "uri" not in url.query:
        url = url.set(database=f"file:{quote(url.database)}")
    return url.update_query_dict({"mode": "ro", "uri": "true"})


def _engine(url: URL, timeout_s: float) -> AsyncEngine:
    try:
        engine = create_async_engine(
            url,
            pool_size=4,
            max_overflow=4,
            pool_timeout=timeout_s,
            pool_pre_ping=True,
            pool_recycle=1800,
            connect_args=_connect_args(url, timeout_s),
        )
    except (SQLAlchemyError, ImportError):
        raise BadSource(
            f"The metric database's driver {url.drivername!r} can't be used: install it, and take an async one "
            "(such as sqlite, postgresql or mysql+asyncmy).",
            field="url",
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _refuse_writes)
    return engine


def _connect_args(url: URL, timeout_s: float) -> dict[str, Any]:
    if url.get_driver_name() == "aiosqlite":
        return {"timeout": timeout_s}
    if url.get_driver_name() == "psycopg":
        # Without prepared statements the source also works behind a transaction pooler.
        return {"connect_timeout": max(2, math.ceil(timeout_s)), "prepare_threshold": None}
    return {}


def _refuse_writes(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()


def _place(url: URL) -> str:
    """Where the database is, without who asks and how."""
    name = url.database or ""
    if url.host is None:
        return unquote(name.removeprefix("file:"))
    return f"{url.host}{f':{url.port}' if url.port else ''}/{name}"


def _secrets(url: URL) -> list[str]:
    """What must not be shown, in each spelling it may take."""
    telling = ("password", "secret", "token", "key")
    values = [value for name, value in url.query.items() if any(word in name.lower() for word in telling)]
    plain = [value for value in (url.password, *values) if isinstance(value, str) and value]
    return [spelling for value in plain for spelling in (value, quote(value, safe=""), quote_plus(value))]
