"""Several spec sources as one, asked in the order in which the settings have them."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from tools.specs.base import LinkedSpecs, ListedSpecs, Spec, SpecNotFound, SpecSource, SpecSourceUnavailable, close

NOT_LISTED = "specs_not_listed"

log = structlog.get_logger(__name__)


class SpecSources:
    """The first source that has a flag's spec answers for it; one that can't be asked is not passed over.

    For nobody knows whether it has the spec that comes first.
    """

    def __init__(self, sources: Mapping[str, SpecSource]) -> None:
        self.sources = dict(sources)

    async def read(self, flag: str) -> Spec:
        """The spec of a flag. Raises SpecNotFound, InvalidSpec, SpecSourceUnavailable."""
        missing = list[str]()
        for source in self.sources.values():
            try:
                return await source.read(flag)
            except SpecNotFound as error:
                missing.append(str(error))
        raise SpecNotFound(" ".join(missing))

    async def list(self) -> Sequence[str]:
        """The flags that have a spec in a source that can be asked. Raises SpecSourceUnavailable where none can."""
        listings = await asyncio.gather(*map(_listed, self.sources.values()))
        errors = [one for one in listings if isinstance(one, SpecSourceUnavailable)]
        if errors and len(errors) == len(listings):
            raise errors[0]
        for error in errors:
            log.warning(NOT_LISTED, reason=str(error))
        return sorted({flag for one in listings if not isinstance(one, SpecSourceUnavailable) for flag in one})

    async def check(self) -> None:
        """Return when every source can be read. Raises SpecSourceUnavailable of the first that can't."""
        for source in self.sources.values():
            await source.check()

    def has(self, address: str) -> bool:
        """Whether a source has documents at such addresses."""
        return any(isinstance(source, LinkedSpecs) and source.has(address) for source in self.sources.values())

    async def read_at(self, address: str, flag: str) -> Spec:
        """The flag's spec at that address, by the first source that has such. Raises as `read`."""
        holders = [one for one in self.sources.values() if isinstance(one, LinkedSpecs) and one.has(address)]
        # Of sources that can all read it, another may be the one that knows what stands beside it.
        holders.sort(key=lambda one: not (isinstance(one, ListedSpecs) and one.lists(address, flag)))
        missing = list[str]()
        for source in holders:
            try:
                return await source.read_at(address, flag)
            except SpecNotFound as error:
                missing.append(str(error))
        raise SpecNotFound(" ".join(missing) or "No spec source has documents at such an address.")

    async def close(self) -> None:
        """Let go of every source's connections."""
        for source in self.sources.values():
            await close(source)


async def _listed(source: SpecSource) -> Sequence[str] | SpecSourceUnavailable:
    try:
        return await source.list()
    except SpecSourceUnavailable as error:
        return error
