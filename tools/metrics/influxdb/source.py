"""Metrics from InfluxDB by InfluxQL: 1.x, 2.x (its database mapped to a bucket) and 3.

Queries by POST to /query, documented at https://docs.influxdata.com/influxdb/v1/tools/api/#query-http-endpoint. All
that a metric needs is one request, whatever number of flags it names.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx

from tools.metrics.base import BadMetricAnswer, BadSource, MetricSourceUnavailable, Window
from tools.metrics.catalogue import MetricDefinition
from tools.metrics.cells import Cell
from tools.metrics.counters import Key
from tools.metrics.counting import CounterSource
from tools.metrics.http_api import Access, Answered, HttpApi, bearer
from tools.metrics.influxdb.answers import cells_of
from tools.metrics.influxdb.influxql import (
    LOOKED_BACK,
    Selections,
    any_event,
    nanoseconds,
    parse_influxql,
    statements,
)
from tools.metrics.selections import Selection

API = "/query"


class InfluxMetricSource(CounterSource[Selection]):
    """Answers the metrics of `definitions` from one database. Raises BadSource, and BadDefinition for a wrong query."""

    nothing = f"nothing of the last {LOOKED_BACK.days} days"
    batch = 500

    def __init__(
        self,
        access: Access,
        definitions: Iterable[MetricDefinition],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not access.database:
            raise BadSource("A metric source of type 'influxdb' needs its database.", field="database")
        self._database = access.database
        names = {"db": access.database, "rp": access.retention or "", "epoch": "ns"}
        self._params = {name: value for name, value in names.items() if value}
        api = HttpApi(access, credentials=[bearer(access, "Token")], transport=transport)
        super().__init__(definitions, parse_influxql, api)

    async def _greet(self) -> None:
        await self._ask(["SHOW MEASUREMENTS LIMIT 1"])

    async def _count(self, template: Selections, keys: Sequence[Key], window: Window) -> Iterable[Cell]:
        if nanoseconds(window.start) == nanoseconds(window.end):
            return []
        asked = statements(template, keys, window)
        answers = await self._ask([one.text for one in asked])
        try:
            return list(cells_of(template, zip(asked, answers, strict=True)))
        except (ArithmeticError, KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise BadMetricAnswer(
                f"The answer to the metric {template.definition.name!r} has a series that is no number."
            ) from None

    def _spell(self, template: Selections, keys: Sequence[Key], window: Window) -> str:
        return ";\n".join(one.text for one in statements(template, keys, window))

    async def _ever(self, template: Selections, window: Window) -> bool:
        (series,) = await self._ask([any_event(template, window)])
        return bool(series)

    async def _ask(self, texts: Sequence[str]) -> list[list[Any]]:
        """Each statement's series."""
        answered = await self._api.post(API, form={"q": "; ".join(texts)}, params=self._params)
        answer = self._json(answered)
        if "error" in answer or answered.status >= 400:
            raise self._refusal(answered.status, answer.get("error") or answer.get("message"))
        results = answer.get("results")
        if not isinstance(results, list) or len(results) != len(texts):
            # After a statement that fails, 1.x says of the others alone that they were not run.
            for text in texts if len(texts) > 1 else ():
                await self._ask([text])
            raise BadMetricAnswer(f"{self._api.place} did not answer each statement: see whether it is an InfluxDB.")
        return [self._series(result) for result in results]

    def _series(self, result: Any) -> list[Any]:
        if not isinstance(result, dict) or "error" in result:
            raise self._refusal(200, result.get("error") if isinstance(result, dict) else "no result")
        series = result.get("series") or []
        if not isinstance(series, list) or not all(isinstance(one, dict) for one in series):
            raise BadMetricAnswer(f"{self._api.place} did not answer with series: see whether it is an InfluxDB.")
        # A server may bound how many rows it answers; what is beyond is missing.
        if result.get("partial") or any(one.get("partial") for one in series):
            raise MetricSourceUnavailable(
                f"{self._api.place} answered only a part: raise its max-row-limit, or make the metric's selections "
                "narrower."
            )
        return series

    def _json(self, answered: Answered) -> Mapping[str, Any]:
        try:
            found = json.loads(answered.body) if "json" in answered.content_type else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise MetricSourceUnavailable(
                f"{self._api.place} has no InfluxQL API (status {answered.status}): the source's url is what comes "
                f"before {API}."
            )
        return found

    def _refusal(self, status: int, said: Any) -> BadMetricAnswer | MetricSourceUnavailable:
        place, why = self._api.place, self._api.reason(said)
        if "dbrp" in why or ("not found" in why and ("database" in why or "retention" in why)):
            return MetricSourceUnavailable(
                f"{place} has no database {self._database!r} for this ({why}): set the source's database and "
                "retention; InfluxDB 2 needs a DBRP mapping of the bucket."
            )
        if status >= 500:
            return MetricSourceUnavailable(f"{place} refused the query (status {status}: {why}).")
        return BadMetricAnswer(f"{place} does not understand the query ({why}): correct the metric's selections.")
