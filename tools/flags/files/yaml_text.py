"""YAML as text that is edited in place.

Read as YAML 1.2, as Go's libraries do: `on` and `off` are text there, and so is what looks like a date.
"""

import json
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import yaml  # type: ignore[import-untyped]

from tools.flags.files.text import Change, NotReadable

_ALIAS = re.compile(r"\*[^\s,\[\]{}]+")
_BARE = re.compile(r"~|[-+]?\.?\w(?:[\w.+-]|[:/](?=\w)| +(?=[\w+-]))*")
"""What needs no quotes, also inside of brackets."""
_LONE_RETURN = re.compile(r"\r(?!\n)")
_UNUSUAL = re.compile(rf"(?:^|[\s,:\[{{])(?:&[^\s,\[\]{{}}]|\?\s)|[|>][1-9]?\+|{_LONE_RETURN.pattern}", re.MULTILINE)
BYTE_ORDER_MARK = "\ufeff"
LONGEST_LINE = 10_000
_TAG = "tag:yaml.org,2002:"
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
        list("-+0123456789."),
    ),
    "merge": (r"<<", ["<"]),
}


class _Loader(_Base):  # type: ignore[misc]
    """Plain data of YAML 1.2's core schema; names are text, each once."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._flat = set[Any]()

    def flatten_mapping(self, node: Any) -> None:
        # It is for good, and puts what is merged beside what overrides it: each name is there once only before.
        if node in self._flat:
            return
        self._flat.add(node)
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise NotReadable(f"it has {twice[0]!r} twice, at line {node.start_mark.line + 1} or below")
        super().flatten_mapping(node)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise NotReadable(f"a value has the tag of another kind at line {node.start_mark.line + 1}")
        self.flatten_mapping(node)
        found = dict[str, Any]()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise NotReadable(f"a name is no text at line {key.start_mark.line + 1}")
            found[str(key.value)] = self.construct_object(value, deep=True)
        return found


class _Plain(str):
    """What was written without quotes, such as 2026-01-01 or 0777, and our value of it: others may read another."""

    value: Any

    def __new__(cls, written: str, value: Any) -> "_Plain":
        self = super().__new__(cls, written)
        self.value = value
        return self


class _Tagged(str):
    """Text whose tag makes something of it that JSON does not have."""

    tag: str

    def __new__(cls, text: str, tag: str) -> "_Tagged":
        self = super().__new__(cls, text)
        self.tag = tag
        return self


class _WrittenLoader(_Loader):
    """The same data, where values and names without quotes or a tag are `_Plain`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = text

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        found = super().construct_mapping(node, deep)
        names = {str(key.value): self._written(key, str(key.value)) for key, _ in node.value}
        return {names[name]: value for name, value in found.items()}

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        value = super().construct_object(node, deep)
        return self._written(node, value) if isinstance(node, yaml.ScalarNode) else value

    def _written(self, node: Any, value: Any) -> Any:
        start, end = node.start_mark.index, node.end_mark.index
        is_plain = node.value and not node.style and "!" not in self._text[start : end - len(node.value)]
        return _Plain(node.value, value) if is_plain else value


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes whatever YAML 1.1 or 1.2 would not read as text, but for what was written without quotes."""


def _construct_mapping(loader: Any, node: Any) -> dict[str, Any]:
    return loader.construct_mapping(node)  # type: ignore[no-any-return]


def _construct_int(loader: Any, node: Any) -> int:
    written = str(loader.construct_scalar(node)).lower()
    return int(written, 8 if written.startswith("0o") else 16 if written.startswith("0x") else 10)


def _construct_float(loader: Any, node: Any) -> Any:
    number = loader.construct_yaml_float(node)
    return number if math.isfinite(number) else _construct_tagged(loader, node)


def _construct_list(loader: Any, node: Any) -> list[Any]:
    return loader.construct_sequence(node, deep=True)  # type: ignore[no-any-return]


def _construct_tagged(loader: Any, node: Any) -> _Tagged:
    return _Tagged(loader.construct_scalar(node), node.tag)


def _represent_plain(dumper: Any, text: _Plain) -> Any:
    return dumper.represent_scalar(dumper.resolve(yaml.ScalarNode, text, (True, False)), str(text))


def _represent_tagged(dumper: Any, text: _Tagged) -> Any:
    # The tag is left out where the text has no quotes and some YAML reads it so.
    return dumper.represent_scalar(text.tag, str(text), style='"')


_CONSTRUCTORS = {
    "map": _construct_mapping,
    "set": _construct_mapping,
    "omap": _construct_list,
    "pairs": _construct_list,
    "int": _construct_int,
    "float": _construct_float,
    "binary": _construct_tagged,
    "timestamp": _construct_tagged,
}
for _name, (_pattern, _first) in _SCALARS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _first)
for _name, _construct in _CONSTRUCTORS.items():
    _Loader.add_constructor(f"{_TAG}{_name}", _construct)
_Dumper.add_representer(_Plain, _represent_plain)
_Dumper.add_representer(_Tagged, _represent_tagged)


class YamlText:
    """YAML 1.2, one document."""

    def parsed(self, text: str) -> Any:
        try:
            return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader of our own
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
            why = getattr(error, "problem", None) or type(error).__name__
            raise NotReadable(f"it is no YAML{where} ({why})") from None
        except (ValueError, LookupError, RecursionError):
            raise NotReadable("it has a value that is none, or is nested too deeply") from None

    def changes(self, text: str, path: Sequence[str], value: Mapping[str, Any]) -> Sequence[Change]:
        # Marks do not count the byte order mark.
        body = text.removeprefix(BYTE_ORDER_MARK)
        beyond = len(text) - len(body)
        found = _entry_differences(body, path, self.parsed(body), value)
        return [(start + beyond, end + beyond, replacement) for start, end, replacement in found]

    def apart(self, text: str, path: Sequence[str]) -> str:
        body = text.removeprefix(BYTE_ORDER_MARK)
        root = yaml.compose(body, Loader=_Loader)
        member = _members(_node_at(root, path[:-1])).get(path[-1])
        if member is None:
            return text
        name, node = member
        within = range(name.start_mark.index, _end(body, node, name.end_mark.index))
        try:
            copies = list(_copies(body, _by_start(root), within))
        except (NotReadable, RecursionError):
            return text
        result, done = text[: len(text) - len(body)], 0
        for start, end, copy in copies:
            result += body[done:start] + copy
            done = end
        return result + body[done:]

    def rewritten(self, text: str, path: Sequence[str], value: Mapping[str, Any]) -> Iterable[str]:
        body = text.removeprefix(BYTE_ORDER_MARK)
        mark = text[: len(text) - len(body)]
        whole = yaml.load(body, Loader=_WrittenLoader)  # noqa: S506 - a safe loader of our own
        around = _value_at(whole, path[:-1])
        wanted = _as_written(around[path[-1]], value)
        for one in (body, _LONE_RETURN.sub("\n", body), self.apart(body, path)):
            yield mark + _with_block(one, path, wanted)
        around[path[-1]] = wanted
        yield mark + "\n".join([*_block(whole, 0), ""])

    def doubtful(self, text: str, path: Sequence[str]) -> frozenset[str]:
        if _UNUSUAL.search(text) is None:
            return frozenset()
        body = text.removeprefix(BYTE_ORDER_MARK)
        root = yaml.compose(body, Loader=_Loader)
        node, value = _node_at(root, path), _value_at(self.parsed(body), path)
        if not isinstance(value, dict):
            return frozenset()
        return frozenset(value if _is_lent(body, root, node) else _doubtful(body, node))


def _entry_differences(text: str, path: Sequence[str], document: Any, value: Mapping[str, Any]) -> Iterable[Change]:
    """What makes the mapping at `path` into `value`."""
    present, parent = _value_at(document, path), _node_at(yaml.compose(text, Loader=_Loader), path[:-1])
    member = _members(parent).get(path[-1])
    if member is None:
        around = _value_at(document, path[:-1])
        return [] if parent is None else _differences(text, parent, around, {**around, path[-1]: value})
    name, node = member
    if node.start_mark.index >= name.end_mark.index:
        return _differences(text, node, present, value)
    # An alias becomes a value of its own; what it stood for stays.
    if parent.flow_style:
        return [(*_alias(text, name.end_mark.index), _flowing(value))]
    return _replacement(text, (name, node), present, value, name.start_mark.column)


def _with_block(text: str, path: Sequence[str], value: Mapping[str, Any]) -> str:
    """The text in which the member at `path` is written anew as a whole, and all else stays."""
    parent = _node_at(yaml.compose(text, Loader=_Loader), path[:-1])
    member = _members(parent).get(path[-1])
    if member is None:
        return text
    name, node = member
    start, end = name.start_mark.index, _end(text, node, name.end_mark.index)
    if parent.flow_style:
        return f"{text[:start]}{_flowing(path[-1])}: {_flowing(value)}{text[end:]}"
    block = _newline(text).join(_block({path[-1]: value}, name.start_mark.column)).lstrip(" ")
    return text[:start] + block + text[end:]


def _node_at(node: Any, path: Sequence[str]) -> Any:
    """None where it is merged from elsewhere."""
    for name in path:
        node = _members(node).get(name, (None, None))[1]
    return node


def _value_at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value[name]
    return value


def _is_lent(text: str, root: Any, node: Any) -> bool:
    """Whether the mapping as a whole is also elsewhere, or merged from there."""
    if not isinstance(node, yaml.MappingNode):
        return True
    nodes, around = _by_start(root), set[str]()
    for token in yaml.scan(text, Loader=_Loader):
        at = token.start_mark.index
        if isinstance(token, yaml.AnchorToken) and at in nodes and at <= node.start_mark.index:
            if nodes[at].end_mark.index >= node.end_mark.index:
                around.add(token.value)
        elif isinstance(token, yaml.AliasToken) and token.value in around:
            return True
    return False


def _by_start(root: Any) -> dict[int, Any]:
    """The nodes by where they begin, anchors and all."""
    found, ahead = dict[int, Any](), [root]
    while ahead:
        node = ahead.pop()
        if found.setdefault(node.start_mark.index, node) is node and isinstance(node, yaml.CollectionNode):
            for one in node.value:
                ahead += one if isinstance(one, tuple) else [one]
    return found


def _copies(text: str, nodes: Mapping[int, Any], within: range) -> Iterable[Change]:
    """What makes the aliases elsewhere, of anchors within, into copies."""
    anchored, tagged_at, loader = dict[str, Any](), None, _WrittenLoader(text)
    for token in yaml.scan(text, Loader=_Loader):
        at = token.start_mark.index
        if isinstance(token, yaml.AnchorToken) and at in within:
            anchored[token.value] = nodes.get(at if tagged_at is None else tagged_at)
        elif isinstance(token, yaml.AliasToken) and at not in within and anchored.get(token.value) is not None:
            yield at, token.end_mark.index, _flowing(loader.construct_document(anchored[token.value]))
        tagged_at = at if isinstance(token, yaml.TagToken) else None


def _doubtful(text: str, node: Any) -> Iterable[str]:
    """The members of the mapping at `node` that are written unusually, or have anchors whose aliases are elsewhere."""
    names = [str(name.value) for name, _ in node.value]
    starts = [name.start_mark.index for name, _ in node.value]

    def member_at(at: int) -> str | None:
        return names[bisect_right(starts, at) - 1] if starts and starts[0] <= at < node.end_mark.index else None

    if _LONE_RETURN.search(text):
        yield from names
    owners = dict[str, str | None]()
    for token in yaml.scan(text, Loader=_Loader):
        member = member_at(token.start_mark.index)
        if isinstance(token, yaml.AnchorToken):
            owners[token.value] = member
        elif isinstance(token, yaml.AliasToken) and (owner := owners.get(token.value)) not in (None, member):
            yield str(owner)
        elif member is not None and _is_unusual(text, token):
            yield member


def _is_unusual(text: str, token: Any) -> bool:
    """Whether it is a name behind a question mark, or a text that keeps the empty lines behind it."""
    at = token.start_mark.index
    if isinstance(token, yaml.ScalarToken):
        return token.style in ("|", ">") and "+" in text[at : _end_of_line(text, at)]
    return isinstance(token, yaml.KeyToken) and text[at] == "?"


def _differences(text: str, node: Any, present: Mapping[str, Any], value: Mapping[str, Any]) -> Iterable[Change]:
    """What makes the mapping at `node`, now `present`, into `value`, which has all of its names."""
    if node.flow_style:
        start, end, written = node.start_mark.index, node.end_mark.index, _WrittenLoader(text).construct_document(node)
        yield start, end, _flowing(_as_written(written, value))
        return
    members = _members(node)
    # An anchor or a tag before the first name is part of the mapping.
    named = node.value and text[node.start_mark.index] in "&!"
    column = (node.value[0][0] if named else node).start_mark.column
    for name, wanted in value.items():
        if name in members:
            yield from _replacement(text, members[name], present[name], wanted, column)
    # What is merged from elsewhere is present without being a member.
    absent = object()
    fresh = {name: value[name] for name in value if name not in members and present.get(name, absent) != value[name]}
    if fresh:
        at = _end_of_line(text, _end(text, node, 0))
        newline = _newline(text)
        yield at, at, newline + newline.join(_block(fresh, column))


def _replacement(text: str, member: tuple[Any, Any], present: Any, wanted: Any, column: int) -> Iterable[Change]:
    name, node = member
    if present == wanted and type(present) is type(wanted):
        return
    if (
        isinstance(present, dict)
        and isinstance(wanted, Mapping)
        and present.keys() <= wanted.keys()
        and isinstance(node, yaml.MappingNode)
        and node.start_mark.index >= name.end_mark.index
    ):
        yield from _differences(text, node, present, wanted)
    elif _on_one_line(name, node) and not isinstance(wanted, Mapping | list):
        yield node.start_mark.index, node.end_mark.index, _flowing(wanted)
    else:
        block = _newline(text).join(_block({name.value: wanted}, column)).lstrip(" ")
        yield name.start_mark.index, _end(text, node, name.end_mark.index), block


def _on_one_line(name: Any, node: Any) -> bool:
    own = node.start_mark.index >= name.end_mark.index
    return own and isinstance(node, yaml.ScalarNode) and node.style not in ("|", ">") and bool(node.value)


def _members(node: Any) -> dict[str, tuple[Any, Any]]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(name.value): (name, value) for name, value in node.value}


def _end(text: str, node: Any, after: int) -> int:
    """Where the last character of a value is that stands after a place.

    A block's own mark is beyond the comments that follow it, and an alias has the marks of what it stands for.
    """
    if node.start_mark.index < after:
        return _alias(text, after)[1]
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        end: int = node.start_mark.index
        for one in node.value:
            end = _end(text, one[1], one[0].end_mark.index) if isinstance(one, tuple) else _end(text, one, end)
        return end
    end = node.end_mark.index
    return len(text[:end].rstrip("\r\n")) if getattr(node, "style", None) in ("|", ">") else end


def _alias(text: str, after: int) -> tuple[int, int]:
    """Where the alias begins and ends that stands after a place."""
    found = _ALIAS.search(text, after)
    return (after, after) if found is None else found.span()


def _end_of_line(text: str, at: int) -> int:
    found = text.find("\n", at)
    end = len(text) if found < 0 else found
    return end - 1 if text[at:end].endswith("\r") else end


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _block(value: Mapping[str, Any], column: int) -> list[str]:
    """The mapping as lines of a block that begins in the column."""
    dumped = yaml.dump(
        dict(value), Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=LONGEST_LINE
    )
    return [" " * column + line for line in dumped.splitlines()]


def _flowing(value: Any) -> str:
    """As JSON, which is YAML wherever a value may be on a line; what was written without quotes stays so if it can."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flowing(name)}: {_flowing(value[name])}" for name in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flowing, value)) + "]"
    if isinstance(value, _Plain) and _BARE.fullmatch(value):
        return str(value)
    if isinstance(value, _Tagged):
        return f"{value.tag.replace(_TAG, '!!')} {json.dumps(value, ensure_ascii=False)}"
    return json.dumps(value, ensure_ascii=False)


def _as_written(present: Any, wanted: Any) -> Any:
    """What is wanted, where what is present already stays as it is written."""
    if isinstance(present, dict) and isinstance(wanted, Mapping):
        return {name: _as_written(present.get(name), one) for name, one in wanted.items()}
    if isinstance(present, list) and isinstance(wanted, list) and len(present) == len(wanted):
        return [_as_written(*pair) for pair in zip(present, wanted, strict=True)]
    if isinstance(present, _Plain) and type(present.value) is type(wanted) and present.value == wanted:
        return present
    return wanted
