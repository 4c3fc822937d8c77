"""A strict fake of NerdGraph for httpx: NRQL over events, as far as counting needs it.

After https://docs.newrelic.com/docs/nrql/nrql-syntax-clauses-functions/ and the NerdGraph tutorial: errors have the
status 200, FACET leaves out events without the attribute, a facet is chosen among events that the first function's
attribute is there for, LIMIT is 10 where none is given, SINCE is inclusive and UNTIL is not.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.contract.metrics.fake_conditions import Test, Tokens, Unexpected, condition

MOST = 5_000
_DOCUMENT = re.compile(
    r"query \((?P<declared>[^)]*)\) \{ actor \{ account\(id: \$account\) \{ (?P<fields>.*) \} \} \}", re.DOTALL
)
_FIELD = re.compile(r"(\w+): nrql\(query: \$(\w+), timeout: \$timeout\) \{ results \}")
_DECLARED = re.compile(r"\$(\w+): (Int!|Nrql!|Seconds)")


@dataclass
class Function:
    """One thing selected, under its name."""

    name: str
    attribute: str
    where: Test | None
    alias: str

    def of(self, events: Sequence[Mapping[str, Any]]) -> float | int | None:
        chosen = [one for one in events if self.where is None or self.where(one)]
        values = [one[self.attribute] for one in chosen if one.get(self.attribute) is not None]
        if self.name == "count":
            return len(chosen) if self.attribute == "*" else len(values)
        if self.name == "sum":
            return sum(values)
        return max(values, default=None)


@dataclass
class NerdGraph:
    """An account with its events, each with its `type` and `timestamp` in milliseconds.

    `answers` are given first, one a request; `asked` is each NRQL query that came.
    """

    key: str = "NRAK-s3cret"
    account: int = 42
    most: int = MOST
    answers: list[httpx.Response | Exception] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    requests: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def transport(self) -> httpx.MockTransport:
        """What a client is to be made with."""
        return httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if self.answers:
            given = self.answers.pop(0)
            if isinstance(given, Exception):
                raise given
            return given
        if request.url.path != "/graphql":
            return httpx.Response(404, text="Not Found")
        if request.method != "POST" or request.headers.get("content-type") != "application/json":
            return _errors("Unsupported request", status=400)
        if request.headers.get("api-key") != self.key:
            return _errors("Invalid credentials provided", status=401)
        body = json.loads(await request.aread())
        return self._graph(body["query"], body["variables"])

    def _graph(self, document: str, variables: Mapping[str, Any]) -> httpx.Response:
        found = _DOCUMENT.fullmatch(document)
        if found is None:
            return _errors(f"syntax error before: {document[:10]}")
        declared = dict(_DECLARED.findall(found["declared"]))
        if declared.keys() != variables.keys() or declared["account"] != "Int!":
            return _errors("Variables do not fit")
        if variables["account"] != self.account:
            return httpx.Response(200, json={"data": {"actor": {"account": None}}})
        if found["fields"] == "id":
            return _data({"id": self.account})
        if not 5 <= variables["timeout"] <= 120:
            return _errors("Argument `timeout` has invalid value")
        try:
            fields = _FIELD.findall(found["fields"])
            assert (
                " ".join(f"{one}: nrql(query: ${var}, timeout: $timeout) {{ results }}" for one, var in fields)
                == (found["fields"])
            )
            return _data({name: {"results": self._run(variables[variable])} for name, variable in fields})
        except Unexpected as error:
            return _errors(f"NRQL Syntax Error: Error at line 1 {error}", more={"errorClass": "BAD_REQUEST"})

    def _run(self, nrql: str) -> list[dict[str, Any]]:
        self.asked.append(nrql)
        tokens = Tokens(nrql)
        tokens.expect("SELECT")
        functions = [_function(tokens)]
        while tokens.taken(","):
            functions.append(_function(tokens))
        tokens.expect("FROM")
        type_ = tokens.name()
        where = condition(tokens) if tokens.taken("WHERE") else None
        facets = [tokens.name()] if tokens.taken("FACET") else []
        while facets and tokens.taken(","):
            facets.append(tokens.name())
        if len(facets) > 5:
            raise Unexpected("more than five facets")
        limit = 10
        if tokens.taken("LIMIT"):
            limit = self.most if tokens.taken("MAX") else int(tokens.number())
        tokens.expect("SINCE")
        since = tokens.number()
        tokens.expect("UNTIL")
        until = tokens.number()
        tokens.take("end")
        events = [
            one
            for one in self.events
            if one["type"] == type_ and since <= one["timestamp"] < until and (where is None or where(one))
        ]
        if not facets:
            return [{one.alias: one.of(events) for one in functions}]
        return self._grouped(functions, facets, events)[:limit]

    def _grouped(
        self, functions: Sequence[Function], facets: Sequence[str], events: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        groups = defaultdict[tuple[Any, ...], list[Mapping[str, Any]]](list)
        for one in events:
            labels = tuple(one.get(facet) for facet in facets)
            if None not in labels:
                groups[labels].append(one)
        first = functions[0]
        chosen = {
            labels: group
            for labels, group in groups.items()
            if first.attribute == "*" or any(one.get(first.attribute) is not None for one in group)
        }
        return [
            {"facet": labels[0] if len(labels) == 1 else list(labels), **dict(zip(facets, labels, strict=True))}
            | {one.alias: one.of(group) for one in functions}
            for labels, group in chosen.items()
        ]


def _function(tokens: Tokens) -> Function:
    name = tokens.take("word")
    tokens.expect("(")
    if name == "filter":
        inner = _plain(tokens, tokens.take("word"))
        tokens.expect(",", "WHERE")
        where = condition(tokens)
        tokens.expect(")")
        return Function(inner.name, inner.attribute, where, _alias(tokens))
    made = _arguments(tokens, name)
    made.alias = _alias(tokens)
    return made


def _plain(tokens: Tokens, name: str) -> Function:
    tokens.expect("(")
    return _arguments(tokens, name)


def _arguments(tokens: Tokens, name: str) -> Function:
    if name not in ("count", "sum", "max"):
        raise Unexpected(f"unknown function {name}")
    attribute = "*" if tokens.taken("*") else tokens.name()
    tokens.expect(")")
    return Function(name, attribute, None, "")


def _alias(tokens: Tokens) -> str:
    tokens.expect("AS")
    return tokens.name()


def _data(account: Mapping[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"data": {"actor": {"account": account}}})


def _errors(message: str, *, status: int = 200, more: Mapping[str, Any] | None = None) -> httpx.Response:
    error = {"message": message, "path": ["actor", "account"], "extensions": dict(more or {})}
    return httpx.Response(status, json={"data": {"actor": {"account": None}}, "errors": [error]})
