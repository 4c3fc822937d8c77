"""Prompts: versions by content, and data that can't end its own block."""

import json

from hypothesis import given
from hypothesis import strategies as st

from agent import prompts

LEAVES = st.none() | st.booleans() | st.integers() | st.text()
ANY_JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def test_a_prompts_version_is_of_its_content() -> None:
    system, turn = prompts.load("system"), prompts.load("turn")
    assert prompts.version(system, turn) == f"system@{system.version}+turn@{turn.version}"
    assert len(system.version) == 12
    assert system.version != turn.version


@given(ANY_JSON)
def test_no_data_can_end_its_block(value: object) -> None:
    block = prompts.as_data("spec", value)
    first, *middle, last = block.split("\n")
    assert (first, last) == ('<data kind="spec">', "</data>")
    inside = "\n".join(middle)
    assert "<" not in inside
    assert ">" not in inside
    json.loads(inside)


def test_endless_text_is_cut() -> None:
    assert len(prompts.as_data("spec", "x" * 100_000)) < 7_000
