"""YAML that is more than plain data, or too much of it, is refused before anything is made of it."""

import itertools
from datetime import date
from typing import Any

import pytest
import yaml

from tools.specs.documents import document_of
from tools.specs.yaml_text import DEEPEST, LONGEST_NUMBER, MOST_EVENTS, load_yaml

BOMB = "a: &a [x, x]\n" + "".join(f"{name}: &{name} [*{of}, *{of}]\n" for of, name in itertools.pairwise("abcdefgh"))


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("flag: a\nshare: 5\nsince: 2026-03-01\n", {"flag": "a", "share": 5, "since": date(2026, 3, 1)}),
        ("%YAML 1.2\n---\n{a: [1, 2.5, yes, null, '1']}", {"a": [1, 2.5, True, None, "1"]}),
        ("- &named x\n- y", ["x", "y"]),
        ("1" * LONGEST_NUMBER, int("1" * LONGEST_NUMBER)),
        ("=: 1\n'<<': 2\n1: 3\n'1': 4", {"=": 1, "<<": 2, 1: 3, "1": 4}),
        ("", None),
    ],
)
def test_plain_data_is_read(text: str, data: Any) -> None:
    assert load_yaml(text) == data


def test_as_many_levels_as_are_allowed_are_read() -> None:
    found, levels = load_yaml("[" * DEEPEST + "]" * DEEPEST), 0
    while found is not None:
        found, levels = found[0] if found else None, levels + 1
    assert levels == DEEPEST


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, r"aliases \(\*name\) are not allowed"),
        ("[" * (DEEPEST + 1), "more than 100 levels"),
        ("[" * 100_000, "more than 100 levels"),
        ("{a: " * 100_000, "more than 100 levels"),
        ("- " * 100_000, "more than 100 levels"),
        ("? " * 100_000, "more than 100 levels"),
        ("[" + ",".join(["1"] * (MOST_EVENTS + 1)) + "]", "more than 200,000 values"),
        ("--- a\n" * MOST_EVENTS, "more than 200,000 values"),
        ("%TAG !a! a\n" * 100_000 + "--- a", r"tags \(%TAG\) are not allowed"),
        ("a: !!timestamp never", r"tags \(!name\) are not allowed"),
        ("a: !!bool maybe", r"tags \(!name\) are not allowed"),
        ("!!python/object:os.system {}", r"tags \(!name\) are not allowed"),
        ("a: 1" + ":1" * LONGEST_NUMBER, "a number is too long"),
        ("? [a]\n: b", "a key is no text"),
        ("a: 1\na: 2", "'a' is there twice"),
        ("a: 1\n'a': 2", "'a' is there twice"),
        ("1: a\n0x1: b", "'0x1' is there twice"),
        ("true: a\nyes: b", "'yes' is there twice"),
        ("<<: {b: 1}\na: 2", r"merging \(<<\) is not allowed"),
        ("a: {<<: [{b: 1}]}", r"merging \(<<\) is not allowed"),
    ],
    ids=range(20),
)
def test_what_is_not_plain_is_refused(text: str, says: str) -> None:
    with pytest.raises(yaml.YAMLError, match=says):
        load_yaml(text)


@pytest.mark.parametrize("hostile", [BOMB, "paths: " + "[" * 50_000])
def test_a_hostile_api_is_a_document_with_a_problem(hostile: str) -> None:
    document = document_of("shop.yaml", f"openapi: 3.1.0\n{hostile}".encode(), path="shop.yaml")
    assert document is not None
    assert document.problem is not None
    assert "neither JSON nor plain YAML" in document.problem
