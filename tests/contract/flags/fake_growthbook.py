"""GrowthBook's REST API (version 2 of features) as it is documented and answers, with its traps.

What it does not know it refuses, so that a request that the real one would not take fails here too. `asked` has every
request that changed something, and `went_wrong` answers in place of the next requests.
"""

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

TOKEN = "secret_of_a_publisher"
ENVIRONMENTS = ("production", "staging")
FEATURE = "/api/v2/features/{id}"
DRAFT = FEATURE + "/revisions/{version}"
SCOPE = {"allEnvironments", "environments"}
PATCH = {"description", "enabled", "condition", "value", "coverage", "hashAttribute", "type", "seed", "hashVersion"}

Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]

STALE_BASE = (
    "Publish blocked by 1 gate(s):\n- [stale-base] This revision was created against an older version. "
    '(retry with "ignoreWarnings": true, requires the FlagsBypassApprovals permission)'
)


class Refused(Exception):
    """An answer that is no success; GrowthBook's own is 400, also for what is not there."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.response = JSONResponse({"message": message}, status)


@dataclass
class FakeGrowthBook(httpx.AsyncBaseTransport):
    """A transport that is the server. `live` is what it serves, by id, and `drafts` what it does not yet.

    `settled` says what became of drafts. With `approvals` nothing is published that nobody approved, with `fresh_bases`
    no draft of what is not live any more.
    """

    live: dict[str, dict[str, Any]] = field(default_factory=dict)
    drafts: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    settled: dict[tuple[str, int], str] = field(default_factory=dict)
    approvals: bool = False
    fresh_bases: bool = False
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    went_wrong: list[Answer] = field(default_factory=list)
    requests: int = 0

    def __post_init__(self) -> None:
        self._numbers = itertools.count(2)
        routes = [
            Route("/api/v1/environments", self._environments, methods=["GET"]),
            Route("/api/v2/features", self._list, methods=["GET"]),
            Route(FEATURE, self._get, methods=["GET"]),
            Route(FEATURE + "/revisions", self._revisions, methods=["GET"]),
            Route(FEATURE + "/toggle", self._toggle, methods=["POST"]),
            Route(DRAFT + "/rules", self._add, methods=["POST"]),
            Route(DRAFT + "/rules/{rule}", self._edit, methods=["PUT"]),
            Route(DRAFT + "/toggle", self._toggle_draft, methods=["POST"]),
            Route(DRAFT + "/publish", self._publish, methods=["POST"]),
            Route(DRAFT + "/discard", self._discard, methods=["POST"]),
        ]
        self._inner = httpx.ASGITransport(Starlette(routes=routes, exception_handlers={Refused: _refusal}))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if self.went_wrong:
            return await self.went_wrong.pop(0)(request)
        return await self.really(request)

    async def really(self, request: httpx.Request) -> httpx.Response:
        """Carry it out."""
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return httpx.Response(401, json={"message": "Could not find API key"})
        if request.method != "GET":
            what = request.url.path.partition("/features/")[2].partition("/")[2]
            self.asked.append((request.method, what, json.loads(request.content)))
        return await self._inner.handle_async_request(request)

    def define(self, id: str, default: str = "old", kind: str = "string", description: str = "") -> None:
        """Make a feature that is off everywhere and has no rules; one that is there stays."""
        new = {
            "id": id,
            "description": description,
            "archived": False,
            "valueType": kind,
            "defaultValue": default,
            "rules": [],
            "environments": {name: {"enabled": False, "defaultValue": default} for name in ENVIRONMENTS},
            "prerequisites": [],
            "revision": {"version": next(self._numbers)},
        }
        self.live.setdefault(id, new)

    def rule(self, id: str, *, enabled: bool = True, environment: str = "production", **parts: object) -> None:
        """Add a rule by other hands, and switch the environment on or off."""
        feature = self.live[id]
        new = {"id": f"fr_{next(self._numbers)}", "type": "rollout", "enabled": True, "description": "", "value": "new"}
        scope = {"allEnvironments": False, "environments": [environment], "hashAttribute": "id", "condition": ""}
        feature["rules"].append({**new, **scope, "seed": new["id"], **parts})
        feature["environments"][environment]["enabled"] = enabled
        feature["revision"] = {"version": next(self._numbers)}

    def draft(self, id: str, comment: str = "") -> dict[str, Any]:
        """Make a draft of what is live."""
        feature = self.live[id]
        number = next(self._numbers)
        base = deepcopy(feature["rules"])
        draft = {
            "featureId": feature["id"],
            "baseVersion": feature["revision"]["version"],
            "version": number,
            "comment": comment,
            "status": "draft",
            "base": base,
            "rules": deepcopy(base),
        }
        self.drafts[feature["id"], number] = draft
        return draft

    def rules_of(self, id: str, environment: str = "production") -> list[dict[str, Any]]:
        """The rules that are in force in an environment."""
        return [
            rule
            for rule in self.live[id]["rules"]
            if rule["enabled"] and (rule["allEnvironments"] or environment in rule["environments"])
        ]

    def payload(self, id: str, environment: str = "production") -> dict[str, Any]:
        """What SDKs are sent of the features."""
        feature = self.live[id]
        if not feature["environments"][environment]["enabled"]:
            return {}
        rules = [_sent(rule, feature["valueType"]) for rule in self.rules_of(id, environment)]
        return {id: {"defaultValue": _typed(feature["defaultValue"], feature["valueType"]), "rules": rules}}

    async def _environments(self, _request: Request) -> Response:
        return JSONResponse({"environments": [{"id": name} for name in ENVIRONMENTS]})

    async def _list(self, request: Request) -> Response:
        _only(request.query_params, ("limit", "offset", "archived"))
        first, most = int(request.query_params.get("offset", 0)), int(request.query_params.get("limit", 10))
        if not 1 <= most <= 100:
            raise Refused("limit: must be between 1 and 100")
        there = [one for one in self.live.values() if not one["archived"]]
        shown = there[first : first + most]
        more = first + most < len(there)
        shown = [_answered(one) for one in shown]
        return JSONResponse({"features": shown, "count": len(shown), "total": len(there), "hasMore": more})

    async def _get(self, request: Request) -> Response:
        return JSONResponse({"feature": _answered(self._feature(request))})

    async def _revisions(self, request: Request) -> Response:
        """Drafts alone, as nothing else is asked for."""
        _only(request.query_params, ("limit", "offset", "status"))
        feature, most = self._feature(request), int(request.query_params.get("limit", 10))
        drafts = [_without_base(one) for one in reversed(self.drafts.values()) if one["featureId"] == feature["id"]]
        return JSONResponse({"revisions": drafts[:most], "total": len(drafts), "hasMore": len(drafts) > most})

    async def _toggle(self, request: Request) -> Response:
        feature, body = self._feature(request), await request.json()
        _only(body, ("reason", "environments"))
        self._check_approved()
        for name, enabled in body["environments"].items():
            feature["environments"][name]["enabled"] = enabled
        feature["revision"] = {"version": next(self._numbers)}
        return JSONResponse({"feature": feature})

    async def _add(self, request: Request) -> Response:
        body = await request.json()
        _only(body, ("rule", "revisionComment"))
        _only(body["rule"], PATCH | SCOPE)
        new = {"id": f"fr_{next(self._numbers)}", "enabled": True, "type": "force", "hashVersion": 2, **body["rule"]}
        draft = self._draft(request, body.get("revisionComment", ""))
        draft["rules"].append(_inferred(new, body["rule"]))
        return self._shown(draft)

    async def _edit(self, request: Request) -> Response:
        body = await request.json()
        _only(body, ("rule", "revisionComment"))
        _only(body["rule"], PATCH | SCOPE)
        draft = self._draft(request, body.get("revisionComment", ""))
        for number, rule in enumerate(draft["rules"]):
            if rule["id"] == request.path_params["rule"]:
                if "type" in body["rule"] and body["rule"]["type"] != rule["type"]:
                    raise Refused("Rule type cannot be changed")
                draft["rules"][number] = _inferred({**rule, **body["rule"]}, body["rule"])
                return self._shown(draft)
        del self.drafts[draft["featureId"], draft["version"]]
        raise Refused(f'Rule "{request.path_params["rule"]}" not found', 404)

    async def _toggle_draft(self, request: Request) -> Response:
        draft, body = self._draft(request), await request.json()
        _only(body, ("environment", "enabled"))
        draft["environmentsEnabled"] = {**draft.get("environmentsEnabled", {}), body["environment"]: body["enabled"]}
        return self._shown(draft)

    async def _publish(self, request: Request) -> Response:
        _only(await request.json(), ("comment",))
        feature, draft = self._feature(request), self._draft(request)
        merged = _merged(draft["base"], feature["rules"], draft["rules"])
        enabled = draft.get("environmentsEnabled", {})
        if merged == feature["rules"] and not enabled:
            raise Refused("Cannot publish: no changes detected in this revision")
        self._check_approved()
        if self.fresh_bases and draft["baseVersion"] != feature["revision"]["version"]:
            raise Refused(STALE_BASE, 422)
        feature["rules"] = merged
        for name, one in enabled.items():
            feature["environments"][name]["enabled"] = one
        feature["revision"] = {"version": draft["version"]}
        self.settled[draft["featureId"], draft["version"]] = "published"
        del self.drafts[draft["featureId"], draft["version"]]
        return self._shown(draft | {"status": "published"})

    async def _discard(self, request: Request) -> Response:
        _only(await request.json(), ())
        if (settled := self.settled.get((request.path_params["id"], int(request.path_params["version"])))) is not None:
            raise Refused(f"Cannot discard a {settled} revision")
        draft = self._draft(request)
        self.settled[draft["featureId"], draft["version"]] = "discarded"
        del self.drafts[draft["featureId"], draft["version"]]
        return self._shown(draft | {"status": "discarded"})

    def _check_approved(self) -> None:
        if self.approvals:
            raise Refused("Publish blocked by 1 gate(s):\n- [approval-required] This revision requires approval.", 422)

    def _draft(self, request: Request, comment: str = "") -> dict[str, Any]:
        feature, version = self._feature(request), request.path_params["version"]
        if version != "new":
            if (feature["id"], int(version)) not in self.drafts:
                raise Refused("Could not find feature revision", 404)
            return self.drafts[feature["id"], int(version)]
        return self.draft(feature["id"], comment)

    def _shown(self, draft: dict[str, Any]) -> Response:
        return JSONResponse({"revision": _without_base(draft)})

    def _feature(self, request: Request) -> dict[str, Any]:
        if request.path_params["id"] not in self.live:
            raise Refused("Could not find a feature with that key")
        return self.live[request.path_params["id"]]


def _without_base(draft: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in draft.items() if name != "base"}


def _answered(feature: dict[str, Any]) -> dict[str, Any]:
    """A feature as it is answered: of a rule that forces a value for everyone it is not told how it would deal."""
    hidden = ("coverage", "hashAttribute", "seed", "hashVersion")
    rules = [
        {name: value for name, value in rule.items() if rule["type"] != "force" or name not in hidden}
        for rule in feature["rules"]
    ]
    return feature | {"rules": rules}


def _inferred(rule: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The kind follows from the coverage, and what deals has a seed."""
    if not isinstance(rule["value"], str) or not 0 <= rule.get("coverage", 1) <= 1:
        raise Refused("rule: value must be text, and coverage from 0 to 1")
    if rule.get("condition"):
        json.loads(rule["condition"])
    dealt = rule.get("coverage", 1) < 1
    if dealt and not rule.get("hashAttribute"):
        raise Refused("hashAttribute is required for rollout rules (coverage < 100%)")
    seed = {"seed": rule.get("seed") or rule["id"]} if dealt else {}
    return {**rule, "type": "rollout" if dealt else "force", **seed}


def _merged(base: list[Any], live: list[Any], draft: list[Any]) -> list[Any]:
    """What both sides made of the base, rule by rule; what both changed differently is a conflict."""
    was, mine = ({rule["id"]: rule for rule in rules} for rules in (base, draft))
    merged = list[Any]()
    for rule in live:
        before, after = was.get(rule["id"]), mine.get(rule["id"], rule)
        if before is not None and before != rule and before != after != rule:
            raise Refused("Merge conflicts exist — rebase before publishing", 409)
        merged.append(rule if after == before else after)
    return merged + [rule for rule in draft if rule["id"] not in was]


def _sent(rule: dict[str, Any], kind: str) -> dict[str, Any]:
    kept = {name: rule[name] for name in ("coverage", "hashAttribute", "seed", "hashVersion") if name in rule}
    condition = {"condition": json.loads(rule["condition"])} if rule.get("condition") else {}
    return {"force": _typed(rule["value"], kind), **kept, **condition}


def _typed(text: str, kind: str) -> object:
    return text == "true" if kind == "boolean" else text


def _only(given: Iterable[str], known: Iterable[str]) -> None:
    if unknown := set(given) - set(known):
        raise Refused(f"Unrecognized key(s): {sorted(unknown)}")


async def _refusal(_request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    return refused.response
