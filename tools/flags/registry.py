"""Flag services by the name that settings call them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches

from tools.clock import Clock
from tools.errors import ConfigurationError
from tools.flags.base import FlagService
from tools.flags.embedded import EmbeddedFlagService
from tools.flags.memory import MemoryFlagService
from tools.flags.unleash.options import UnleashOptions
from tools.flags.unleash.service import UnleashFlagService
from tools.records.database import Database


@dataclass(frozen=True, slots=True)
class FlagServiceParts:
    """What a factory may build from. `environment` is what is meant where none is named."""

    database: Database
    clock: Clock
    timeout: timedelta = timedelta(seconds=10)
    environment: str | None = None
    unleash: UnleashOptions = field(default_factory=UnleashOptions)


FlagServiceFactory = Callable[[FlagServiceParts], FlagService]

FACTORIES: dict[str, FlagServiceFactory] = {
    "embedded": lambda parts: EmbeddedFlagService(parts.database, parts.clock),
    "memory": lambda parts: MemoryFlagService(),
    "unleash": lambda parts: UnleashFlagService(parts.unleash, timeout=parts.timeout, environment=parts.environment),
}


def create_flag_service(name: str, parts: FlagServiceParts) -> FlagService:
    """The flag service called `name`. Raises ConfigurationError for a name that is not registered."""
    if name not in FACTORIES:
        near = get_close_matches(name, FACTORIES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(sorted(FACTORIES))}."
        raise ConfigurationError(f"There is no flag service {name!r}; {hint}")
    return FACTORIES[name](parts)
