"""Flagsmith's Admin API and its endpoint for updating flags, as they are documented and answer, with their traps.

What it does not know it refuses, so that a request that the real one would ignore fails here too. `asked` has the body
of every update that was carried out, and `went_wrong` answers in place of the next requests.
"""

import itertools
from collections.abc import Awaitable, Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "of-an-organisation.00000000"
PROJECT = 7
ROOMS = {"Production": (70, "keyOfProduction"), "staging": (71, "keyOfStaging")}
FLAG = "/api/__future__/environments/{key}/features/{id:int}/"
TYPES = {"string": "string_value", "integer": "integer_value", "boolean": "boolean_value"}

Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, **body: object) -> None:
        super().__init__(str(body))
        self.response = JSONResponse(body, status)


@dataclass
class FakeFlagsmith(httpx.AsyncBaseTransport):
    """A transport that is the server. `features` is what it keeps, by name; `states` what each serves, by environment.

    `change_requests` are environments that want them.
    """

    features: dict[str, dict[str, Any]] = field(default_factory=dict)
    states: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    change_requests: set[str] = field(default_factory=set)
    asked: list[dict[str, Any]] = field(default_factory=list)
    went_wrong: list[Answer] = field(default_factory=list)
    page_size: int = 999
    requests: int = 0

    def __post_init__(self) -> None:
        self._ids = itertools.count(100)
        routes = [
            Route("/api/v1/environments/", self._environments, methods=["GET"]),
            Route("/api/v1/projects/{project:int}/features/", self._features, methods=["GET"]),
            Route(FLAG, self._get, methods=["GET"]),
            Route(FLAG, self._patch, methods=["PATCH"]),
        ]
        app = Starlette(routes=routes, exception_handlers={Refused: _refusal})
        app.router.redirect_slashes = False
        self._inner = httpx.ASGITransport(app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if self.went_wrong:
            return await self.went_wrong.pop(0)(request)
        return await self.really(request)

    async def really(self, request: httpx.Request) -> httpx.Response:
        """Carry it out."""
        if request.headers.get("Authorization") != f"Api-Key {TOKEN}":
            return httpx.Response(403, json={"detail": "Authentication credentials were not provided."})
        return await self._inner.handle_async_request(request)

    def define(self, name: str, *variants: object, value: object = "old", description: str | None = None) -> None:
        """Make a feature that is off, with variants of no weight unless they are None. One that is there stays."""
        if name in self.features:
            return
        options = [self._option(variant) for variant in variants or ("new", "shadow") if variant is not None]
        self.features[name] = {
            "id": next(self._ids),
            "name": name,
            "type": "MULTIVARIATE" if options else "STANDARD",
            "description": description,
            "is_archived": False,
            "multivariate_options": options,
            "num_segment_overrides": 0,
            "num_identity_overrides": 0,
        }
        for _, key in ROOMS.values():
            shares = [{"id": option["id"], "weight": 0.0} for option in options]
            default = {"enabled": False, "value": _typed(value), "variants": shares}
            state = {"environment_default": default, "segment_overrides": [], "seed": next(self._ids)}
            self.states[key, self.features[name]["id"]] = state

    def state(self, name: str, environment: str = "Production") -> dict[str, Any]:
        """What is kept of a flag in an environment, to look at and to change by other hands."""
        return self.states[ROOMS[environment][1], self.features[name]["id"]]

    def weigh(self, name: str, *weights: float, enabled: bool = True) -> None:
        """Change the weights of the variants by other hands."""
        default = self.state(name)["environment_default"]
        default["enabled"] = enabled
        for share, weight in zip(default["variants"], weights, strict=True):
            share["weight"] = weight

    def context(self, name: str, environment: str = "Production") -> dict[str, Any]:
        """The evaluation context that SDKs make of what they are sent."""
        feature, state = self.features[name], self.state(name, environment)
        flag = self._evaluated(feature, state["environment_default"], state["seed"])
        return {"environment": {"key": ROOMS[environment][1], "name": environment}, "features": {name: flag}}

    def _evaluated(self, feature: dict[str, Any], served: dict[str, Any], seed: int) -> dict[str, Any]:
        values = {option["id"]: _value_of(option) for option in feature["multivariate_options"]}
        variants = [
            {"value": values[share["id"]], "weight": share["weight"], "priority": share["id"]}
            for share in served["variants"]
        ]
        flag = {"key": str(seed), "name": feature["name"], "enabled": served["enabled"], "variants": variants}
        return flag | {"value": served["value"] and served["value"]["value"]}

    def _option(self, value: object) -> dict[str, Any]:
        kept = {"string_value": None, "integer_value": None, "boolean_value": None}
        kind = TYPES["boolean" if isinstance(value, bool) else "integer" if isinstance(value, int) else "string"]
        return {"id": next(self._ids), "key": None, **kept, kind: value, "default_percentage_allocation": 0}

    async def _environments(self, request: Request) -> Response:
        _known(request, ("project", "page"))
        own = request.query_params.get("project") == str(PROJECT)
        rows = [
            {
                "id": id,
                "name": name,
                "api_key": key,
                "project": PROJECT,
                "minimum_change_request_approvals": 1 if name in self.change_requests else None,
            }
            for name, (id, key) in ROOMS.items()
            if own
        ]
        return self._page(request, rows)

    async def _features(self, request: Request) -> Response:
        _known(request, ("environment", "search", "page", "page_size", "is_archived"))
        if request.path_params["project"] != PROJECT:
            raise Refused(404, detail="Not found.")
        if request.query_params.get("environment") not in {str(id) for id, _ in ROOMS.values()}:
            raise Refused(400, detail="Invalid environment.")
        wanted = request.query_params.get("search", "").casefold()
        return self._page(request, [one for name, one in self.features.items() if wanted in name.casefold()])

    def _page(self, request: Request, rows: list[dict[str, Any]]) -> Response:
        number = int(request.query_params.get("page", 1))
        first = (number - 1) * self.page_size
        if number > 1 and first >= len(rows):
            raise Refused(404, detail="Invalid page.")
        more = first + self.page_size < len(rows)
        shown = rows[first : first + self.page_size]
        following = str(request.url.include_query_params(page=number + 1)) if more else None
        return JSONResponse({"count": len(rows), "next": following, "previous": None, "results": shown})

    async def _get(self, request: Request) -> Response:
        return JSONResponse(_shown(self._state(request)))

    async def _patch(self, request: Request) -> Response:
        state, body = self._state(request), await request.json()
        room = next(name for name, (_, key) in ROOMS.items() if key == request.path_params["key"])
        if room in self.change_requests:
            detail = "Cannot update flags in an environment with change requests enabled."
            raise Refused(409, detail=detail, code="change_requests_enabled")
        changed = deepcopy(state)
        _only(body, ("environment_default", "segment_overrides"))
        self._write(changed["environment_default"], body.get("environment_default", {}))
        for override in body.get("segment_overrides", []):
            kept = next(one for one in changed["segment_overrides"] if one["segment"] == override["segment"])
            self._write(kept, {name: value for name, value in override.items() if name != "segment"})
        state.update(changed)
        self.asked.append(body)
        return JSONResponse(_shown(state))

    def _write(self, kept: dict[str, Any], change: dict[str, Any]) -> None:
        _only(change, ("enabled", "value", "variants"))
        variants = change.get("variants", kept["variants"])
        given, known = {one["id"] for one in variants}, {one["id"] for one in kept["variants"]}
        if given - known or len(given) < len(variants):
            raise Refused(400, environment_default={"variants": ["Variant not found."]})
        if known - given:
            raise Refused(400, environment_default={"variants": ["Must include all feature's variants."]})
        weights = [float(one["weight"]) for one in variants]
        if sum(weights) > 100 or not all(0 <= weight <= 100 for weight in weights):
            raise Refused(400, environment_default={"variants": ["Total weight must not exceed 100."]})
        shares = [{"id": one["id"], "weight": float(one["weight"])} for one in sorted(variants, key=_by_id)]
        kept.update(enabled=change.get("enabled", kept["enabled"]), variants=shares)

    def _state(self, request: Request) -> dict[str, Any]:
        place = request.path_params["key"], request.path_params["id"]
        if place not in self.states or place[1] not in [feature["id"] for feature in self.features.values()]:
            raise Refused(404, detail="Not found.")
        return self.states[place]


def _by_id(share: dict[str, Any]) -> int:
    return int(share["id"])


def _shown(state: dict[str, Any]) -> dict[str, Any]:
    return {name: state[name] for name in ("environment_default", "segment_overrides")}


def _typed(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    kind = "boolean" if isinstance(value, bool) else "integer" if isinstance(value, int) else "string"
    return {"type": kind, "value": str(value).lower() if isinstance(value, bool) else str(value)}


def _value_of(option: dict[str, Any]) -> object:
    return next(value for name, value in option.items() if name in TYPES.values() and value is not None)


def _known(request: Request, names: Iterable[str]) -> None:
    _only(dict(request.query_params), names)


def _only(given: dict[str, Any], known: Iterable[str]) -> None:
    if unknown := set(given) - set(known):
        raise Refused(400, detail=f"{sorted(unknown)} is not known here")


async def _refusal(_request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    return refused.response
