"""Patches of LaunchDarkly's flags as its API documents them: JSON Patch (RFC 6902) and semantic patch."""

from collections.abc import Iterable, Iterator
from typing import Any

WHOLE = 100_000
CLAUSE = {"attribute", "op", "values", "negate", "contextKind"}
OPERATORS = {"in", "endsWith", "startsWith", "matches", "contains", "segmentMatch"}
ROLLOUT = {"variations", "contextKind", "bucketBy", "seed", "experimentAllocation"}
RULE = {"_id", "clauses", "description", "trackEvents", "variation", "rollout", "disabled"}
SERVING = {"variationId", "rolloutWeights", "rolloutBucketBy", "rolloutContextKind"}
INSTRUCTIONS = {
    "turnFlagOn": set[str](),
    "turnFlagOff": set[str](),
    "updateFallthroughVariationOrRollout": SERVING,
    "updateRuleVariationOrRollout": SERVING | {"ruleId"},
    "addRule": SERVING | {"clauses", "beforeRuleId"},
    "removeRule": {"ruleId"},
}


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def _bad(message: str) -> Refused:
    return Refused(400, "invalid_request", message)


def apply_json(flag: dict[str, Any], body: object, ids: Iterator[str], test_failed: int) -> list[str]:
    """Change the flag; the environments that were changed, or were to be."""
    operations = body.get("patch") if isinstance(body, dict) else body
    if not isinstance(operations, list) or (isinstance(body, dict) and set(body) - {"comment", "patch"}):
        raise _bad("Invalid request body")
    for operation in operations:
        _operate(flag, operation, test_failed)
    touched = [operation["path"].split("/")[2] for operation in operations if operation["op"] != "test"]
    for name in touched:
        for rule in flag["environments"][name]["rules"]:
            rule.setdefault("_id", next(ids))
    return touched


def _operate(flag: dict[str, Any], operation: dict[str, Any], test_failed: int) -> None:
    *parents, last = operation["path"].removeprefix("/").split("/")
    place: Any = flag
    for name in parents:
        place = place[int(name) if isinstance(place, list) else name.replace("~1", "/").replace("~0", "~")]
    if operation["op"] == "test":
        if place.get(last) != operation["value"]:
            raise Refused(test_failed, "invalid_patch", "Test operation failed")
    elif operation["op"] != "replace" or parents[:1] != ["environments"] or last.startswith("_") or last == "version":
        raise _bad(f"{operation['op']} {operation['path']} is not to be changed")
    elif last not in place:
        raise _bad(f"replace operation does not apply: {operation['path']} is not there")
    else:
        place[last] = operation["value"]


def apply_semantic(flag: dict[str, Any], body: dict[str, Any], ids: Iterator[str]) -> list[str]:
    """Change the flag; the environments that were changed."""
    if set(body) - {"comment", "environmentKey", "instructions"} or not body.get("instructions"):
        raise _bad("Invalid request body")
    room = flag["environments"].get(body.get("environmentKey"))
    if room is None:
        raise _bad("Unknown environmentKey")
    for instruction in body["instructions"]:
        _follow(flag, room, dict(instruction), ids)
    return [body["environmentKey"]]


def _follow(flag: dict[str, Any], room: dict[str, Any], given: dict[str, Any], ids: Iterator[str]) -> None:
    kind = given.pop("kind", "")
    if kind not in INSTRUCTIONS or set(given) - INSTRUCTIONS[kind]:
        raise Refused(422, "invalid_request", f"{kind} with {sorted(given)} is no instruction")
    rule = next((one for one in room["rules"] if one["_id"] == given.get("ruleId")), None)
    match kind:
        case "turnFlagOn" | "turnFlagOff":
            room["on"] = kind == "turnFlagOn"
        case "updateFallthroughVariationOrRollout":
            room["fallthrough"] = _serving(flag, given)
        case "addRule":
            new = {"_id": next(ids), "clauses": given["clauses"], "trackEvents": False, **_serving(flag, given)}
            room["rules"].append(new)
        case "removeRule":
            room["rules"] = [one for one in room["rules"] if one is not rule]
        case "updateRuleVariationOrRollout":
            if rule is None:
                raise _bad("Unknown ruleId")
            rule.pop("variation", None), rule.pop("rollout", None)
            rule.update(_serving(flag, given))


def _serving(flag: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What is served; weights are kept in the order of the flag's variations."""
    ids = [variation["_id"] for variation in flag["variations"]]
    if "variationId" in given:
        return {"variation": ids.index(given["variationId"])}
    weights = given["rolloutWeights"]
    if set(weights) - set(ids):
        raise _bad("Unknown variation")
    dealt = [{"variation": ids.index(one), "weight": weights[one]} for one in ids if one in weights]
    rollout = {"variations": dealt, "contextKind": given.get("rolloutContextKind", "user")}
    if "rolloutBucketBy" in given:
        rollout["bucketBy"] = given["rolloutBucketBy"]
    return {"rollout": rollout}


def check(flag: dict[str, Any]) -> None:
    """Refuse what LaunchDarkly does not keep."""
    count = len(flag["variations"])
    for room in flag["environments"].values():
        if not isinstance(room["on"], bool):
            raise _bad('"on" must be true or false')
        _check_served(room["fallthrough"], count, {"variation", "rollout"})
        for rule in room["rules"]:
            _check_served(rule, count, RULE)
            _check_clauses(rule["clauses"])


def _check_served(place: dict[str, Any], count: int, known: Iterable[str]) -> None:
    if set(place) - set(known) or len({"variation", "rollout"} & set(place)) != 1:
        raise _bad("a rule serves either a variation or a rollout")
    rollout = place.get("rollout")
    dealt = [{"variation": place["variation"], "weight": WHOLE}] if rollout is None else rollout["variations"]
    if rollout is not None and set(rollout) - ROLLOUT:
        raise _bad("unknown field of a rollout")
    if any(not 0 <= one["variation"] < count for one in dealt):
        raise _bad("no such variation")
    weights = [one["weight"] for one in dealt]
    if not all(type(weight) is int and 0 <= weight <= WHOLE for weight in weights) or sum(weights) != WHOLE:
        raise _bad("weights must be whole thousandths of a percent that make 100000")


def _check_clauses(clauses: Iterable[dict[str, Any]]) -> None:
    for clause in clauses:
        if set(clause) - CLAUSE - {"_id"} or not {"attribute", "op", "values", "negate"} <= set(clause):
            raise _bad("a clause lacks a field, or has another")
        if clause["op"] not in OPERATORS or not isinstance(clause["values"], list):
            raise _bad("unknown operator of a clause")
