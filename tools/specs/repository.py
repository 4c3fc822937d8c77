"""What GitHub's and GitLab's repositories have in common: files by their blob's hash, and the addresses of pages."""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import httpx

from tools.specs.addresses import parts_of
from tools.specs.answers import Contents
from tools.specs.documents import document_read, is_readable, may_be_api
from tools.specs.markdown import Document
from tools.specs.options import BadSpecSource, SpecSourceOptions
from tools.specs.remote import all_of, check_count

_REPOSITORY = re.compile(r"(?!.*(^|/)\.+(/|$))[\w.-]+(/[\w.-]+)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a repository: its path, the hash of its content, and the address at which people read it."""

    path: str
    blob: str
    address: str


@dataclass(slots=True)
class Blobs:
    """Contents by their hash, which never change, so that what is read again is only what changed."""

    kept: Contents[str] = field(default_factory=Contents)

    async def read(self, blob: str, fetch: Callable[[str], Awaitable[bytes]]) -> bytes:
        """The content of that hash."""
        content = self.kept.get(blob)
        if content is None:
            content = await fetch(blob)
            self.kept.keep(blob, content)
        return content


async def documents_of(
    files: Iterable[File],
    below: str,
    place: str,
    blobs: Blobs,
    fetch: Callable[[str], Awaitable[bytes]],
    *,
    apis: bool = False,
) -> list[Document]:
    """The files below a folder that may be specs, as documents; with `apis` those that may be OpenAPI alone."""
    wanted = [file for file in files if is_wanted(file.path, below) and (may_be_api(file.path) or not apis)]
    check_count(len(wanted), place)

    async def read(file: File) -> Document | None:
        return await document_read(file.address, await blobs.read(file.blob, fetch), path=file.path)

    return [document for document in await all_of(map(read, wanted)) if document is not None]


def is_wanted(path: str, below: str) -> bool:
    """Whether it is a file below that folder, and may be a spec by its name."""
    folder = below.strip("/")
    return is_readable(path) and (not folder or path == folder or path.startswith(f"{folder}/"))


def lists_file(options: SpecSourceOptions, parts: Sequence[str]) -> bool:
    """Whether the file that the parts after `blob/` name is among those that the settings want."""
    named = file_named(parts, options.ref)
    if named is None or options.path is None:
        return False
    ref, path = named
    return ref == (options.ref or "HEAD") and is_wanted(path, options.path)


def unpacked(content: str) -> bytes | None:
    """What the API gives in Base64; None for what is none."""
    try:
        return base64.b64decode(content, validate=False)
    except (binascii.Error, ValueError):
        return None


def path_below(address: httpx.URL, root: httpx.URL, repository: str) -> Sequence[str] | None:
    """The parts of an address's path after the repository's own; None for another repository's or host's."""
    same = (address.scheme, address.host, address.port) == (root.scheme, root.host, root.port)
    before = [part for part in root.path.split("/") if part] + repository.split("/")
    parts = parts_of(address)
    if not same or parts is None or [one.lower() for one in parts[: len(before)]] != [one.lower() for one in before]:
        return None
    return parts[len(before) :]


def file_named(parts: Sequence[str], ref: str | None) -> tuple[str, str] | None:
    """The ref and the path of the file after `blob/`; a ref with slashes is told by the one that the settings name."""
    named = ref.split("/") if ref else []
    if named and list(parts[: len(named)]) == named and len(parts) > len(named):
        return "/".join(named), "/".join(parts[len(named) :])
    return (parts[0], "/".join(parts[1:])) if len(parts) > 1 else None


def check_scope(options: SpecSourceOptions) -> None:
    """Raise BadSpecSource unless the settings say where in a repository specs are."""
    repository = options.needs("repository", "acme/shop")
    if _REPOSITORY.fullmatch(repository.strip("/")) is None:
        raise BadSpecSource("Write the repository with its owner, as in acme/shop.", field="repository")
    if options.path is None and options.label is None and not options.flags:
        raise BadSpecSource(
            "Say where in the repository specs are: the path of their folder, the label of the issues that are specs, "
            "or flags with their addresses.",
            field="path",
        )
