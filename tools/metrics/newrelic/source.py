"""Metrics from New Relic: NRQL through NerdGraph.

Documented at https://docs.newrelic.com/docs/apis/nerdgraph/examples/nerdgraph-nrql-tutorial/. All that a metric needs
is one request, whatever number of flags it names. NerdGraph answers errors with the status 200.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from tools.metrics.base import BadMetricAnswer, BadSource, MetricSourceUnavailable, Window
from tools.metrics.catalogue import MetricDefinition
from tools.metrics.cells import NEWEST, Cell
from tools.metrics.counters import Key
from tools.metrics.counting import CounterSource
from tools.metrics.http_api import Access, Answered, Credential, HttpApi
from tools.metrics.newrelic.nrql import LARGEST_ANSWER, LOOKED_BACK, VALUE, Asked, Selections, any_event, parse_nrql
from tools.metrics.newrelic.nrql import queries as queries_of
from tools.metrics.selections import Selection

API = "/graphql"
REGIONS = {
    "us": "https://api.newrelic.com",
    "eu": "https://api.eu.newrelic.com",
    "jp": "https://api.jp.newrelic.com",
}
SHORTEST_TIMEOUT_S, LONGEST_TIMEOUT_S = 5, 120
"""What NerdGraph takes as a query's."""

SYNTAX = "NRQL Syntax Error"
LIMITED = "TOO_MANY_REQUESTS"
PASSING = {
    "TIMEOUT": "make the metric's query narrower",
    "SERVER_ERROR": "see how New Relic does",
    "INTERNAL_SERVER_ERROR": "see how New Relic does",
    LIMITED: "ask less often (planning.check_every), or have the account's limit raised",
}
"""Classes of errors that are no fault of the query, so that it is asked again; and what to do when they stay."""


class NewRelicMetricSource(CounterSource[Selection]):
    """Answers the metrics of `definitions` from one account. Raises BadSource, and BadDefinition for a wrong query."""

    nothing = f"nothing of the last {LOOKED_BACK.days} days"
    batch = 100

    def __init__(
        self,
        access: Access,
        definitions: Iterable[MetricDefinition],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if access.account is None:
            raise BadSource("A metric source of type 'newrelic' needs its account, a number.", field="account")
        if access.token is None and access.token_file is None:
            raise BadSource("A metric source of type 'newrelic' needs a user key as its token.", field="token")
        region = (access.region or "us").lower()
        if region not in REGIONS:
            raise BadSource(f"New Relic's region is one of {', '.join(REGIONS)}, not {region!r}.", field="region")
        self._account = access.account
        timeout = round(access.timeout.total_seconds())
        self._timeout_s = min(max(timeout, SHORTEST_TIMEOUT_S), LONGEST_TIMEOUT_S)
        api = HttpApi(
            replace(access, url=access.url or REGIONS[region]),
            credentials=[Credential("API-Key", access.token, access.token_file)],
            keys="the source's token or token_file, a user key of New Relic, and the region that its account is in",
            passing=_passing,
            transport=transport,
        )
        super().__init__(definitions, parse_nrql, api)

    async def _greet(self) -> None:
        await self._graph(
            "query ($account: Int!) { actor { account(id: $account) { id } } }", {"account": self._account}
        )

    async def _count(self, template: Selections, keys: Sequence[Key], window: Window) -> Iterable[Cell]:
        if window.start == window.end:
            return []
        asked = queries_of(template, keys, window)
        answers = await self._ask([one.text for one in asked])
        cells = [
            cell
            for one, results in zip(asked, answers, strict=True)
            for result in results
            for cell in _cells(template, one, result)
        ]
        newest = dict[tuple[Key, str | None, Any], Cell]()
        first = next(iter(template.selectors))
        for cell in (one for one in cells if one.column == f"{NEWEST} {first}"):
            newest[cell.key, cell.variant, cell.within] = cell._replace(column=NEWEST)
        return [*(one for one in cells if one.column in template.selectors), *newest.values()]

    def _spell(self, template: Selections, keys: Sequence[Key], window: Window) -> str:
        return "\n".join(one.text for one in queries_of(template, keys, window))

    async def _ever(self, template: Selections, window: Window) -> bool:
        (results,) = await self._ask([any_event(template, window)])
        return any(one.get(VALUE) for one in results)

    async def _ask(self, texts: Sequence[str]) -> list[list[Mapping[str, Any]]]:
        """Each query's results."""
        names = [f"q{place}" for place in range(len(texts))]
        declared = ", ".join(f"${name}: Nrql!" for name in names)
        fields = " ".join(f"{name}: nrql(query: ${name}, timeout: $timeout) {{ results }}" for name in names)
        document = (
            f"query ($account: Int!, $timeout: Seconds, {declared}) "
            f"{{ actor {{ account(id: $account) {{ {fields} }} }} }}"
        )
        variables = {"account": self._account, "timeout": self._timeout_s} | dict(zip(names, texts, strict=True))
        account = await self._graph(document, variables)
        return [self._results(account.get(name)) for name in names]

    def _results(self, answer: Any) -> list[Mapping[str, Any]]:
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
            raise BadMetricAnswer(f"{self._api.place} did not answer with results: see whether it is NerdGraph.")
        if len(results) >= LARGEST_ANSWER:
            raise BadMetricAnswer(
                f"{self._api.place} answered only {LARGEST_ANSWER:,} groups: make the metric's selections narrower, or "
                "its segment one with fewer values."
            )
        return results

    async def _graph(self, document: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is answered of the account."""
        answered = await self._api.post(API, content={"query": document, "variables": dict(variables)})
        answer = self._json(answered)
        if errors := answer.get("errors"):
            raise self._refusal(errors)
        try:
            account = answer["data"]["actor"]["account"]
        except (KeyError, TypeError):
            account = None
        if not isinstance(account, dict):
            raise MetricSourceUnavailable(
                f"{self._api.place} answered nothing of the account {self._account}: set the source's account, and a "
                "key of somebody who may read it."
            )
        return account

    def _json(self, answered: Answered) -> Mapping[str, Any]:
        try:
            found = json.loads(answered.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise MetricSourceUnavailable(
                f"{self._api.place} has no NerdGraph (status {answered.status}): set the source's region, or its url "
                f"to what comes before {API}."
            )
        return found

    def _refusal(self, errors: Any) -> BadMetricAnswer | MetricSourceUnavailable:
        why, place = self._api.reason(_worst(errors)[1]), self._api.place
        if "NRQL" in why:
            return BadMetricAnswer(f"{place} does not understand the query ({why}): correct the metric's selections.")
        return MetricSourceUnavailable(f"{place} refused ({why}): see the source's account, and what its key may read.")


def _passing(answered: Answered, reason: Callable[[Any], str]) -> str | None:
    """Why the same request may be answered the next time, where all that was wrong passes."""
    # Answers can be large, and are read once more.
    if b'"errors"' not in answered.body:
        return None
    try:
        errors = json.loads(answered.body)["errors"]
    except (ValueError, KeyError, TypeError):
        return None
    kind, why = _worst(errors)
    if kind not in PASSING or SYNTAX in why:
        return None
    said = "takes no more queries for now" if kind == LIMITED else "could not answer"
    return f"{said} ({kind}: {reason(why)}): {PASSING[kind]}"


def _worst(errors: Any) -> tuple[str, str]:
    """The class and the message of the first error that does not pass, or else of the first."""
    found = [_understood(one) for one in errors] if isinstance(errors, list) and errors else [_understood(None)]
    return next((one for one in found if one[0] not in PASSING or SYNTAX in one[1]), found[0])


def _understood(error: Any) -> tuple[str, str]:
    error = error if isinstance(error, dict) else {}
    extensions = error.get("extensions")
    kind = extensions.get("errorClass") if isinstance(extensions, dict) else None
    return str(kind), str(error.get("message") or "no reason given").strip().partition("\n")[0]


def _cells(template: Selections, asked: Asked, result: Mapping[str, Any]) -> Iterable[Cell]:
    """The column's numbers, and the moment of the newest event among them; none for a group without events."""
    try:
        at = result[NEWEST]
        if at is None:
            return
        found = result.get("facet", [])
        labels = dict(zip(asked.facets, found if isinstance(found, list) else [found], strict=True))
        key = tuple(str(labels.get(label, "")) for label, _ in template.open)
        variant = _label(labels.get(template.query.variant))
        segment = _label(labels.get(template.query.segment)) if template.query.segment else None
        yield Cell(f"{NEWEST} {asked.column}", key, variant, float(at) / 1000, segment)
        if not asked.edges and result[VALUE] is not None:
            yield Cell(asked.column, key, variant, float(result[VALUE]), segment)
        for place, edge in enumerate(asked.edges):
            yield Cell(asked.column, key, variant, float(result[f"{VALUE}{place}"]), edge)
    except (ArithmeticError, KeyError, TypeError, ValueError):
        raise BadMetricAnswer(
            f"The answer to the metric {template.definition.name!r} has a group that is no number."
        ) from None


def _label(value: Any) -> str | None:
    return None if value is None else str(value)
