"""Flags as GO Feature Flag's files have them, and its relay proxy and libraries evaluate them.

They are described at https://gofeatureflag.org/docs/configure_flag/create-flags. A share is a `percentage` of the
default rule, or of the one targeting rule that an audience has; who gets all or nothing is a plain `variation`, which
needs no key. Variations are dealt in the order of their names backwards, so that a share only ever grows.
"""

import json
import re
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
from tools.flags.files.logic import lists_of_condition
from tools.flags.files.options import GoFeatureFlagOptions
from tools.plans.model import NOT_EXPOSED, PERCENT_STEP, Exposure

_LIST = re.compile(r'\s*([A-Za-z_][\w.]*)\s+in\s+(\[\s*"[^"\\]*"(?:\s*,\s*"[^"\\]*")*\s*\])\s*')
_SERVES = ("variation", "percentage", "progressiveRollout")
SCHEDULE = "scheduledRollout"
_CHANGING = (SCHEDULE, "experimentation")


class GoFeatureFlag:
    """The format; `options` say what is called how."""

    setting = "flags.gofeatureflag"

    def __init__(self, options: GoFeatureFlagOptions) -> None:
        self._options = options

    def entries(self, document: object) -> Mapping[str, Entry]:
        """The flags of the file. Raises BadEntry."""
        if not isinstance(document, dict | None):
            raise BadEntry("has no flags by name")
        for flag, entry in (document or {}).items():
            if not isinstance(entry, dict):
                raise BadEntry(f"has a flag {flag!r} that is no object")
        return document or {}

    def place(self, flag: str) -> tuple[str, ...]:
        """Where the flag is in the file."""
        return (flag,)

    def served(self, entry: Entry) -> Served:
        """What the entry serves now."""
        # A scheduled step may switch it on again, or has.
        on = entry.get("disable") is not True or bool(entry.get(SCHEDULE))
        description = described(entry.get("metadata"))
        try:
            variants = self._variants(entry)
            exposure = exposure_of(self._split(entry, variants), variants)
        except NotOurs as reason:
            most = EVERYONE if on else NOT_EXPOSED
            return Served(most, self._options.control, self._options.treatment, description, str(reason))
        return Served(shown(exposure, on=on), variants.control, variants.treatment, description)

    def changed(self, entry: Entry, exposure: Exposure, write: str) -> Entry:
        """The entry that serves the exposure. Raises NotOurs."""
        variants = self._variants(entry)
        split = split_of(exposure, variants, self._split(entry, variants).arms)
        asleep, awake = _rules(entry)
        everyone, nobody = _rule(_default(entry), split.arms), _rule(_default(entry), [(variants.control, STEPS)])
        if not split.audience.everyone:
            before = awake[0] if awake else {}
            rule = _rule({**before, "query": _query(lists_of(split.audience, self._options))}, split.arms)
            everyone, asleep = nobody, [*asleep, rule]
        changed = {
            **entry,
            "variations": with_shadow(entry["variations"], split, variants),
            "defaultRule": everyone,
            "metadata": noted(entry.get("metadata"), variants, write),
        }
        targeting = {"targeting": asleep} if asleep or "targeting" in entry else {}
        on = {"disable": False} if exposure.percent > 0 and "disable" in entry else {}
        return {**changed, **targeting, **on}

    def switched_off(self, entry: Entry, write: str) -> Entry:
        """The entry that serves nobody, with its rules as they are: services use their code's default.

        Steps that are scheduled go, also those that are past, for they are laid over the entry whenever it is read.
        """
        unscheduled: Entry = {SCHEDULE: []} if entry.get(SCHEDULE) else {}
        return {**entry, **unscheduled, "disable": True, "metadata": noted(entry.get("metadata"), None, write)}

    def _variants(self, entry: Entry) -> Variants:
        metadata = entry.get("metadata")
        if metadata is not None and not isinstance(metadata, Mapping):
            raise NotOurs("its metadata is no object")
        return variants_of(entry.get("variations"), _default(entry).get("variation"), metadata, self._options)

    def _split(self, entry: Entry, variants: Variants) -> Split:
        if changing := [name for name in _CHANGING if entry.get(name)]:
            raise NotOurs(f"its {changing[0]} would change it by itself; remove that")
        default = _arms(_default(entry))
        _, awake = _rules(entry)
        if not awake:
            return Split(default, EVERYBODY)
        if len(awake) > 1:
            raise NotOurs(f"it has {len(awake)} targeting rules; leave one on tenant and region")
        if exposure_of(Split(default), variants) != NOT_EXPOSED:
            raise NotOurs("its default rule serves something else than control beside a targeting rule")
        return Split(_arms(awake[0]), audience_of(_lists(awake[0].get("query")), self._options))


def _default(entry: Entry) -> Mapping[str, Any]:
    rule = entry.get("defaultRule")
    return rule if isinstance(rule, Mapping) else {}


def _rules(entry: Entry) -> tuple[list[Any], list[Mapping[str, Any]]]:
    """Targeting rules that are switched off, and those that are not."""
    rules = entry.get("targeting") or []
    if not isinstance(rules, list) or not all(isinstance(rule, Mapping) for rule in rules):
        raise NotOurs("its targeting is no list of rules")
    asleep = [rule for rule in rules if rule.get("disable") is True]
    return asleep, [rule for rule in rules if rule not in asleep]


def _arms(rule: Mapping[str, Any]) -> list[Arm]:
    """What a rule serves; a progressive rollout goes before a percentage, and that before a variation."""
    percentage, variation = rule.get("percentage"), rule.get("variation")
    if rule.get("progressiveRollout"):
        raise NotOurs("its progressiveRollout would change it by itself; remove that")
    if isinstance(percentage, Mapping) and percentage:
        if not all(_is_number(weight) and weight >= 0 for weight in percentage.values()):
            raise NotOurs("its percentages are not numbers from 0")
        return [(str(name), weight) for name, weight in sorted(percentage.items(), reverse=True)]
    if not isinstance(variation, str):
        raise NotOurs("a rule of it serves nothing")
    return [(variation, 1)]


def _is_number(weight: object) -> bool:
    return isinstance(weight, int | float) and not isinstance(weight, bool)


def _rule(before: Mapping[str, Any], arms: Sequence[Arm]) -> dict[str, Any]:
    """The rule before with what it serves made into the arms."""
    kept = {name: value for name, value in before.items() if name not in _SERVES}
    if len(arms) == 1:
        return {**kept, "variation": arms[0][0]}
    return {**kept, "percentage": {name: percentage(round(weight)) for name, weight in arms}}


def percentage(weight: int) -> float:
    """A weight of STEPS as the number that is read as so many buckets.

    The evaluator multiplies by 1,000 and cuts off what is behind the point, so that 1.001 would be 1,000 buckets; a ten
    millionth more is still the same share of all.
    """
    number = weight * PERCENT_STEP
    rounded = round(number, 3)
    if int(rounded * 1000.0) != weight:
        rounded = round(rounded + 1e-7, 7)
    return int(rounded) if rounded == int(rounded) else rounded


def _query(lists: Mapping[str, Sequence[str]]) -> str:
    return " and ".join(f"{field} in {json.dumps(list(values))}" for field, values in lists.items())


def _lists(query: object) -> dict[str, list[str]]:
    """The lists of a query, in GO Feature Flag's language or in JSONLogic. Raises NotOurs."""
    if not isinstance(query, str):
        raise NotOurs("a targeting rule has no query")
    if query.lstrip().startswith("{"):
        return _lists_of_logic(query)
    found = dict[str, list[str]]()
    for part in re.split(r"\band\b(?=[^\]]*(?:\[|$))", query):
        match = _LIST.fullmatch(part)
        if match is None or match[1] in found:
            raise NotOurs('its query is not one list (tenant in ["a", "b"]) for each of tenant and region; make it one')
        found[match[1]] = json.loads(match[2])
    return found


def _lists_of_logic(query: str) -> dict[str, list[str]]:
    try:
        return lists_of_condition(json.loads(query))
    except ValueError:
        raise NotOurs("its query is no JSONLogic") from None
