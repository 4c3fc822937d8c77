"""A small language of rules for JSON, which complains in Slack's words.

A rule takes a value, a JSON pointer to it and the surroundings, and yields one line for each thing that is wrong.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bot.workspace.records import File

Surface = Literal["message", "modal", "home"]


@dataclass(frozen=True)
class Surroundings:
    """What a rule may need to know: where the blocks will stand, and the workspace's files by id."""

    surface: Surface
    files: Mapping[str, File] = field(default_factory=dict)


Rule = Callable[[Any, str, Surroundings], Iterator[str]]


def at(pointer: str, complaint: str) -> str:
    """A complaint with its place."""
    return f"{complaint} [json-pointer:{pointer}]"


def string(*, most: int | None = None, least: int = 1) -> Rule:
    """A string of `least` to `most` characters."""

    def check(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
        if not isinstance(value, str):
            yield at(pointer, "must provide a string")
        elif len(value) < least:
            yield at(pointer, f"must be more than {least - 1} characters")
        elif most is not None and len(value) > most:
            yield at(pointer, f"must be less than {most + 1} characters")

    return check


def url(*, most: int = 3000) -> Rule:
    """An http or https address."""
    length = string(most=most)

    def check(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
        complaints = list(length(value, pointer, around))
        yield from complaints
        if not complaints and not value.startswith(("http://", "https://")):
            yield at(pointer, "must be a valid url")

    return check


def boolean(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
    """True or false."""
    if not isinstance(value, bool):
        yield at(pointer, "must provide a boolean")


def number(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
    """A number, not a boolean."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        yield at(pointer, "must provide a number")


def whole(*, least: int, most: int | None = None) -> Rule:
    """A whole number from `least` to `most`."""

    def check(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int):
            yield at(pointer, "must provide an integer")
        elif value < least:
            yield at(pointer, f"must be more than {least - 1}")
        elif most is not None and value > most:
            yield at(pointer, f"must be less than {most + 1}")

    return check


def one_of(*allowed: str) -> Rule:
    """One of the given strings."""

    def check(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
        if value not in allowed:
            yield at(pointer, "must be a valid enum value")

    return check


def matching(pattern: str, complaint: str) -> Rule:
    """A string that fully matches a regular expression."""
    compiled = re.compile(pattern)

    def check(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            yield at(pointer, complaint)

    return check


def array(item: Rule, *, most: int | None = None, least: int = 1) -> Rule:
    """An array of `least` to `most` items that each satisfy `item`."""

    def check(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
        if not isinstance(value, list):
            yield at(pointer, "must provide an array")
            return
        if len(value) < least:
            yield at(pointer, f"no fewer than {least} items allowed" if least > 1 else "must contain at least 1 item")
        if most is not None and len(value) > most:
            yield at(pointer, f"no more than {most} items allowed")
        for index, element in enumerate(value):
            yield from item(element, f"{pointer}/{index}", around)

    return check


def obj(required: Mapping[str, Rule] | None = None, optional: Mapping[str, Rule] | None = None, *extra: Rule) -> Rule:
    """An object with these fields and no others; `extra` rules see the whole object once its fields are in order."""
    needed, allowed = dict(required or {}), {**(required or {}), **(optional or {})}

    def check(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
        if not isinstance(value, dict):
            yield at(pointer, "must provide an object")
            return
        sound = True
        for name in needed:
            if name not in value:
                sound = False
                yield at(pointer, f"missing required field: {name}")
        for name, content in value.items():
            rule = allowed.get(name)
            lines = [at(pointer, f"invalid additional property: {name}")] if rule is None else None
            for line in lines or (rule(content, f"{pointer}/{name}", around) if rule else ()):
                sound = False
                yield line
        if sound:
            for rule in extra:
                yield from rule(value, pointer, around)

    return check


def either(*names: str) -> Rule:
    """An object with at least one of these fields."""

    def check(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
        if not any(value.get(name) for name in names):
            yield at(pointer, "must define either " + " or ".join(f"`{name}`" for name in names))

    return check


def exactly_one(*names: str) -> Rule:
    """An object with one of these fields and not two."""

    def check(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
        count = sum(name in value for name in names)
        if count != 1:
            choice = " or ".join(f"`{name}`" for name in names)
            yield at(pointer, f"must define either {choice}" if count == 0 else f"must define only one of {choice}")

    return check


def typed(rules: Mapping[str, Rule]) -> Rule:
    """An object whose `type` names the rule for the whole of it."""

    def check(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
        if not isinstance(value, dict):
            yield at(pointer, "must provide an object")
            return
        kind = value.get("type")
        if kind is None:
            yield at(pointer, "missing required field: type")
        elif not isinstance(kind, str) or kind not in rules:
            yield at(f"{pointer}/type", f"unsupported type: {kind}")
        else:
            yield from rules[kind](value, pointer, around)

    return check


def text(*, most: int, kinds: tuple[str, ...] = ("plain_text", "mrkdwn"), least: int = 1) -> Rule:
    """A text object of one of these kinds."""
    content = string(most=most, least=least)
    plain = obj({"type": one_of("plain_text"), "text": content}, {"emoji": boolean})
    mrkdwn = obj({"type": one_of("mrkdwn"), "text": content}, {"verbatim": boolean})
    rule = typed({kind: {"plain_text": plain, "mrkdwn": mrkdwn}[kind] for kind in kinds})

    def check(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
        complaints = list(rule(value, pointer, around))
        if complaints and len(kinds) > 1:
            yield at(pointer, "failed to match all allowed schemas")
        yield from complaints

    return check


def plain(*, most: int, least: int = 1) -> Rule:
    """A plain_text object."""
    return text(most=most, least=least, kinds=("plain_text",))


def only_on(surfaces: tuple[Surface, ...], rule: Rule) -> Rule:
    """`rule`, but only where the block is supported."""

    def check(value: Any, pointer: str, around: Surroundings) -> Iterator[str]:
        if around.surface in surfaces:
            yield from rule(value, pointer, around)
        else:
            yield at(f"{pointer}/type", f"unsupported type: {value['type']}")

    return check
