"""The port to a spec source, and the spec as Sluice understands it."""

import re
from collections.abc import Sequence
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

from tools.errors import InvalidInput, NotFound, Unavailable
from tools.gates import Direction


class SpecNotFound(NotFound):
    """No spec names that flag; the message says where specs were looked for."""


class InvalidSpec(InvalidInput):
    """The spec can't be understood; the message names the file and the field."""


class SpecSourceUnavailable(Unavailable):
    """The spec source can't be read."""


USER_ID = re.compile(r"[UW][A-Z0-9]{2,20}")
"""How people are named who may not approve what they wrote: as the chat knows them."""


class Kpi(BaseModel):
    """A metric that the feature's owners care about, and the smallest change for the worse worth catching (a ratio)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    direction: Direction = Direction.INCREASE
    margin: Annotated[float, Field(gt=1, le=100)] | None = None


class Spec(BaseModel):
    """A feature's spec: who owns it, how risky it is, what it touches, and the text that people wrote.

    `owner` may be a person or a team. `author` is the person who wrote it, and so never approves it: a user id, None
    when it is not known. `source` says where it was read, `sha256` is of the exact bytes, so that a change is noticed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flag: str
    title: str
    owner: str | None = None
    author: str | None = None
    tags: tuple[str, ...] = ()
    kpis: tuple[Kpi, ...] = ()
    depends_on: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    body: str
    source: str
    content: str
    sha256: str


class SpecSource(Protocol):
    """Where specs are kept. Each read gives a fresh snapshot."""

    async def read(self, flag: str) -> Spec:
        """The spec of a flag. Raises SpecNotFound, InvalidSpec, SpecSourceUnavailable."""
        ...

    async def list(self) -> Sequence[str]:
        """The flags that have a spec, by name. Raises SpecSourceUnavailable."""
        ...

    async def check(self) -> None:
        """Return when the source can be read. Raises SpecSourceUnavailable saying what to do."""
        ...
