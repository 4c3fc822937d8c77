"""How this installation's GrowthBook is reached, and how its features are read."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from tools.flags.access import checked_address, token_of
from tools.plans.model import Name

VARIABLE = "SLUICE_GROWTHBOOK_TOKEN"
Word = Annotated[str, Field(min_length=1)]


class GrowthBookOptions(BaseModel):
    """`url` is the API's; `token` or the content of `token_file` is a secret key that may publish features.

    `environments` names Sluice's environments as GrowthBook does, where those differ. A feature's default value is its
    control, and its rule's value the new one; `treatment` is that of features that have no rule yet and are no
    switches. `shadow_value` is what shadow stages serve; without it there are none. `hash_attribute` is dealt by
    percentage, `tenant_attribute` and `region_attribute` are those of audiences. `sdk_refresh` is how long services
    take to see a change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = "https://api.growthbook.io"
    token: SecretStr | None = None
    token_file: Path | None = None
    environments: dict[Name, Word] = Field(default_factory=dict)
    treatment: Name | None = None
    shadow_value: Name | None = None
    hash_attribute: Word = "id"
    tenant_attribute: Word = "tenant"
    region_attribute: Word = "region"
    sdk_refresh: timedelta = timedelta(seconds=60)

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        return checked_address(url, VARIABLE).removesuffix("/v1").removesuffix("/v2").removesuffix("/api")

    def environment_of(self, environment: str) -> str:
        """What GrowthBook calls one of Sluice's environments."""
        return self.environments.get(environment, environment)

    def secret(self) -> str:
        """The token. Raises ConfigurationError when there is none."""
        return token_of("GrowthBook", self.token, self.token_file, variable=VARIABLE, key="flags.growthbook.token_file")
