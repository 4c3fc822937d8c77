"""Where flags that are kept in files lie, and how they are read."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tools.plans.model import Name

PLACE = "{environment}"
_FOLDER_OR_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ContextField = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$", max_length=200)]


class FileOptions(BaseModel):
    """`path` is the file of one environment's flags, or with `{environment}` in it those of all.

    `environments` are called differently in it than in Sluice. `control` and `treatment` are the variants of a flag
    that has both, of more than two or without a default; `shadow_variant` is the one that exposed users get in shadow
    stages, with control's value. `tenant_field` and `region_field` are the context's attributes for audiences.
    `sdk_refresh` is how long services take to see a change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".yaml", ".yml")

    path: Path | None = None
    environments: dict[Name, Annotated[str, Field(pattern=f"^{_FOLDER_OR_FILE.pattern}$")]] = Field(
        default_factory=dict
    )
    control: Name = "off"
    treatment: Name = "on"
    shadow_variant: Name = "shadow"
    tenant_field: ContextField = "tenant"
    region_field: ContextField = "region"
    sdk_refresh: timedelta = timedelta(seconds=5)

    @field_validator("path")
    @classmethod
    def _known_kind(cls, path: Path | None) -> Path | None:
        if path is not None and path.suffix not in cls.suffixes:
            raise ValueError(f"name a file that ends in {', '.join(cls.suffixes)}")
        return path

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len({self.control, self.treatment, self.shadow_variant}) < 3:
            raise ValueError("control, treatment and shadow_variant must be three different names")
        if self.tenant_field == self.region_field:
            raise ValueError("tenant_field and region_field must be two different attributes")
        return self

    @property
    def of_all(self) -> bool:
        """Whether each environment has a file of its own."""
        return self.path is not None and PLACE in str(self.path)

    def path_of(self, environment: str) -> Path | None:
        """The environment's file; None for a name that can't be part of a path."""
        name = self.environments.get(environment, environment)
        if self.path is None or _FOLDER_OR_FILE.fullmatch(name) is None:
            return None
        return Path(str(self.path).replace(PLACE, name))


class FlagdOptions(FileOptions):
    """A file in flagd's format."""


class GoFeatureFlagOptions(FileOptions):
    """A file in GO Feature Flag's format; its relay proxy and SDKs look once a minute, where they are not told."""

    sdk_refresh: timedelta = timedelta(minutes=1)
