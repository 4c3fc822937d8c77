"""Metrics from Prometheus, or a server with its HTTP API (Thanos, Mimir, VictoriaMetrics): counters, counted exactly.

Instant queries by POST, documented at https://prometheus.io/docs/prometheus/latest/querying/api/. Questions about the
same metric and window are one query, whatever number of flags they name.
"""

import asyncio
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tools.errors import SluiceError
from tools.metrics.answer import SEGMENT, reading_of
from tools.metrics.base import BadMetricAnswer, MetricQuery, MetricSourceUnavailable, Reading, Window
from tools.metrics.catalogue import Catalogue, MetricDefinition, MetricKind, TimeFormat
from tools.metrics.http_api import Access, Answered, HttpApi, reason
from tools.metrics.promql import COLUMN, EDGE, KNOWN, NEWEST, Absent, CounterTemplate, Moments, parse_counters, spoken

API = "/api/v1/query"
GRAIN = timedelta(seconds=1)
LARGEST_BATCH = 1_000
"""Flags in one query."""

Key = tuple[str, ...]
Cells = Mapping[str, Any]


class PrometheusMetricSource:
    """Answers the metrics of `definitions` from one server. Raises BadSource, and BadDefinition for a wrong query."""

    grain = GRAIN

    def __init__(
        self,
        access: Access,
        definitions: Iterable[MetricDefinition],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._catalogue = Catalogue(definitions)
        self._templates = {one.name: parse_counters(one) for one in self._catalogue}
        self._api = HttpApi(access, transport=transport)
        # In an answer moments are seconds, whatever the definition says of times in queries.
        self._answered = {one.name: one.model_copy(update={"time_format": TimeFormat.EPOCH}) for one in self._catalogue}

    async def read(self, query: MetricQuery) -> Reading:
        """The metric over the window. Raises UnknownMetric, BadMetricAnswer, MetricSourceUnavailable."""
        (found,) = await self.read_together([query])
        if isinstance(found, SluiceError):
            raise found
        return found

    async def read_together(self, queries: Sequence[MetricQuery]) -> Sequence[Reading | SluiceError]:
        """Each question's answer, or why there is none; those of one metric and window by one query."""
        alike = defaultdict[tuple[str, Window], list[int]](list)
        for place, query in enumerate(queries):
            alike[query.metric, query.window].append(place)
        batches = [some[i : i + LARGEST_BATCH] for some in alike.values() for i in range(0, len(some), LARGEST_BATCH)]
        answers = await asyncio.gather(*(self._read_alike([queries[place] for place in batch]) for batch in batches))
        found = dict(zip(itertools.chain(*batches), itertools.chain(*answers), strict=True))
        return [found[place] for place in range(len(queries))]

    async def check(self) -> None:
        """Return when the server answers and understands every query. Raises MetricSourceUnavailable."""
        await self._ask("vector(1)", datetime.now(UTC))
        now = datetime.now(UTC)
        window = Window(now - timedelta(seconds=30), now)
        for name, template in self._templates.items():
            key = template.key(MetricQuery(name, "", "", window))
            try:
                await self._ask(template.expression([key], Moments.of(window.start, window.end)), now)
            except BadMetricAnswer as error:
                raise MetricSourceUnavailable(f"The metric {name!r} can't be asked for: {error}") from None

    async def close(self) -> None:
        """Close every connection."""
        await self._api.close()

    def expression(self, first: MetricQuery, *more: MetricQuery) -> str:
        """The PromQL that is run for these, which ask for one metric and window. Raises UnknownMetric."""
        template = self._templates[self._catalogue.get(first.metric).name]
        keys = dict.fromkeys(template.key(query) for query in (first, *more))
        return template.expression(keys, Moments.of(first.window.start, first.window.end))

    async def _read_alike(self, queries: Sequence[MetricQuery]) -> Sequence[Reading | SluiceError]:
        try:
            definition = self._catalogue.get(queries[0].metric)
            rows = await self._rows(self._templates[definition.name], queries)
        except SluiceError as error:
            return [error] * len(queries)
        window = spoken(queries[0].window)
        return [self._reading(query, rows, window) for query in queries]

    async def _rows(self, template: CounterTemplate, queries: Sequence[MetricQuery]) -> "_Rows":
        window = queries[0].window
        moments = Moments.of(window.start, window.end)
        if moments.start == moments.end:
            return _Rows(template, window, [])
        return _Rows(template, window, await self._ask(self.expression(*queries), window.end))

    def _reading(self, query: MetricQuery, rows: "_Rows", window: str) -> Reading | SluiceError:
        definition = self._answered[query.metric]
        try:
            columns, found = rows.of(query)
            return reading_of(definition, columns, found, query=rows.template.shown(query, window))
        except SluiceError as error:
            return error

    async def _ask(self, expression: str, at: datetime) -> list[Any]:
        answered = await self._api.post(API, {"query": expression, "time": f"{at.timestamp():.3f}"})
        answer = self._json(answered)
        if answer.get("status") != "success":
            raise self._refusal(answered.status, str(answer.get("errorType")), reason(answer.get("error")))
        # Thanos and remote reads warn of stores that did not answer: what they hold is missing.
        warnings = [one for one in answer.get("warnings") or () if not str(one).startswith("PromQL info")]
        if warnings:
            raise MetricSourceUnavailable(f"{self._api.place} answered only a part ({reason(warnings[0])}).")
        data = answer.get("data")
        if not isinstance(data, dict) or data.get("resultType") != "vector" or not isinstance(data.get("result"), list):
            raise BadMetricAnswer(f"{self._api.place} answered no vector: see whether its url is a Prometheus API's.")
        return list(data["result"])

    def _json(self, answered: Answered) -> dict[str, Any]:
        try:
            found = json.loads(answered.body) if "json" in answered.content_type else None
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


class _Rows:
    """An answer's rows by question. Raises BadMetricAnswer for what is no row of the query's."""

    def __init__(self, template: CounterTemplate, window: Window, result: Iterable[Any]) -> None:
        self.template = template
        # What was counted has a newest sample in the window; where its series are gone by now, nobody knows when.
        self._oldest = window.start.timestamp()
        self._open = tuple(label for label, _ in template.open)
        self._by_key = defaultdict[Key, dict[tuple[str | None, str | None], dict[str, float]]](dict)
        self._edges = defaultdict[Key, dict[str | None, dict[float, float]]](dict)
        self._known = False
        for item in result:
            self._add(*self._labels_and_value(item))

    def of(self, query: MetricQuery) -> tuple[Sequence[str], list[Sequence[Any]]]:
        """The columns, and the question's rows."""
        key, kind = self.template.key(query), self.template.definition.kind
        if kind is MetricKind.LATENCY:
            return ("variant", "exposures", "bucket", "newest"), list(self._bucket_rows(key))
        found = self._by_key.get(key, {})
        cells = [(group, row) for group, row in found.items() if "exposures" in row]
        newest = [row.get(NEWEST, self._oldest) for _, row in cells]
        if kind is MetricKind.RATIO:
            self._require_events([row for _, row in cells])
            rows = [(variant, row["exposures"], row.get("events", 0.0)) for (variant, _), row in cells]
            return ("variant", "exposures", "events", "newest"), _with(rows, newest)
        if kind is MetricKind.MEAN:
            self._require_sums([row for _, row in cells])
            sums = [(group[0], row["exposures"], row["total"], row["total_squares"]) for group, row in cells]
            return ("variant", "exposures", "total", "total_squares", "newest"), _with(sums, newest)
        if kind is MetricKind.MIX:
            mixed = [(variant, row["exposures"], segment) for (variant, segment), row in cells]
            return ("variant", "exposures", SEGMENT, "newest"), _with(mixed, newest)
        return ("variant", "exposures", "newest"), _with([(group[0], row["exposures"]) for group, row in cells], newest)

    def _labels_and_value(self, item: Any) -> tuple[Mapping[str, str], float]:
        try:
            labels, (_, text) = item["metric"], item["value"]
            return labels, float(text)
        except (KeyError, TypeError, ValueError):
            raise self._bad("has a row that is no sample") from None

    def _add(self, labels: Mapping[str, str], value: float) -> None:
        column = labels.get(COLUMN)
        if column == KNOWN:
            self._known = True
            return
        key = tuple(labels.get(label, "") for label in self._open)
        variant = labels.get(self.template.query.variant) or None
        if EDGE in labels and column == "buckets":
            edges = self._edges[key].setdefault(variant, {})
            self._put(edges, _edge(labels[EDGE]), value, column)
            return
        segment = labels.get(self.template.query.segment) or None if self.template.query.segment else None
        if column is None or (column != NEWEST and column not in self.template.selectors):
            raise self._bad("has a row of no column")
        # What was reset amid the window is not a whole number: that part is the server's estimate.
        whole = column in ("exposures", "events") and math.isfinite(value)
        self._put(
            self._by_key[key].setdefault((variant, segment), {}), column, round(value) if whole else value, column
        )

    def _put(self, cells: dict[Any, float], name: Any, value: float, column: str) -> None:
        if name in cells:
            raise self._bad(f"has two rows of one variant in {column}")
        cells[name] = value

    def _require_events(self, rows: Sequence[Cells]) -> None:
        """Nobody having seen any series of events, their labels may as well be wrong."""
        if not rows or self._known or self.template.query.absent is Absent.ZERO or any("events" in row for row in rows):
            return
        events = self.template.selectors["events"].text({})
        raise self._bad(
            f'counts exposures, but no series at all is {events}: correct it, or say query.absent = "zero" if it may '
            "be that none ever happened"
        )

    def _require_sums(self, rows: Sequence[Cells]) -> None:
        for row in rows:
            for column in ("total", "total_squares"):
                if column not in row:
                    raise self._bad(f"counts exposures without {column}; both must have the same labels")

    def _bucket_rows(self, key: Key) -> Iterable[Sequence[Any]]:
        for variant, found in self._edges.get(key, {}).items():
            newest = self._by_key.get(key, {}).get((variant, None), {}).get(NEWEST, self._oldest)
            below = 0.0
            for edge in self.template.definition.edges:
                if edge not in found:
                    there = ", ".join(f"{one:g}" for one in sorted(found))
                    raise self._bad(
                        f"has no bucket up to {edge:g}; there are {there}: take the metric's buckets from them"
                    )
                # Estimates of what was reset may fall by a little from one edge to the next.
                reached = max(below, round(found[edge])) if math.isfinite(found[edge]) else found[edge]
                yield variant, reached - below, edge, newest
                below = reached

    def _bad(self, problem: str) -> BadMetricAnswer:
        return BadMetricAnswer(f"The answer to the metric {self.template.definition.name!r} {problem}.")


def _with(rows: Iterable[Sequence[Any]], newest: Iterable[float]) -> list[Sequence[Any]]:
    return [(*row, moment) for row, moment in zip(rows, newest, strict=True)]


def _edge(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
