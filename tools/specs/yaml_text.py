"""YAML as specs may have it: plain data, without what can grow without bound or say two things at once. Pure.

A document is looked through before anything is made of it, event by event, so that what is too deep or too much ends
early. With libyaml, which PyYAML's wheels bring, the largest document allowed takes some two seconds; without it ten.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml  # type: ignore[import-untyped]

DEEPEST = 100
MOST_EVENTS = 200_000
"""Values, keys, and beginnings and ends of lists and tables; a megabyte of OpenAPI has some 130,000."""

LONGEST_NUMBER = 1_000
_BASE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"
_TAG_LINE = re.compile(r"^%TAG", re.MULTILINE)


class _PlainLoader(_BASE):  # type: ignore[misc, valid-type]
    """Safe YAML in which no key is given twice, however written, or is a list or a table, and nothing is merged."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a key is no text", key)
            if key.tag == _MERGE:
                raise _refused("merging (<<) is not allowed", key)
        self.flatten_mapping(node)
        seen = set[Hashable]()
        for key, _ in node.value:
            made = self.construct_object(key)
            if made in seen:
                raise _refused(f"{key.value!r} is there twice", key)
            seen.add(made)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Those in base 60 take time by the square of their length."""
        if len(node.value) > LONGEST_NUMBER:
            raise _refused("a number is too long", node)
        number: int = super().construct_yaml_int(node)
        return number


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)


def load_yaml(text: str) -> Any:
    """The data. Raises yaml.YAMLError and ValueError."""
    _look_through(text)
    return yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - it is a safe one


def _look_through(text: str) -> None:
    """Raise MarkedYAMLError for what would take too long, and for what plain data does not have."""
    if _TAG_LINE.search(text):
        raise yaml.MarkedYAMLError(problem="tags (%TAG) are not allowed")
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_BASE)):
        if isinstance(event, yaml.AliasEvent):
            raise _refused("aliases (*name) are not allowed", event)
        if getattr(event, "tag", None) is not None:
            raise _refused("tags (!name) are not allowed", event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise _refused(f"more than {DEEPEST} levels are not allowed", event)
        if count > MOST_EVENTS:
            raise _refused(f"more than {MOST_EVENTS:,} values are not allowed", event)


def _refused(problem: str, where: yaml.Event | yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)
