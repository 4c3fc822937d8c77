"""Specs kept in memory, as texts that tests and demonstrations put there."""

from collections.abc import Mapping, Sequence

from tools.specs.base import Spec
from tools.specs.documents import document_of
from tools.specs.markdown import Shelf, pick, shelve


class MemorySpecSource:
    """Texts by name, understood as the files of a folder are."""

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self._texts = dict(texts or {})

    def put(self, name: str, text: str) -> None:
        """Add a text, or replace the one of that name."""
        self._texts[name] = text

    async def read(self, flag: str) -> Spec:
        """The spec of a flag. Raises SpecNotFound, InvalidSpec."""
        return pick(flag, self._shelf(), place="memory")

    async def list(self) -> Sequence[str]:
        """The flags that have a spec, by name."""
        return sorted(self._shelf().by_flag)

    async def check(self) -> None:
        """Return: there is nothing that could be away."""

    def _shelf(self) -> Shelf:
        named = (document_of(name, text.encode(), path=name) for name, text in sorted(self._texts.items()))
        return shelve(document for document in named if document is not None)
