"""JSON as text that is edited in place."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Never

from tools.flags.files.text import Change, NotReadable

_SPACE = " \t\n\r"


@dataclass(frozen=True, slots=True)
class _Member:
    """Where a member's name begins, and its value begins and ends; `lead` is the space before the name."""

    name_at: int
    start: int
    end: int
    lead: str


class JsonText:
    """JSON (RFC 8259): no comments, no NaN, and no name twice in an object, which readers take differently."""

    def parsed(self, text: str) -> Any:
        try:
            return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
        except json.JSONDecodeError as error:
            raise NotReadable(f"it is no JSON at line {error.lineno}, column {error.colno} ({error.msg})") from None
        except RecursionError:
            raise NotReadable("it is nested too deeply") from None

    def changes(self, text: str, path: Sequence[str], value: Mapping[str, Any]) -> Sequence[Change]:
        start = _beyond_space(text, 0)
        for name in path:
            start = _members(text, start)[0][name].start
        return list(_differences(text, start, value))

    def apart(self, text: str, path: Sequence[str]) -> str:
        return text

    def rewritten(self, text: str, path: Sequence[str], value: Mapping[str, Any]) -> Iterable[str]:
        return ()

    def doubtful(self, text: str, path: Sequence[str]) -> frozenset[str]:
        return frozenset()


def _differences(text: str, start: int, value: Mapping[str, Any]) -> Iterable[Change]:
    """What makes the object at `start` into `value`, which has all of its names."""
    members, inside = _members(text, start)
    for name, wanted in value.items():
        if name in members:
            yield from _replacement(text, members[name], wanted)
    fresh = [(name, wanted) for name, wanted in value.items() if name not in members]
    if fresh:
        last = list(members.values())[-1] if members else None
        lead = "" if last is None else last.lead
        added = ",".join(f"{lead}{json.dumps(name)}: {json.dumps(wanted)}" for name, wanted in fresh)
        yield (inside, inside, added) if last is None else (last.end, last.end, f",{added}")


def _replacement(text: str, member: _Member, wanted: Any) -> Iterable[Change]:
    present = json.loads(text[member.start : member.end])
    if present == wanted and type(present) is type(wanted):
        return
    if isinstance(present, dict) and isinstance(wanted, Mapping) and present.keys() <= wanted.keys():
        yield from _differences(text, member.start, wanted)
    else:
        yield member.start, member.end, json.dumps(wanted)


def _members(text: str, start: int) -> tuple[dict[str, _Member], int]:
    """The members of the object whose brace is at `start`, and where it is closed. The text is known to be JSON."""
    decoder, members, at = json.JSONDecoder(), dict[str, _Member](), start + 1
    while text[name_at := _beyond_space(text, at)] != "}":
        name, after = scanstring(text, name_at + 1, True)
        value_at = _beyond_space(text, _beyond_space(text, after) + 1)
        _, end = decoder.raw_decode(text, value_at)
        members[name] = _Member(name_at, value_at, end, text[at:name_at])
        at = _beyond_space(text, end)
        if text[at] == "}":
            return members, at
        at += 1
    return members, name_at


def _beyond_space(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotReadable(f"it has {twice!r} twice in one object")
    return found


def _refuse(constant: str) -> Never:
    raise NotReadable(f"{constant} is no JSON")
