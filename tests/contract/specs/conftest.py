"""The spec sources under the contract: a new vendor adds one entry to `SUBJECTS`."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.specs import fakes
from tools.clock import ManualClock
from tools.specs.base import SpecSource, close
from tools.specs.folder import FolderSpecSource
from tools.specs.memory import MemorySpecSource
from tools.specs.options import SpecSourceOptions
from tools.specs.registry import SpecParts, create_spec_source

FAR = "https://specs.example.com"


@dataclass(frozen=True)
class Subject:
    """A source, a way to put a Markdown spec where it looks, and where people read the one of that name.

    `verbatim`: a spec's text is what was put there, and its hash that of its bytes. `names_flags`: texts name their
    flag, and not what they are filed under. `has_apis`: a name that ends in `.json` is a place for an OpenAPI.
    """

    source: SpecSource
    put: Callable[[str, str], None]
    address: Callable[[str], str]
    server: fakes.FakeServer | None = None
    verbatim: bool = True
    names_flags: bool = True
    has_apis: bool = False


def remote(server: httpx.AsyncBaseTransport, **options: Any) -> SpecSource:
    """A source whose network is the server, and which has a token wherever one is sent."""
    given = options if options["type"] == "https" and "url" not in options else {"token": fakes.TOKEN, **options}
    return create_spec_source(SpecSourceOptions.model_validate(given), SpecParts(ManualClock(), server, no_sleep))


async def no_sleep(_seconds: float) -> None:
    """Nobody waits."""


def number(name: str, digits: int = 6) -> str:
    """A number that stands for a name."""
    return str(int(hashlib.sha256(name.encode()).hexdigest(), 16))[:digits]


@contextmanager
def folder(tmp_path: Path) -> Iterator[Subject]:
    def write(name: str, text: str) -> None:
        (tmp_path / name).write_bytes(text.encode())

    yield Subject(FolderSpecSource(tmp_path), write, lambda name: str(tmp_path / name), has_apis=True)


@contextmanager
def memory(_tmp_path: Path) -> Iterator[Subject]:
    source = MemorySpecSource()
    yield Subject(source, source.put, lambda name: name, has_apis=True)


@contextmanager
def github(_tmp_path: Path) -> Iterator[Subject]:
    server = fakes.FakeGitHub(files={"README.md": "# Shop\n", "specs/.hidden.md": "---\nflag: hidden\n---\n# H\n"})

    def put(name: str, text: str) -> None:
        server.files[f"specs/{name}"] = text

    source = remote(server, type="github", repository="acme/shop", path="specs")
    root = "https://github.com/acme/shop/blob/HEAD/specs"
    yield Subject(source, put, lambda name: f"{root}/{name}", server, has_apis=True)


@contextmanager
def github_issues(_tmp_path: Path) -> Iterator[Subject]:
    server = fakes.FakeGitHub()

    def put(name: str, text: str) -> None:
        server.open_issue(int(number(name)), name, text, "spec", pull=name == "z.md")

    def address(name: str) -> str:
        return f"https://github.com/acme/shop/{'pull' if name == 'z.md' else 'issues'}/{number(name)}"

    yield Subject(remote(server, type="github", repository="acme/shop", label="spec"), put, address, server)


@contextmanager
def gitlab(_tmp_path: Path) -> Iterator[Subject]:
    server = fakes.FakeGitLab(files={"README.md": "# Shop\n"})

    def put(name: str, text: str) -> None:
        server.files[f"docs/specs/{name}"] = text

    options = {"url": "https://gitlab.example.com", "repository": server.project, "path": "docs/specs/"}
    root = f"https://gitlab.example.com/{server.project}/-/blob/HEAD/docs/specs"
    source = remote(server, type="gitlab", **options)
    yield Subject(source, put, lambda name: f"{root}/{name}", server, has_apis=True)


@contextmanager
def gitlab_issues(_tmp_path: Path) -> Iterator[Subject]:
    server = fakes.FakeGitLab()

    def address(name: str) -> str:
        kind = "merge_requests" if name == "z.md" else "issues"
        return f"https://gitlab.example.com/{server.project}/-/{kind}/{number(name)}"

    def put(name: str, text: str) -> None:
        items = server.items["merge_requests" if name == "z.md" else "issues"]
        items[:] = [one for one in items if one["title"] != name]
        items.append(
            {
                "iid": int(number(name)),
                "title": name,
                "description": text,
                "web_url": address(name),
                "labels": ["spec"],
            }
        )

    options = {"url": "https://gitlab.example.com", "repository": server.project, "label": "spec"}
    yield Subject(remote(server, type="gitlab", **options), put, address, server)


@contextmanager
def pages(_tmp_path: Path) -> Iterator[Subject]:
    texts = ("a.md", "b.md", "broken.md", "checkout.md", "notes.md", "one.md", "two.md", "y.md", "z.md")
    names = (*texts, "api.json", "more.json")
    server = fakes.FakePages(pages={f"/{name}": ("text/plain", "nothing yet\n") for name in names})

    def put(name: str, text: str) -> None:
        kind = "application/json" if name.endswith(".json") else "text/markdown; charset=utf-8"
        server.pages[f"/{name}"] = kind, text

    source = remote(server, type="https", url=FAR, pages=[f"{FAR}/{name}" for name in names])
    yield Subject(source, put, lambda name: f"{FAR}/{name}", server, has_apis=True)


def jira(*, data_center: bool) -> Callable[[Path], Any]:
    @contextmanager
    def open_subject(_tmp_path: Path) -> Iterator[Subject]:
        server = fakes.FakeJira(data_center=data_center)

        def put(name: str, text: str) -> None:
            server.issues[f"SHOP-{number(name)}"] = name, fakes.as_html(text)

        options = {"url": f"https://{server.host}", "jql": server.jql, "data_center": data_center}
        source = remote(server, type="jira", **options, **({} if data_center else {"user": "bot@example.com"}))
        yield Subject(
            source, put, lambda name: f"https://{server.host}/browse/SHOP-{number(name)}", server, verbatim=False
        )

    return open_subject


def confluence(*, data_center: bool) -> Callable[[Path], Any]:
    @contextmanager
    def open_subject(_tmp_path: Path) -> Iterator[Subject]:
        server = fakes.FakeConfluence(data_center=data_center)

        def put(name: str, text: str) -> None:
            server.pages[number(name)] = name, fakes.as_storage(text)

        options = {"url": f"https://{server.host}", "space": server.space, "data_center": data_center}
        source = remote(server, type="confluence", **options, **({} if data_center else {"user": "bot@example.com"}))
        root = f"https://{server.host}{'' if data_center else '/wiki'}/spaces/ENG/pages"
        yield Subject(source, put, lambda name: f"{root}/{number(name)}/{name}", server, verbatim=False)

    return open_subject


def _flag_named(text: str) -> str:
    found = [line.removeprefix("flag: ") for line in text.splitlines() if line.startswith("flag: ")]
    return found[0] if found and "[" not in found[0] else ""


@contextmanager
def notion(_tmp_path: Path) -> Iterator[Subject]:
    server = fakes.FakeNotion()

    def page(name: str) -> str:
        return hashlib.sha256(name.encode()).hexdigest()[:32]

    def put(name: str, text: str) -> None:
        server.put(page(name), _flag_named(text), name, fakes.as_blocks(text))

    yield Subject(
        remote(server, type="notion", data_source=server.source),
        put,
        lambda name: f"https://www.notion.so/{name}-{page(name)}",
        server,
        verbatim=False,
        names_flags=False,
    )


@contextmanager
def google_docs(_tmp_path: Path) -> Iterator[Subject]:
    server = fakes.FakeGoogle()

    def document(name: str) -> str:
        return f"document-of-{number(name, 12)}"

    def put(name: str, text: str) -> None:
        server.put(document(name), name, text)

    source = remote(server, type="google_docs", folder=server.folder)
    yield Subject(source, put, lambda name: f"https://docs.google.com/document/d/{document(name)}/edit", server)


SUBJECTS: dict[str, Callable[[Path], Any]] = {
    "folder": folder,
    "memory": memory,
    "github": github,
    "github-issues": github_issues,
    "gitlab": gitlab,
    "gitlab-issues": gitlab_issues,
    "https": pages,
    "jira": jira(data_center=False),
    "jira-data-center": jira(data_center=True),
    "confluence": confluence(data_center=False),
    "confluence-data-center": confluence(data_center=True),
    "notion": notion,
    "google-docs": google_docs,
}


@pytest.fixture(params=SUBJECTS)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    with SUBJECTS[request.param](tmp_path) as opened:
        yield opened
        await close(opened.source)
