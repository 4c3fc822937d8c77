"""The document that a person names in their words as a flag's spec. An address counts only where a source has such."""

import html
import re

import httpx

from tools.errors import InvalidInput
from tools.specs.base import LinkedSpecs, SpecSource

MOST = 10
_ADDRESS = re.compile(r"https://[^\s<>|\"']+")


class SeveralSpecs(InvalidInput):
    """The words name several documents; a plan rests on one."""


def linked(words: str, specs: SpecSource) -> tuple[str | None, list[str]]:
    """The address that is meant, None for none, and sentences on those that nothing was read from.

    Raises SeveralSpecs.
    """
    found = dict.fromkeys(html.unescape(one).rstrip(".,;:!?)]}*_`") for one in _ADDRESS.findall(words)[:MOST])
    known = [one for one in found if isinstance(specs, LinkedSpecs) and specs.has(one)]
    if len(known) > 1:
        raise SeveralSpecs(f"Your words name several documents: {' and '.join(known)}. Name the one that is the spec.")
    strange = dict.fromkeys(_host(one) for one in found if one not in known)
    notes = [f"{host} is none of the sources in specs.sources, so nothing was read from there." for host in strange]
    return (known[0] if known else None), notes


def _host(address: str) -> str:
    try:
        return httpx.URL(address).host[:100] or "That address"
    except httpx.InvalidURL:
        return "That address"
