"""A strict fake of Datadog's API for httpx: counts and distributions, timeseries of them (v2), keys, rate limits.

After https://docs.datadoghq.com/api/latest/metrics/ and rate-limits/, and what clients recorded: tags are normalised
when they come, a series without a tag is in the group N/A, points are in steps aligned to 1970, of which those without
data are left out or null, and a series has 1,500 points at most: then the step is longer, whatever was asked for.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import httpx

MOST_POINTS = 1_500
_QUERY = re.compile(
    r"(?P<aggregator>sum|count|count\(v: v<=(?P<edge>[\d.e-]+)\)):(?P<metric>[a-zA-Z][\w.]*)\{(?P<scope>[^{}]*)\}"
    r"(?: by \{(?P<by>[^{}]+)\})?\.as_count\(\)\.rollup\(sum, (?P<step>\d+)\)"
)
_TERM = re.compile(r"(?:(NOT) )?(?:([\w.\-/]+):(\S+)|([\w.\-/]+) IN \(([^()]+)\))")


@dataclass
class Point:
    """What came of a metric at a second: how much, under which tags. Of a distribution, one value."""

    metric: str
    at: int
    value: float
    tags: Mapping[str, str]


@dataclass
class DatadogApi:
    """An organisation's data. `answers` are given first, one a request; `limit` is how many requests it takes."""

    api_key: str = "api-s3cret"
    application_key: str = "app-s3cret"
    limit: int = 1_600
    answers: list[httpx.Response | Exception] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    requests: int = 0
    points: list[Point] = field(default_factory=list)

    @property
    def transport(self) -> httpx.MockTransport:
        """What a client is to be made with."""
        return httpx.MockTransport(self._answer)

    def write(self, metric: str, at: float, value: float, **tags: str) -> None:
        """Add to a count, or a value to a distribution, at the second of that moment."""
        self.points.append(Point(metric, math.floor(at), value, {key: normalised(one) for key, one in tags.items()}))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        body = await request.aread()
        if self.answers:
            given = self.answers.pop(0)
            if isinstance(given, Exception):
                raise given
            return given
        if request.headers.get("dd-api-key") != self.api_key:
            return httpx.Response(403, json={"errors": ["Forbidden"]})
        if (request.method, request.url.path) == ("GET", "/api/v1/validate"):
            return httpx.Response(200, json={"valid": True})
        if (request.method, request.url.path) != ("POST", "/api/v2/query/timeseries"):
            return httpx.Response(404, json={"errors": ["Not found"]})
        if request.headers.get("dd-application-key") != self.application_key:
            return httpx.Response(403, json={"errors": ["Forbidden", "Failed permission authorization checks"]})
        headers = {"X-RateLimit-Limit": "1600", "X-RateLimit-Period": "3600", "X-RateLimit-Reset": "120"}
        self.limit -= 1
        headers["X-RateLimit-Remaining"] = str(max(0, self.limit))
        if self.limit < 0:
            return httpx.Response(429, json={"errors": ["Rate limit of 1600 requests exceeded"]}, headers=headers)
        found = self._timeseries(json.loads(body), request.headers.get("content-type"))
        found.headers.update(headers)
        return found

    def _timeseries(self, body: Any, content_type: str | None) -> httpx.Response:
        data = body["data"]
        attributes = data["attributes"]
        if content_type != "application/json" or data["type"] != "timeseries_request":
            return _bad("invalid request body")
        start, end, interval = attributes["from"], attributes["to"], attributes["interval"]
        if not all(type(one) is int for one in (start, end, interval)) or start >= end:
            return _bad("from must be before to, in milliseconds")
        names = [one["name"] for one in attributes["queries"]]
        if [one["formula"] for one in attributes["formulas"]] != names or len(set(names)) < len(names):
            return _bad("formulas name unknown queries")
        series = list[tuple[int, list[str], dict[int, float]]]()
        for number, query in enumerate(attributes["queries"]):
            found = _QUERY.fullmatch(query["query"])
            if query["data_source"] != "metrics" or found is None:
                return _bad(f"Error parsing query: unable to parse {query['query']}")
            terms = _terms(found["scope"])
            if terms is None or int(found["step"]) * 1000 != interval:
                return _bad(f"Error parsing query: unable to parse {query['query']}")
            series += [(number, *one) for one in self._series(found, terms, start // 1000, end // 1000)]
        self.asked.append([query["query"] for query in attributes["queries"]])
        times = sorted({at for _, _, values in series for at in values})
        return httpx.Response(
            200,
            headers={"content-type": "application/vnd.api+json"},
            json={
                "data": {
                    "id": "0",
                    "type": "timeseries_response",
                    "attributes": {
                        "series": [{"group_tags": tags, "query_index": n, "unit": None} for n, tags, _ in series],
                        "times": [at * 1000 for at in times],
                        "values": [[values.get(at) for at in times] for _, _, values in series],
                    },
                }
            },
        )

    def _series(
        self, query: re.Match[str], terms: Sequence[tuple[bool, str, Sequence[str]]], start: int, end: int
    ) -> list[tuple[list[str], dict[int, float]]]:
        step = int(query["step"])
        while (end - start) / step > MOST_POINTS:
            step *= 2
        by = query["by"].split(",") if query["by"] else []
        groups = defaultdict[tuple[str, ...], dict[int, float]](lambda: defaultdict(float))
        for one in self.points:
            inside = start <= one.at < end and one.metric == query["metric"]
            if not inside or not all(_has(one, tag, values) is wanted for wanted, tag, values in terms):
                continue
            if query["edge"] is not None and one.value > float(query["edge"]):
                continue
            counted = one.value if query["aggregator"] == "sum" else 1.0
            # Rates come back a little off.
            groups[tuple(f"{tag}:{one.tags.get(tag, 'N/A')}" for tag in by)][one.at // step * step] += (
                counted / step * step
            )
        return [(list(tags), values) for tags, values in groups.items()]


def _has(point: Point, tag: str, values: Sequence[str]) -> bool:
    """Whether its tag has one of the values, in which a star stands for anything."""
    return tag in point.tags and any(fnmatchcase(point.tags[tag], value) for value in values)


def normalised(value: str) -> str:
    """A tag's value as it is kept."""
    return re.sub(r"[^\w.\-/:]", "_", value.lower())[:200].rstrip(":_")


def _terms(scope: str) -> list[tuple[bool, str, Sequence[str]]] | None:
    found = list[tuple[bool, str, Sequence[str]]]()
    for text in scope.split(" AND ") if scope != "*" else ():
        term = _TERM.fullmatch(text)
        if term is None:
            return None
        values = [term[3]] if term[3] else re.split(r",\s*", term[5])
        found.append((term[1] is None, term[2] or term[4], values))
    return found


def _bad(why: str) -> httpx.Response:
    return httpx.Response(400, json={"errors": [why]})
