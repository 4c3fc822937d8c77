"""Prompts are files, versioned by what is in them. What is filled in comes from outside and is marked as data."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

LONGEST_TEXT = 6000
LONGEST_KIND = 100
_NOT_PLAIN = re.compile(r"[^\w .:/-]")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's text and the first 12 hex digits of its SHA-256."""

    name: str
    text: str
    version: str

    def fill(self, **parts: str) -> str:
        """The text with its $parts filled in. Raises KeyError for a part that is missing."""
        return Template(self.text).substitute(parts)


@cache
def load(name: str) -> Prompt:
    """The prompt in the file of that name."""
    text = files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")
    return Prompt(name, text, hashlib.sha256(text.encode()).hexdigest()[:12])


def version(*prompts: Prompt) -> str:
    """One version for several prompts."""
    return "+".join(f"{prompt.name}@{prompt.version}" for prompt in prompts)


def as_data(kind: str, value: Any) -> str:
    """Something from outside as one line of JSON between marks that nothing inside can close.

    JSON has no bare `<` here, so that no text, whatever it holds, can end the block or begin another. The kind may hold
    a name that a model wrote: only what is plain in it is kept.
    """
    text = json.dumps(_shortened(value), ensure_ascii=False, default=str)
    return f'<data kind="{_NOT_PLAIN.sub("", kind)[:LONGEST_KIND]}">\n{_closed(text)}\n</data>'


def _closed(text: str) -> str:
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + " … (cut)"
    if isinstance(value, dict):
        return {str(key): _shortened(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(one) for one in value]
    return value
