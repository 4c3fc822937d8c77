"""A strict fake of Prometheus's HTTP API for httpx: what it understands of PromQL it computes as Prometheus does.

After https://prometheus.io/docs/prometheus/latest/querying/ (api, basics, operators, functions). Everything else is
refused with the status and the body that a server answers.
"""

import base64
import itertools
import json
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import httpx

Labels = tuple[tuple[str, str], ...]
Samples = list[tuple[int, float]]
"""Milliseconds since 1970, and a value."""

NAME = "__name__"
LOOKBACK_MS = 5 * 60_000
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}

_TOKEN = re.compile(
    r"""\s*(?:(?P<duration>\[\d+(?:ms|s|m|h)\])|(?P<number>\d+(?:\.\d+)?)|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
        |(?P<text>"(?:\\.|[^"\\\n])*")|(?P<sign>=~|!~|!=|<=|[-+{}(),=>@]))""",
    re.VERBOSE,
)


class Refused(Exception):
    """An answer with an error: the status, its type and what it says."""

    def __init__(self, status: int, kind: str, why: str) -> None:
        super().__init__(why)
        self.response = httpx.Response(status, json={"status": "error", "errorType": kind, "error": why})


@dataclass(frozen=True, slots=True)
class Point:
    """An element of a vector; `at` is the sample's own moment in milliseconds."""

    labels: Labels
    value: float
    at: int = 0

    @property
    def unnamed(self) -> Labels:
        return tuple(pair for pair in self.labels if pair[0] != NAME)


@dataclass
class PrometheusApi:
    """A server's state. `answers` are given first, one a request; `token` or `password` is what it asks for."""

    token: str | None = None
    password: tuple[str, str] | None = None
    answers: list[httpx.Response | Exception] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    series: dict[Labels, Samples] = field(default_factory=lambda: defaultdict(list))

    @property
    def transport(self) -> httpx.MockTransport:
        """What a client is to be made with."""
        return httpx.MockTransport(self._answer)

    def write(self, series: Iterable[tuple[Mapping[str, str], Iterable[tuple[int, float]]]]) -> None:
        """Add samples, each series' in the order of time."""
        for labels, samples in series:
            self.series[tuple(sorted(labels.items()))].extend(samples)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        body = (await request.aread()).decode()
        if self.answers:
            given = self.answers.pop(0)
            if isinstance(given, Exception):
                raise given
            return given
        if not self._may(request.headers.get("authorization")):
            return httpx.Response(401, text="Unauthorized\n")
        if request.url.path != "/api/v1/query":
            return httpx.Response(404, text="404 page not found\n")
        if request.method not in ("POST", "GET"):
            return httpx.Response(405, text="Method Not Allowed\n")
        try:
            return self._query(request, body)
        except Refused as refused:
            return refused.response

    def _may(self, authorization: str | None) -> bool:
        if self.token is not None:
            return authorization == f"Bearer {self.token}"
        if self.password is not None:
            return authorization == "Basic " + base64.b64encode(":".join(self.password).encode()).decode()
        return authorization is None

    def _query(self, request: httpx.Request, body: str) -> httpx.Response:
        if request.headers.get("content-type") != "application/x-www-form-urlencoded":
            raise Refused(
                400, "bad_data", 'invalid parameter "query": unknown position: parse error: no expression found'
            )
        form = parse_qs(body, keep_blank_values=True, strict_parsing=True)
        (text,), (time,) = form["query"], form["time"]
        if not re.fullmatch(r"\d+(\.\d+)?", time):
            raise Refused(400, "bad_data", f'invalid parameter "time": cannot parse "{time}" to a valid timestamp')
        self.asked.append(text)
        found = _Evaluation(self.series, text, round(float(time) * 1000)).run()
        result = [{"metric": dict(one.labels), "value": [float(time), _shown(one.value)]} for one in found]
        data = {"resultType": "vector", "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})


class _Evaluation:
    """One expression at one moment."""

    def __init__(self, series: Mapping[Labels, Samples], text: str, now: int) -> None:
        self._series = series
        self._now = now
        self._tokens = list(_tokens(text))
        self._next = 0

    def run(self) -> list[Point]:
        found = self._any_of()
        if self._next < len(self._tokens):
            raise self._unexpected()
        return found

    def _any_of(self) -> list[Point]:
        left = self._both()
        while self._taken("or"):
            there = {one.unnamed for one in left}
            left = left + [one for one in self._both() if one.unnamed not in there]
        return left

    def _both(self) -> list[Point]:
        left = self._compared()
        while self._taken("and"):
            there = {one.unnamed for one in self._compared()}
            left = [one for one in left if one.unnamed in there]
        return left

    def _compared(self) -> list[Point]:
        left = self._total()
        for sign, holds in _COMPARISONS.items():
            if self._taken(sign):
                if self._kind() == "number":
                    limit = float(self._take("number"))
                    return [one for one in left if holds(one.value, limit)]
                as_number = self._taken("bool")
                pairs = self._paired(left, self._total())
                if as_number:
                    return [Point(one.unnamed, float(holds(one.value, other.value))) for one, other in pairs]
                return [one for one, other in pairs if holds(one.value, other.value)]
        return left

    def _total(self) -> list[Point]:
        left = self._part()
        while (plus := self._taken("+")) or self._taken("-"):
            pairs = self._paired(left, self._part())
            left = [Point(one.unnamed, one.value + (other.value if plus else -other.value)) for one, other in pairs]
        return left

    def _paired(self, left: list[Point], right: list[Point]) -> list[tuple[Point, Point]]:
        """Those that have the same labels on both sides."""
        there = {one.unnamed: one for one in self._unique(right)}
        return [(one, there[one.unnamed]) for one in self._unique(left) if one.unnamed in there]

    def _unique(self, points: list[Point]) -> list[Point]:
        if len({one.unnamed for one in points}) < len(points):
            why = "found duplicate series for the match group on the left side of the operation: many-to-many"
            raise Refused(422, "execution", f"{why} matching not allowed: matching labels must be unique on one side")
        return points

    def _part(self) -> list[Point]:
        if self._taken("("):
            found = self._any_of()
            self._expect(")")
            return found
        if self._kind() == "name" and self._ahead(1) in ("(", "by"):
            return self._call(self._take("name"))
        return self._instant()

    def _call(self, name: str) -> list[Point]:
        if name in ("sum", "max", "count"):
            return self._aggregate(name)
        self._expect("(")
        if name == "vector":
            found = [Point((), float(self._take("number")))]
        elif name == "timestamp":
            found = [Point(one.unnamed, one.at / 1000) for one in self._instant()]
        elif name == "label_replace":
            found = self._relabelled()
        elif name in _OVER_TIME:
            found = list(self._over_time(name))
        else:
            raise Refused(
                400, "bad_data", f'invalid parameter "query": parse error: unknown function with name "{name}"'
            )
        self._expect(")")
        return found

    def _aggregate(self, name: str) -> list[Point]:
        by = self._labels() if self._taken("by") else []
        self._expect("(")
        groups = defaultdict[Labels, list[float]](list)
        for one in self._any_of():
            groups[tuple(pair for pair in one.labels if pair[0] in by)].append(one.value)
        self._expect(")")
        return [Point(labels, _AGGREGATES[name](values)) for labels, values in groups.items()]

    def _labels(self) -> list[str]:
        self._expect("(")
        names = [self._label()]
        while self._taken(","):
            names.append(self._label())
        self._expect(")")
        return names

    def _label(self) -> str:
        """A name, in quotes where it has other characters than it had before 3.0."""
        return json.loads(self._take("text")) if self._kind() == "text" else self._take("name")

    def _relabelled(self) -> list[Point]:
        points, texts = self._any_of(), list[str]()
        for _ in range(4):
            self._expect(",")
            texts.append(json.loads(self._take("text")))
        label, value, source, pattern = texts
        if set(re.findall(r"\$.?", value)) - {"$1"}:
            raise self._unexpected()
        return [
            _relabelled(one, label, value, re.fullmatch(pattern, dict(one.labels).get(source, ""))) for one in points
        ]

    def _instant(self) -> list[Point]:
        chosen, at = self._selector(), self._at()
        found = []
        for labels, samples in chosen:
            last = _until(samples, at)
            if last and last[-1][0] > at - LOOKBACK_MS:
                found.append(Point(labels, last[-1][1], last[-1][0]))
        return found

    def _over_time(self, name: str) -> Iterable[Point]:
        chosen, duration = self._selector(), self._take("duration")
        at = self._at()
        span = _milliseconds(duration)
        for labels, samples in chosen:
            inside = [one for one in _until(samples, at) if one[0] >= at - span]
            value = _OVER_TIME[name](inside, at - span, at) if inside else None
            if value is not None:
                yield Point(labels if name == "last_over_time" else Point(labels, 0).unnamed, value)

    def _selector(self) -> list[tuple[Labels, Samples]]:
        tests: list[Callable[[Mapping[str, str]], bool]] = []
        if self._kind() == "name":
            tests.append(_matcher(NAME, "=", self._take("name")))
        if self._taken("{"):
            while not self._taken("}"):
                quoted, label = self._kind() == "text", self._label()
                if quoted and self._ahead(0) in (",", "}"):
                    tests.append(_matcher(NAME, "=", label))
                else:
                    tests.append(_matcher(label, self._take("sign"), json.loads(self._take("text"))))
                if not self._taken(",") and self._ahead(0) != "}":
                    raise self._unexpected()
        if not tests:
            raise self._unexpected()
        return [(one, samples) for one, samples in self._series.items() if all(test(dict(one)) for test in tests)]

    def _at(self) -> int:
        return round(float(self._take("number")) * 1000) if self._taken("@") else self._now

    def _kind(self) -> str | None:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else None

    def _ahead(self, more: int) -> str | None:
        place = self._next + more
        return self._tokens[place][1] if place < len(self._tokens) else None

    def _taken(self, text: str) -> bool:
        if self._kind() in ("name", "sign") and self._ahead(0) == text:
            self._next += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._taken(text):
            raise self._unexpected()

    def _take(self, kind: str) -> str:
        if self._kind() != kind:
            raise self._unexpected()
        self._next += 1
        return self._tokens[self._next - 1][1]

    def _unexpected(self) -> Refused:
        return Refused(400, "bad_data", f'invalid parameter "query": parse error: unexpected {self._ahead(0)!r}')


def _relabelled(point: Point, label: str, value: str, found: re.Match[str] | None) -> Point:
    """With the label, unless its source does not fit; an empty label is none."""
    if found is None:
        return point
    labels = {**dict(point.labels), label: value.replace("$1", found[1] if found.re.groups else "")}
    return Point(tuple(sorted((name, one) for name, one in labels.items() if one)), point.value, point.at)


def _tokens(text: str) -> Iterable[tuple[str, str]]:
    place = 0
    while place < len(text.rstrip()):
        found = _TOKEN.match(text, place)
        if found is None:
            raise Refused(400, "bad_data", f'invalid parameter "query": parse error: unexpected {text[place:][:10]!r}')
        place = found.end()
        assert found.lastgroup is not None
        yield found.lastgroup, found[found.lastgroup]


def _matcher(label: str, sign: str, value: str) -> Callable[[Mapping[str, str]], bool]:
    if sign in ("=", "!="):
        return lambda labels: (labels.get(label, "") == value) is (sign == "=")
    pattern = re.compile(value, re.DOTALL)
    return lambda labels: (pattern.fullmatch(labels.get(label, "")) is not None) is (sign == "=~")


def _until(samples: Samples, at: int) -> Samples:
    return samples[: bisect_right(samples, at, key=lambda one: one[0])]


def _milliseconds(duration: str) -> int:
    number, unit = re.fullmatch(r"\[(\d+)(ms|s|m|h)\]", duration).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def _last(inside: Samples, _start: int, _end: int) -> float:
    return inside[-1][1]


def _resets(inside: Samples, _start: int, _end: int) -> float:
    return float(sum(after[1] < before[1] for before, after in itertools.pairwise(inside)))


def _increase(inside: Samples, start: int, end: int) -> float | None:
    """`extrapolatedRate` of promql/functions.go, for counters."""
    if len(inside) < 2:
        return None
    grown = inside[-1][1] - inside[0][1]
    grown += sum(before[1] for before, after in itertools.pairwise(inside) if after[1] < before[1])
    sampled = inside[-1][0] - inside[0][0]
    between = sampled / (len(inside) - 1)
    to_start, to_end = inside[0][0] - start, end - inside[-1][0]
    if grown > 0 and inside[0][1] >= 0:
        to_start = min(to_start, sampled * inside[0][1] / grown)
    span = sampled + sum(gap if gap < between * 1.1 else between / 2 for gap in (to_start, to_end))
    return grown * span / sampled


def _shown(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return f"{value:.17g}"


_OVER_TIME: Mapping[str, Callable[[Samples, int, int], float | None]] = {
    "last_over_time": _last,
    "max_over_time": lambda inside, _start, _end: max(value for _, value in inside),
    "min_over_time": lambda inside, _start, _end: min(value for _, value in inside),
    "resets": _resets,
    "increase": _increase,
}
_AGGREGATES: Mapping[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "count": lambda v: float(len(v))}
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
}
