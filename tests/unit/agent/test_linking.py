"""Addresses in a person's words: one of a source's is the spec, any other is left alone and said."""

import pytest

from agent.planning.linking import SeveralSpecs, linked
from tools.specs.base import Spec
from tools.specs.memory import MemorySpecSource

HERE = "https://specs.example.com/checkout"


class Linked(MemorySpecSource):
    """Specs at addresses of one host."""

    def has(self, address: str) -> bool:
        return address.startswith("https://specs.example.com/")

    async def read_at(self, address: str, flag: str) -> Spec:
        raise AssertionError("nothing is read to understand words")


@pytest.mark.parametrize(
    "words",
    [
        f"plan new-checkout from {HERE}",
        f"plan it from {HERE}.",
        f"plan (see {HERE})",
        f"plan from <{HERE}>",
        f"plan from <{HERE}|the spec>",
        f"plan from {HERE} and again {HERE}",
    ],
)
def test_the_document_that_is_named(words: str) -> None:
    assert linked(words, Linked()) == (HERE, [])


def test_an_address_of_no_source_is_said_and_not_read() -> None:
    found, notes = linked(f"plan from {HERE}?a=1&amp;b=2, see https://grafana.example.org/d/1?token=secret", Linked())
    assert found == f"{HERE}?a=1&b=2"
    assert notes == ["grafana.example.org is none of the sources in specs.sources, so nothing was read from there."]
    assert linked("https://169.254.169.254/latest", MemorySpecSource())[0] is None


@pytest.mark.parametrize(
    "words", ["", "plan new-checkout", "http://specs.example.com/a", "specs.example.com/a", "https://"]
)
def test_other_words_name_none(words: str) -> None:
    assert linked(words, Linked()) == (None, [])


def test_several_documents_are_asked_about() -> None:
    with pytest.raises(SeveralSpecs, match="several documents"):
        linked(f"{HERE} and https://specs.example.com/cart", Linked())
