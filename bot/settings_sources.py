"""Where settings come from, and how a wrong one is named: as the person wrote it."""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

PREFIX = "SLUICE_"
NESTED = "__"
NOT_SETTINGS = ("SLUICE_CONFIG", "SLUICE_TEST_")
"""Beginnings of variables with the prefix that mean something else: the file's place, and what the tests need."""

Key = tuple[str, ...]

SHORT: Mapping[str, Key] = {
    "model": ("model", "name"),
    "unleash_token": ("flags", "unleash", "token"),
    "flagsmith_token": ("flags", "flagsmith", "token"),
    "growthbook_token": ("flags", "growthbook", "token"),
    "launchdarkly_token": ("flags", "launchdarkly", "token"),
}
"""Variables that are shorter than their key: SLUICE_MODEL is the model's name."""

ACCEPTED = {
    "time_delta_parsing": "must be a duration: seconds as a number, or text such as 90s, 10m, 24h or 7d",
    "time_delta_type": "must be a duration: seconds as a number, or text such as 90s, 10m, 24h or 7d",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "string_type": "must be text",
    "missing": "is missing",
    "string_too_short": "must not be empty",
}


@dataclass(frozen=True, slots=True)
class Variables:
    """The `SLUICE_*` variables that are set, by the key each stands for: (its name, its value)."""

    by_key: Mapping[Key, tuple[str, Any]]

    @classmethod
    def of(cls, environ: Mapping[str, str], tree: type[BaseModel]) -> "Variables":
        """Those of `environ` that are not empty; lists may be JSON or separated by commas."""
        found: dict[Key, tuple[str, Any]] = {}
        for name in sorted(environ):
            if name.startswith(PREFIX) and not name.startswith(NOT_SETTINGS) and environ[name].strip():
                key = _key(name.removeprefix(PREFIX).lower(), tree)
                found[key] = name, _parsed(environ[name].strip(), _field(key, tree))
        return cls(found)

    def values(self) -> dict[str, Any]:
        """As a tree of tables."""
        tree: dict[str, Any] = {}
        for key, (_, value) in self.by_key.items():
            tree = merged(tree, _nested(key, value))
        return tree

    def name_of(self, key: Key) -> str | None:
        """The variable that set this key, or the part of it that was set by one."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.by_key:
                return self.by_key[key[:length]][0]
        return None


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both trees; where both have a value, `over`'s."""
    result = dict(base)
    for name, value in over.items():
        below = result.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[name] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def explain(error: ValidationError, variables: Variables, file: Path, tree: type[BaseModel]) -> str:
    """One line on the first fault: which setting, and what it accepts. Never shows a value."""
    fault = error.errors(include_url=False, include_input=False)[0]
    key = tuple(str(part) for part in fault["loc"])
    written = variables.name_of(key) or f"{dotted(fault['loc'])} in {file}"
    if fault["type"] == "extra_forbidden":
        return f"{written} is not a setting{_hint(key, variables, tree)}"
    return f"{written} {_demand(fault)}."


def _demand(fault: ErrorDetails) -> str:
    if fault["type"] in ACCEPTED:
        return ACCEPTED[fault["type"]]
    if fault["type"] == "string_pattern_mismatch":
        return f"is not written as it must be (pattern {fault['ctx']['pattern']})"
    if fault["type"] == "value_error":
        return f"can't be used: {fault['msg'].removeprefix('Value error, ').rstrip('.')}"
    return fault["msg"].replace("Input should", "must").replace("String should", "must").replace("Tuple should", "must")


def dotted(location: Iterable[int | str]) -> str:
    """A setting's key as people write it: `planning.stages[1]`."""
    key = ""
    for part in location:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    return key


def _hint(key: Key, variables: Variables, tree: type[BaseModel]) -> str:
    as_variable = key in variables.by_key
    # A variable that matches no section may be a slip in the section's name: compare with every full name.
    known = _all_keys(tree) if as_variable and len(key) == 1 else [(*key[:-1], name) for name in _known(key[:-1], tree)]
    spelt = [_spelt(one, as_variable) for one in known]
    near = difflib.get_close_matches(_spelt(key, as_variable), spelt, n=1)
    return f": did you mean {near[0]}?" if near else f"; known here: {', '.join(spelt)}."


def _all_keys(tree: type[BaseModel]) -> list[Key]:
    keys = list[Key]()
    for section in tree.model_fields:
        keys += [(section, name) for name in _known((section,), tree)] or [(section,)]
    return keys


def _spelt(key: Key, as_variable: bool) -> str:
    if not as_variable:
        return ".".join(key)
    return PREFIX + (NESTED if len(key) > 2 else "_").join(key).upper()


def _known(section: Key, tree: type[BaseModel]) -> list[str]:
    model = _model(section, tree)
    return [] if model is None else [name for name in model.model_fields if name != "name"]


def _key(name: str, tree: type[BaseModel]) -> Key:
    """`slack_bot_token` and `slack__bot_token` are both (slack, bot_token); an unknown name stays whole."""
    if name in SHORT:
        return SHORT[name]
    if NESTED in name:
        return tuple(name.split(NESTED))
    if name in tree.model_fields:
        return (name,)
    section, _, rest = name.partition("_")
    return (section, rest) if section in tree.model_fields and rest else (name,)


def _field(key: Key, tree: type[BaseModel]) -> FieldInfo | None:
    model = _model(key[:-1], tree)
    return None if model is None else model.model_fields.get(key[-1])


def _model(section: Key, tree: type[BaseModel]) -> type[BaseModel] | None:
    """The model of a section: a field's own, or that of a table's entries by name."""
    model, rest = tree, list(section)
    while rest:
        field = model.model_fields.get(rest.pop(0))
        inner = None if field is None else field.annotation
        if get_origin(inner) is dict and rest:
            rest.pop(0)
            inner = get_args(inner)[1]
        if not isinstance(inner, type) or not issubclass(inner, BaseModel):
            return None
        model = inner
    return model


def _parsed(text: str, field: FieldInfo | None) -> Any:
    if field is None or get_origin(field.annotation) is not tuple:
        return text
    if text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return [part.strip() for part in text.split(",") if part.strip()]


def _nested(key: Key, value: Any) -> dict[str, Any]:
    for name in reversed(key):
        value = {name: value}
    return value  # type: ignore[no-any-return]
