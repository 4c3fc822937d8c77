"""How this installation's LaunchDarkly is reached, and how its flags are read."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from tools.flags.access import checked_address, token_of
from tools.plans.model import Name

VARIABLE = "SLUICE_LAUNCHDARKLY_TOKEN"
Word = Annotated[str, Field(min_length=1)]


class LaunchDarklyOptions(BaseModel):
    """`token` or the content of `token_file` is an API access token that may change the project's flags.

    `environments` names Sluice's environments as LaunchDarkly does, where those differ. A flag's off variation is its
    control; `treatment` says which is the new one of a flag that has more than two, `shadow_variation` which one shadow
    stages serve (without it there are none), both by value. `context_kind` is dealt by percentage; audiences are by
    `tenant_attribute` and `region_attribute` of `tenant_kind` and `region_kind`, which are the same kind unless given.
    `sdk_refresh` is how long services take to see a change.

    With `compare_and_set` each write is a JSON Patch that tests the version first; without it a semantic patch, which
    knows no test.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = "https://app.launchdarkly.com"
    project: Word = "default"
    token: SecretStr | None = None
    token_file: Path | None = None
    environments: dict[Name, Word] = Field(default_factory=dict)
    treatment: Name | None = None
    shadow_variation: Name | None = None
    context_kind: Word = "user"
    tenant_attribute: Word = "tenant"
    tenant_kind: Word | None = None
    region_attribute: Word = "region"
    region_kind: Word | None = None
    compare_and_set: bool = True
    sdk_refresh: timedelta = timedelta(seconds=5)

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        return checked_address(url, VARIABLE).removesuffix("/api/v2")

    def environment_of(self, environment: str) -> str:
        """What LaunchDarkly calls one of Sluice's environments."""
        return self.environments.get(environment, environment)

    def secret(self) -> str:
        """The token. Raises ConfigurationError when there is none."""
        return token_of(
            "LaunchDarkly", self.token, self.token_file, variable=VARIABLE, key="flags.launchdarkly.token_file"
        )
