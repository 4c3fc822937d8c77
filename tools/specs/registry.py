"""Spec sources by name."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tools.errors import ConfigurationError
from tools.specs.base import SpecSource
from tools.specs.folder import FolderSpecSource
from tools.specs.memory import MemorySpecSource

FACTORIES: Mapping[str, Callable[[Path], SpecSource]] = {
    "folder": FolderSpecSource,
    "memory": lambda _folder: MemorySpecSource(),
}


def create_spec_source(name: str, *, folder: Path) -> SpecSource:
    """The spec source of that name. Raises ConfigurationError naming the known ones."""
    if name not in FACTORIES:
        raise ConfigurationError(f"A spec source is one of {', '.join(FACTORIES)}, not {name!r}.")
    return FACTORIES[name](folder)
