"""Flag services by the name that settings call them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches

from tools.clock import Clock
from tools.errors import ConfigurationError
from tools.flags.base import FlagService
from tools.flags.embedded import EmbeddedFlagService
from tools.flags.files.flagd import Flagd
from tools.flags.files.gofeatureflag import GoFeatureFlag
from tools.flags.files.options import FlagdOptions, GoFeatureFlagOptions
from tools.flags.files.service import FileFlagService
from tools.flags.flagsmith.options import FlagsmithOptions
from tools.flags.flagsmith.service import FlagsmithFlagService
from tools.flags.growthbook.options import GrowthBookOptions
from tools.flags.growthbook.service import GrowthBookFlagService
from tools.flags.launchdarkly.options import LaunchDarklyOptions
from tools.flags.launchdarkly.service import LaunchDarklyFlagService
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
    flagd: FlagdOptions = field(default_factory=FlagdOptions)
    gofeatureflag: GoFeatureFlagOptions = field(default_factory=GoFeatureFlagOptions)
    flagsmith: FlagsmithOptions = field(default_factory=FlagsmithOptions)
    growthbook: GrowthBookOptions = field(default_factory=GrowthBookOptions)
    launchdarkly: LaunchDarklyOptions = field(default_factory=LaunchDarklyOptions)


FlagServiceFactory = Callable[[FlagServiceParts], FlagService]

FACTORIES: dict[str, FlagServiceFactory] = {
    "embedded": lambda parts: EmbeddedFlagService(parts.database, parts.clock),
    "flagd": lambda parts: FileFlagService(
        Flagd(parts.flagd), parts.flagd, timeout=parts.timeout, environment=parts.environment
    ),
    "flagsmith": lambda parts: FlagsmithFlagService(
        parts.flagsmith, timeout=parts.timeout, environment=parts.environment
    ),
    "gofeatureflag": lambda parts: FileFlagService(
        GoFeatureFlag(parts.gofeatureflag), parts.gofeatureflag, timeout=parts.timeout, environment=parts.environment
    ),
    "growthbook": lambda parts: GrowthBookFlagService(
        parts.growthbook, timeout=parts.timeout, environment=parts.environment
    ),
    "launchdarkly": lambda parts: LaunchDarklyFlagService(
        parts.launchdarkly, timeout=parts.timeout, environment=parts.environment
    ),
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
