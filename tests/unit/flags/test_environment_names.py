"""A service that calls Sluice's environments otherwise says how, so that nobody plans for one by its other name."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.contract.flags.conftest import flagsmith_options, growthbook_options, launchdarkly_options
from tools.flags.base import Capabilities
from tools.flags.files.flagd import Flagd
from tools.flags.files.options import FlagdOptions
from tools.flags.files.service import FileFlagService
from tools.flags.flagsmith.service import FlagsmithFlagService
from tools.flags.growthbook.service import GrowthBookFlagService
from tools.flags.launchdarkly.service import LaunchDarklyFlagService
from tools.flags.unleash.options import UnleashOptions
from tools.flags.unleash.service import UnleashFlagService

SOON = timedelta(seconds=5)
NAMES = {"production": "prod"}
FILE = FlagdOptions(path=Path("/nowhere/{environment}.json"), environments=NAMES)
UNLEASH = UnleashOptions(url="http://unleash.test", token=SecretStr("t"), environments=NAMES)
Service = FileFlagService | FlagsmithFlagService | GrowthBookFlagService | LaunchDarklyFlagService | UnleashFlagService
SERVICES: dict[str, Callable[[], Service]] = {
    "flagd": lambda: FileFlagService(Flagd(FILE), FILE, timeout=SOON),
    "flagsmith": lambda: FlagsmithFlagService(flagsmith_options(environments=NAMES), timeout=SOON),
    "growthbook": lambda: GrowthBookFlagService(growthbook_options(environments=NAMES), timeout=SOON),
    "launchdarkly": lambda: LaunchDarklyFlagService(launchdarkly_options(environments=NAMES), timeout=SOON),
    "unleash": lambda: UnleashFlagService(UNLEASH, timeout=SOON),
}


@pytest.mark.parametrize("kind", SERVICES)
async def test_it_says_what_it_calls_environments(kind: str) -> None:
    service = SERVICES[kind]()
    assert service.capabilities.environments == NAMES
    await service.close()


@pytest.mark.parametrize(
    ("names", "given", "own"),
    [
        (NAMES, "prod", "production"),
        (NAMES, "PROD", "production"),
        (NAMES, "production", "production"),
        (NAMES, "staging", "staging"),
        ({}, "prod", "prod"),
        ({"staging": "production", "production": "live"}, "production", "production"),
    ],
)
def test_an_environment_has_one_name_here(names: dict[str, str], given: str, own: str) -> None:
    able = Capabilities(compare_and_set=True, granularity=1, audiences=True, shadow=True, environments=names)
    assert able.own_name(given) == own
