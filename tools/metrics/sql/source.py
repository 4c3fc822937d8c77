"""Metrics from a SQL database: the team's own query, run read-only and bounded in time.

Read-only and timed out by the server itself on PostgreSQL, by the engine on SQLite (opened with mode=ro) and DuckDB
(opened read-only). On other databases give Sluice an account that may only read; nothing is ever committed, and there
the limit in time is this process's own, on Snowflake also the server's.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from sqlalchemy import TextClause, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from tools.metrics.answer import MAX_ROWS, MAX_UNIT_ROWS, reading_of, units_of
from tools.metrics.base import (
    Answering,
    BadMetricAnswer,
    BadSource,
    MetricQuery,
    MetricSourceUnavailable,
    Reading,
    UnitSample,
)
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.sql.engines import ASYNC_DRIVERS, DriverFault, ThreadDatabase, open_database
from tools.metrics.sql.template import SqlTemplate, parse_template, parse_unit_template

LONGEST_REASON = 200
DEFAULT_TIMEOUT = timedelta(seconds=10)
IN_FILES = frozenset({"sqlite", "duckdb"})

# As a subquery the template can only be a query, and its answer can't fill the memory.
BOUNDED = "SELECT * FROM (\n{}\n) AS answer LIMIT "
EXPLAINED = {
    "sqlite": f"EXPLAIN QUERY PLAN {BOUNDED}{MAX_ROWS + 1}",
    "postgresql": f"EXPLAIN {BOUNDED}{MAX_ROWS + 1}",
    "duckdb": f"EXPLAIN {BOUNDED}{MAX_ROWS + 1}",
}
LIMITED = frozenset({*EXPLAINED, "snowflake", "bigquery"})
"""Dialects with such subqueries and limits."""


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
        self._database = open_database(self._url, self._timeout_s)
        self.rests = isinstance(self._database, ThreadDatabase) and self._database.dialect not in IN_FILES
        self.newest_answer: Answering | None = None

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
        if self._database.dialect not in EXPLAINED:
            return
        for name, template in (*self._templates.items(), *self._by_unit.items()):
            unset = dict.fromkeys(template.names)
            await self._run(template.statement(EXPLAINED[self._database.dialect]), unset, f"the metric {name!r}")

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()

    async def _answer(
        self, template: SqlTemplate, query: MetricQuery, most: int
    ) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """One row more than `most` at most."""
        wrapped = f"{BOUNDED}{most + 1}" if self._database.dialect in LIMITED else "{}"
        statement, values = template.statement(wrapped), template.values(query)
        try:
            found = await self._run(statement, values, f"the metric {template.definition.name!r}", most=most)
        except MetricSourceUnavailable:
            self.newest_answer = Answering(False, datetime.now(UTC))
            raise
        self.newest_answer = Answering(True, datetime.now(UTC))
        return found

    async def _run(
        self, statement: TextClause, values: dict[str, Any], what: str, *, most: int = MAX_ROWS
    ) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        self._require_file()
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            return await self._database.ask(statement, values, most)
        except (SQLAlchemyError, OSError, DriverFault) as error:
            problem = self._problem(error, clock() - started)
            raise MetricSourceUnavailable(f"The metric database {_place(self._url)} {problem}: {what}.") from (
                None if self._holds_secret(str(error)) else error
            )

    def _require_file(self) -> None:
        """Say plainly that a file is missing, which the driver would not."""
        place = _place(self._url)
        if self._database.dialect in IN_FILES and not _is_elsewhere(place) and not Path(place).exists():
            raise MetricSourceUnavailable(f"The metric database {place} does not exist (yet); check the source's url.")

    def _problem(self, error: Exception, elapsed_s: float) -> str:
        if isinstance(error, TimeoutError) or elapsed_s >= self._timeout_s:
            return f"did not answer within {self._timeout_s:g} s (make the query faster or the timeout longer)"
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        # Hidden first, for what is left of a secret that was cut looks like none.
        return f"refused ({self._hidden(str(cause).strip() or type(cause).__name__).splitlines()[0][:LONGEST_REASON]})"

    def _hidden(self, words: str) -> str:
        for secret in sorted(_secrets(self._url), key=len, reverse=True):
            words = words.replace(secret, "***")
        return words

    def _holds_secret(self, message: str) -> bool:
        return any(secret in message for secret in _secrets(self._url))


def _parse_url(given: str) -> URL:
    try:
        url = make_url(given)
    except ArgumentError:
        raise BadSource(
            "The metric database's URL can't be read; write it like postgresql://user:password@host/name.", field="url"
        ) from None
    if "+" not in url.drivername:
        url = url.set(drivername=ASYNC_DRIVERS.get(url.drivername, url.drivername))
    if url.get_backend_name() in IN_FILES and url.database in (None, "", ":memory:"):
        raise BadSource(
            "The metric database can't be one in memory, which nobody else fills; name a file.", field="url"
        )
    return _read_only_file(url) if url.get_backend_name() == "sqlite" else url


def _read_only_file(url: URL) -> URL:
    assert url.database is not None, "one in memory was refused"
    if "uri" not in url.query:
        url = url.set(database=f"file:{quote(url.database)}")
    return url.update_query_dict({"mode": "ro", "uri": "true"})


def _place(url: URL) -> str:
    """Where the database is, without who asks and how."""
    name = url.database or ""
    if url.host is None:
        return unquote(name.removeprefix("file:"))
    return f"{url.host}{f':{url.port}' if url.port else ''}/{name}"


def _is_elsewhere(place: str) -> bool:
    """Whether it is a database of MotherDuck, and no file."""
    return place.startswith(("md:", "motherduck:"))


def _secrets(url: URL) -> list[str]:
    """What must not be shown, in each spelling it may take."""
    telling = ("password", "secret", "token", "key", "credential")
    values = [value for name, value in url.query.items() if any(word in name.lower() for word in telling)]
    plain = [value for value in (url.password, *values) if isinstance(value, str) and value]
    return [spelling for value in plain for spelling in (value, quote(value, safe=""), quote_plus(value))]
