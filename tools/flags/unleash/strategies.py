"""Exposures as Unleash's activation strategies, both ways: pure.

One `flexibleRollout` strategy serves a flag: its rollout is the percentage, its constraints are the audience, its one
variant says whether it is live or in shadow. Everything else that people can build in Unleash is not an exposure; it is
read as the most that it may serve, with the reason why Sluice leaves it alone.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tools.canonical import canonical_json
from tools.errors import InvalidInput
from tools.flags.definitions import check_name
from tools.flags.unleash.options import UnleashOptions
from tools.plans.model import NOT_EXPOSED, Audience, Exposure, Mode

FLEXIBLE = "flexibleRollout"
MARK = "Set by Sluice"
"""How the titles of strategies begin that Sluice set."""
EVERYONE = Exposure(percent=100)
_WHOLE_PERCENT = re.compile(r"0|[1-9][0-9]?|100")


class Answer(BaseModel):
    """Base of what Unleash answers; what is not read here is kept out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Constraint(Answer):
    contextName: str  # noqa: N815 - as Unleash writes it
    operator: str
    values: tuple[str, ...] = ()
    inverted: bool = False
    caseInsensitive: bool = False  # noqa: N815


class Variant(Answer):
    name: str
    payload: dict[str, Any] | None = None


class Strategy(Answer):
    id: str
    name: str
    title: str | None = None
    disabled: bool = False
    parameters: dict[str, Any] = {}
    constraints: tuple[Constraint, ...] = ()
    variants: tuple[dict[str, Any], ...] = ()
    segments: tuple[int, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether Sluice was the last to set it."""
        return self.title is not None and self.title.startswith(MARK)


class Environment(Answer):
    name: str
    enabled: bool
    strategies: tuple[Strategy, ...] = ()
    variants: tuple[dict[str, Any], ...] = ()


class Parent(Answer):
    """A flag that must be on, or with `enabled=False` off, for the other to be served."""

    feature: str
    enabled: bool = True


class Feature(Answer):
    """A flag with its environments. Unleash answers 404 for an archived one; older releases say so in the answer."""

    name: str
    description: str | None = None
    archived: bool = False
    environments: tuple[Environment, ...] = ()
    dependencies: tuple[Parent, ...] = ()


@dataclass(frozen=True, slots=True)
class Served:
    """What an environment serves; `obstacle` is why Sluice does not set it, and `exposure` then the most it can be."""

    exposure: Exposure
    treatment: str
    obstacle: str = ""


class _NotOurs(Exception):
    """The strategy is not one exposure; the message finishes "the flag can't be set by Sluice: …"."""


def served_by(environment: Environment, options: UnleashOptions) -> Served:
    """The environment as an exposure."""
    try:
        exposure, treatment = _read(environment, options)
    except _NotOurs as reason:
        most = _most(environment.strategies) if environment.enabled else NOT_EXPOSED
        return Served(most, options.treatment, str(reason))
    # Switched off, only what would be nobody anyway keeps its audience and its mode.
    shown = exposure if environment.enabled or exposure.percent == 0 else NOT_EXPOSED
    return Served(shown, treatment)


def kept(environment: Environment) -> tuple[Strategy | None, Sequence[Strategy]]:
    """The strategy that carries the exposure, None before there is one, and those of writes that were sent twice."""
    active = [strategy for strategy in environment.strategies if not strategy.disabled] or environment.strategies
    return (active[0], active[1:]) if active else (None, ())


def new_strategy(flag: str, exposure: Exposure, title: str, options: UnleashOptions) -> dict[str, Any]:
    """The body that makes a strategy for the exposure."""
    return {
        "name": FLEXIBLE,
        "title": title,
        "disabled": False,
        "parameters": {"rollout": _rollout(exposure), "stickiness": options.stickiness, "groupId": flag},
        "constraints": _constraints(exposure.audience, options),
        "variants": _variants(exposure.mode, options.treatment, options),
        "segments": [],
    }


def changes_to(strategy: Strategy, exposure: Exposure, title: str, options: UnleashOptions) -> list[dict[str, Any]]:
    """The JSON Patch that makes the strategy serve the exposure, in one step.

    Its stickiness and group stay, for others would deal users anew; so does its variant where that serves already. PUT
    would drop whatever it does not name.
    """
    mode, treatment = _mode_and_treatment(strategy, options)
    as_they_are = exposure.mode is Mode.LIVE and mode is Mode.LIVE
    variants = list(strategy.variants) if as_they_are else _variants(exposure.mode, treatment, options)
    values = {
        "/parameters/rollout": _rollout(exposure),
        "/constraints": _constraints(exposure.audience, options),
        "/variants": variants,
        "/disabled": False,
        "/title": title,
    }
    return [{"op": "add", "path": path, "value": value} for path, value in values.items()]


def exposure_of(strategy: Strategy, options: UnleashOptions) -> Exposure | None:
    """What the strategy serves where it is on; None where that is not one exposure."""
    try:
        return _exposure(strategy, options)
    except _NotOurs:
        return None


def version_of(environment: Mapping[str, Any]) -> str:
    """A version of what an environment serves, from Unleash's answer: it changes with every part that says who gets it.

    Unleash keeps none. Sluice's own writes differ by their title.
    """
    parts = {name: environment.get(name) for name in ("enabled", "strategies", "variants")}
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:16]


def _read(environment: Environment, options: UnleashOptions) -> tuple[Exposure, str]:
    active = [strategy for strategy in environment.strategies if not strategy.disabled]
    if environment.variants:
        raise _NotOurs("it has variants of the environment; move them to a strategy, or remove them")
    if not environment.strategies:
        # Where a flag is on without a strategy, it is so for everyone.
        return EVERYONE if environment.enabled else NOT_EXPOSED, options.treatment
    strategy, surplus = kept(environment)
    assert strategy is not None
    if any(not one.ours for one in (strategy, *surplus)) and surplus:
        raise _NotOurs(f"it has {len(surplus) + 1} strategies; leave one gradual rollout")
    treatment = _mode_and_treatment(strategy, options)[1]
    if environment.enabled and not active:
        return EVERYONE, treatment
    if surplus:
        return _most(environment.strategies), treatment
    exposure = _exposure(strategy, options)
    return exposure if active else NOT_EXPOSED, treatment


def _exposure(strategy: Strategy, options: UnleashOptions) -> Exposure:
    if strategy.name != FLEXIBLE:
        raise _NotOurs(f"its strategy is {strategy.name}; use a gradual rollout (flexibleRollout)")
    if strategy.segments:
        raise _NotOurs("its strategy has segments; use constraints on tenant and region")
    mode, _ = _mode_and_treatment(strategy, options)
    percent = _whole_percent(strategy)
    if percent is None:
        raise _NotOurs("its rollout is not a whole number from 0 to 100, which SDKs take for 0; set one")
    return Exposure(percent=percent, mode=mode, audience=_audience(strategy.constraints, options))


def _mode_and_treatment(strategy: Strategy, options: UnleashOptions) -> tuple[Mode, str]:
    if not strategy.variants:
        return Mode.LIVE, options.treatment
    if len(strategy.variants) > 1:
        raise _NotOurs(f"its strategy has {len(strategy.variants)} variants; Sluice rolls out one")
    variant = _variant(strategy.variants[0])
    payload = variant.payload or {}
    if options.shadow_variant is not None and variant.name == options.shadow_variant:
        return Mode.SHADOW, str(payload.get("value") or options.treatment)
    if payload and options.shadow_variant is not None:
        raise _NotOurs("its variant has a payload, which a shadow stage would lose; remove it")
    return Mode.LIVE, _name_of(variant)


def _variant(answer: Any) -> Variant:
    try:
        return Variant.model_validate(answer)
    except ValidationError:
        raise _NotOurs("its strategy has a variant without a name; remove it") from None


def _name_of(variant: Variant) -> str:
    try:
        check_name("variant", variant.name)
    except InvalidInput:
        raise _NotOurs("its variant has a name that plans can't hold; use letters, digits and . _ : / -") from None
    return variant.name


def _whole_percent(strategy: Strategy) -> int | None:
    rollout = str(strategy.parameters.get("rollout", "100"))
    return int(rollout) if _WHOLE_PERCENT.fullmatch(rollout) else None


def _audience(constraints: Iterable[Constraint], options: UnleashOptions) -> Audience:
    fields = {options.tenant_field: "tenants", options.region_field: "regions"}
    found: dict[str, tuple[str, ...]] = {}
    for constraint in constraints:
        name = fields.get(constraint.contextName)
        if name is None:
            raise _NotOurs(f"its strategy has a constraint on {constraint.contextName}; use tenant and region only")
        plain = constraint.operator == "IN" and not constraint.inverted and not constraint.caseInsensitive
        if not plain or not constraint.values or name in found:
            raise _NotOurs(f"its constraint on {constraint.contextName} is not one list of values (IN); make it one")
        found[name] = constraint.values
    try:
        return Audience(**found)
    except ValidationError:
        raise _NotOurs("its audience has a name that plans can't hold") from None


def _most(strategies: Iterable[Strategy]) -> Exposure:
    """The most that the strategies can serve together."""
    percents = [_whole_percent(strategy) for strategy in strategies if not strategy.disabled]
    flexible = all(strategy.name == FLEXIBLE for strategy in strategies if not strategy.disabled)
    if not flexible or not percents or None in percents:
        return EVERYONE
    return Exposure(percent=min(100, sum(percent or 0 for percent in percents)))


def _rollout(exposure: Exposure) -> str:
    return str(round(exposure.percent))


def _constraints(audience: Audience, options: UnleashOptions) -> list[dict[str, Any]]:
    fields = ((options.tenant_field, audience.tenants), (options.region_field, audience.regions))
    return [
        {"contextName": field, "operator": "IN", "values": list(values), "inverted": False, "caseInsensitive": False}
        for field, values in fields
        if values
    ]


def _variants(mode: Mode, treatment: str, options: UnleashOptions) -> list[dict[str, Any]]:
    whole = {"weight": 1000, "weightType": "variable", "stickiness": options.stickiness}
    if mode is Mode.LIVE:
        return [{"name": treatment, **whole}]
    return [{"name": options.shadow_variant, **whole, "payload": {"type": "string", "value": treatment}}]
