"""Several sources as one, in the order of the settings."""

import pytest

from tests.contract.specs.conftest import remote
from tests.contract.specs.fakes import FakeGitHub
from tools.specs.base import InvalidSpec, Spec, SpecNotFound, SpecSource, SpecSourceUnavailable, close, read_again
from tools.specs.composite import SpecSources
from tools.specs.memory import MemorySpecSource


def text(flag: str, title: str) -> str:
    return f"---\nflag: {flag}\n---\n# {title}\n"


API = '{"openapi": "3.1.0", "x-sluice": {"flag": "a"}, "paths": {"/pay": {"get": {}}}}'


def repository(files: dict[str, str], path: str) -> SpecSource:
    return remote(FakeGitHub(files=files), type="github", repository="acme/shop", path=path)


class Wiki(MemorySpecSource):
    """A source whose documents have addresses, and that may be away."""

    def __init__(self, host: str, texts: dict[str, str]) -> None:
        super().__init__(texts)
        self.host = host
        self.away = False
        self.closed = False

    async def read(self, flag: str) -> Spec:
        if self.away:
            raise SpecSourceUnavailable(f"{self.host} is away.")
        return await super().read(flag)

    async def list(self) -> list[str]:
        if self.away:
            raise SpecSourceUnavailable(f"{self.host} is away.")
        return [*await super().list()]

    async def check(self) -> None:
        await self.list()

    def has(self, address: str) -> bool:
        return address.startswith(f"https://{self.host}/")

    async def read_at(self, address: str, flag: str) -> Spec:
        return await self.read(flag)

    async def close(self) -> None:
        self.closed = True


async def test_the_first_that_has_the_spec_answers() -> None:
    first = MemorySpecSource({"a.md": text("a", "First")})
    sources = SpecSources({"one": first, "two": MemorySpecSource({"a.md": text("a", "2nd"), "b.md": text("b", "B")})})
    assert (await sources.read("a")).title == "First"
    assert (await sources.read("b")).title == "B"
    assert await sources.list() == ["a", "b"]
    with pytest.raises(SpecNotFound, match=r"near|specs for"):
        await sources.read("c")


async def test_a_spec_that_is_broken_in_the_first_is_not_looked_for_in_the_next() -> None:
    broken = MemorySpecSource({"a.md": "---\nflag: a\nfalg: b\n---\n# A\n"})
    with pytest.raises(InvalidSpec):
        await SpecSources({"one": broken, "two": MemorySpecSource({"a.md": text("a", "A")})}).read("a")


async def test_a_source_that_can_not_be_asked_is_not_passed_over() -> None:
    wiki = Wiki("wiki.example.com", {})
    sources = SpecSources({"wiki": wiki, "folder": MemorySpecSource({"a.md": text("a", "A")})})
    wiki.away = True
    with pytest.raises(SpecSourceUnavailable, match="is away"):
        await sources.read("a")
    with pytest.raises(SpecSourceUnavailable, match="is away"):
        await sources.check()
    assert await sources.list() == ["a"]


async def test_a_listing_fails_where_no_source_can_be_asked() -> None:
    wiki = Wiki("wiki.example.com", {})
    wiki.away = True
    with pytest.raises(SpecSourceUnavailable):
        await SpecSources({"wiki": wiki}).list()


async def test_an_address_is_read_from_the_source_that_has_such() -> None:
    one, two = Wiki("a.example.com", {}), Wiki("b.example.com", {"a.md": text("a", "A")})
    sources = SpecSources({"folder": MemorySpecSource(), "one": one, "two": two})
    assert sources.has("https://b.example.com/x")
    assert not sources.has("https://c.example.com/x")
    assert (await sources.read_at("https://b.example.com/x", "a")).title == "A"
    with pytest.raises(SpecNotFound):
        await sources.read_at("https://a.example.com/x", "a")
    with pytest.raises(SpecNotFound, match="No spec source"):
        await sources.read_at("https://c.example.com/x", "a")


async def test_a_spec_of_a_later_source_is_read_again_whole_though_an_earlier_one_can_read_its_document_too() -> None:
    files = {"api/pay.json": API, "api/pay.md": text("a", "A"), "b/b.md": text("b", "B")}
    sources = SpecSources({path: repository(files, path) for path in ("b", "api")})
    first = await sources.read("a")
    assert first.operations.keys() == {"GET /pay"}
    assert await read_again(sources, "a", first.source) == first
    other = await sources.read_at("https://github.com/acme/shop/blob/HEAD/b/b.md", "b")
    assert (other.title, other.operations) == ("B", {})


async def test_every_source_is_closed() -> None:
    wiki = Wiki("a.example.com", {})
    await close(SpecSources({"folder": MemorySpecSource(), "wiki": wiki}))
    assert wiki.closed
