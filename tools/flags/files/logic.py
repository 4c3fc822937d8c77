"""Audiences as JSONLogic: `in` over lists of values, joined by `and`. In a text `in` would look for a part of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from tools.flags.files.entries import NotOurs


def condition_of(lists: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The condition that each attribute has one of its values."""
    parts = [{"in": [{"var": field}, list(values)]} for field, values in lists.items()]
    return parts[0] if len(parts) == 1 else {"and": parts}


def lists_of_condition(condition: object) -> dict[str, list[str]]:
    """The same read back. Raises NotOurs."""
    parts = condition["and"] if isinstance(condition, dict) and list(condition) == ["and"] else [condition]
    found = dict[str, list[str]]()
    for part in parts if isinstance(parts, list) else []:
        field, values = _one(part)
        if field in found:
            raise NotOurs(f"it has two rules on {field}; make them one list")
        found[field] = values
    if not found:
        raise NotOurs(_ELSE)
    return found


_ELSE = "its rule is not one list of values (in) for each of tenant and region; make it one"


def _one(part: object) -> tuple[str, list[str]]:
    match part:
        case {"in": [{"var": str(field) | [str(field)], **others}, [*values]], **more} if not others and not more:
            if values and all(isinstance(value, str) for value in values):
                return field, values
    raise NotOurs(_ELSE)
