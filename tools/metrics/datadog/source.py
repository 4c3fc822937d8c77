"""Metrics from Datadog: counts and distributions, counted in steps that add up to the window.

Timeseries across products (v2), documented at https://docs.datadoghq.com/api/latest/metrics/: all that a metric needs
is one request, whatever number of flags it names, and its rate limit is respected. Datadog's finest time is a second.
"""

import asyncio
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tools.errors import SluiceError
from tools.metrics.base import (
    BadMetricAnswer,
    BadSource,
    MetricQuery,
    MetricSourceUnavailable,
    Reading,
    Window,
    slices_of,
)
from tools.metrics.catalogue import MetricDefinition
from tools.metrics.cells import NEWEST, Cell, Rows
from tools.metrics.counters import Key, spoken
from tools.metrics.counting import CounterSource
from tools.metrics.datadog.scopes import (
    LOOKED_BACK,
    STEPS,
    Piece,
    Scope,
    Scopes,
    can_be_tag,
    columns,
    even_pieces,
    parse_scopes,
    pieces,
    queries,
)
from tools.metrics.http_api import Access, Answered, Credential, HttpApi

API, VALIDATE = "/api/v2/query/timeseries", "/api/v1/validate"
SITE = "datadoghq.com"
MISSING = "N/A"
"""What Datadog says of a tag that a series does not have."""

NO_TIMESERIES = "has a series that is no timeseries"
ROUNDING = 1e-6
"""Counts are kept as rates, and come back a little off the whole number."""

Group = tuple[str, float | None, Key, str | None, str | None]


class Counted:
    """Points added up."""

    def __init__(self) -> None:
        self._counts = defaultdict[Group, float](float)
        self._newest = dict[Group, float]()

    @property
    def columns(self) -> set[str]:
        """Those with any point."""
        return {column for column, *_ in self._counts}

    def add(self, group: Group, at: float, value: float) -> None:
        """Add a point."""
        self._counts[group] += value
        self._newest[group] = max(self._newest.get(group, 0.0), at)

    def cells(self, template: Scopes) -> Iterator[Cell]:
        """The sums, and the moments of the newest."""
        # Exposures, or all of a histogram.
        whole = ("exposures", None) if "exposures" in template.selectors else columns(template)[-1]
        for group, value in self._counts.items():
            column, edge, key, variant, segment = group
            yield Cell(column, key, variant, _whole(column, value), segment if edge is None else edge)
            if (column, edge) == whole:
                yield Cell(NEWEST, key, variant, self._newest[group], segment)


class DatadogMetricSource(CounterSource[Scope]):
    """Answers the metrics of `definitions` from one site. Raises BadSource, and BadDefinition for a wrong query."""

    nothing = f"nothing of the last {LOOKED_BACK.days} days"
    batch = 100

    def __init__(
        self,
        access: Access,
        definitions: Iterable[MetricDefinition],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        keys = [
            Credential("DD-API-KEY", access.token, access.token_file),
            Credential(
                "DD-APPLICATION-KEY",
                access.application_key,
                access.application_key_file,
                name="application_key",
            ),
        ]
        for one in keys:
            if one.value is None and one.file is None:
                problem = f"A metric source of type 'datadog' needs its {one.name}, the header {one.header}."
                raise BadSource(problem, field=one.name)
        site = access.site or SITE
        if re.fullmatch(r"[a-z0-9.-]+", site) is None:
            raise BadSource("Datadog's site is written like datadoghq.com or us5.datadoghq.com.", field="site")
        api = HttpApi(
            replace(access, url=access.url or f"https://api.{site}"),
            credentials=keys,
            keys="the source's token (an API key) and application_key (with the scope timeseries_query), and its site",
            transport=transport,
        )
        super().__init__(definitions, parse_scopes, api)

    async def _greet(self) -> None:
        self._json(await self._api.get(VALIDATE))

    def fold(self, label: str) -> str:
        """A tag's value is kept in small letters. Raises BadMetricAnswer for one that Datadog would change further."""
        if not can_be_tag(label):
            raise BadMetricAnswer(
                f"Datadog has no tag with the value {label!r}: call that variant otherwise, in letters, digits and "
                "_ . - / : alone."
            )
        return label.lower()

    def _can_have(self, value: str) -> bool:
        return can_be_tag(value)

    async def read_slices(self, query: MetricQuery, step: timedelta) -> Sequence[Reading]:
        """The window's slices of `step`, moved back by a minute at most so that few points make them up."""
        template = self._templates[self._catalogue.get(query.metric).name]
        key, length = template.key(query), int(step.total_seconds())
        self._require_names(key)
        if timedelta(seconds=length) != step:
            return [await self.read(one) for one in slices_of(query, step)]
        each = math.gcd(length, STEPS[1])
        first = _seconds(query.window.start) // each * each
        count = (query.window.end - query.window.start) // step
        found = [Counted() for _ in range(count)]
        for piece in even_pieces(first, first + count * length, each):
            answer = await self._ask(queries(template, [key], each), piece)
            for group, at, value in _points(template, answer, piece):
                found[(int(at) - first) // length].add(group, at, value)
        moments = [datetime.fromtimestamp(first + number * length, UTC) for number in range(count)]
        asked = [replace(query, window=Window(at, at + step)) for at in moments]
        rows = [
            Rows(template, one.window, it.cells(template), own_edges=True) for one, it in zip(asked, found, strict=True)
        ]
        if any("events" in one.columns for one in found):
            self._believe_in_events(template)
        elif any(one.lacks_events for one in rows):
            await self._require_events(template, query.window)
        shown = [template.shown(one, key, spoken(one.window)) for one in asked]
        answers = [self._reading(one, of, key, text) for one, of, text in zip(asked, rows, shown, strict=True)]
        for one in answers:
            if isinstance(one, SluiceError):
                raise one
        return [one for one in answers if isinstance(one, Reading)]

    async def _count(self, template: Scopes, keys: Sequence[Key], window: Window) -> Iterable[Cell]:
        parts = list(pieces(_seconds(window.start), _seconds(window.end)))
        answers = await asyncio.gather(*(self._ask(queries(template, keys, one.step), one) for one in parts))
        found = Counted()
        for piece, answer in zip(parts, answers, strict=True):
            for group, at, value in _points(template, answer, piece):
                found.add(group, at, value)
        return found.cells(template)

    def _spell(self, template: Scopes, keys: Sequence[Key], window: Window) -> str:
        parts = pieces(_seconds(window.start), _seconds(window.end))
        return "\n".join(text for one in parts for text in queries(template, keys, one.step))

    async def _ever(self, template: Scopes, window: Window) -> bool:
        step = STEPS[-1]
        end = -(-_seconds(window.end) // step) * step
        lately = Piece(end - int(LOOKED_BACK.total_seconds()), end, step)
        answer = await self._ask([template.selectors["events"].query({}, (), step, None)], lately)
        try:
            return any(value is not None for values in answer.get("values") or () for value in values)
        except TypeError:
            raise _bad(template, NO_TIMESERIES) from None

    async def _ask(self, texts: Sequence[str], piece: Piece) -> Mapping[str, Any]:
        """The answer's attributes: series, times and values."""
        asked = [{"data_source": "metrics", "name": f"q{n}", "query": text} for n, text in enumerate(texts)]
        attributes = {
            "formulas": [{"formula": one["name"]} for one in asked],
            "queries": asked,
            "from": piece.start * 1000,
            "to": piece.end * 1000,
            "interval": piece.step * 1000,
        }
        answered = await self._api.post(API, content={"data": {"type": "timeseries_request", "attributes": attributes}})
        answer = self._json(answered)
        if answer.get("errors"):
            raise MetricSourceUnavailable(
                f"{self._api.place} answered only a part ({self._api.reason(answer['errors'])})."
            )
        data = answer.get("data")
        found = data.get("attributes") if isinstance(data, dict) else None
        if not isinstance(found, dict):
            raise BadMetricAnswer(f"{self._api.place} answered no timeseries: see whether its url is Datadog's.")
        return found

    def _json(self, answered: Answered) -> dict[str, Any]:
        try:
            found = json.loads(answered.body) if "json" in answered.content_type else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise MetricSourceUnavailable(
                f"{self._api.place} has no Datadog API (status {answered.status}): set the source's site."
            )
        if answered.status == 400:
            why = self._api.reason(_why(found))
            raise BadMetricAnswer(
                f"{self._api.place} does not understand the query ({why}): correct the metric's scopes."
            )
        if answered.status != 200:
            raise MetricSourceUnavailable(
                f"{self._api.place} refused the query (status {answered.status}: {self._api.reason(_why(found))})."
            )
        return found


def _why(answer: Mapping[str, Any]) -> Any:
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else errors
    return first.get("detail") or first.get("title") if isinstance(first, dict) else first


def _points(template: Scopes, answer: Mapping[str, Any], piece: Piece) -> Iterator[tuple[Group, float, float]]:
    """Each count with whose it is and its moment. Raises BadMetricAnswer for what was not asked."""
    asked = columns(template)
    try:
        times = [at / 1000 for at in answer.get("times") or ()]
        if any(not piece.start <= at < piece.end or at % piece.step for at in times):
            raise _bad(template, "is in other steps than were asked for, so that it can't be added up to the window")
        for series, values in zip(answer.get("series") or (), answer.get("values") or (), strict=True):
            column, edge = asked[series.get("query_index", 0)]
            tags = dict(tag.split(":", 1) for tag in series.get("group_tags") or ())
            key = tuple(tags.get(tag, "") for tag, _ in template.open)
            variant, *more = (_tag(tags.get(label)) for label in template.arms)
            group = (column, edge, key, variant, more[0] if more else None)
            for at, value in zip(times, values, strict=True):
                if value is not None:
                    yield group, at, float(value)
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise _bad(template, NO_TIMESERIES) from None


def _whole(column: str, value: float) -> float:
    nearest = float(round(value)) if abs(value) < 2**53 else value
    near = abs(value - nearest) <= ROUNDING * max(1.0, abs(value))
    return nearest if near and column in ("exposures", "events", "buckets") else value


def _tag(value: str | None) -> str | None:
    return None if value in (None, "", MISSING) else value


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp() // 1)


def _bad(template: Scopes, problem: str) -> BadMetricAnswer:
    return BadMetricAnswer(f"The answer to the metric {template.definition.name!r} {problem}.")
