"""Specs from a folder of Markdown, HTML and OpenAPI files, read afresh each time."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from tools.specs.base import Spec, SpecSourceUnavailable
from tools.specs.documents import LARGEST, document_of, is_readable
from tools.specs.markdown import Document, Shelf, pick, shelve

MAX_FILES = 5_000
SPEC_NOT_UNDERSTOOD = "spec_not_understood"

log = structlog.get_logger(__name__)


class FolderSpecSource:
    """The files in and below `folder`, hidden ones left out; links that lead out of it are refused."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, flag: str) -> Spec:
        """The spec of a flag. Raises SpecNotFound, InvalidSpec, SpecSourceUnavailable."""
        return await asyncio.to_thread(self._read, flag)

    async def list(self) -> Sequence[str]:
        """The flags that have a spec, by name; files that can't be understood are logged."""
        shelf = await asyncio.to_thread(self._shelf)
        for sentence in shelf.broken:
            log.warning(SPEC_NOT_UNDERSTOOD, problem=sentence)
        return sorted(shelf.by_flag)

    async def check(self) -> None:
        """Return when the folder can be read. Raises SpecSourceUnavailable saying what to do."""
        await asyncio.to_thread(self._shelf)

    def _read(self, flag: str) -> Spec:
        return pick(flag, self._shelf(), place=f"the folder {self._folder}")

    def _shelf(self) -> Shelf:
        try:
            return shelve(self._documents())
        except OSError as error:
            raise SpecSourceUnavailable(
                f"The spec folder {self._folder} can't be read ({error.strerror}); check specs.path."
            ) from error

    def _documents(self) -> Iterator[Document]:
        root = self._folder.resolve(strict=True)
        if not root.is_dir():
            raise SpecSourceUnavailable(f"The spec folder {self._folder} is no folder; check specs.path.")
        paths = sorted(path for path in root.rglob("*") if is_readable(path.relative_to(root).as_posix()))
        if len(paths) > MAX_FILES:
            raise SpecSourceUnavailable(
                f"The spec folder {self._folder} holds more than {MAX_FILES} files; name one that holds only specs."
            )
        for path in paths:
            source = (self._folder / path.relative_to(root)).as_posix()
            if (document := _document(path, root, source)) is not None:
                yield document


def _document(path: Path, root: Path, source: str) -> Document | None:
    try:
        target = path.resolve(strict=True)
        if not target.is_relative_to(root):
            return Document(source, problem="it is a link that leads out of the folder")
        if not target.is_file():
            return Document(source, problem="it is no file")
        with target.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, RuntimeError) as error:
        return Document(source, problem=f"it can't be read ({getattr(error, 'strerror', None) or error})")
    return document_of(source, content, path=path.name)
