import pytest

from tools.clock import ManualClock
from tools.errors import ConfigurationError
from tools.flags.embedded import EmbeddedFlagService
from tools.flags.memory import MemoryFlagService
from tools.flags.registry import FACTORIES, FlagServiceParts, create_flag_service
from tools.records.database import Database


@pytest.fixture
def parts() -> FlagServiceParts:
    return FlagServiceParts(Database("sqlite://"), ManualClock())


@pytest.mark.parametrize(("name", "kind"), [("embedded", EmbeddedFlagService), ("memory", MemoryFlagService)])
def test_makes_the_service_named(parts: FlagServiceParts, name: str, kind: type) -> None:
    assert isinstance(create_flag_service(name, parts), kind)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("embeded", "There is no flag service 'embeded'; did you mean 'embedded'?"),
        ("zzz", f"There is no flag service 'zzz'; use one of {', '.join(sorted(FACTORIES))}."),
    ],
)
def test_an_unknown_name_is_a_wrong_setting(parts: FlagServiceParts, name: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as failure:
        create_flag_service(name, parts)
    assert str(failure.value) == message
