"""What the path of an address names. Pure.

Clients and servers differ in how often they unquote a path, in what parts it, and in what `..` takes away. So a path
that any of them might read as one that leads elsewhere is none here, however it is quoted.
"""

import re
from collections.abc import Sequence
from urllib.parse import quote, unquote

import httpx

_SEPARATOR = re.compile(r"[/\\]")
_DOTS = re.compile(r"\s*\.[.\s]*(;.*)?", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def stays(address: httpx.URL) -> bool:
    """Whether the path leads where it seems to: nothing in it is made of dots or has a control sign."""
    path = _unquoted(_path(address))
    return _CONTROL.search(path) is None and not any(map(_DOTS.fullmatch, _SEPARATOR.split(path)))


def parts_of(address: httpx.URL) -> Sequence[str] | None:
    """The path's parts, unquoted once; None for a path that does not stay, or with a separator inside of a part."""
    parts = [part for part in _path(address).split("/") if part]
    if not stays(address) or any(_SEPARATOR.search(_unquoted(part)) for part in parts):
        return None
    return [unquote(part) for part in parts]


def quoted(path: str) -> str:
    """A path in which every part is quoted, whatever it has."""
    return "/".join(quote(part, safe="") for part in path.split("/"))


def _path(address: httpx.URL) -> str:
    return address.raw_path.decode("ascii", "replace").split("?")[0]


def _unquoted(text: str) -> str:
    """What is left when there is nothing more to unquote."""
    while (once := unquote(text)) != text:
        text = once
    return text
