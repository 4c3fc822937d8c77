"""What a LaunchDarkly flag's targeting serves, as an exposure: pure.

An exposure is a percentage rollout of two variations: in the default rule, or for an audience in the only rule, with
control in the default rule. Everything else that people can build is not an exposure; it is read as the most that it
may serve, with the reason why Sluice leaves it alone.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from tools.errors import InvalidInput
from tools.flags.definitions import check_name
from tools.flags.launchdarkly.answers import Carrier, Clause, Environment, Flag, Rollout, Rule, Variation
from tools.flags.launchdarkly.options import LaunchDarklyOptions
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

WHOLE = 100_000
"""All contexts, in thousandths of a percent."""
IN_A_PERCENT = 1_000


@dataclass(frozen=True, slots=True)
class Roles:
    """Which of a flag's variations is what, by index."""

    control: int
    treatment: int
    shadow: int | None = None

    def exposing(self, mode: Mode) -> int | None:
        """The variation that exposed contexts get."""
        return self.treatment if mode is Mode.LIVE else self.shadow


@dataclass(frozen=True, slots=True)
class Served:
    """What an environment serves; `obstacle` is why Sluice does not set it, and `exposure` then the most it can be.

    `roles` is None where there is no telling them.
    """

    exposure: Exposure
    control: str
    treatment: str
    roles: Roles | None
    obstacle: str = ""


class _NotOurs(Exception):
    """The flag is not one exposure; the message finishes "the flag can't be set by Sluice: …"."""


def served_by(flag: Flag, environment: Environment, options: LaunchDarklyOptions) -> Served:
    """The flag's environment as an exposure."""
    try:
        roles, names = _roles(flag, environment, options)
    except _NotOurs as reason:
        return Served(_most(environment, environment.offVariation), "off", "on", None, str(reason))
    try:
        exposure = _exposure(flag, environment, roles, options)
    except _NotOurs as reason:
        exposure, obstacle = _most(environment, roles.control), str(reason)
    else:
        obstacle = ""
        # Switched off, only what would be nobody anyway keeps its audience and its mode.
        exposure = exposure if environment.on or exposure.percent == 0 else NOT_EXPOSED
    return Served(exposure, names[roles.control], names[roles.treatment], roles, obstacle)


def carrier_of(environment: Environment) -> Carrier:
    """What carries the exposure: the only rule, or the default rule where there is none."""
    return environment.rules[0] if environment.rules else environment.fallthrough


def clauses_of(audience: Audience, options: LaunchDarklyOptions) -> tuple[Clause, ...]:
    """The clauses that match the audience; none for everyone."""
    fields = (
        (options.tenant_kind, options.tenant_attribute, audience.tenants),
        (options.region_kind, options.region_attribute, audience.regions),
    )
    return tuple(
        Clause(attribute=attribute, op="in", values=values, contextKind=kind or options.context_kind)
        for kind, attribute, values in fields
        if values
    )


def _roles(flag: Flag, environment: Environment, options: LaunchDarklyOptions) -> tuple[Roles, list[str]]:
    names = [_name_of(variation) for variation in flag.variations]
    control = environment.offVariation
    if control is None or not 0 <= control < len(names):
        raise _NotOurs("it has no off variation, which is what control is; choose one in the environment")
    shadow = names.index(options.shadow_variation) if options.shadow_variation in names else None
    if shadow == control:
        raise _NotOurs("its off variation is the shadow variation; choose another")
    rest = [index for index in range(len(names)) if index not in (control, shadow)]
    if len(rest) > 1:
        rest = [index for index in rest if names[index] == options.treatment]
    if len(rest) != 1:
        raise _NotOurs(
            "it has several variations that can be the new one; set flags.launchdarkly.treatment to its value"
        )
    return Roles(control, rest[0], shadow), names


def _name_of(variation: Variation) -> str:
    """A variation's value in text, as services see it; its name where the value is no word."""
    value = variation.value
    texts = [value if isinstance(value, str) else json.dumps(value), variation.name or ""]
    for text in texts:
        try:
            check_name("variation", text)
        except InvalidInput:
            continue
        return text
    raise _NotOurs("a variation has neither a value nor a name that plans can hold; name it with letters, digits and -")


def _exposure(flag: Flag, environment: Environment, roles: Roles, options: LaunchDarklyOptions) -> Exposure:
    if flag.purpose == "migration":
        raise _NotOurs("it is a migration flag; Sluice rolls out flags of two variations")
    if any(target.values for target in (*environment.targets, *environment.contextTargets)):
        raise _NotOurs("it has individual targets, who get their variation whatever the percentage; remove them")
    if len(environment.rules) > 1:
        raise _NotOurs(f"it has {len(environment.rules)} targeting rules; leave one, or only the default rule")
    mode, weight = _dealt(carrier_of(environment), roles)
    audience = Audience()
    if environment.rules:
        audience = _audience(environment.rules[0], options)
        if _dealt(environment.fallthrough, roles)[1] > 0:
            raise _NotOurs(
                "both its rule and its default rule serve the new variation; leave control in the default rule"
            )
    return Exposure(percent=weight / IN_A_PERCENT, mode=mode, audience=audience)


def _dealt(carrier: Carrier, roles: Roles) -> tuple[Mode, int]:
    """The mode, and the weight of those who are exposed."""
    weights = _weights(carrier, roles)
    exposing = {Mode.LIVE: weights.get(roles.treatment, 0)}
    if roles.shadow is not None:
        exposing[Mode.SHADOW] = weights.get(roles.shadow, 0)
    others = WHOLE - weights.get(roles.control, 0) - sum(exposing.values())
    if others or min(exposing.values()) < 0 or (len(exposing) > 1 and all(exposing.values())):
        raise _NotOurs("it serves other variations than control and one new one; Sluice rolls out one")
    if any(exposing.values()):
        return next((mode, weight) for mode, weight in exposing.items() if weight)
    in_shadow = roles.shadow in weights and roles.treatment not in weights
    return (Mode.SHADOW if in_shadow else Mode.LIVE), 0


def _weights(carrier: Carrier, roles: Roles) -> dict[int, int]:
    if carrier.variation is not None:
        return {carrier.variation: WHOLE}
    rollout = carrier.rollout
    if rollout is None:
        raise _NotOurs("a rule serves nothing that Sluice knows")
    if rollout.experiment:
        raise _NotOurs("an experiment or a guarded rollout runs on it; stop that first")
    weights = dict[int, int]()
    for one in rollout.variations:
        weights[one.variation] = weights.get(one.variation, 0) + one.weight
    return weights


def _audience(rule: Rule, options: LaunchDarklyOptions) -> Audience:
    if rule.disabled:
        raise _NotOurs("its rule is disabled; enable or remove it")
    found: dict[str, tuple[str, ...]] = {}
    for clause in rule.clauses:
        name = _field_of(clause, options)
        plain = clause.op == "in" and not clause.negate and clause.values
        if name is None or name in found or not plain:
            raise _NotOurs("its rule is not one list of tenants and one of regions; make it so, or remove it")
        found[name] = clause.values
    if not found:
        raise _NotOurs("its rule has no conditions; remove it")
    try:
        return Audience.model_validate(found)
    except ValidationError:
        raise _NotOurs("its rule names a tenant or region that plans can't hold") from None


def _field_of(clause: Clause, options: LaunchDarklyOptions) -> str | None:
    tenant = (options.tenant_kind or options.context_kind, options.tenant_attribute)
    region = (options.region_kind or options.context_kind, options.region_attribute)
    return {tenant: "tenants", region: "regions"}.get((clause.contextKind, clause.attribute))


def _most(environment: Environment, control: int | None) -> Exposure:
    """The most that an environment can serve: each context gets what one rule or target says."""
    if not environment.on or control is None:
        # Without an off variation services fall back to what their code says, which is the old way.
        return NOT_EXPOSED if not environment.on else Exposure(percent=100)
    targeted = (*environment.targets, *environment.contextTargets)
    if any(target.values and target.variation != control for target in targeted):
        return Exposure(percent=100)
    carriers = (*environment.rules, environment.fallthrough)
    return Exposure(percent=min(WHOLE, max(_share(carrier, control) for carrier in carriers)) / IN_A_PERCENT)


def _share(carrier: Carrier, control: int) -> int:
    if carrier.variation is not None:
        return 0 if carrier.variation == control else WHOLE
    return WHOLE if carrier.rollout is None else _exposing(carrier.rollout, control)


def _exposing(rollout: Rollout, control: int) -> int:
    weights: Iterable[int] = (max(0, one.weight) for one in rollout.variations if one.variation != control)
    return WHOLE if rollout.experiment else sum(weights)
