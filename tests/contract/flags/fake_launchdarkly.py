"""LaunchDarkly's REST API as version 20240415 documents it, as far as flags go, with its traps.

What it does not know it refuses, so that a request that the real one would not take fails here too. `asked` has the
body of every patch that was carried out, and `went_wrong` answers in place of the next requests.
"""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.contract.flags import launchdarkly_patches as patches
from tests.contract.flags.launchdarkly_patches import Refused

TOKEN = "api-00000000-0000-4000-8000-of-a-writer"
VERSION = "20240415"
ENVIRONMENTS = ("production", "staging")
PROJECT = "/api/v2/projects/{project}"
FLAGS = "/api/v2/flags/{project}"
ONLY_WHEN_ASKED = ("prerequisites", "targets", "contextTargets", "rules")

Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]


@dataclass
class FakeLaunchDarkly(httpx.AsyncBaseTransport):
    """A transport that is the server. `flags` is what it keeps, by key.

    `approvals` are environments where changes need approval, `pending` flags with a change that is waiting; a failed
    test is answered with `test_failed`, which LaunchDarkly does not document.
    """

    flags: dict[str, dict[str, Any]] = field(default_factory=dict)
    approvals: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    asked: list[dict[str, Any]] = field(default_factory=list)
    went_wrong: list[Answer] = field(default_factory=list)
    test_failed: int = 409
    answers_environments: bool = True
    """Whether a patch is answered with the flag's environments, which LaunchDarkly leaves open."""
    requests: int = 0

    def __post_init__(self) -> None:
        self._ids = (f"00000000-0000-4000-8000-{number:012}" for number in itertools.count())
        routes = [
            Route(PROJECT, self._project, methods=["GET"]),
            Route(PROJECT + "/environments/{environment}", self._environment, methods=["GET"]),
            Route(FLAGS, self._list, methods=["GET"]),
            Route(FLAGS + "/{flag}", self._get, methods=["GET"]),
            Route(FLAGS + "/{flag}", self._patch, methods=["PATCH"]),
        ]
        self._inner = httpx.ASGITransport(Starlette(routes=routes, exception_handlers={Refused: _refusal}))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if self.went_wrong:
            return await self.went_wrong.pop(0)(request)
        return await self.really(request)

    async def really(self, request: httpx.Request) -> httpx.Response:
        """Carry it out."""
        if request.headers.get("Authorization") != TOKEN:
            return httpx.Response(401, json={"code": "unauthorized", "message": "Invalid access token"})
        if request.headers.get("LD-API-Version") != VERSION:
            return httpx.Response(400, json={"code": "invalid_request", "message": "Invalid version header"})
        return await self._inner.handle_async_request(request)

    def define(self, key: str, *values: object, description: str = "", off: int = 0) -> None:
        """Make a flag as LaunchDarkly does: off, and for everyone once it is on. One that is there stays."""
        variations = [{"_id": next(self._ids), "value": value} for value in values or ("old", "new", "shadow")]
        room = {
            "on": False,
            "archived": False,
            "salt": f"salt-of-{key}",
            "sel": "0",
            "version": 1,
            "targets": [],
            "contextTargets": [],
            "rules": [],
            "fallthrough": {"variation": 1 - off},
            "offVariation": off,
            "prerequisites": [],
            "trackEvents": False,
            "trackEventsFallthrough": False,
        }
        new = {
            "key": key,
            "kind": "boolean" if isinstance(variations[0]["value"], bool) else "multivariate",
            "description": description,
            "archived": False,
            "_version": 1,
            "variations": variations,
            "environments": {name: deepcopy(room) for name in ENVIRONMENTS},
        }
        self.flags.setdefault(key, new)

    def environment(self, key: str, environment: str = "production") -> dict[str, Any]:
        """What is kept of a flag in an environment, to look at and to change by other hands."""
        found: dict[str, Any] = self.flags[key]["environments"][environment]
        return found

    def change(self, key: str, environment: str = "production", **parts: object) -> None:
        """Change it by other hands."""
        room = self.environment(key, environment)
        room.update(parts)
        room["version"] += 1

    def sdk_flag(self, key: str, environment: str = "production") -> dict[str, Any]:
        """What server-side SDKs are sent."""
        flag, room = self.flags[key], deepcopy(self.environment(key, environment))
        rules = [{"id": rule.pop("_id"), **rule} for rule in room.pop("rules")]
        values = [variation["value"] for variation in flag["variations"]]
        return {"key": key, "variations": values, "rules": rules, "deleted": False, **room}

    async def _project(self, request: Request) -> Response:
        _known(request, ())
        self._check_project(request)
        return JSONResponse({"key": "default", "name": "Default"})

    async def _environment(self, request: Request) -> Response:
        _known(request, ())
        self._check_project(request)
        self._check_environment(request.path_params["environment"])
        return JSONResponse({"key": request.path_params["environment"]})

    async def _list(self, request: Request) -> Response:
        _known(request, ("env", "summary", "limit", "offset"))
        self._check_project(request)
        asked = request.query_params
        first, most = int(asked.get("offset", 0)), int(asked.get("limit", 20))
        if not 1 <= most <= 100:
            raise Refused(400, "invalid_request", "limit must be 1 to 100")
        there = [flag for _, flag in sorted(self.flags.items()) if not flag["archived"]]
        items = [self._shown(flag, asked.get("env")) for flag in there[first : first + most]]
        if asked.get("summary") != "0":
            for room in (room for item in items for room in item["environments"].values()):
                for name in ONLY_WHEN_ASKED:
                    del room[name]
        return JSONResponse({"items": items, "totalCount": len(there), "_links": {}})

    async def _get(self, request: Request) -> Response:
        _known(request, ("env", "expand"))
        return JSONResponse(self._shown(self._flag(request), request.query_params.get("env")))

    async def _patch(self, request: Request) -> Response:
        _known(request, ("ignoreConflicts", "dryRun"))
        before = self._flag(request)
        after = deepcopy(before)
        body = await request.json()
        if "domain-model=launchdarkly.semanticpatch" in request.headers["Content-Type"].split("; "):
            touched = patches.apply_semantic(after, body, self._ids)
        else:
            touched = patches.apply_json(after, body, self._ids, self.test_failed)
        patches.check(after)
        self._check_allowed(request, touched)
        await asyncio.sleep(0)
        if request.query_params.get("dryRun") == "true":
            return JSONResponse(after)
        if self.flags[before["key"]] is not before or before["_version"] != after["_version"]:
            raise Refused(409, "optimistic_locking_error", "Conflict. Optimistic lock error. Try again later.")
        self._store(before, after)
        self.asked.append(body)
        kept = self.flags[before["key"]]
        return JSONResponse(kept if self.answers_environments else kept | {"environments": {}})

    def _store(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Keep it; what a patch left as it was keeps its version."""
        for name, room in after["environments"].items():
            if room != before["environments"][name]:
                room["version"] += 1
        if after != before:
            after["_version"] += 1
            self.flags[after["key"]] = after

    def _check_allowed(self, request: Request, touched: Iterable[str]) -> None:
        if self.approvals & set(touched):
            raise Refused(405, "method_not_allowed", "Approval is required to make this request")
        if request.path_params["flag"] in self.pending and request.query_params.get("ignoreConflicts") != "true":
            raise Refused(400, "invalid_request", "This change conflicts with a pending scheduled change")

    def _shown(self, flag: dict[str, Any], environment: str | None) -> dict[str, Any]:
        if environment is not None:
            self._check_environment(environment)
        rooms = {name: room for name, room in flag["environments"].items() if environment in (None, name)}
        return deepcopy({**flag, "environments": rooms})

    def _flag(self, request: Request) -> dict[str, Any]:
        self._check_project(request)
        if request.path_params["flag"] not in self.flags:
            raise Refused(404, "not_found", "Unknown feature key")
        return self.flags[request.path_params["flag"]]

    def _check_project(self, request: Request) -> None:
        if request.path_params["project"] != "default":
            raise Refused(404, "not_found", "Unknown project key")

    def _check_environment(self, environment: str) -> None:
        if environment not in ENVIRONMENTS:
            raise Refused(404, "not_found", "Unknown environment key")


def _known(request: Request, names: Iterable[str]) -> None:
    if unknown := set(request.query_params) - set(names):
        raise Refused(400, "invalid_request", f"Unknown query parameters {sorted(unknown)}")


async def _refusal(_request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    body = json.dumps({"code": refused.code, "message": str(refused)})
    return Response(body, refused.status, media_type="application/json")
