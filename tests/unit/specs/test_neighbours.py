"""What stands beside a document is found without asking more than that takes, and nobody else's outage hides it."""

import asyncio
import json

import httpx
import pytest

from tests.contract.specs.conftest import remote
from tests.contract.specs.fakes import FakeGitHub
from tools.clock import ManualClock
from tools.specs import neighbours
from tools.specs.base import LinkedSpecs, SpecSource, SpecSourceUnavailable, close
from tools.specs.composite import SpecSources
from tools.specs.options import SpecSourceOptions
from tools.specs.registry import SpecParts, create_spec_source

ROOT = "https://specs.example.com"


def words(flag: str) -> tuple[str, str]:
    return "text/markdown", f"---\nflag: {flag}\n---\n# Words\n"


def api(flag: str, method: str = "get") -> tuple[str, str]:
    return "application/json", json.dumps(
        {"openapi": "3.1.0", "x-sluice": {"flag": flag}, "info": {"title": "Shop"}, "paths": {"/pay": {method: {}}}}
    )


class Server:
    """Pages by path; `asked` are the paths, in order.

    Those of `away` answer 503, those of `gone` 404, those of `slow` once `go` is set.
    """

    def __init__(self, pages: dict[str, tuple[str, str]]) -> None:
        self.pages = pages
        self.away = set[str]()
        self.gone = set[str]()
        self.slow = set[str]()
        self.go = asyncio.Event()
        self.asked = list[str]()
        self.clock = ManualClock()

    async def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        if path in self.slow:
            await self.go.wait()
        if path in self.away | self.gone:
            return httpx.Response(503 if path in self.away else 404, stream=httpx.ByteStream(b""))
        kind, text = self.pages[path]
        return httpx.Response(200, headers={"content-type": kind}, stream=httpx.ByteStream(text.encode()))

    def source(self, **options: object) -> SpecSource:
        given = {"type": "https", "pages": [f"{ROOT}{path}" for path in self.pages], **options}
        parts = SpecParts(self.clock, httpx.MockTransport(self.answer), no_sleep)
        return create_spec_source(SpecSourceOptions.model_validate(given), parts)


async def no_sleep(_seconds: float) -> None:
    """Nobody waits."""


def linked(source: SpecSource) -> LinkedSpecs:
    assert isinstance(source, LinkedSpecs)
    return source


@pytest.mark.parametrize("ending", ["", ".md", ".json"])
async def test_another_pages_outage_keeps_no_spec_from_being_read(ending: str) -> None:
    server = Server({"/mine": words("mine"), f"/other{ending}": words("other")})
    source = server.source()
    first = await source.read("mine")
    server.away.add(f"/other{ending}")
    for seconds in (0, 301, 301):
        server.clock.advance(seconds)
        assert await linked(source).read_at(first.source, "mine") == first
    assert await linked(server.source()).read_at(first.source, "mine") == first


async def test_what_is_known_to_stand_beside_it_is_not_left_out_when_it_is_away() -> None:
    server = Server({"/mine": words("mine"), "/api.json": api("mine"), "/other": words("other")})
    source = server.source()
    first = await source.read("mine")
    assert first.operations.keys() == {"GET /pay"}
    for seconds in (0, 301):
        server.clock.advance(seconds)
        server.away = {"/api.json"}
        with pytest.raises(SpecSourceUnavailable, match=r"busy or away \(503\)"):
            await linked(source).read_at(first.source, "mine")
        server.away = {"/other"}
        assert await linked(source).read_at(first.source, "mine") == first


async def test_a_process_that_looks_for_the_first_time_finds_what_stands_beside_all_the_same() -> None:
    server = Server({"/mine": words("mine"), "/api": api("mine"), "/other": api("other")})
    first = await server.source().read("mine")
    server.away = {"/other"}
    assert await linked(server.source()).read_at(first.source, "mine") == first


@pytest.mark.parametrize("ending", ["", ".md"])
async def test_what_was_read_alone_since_nobody_could_look_further_says_so(ending: str) -> None:
    server = Server({f"/mine{ending}": words("mine"), "/api.json": api("mine")})
    first = await server.source().read("mine")
    assert first.whole
    source = linked(server.source())
    server.away = {"/api.json"}
    for seconds in (0, 30, 31):
        server.clock.advance(seconds)
        spec = await source.read_at(first.source, "mine")
        assert (spec.whole, spec.operations) == (False, {})
    server.away.clear()
    server.clock.advance(61)
    spec = await source.read_at(first.source, "mine")
    assert (spec, spec.whole) == (first, True)


async def test_a_library_that_can_not_be_looked_through_is_none_in_which_nothing_stands_beside() -> None:
    server = Server({"/api.json": api("mine"), "/words.md": words("mine")})
    first = await server.source().read("mine")
    source = linked(server.source())
    server.away = {"/words.md"}
    assert not (await source.read_at(f"{ROOT}/api.json", "mine")).whole
    server.away.clear()
    server.clock.advance(61)
    spec = await source.read_at(f"{ROOT}/api.json", "mine")
    assert (spec, spec.whole) == (first, True)


async def test_a_page_that_is_gone_is_none_that_could_not_be_read() -> None:
    server = Server({"/mine": words("mine"), "/gone.json": api("mine")})
    source = linked(server.source())
    server.gone = {"/gone.json"}
    assert (await source.read_at(f"{ROOT}/mine", "mine")).whole


async def test_words_that_stand_alone_by_every_name_are_one_request() -> None:
    server = Server({f"/f{number}.md": words(f"f{number}") for number in range(60)})
    await linked(server.source()).read_at(f"{ROOT}/f7.md", "f7")
    assert server.asked == ["/f7.md"]


async def test_pages_are_looked_through_once_in_a_while_and_not_at_every_look() -> None:
    server = Server({f"/f{number}": words(f"f{number}") for number in range(60)} | {"/api": api("f7")})
    source = linked(server.source())
    await source.read_at(f"{ROOT}/f7", "f7")
    server.asked.clear()
    spec = await source.read_at(f"{ROOT}/f7", "f7")
    assert (server.asked, spec.operations.keys()) == (["/f7", "/api"], {"GET /pay"})
    server.pages["/f9"] = api("f7", "put")
    server.clock.advance(301)
    assert (await source.read_at(f"{ROOT}/f7", "f7")).operations.keys() == {"GET /pay", "PUT /pay"}


async def test_nobody_waits_long_to_know_better_and_a_look_is_one_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "PATIENCE_S", 0.01)
    server = Server({"/mine": words("mine"), "/slow": words("slow"), "/api": api("mine")})
    source = linked(server.source())
    first = await source.read_at(f"{ROOT}/mine", "mine")
    server.slow = {"/slow"}
    server.clock.advance(301)
    server.asked.clear()
    for _ in range(2):
        assert await source.read_at(f"{ROOT}/mine", "mine") == first
    assert server.asked.count("/slow") == 1
    server.pages["/slow"] = api("mine", "put")
    server.go.set()
    monkeypatch.setattr(neighbours, "PATIENCE_S", 5)
    assert (await source.read_at(f"{ROOT}/mine", "mine")).operations.keys() == {"GET /pay", "PUT /pay"}
    assert server.asked.count("/slow") == 2, "once to look, once to read it"


async def test_a_first_look_goes_on_when_who_waits_for_it_gives_up() -> None:
    server = Server({"/mine": words("mine"), "/slow": words("slow"), "/api": api("mine")})
    server.slow = {"/slow"}
    source = linked(server.source())
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await source.read_at(f"{ROOT}/mine", "mine")
    server.go.set()
    assert (await source.read_at(f"{ROOT}/mine", "mine")).operations.keys() == {"GET /pay"}
    assert server.asked.count("/slow") == 1


async def test_a_closed_source_looks_no_further() -> None:
    server = Server({"/mine": words("mine"), "/slow": words("slow")})
    server.slow = {"/slow"}
    source = server.source()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await linked(source).read_at(f"{ROOT}/mine", "mine")
    before = asyncio.all_tasks()
    await close(source)
    assert not {task for task in before if not task.done()} - {asyncio.current_task()}


async def test_an_api_that_is_the_spec_finds_the_words_that_come_to_stand_beside_it() -> None:
    server = Server({"/api.json": api("mine"), "/words.md": words("other")})
    source = linked(server.source())
    assert (await source.read_at(f"{ROOT}/api.json", "mine")).title == "Shop"
    server.pages["/words.md"] = words("mine")
    server.clock.advance(301)
    spec = await source.read_at(f"{ROOT}/api.json", "mine")
    assert (spec.title, spec.beside) == ("Words", (f"{ROOT}/api.json",))


@pytest.mark.parametrize("path", [None, "specs"])
async def test_an_issue_is_read_whatever_its_label_holds_besides(path: str | None) -> None:
    server = FakeGitHub(files={"specs/api.json": api("mine")[1]})
    for number in range(1, 1_003):
        server.open_issue(number, "Words", words("mine" if number == 7 else f"f{number}")[1], "spec")
    source = remote(server, type="github", repository="acme/shop", label="spec", **({"path": path} if path else {}))
    spec = await linked(source).read_at("https://github.com/acme/shop/issues/7", "mine")
    assert (spec.title, bool(spec.operations)) == ("Words", path is not None)


async def test_another_sources_outage_keeps_no_document_from_being_read_at_its_address() -> None:
    first, second = Server({"/mine": words("mine")}), Server({"/other": words("other"), "/others": words("others")})
    sources = SpecSources({"one": first.source(), "two": second.source(hosts=["specs.example.com"])})
    second.away = {"/other", "/others", "/mine"}
    assert (await sources.read_at(f"{ROOT}/mine", "mine")).title == "Words"
    assert not second.asked
