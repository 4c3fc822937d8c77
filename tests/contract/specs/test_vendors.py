"""What each vendor's specs have of their own, and the traps."""

import base64
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.contract.specs import fakes
from tests.contract.specs.conftest import no_sleep, remote
from tools.clock import ManualClock
from tools.specs.base import InvalidSpec, LinkedSpecs, SpecNotFound, SpecSource, SpecSourceUnavailable, read_linked
from tools.specs.options import BadSpecSource, SpecSourceOptions
from tools.specs.registry import SpecParts, create_spec_source

SHOP = "https://github.com/acme/shop"
SPEC = "---\nflag: a\nowner: payments\n---\n# A\nWhat it does.\n"


def at(source: SpecSource, address: str) -> bool:
    assert isinstance(source, LinkedSpecs)
    return source.has(address)


# -- GitHub -----------------------------------------------------------------------------------------------------------


def github(server: fakes.FakeGitHub, **options: Any) -> SpecSource:
    return remote(server, type="github", repository="acme/shop", **options)


async def test_github_is_asked_for_what_changed_only() -> None:
    server = fakes.FakeGitHub(files={f"specs/{name}.md": SPEC.replace("flag: a", f"flag: {name}") for name in "abc"})
    source = github(server, path="specs")
    await source.read("a")
    assert len(server.requests) == 4
    before, left = len(server.requests), server.remaining
    await source.read("b")
    assert len(server.requests) - before == 1
    assert server.remaining == left, "what has not changed does not count"
    server.files["specs/a.md"] = SPEC + "More.\n"
    assert "More." in (await source.read("a")).body
    assert len(server.requests) - before == 3


async def test_github_links_are_followed_nowhere() -> None:
    server = fakes.FakeGitHub(files={"specs/a.md": SPEC, "specs/b.md": SPEC}, links={"specs/b.md"})
    assert (await github(server, path="specs").read("a")).title == "A"


async def test_a_repository_with_more_files_than_github_lists_is_said() -> None:
    server = fakes.FakeGitHub(files={"specs/a.md": SPEC}, truncated=True)
    with pytest.raises(SpecSourceUnavailable, match="repository of their own"):
        await github(server, path="specs").read("a")


async def test_a_github_branch_with_a_slash_is_one_name() -> None:
    server = fakes.FakeGitHub(ref="release/v2", files={"specs/a.md": SPEC})
    source = github(server, path="specs", ref="release/v2")
    found = await source.read("a")
    assert found.source == "https://github.com/acme/shop/blob/release/v2/specs/a.md"
    assert (await read_linked(source, found.source, "a")).sha256 == found.sha256
    assert "/git/trees/release%2Fv2?recursive=1" in server.asked[0]


async def test_an_openapi_in_a_repository_is_a_spec_and_other_data_is_none() -> None:
    api = {"openapi": "3.1.0", "info": {"title": "Shop"}, "x-sluice": {"flag": "a"}, "paths": {"/p": {"get": {}}}}
    files = {"specs/api.json": json.dumps(api), "specs/data.json": "{}", "specs/page.html": "<h1>B</h1>"}
    source = github(fakes.FakeGitHub(files=files), path="specs")
    assert (await source.read("a")).operations.keys() == {"GET /p"}
    page = await read_linked(source, "https://github.com/acme/shop/blob/HEAD/specs/page.html", "b")
    assert page.title == "B"
    with pytest.raises(InvalidSpec, match="neither Markdown nor an OpenAPI"):
        await read_linked(source, "https://github.com/acme/shop/blob/HEAD/specs/data.json", "b")


async def test_only_issues_with_the_label_are_specs() -> None:
    server = fakes.FakeGitHub()
    server.open_issue(1, "Anybody's", SPEC)
    server.open_issue(2, "Ours", SPEC.replace("flag: a", "flag: b"), "spec")
    server.open_issue(3, "Empty", None, "spec")
    assert await github(server, label="spec").list() == ["b"]
    with pytest.raises(SpecNotFound):
        await github(server, label="spec").read("a")


async def test_a_github_enterprise_server_is_asked_where_it_is() -> None:
    server = fakes.FakeGitHub(host="git.example.com", files={"specs/a.md": SPEC})
    real = server.answer

    def below_its_api(request: httpx.Request) -> httpx.Response:
        assert request.url.path.startswith("/api/v3/")
        request.url = request.url.copy_with(raw_path=request.url.raw_path.removeprefix(b"/api/v3"))
        return real(request)

    server.answer = below_its_api  # type: ignore[method-assign]
    found = await github(server, url="https://git.example.com", path="specs").read("a")
    assert found.source == "https://git.example.com/acme/shop/blob/HEAD/specs/a.md"


@pytest.mark.parametrize(("path", "said"), [("specs", "no file"), ("large.md", "larger than 1 MB")])
async def test_what_githubs_contents_are_not_is_said(path: str, said: str) -> None:
    source = github(fakes.FakeGitHub(files={"specs/a.md": SPEC, "large.md": SPEC + "x" * 2**20}), path="specs")
    with pytest.raises(InvalidSpec, match=said):
        await read_linked(source, f"https://github.com/acme/shop/blob/HEAD/{path}", "a")


async def test_githubs_secondary_limit_is_one_though_no_header_says_so() -> None:
    server = fakes.FakeGitHub(files={"specs/a.md": SPEC})
    said = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}
    server.went_wrong = [lambda _request: httpx.Response(403, json=said)]
    source = github(server, path="specs")
    for _ in range(2):
        with pytest.raises(SpecSourceUnavailable, match="no more requests until"):
            await source.read("a")
    assert len(server.requests) == 1


async def test_the_last_request_of_githubs_hour_is_known_to_be() -> None:
    server = fakes.FakeGitHub(files={"specs/a.md": SPEC}, remaining=2)
    source = github(server, path="specs")
    await source.read("a")
    with pytest.raises(SpecSourceUnavailable, match="no more requests until"):
        await source.read("a")
    assert len(server.requests) == 2


# A separator in quotes is none to those who read the address, and one to some servers.
QUOTED = ["a%2Fb.md", "a%5Cb.md", "a%252Fb.md", "a%25255Cb.md"]


@pytest.mark.parametrize("name", QUOTED)
async def test_a_part_of_a_repositorys_address_is_one(name: str) -> None:
    of_github = fakes.FakeGitHub(files={"specs/a/b.md": SPEC})
    of_gitlab = fakes.FakeGitLab(files={"specs/a/b.md": SPEC})
    options = {"url": f"https://{of_gitlab.host}", "repository": of_gitlab.project, "path": "specs"}
    for server, source, root in (
        (of_github, github(of_github, path="specs"), "https://github.com/acme/shop/blob/HEAD"),
        (of_gitlab, remote(of_gitlab, type="gitlab", **options), f"{options['url']}/{of_gitlab.project}/-/blob/HEAD"),
    ):
        with pytest.raises(SpecNotFound, match=r"specs\.sources"):
            await read_linked(source, f"{root}/specs/{name}", "a")
        assert not server.requests


@pytest.mark.parametrize("name", ["a b#c?d&e=f+g%.md", "100%25.md", "ä ☃.md", "a..b.md", ".a.md", "a;b,c.md"])
@pytest.mark.parametrize("ref", [None, "a/b#c&d"])
async def test_a_file_is_read_at_its_address_whatever_it_is_called(name: str, ref: str | None) -> None:
    named = {} if ref is None else {"ref": ref}
    of_github = fakes.FakeGitHub(files={f"specs/{name}": SPEC}, ref=ref or "HEAD")
    of_gitlab = fakes.FakeGitLab(files={f"specs/{name}": SPEC}, ref=ref or "HEAD")
    options = {"url": f"https://{of_gitlab.host}", "repository": of_gitlab.project, "path": "specs", **named}
    for server, source, below in (
        (of_github, github(of_github, path="specs", **named), "/repos/acme/shop/"),
        (of_gitlab, remote(of_gitlab, type="gitlab", **options), "/api/v4/projects/acme%2Fgroup%2Fshop/"),
    ):
        found = None if name.startswith(".") else (await source.read("a")).source
        root = f"https://{of_gitlab.host}/{of_gitlab.project}/-" if below.startswith("/api") else SHOP
        address = found or f"{root}/blob/{quote(ref or 'HEAD')}/specs/{quote(name)}"
        assert (await read_linked(source, address, "a")).title == "A"
        assert all(one.startswith(below) for one in server.asked)


async def test_an_issue_that_went_to_another_repository_is_not_followed() -> None:
    server = fakes.FakeGitHub()
    server.open_issue(7, "Of the vault", SPEC)
    server.issues[7]["html_url"] = "https://github.com/other/vault/issues/9"
    moved = {"Location": "https://api.github.com/repositories/8/issues/9"}
    server.went_wrong = [
        lambda _request: httpx.Response(301, headers=moved),
        lambda _request: httpx.Response(200, json=server.issues[7]),
    ]
    with pytest.raises(SpecNotFound, match="another repository"):
        await read_linked(github(server, label="spec"), f"{SHOP}/issues/7", "a")


# -- GitLab -----------------------------------------------------------------------------------------------------------


async def test_gitlab_is_listed_to_its_end_in_a_group_of_groups() -> None:
    server = fakes.FakeGitLab(files={f"s/{number}.md": SPEC.replace(": a", f": f{number}") for number in range(8)})
    source = remote(server, type="gitlab", url=f"https://{server.host}", repository=server.project, path="s")
    assert await source.list() == [f"f{number}" for number in range(8)]
    assert "/api/v4/projects/acme%2Fgroup%2Fshop/repository/tree" in server.asked[0]


async def test_gitlabs_tree_is_asked_for_a_branch_only_where_one_is_named() -> None:
    server = fakes.FakeGitLab(ref="release/v2", files={"s/a.md": SPEC})
    options = {"url": f"https://{server.host}", "repository": server.project, "path": "s"}
    assert await remote(server, type="gitlab", **options).list() == ["a"]
    assert await remote(server, type="gitlab", ref="release/v2", **options).list() == ["a"]
    trees = [one for one in server.asked if "/tree?" in one]
    assert ["ref=" in one for one in trees] == [False, True]


async def test_a_gitlab_in_a_private_network_is_read_where_the_settings_name_it(tmp_path: Path) -> None:
    options = {"type": "gitlab", "url": "http://gitlab.internal", "repository": "a/b", "path": "s"}
    with pytest.raises(BadSpecSource, match="own networks") as caught:
        create_spec_source(SpecSourceOptions.model_validate(options))
    assert caught.value.field == "url"
    made = create_spec_source(SpecSourceOptions.model_validate({**options, "networks": ["10.0.0.0/8"]}))
    assert at(made, "http://gitlab.internal/a/b/-/blob/main/s/x.md")


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("https://gitlab.com/a/b/-/blob/main/s/x.md", True),
        ("https://gitlab.com/a/b/-/issues/7", True),
        ("https://gitlab.com/a/b/-/work_items/7", True),
        ("https://gitlab.com/a/b/-/merge_requests/7#note_1", True),
        ("https://gitlab.com/a/b/-/issues/new", False),
        ("https://gitlab.com/a/b/blob/main/s/x.md", False),
        ("https://gitlab.com/a/b/-/raw/main/x.md", False),
        ("https://gitlab.com/a/bb/-/issues/7", False),
        ("https://gitlab.com:444/a/b/-/issues/7", False),
        ("http://gitlab.com/a/b/-/issues/7", False),
    ],
)
def test_what_is_an_address_of_a_project(address: str, known: bool) -> None:
    source = create_spec_source(SpecSourceOptions(type="gitlab", repository="a/b", label="spec"))
    assert at(source, address) is known


# -- pages ------------------------------------------------------------------------------------------------------------


async def test_a_page_is_the_text_that_its_readers_see_and_its_hash_is_of_that() -> None:
    server = fakes.FakePages()
    page = "<html><script>nonce={}</script><main><h1>Checkout</h1><p>One page.</p></main></html>"
    server.pages["/a"] = "text/html", page.format(1)
    source = remote(server, type="https", url="https://specs.example.com", flags={"a": "https://specs.example.com/a"})
    first = await source.read("a")
    assert first.content == "# Checkout\n\nOne page.\n"
    server.pages["/a"] = "text/html", page.format(2)
    assert (await source.read("a")).sha256 == first.sha256
    assert await source.list() == ["a"]


async def test_a_page_that_hides_text_says_so() -> None:
    server = fakes.FakePages(pages={"/a": ("text/html", "<h1>A</h1><p hidden>set it to 100 %</p>")})
    source = remote(server, type="https", hosts=["specs.example.com"])
    found = await read_linked(source, "https://specs.example.com/a", "a")
    assert "100" not in found.content
    assert "hides from its readers" in found.notes[0]


async def test_one_page_that_is_gone_takes_no_other_along() -> None:
    server = fakes.FakePages(pages={"/a": ("text/markdown", SPEC)})
    pages = ["https://specs.example.com/gone", "https://specs.example.com/a"]
    source = remote(server, type="https", pages=pages)
    assert (await source.read("a")).title == "A"
    with pytest.raises(SpecNotFound, match=r"gone.*has nothing at /gone"):
        await source.read("b")
    with pytest.raises(SpecSourceUnavailable, match="has nothing at /gone"):
        await source.check()


async def test_a_pages_token_is_its_own_hosts_alone() -> None:
    server = fakes.FakePages(host="other.example.com", pages={"/a": ("text/markdown", SPEC)})
    source = remote(server, type="https", url="https://specs.example.com", hosts=["other.example.com"])
    await read_linked(source, "https://other.example.com/a", "a")
    assert "Authorization" not in server.requests[0].headers


# -- Jira and Confluence ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_center", [False, True])
async def test_jira_is_searched_to_the_end(data_center: bool) -> None:
    server = fakes.FakeJira(data_center=data_center)
    for number in range(5):
        server.issues[f"SHOP-{number}"] = f"T{number}", fakes.as_html(SPEC.replace("flag: a", f"flag: f{number}"))
    server.issues["SHOP-9"] = "Empty", None
    user = {} if data_center else {"user": "bot@example.com"}
    url = f"https://{server.host}"
    source = remote(server, type="jira", url=url, jql=server.jql, data_center=data_center, **user)
    assert await source.list() == [f"f{number}" for number in range(5)]


async def test_the_last_page_of_jira_is_the_last_whatever_token_it_has() -> None:
    server = fakes.FakeJira(issues={f"SHOP-{n}": (f"T{n}", None) for n in range(4)}, last_token="2")
    source = remote(server, type="jira", url=f"https://{server.host}", jql=server.jql, user="bot@example.com")
    assert await source.list() == []
    assert len(server.requests) == 2


async def test_a_jql_that_jira_refuses_is_said() -> None:
    server = fakes.FakeJira()
    source = remote(server, type="jira", url=f"https://{server.host}", jql="(", user="bot@example.com")
    with pytest.raises(SpecSourceUnavailable, match=r"did not answer /rest/api/3/search/jql \(400\)"):
        await source.check()


async def test_jira_without_a_search_reads_what_is_named() -> None:
    server = fakes.FakeJira(issues={"SHOP-1": ("Checkout", "<p>One page.</p>")})
    source = remote(server, type="jira", url=f"https://{server.host}", user="bot@example.com")
    await source.check()
    assert await source.list() == []
    found = await read_linked(source, f"https://{server.host}/browse/SHOP-1", "a")
    assert (found.title, found.body) == ("Checkout", "One page.\n")
    assert not at(source, f"https://{server.host}/browse/../admin")
    assert not at(source, f"https://{server.host}/rest/api/3/issue/SHOP-1")


@pytest.mark.parametrize("data_center", [False, True])
async def test_confluence_is_listed_to_the_end(data_center: bool) -> None:
    server = fakes.FakeConfluence(data_center=data_center)
    for number in range(5):
        server.pages[str(number)] = f"T{number}", fakes.as_storage(SPEC.replace("flag: a", f"flag: f{number}"))
    user = {} if data_center else {"user": "bot@example.com"}
    source = remote(
        server, type="confluence", url=f"https://{server.host}", space="ENG", data_center=data_center, **user
    )
    assert await source.list() == [f"f{number}" for number in range(5)]


async def test_a_space_that_there_is_not_and_a_page_in_the_trash_are_said() -> None:
    server = fakes.FakeConfluence(pages={"7": ("A", "<p>x</p>")}, trashed={"7"})
    url = f"https://{server.host}"
    source = remote(server, type="confluence", url=url, space="OPS", user="bot@example.com")
    with pytest.raises(SpecSourceUnavailable, match="no space 'OPS'"):
        await source.check()
    with pytest.raises(SpecNotFound, match="trashed"):
        await read_linked(source, f"{url}/wiki/pages/viewpage.action?pageId=7", "a")


async def test_a_next_page_on_another_host_is_asked_of_confluence_itself() -> None:
    server = fakes.FakeConfluence(pages={"1": ("A", fakes.as_storage(SPEC))})
    elsewhere = "https://evil.example.org/wiki/api/v2/spaces/65/pages?body-format=storage&limit=2"
    first = {"results": [], "_links": {"next": elsewhere}}
    space = httpx.Response(200, json={"results": [{"id": "65", "key": "ENG"}]})
    server.went_wrong = [lambda _request: space, lambda _request: httpx.Response(200, json=first)]
    source = remote(server, type="confluence", url=f"https://{server.host}", space="ENG", user="bot@example.com")
    assert (await source.read("a")).title == "A"


# -- Notion -----------------------------------------------------------------------------------------------------------

PAGE = "ab" * 16


def notion(server: fakes.FakeNotion, **options: Any) -> SpecSource:
    return remote(server, type="notion", **{"data_source": server.source, **options})


async def test_notions_blocks_are_markdown() -> None:
    server = fakes.FakeNotion()
    nested = "cd" * 16
    server.put(
        PAGE,
        "a",
        "Checkout",
        [
            fakes.block("heading_2", "Why"),
            fakes.block("paragraph", "Fewer steps."),
            fakes.block("bulleted_list_item", "one", id=nested, has_children=True),
            fakes.block("bulleted_list_item", "two"),
            fakes.block("numbered_list_item", "first"),
            fakes.block("numbered_list_item", "second"),
            fakes.block("to_do", "done", checked=True),
            fakes.block("quote", "said"),
            fakes.block("code", "x = 1", language="python"),
            fakes.block("divider"),
            fakes.block("heading_4", "Small"),
            fakes.block("image"),
            fakes.block("unheard_of", "?"),
        ],
    )
    server.blocks[nested] = [fakes.block("paragraph", "inside")]
    found = await notion(server).read("a")
    assert found.title == "Checkout"
    assert found.content == (
        "## Why\n\nFewer steps.\n\n- one\n  inside\n- two\n1. first\n2. second\n- [x] done\n\n> said\n\n"
        "```python\nx = 1\n```\n\n---\n\n#### Small\n"
    )


async def test_what_is_no_page_of_a_data_source_is_left_out() -> None:
    server = fakes.FakeNotion()
    server.put(PAGE, "a", "A", fakes.as_blocks(SPEC))
    # A wiki lists data sources beside pages, with their columns; of what a token may not read only the id is shown.
    columns = {"Name": {"id": "title", "name": "Name", "type": "title", "title": {}}}
    server.beside = [
        {"object": "data_source", "id": "cd" * 16, "properties": columns},
        {"object": "page", "id": "ef" * 16},
    ]
    assert await notion(server).list() == ["a"]


async def test_a_part_of_notions_rows_is_not_taken_for_all() -> None:
    server = fakes.FakeNotion()
    cut = {"object": "list", "results": [], "has_more": False, "next_cursor": None}
    status = {"type": "incomplete", "incomplete_reason": "query_result_limit_reached"}
    server.went_wrong = [lambda _request: httpx.Response(200, json=cut | {"request_status": status})]
    with pytest.raises(SpecSourceUnavailable, match="only a part"):
        await notion(server).list()


async def test_a_token_that_may_not_read_what_pages_say_is_said() -> None:
    server = fakes.FakeNotion()
    server.put(PAGE, "a", "A", [*fakes.as_blocks(SPEC), {"object": "block", "id": "cd" * 16}])
    with pytest.raises(SpecSourceUnavailable, match="read content"):
        await notion(server).read("a")


@pytest.mark.parametrize(("status", "code"), [(429, "rate_limited"), (529, "service_overload")])
async def test_notion_says_when_it_may_be_asked_again(status: int, code: str) -> None:
    server = fakes.FakeNotion()
    server.put(PAGE, "a", "A", fakes.as_blocks(SPEC))
    said = {"object": "error", "status": status, "code": code, "message": "No."}
    server.went_wrong = [lambda _request: httpx.Response(status, json=said, headers={"Retry-After": "40"})]
    source = notion(server)
    for _ in range(2):
        with pytest.raises(SpecSourceUnavailable, match="no more requests until"):
            await source.read("a")
    assert len(server.requests) == 1


async def test_only_one_page_of_notion_is_read_for_one_flag() -> None:
    server = fakes.FakeNotion()
    for number in range(5):
        server.put(f"{number:032x}", f"f{number}", f"T{number}", fakes.as_blocks(SPEC.replace(": a", f": f{number}")))
    server.put(PAGE, "gone", "Gone", [], in_trash=True)
    source = notion(server)
    assert await source.list() == [f"f{number}" for number in range(5)]
    before = len(server.requests)
    await source.read("f3")
    assert [path for path in server.asked[before:] if "/children" in path and "3/children" not in path] == []
    with pytest.raises(SpecNotFound, match="f1"):
        await source.read("gone")


async def test_a_page_of_notion_may_be_found_by_its_title() -> None:
    server = fakes.FakeNotion()
    server.put(PAGE, "", "a", fakes.as_blocks(SPEC))
    source = notion(server, flag_property="Name")
    await source.check()
    assert (await source.read("a")).flag == "a"


async def test_a_data_source_without_the_property_is_said() -> None:
    source = notion(fakes.FakeNotion(properties={"Name": "title", "Flag": "select"}))
    for reading in (source.check(), source.read("a")):
        with pytest.raises(SpecSourceUnavailable, match="no property 'Flag' with text"):
            await reading


async def test_a_page_of_notion_without_an_end_is_left() -> None:
    server = fakes.FakeNotion()
    server.put(PAGE, "a", "A", [fakes.block("toggle", "again", id=PAGE, has_children=True)])
    with pytest.raises(SpecSourceUnavailable, match="nested too deeply"):
        await notion(server).read("a")
    server.blocks[PAGE] = [fakes.block("paragraph", "x")] * 1000
    with pytest.raises(SpecSourceUnavailable, match="more than 50 requests"):
        await notion(server).read("a")


# -- Google Docs ------------------------------------------------------------------------------------------------------


async def test_a_document_of_a_version_that_was_read_is_not_exported_again() -> None:
    server = fakes.FakeGoogle()
    for number in range(5):
        server.put(f"document-number-{number:08}", f"T{number}", SPEC.replace(": a", f": f{number}"))
    source = remote(server, type="google_docs", folder=server.folder)
    await source.read("f1")
    await source.read("f2")
    assert server.exports == 5
    server.put("document-number-00000001", "T1", SPEC.replace(": a", ": f1") + "More.\n")
    assert "More." in (await source.read("f1")).body
    assert server.exports == 6


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("userRateLimitExceeded", "no more requests until"),
        ("rateLimitExceeded", "no more requests until"),
        ("exportSizeLimitExceeded", "exports nothing as large as"),
        ("appNotAuthorizedToFile", "see the source's token"),
    ],
)
async def test_a_refusal_of_drives_is_told_by_its_reason(reason: str, said: str) -> None:
    server = fakes.FakeGoogle()
    server.put("document-number-00000001", "A", SPEC)
    error = {"errors": [{"domain": "usageLimits", "reason": reason, "message": "No."}], "code": 403, "message": "No."}
    server.went_wrong = [lambda _request: httpx.Response(403, json={"error": error})]
    with pytest.raises(SpecSourceUnavailable, match=said):
        await remote(server, type="google_docs", folder=server.folder).read("a")


async def test_a_service_account_signs_for_its_tokens(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    file, pair = tmp_path / "account.json", {"private_key": pem, "private_key_id": "370ab79b"}
    file.write_text(json.dumps({"type": "service_account", "client_email": "bot@acme.example", **pair}))
    server, clock = fakes.FakeGoogle(), ManualClock()
    server.put("document-number-00000001", "A", SPEC)
    asked: list[Mapping[str, Any]] = []

    class Google(httpx.AsyncBaseTransport):
        """Drive, and where its tokens come from."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.host != "oauth2.googleapis.com":
                return await server.handle_async_request(request)
            await request.aread()
            assert request.url.path == "/token"
            assert "Authorization" not in request.headers
            form = parse_qs(request.content.decode())
            assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
            head, claims, signature = form["assertion"][0].split(".")
            signed = f"{head}.{claims}".encode()
            key.public_key().verify(_unpacked(signature), signed, padding.PKCS1v15(), hashes.SHA256())
            assert json.loads(_unpacked(head)) == {"alg": "RS256", "typ": "JWT", "kid": "370ab79b"}
            asked.append(json.loads(_unpacked(claims)))
            return fakes.sent(httpx.Response(200, json={"access_token": fakes.TOKEN, "expires_in": 3600}))

    options = SpecSourceOptions(type="google_docs", folder=server.folder, service_account_file=file)
    source = create_spec_source(options, SpecParts(clock, Google(), no_sleep))
    await source.read("a")
    await source.read("a")
    assert len(asked) == 1
    at_ = int(clock.now().timestamp())
    assert asked[0] == {
        "iss": "bot@acme.example",
        "scope": "https://www.googleapis.com/auth/drive.readonly",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": at_,
        "exp": at_ + 3600,
    }
    clock.advance(timedelta(minutes=59).total_seconds())
    await source.read("a")
    assert len(asked) == 2


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"client_email": "a", "private_key": "b"}', "ec"])
async def test_a_file_without_a_service_accounts_key_is_said_without_its_content(tmp_path: Path, content: str) -> None:
    file = tmp_path / "account.json"
    if content == "ec":
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        content = json.dumps({"client_email": "a", "private_key": pem.decode()})
    file.write_text(content)
    options = SpecSourceOptions(type="google_docs", folder="folder-of-the-specs", service_account_file=file)
    source = create_spec_source(options, SpecParts(ManualClock(), fakes.FakeGoogle(), no_sleep))
    with pytest.raises(SpecSourceUnavailable, match="download it anew") as caught:
        await source.check()
    assert "private" not in f"{caught.value}{caught.value.__cause__}"


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"type": "wiki"}, "type"),
        ({"type": "folder", "token": "x"}, "token"),
        ({"type": "github"}, "repository"),
        ({"type": "github", "repository": "shop", "path": "s"}, "repository"),
        ({"type": "github", "repository": "a/b?c", "path": "s"}, "repository"),
        ({"type": "github", "repository": "a/./b", "path": "s"}, "repository"),
        ({"type": "gitlab", "repository": "a/b%2Fc", "path": "s"}, "repository"),
        ({"type": "github", "repository": "a/b"}, "path"),
        ({"type": "github", "repository": "a/b", "path": "s", "jql": "x"}, "jql"),
        ({"type": "github", "repository": "a/b", "path": "s", "token": "x", "token_file": "y"}, "token_file"),
        ({"type": "https"}, "pages"),
        ({"type": "https", "pages": ["http://a.example/b"]}, "pages"),
        ({"type": "jira"}, "url"),
        ({"type": "github", "repository": "a/b", "flags": {"x": "https://github.com/a/c/issues/1"}}, "flags"),
        ({"type": "confluence", "url": "https://a.example", "pages": ["https://b.example/pages/1"]}, "pages"),
        ({"type": "notion", "data_source": "x"}, "data_source"),
        ({"type": "notion", "pages": ["https://notion.so/x"]}, "pages"),
        ({"type": "google_docs", "folder": "a b"}, "folder"),
        ({"type": "google_docs", "pages": ["https://a.example"]}, "pages"),
    ],
)
def test_a_source_that_can_not_be_used_names_the_key(options: dict[str, Any], field: str) -> None:
    with pytest.raises(BadSpecSource) as caught:
        create_spec_source(SpecSourceOptions.model_validate(options))
    assert caught.value.field == field


async def test_a_token_is_read_from_its_file_for_each_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    server = fakes.FakeGitHub(files={"specs/a.md": SPEC})
    options = {"type": "github", "repository": "acme/shop", "path": "specs", "token_file": file}
    source = create_spec_source(SpecSourceOptions.model_validate(options), SpecParts(ManualClock(), server, no_sleep))
    with pytest.raises(SpecSourceUnavailable, match="token_file"):
        await source.read("a")
    file.write_text("wrong\n")
    with pytest.raises(SpecSourceUnavailable, match="refuses"):
        await source.read("a")
    file.write_text("s\u00e9cret\n", encoding="utf-8")
    with pytest.raises(SpecSourceUnavailable, match=r"token_file .* copy it again"):
        await source.read("a")
    file.write_text(f"{fakes.TOKEN}\n")
    assert (await source.read("a")).title == "A"
