"""The patches that make a LaunchDarkly flag serve an exposure, in one step: pure.

The version that is tested is the environment's (`/environments/KEY/version`): it is what SDKs are sent and rises with
every change of what they serve; `_version` is of the flag in all environments, and so of other people's work too.

LaunchDarkly keeps the version of a flag that a patch leaves as it is, so that such a patch fences off nothing. `beside`
is what to set before, so that setting the exposure is a change: it exposes a thousandth of a percent less, or nobody in
another way.

A context that lacks the kind that is dealt gets the first variation of a rollout, also where its weight is 0. So
control comes first in what is made here, and at 0 % no rollout deals at all. A rollout that people made keeps its
order, for another would deal everybody anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tools.flags.launchdarkly.answers import Clause, Environment, Flag, Rollout
from tools.flags.launchdarkly.options import LaunchDarklyOptions
from tools.flags.launchdarkly.targeting import IN_A_PERCENT, WHOLE, Roles, carrier_of, clauses_of
from tools.plans.model import Exposure, Mode

SEMANTIC = "application/json; domain-model=launchdarkly.semanticpatch"
COMMENT = "Set by Sluice"

Weights = Sequence[tuple[int, int]]
"""Variations and their thousandths of a percent, in the order in which contexts are dealt."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an environment is to serve: `served`, a variation or a rollout, to whoever matches all clauses.

    All others get control. `dealing` is the rollout whose way of dealing stays.
    """

    served: int | Weights
    clauses: tuple[Clause, ...]
    control: int
    on: bool
    dealing: Rollout | None
    context_kind: str


def wanted(environment: Environment, roles: Roles, exposure: Exposure, options: LaunchDarklyOptions) -> Wanted:
    """What serves the exposure; the variation of its mode must be there."""
    before = carrier_of(environment).rollout
    return Wanted(
        _served(roles, exposure.mode, round(exposure.percent * IN_A_PERCENT), before),
        clauses_of(exposure.audience, options),
        roles.control,
        environment.on or exposure.percent > 0,
        before,
        options.context_kind,
    )


def beside(target: Wanted, roles: Roles, exposure: Exposure) -> Wanted:
    """What differs from what serves the exposure, and exposes nobody else."""
    weight = round(exposure.percent * IN_A_PERCENT)
    if weight > 0:
        return replace(target, served=_served(roles, exposure.mode, weight - 1, target.dealing))
    as_it_is = isinstance(target.served, int)
    return replace(target, served=((roles.control, WHOLE),) if as_it_is else roles.control)


def json_patch(key: str, environment: Environment, target: Wanted) -> dict[str, Any]:
    """The JSON Patch of the environment `key`, which does nothing unless its version is still that one."""
    operations = [_tested(key, environment)]
    alike = _same_clauses(environment, target)
    if alike and isinstance(target.served, tuple) and environment.rules[0].rollout is not None:
        operations.append(_replace(key, "rules/0/rollout", _rollout(target, target.served)))
    elif target.clauses or environment.rules:
        operations.append(_replace(key, "rules", [_rule(target)] if target.clauses else []))
    operations.append(
        _replace(key, "fallthrough", {"variation": target.control} if target.clauses else _carried(target))
    )
    if target.on != environment.on:
        operations.append(_replace(key, "on", target.on))
    return {"comment": COMMENT, "patch": operations}


def json_patch_off(key: str, environment: Environment) -> dict[str, Any]:
    """The same that switches the flag off."""
    return {"comment": COMMENT, "patch": [_tested(key, environment), _replace(key, "on", False)]}


def json_patch_nothing(key: str, environment: Environment) -> dict[str, Any]:
    """The same that leaves all as it is: to try whether versions are tested."""
    return {"comment": COMMENT, "patch": [_tested(key, environment), _replace(key, "on", environment.on)]}


def semantic_patch(key: str, flag: Flag, environment: Environment, target: Wanted) -> dict[str, Any]:
    """The semantic patch of the environment `key`; all of it is done, or nothing."""
    ids = [variation.id for variation in flag.variations]
    instructions = list[dict[str, Any]]()
    served = _instructed(ids, target)
    if _same_clauses(environment, target):
        instructions.append({"kind": "updateRuleVariationOrRollout", "ruleId": environment.rules[0].id, **served})
    else:
        instructions += [{"kind": "removeRule", "ruleId": rule.id} for rule in environment.rules]
        if target.clauses:
            clauses = [clause.model_dump() for clause in target.clauses]
            instructions.append({"kind": "addRule", "clauses": clauses, **served})
    default = {"variationId": ids[target.control]} if target.clauses else served
    instructions.append({"kind": "updateFallthroughVariationOrRollout", **default})
    if target.on != environment.on:
        instructions.append({"kind": "turnFlagOn"})
    return {"comment": COMMENT, "environmentKey": key, "instructions": instructions}


def semantic_patch_off(key: str) -> dict[str, Any]:
    """The same that switches the flag off."""
    return {"comment": COMMENT, "environmentKey": key, "instructions": [{"kind": "turnFlagOff"}]}


def _served(roles: Roles, mode: Mode, weight: int, before: Rollout | None) -> int | Weights:
    exposing = roles.exposing(mode)
    assert exposing is not None, "checked before"
    if weight == 0 and mode is Mode.LIVE:
        return roles.control
    dealt = ((roles.control, WHOLE - weight), (exposing, weight))
    first_exposed = weight > 0 and before is not None and _exposes_first(before, roles)
    return dealt[::-1] if first_exposed else dealt


def _exposes_first(rollout: Rollout, roles: Roles) -> bool:
    deals = any(one.weight and one.variation != roles.control for one in rollout.variations)
    return deals and rollout.variations[0].variation != roles.control


def _same_clauses(environment: Environment, target: Wanted) -> bool:
    return [rule.clauses for rule in environment.rules] == [target.clauses] and bool(target.clauses)


def _tested(key: str, environment: Environment) -> dict[str, Any]:
    return {"op": "test", "path": _pointer(key, "version"), "value": environment.version}


def _replace(key: str, what: str, value: object) -> dict[str, Any]:
    return {"op": "replace", "path": _pointer(key, what), "value": value}


def _pointer(key: str, what: str) -> str:
    """RFC 6901."""
    return f"/environments/{key.replace('~', '~0').replace('/', '~1')}/{what}"


def _rule(target: Wanted) -> dict[str, Any]:
    clauses = [clause.model_dump() for clause in target.clauses]
    return {"description": COMMENT, "clauses": clauses, "trackEvents": False, **_carried(target)}


def _carried(target: Wanted) -> dict[str, Any]:
    if isinstance(target.served, int):
        return {"variation": target.served}
    return {"rollout": _rollout(target, target.served)}


def _rollout(target: Wanted, weights: Weights) -> dict[str, Any]:
    deals = {"contextKind": target.context_kind}
    if target.dealing is not None:
        deals = target.dealing.model_dump(include={"contextKind", "bucketBy", "seed"}, exclude_none=True)
    return {"variations": [{"variation": one, "weight": weight} for one, weight in weights], **deals}


def _instructed(ids: Sequence[str], target: Wanted) -> dict[str, Any]:
    if isinstance(target.served, int):
        return {"variationId": ids[target.served]}
    kind = target.context_kind if target.dealing is None else target.dealing.contextKind
    by = None if target.dealing is None else target.dealing.bucketBy
    deals = {"rolloutContextKind": kind, "rolloutBucketBy": by}
    weights = {ids[one]: weight for one, weight in target.served}
    return {"rolloutWeights": weights, **{name: value for name, value in deals.items() if value is not None}}
