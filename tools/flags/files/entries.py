"""What a flag's entry in a file serves, whatever the file's format: variants by weight, to everyone or to an audience.

Formats translate between their entries and a `Split`; what that is as an exposure, and back, is said here once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tools.errors import InvalidInput
from tools.flags.definitions import check_name
from tools.flags.files.options import FileOptions
from tools.plans.model import NOT_EXPOSED, PERCENT_STEP, Audience, Exposure, Mode

EVERYBODY = Audience()
EVERYONE = Exposure(percent=100)
STEPS = round(100 / PERCENT_STEP)
"""How many shares of the finest kind make up everyone."""
CONTROL_NOTE = "sluice.control"
WRITE_NOTE = "sluice.write"

Arm = tuple[str, float]
"""A variant and its weight."""
Entry = Mapping[str, Any]


class BadEntry(Exception):
    """Services can't read the entry, and maybe not the file; the message finishes "flag 'x' in file y …"."""


class NotOurs(Exception):
    """The entry is not one exposure; the message finishes "the flag can't be set by Sluice: …"."""


@dataclass(frozen=True, slots=True)
class Variants:
    """What the flag's variants are called; `shadows` is whether the shadow variant answers as control does, or can."""

    control: str
    treatment: str
    shadow: str
    shadows: bool


@dataclass(frozen=True, slots=True)
class Split:
    """Who gets which variant: the arms' weights among the audience, control for everybody else."""

    arms: Sequence[Arm]
    audience: Audience = EVERYBODY


@dataclass(frozen=True, slots=True)
class Served:
    """What an entry serves; `obstacle` is why Sluice does not set it, and `exposure` then the most it can be."""

    exposure: Exposure
    control: str
    treatment: str
    description: str = ""
    obstacle: str = ""


def variants_of(values: object, default: object, notes: object, options: FileOptions) -> Variants:
    """Which of the variants, by their values, are control and treatment. Raises NotOurs.

    Control is what Sluice noted when it set the flag, else the one of the settings' name, else the default.
    """
    if not isinstance(values, Mapping):
        raise NotOurs("it has no variants")
    names = [str(name) for name in values if name != options.shadow_variant]
    noted = notes.get(CONTROL_NOTE) if isinstance(notes, Mapping) else None
    control = next((name for name in (noted, options.control, default) if name in names), None)
    if control is None:
        raise NotOurs(
            f"nothing says which of its variants is control; call it {options.control!r}, or say it in the settings"
        )
    others = [name for name in names if name != control]
    treatment = others[0] if len(others) == 1 else options.treatment
    if treatment not in others:
        raise NotOurs(f"it has {len(names)} variants and none is called {options.treatment!r}")
    for name in (control, treatment):
        _check_name(name)
    shadow = options.shadow_variant
    return Variants(str(control), treatment, shadow, values.get(shadow, values[control]) == values[control])


def exposure_of(split: Split, variants: Variants) -> Exposure:
    """The split as an exposure. Raises NotOurs."""
    weights = dict(split.arms)
    if len(weights) < len(split.arms):
        raise NotOurs("it has a variant twice")
    exposed = [name for name in weights if name != variants.control]
    if foreign := [name for name in exposed if name not in (variants.treatment, variants.shadow)]:
        raise NotOurs(f"it serves {foreign[0]!r} besides; Sluice rolls out one variant")
    if len(exposed) > 1:
        raise NotOurs("it serves treatment and the shadow variant at the same time")
    mode = Mode.SHADOW if exposed == [variants.shadow] else Mode.LIVE
    if mode is Mode.SHADOW and not variants.shadows:
        raise NotOurs(f"its variant {variants.shadow!r} does not answer as control does")
    percent = _share(sum(weights[name] for name in exposed), sum(weights.values()))
    return Exposure(percent=percent, mode=mode, audience=split.audience)


def split_of(exposure: Exposure, variants: Variants, before: Sequence[Arm]) -> Split:
    """The split that serves the exposure, in the order of the arms before, for another would deal users anew.

    Weights are of STEPS; who gets all or nothing is one arm. Raises NotOurs for a shadow that would be live.
    """
    if exposure.mode is Mode.SHADOW and not variants.shadows:
        raise NotOurs(f"its variant {variants.shadow!r} does not answer as control does; give it control's value")
    exposed = variants.shadow if exposure.mode is Mode.SHADOW else variants.treatment
    weight = round(exposure.percent / PERCENT_STEP)
    arms = [(exposed, weight), (variants.control, STEPS - weight)]
    if weight == STEPS or (weight == 0 and exposure.mode is Mode.LIVE):
        arms = [arm for arm in arms if arm[1]]
    elif len(before) > 1 and before[0][0] == variants.control:
        arms.reverse()
    return Split(arms, exposure.audience)


def with_shadow(values: Mapping[str, Any], split: Split, variants: Variants) -> Mapping[str, Any]:
    """The variants' values, with control's for the shadow variant where the split serves it."""
    if variants.shadow in dict(split.arms) and variants.shadow not in values:
        return {**values, variants.shadow: values[variants.control]}
    return values


def noted(metadata: object, variants: Variants | None, write: str) -> object:
    """The metadata with what Sluice has to find again: which variant is control, and that this write is another."""
    if metadata is not None and not isinstance(metadata, Mapping):
        return metadata
    control = {} if variants is None else {CONTROL_NOTE: variants.control}
    return {**(metadata or {}), **control, WRITE_NOTE: write}


def described(metadata: object) -> str:
    """What people wrote about the flag, where they did."""
    text = metadata.get("description") if isinstance(metadata, Mapping) else None
    return text if isinstance(text, str) else ""


def shown(exposure: Exposure, *, on: bool) -> Exposure:
    """Switched off, only what would be nobody anyway keeps its audience and its mode."""
    return exposure if on or exposure.percent == 0 else NOT_EXPOSED


def _share(exposed: float, total: float) -> float:
    if not 0 < total < float("inf") or exposed < 0 or exposed > total:
        raise NotOurs("its weights make up nothing that can be shared out")
    percent = exposed / total * 100
    if abs(percent - round(percent, 3)) > PERCENT_STEP / 10:
        raise NotOurs(f"its weights make {percent:.6f} %, finer than plans can hold")
    return round(percent, 3)


def _check_name(name: str) -> None:
    try:
        check_name("variant", name)
    except InvalidInput:
        raise NotOurs(
            f"its variant {name!r} has a name that plans can't hold; use letters, digits and . _ : / -"
        ) from None


def audience_of(lists: Mapping[str, Sequence[str]], options: FileOptions) -> Audience:
    """The audience of lists of values by attribute. Raises NotOurs."""
    fields = {options.tenant_field: "tenants", options.region_field: "regions"}
    if foreign := [field for field in lists if field not in fields]:
        raise NotOurs(f"it has a rule on {foreign[0]}; use {options.tenant_field} and {options.region_field} only")
    try:
        return Audience(**{fields[field]: tuple(values) for field, values in lists.items()})
    except ValidationError:
        raise NotOurs("its audience has a name that plans can't hold") from None


def lists_of(audience: Audience, options: FileOptions) -> Mapping[str, Sequence[str]]:
    """The lists of values by attribute that make up the audience."""
    lists = {options.tenant_field: audience.tenants, options.region_field: audience.regions}
    return {field: values for field, values in lists.items() if values}
