"""Reads scenarios from YAML files, strictly: a file that can't be used is named, with the key that is wrong."""

from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from pydantic import ValidationError

from agent.evals.scenario import Scenario, WorldSetup
from tools.errors import ConfigurationError
from tools.specs.yaml_text import load_yaml

WORLDS = "worlds"
SCENARIOS = "scenarios"


class BadScenario(ConfigurationError):
    """A scenario file can't be used; the message names the file and the key."""


def packaged() -> tuple[Scenario, ...]:
    """The scenarios that Sluice comes with. Raises BadScenario."""
    return load(files("agent.evals").joinpath("scenarios"))


def load(folder: Traversable | Path) -> tuple[Scenario, ...]:
    """Every scenario of a folder's `*.yaml` files, in the order of files. Raises BadScenario.

    A file has `worlds` by name, which scenarios of every file may start from, and a list of `scenarios`.
    """
    if not folder.is_dir():
        raise BadScenario(f"{folder} is no folder of scenarios.")
    documents = {
        file.name: _read(file) for file in sorted(folder.iterdir(), key=lambda one: one.name) if _is_yaml(file)
    }
    worlds = _worlds(documents)
    scenarios = [one for name, document in documents.items() for one in _scenarios(name, document, worlds)]
    _check_names(scenario.id for scenario in scenarios)
    return tuple(scenarios)


def _is_yaml(file: Traversable) -> bool:
    return file.name.endswith((".yaml", ".yml"))


def _read(file: Traversable) -> Mapping[str, Any]:
    try:
        document = load_yaml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadScenario(f"{file.name} can't be read: {_one_line(error)}") from None
    if not isinstance(document, Mapping) or not document:
        raise BadScenario(f"{file.name} must have `{WORLDS}` or `{SCENARIOS}` at its top.")
    for key in document:
        if key not in (WORLDS, SCENARIOS):
            raise BadScenario(f"{file.name}: {key}: is not known; at the top are `{WORLDS}` and `{SCENARIOS}`.")
    return document


def _worlds(documents: Mapping[str, Mapping[str, Any]]) -> Mapping[str, WorldSetup]:
    plain: dict[str, tuple[str, Any]] = {}
    for file, document in documents.items():
        for name, one in _mapping(file, WORLDS, document.get(WORLDS) or {}).items():
            if name in plain:
                raise BadScenario(f"{file}: {WORLDS}.{name}: is there already, in {plain[name][0]}.")
            plain[name] = file, one
    worlds: dict[str, WorldSetup] = {}
    for name, (file, one) in plain.items():
        try:
            world = WorldSetup.model_validate(one)
        except ValidationError as error:
            raise BadScenario(f"{file}: {_explained((WORLDS, name), error)}") from None
        worlds[name] = _resolved(world, worlds, f"{file}: {WORLDS}.{name}")
    return worlds


def _scenarios(file: str, document: Mapping[str, Any], worlds: Mapping[str, WorldSetup]) -> Iterator[Scenario]:
    plain = document.get(SCENARIOS) or []
    if not isinstance(plain, list):
        raise BadScenario(f"{file}: {SCENARIOS}: must be a list.")
    for number, one in enumerate(plain):
        name = one.get("id", number) if isinstance(one, Mapping) else number
        if isinstance(one, Mapping) and isinstance(one.get("world"), str):
            one = {**one, "world": {"like": one["world"]}}
        try:
            scenario = Scenario.model_validate(one)
        except ValidationError as error:
            raise BadScenario(f"{file}: {_explained((SCENARIOS, str(name)), error)}") from None
        world = _resolved(scenario.world, worlds, f"{file}: {SCENARIOS}.{name}.world")
        yield scenario.model_copy(update={"world": world})


def _resolved(world: WorldSetup, worlds: Mapping[str, WorldSetup], where: str) -> WorldSetup:
    if world.like is None:
        return world
    if world.like not in worlds:
        raise BadScenario(f"{where}.like: there is no world {world.like!r}; there are {', '.join(worlds) or 'none'}.")
    return world.over(worlds[world.like])


def _mapping(file: str, key: str, plain: Any) -> Mapping[str, Any]:
    if not isinstance(plain, Mapping):
        raise BadScenario(f"{file}: {key}: must be a mapping of names.")
    return {str(name): one for name, one in plain.items()}


def _check_names(names: Iterable[str]) -> None:
    seen = set[str]()
    for name in names:
        if name in seen:
            raise BadScenario(f"Two scenarios are called {name!r}; rename one.")
        seen.add(name)


def _explained(where: tuple[str, ...], error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join([*where, *map(str, fault['loc'])])}: {fault['msg']}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
