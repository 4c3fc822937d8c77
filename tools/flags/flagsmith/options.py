"""How this installation's Flagsmith is reached, and how its flags are read."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from tools.errors import ConfigurationError
from tools.flags.access import checked_address, token_of
from tools.plans.model import Name

VARIABLE = "SLUICE_FLAGSMITH_TOKEN"
Word = Annotated[str, Field(min_length=1)]


class FlagsmithOptions(BaseModel):
    """`url` is the Admin API's; `token` or the content of `token_file` an organisation's API key; `project` an id.

    `environments` names Sluice's environments as Flagsmith does, where those differ. A flag's value is its control, and
    its variant the new one: `treatment` says which of several, `shadow_variant` which one shadow stages serve (without
    it there are none), both by value or key. `sdk_refresh` is how long services take to see a change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = "https://api.flagsmith.com"
    project: int | None = None
    token: SecretStr | None = None
    token_file: Path | None = None
    environments: dict[Name, Word] = Field(default_factory=dict)
    treatment: Name | None = None
    shadow_variant: Name | None = None
    sdk_refresh: timedelta = timedelta(seconds=60)

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        return checked_address(url, VARIABLE).removesuffix("/api/v1").removesuffix("/api")

    def environment_of(self, environment: str) -> str:
        """What Flagsmith calls one of Sluice's environments."""
        return self.environments.get(environment, environment)

    def project_id(self) -> int:
        """The project. Raises ConfigurationError when it is not set."""
        if self.project is None:
            raise ConfigurationError("flags.flagsmith.project is not set: it is the number in the address of its page.")
        return self.project

    def secret(self) -> str:
        """The token. Raises ConfigurationError when there is none."""
        key = "flags.flagsmith.token_file"
        return token_of("Flagsmith", self.token, self.token_file, variable=VARIABLE, key=key).removeprefix("Api-Key ")
