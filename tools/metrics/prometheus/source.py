"""Metrics from Prometheus, or a server with its HTTP API (Thanos, Mimir, VictoriaMetrics): counters, counted exactly.

Instant queries by POST, documented at https://prometheus.io/docs/prometheus/latest/querying/api/. Questions about the
same metric and window are one query, whatever number of flags they name, and a second one for those of which a service
restarted in the window.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
from pydantic_core import from_json

from tools.errors import SluiceError
from tools.metrics.base import BadMetricAnswer, MetricSourceUnavailable, Window
from tools.metrics.catalogue import MetricDefinition
from tools.metrics.cells import KNOWN, NEWEST, Cell
from tools.metrics.counters import Key, Moments
from tools.metrics.counting import CounterSource
from tools.metrics.http_api import Access, Answered, HttpApi
from tools.metrics.prometheus.promql import (
    COLUMN,
    EDGE,
    OWN_LABEL,
    RESTARTED,
    VARIANT,
    Counters,
    SeriesSelector,
    expression,
    own_label,
    parse_series,
)

API = "/api/v1/query"


class PrometheusMetricSource(CounterSource[SeriesSelector]):
    """Answers the metrics of `definitions` from one server. Raises BadSource, and BadDefinition for a wrong query."""

    nothing = "no series at all"
    own_edges = False

    def __init__(
        self,
        access: Access,
        definitions: Iterable[MetricDefinition],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(definitions, parse_series, HttpApi(access, transport=transport))

    async def _greet(self) -> None:
        await self._ask("vector(1)", datetime.now(UTC))

    async def _count(self, template: Counters, keys: Sequence[Key], window: Window) -> Iterable[Cell]:
        moments = Moments.of(window.start, window.end)
        if moments.start == moments.end:
            return []
        found = await self._cells(template, expression(template, keys, moments), window)
        restarted = {cell.key: None for cell in found if cell.column == RESTARTED}
        if restarted:
            closely = expression(template, restarted, moments, restarted=True)
            found = [cell for cell in found if cell.key not in restarted or cell.column == KNOWN]
            # Labels are named one by one, so that others' rows may come too.
            found += [cell for cell in await self._cells(template, closely, window) if cell.key in restarted]
        return found if template.query.variant != OWN_LABEL else _by_flag(found, keys)

    async def _cells(self, template: Counters, expression: str, window: Window) -> list[Cell]:
        return list(_cells(template, await self._ask(expression, window.end)))

    def _spell(self, template: Counters, keys: Sequence[Key], window: Window) -> str:
        return expression(template, keys, Moments.of(window.start, window.end))

    async def _ever(self, template: Counters, window: Window) -> bool:
        """It was asked for with the rest."""
        return False

    async def _ask(self, expression: str, at: datetime) -> list[Any]:
        answered = await self._api.post(API, form={"query": expression, "time": f"{at.timestamp():.3f}"})
        answer = self._json(answered)
        if answer.get("status") != "success":
            kind, why = self._api.reason(answer.get("errorType")), self._api.reason(answer.get("error"))
            raise self._refusal(answered.status, kind, why)
        # Thanos and remote reads warn of stores that did not answer: what they hold is missing.
        said = answer.get("warnings") or []
        said = said if isinstance(said, list) else [said]
        warnings = [one for one in said if not str(one).startswith("PromQL info")]
        if warnings:
            raise MetricSourceUnavailable(f"{self._api.place} answered only a part ({self._api.reason(warnings[0])}).")
        data = answer.get("data")
        if not isinstance(data, dict) or data.get("resultType") != "vector" or not isinstance(data.get("result"), list):
            raise BadMetricAnswer(f"{self._api.place} answered no vector: see whether its url is a Prometheus API's.")
        return list(data["result"])

    def _json(self, answered: Answered) -> dict[str, Any]:
        try:
            # In about half of the time that json takes, for megabytes a tick.
            found = from_json(answered.body) if "json" in answered.content_type else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise MetricSourceUnavailable(
                f"{self._api.place} has no Prometheus API (status {answered.status}): the source's url is what comes "
                f"before {API}."
            )
        return found

    def _refusal(self, status: int, kind: str, why: str) -> SluiceError:
        place = self._api.place
        if kind == "bad_data":
            return BadMetricAnswer(f"{place} does not understand the query ({why}): correct the metric's selectors.")
        if kind == "execution":
            return BadMetricAnswer(f"{place} can't run the query ({why}): make the metric's selectors narrower.")
        return MetricSourceUnavailable(f"{place} refused the query (status {status}, {kind}: {why}).")


def _cells(template: Counters, result: Iterable[Any]) -> Iterator[Cell]:
    # Tens of thousands of rows a tick: what they have in common is looked up once.
    opened, segment = [label for label, _ in template.open], template.query.segment
    variant = VARIANT if template.query.variant == OWN_LABEL else template.query.variant
    columns, counts = {KNOWN, NEWEST, RESTARTED, *template.selectors}, {"exposures", "events"}
    for item in result:
        try:
            labels, (_, text) = item["metric"], item["value"]
            value, column = float(text), labels.get(COLUMN)
            key = tuple([labels.get(label, "") for label in opened])
            # Labels are text: what can't be a key is none.
            known, _ = column in columns, hash(key)
        except (ArithmeticError, KeyError, TypeError, ValueError, AttributeError):
            raise _bad(template, "has a row that is no sample") from None
        if not known:
            raise _bad(template, "has a row of no column")
        within: str | float | None = None
        if column == "buckets":
            within = _edge(labels.get(EDGE, ""))
        elif segment:
            within = labels.get(segment) or None
        # What was reset amid the window is not a whole number: that part is the server's estimate.
        if column in counts and math.isfinite(value):
            value = round(value)
        yield Cell(column, key, labels.get(variant) or None, value, within)


def _by_flag(cells: Iterable[Cell], keys: Sequence[Key]) -> Iterator[Cell]:
    """What was counted by the flags' own labels, for each flag; several may be called alike there."""
    flags = defaultdict[Key, list[Key]](list)
    for *rest, flag in keys:
        flags[(*rest, own_label(flag))].append((*rest, flag))
    for cell in cells:
        yield from (cell._replace(key=key) for key in flags.get(cell.key, [cell.key]))


def _edge(text: str) -> float:
    try:
        return float(text)
    except (ArithmeticError, TypeError, ValueError):
        return math.nan


def _bad(template: Counters, problem: str) -> BadMetricAnswer:
    return BadMetricAnswer(f"The answer to the metric {template.definition.name!r} {problem}.")
