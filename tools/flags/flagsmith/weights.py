"""A Flagsmith flag's variants and their weights, as an exposure: pure.

A multivariate flag serves its value, which is control, to whom no variant's weight covers. Segment and identity
overrides are not an exposure; a flag with them is read as the most that it may serve, with the reason why Sluice leaves
it alone. A flag that is off counts as serving nobody, for its SDKs say that it is.

There are no audiences: a segment's override has a seed of its own, so that whoever was exposed of an audience would be
dealt anew among everyone.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from tools.canonical import canonical_json
from tools.errors import InvalidInput
from tools.flags.definitions import check_name
from tools.flags.flagsmith.options import FlagsmithOptions
from tools.plans.model import NOT_EXPOSED, Exposure, Mode

CONTROL = "control"
"""What Flagsmith calls those whom no variant covers."""


class Answer(BaseModel):
    """Base of what Flagsmith answers; what is not read here is kept out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Option(Answer):
    """A variant of a multivariate feature; one of the values is its."""

    id: int
    key: str | None = None
    string_value: str | None = None
    integer_value: int | None = None
    boolean_value: bool | None = None

    @property
    def text(self) -> str:
        """Its value as a flag's value is written."""
        if self.boolean_value is not None:
            return "true" if self.boolean_value else "false"
        return str(self.integer_value) if self.integer_value is not None else self.string_value or ""


class Feature(Answer):
    """A feature of a project. `num_identity_overrides` is None where Flagsmith does not count them."""

    id: int
    name: str
    description: str | None = None
    is_archived: bool = False
    multivariate_options: tuple[Option, ...] = ()
    num_identity_overrides: int | None = None


class TypedValue(Answer):
    type: str
    value: str


class Share(Answer):
    """`weight` is in percent."""

    id: int
    weight: float


class Default(Answer):
    enabled: bool
    value: TypedValue | None
    variants: tuple[Share, ...]


class Segment(Answer):
    id: int


class Override(Default):
    """What is served to a segment instead."""

    segment: Segment


class Flag(Answer):
    """What a feature serves in an environment."""

    environment_default: Default
    segment_overrides: tuple[Override, ...]


@dataclass(frozen=True, slots=True)
class Roles:
    """Which variants are what, by id."""

    treatment: int
    shadow: int | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """What a flag serves; `obstacle` is why Sluice does not set it, and `exposure` then the most it can be."""

    exposure: Exposure
    control: str
    treatment: str
    roles: Roles | None
    obstacle: str = ""


class _NotOurs(Exception):
    """The flag is not one exposure; the message finishes "the flag can't be set by Sluice: …"."""


def served_by(feature: Feature, flag: Flag, options: FlagsmithOptions) -> Served:
    """The flag as an exposure."""
    default = flag.environment_default
    control = _name_of(default.value.value if default.value is not None else "", CONTROL)
    try:
        roles, treatment = _roles(feature, options)
        exposure = _exposure(feature, flag, roles)
    except _NotOurs as reason:
        return Served(_most(feature, flag), control, "on", None, str(reason))
    return Served(exposure if default.enabled else NOT_EXPOSED, control, treatment, roles)


def change_to(feature: Feature, roles: Roles, exposure: Exposure) -> dict[str, Any]:
    """The update that makes the flag serve the exposure, in one step: every variant must be named."""
    exposing = roles.treatment if exposure.mode is Mode.LIVE else roles.shadow
    weights = [
        {"id": option.id, "weight": exposure.percent if option.id == exposing else 0}
        for option in feature.multivariate_options
    ]
    enabled = {"enabled": True} if exposure.percent > 0 else {}
    return {"environment_default": {**enabled, "variants": weights}}


def switched_off(flag: Flag) -> dict[str, Any]:
    """The update that switches the flag off, also for the segments that have a state of their own."""
    overrides = [{"segment": {"id": override.segment.id}, "enabled": False} for override in flag.segment_overrides]
    change: dict[str, Any] = {"environment_default": {"enabled": False}}
    return change | ({"segment_overrides": overrides} if overrides else {})


def version_of(answer: object) -> str:
    """A version of what is served, from Flagsmith's answer, for it gives none: another whenever something differs."""
    return hashlib.sha256(canonical_json(answer).encode()).hexdigest()[:16]


def _roles(feature: Feature, options: FlagsmithOptions) -> tuple[Roles, str]:
    if not feature.multivariate_options:
        raise _NotOurs("it has no variants; give it one with the new value, so that its own value is control")
    named = {option.id: {option.text, option.key or ""} for option in feature.multivariate_options}
    shadow = next((id for id, names in named.items() if options.shadow_variant in names), None)
    rest = [option for option in feature.multivariate_options if option.id != shadow]
    if len(rest) > 1:
        rest = [option for option in rest if options.treatment in named[option.id]]
    if len(rest) != 1:
        raise _NotOurs("it has several variants that can be the new one; set flags.flagsmith.treatment to its value")
    [treatment] = rest
    return Roles(treatment.id, shadow), _name_of(treatment.text, treatment.key or "on")


def _name_of(text: str, otherwise: str) -> str:
    """A value as services see it, where plans can hold it as a name."""
    try:
        check_name("variant", text)
    except InvalidInput:
        return otherwise
    return text


def _exposure(feature: Feature, flag: Flag, roles: Roles) -> Exposure:
    if flag.segment_overrides:
        raise _NotOurs("it has segment overrides, which have weights of their own; remove them")
    if feature.num_identity_overrides:
        raise _NotOurs("it has identity overrides, who get their value whatever the weights; remove them")
    weights = {share.id: share.weight for share in flag.environment_default.variants if share.weight}
    others = weights.keys() - {roles.treatment, roles.shadow}
    if others or len(weights) > 1:
        raise _NotOurs("it serves several variants; Sluice rolls out one")
    for id, weight in weights.items():
        return Exposure(percent=_kept(weight), mode=Mode.LIVE if id == roles.treatment else Mode.SHADOW)
    return NOT_EXPOSED


def _kept(weight: float) -> float:
    """A weight that is a percentage as plans have it, and no less than what was stored."""
    if not 0 <= weight <= 100 or abs(weight * 1000 - round(weight * 1000)) > 1e-6:
        raise _NotOurs("its weight is finer than plans can say; round it")
    return round(weight, 3)


def _most(feature: Feature, flag: Flag) -> Exposure:
    """The most that the flag can serve; switched off, nobody but who was named one by one."""
    if feature.num_identity_overrides and flag.environment_default.enabled:
        return Exposure(percent=100)
    states = (flag.environment_default, *flag.segment_overrides)
    return Exposure(percent=max(_share(feature, state) for state in states))


def _share(feature: Feature, state: Default) -> float:
    if not state.enabled:
        return 0.0
    if not feature.multivariate_options:
        # Without variants the flag is a switch, and so for everyone.
        return 100.0
    total = sum(max(0.0, share.weight) for share in state.variants)
    return math.ceil(min(100.0, total) * 1000 - 1e-6) / 1000
