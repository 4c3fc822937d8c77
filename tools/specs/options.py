"""What the settings say of a spec source: one table for every type, each of which takes some of its keys."""

from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from tools.errors import ConfigurationError
from tools.specs.base import SpecSourceUnavailable

EVERY_REMOTE = ("url", "token", "token_file", "timeout", "ca_file", "networks", "flags")
TAKES: Mapping[str, tuple[str, ...]] = {
    "folder": ("path",),
    "memory": (),
    "github": (*EVERY_REMOTE, "repository", "path", "ref", "label"),
    "gitlab": (*EVERY_REMOTE, "repository", "path", "ref", "label"),
    "https": (*EVERY_REMOTE, "pages", "hosts"),
    "jira": (*EVERY_REMOTE, "user", "jql", "data_center"),
    "confluence": (*EVERY_REMOTE, "user", "space", "pages", "data_center"),
    "notion": (*EVERY_REMOTE, "data_source", "flag_property", "pages"),
    "google_docs": (*EVERY_REMOTE, "service_account_file", "folder", "pages"),
}


class BadSpecSource(ConfigurationError):
    """A spec source that can't be used as it is set; `field` is the key that is wrong or missing."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class SpecSourceOptions(BaseModel):
    """A source of specs. `type` says which keys mean something.

    `url` is where a service of one's own is; `token`, or the content of `token_file`, which is read anew for each
    request, is sent to that service alone. `networks` are private networks that its host may be in; without them none
    is ever asked. `flags` names the document of each flag by its address; other documents name their flag themselves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: str = "folder"
    path: str | None = None
    url: str | None = None
    user: str | None = None
    token: SecretStr | None = None
    token_file: Path | None = None
    service_account_file: Path | None = None
    timeout: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(minutes=2))] = timedelta(seconds=15)
    ca_file: Path | None = None
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hosts: tuple[str, ...] = ()
    repository: str | None = None
    ref: str | None = None
    label: str | None = None
    jql: str | None = None
    space: str | None = None
    data_center: bool = False
    data_source: str | None = None
    flag_property: Annotated[str, Field(min_length=1)] = "Flag"
    folder: str | None = None
    pages: tuple[str, ...] = ()
    flags: dict[str, str] = Field(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise ValueError("write an address such as https://git.example.com") from None
        if parsed.scheme not in ("https", "http") or not parsed.host:
            raise ValueError("write an address such as https://git.example.com")
        if parsed.userinfo or parsed.query:
            raise ValueError("write the address alone; what gets in is the source's token")
        return url.rstrip("/")

    def check_fields(self) -> None:
        """Raise BadSpecSource for a type that there is not, a key that the type has not, and http in the open."""
        if self.type not in TAKES:
            raise BadSpecSource(f"A spec source is one of {', '.join(TAKES)}, not {self.type!r}.", field="type")
        for field in sorted(self.model_fields_set - {"type"}):
            if field not in TAKES[self.type]:
                known = ", ".join(TAKES[self.type]) or "none"
                raise BadSpecSource(f"A spec source of type {self.type!r} has no {field}; it has {known}.", field=field)
        if self.url is not None and self.url.startswith("http://") and not self.networks:
            raise BadSpecSource(
                "Specs are read over https; http is only for a host in one of the source's own networks.", field="url"
            )

    def needs(self, field: str, example: str) -> str:
        """The text under that key. Raises BadSpecSource where there is none."""
        value = getattr(self, field)
        if not isinstance(value, str) or not value:
            raise BadSpecSource(
                f"A spec source of type {self.type!r} needs its {field}, such as {example}.", field=field
            )
        return value

    def secret(self) -> str | None:
        """The token as it is now, None where there is none. Raises SpecSourceUnavailable for a file without one."""
        if self.token_file is None:
            return None if self.token is None else _sendable(self.token.get_secret_value(), "token")
        try:
            found = self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            found = ""
        if not found:
            raise SpecSourceUnavailable(f"The token_file {self.token_file} can't be read or is empty; see its path.")
        return _sendable(found, "token_file")


def _sendable(token: str, field: str) -> str:
    if not (token.isascii() and token.isprintable()):
        raise SpecSourceUnavailable(f"The source's {field} has no token that a header can have; copy it again.")
    return token
