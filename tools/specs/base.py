"""The port to a spec source, and the spec as Sluice understands it."""

import re
from collections.abc import Sequence
from typing import Annotated, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from tools.errors import InvalidInput, NotFound, Unavailable
from tools.gates import Direction
from tools.specs.visible import seen


class SpecNotFound(NotFound):
    """No spec names that flag; the message says where specs were looked for."""


class InvalidSpec(InvalidInput):
    """The spec can't be understood; the message names the file and the field."""


class SpecSourceUnavailable(Unavailable):
    """The spec source can't be read."""


_HASHES = re.compile(r"^```operations\n.*?^```$", re.MULTILINE | re.DOTALL)
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
    when it is not known. `source` says where it was read: an address where it is one; `beside` where the OpenAPI
    documents that stand beside it were. `content` is the text as it was read, of which `visible` is what its readers
    see; `sha256` is of its bytes, so that a change is noticed, and of an OpenAPI document of its front matter, its
    words that are shown, and its operations. `operations` are those of such documents, each with its hash, by route:
    `POST /checkout`. `notes` are sentences on how it was read that people should know. Of what is not `whole` nobody
    could look whether something stands beside it, so that another hash is no sign of a change; two that differ in that
    alone are the same spec.
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
    beside: tuple[str, ...] = ()
    content: str
    sha256: str
    operations: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    whole: bool = Field(default=True, exclude=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]

    @property
    def visible(self) -> str:
        """The text without what is in it and not shown to readers, and without the hashes of operations."""
        return seen(_HASHES.sub("", self.content))


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


@runtime_checkable
class LinkedSpecs(Protocol):
    """A source whose documents have addresses, by which a person or an earlier plan names one."""

    def has(self, address: str) -> bool:
        """Whether that is the address of a document of this source, as far as can be told without asking."""
        ...

    async def read_at(self, address: str, flag: str) -> Spec:
        """The flag's spec at that address: as `read` gives it where it is of that, else the document alone.

        So what did not change is the same however it is read. Raises SpecNotFound, InvalidSpec, SpecSourceUnavailable.
        """
        ...


@runtime_checkable
class ListedSpecs(Protocol):
    """A source that knows what stands beside a document that it finds by itself."""

    def lists(self, address: str, flag: str) -> bool:
        """Whether the source finds what is at that address by itself, as far as can be told without asking."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A source with connections of its own."""

    async def close(self) -> None: ...


async def close(source: SpecSource) -> None:
    """Let go of the source's connections, where it holds any."""
    if isinstance(source, Closing):
        await source.close()


async def read_linked(source: SpecSource, address: str, flag: str) -> Spec:
    """The document that somebody named, as the flag's spec.

    Raises SpecNotFound where no source has such an address, and what reading it raises.
    """
    if not isinstance(source, LinkedSpecs) or not source.has(address):
        raise SpecNotFound(
            "No spec can be read from that address: it belongs to none of the sources in specs.sources, which are the "
            "only places that are ever asked."
        )
    return await source.read_at(address, flag)


async def read_again(source: SpecSource, flag: str, where: str) -> Spec:
    """The flag's spec as it is now at `where` it was read before, or wherever it has gone.

    Raises SpecNotFound, InvalidSpec, SpecSourceUnavailable.
    """
    if isinstance(source, LinkedSpecs) and source.has(where):
        try:
            return await source.read_at(where, flag)
        except SpecNotFound:
            return await source.read(flag)
    return await source.read(flag)


def wholly(spec: Spec) -> Spec:
    """The spec itself. Raises SpecSourceUnavailable where nobody could look whether something stands beside it."""
    if not spec.whole:
        raise SpecSourceUnavailable(
            f"What may stand beside {spec.source} could not be looked through; try again in a minute."
        )
    return spec
