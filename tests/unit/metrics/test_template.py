"""The team's SQL: one SELECT, four parameters, nothing else."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import TIMESTAMP
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.default import DefaultDialect

from tests.unit.metrics.definitions import definition
from tools.errors import ConfigurationError
from tools.metrics.base import MetricQuery, Window
from tools.metrics.catalogue import BadDefinition, TimeFormat
from tools.metrics.sql.source import BOUNDED
from tools.metrics.sql.template import parse_template, parse_unit_template

WINDOWED = "at >= :start AND at < :end"
NOON = datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))
QUERY = MetricQuery("checkout_errors", 'a "flag"\n--', "production", Window(NOON, NOON + timedelta(seconds=1.5)))


@pytest.mark.parametrize(
    "query",
    [
        f"SELECT 1 FROM t WHERE {WINDOWED}",
        f"  select 1 FROM t WHERE {WINDOWED} ; ",
        f"-- by variant\n/* one; two */ WITH x AS (SELECT 1) SELECT ';' FROM t WHERE {WINDOWED}",
        f"(SELECT 1 FROM t WHERE {WINDOWED})",
        f"SELECT n::int, '12:30', $$;$$ AS \"a;b\" FROM t WHERE f = :flag AND e = :environment AND {WINDOWED}",
        f"SELECT '\\:colon' FROM t WHERE {WINDOWED}",
        "SELECT 1 FROM t WHERE at >= CAST(:start AS timestamptz) AND at < CAST(:end AS timestamptz)",
    ],
)
def test_a_select_with_its_window_is_taken(query: str) -> None:
    assert {"start", "end"} <= parse_template(definition(query=query)).names


def test_the_statement_is_one_for_drivers_of_warehouses() -> None:
    """They take parameters as %(name)s, and BigQuery's dialect makes of TIMESTAMP what DateTime would not be."""
    template = parse_template(definition(query=f"SELECT 1 FROM t WHERE path LIKE '/a%' AND {WINDOWED}"))
    statement = template.statement(f"{BOUNDED}11")
    assert str(statement.compile(dialect=DefaultDialect(paramstyle="pyformat"))) == (
        "SELECT * FROM (\nSELECT 1 FROM t WHERE path LIKE '/a%%' AND at >= %(start)s AND at < %(end)s\n) "
        "AS answer LIMIT 11"
    )
    moments = [one.type for one in statement.compile().binds.values()]
    assert [(type(one), one.timezone) for one in moments if isinstance(one, TIMESTAMP)] == [(TIMESTAMP, True)] * 2


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        (f"SELECT 1 FROM t WHERE {WINDOWED}; DELETE FROM t", "single statement"),
        (f"SELECT 1 FROM t WHERE {WINDOWED} /* /* */ ; */", "single statement"),
        (f"DELETE FROM t WHERE {WINDOWED}", "must be a SELECT"),
        (f"EXPLAIN SELECT 1 FROM t WHERE {WINDOWED}", "must be a SELECT"),
        ("-- nothing", "must be a SELECT"),
        (f"SELECT 1 FROM t WHERE f = :flga AND {WINDOWED}", "parameter :flga; allowed are :flag, :environment"),
        (f"SELECT 1 FROM t WHERE f = ' :x' AND {WINDOWED}", "parameter :x"),
        ("SELECT 1 FROM t", "must limit its rows with :end"),
        ("SELECT 1 FROM t WHERE at < :end", "must limit its rows with :start"),
        ("SELECT 1 FROM t WHERE at < :end -- and at >= :start", "must limit its rows with :start"),
        ("SELECT 1 FROM t WHERE at < :end AND at >= :start::timestamptz", r"CAST\(:start AS"),
    ],
)
def test_anything_else_is_refused_with_the_metrics_name(query: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'checkout_errors' .*{problem}"):
        parse_template(definition(query=query))


@pytest.mark.parametrize(
    ("times", "start", "end"),
    [
        (TimeFormat.DATETIME, NOON.astimezone(UTC), NOON.astimezone(UTC) + timedelta(seconds=1.5)),
        (TimeFormat.EPOCH, NOON.timestamp(), NOON.timestamp() + 1.5),
        (TimeFormat.ISO, "2026-03-01T12:00:00", "2026-03-01T12:00:01.500000"),
    ],
)
def test_times_are_bound_as_the_metric_stores_them(times: TimeFormat, start: Any, end: Any) -> None:
    template = parse_template(definition(time_format=times))
    assert template.values(QUERY) == {"start": start, "end": end}


def test_only_the_parameters_used_are_bound_and_shown_on_one_line() -> None:
    template = parse_template(definition(query=f"SELECT 1 FROM t WHERE flag = :flag AND {WINDOWED};"))
    shown = template.shown(template.values(QUERY))
    first, last = shown.split("\n")
    assert first == f"SELECT 1 FROM t WHERE flag = :flag AND {WINDOWED}"
    assert last.startswith('-- :flag = "a \\"flag\\"\\n--", :start = "2026-03-01 12:00:00+00:00"')


def test_braces_in_the_teams_sql_are_left_alone() -> None:
    query = f"SELECT '{{}}' FROM t WHERE {WINDOWED}"
    compiled = (
        parse_template(definition(query=query)).statement("SELECT * FROM ({}) AS x").compile(dialect=sqlite.dialect())
    )
    assert str(compiled) == "SELECT * FROM (SELECT '{}' FROM t WHERE at >= ? AND at < ?) AS x"


def test_a_query_by_unit_is_checked_as_the_other() -> None:
    with pytest.raises(BadDefinition, match="The unit_query of the metric 'checkout_errors' must limit") as refused:
        parse_unit_template(definition(unit_query="SELECT 1 AS unit"))
    assert refused.value.field == "unit_query"
    assert parse_unit_template(definition()) is None
