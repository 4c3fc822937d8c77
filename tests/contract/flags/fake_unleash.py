"""Unleash's admin API as release 8.2 documents and answers it, as far as flags go, with its traps.

What it does not know it refuses, so that a request that the real one would not take fails here too. `asked` has every
request that changed something, and `went_wrong` answers in place of the next requests.
"""

import itertools
import re
from collections.abc import Awaitable, Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "*:*.of-an-administrator"
ENVIRONMENTS = ("development", "production")
FEATURES = "/api/admin/projects/{project}/features"
FLAG = FEATURES + "/{flag}"
THERE = FLAG + "/environments/{environment}"
STRATEGY_FIELDS = {"name", "title", "disabled", "parameters", "constraints", "variants", "segments", "sortOrder"}
CONSTRAINT_FIELDS = {"contextName", "operator", "values", "value", "inverted", "caseInsensitive"}
VARIANT_FIELDS = {"name", "weight", "weightType", "stickiness", "payload"}

Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.response = JSONResponse({"name": name, "message": message, "details": [{"message": message}]}, status)


def _bad(message: str) -> Refused:
    return Refused(400, "BadDataError", message)


@dataclass
class FakeUnleash(httpx.AsyncBaseTransport):
    """A transport that is the server. `flags` is what it keeps, by name."""

    flags: dict[str, dict[str, Any]] = field(default_factory=dict)
    archived: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    went_wrong: list[Answer] = field(default_factory=list)
    requests: int = 0

    def __post_init__(self) -> None:
        self._ids = (f"01FAKE{number:020}" for number in itertools.count())
        routes = [
            Route("/api/admin/projects/{project}/overview", self._overview),
            Route(FEATURES, self._features, methods=["GET"]),
            Route(FEATURES, self._create, methods=["POST"]),
            Route(FLAG, self._feature, methods=["GET"]),
            Route(FLAG + "/dependencies", self._depend, methods=["POST"]),
            Route(THERE + "/on", self._on, methods=["POST"]),
            Route(THERE + "/off", self._off, methods=["POST"]),
            Route(THERE + "/strategies", self._add, methods=["POST"]),
            Route(THERE + "/strategies/{id}", self._patch, methods=["PATCH"]),
            Route(THERE + "/strategies/{id}", self._put, methods=["PUT"]),
            Route(THERE + "/strategies/{id}", self._delete, methods=["DELETE"]),
        ]
        app = Starlette(routes=routes, exception_handlers={Refused: _refusal})
        self._inner = httpx.ASGITransport(app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if self.went_wrong:
            return await self.went_wrong.pop(0)(request)
        return await self.really(request)

    async def really(self, request: httpx.Request) -> httpx.Response:
        """Carry it out."""
        if request.headers.get("Authorization") != TOKEN:
            return httpx.Response(401, json={"name": "UnauthorizedError", "message": "You must log in to use Unleash."})
        if request.method != "GET":
            self.asked.append(f"{request.method} {request.url.path.rpartition('/environments/')[2].partition('/')[2]}")
        return await self._inner.handle_async_request(request)

    def environment(self, flag: str, environment: str = "production") -> dict[str, Any]:
        """What is kept of a flag in an environment, to look at and to change by other hands."""
        found: dict[str, Any] = next(one for one in self.flags[flag]["environments"] if one["name"] == environment)
        return found

    def strategy(self, flag: str, environment: str = "production") -> dict[str, Any]:
        """The flag's only strategy there."""
        [strategy] = self.environment(flag, environment)["strategies"]
        return dict(strategy)

    def define(self, flag: str, description: str | None = None) -> None:
        """Make a flag; one that is there stays."""
        rooms = [
            {"name": name, "enabled": False, "type": name, "variants": [], "strategies": [], "lastSeenAt": None}
            for name in ENVIRONMENTS
        ]
        new = {"name": flag, "description": description, "archived": False, "dependencies": [], "environments": rooms}
        self.flags.setdefault(flag, new)

    def client_features(self, environment: str = "production") -> dict[str, Any]:
        """What SDKs are sent: without disabled strategies."""
        features = [(flag, self.environment(flag, environment)) for flag in self.flags]
        return {
            "version": 2,
            "features": [
                {
                    "name": flag,
                    "enabled": room["enabled"],
                    "strategies": [one for one in room["strategies"] if not one["disabled"]],
                    "dependencies": self.flags[flag]["dependencies"],
                }
                for flag, room in features
            ],
        }

    async def _overview(self, request: Request) -> Response:
        if request.path_params["project"] != "default":
            raise Refused(404, "NotFoundError", "No project found")
        return JSONResponse({"name": "Default", "environments": [{"environment": name} for name in ENVIRONMENTS]})

    async def _features(self, request: Request) -> Response:
        own = request.path_params["project"] == "default"
        found = [{"name": name, "archived": False} for name in self.flags if own and name not in self.archived]
        return JSONResponse({"version": 2, "features": found})

    async def _create(self, request: Request) -> Response:
        name = (await request.json())["name"]
        if not re.fullmatch(r"[A-Za-z0-9._~-]+", name):
            raise _bad(f'"name" must be URL friendly. You provided "{name}".')
        if name in self.flags:
            raise Refused(409, "NameExistsError", "A flag with that name already exists")
        self.define(name)
        return JSONResponse({"name": name}, 201)

    async def _feature(self, request: Request) -> Response:
        shown = deepcopy(self._flag(request))
        if request.query_params.get("variantEnvironments") != "true":
            for room in shown["environments"]:
                del room["variants"]
        return JSONResponse(shown)

    async def _depend(self, request: Request) -> Response:
        child, given = self._flag(request), await request.json()
        _only(given, {"feature", "enabled", "variants"}, "dependency")
        parent = self.flags.get(given["feature"])
        if parent is None or parent is child or parent["dependencies"]:
            raise Refused(403, "InvalidOperationError", "No active feature, itself, or a transitive dependency")
        # A flag has one parent at most: another takes its place.
        variants = given.get("variants", []) if given.get("enabled", True) else []
        child["dependencies"] = [
            {"feature": given["feature"], "enabled": given.get("enabled", True), "variants": variants}
        ]
        return Response()

    async def _on(self, request: Request) -> Response:
        room = self._room(request)
        if all(strategy["disabled"] for strategy in room["strategies"]):
            flag = request.path_params["flag"]
            whole = {"rollout": "100", "stickiness": "default", "groupId": flag}
            room["strategies"].append(self._stored({"name": "flexibleRollout", "parameters": whole}, flag))
        room["enabled"] = True
        return Response()

    async def _off(self, request: Request) -> Response:
        self._room(request)["enabled"] = False
        return Response()

    async def _add(self, request: Request) -> Response:
        flag = self._flag(request)["name"]
        room = next((one for one in self.flags[flag]["environments"] if one["name"] == _of(request)), None)
        if room is None:
            raise _bad("You have not added the current environment to the project")
        strategy = self._stored(await request.json(), flag)
        room["strategies"].append(strategy)
        return JSONResponse(strategy)

    async def _patch(self, request: Request) -> Response:
        # Archived flags take this too.
        room, number = self._found(request)
        changed = deepcopy(room["strategies"][number])
        for operation in await request.json():
            _apply(changed, operation)
        return self._update(request, room, number, changed)

    async def _put(self, request: Request) -> Response:
        room, number = self._found(request)
        # What is not named is gone.
        return self._update(request, room, number, await request.json())

    def _update(self, request: Request, room: dict[str, Any], number: int, changed: dict[str, Any]) -> Response:
        kept = room["strategies"][number]["id"]
        room["strategies"][number] = self._stored(changed, request.path_params["flag"]) | {"id": kept}
        self._off_where_all_are_disabled(room)
        return JSONResponse(room["strategies"][number])

    async def _delete(self, request: Request) -> Response:
        room, number = self._found(request)
        del room["strategies"][number]
        self._off_where_all_are_disabled(room)
        return Response()

    def _off_where_all_are_disabled(self, room: dict[str, Any]) -> None:
        if all(strategy["disabled"] for strategy in room["strategies"]):
            room["enabled"] = False

    def _stored(self, given: dict[str, Any], flag: str) -> dict[str, Any]:
        """A strategy as it is kept: the rollout is not looked at, whatever it says."""
        _only(given, STRATEGY_FIELDS | {"id"}, "strategy")
        if given.get("name") not in ("flexibleRollout", "default", "userWithId"):
            raise _bad(f"Could not find strategy type with name {given.get('name')}")
        variants = deepcopy(given.get("variants") or [])
        for variant in variants:
            _only(variant, VARIANT_FIELDS, "variant")
            if {"name", "weight", "weightType", "stickiness"} - variant.keys():
                raise _bad('"variant" lacks a field')
        for constraint in given.get("constraints") or []:
            _only(constraint, CONSTRAINT_FIELDS, "constraint")
        parameters = {"rollout": "100", "stickiness": "default", "groupId": flag} | (given.get("parameters") or {})
        if not all(isinstance(value, str) for value in parameters.values()):
            raise _bad('"parameters" must be text')
        return {
            "id": next(self._ids),
            "name": given["name"],
            "title": given.get("title"),
            "disabled": bool(given.get("disabled")),
            "parameters": parameters,
            "constraints": deepcopy(given.get("constraints") or []),
            "variants": variants,
            "segments": list(given.get("segments") or []),
            "sortOrder": given.get("sortOrder", 0),
        }

    def _flag(self, request: Request) -> dict[str, Any]:
        name = request.path_params["flag"]
        if request.path_params["project"] != "default" or name not in self.flags or name in self.archived:
            raise Refused(404, "NotFoundError", f'There\'s no feature named "{name}" in project "default".')
        return self.flags[name]

    def _room(self, request: Request) -> dict[str, Any]:
        for room in self._flag(request)["environments"]:
            if room["name"] == _of(request):
                found: dict[str, Any] = room
                return found
        raise Refused(404, "NotFoundError", f"Could not find environment {_of(request)}")

    def _found(self, request: Request) -> tuple[dict[str, Any], int]:
        room = self.environment(request.path_params["flag"], _of(request))
        for number, strategy in enumerate(room["strategies"]):
            if strategy["id"] == request.path_params["id"]:
                return room, number
        raise Refused(404, "NotFoundError", f"Could not find strategy with id {request.path_params['id']}")


def _of(request: Request) -> str:
    name: str = request.path_params["environment"]
    return name


def _only(given: dict[str, Any], known: Iterable[str], what: str) -> None:
    if unknown := set(given) - set(known):
        raise _bad(f'"{what}" has {sorted(unknown)}, which is not known')


def _apply(document: dict[str, Any], operation: dict[str, Any]) -> None:
    """RFC 6902's add, replace and test on the members of objects."""
    *parents, last = operation["path"].removeprefix("/").split("/")
    for name in parents:
        document = document[name]
    if operation["op"] == "test":
        if document.get(last) != operation["value"]:
            raise _bad("Test operation failed")
    elif operation["op"] in ("add", "replace"):
        document[last] = operation["value"]
    else:
        raise _bad(f"{operation['op']} is not known here")


async def _refusal(_request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    return refused.response
