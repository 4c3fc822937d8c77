"""Making a flag, and where evaluation gets its flags from: shared by the services that Sluice ships."""

import secrets
from collections.abc import Mapping
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from tools.errors import Conflict, InvalidInput
from tools.flags.base import FlagRef
from tools.flags.evaluation import FlagDefinition
from tools.plans.model import NOT_EXPOSED, Name

_NAME: TypeAdapter[str] = TypeAdapter(Name)


class FlagExists(Conflict):
    """The environment already has a flag of that name; it was left as it is."""

    def __init__(self, ref: FlagRef) -> None:
        super().__init__(f"There is already a flag {ref}; it was left as it is.")


class DefinitionSource(Protocol):
    """What evaluating needs of a service that keeps its own flags."""

    async def definitions(self, environment: str) -> Mapping[str, FlagDefinition]:
        """The environment's flags by key. Raises FlagServiceUnavailable."""
        ...


def new_definition(ref: FlagRef, control: str, treatment: str, description: str, salt: str | None) -> FlagDefinition:
    """A flag that nobody is exposed to, with a random salt unless one is given. Raises InvalidInput for a bad name."""
    for what, name in (
        ("flag", ref.flag),
        ("environment", ref.environment),
        ("control variant", control),
        ("treatment variant", treatment),
    ):
        check_name(what, name)
    if control == treatment:
        raise InvalidInput(f"Control and treatment of {ref} must be two different variants, not {control!r} twice.")
    return FlagDefinition(
        key=ref.flag,
        environment=ref.environment,
        control=control,
        treatment=treatment,
        salt=secrets.token_hex(8) if salt is None else salt,
        exposure=NOT_EXPOSED,
        version="1",
        description=description,
    )


def check_name(what: str, name: str) -> None:
    """Raise InvalidInput unless `name` can be that of a flag, an environment or a variant."""
    try:
        _NAME.validate_python(name)
    except ValidationError:
        raise InvalidInput(
            f"The {what} {name!r} can't be used as a name: use 1 to 200 letters, digits and . _ : / -, "
            "starting with a letter or a digit."
        ) from None
