"""How this installation's Unleash is reached, and how its flags are read."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from tools.errors import ConfigurationError
from tools.plans.model import Name


class UnleashOptions(BaseModel):
    """`url` is where its page opens; `token` or the content of `token_file` is an admin token of the project.

    `environments` names Sluice's environments as Unleash does, where those differ. `control` and `treatment` are what
    plans and metrics call the two variants of a flag that has none of its own. `shadow_variant` is the strategy variant
    that shadow stages serve: services must ask for the variant and not only whether the flag is on, so without it there
    are no shadow stages. `stickiness` is that of strategies that Sluice makes; `tenant_field` and `region_field` are
    the context fields of audiences. `sdk_refresh` is how long services take to see a change.
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

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("https://", "http://")):
            raise ValueError("write an address that starts with https:// or http://")
        if url is not None and urlsplit(url).username is not None:
            raise ValueError("leave credentials out of the address; the token is SLUICE_UNLEASH_TOKEN")
        return None if url is None else url.rstrip("/").removesuffix("/api") + "/"

    def environment_of(self, environment: str) -> str:
        """What Unleash calls one of Sluice's environments."""
        return self.environments.get(environment, environment)

    def secret(self) -> str:
        """The token. Raises ConfigurationError when there is none."""
        given = self.token.get_secret_value() if self.token is not None else self._of_file()
        if not given.strip():
            raise ConfigurationError("Unleash asks for a token: set SLUICE_UNLEASH_TOKEN, or flags.unleash.token_file.")
        if not given.strip().isascii() or not given.strip().isprintable():
            raise ConfigurationError("The token for Unleash is not one: copy it again.")
        return given.strip()

    def _of_file(self) -> str:
        if self.token_file is None:
            return ""
        try:
            return self.token_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"flags.unleash.token_file {self.token_file} can't be read ({type(error).__name__})."
            ) from None
