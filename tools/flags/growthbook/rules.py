"""A GrowthBook feature's rules in one environment, as an exposure: pure.

An exposure is one rule of the environment's own, with a value, a coverage and a condition on tenant and region at most;
everybody else gets the default value, which is control. Everything else is not an exposure; it is read as the most that
it may serve, with the reason why Sluice leaves it alone.

SDKs deal into 1,000 or 10,000 parts, and include the part that begins at the coverage in some releases and not in
others. A coverage that is half a part less is never more than asked in any, and means the same to all. At 100 % it has
all parts, and keeps GrowthBook from making a rule without an attribute and a seed of it, which would be dealt anew.
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tools.canonical import canonical_json
from tools.errors import InvalidInput
from tools.flags.definitions import check_name
from tools.flags.growthbook.options import GrowthBookOptions
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

HALF_A_PART = 0.00005
MARK = "Set by Sluice"
"""How descriptions of rules begin that Sluice set. They name the new value, which a shadow stage does not serve."""
_MARKED = re.compile(rf"{MARK} \([0-9a-f]+\): (?P<treatment>.+)", re.DOTALL)
SWITCH = "boolean"
TEXT = "string"
OPPOSITE = {"true": "false", "false": "true"}


class Answer(BaseModel):
    """Base of what GrowthBook answers; what is not read here is kept out. Names are as GrowthBook writes them."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Rule(Answer):
    id: str
    type: str
    enabled: bool = True
    description: str | None = None
    value: str | None = None
    coverage: float | None = None
    hashAttribute: str | None = None  # noqa: N815
    condition: str | None = None
    allEnvironments: bool = True  # noqa: N815
    environments: tuple[str, ...] = ()
    savedGroups: tuple[Any, ...] = ()  # noqa: N815
    savedGroupTargeting: tuple[Any, ...] = ()  # noqa: N815
    prerequisites: tuple[Any, ...] = ()
    scheduleRules: tuple[Any, ...] | None = ()  # noqa: N815
    seed: str | None = None
    rampScheduleId: str | None = None  # noqa: N815
    allProjects: bool = True  # noqa: N815

    def serves(self, environment: str) -> bool:
        """Whether it is in force there."""
        return self.enabled and (self.allEnvironments or environment in self.environments)


class Environment(Answer):
    enabled: bool


class Feature(Answer):
    id: str
    description: str | None = None
    archived: bool = False
    valueType: str  # noqa: N815
    defaultValue: str  # noqa: N815
    rules: tuple[Rule, ...]
    environments: dict[str, Environment]
    prerequisites: tuple[str, ...] = ()
    holdout: Any = None


@dataclass(frozen=True, slots=True)
class Served:
    """What an environment serves; `obstacle` is why Sluice does not set it, and `exposure` then the most it can be.

    `rule` carries the exposure, None before there is one; `value` is what the new way is there.
    """

    exposure: Exposure
    control: str
    treatment: str
    value: str
    rule: Rule | None = None
    obstacle: str = ""


class _NotOurs(Exception):
    """The feature is not one exposure; the message finishes "the flag can't be set by Sluice: …"."""


def served_by(feature: Feature, environment: str, options: GrowthBookOptions) -> Served:
    """The feature's environment as an exposure."""
    on = feature.environments[environment].enabled
    rules = [rule for rule in feature.rules if rule.serves(environment)]
    control = _name_of(feature.defaultValue, "off")
    try:
        rule = _only(feature, rules, environment)
        value = _new_value(feature, rule, options)
        exposure = NOT_EXPOSED if rule is None else _exposure(rule, options)
    except _NotOurs as reason:
        # Whom one rule leaves out, the next may take.
        most = min(100.0, sum(_share(rule) for rule in rules)) if on else 0.0
        return Served(Exposure(percent=most), control, "on", "", None, str(reason))
    # Switched off, only what would be nobody anyway keeps its audience and its mode.
    shown = exposure if on or exposure.percent == 0 else NOT_EXPOSED
    return Served(shown, control, _name_of(value, "on"), value, rule)


def rule_for(exposure: Exposure, treatment: str, nonce: str, options: GrowthBookOptions) -> dict[str, Any]:
    """What the rule is to be. Its description differs with each nonce, so that each write is a change."""
    shadow = exposure.mode is Mode.SHADOW
    return {
        "description": f"{MARK} ({nonce}): {treatment}",
        "enabled": True,
        "value": options.shadow_value if shadow else treatment,
        "coverage": coverage_of(exposure.percent),
        "condition": _condition(exposure.audience, options),
    }


def coverage_of(percent: float) -> float:
    """The coverage that serves the percentage and no more, whatever the SDK."""
    return round(percent / 100 - HALF_A_PART, 5) if percent else 0.0


def version_of(feature: Feature, environment: str) -> str:
    """A version of what is served there: GrowthBook's counts the changes of all environments together.

    Sluice's own writes differ by the description of the rule.
    """
    rules = [rule.model_dump() for rule in feature.rules if rule.allEnvironments or environment in rule.environments]
    parts = {"rules": rules, "on": feature.environments[environment].enabled, "default": feature.defaultValue}
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:16]


def _only(feature: Feature, rules: list[Rule], environment: str) -> Rule | None:
    if feature.holdout is not None:
        raise _NotOurs("it is in a holdout; take it out")
    if len(rules) > 1:
        raise _NotOurs(f"it has {len(rules)} rules in {environment}; leave one")
    for rule in rules:
        if rule.type not in ("force", "rollout"):
            raise _NotOurs(f"its rule is one of kind {rule.type}; use a rule that forces a value for a percentage")
        if rule.allEnvironments or set(rule.environments) != {environment}:
            raise _NotOurs(f"its rule is for more environments than {environment}; give that a rule of its own")
        if rule.savedGroups or rule.savedGroupTargeting or rule.prerequisites or not rule.allProjects:
            raise _NotOurs("its rule has saved groups, prerequisites or projects; use a condition on tenant and region")
        if rule.scheduleRules or rule.rampScheduleId is not None:
            raise _NotOurs("its rule follows a schedule of GrowthBook's; remove that")
        return rule
    return None


def _new_value(feature: Feature, rule: Rule | None, options: GrowthBookOptions) -> str:
    """What the new way is: as the rule serves it, as Sluice noted it in shadow, or as the settings say."""
    if rule is not None and rule.value != options.shadow_value:
        if rule.value is None or rule.value == feature.defaultValue:
            raise _NotOurs("its rule serves the default value; give it the new one")
        return rule.value
    marked = None if rule is None else _MARKED.fullmatch(rule.description or "")
    if marked is not None:
        return marked["treatment"]
    found = OPPOSITE.get(feature.defaultValue) if feature.valueType == SWITCH else options.treatment
    if found is None or found == feature.defaultValue:
        raise _NotOurs("nothing says which value is the new one; add a rule with it, or set flags.growthbook.treatment")
    return found


def _exposure(rule: Rule, options: GrowthBookOptions) -> Exposure:
    shadow = options.shadow_value is not None and rule.value == options.shadow_value
    mode = Mode.SHADOW if shadow else Mode.LIVE
    return Exposure(percent=_share(rule), mode=mode, audience=_audience(rule.condition, options))


def _share(rule: Rule) -> float:
    """The percentage that a rule serves at most, in tenths; a kind that is not known may serve everyone."""
    if rule.type not in ("force", "rollout") or rule.coverage is None:
        return 100.0
    return max(0.0, math.ceil(min(1.0, rule.coverage) * 1000 - 1e-6) / 10)


def _condition(audience: Audience, options: GrowthBookOptions) -> str:
    fields = ((options.tenant_attribute, audience.tenants), (options.region_attribute, audience.regions))
    condition = {attribute: {"$in": list(names)} for attribute, names in fields if names}
    return json.dumps(condition) if condition else ""


def _audience(condition: str | None, options: GrowthBookOptions) -> Audience:
    fields = {options.tenant_attribute: "tenants", options.region_attribute: "regions"}
    found: dict[str, list[Any]] = {}
    for attribute, wanted in _parsed(condition).items():
        names = [wanted] if isinstance(wanted, str) else wanted.get("$in") if isinstance(wanted, dict) else None
        one_list = isinstance(wanted, str) or (isinstance(wanted, dict) and len(wanted) == 1)
        if attribute not in fields or not names or not isinstance(names, list) or not one_list:
            raise _NotOurs("its condition is not one list of tenants and one of regions; make it so, or remove it")
        found[fields[attribute]] = names
    try:
        return Audience.model_validate(found)
    except ValidationError:
        raise _NotOurs("its condition names a tenant or region that plans can't hold") from None


def _parsed(condition: str | None) -> dict[str, Any]:
    try:
        parsed = json.loads(condition or "{}")
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise _NotOurs("its condition is not one that SDKs can read; correct it")
    return parsed


def _name_of(text: str, otherwise: str) -> str:
    """A value as services see it, where plans can hold it as a name."""
    try:
        check_name("value", text)
    except InvalidInput:
        return otherwise
    return text
