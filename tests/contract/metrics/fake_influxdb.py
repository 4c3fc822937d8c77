"""A strict fake of InfluxDB's query API for httpx: InfluxQL as far as counting needs it.

After https://docs.influxdata.com/influxdb/v1/query_language/ and what 1.6.7 answers: an unknown tag is the empty text,
no points are no series, an aggregate's time is the beginning of what was asked for.
"""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx

from tests.contract.metrics.fake_conditions import Tokens, Unexpected, condition

Point = tuple[int, Mapping[str, str], Mapping[str, float]]
"""Nanoseconds since 1970, tags and fields."""


class Refused(Exception):
    """A statement that fails: what is said."""


@dataclass
class InfluxApi:
    """A server with one database. `answers` are given first, one a request; `token` or `password` lets in."""

    database: str = "shop"
    token: str | None = None
    password: tuple[str, str] | None = None
    answers: list[httpx.Response | Exception] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    points: dict[str, list[Point]] = field(default_factory=lambda: defaultdict(list))

    @property
    def transport(self) -> httpx.MockTransport:
        """What a client is to be made with."""
        return httpx.MockTransport(self._answer)

    def write(self, measurement: str, tags: Mapping[str, str], fields: Mapping[str, float], at: int) -> None:
        """Add a point; one of the same series and moment is replaced, as the server does."""
        kept = [one for one in self.points[measurement] if (one[0], one[1]) != (at, tags)]
        before = next((one[2] for one in self.points[measurement] if (one[0], one[1]) == (at, tags)), {})
        self.points[measurement] = [*kept, (at, dict(tags), {**before, **fields})]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        body = (await request.aread()).decode()
        if self.answers:
            given = self.answers.pop(0)
            if isinstance(given, Exception):
                raise given
            return given
        if request.url.path != "/query":
            return httpx.Response(404, text="404 page not found\n")
        if not self._may(request.headers.get("authorization")):
            return httpx.Response(401, json={"error": "unable to parse authentication credentials"})
        if request.headers.get("content-type") != "application/x-www-form-urlencoded":
            return httpx.Response(400, json={"error": 'missing required parameter "q"'})
        if request.url.params.get("epoch") != "ns":
            return httpx.Response(400, json={"error": "times are read as nanoseconds here"})
        (text,) = parse_qs(body, strict_parsing=True)["q"]
        self.asked.append(text)
        return self._run(text, request.url.params.get("db"))

    def _may(self, authorization: str | None) -> bool:
        if self.token is not None:
            return authorization == f"Token {self.token}"
        if self.password is not None:
            return authorization == "Basic " + base64.b64encode(":".join(self.password).encode()).decode()
        return authorization is None

    def _run(self, text: str, database: str | None) -> httpx.Response:
        results = list[dict[str, Any]]()
        statements = _statements(text)
        for number, statement in enumerate(statements):
            try:
                if database != self.database:
                    raise Refused(f"database not found: {database}")
                series = self._select(Tokens(statement))
            except Unexpected as error:
                return httpx.Response(400, json={"error": f"error parsing query: {error}"})
            except Refused as error:
                # As 1.6.7 does: what follows is one answer, and hides why.
                left = number < len(statements) - 1
                results.append({"statement_id": number, "error": "not executed" if left else str(error)})
                break
            results.append({"statement_id": number} | ({"series": series} if series else {}))
        return httpx.Response(200, json={"results": results})

    def _select(self, tokens: Tokens) -> list[dict[str, Any]]:
        if tokens.taken("SHOW", "MEASUREMENTS", "LIMIT"):
            tokens.number()
            return []
        tokens.expect("SELECT")
        function, field_ = "", tokens.name()
        if tokens.taken("("):
            function, field_ = field_, tokens.name()
            tokens.expect(")")
            if function not in ("sum", "count", "last"):
                raise Refused(f"undefined function {function}()")
        tokens.expect("AS")
        alias = tokens.name()
        tokens.expect("FROM")
        measurement = tokens.name()
        tokens.expect("WHERE")
        where = condition(tokens)
        tags = list[str]()
        if tokens.taken("GROUP", "BY", "*"):
            tags = sorted({tag for _, one_tags, _ in self.points[measurement] for tag in one_tags})
        elif tokens.taken("GROUP", "BY"):
            tags.append(tokens.name())
            while tokens.taken(","):
                tags.append(tokens.name())
        limited = tokens.taken("LIMIT") and int(tokens.number())
        tokens.take("end")
        found = [
            (tuple(one_tags.get(tag, "") for tag in tags), at, fields[field_])
            for at, one_tags, fields in self.points[measurement]
            if field_ in fields and where({"time": at, **one_tags, **fields})
        ]
        groups = defaultdict[tuple[str, ...], list[tuple[int, float]]](list)
        for group, at, value in sorted(found):
            groups[group].append((at, value))
        return [
            {"name": measurement}
            | ({"tags": dict(zip(tags, group, strict=True))} if tags else {})
            | {"columns": ["time", alias], "values": _values(function, points)[: limited or None]}
            for group, points in sorted(groups.items())
        ]


def _values(function: str, points: Sequence[tuple[int, float]]) -> list[list[float]]:
    values = [value for _, value in points]
    if function == "last":
        return [[points[-1][0], values[-1]]]
    if function:
        return [[0, sum(values) if function == "sum" else len(values)]]
    return [list(one) for one in points]


def _statements(text: str) -> list[str]:
    """The statements, parted where a semicolon is in no quotes."""
    found, quote, start, place = list[str](), "", 0, 0
    while place < len(text):
        sign = text[place]
        if quote and sign == "\\":
            place += 1
        elif sign == quote:
            quote = ""
        elif not quote and sign in "'\"":
            quote = sign
        elif not quote and sign == ";":
            found.append(text[start:place])
            start = place + 1
        place += 1
    return [*found, text[start:]]
