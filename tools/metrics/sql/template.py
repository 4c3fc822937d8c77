"""The team's SQL: one SELECT with bound parameters, checked before it is ever run. Pure."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import TIMESTAMP, Double, String, TextClause, bindparam, text
from sqlalchemy.types import TypeEngine

from tools.metrics.base import MetricQuery
from tools.metrics.catalogue import BadDefinition, MetricDefinition, TimeFormat

PARAMETERS = ("flag", "environment", "start", "end")
NEEDED = ("start", "end")
"""Without its window a query would count the same rows at every check."""

_QUOTED_OR_COMMENT = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | \$(\w*)\$.*?\$\1\$""", re.DOTALL | re.VERBOSE
)
_FIRST_WORD = re.compile(r"[\s(]*(\w+)")
_PARAMETER = re.compile(r"(?<![:\w\\]):(\w+)(?![:\w])")


@dataclass(frozen=True, slots=True)
class SqlTemplate:
    """A checked query of one metric."""

    definition: MetricDefinition
    text: str
    names: frozenset[str]

    def statement(self, wrapped: str = "{}") -> TextClause:
        """The statement, with the parameters typed as the metric's time column needs it."""
        types: dict[str, TypeEngine[Any]] = {"flag": String(), "environment": String()}
        types |= dict.fromkeys(NEEDED, _TIME_TYPES[self.definition.time_format])
        clause = text(wrapped.replace("{}", self.text))
        return clause.bindparams(*(bindparam(name, type_=types[name]) for name in sorted(self.names)))

    def values(self, query: MetricQuery) -> dict[str, Any]:
        """What the parameters stand for in this query."""
        moment = _MOMENTS[self.definition.time_format]
        values = {
            "flag": query.flag,
            "environment": query.environment,
            "start": moment(query.window.start),
            "end": moment(query.window.end),
        }
        return {name: values[name] for name in PARAMETERS if name in self.names}

    def shown(self, values: Mapping[str, Any]) -> str:
        """The query as a person can read and run it again: its text, then its parameters as a comment."""
        parameters = ", ".join(f":{name} = {json.dumps(value, default=str)}" for name, value in values.items())
        return f"{self.text}\n-- {parameters}"


def parse_template(definition: MetricDefinition) -> SqlTemplate:
    """The definition's query, checked. Raises BadDefinition naming the metric and what to change."""
    if not isinstance(definition.query, str):
        raise _refused(definition, "query", "must be one text: a SELECT")
    return _parsed(definition, definition.query, "query")


def parse_unit_template(definition: MetricDefinition) -> SqlTemplate | None:
    """The definition's query by unit, checked, None where it has none. Raises BadDefinition."""
    return None if definition.unit_query is None else _parsed(definition, definition.unit_query, "unit_query")


def _parsed(definition: MetricDefinition, given: str, field: str) -> SqlTemplate:
    query = given.strip().rstrip(";").rstrip()
    code = _QUOTED_OR_COMMENT.sub(" ", query)
    if ";" in code:
        raise _refused(definition, field, "must be a single statement, without ';'")
    first = _FIRST_WORD.match(code)
    if first is None or first[1].lower() not in {"select", "with"}:
        raise _refused(definition, field, "must be a SELECT")
    names = frozenset(_PARAMETER.findall(query))
    for name in sorted(names - set(PARAMETERS)):
        allowed = ", ".join(f":{known}" for known in PARAMETERS)
        raise _refused(
            definition,
            field,
            f"has the parameter :{name}; allowed are {allowed} (write \\: for a colon that is no parameter)",
        )
    for name in sorted(set(NEEDED) - set(_PARAMETER.findall(code))):
        raise _refused(
            definition, field, f"must limit its rows with :{name} (cast it as CAST(:{name} AS …) where needed)"
        )
    return SqlTemplate(definition, query, names)


def _refused(definition: MetricDefinition, field: str, problem: str) -> BadDefinition:
    message = f"The {field} of the metric {definition.name!r} {problem}."
    return BadDefinition(message, metric=definition.name, field=field)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _iso(moment: datetime) -> str:
    # Without a zone the text sorts right against both spellings of UTC, Z and +00:00.
    return _utc(moment).replace(tzinfo=None).isoformat()


_TIME_TYPES: Mapping[TimeFormat, TypeEngine[Any]] = {
    # BigQuery tells moments (TIMESTAMP) from a calendar's times (DATETIME), and compares neither with the other.
    TimeFormat.DATETIME: TIMESTAMP(timezone=True),
    TimeFormat.EPOCH: Double(),
    TimeFormat.ISO: String(),
}
_MOMENTS: Mapping[TimeFormat, Callable[[datetime], Any]] = {
    TimeFormat.DATETIME: _utc,
    TimeFormat.EPOCH: datetime.timestamp,
    TimeFormat.ISO: _iso,
}
