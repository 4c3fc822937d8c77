"""How this installation's Unleash is reached, and how its flags are read."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from tools.flags.access import checked_address, token_of
from tools.plans.model import Name

VARIABLE = "SLUICE_UNLEASH_TOKEN"


class UnleashOptions(BaseModel):
    """`url` is where its page opens; `token` or the content of `token_file` is an admin token of the project.

    `environments` names Sluice's environments as Unleash does, where those differ. `control` and `treatment` are what
    plans and metrics call the two variants of a flag that has none of its own. `shadow_variant` is the strategy variant
    that shadow stages serve: services must ask for the variant and not only whether the flag is on, so without it there
    are no shadow stages. `stickiness` is that of strategies that Sluice makes; `tenant_field` and `region_field` are
    the context fields of audiences. `sdk_refresh` is how long services take to see a change, `late_writes` for how long
    a write whose answer was lost may still land: a lowered flag is watched for so long.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str | None = None
    project: Annotated[str, Field(min_length=1)] = "default"
    token: SecretStr | None = None
    token_file: Path | None = None
    environments: dict[Name, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    control: Name = "off"
    treatment: Name = "on"
    shadow_variant: Name | None = None
    stickiness: Annotated[str, Field(min_length=1)] = "default"
    tenant_field: Annotated[str, Field(min_length=1)] = "tenant"
    region_field: Annotated[str, Field(min_length=1)] = "region"
    sdk_refresh: timedelta = timedelta(seconds=15)
    late_writes: timedelta = timedelta(seconds=60)

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str | None) -> str | None:
        return None if url is None else checked_address(url, VARIABLE).removesuffix("/api") + "/"

    def environment_of(self, environment: str) -> str:
        """What Unleash calls one of Sluice's environments."""
        return self.environments.get(environment, environment)

    def secret(self) -> str:
        """The token. Raises ConfigurationError when there is none."""
        return token_of("Unleash", self.token, self.token_file, variable=VARIABLE, key="flags.unleash.token_file")
