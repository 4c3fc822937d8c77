"""What every spec source promises."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.gates import Direction
from tools.specs.base import InvalidSpec, Kpi, SpecNotFound, SpecSource
from tools.specs.folder import FolderSpecSource
from tools.specs.memory import MemorySpecSource

Put = Callable[[str, str], None]

CHECKOUT = """---
flag: new-checkout
owner: payments
tags: [revenue-critical, regulated]
kpis:
  - {metric: checkout_errors, direction: increase, margin: 2.0}
  - {metric: orders, direction: decrease}
depends_on: [new-cart]
regions: [eu]
tenants: [acme, globex]
---

# One-page checkout

Why: fewer steps. ☃
"""


@pytest.fixture(params=["folder", "memory"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[SpecSource, Put]:
    """A source, and a way to put a text where it looks."""
    if request.param == "memory":
        memory = MemorySpecSource()
        return memory, memory.put

    def write(name: str, text: str) -> None:
        (tmp_path / name).write_bytes(text.encode())

    return FolderSpecSource(tmp_path), write


async def test_every_field_is_read(shelf: tuple[SpecSource, Put]) -> None:
    source, put = shelf
    put("checkout.md", CHECKOUT)
    spec = await source.read("new-checkout")
    assert (spec.flag, spec.title, spec.owner) == ("new-checkout", "One-page checkout", "payments")
    assert spec.tags == ("revenue-critical", "regulated")
    assert spec.kpis == (
        Kpi(metric="checkout_errors", direction=Direction.INCREASE, margin=2.0),
        Kpi(metric="orders", direction=Direction.DECREASE),
    )
    assert (spec.depends_on, spec.regions, spec.tenants) == (("new-cart",), ("eu",), ("acme", "globex"))
    assert spec.body.startswith("# One-page checkout")
    assert spec.source.endswith("checkout.md")
    assert (spec.content, spec.sha256) == (CHECKOUT, hashlib.sha256(CHECKOUT.encode()).hexdigest())


async def test_each_read_is_a_fresh_snapshot(shelf: tuple[SpecSource, Put]) -> None:
    source, put = shelf
    put("a.md", "---\nflag: a\n---\n# Before\n")
    before = await source.read("a")
    put("a.md", "---\nflag: a\n---\n# After\n")
    after = await source.read("a")
    assert (before.title, after.title) == ("Before", "After")
    assert before.sha256 != after.sha256


async def test_flags_are_listed_by_name_and_other_texts_left_out(shelf: tuple[SpecSource, Put]) -> None:
    source, put = shelf
    put("z.md", "---\nflag: b\ntitle: B\n---\n")
    put("y.md", "---\nflag: a\ntitle: A\n---\n")
    put("notes.md", "# Just notes\n")
    put("broken.md", "---\nflag: [\n---\n")
    assert await source.list() == ["a", "b"]
    await source.check()


async def test_an_unknown_flag_is_answered_with_near_names(shelf: tuple[SpecSource, Put]) -> None:
    source, put = shelf
    put("checkout.md", CHECKOUT)
    with pytest.raises(SpecNotFound, match=r"'new-chekout'.*new-checkout"):
        await source.read("new-chekout")


async def test_an_unknown_flag_names_what_was_not_understood(shelf: tuple[SpecSource, Put]) -> None:
    source, put = shelf
    put("broken.md", "---\nflag: [\n---\n")
    with pytest.raises(SpecNotFound, match=r"none yet.*broken\.md.*line"):
        await source.read("a")


async def test_two_specs_of_one_flag_are_refused_and_both_named(shelf: tuple[SpecSource, Put]) -> None:
    source, put = shelf
    put("one.md", CHECKOUT)
    put("two.md", CHECKOUT)
    with pytest.raises(InvalidSpec, match=r"one\.md.*two\.md"):
        await source.read("new-checkout")


async def test_an_invalid_field_is_named_with_its_file_and_hurts_no_other_spec(shelf: tuple[SpecSource, Put]) -> None:
    source, put = shelf
    put("a.md", "---\nflag: a\nkpis:\n  - {metric: errors, margin: 0.5}\n---\n# A\n")
    put("b.md", "---\nflag: b\n---\n# B\n")
    with pytest.raises(InvalidSpec, match=r"a\.md: 'kpis\.0\.margin': .*greater than 1"):
        await source.read("a")
    assert (await source.read("b")).title == "B"
