"""Flags as flagd's files have them, and its daemon and SDKs evaluate them.

They are described at https://flagd.dev/reference/flag-definitions/. Everyone's default is control. An audience is an
`if` over lists; a share is a `fractional`, whose weights are whole numbers (others make services fall back to the
default), of 100 where that is fine enough, for older releases.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tools.flags.files.entries import (
    EVERYBODY,
    EVERYONE,
    STEPS,
    Arm,
    BadEntry,
    Entry,
    NotOurs,
    Served,
    Split,
    Variants,
    audience_of,
    described,
    exposure_of,
    lists_of,
    noted,
    shown,
    split_of,
    variants_of,
    with_shadow,
)
from tools.flags.files.logic import condition_of, lists_of_condition
from tools.flags.files.options import FlagdOptions
from tools.plans.model import NOT_EXPOSED, Exposure

ON, OFF = "ENABLED", "DISABLED"


class Flagd:
    """The format; `options` say what is called how."""

    setting = "flags.flagd"

    def __init__(self, options: FlagdOptions) -> None:
        self._options = options

    def entries(self, document: object) -> Mapping[str, Entry]:
        """The flags of the file. Raises BadEntry: what one of them has wrong may keep services from all."""
        flags = document.get("flags") if isinstance(document, dict) else None
        if not isinstance(flags, dict):
            raise BadEntry('has no object "flags"')
        for flag, entry in flags.items():
            _check(flag, entry)
        return flags

    def place(self, flag: str) -> tuple[str, ...]:
        """Where the flag is in the file."""
        return ("flags", flag)

    def served(self, entry: Entry) -> Served:
        """What the entry serves now."""
        on, description = entry["state"] == ON, described(entry.get("metadata"))
        try:
            variants = self._variants(entry)
            exposure = exposure_of(self._split(entry, variants)[0], variants)
        except NotOurs as reason:
            most = EVERYONE if on else NOT_EXPOSED
            return Served(most, self._options.control, self._options.treatment, description, str(reason))
        return Served(shown(exposure, on=on), variants.control, variants.treatment, description)

    def changed(self, entry: Entry, exposure: Exposure, write: str) -> Entry:
        """The entry that serves the exposure. Raises NotOurs."""
        variants = self._variants(entry)
        before, seed = self._split(entry, variants)
        split = split_of(exposure, variants, before.arms)
        return {
            **entry,
            "state": ON if exposure.percent > 0 else entry["state"],
            "variants": with_shadow(entry["variants"], split, variants),
            "defaultVariant": variants.control,
            "targeting": _targeting(split, variants, seed, self._options),
            "metadata": noted(entry.get("metadata"), variants, write),
        }

    def switched_off(self, entry: Entry, write: str) -> Entry:
        """The entry that serves nobody, with its rules as they are: services use their code's default."""
        return {**entry, "state": OFF, "metadata": noted(entry.get("metadata"), None, write)}

    def _variants(self, entry: Entry) -> Variants:
        metadata = entry.get("metadata")
        if metadata is not None and not isinstance(metadata, Mapping):
            raise NotOurs("its metadata is no object")
        return variants_of(entry["variants"], entry.get("defaultVariant"), metadata, self._options)

    def _split(self, entry: Entry, variants: Variants) -> tuple[Split, Sequence[Any]]:
        """Who gets what, and by what users are dealt where that is not the targeting key."""
        default, targeting = entry.get("defaultVariant") or variants.control, entry.get("targeting")
        if not targeting:
            return Split([(str(default), 1)]), ()
        if default != variants.control:
            raise NotOurs("its default is not control, beside targeting that may fall back to it")
        condition, then = _parts(targeting, variants)
        arms, seed = _arms(then)
        audience = EVERYBODY if condition is True else audience_of(lists_of_condition(condition), self._options)
        return Split(arms, audience), seed


def _parts(targeting: object, variants: Variants) -> tuple[object, object]:
    """Whom the rule is for, True for everyone, and the rule."""
    match targeting:
        case {"if": [condition, then, *other], **more} if not more and other in ([], [None], [variants.control]):
            return condition, then
        case {"if": _}:
            raise NotOurs("its targeting has more than one rule, or serves others something else than control")
    return True, targeting


def _arms(rule: object) -> tuple[list[Arm], Sequence[Any]]:
    match rule:
        case str():
            return [(rule, 1)], ()
        case {"fractional": [*given], **more} if given and not more:
            seed = [] if isinstance(given[0], list) else given[:1]
            return [_arm(one) for one in given[len(seed) :]], seed
    raise NotOurs("its targeting is not one share for one audience (if, in, fractional); make it one")


def _arm(one: object) -> Arm:
    match one:
        case [str(name)]:
            return name, 1
        case [str(name), int(weight)] if not isinstance(weight, bool) and weight >= 0:
            return name, weight
    raise NotOurs("its fractional weights are not whole numbers from 0, which services take for none")


def _targeting(split: Split, variants: Variants, seed: Sequence[Any], options: FlagdOptions) -> dict[str, Any]:
    then = _rule(split.arms, seed)
    if not split.audience.everyone:
        return {"if": [condition_of(lists_of(split.audience, options)), then, variants.control]}
    if isinstance(then, dict):
        return then
    return {} if then == variants.control else {"if": [True, then, variants.control]}


def _rule(arms: Sequence[Arm], seed: Sequence[Any]) -> str | dict[str, Any]:
    if len(arms) == 1:
        return arms[0][0]
    coarse = STEPS // 100
    unit = coarse if all(weight % coarse == 0 for _, weight in arms) else 1
    return {"fractional": [*seed, *([name, round(weight) // unit] for name, weight in arms)]}


def _check(flag: str, entry: object) -> None:
    if not isinstance(entry, dict):
        raise BadEntry(f"has a flag {flag!r} that is no object")
    if entry.get("state") not in (ON, OFF):
        raise BadEntry(f'has a flag {flag!r} whose state is neither "{ON}" nor "{OFF}"')
    if not isinstance(entry.get("variants"), dict) or not entry["variants"]:
        raise BadEntry(f"has a flag {flag!r} without variants")
