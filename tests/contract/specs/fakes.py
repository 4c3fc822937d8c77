"""Servers that hold specs, as their vendors document them: what a request lacks, or has too much of, is refused.

`went_wrong` answers in place of the next requests; `asked` has what was asked, `requests` the requests themselves.
"""

import base64
import hashlib
import html
import json
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx

TOKEN = "planted-token-of-a-source"
Answer = Callable[[httpx.Request], httpx.Response]


class Body(httpx.AsyncByteStream):
    """An answer's bytes as they come over a network, in pieces."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), 1000):
            yield self._content[start : start + 1000]


def sent(response: httpx.Response) -> httpx.Response:
    """The same answer, not yet read."""
    return httpx.Response(response.status_code, headers=response.headers, stream=Body(response.content))


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(str(status))
        self.response = httpx.Response(status, json=body)


@dataclass
class FakeServer(httpx.AsyncBaseTransport, ABC):
    """A transport that is the server at `host`."""

    host: str = "specs.example.com"
    requests: list[httpx.Request] = field(default_factory=list)
    went_wrong: list[Answer] = field(default_factory=list)

    @property
    def asked(self) -> list[str]:
        """What was asked, as path and query."""
        return [request.url.raw_path.decode() for request in self.requests]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await request.aread()
        if self.went_wrong:
            return sent(self.went_wrong.pop(0)(request))
        try:
            assert request.url.host == self.host, f"asked {request.url.host} instead of {self.host}"
            assert request.headers["User-Agent"], "who asks must say so"
            return sent(self.answer(request))
        except Refused as refused:
            return sent(refused.response)

    @abstractmethod
    def answer(self, request: httpx.Request) -> httpx.Response:
        """What the vendor answers; raises Refused."""


def query_of(request: httpx.Request, *, known: Iterable[str], needed: Iterable[str] = ()) -> dict[str, str]:
    """The query's parameters, each once. Refuses what the vendor does not document."""
    found = parse_qs(request.url.query.decode(), keep_blank_values=True, strict_parsing=bool(request.url.query))
    unknown = set(found) - set(known)
    missing = set(needed) - set(found)
    if unknown or missing or any(len(values) > 1 for values in found.values()):
        raise Refused(400, {"message": f"unknown {unknown}, missing {missing}"})
    return {name: values[0] for name, values in found.items()}


def tagged(request: httpx.Request, body: object, **headers: str) -> httpx.Response:
    """An answer with an ETag; 304 without a body for whoever has it."""
    content = json.dumps(body).encode()
    tag = f'W/"{hashlib.sha256(content).hexdigest()}"'
    if request.headers.get("If-None-Match") == tag:
        return httpx.Response(304, headers={"ETag": tag, **headers})
    return httpx.Response(
        200, content=content, headers={"ETag": tag, "Content-Type": "application/json; charset=utf-8", **headers}
    )


def blob_of(text: str) -> str:
    """The hash by which git knows a content."""
    content = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def packed(text: str) -> str:
    """Base64 in lines, as GitHub gives it."""
    return base64.encodebytes(text.encode()).decode()


_FOLDER = {"mode": "040000", "type": "tree", "sha": "d" * 40, "url": "…"}
_SUBMODULE = {"path": "vendored", "mode": "160000", "type": "commit", "sha": "e" * 40}


@dataclass
class FakeGitHub(FakeServer):
    """A repository's trees, blobs, contents, issues and pulls. docs.github.com/rest, API version 2022-11-28."""

    host: str = "api.github.com"
    repository: str = "acme/shop"
    ref: str = "HEAD"
    files: dict[str, str] = field(default_factory=dict)
    issues: dict[int, dict[str, Any]] = field(default_factory=dict)
    truncated: bool = False
    links: set[str] = field(default_factory=set)
    remaining: int = 5000

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refused(401, {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"})
        if request.headers.get("X-GitHub-Api-Version") != "2022-11-28" or request.method != "GET":
            raise Refused(400, {"message": "Unsupported"})
        path = request.url.raw_path.decode().split("?")[0]
        rest = path.removeprefix(f"/repos/{self.repository}")
        kind = "vnd.github.object+json" if rest.startswith("/contents/") else "vnd.github+json"
        assert f"application/{kind}" in request.headers["Accept"]
        if rest == path:
            raise Refused(404, {"message": "Not Found"})
        answer = tagged(request, self._body(request, rest))
        if answer.status_code != 304:
            # What has not changed does not count.
            self.remaining -= 1
        answer.headers["x-ratelimit-remaining"] = str(self.remaining)
        answer.headers["x-ratelimit-reset"] = "1893456000"
        return answer

    def _body(self, request: httpx.Request, rest: str) -> object:
        missing = Refused(404, {"message": "Not Found", "status": "404"})
        match rest.strip("/").split("/"):
            case [""]:
                query_of(request, known=())
                return {"id": 1, "full_name": self.repository, "private": True}
            case ["git", "trees", ref]:
                query_of(request, known=("recursive",), needed=("recursive",))
                if unquote(ref) != self.ref:
                    raise missing
                folders = {name.rsplit("/", 1)[0] for name in self.files if "/" in name}
                tree = [*map(self._entry, self.files), *({"path": one, **_FOLDER} for one in folders), _SUBMODULE]
                return {"sha": "c" * 40, "url": "…", "truncated": self.truncated, "tree": tree}
            case ["git", "blobs", sha]:
                for text in self.files.values():
                    if blob_of(text) == sha:
                        found = {"sha": sha, "node_id": "…", "url": "…", "size": len(text), "encoding": "base64"}
                        return found | {"content": packed(text)}
                raise missing
            case ["contents", *path]:
                ref = query_of(request, known=("ref",))["ref"]
                name = unquote("/".join(path))
                inside = [file for file in self.files if file.startswith(f"{name}/")]
                if ref == self.ref and inside:
                    return {"type": "dir", "path": name, "entries": [{"type": "file", "path": one} for one in inside]}
                if ref != self.ref or name not in self.files:
                    raise missing
                text = self.files[name]
                links = {"self": "…", "git": "…", "html": "…"}
                found = {
                    "type": "file",
                    "name": name.split("/")[-1],
                    "path": name,
                    "sha": blob_of(text),
                    "_links": links,
                }
                found |= {"size": len(text), "url": "…", "git_url": "…", "html_url": "…", "download_url": None}
                if len(text) > 2**20:
                    return found | {"encoding": "none", "content": ""}
                return found | {"encoding": "base64", "content": packed(text)}
            case ["issues"]:
                query = query_of(request, known=("labels", "state", "per_page", "page"), needed=("labels",))
                size, page = int(query["per_page"]), int(query["page"])
                wanted = [
                    one for one in self.issues.values() if query["labels"] in [label["name"] for label in one["labels"]]
                ]
                return wanted[size * (page - 1) : size * page]
            case [("issues" | "pulls") as kind, number]:
                found = self.issues.get(int(number))
                if found is None or (kind == "pulls") is not ("pull_request" in found):
                    raise missing
                return found
        raise missing

    def _entry(self, path: str) -> dict[str, object]:
        mode = "120000" if path in self.links else "100644"
        return {"path": path, "mode": mode, "type": "blob", "sha": blob_of(self.files[path]), "size": 1, "url": "…"}

    def open_issue(self, number: int, title: str, body: str | None, *labels: str, pull: bool = False) -> None:
        """Open an issue, or a pull request."""
        kind = "pull" if pull else "issues"
        found: dict[str, Any] = {
            "number": number,
            "title": title,
            "body": body,
            "labels": [{"id": 1, "name": label, "color": "f29513", "default": False} for label in labels],
            "state": "open",
            "id": number,
            "user": {"login": "mira", "id": 1, "type": "User"},
            "assignee": None,
            "milestone": None,
            "closed_at": None,
            "active_lock_reason": None,
        }
        found["html_url"] = f"https://github.com/{self.repository}/{kind}/{number}"
        self.issues[number] = found | ({"pull_request": {"url": "…"}} if pull else {})


@dataclass
class FakeGitLab(FakeServer):
    """A project's tree, blobs, files, issues and merge requests. docs.gitlab.com/api, v4; three entries a page."""

    host: str = "gitlab.example.com"
    project: str = "acme/group/shop"
    ref: str = "HEAD"
    files: dict[str, str] = field(default_factory=dict)
    items: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"issues": [], "merge_requests": []})

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("PRIVATE-TOKEN") != TOKEN or "Authorization" in request.headers:
            raise Refused(401, {"message": "401 Unauthorized"})
        path = request.url.raw_path.decode().split("?")[0]
        prefix = f"/api/v4/projects/{self.project.replace('/', '%2F')}"
        if not path.startswith(prefix) or request.method != "GET":
            raise Refused(404, {"message": "404 Project Not Found"})
        missing = Refused(404, {"message": "404 Not Found"})
        match path.removeprefix(prefix).strip("/").split("/"):
            case [""]:
                return tagged(request, {"id": 7, "path_with_namespace": self.project})
            case ["repository", "tree"]:
                return self._tree(request)
            case ["repository", "blobs", sha]:
                for text in self.files.values():
                    if blob_of(text) == sha:
                        content = base64.b64encode(text.encode()).decode()
                        return tagged(request, {"size": 1, "encoding": "base64", "content": content, "sha": sha})
                raise missing
            case ["repository", "files", name]:
                ref, name = query_of(request, known=("ref",), needed=("ref",))["ref"], unquote(name)
                if ref != self.ref or name not in self.files:
                    raise missing
                content = base64.b64encode(self.files[name].encode()).decode()
                commits = {"commit_id": "c" * 40, "last_commit_id": "c" * 40, "blob_id": blob_of(self.files[name])}
                found = {"file_name": name.split("/")[-1], "file_path": name, "size": 1, "execute_filemode": False}
                return tagged(request, found | commits | {"encoding": "base64", "content": content, "ref": ref})
            case [("issues" | "merge_requests") as kind]:
                query = query_of(request, known=("labels", "state", "per_page", "page"), needed=("state",))
                assert query["state"] == "opened"
                return tagged(request, [one for one in self.items[kind] if query["labels"] in one["labels"]])
            case [("issues" | "merge_requests") as kind, iid]:
                for one in self.items[kind]:
                    if one["iid"] == int(iid):
                        return tagged(request, one)
        raise missing

    def _tree(self, request: httpx.Request) -> httpx.Response:
        query = query_of(request, known=("path", "ref", "recursive", "per_page", "page", "pagination", "page_token"))
        below = query.get("path", "")
        names = [name for name in self.files if not below or name.startswith(f"{below}/")]
        # Files may be asked for at HEAD; of trees only branches and tags are documented.
        ref = query.get("ref", self.ref)
        if ref != self.ref or query.get("ref") == "HEAD" or (below and not names and self.files):
            raise Refused(404, {"message": "404 Tree Not Found"})
        page, size = int(query["page"]), min(int(query["per_page"]), 3)
        more = str(page + 1) if len(names) > page * size else ""
        folder = {"id": "d" * 40, "name": "folder", "type": "tree", "path": "folder", "mode": "040000"}
        entries = [
            {
                "id": blob_of(self.files[name]),
                "name": name.split("/")[-1],
                "type": "blob",
                "path": name,
                "mode": "100644",
            }
            for name in names[(page - 1) * size : page * size]
        ]
        return tagged(request, [folder, *entries], **{"x-next-page": more, "x-page": str(page)})


@dataclass
class FakePages(FakeServer):
    """A web server. `pages` has, by path, a media type and a text."""

    pages: dict[str, tuple[str, str]] = field(default_factory=dict)

    def answer(self, request: httpx.Request) -> httpx.Response:
        found = self.pages.get(request.url.path)
        if found is None:
            return httpx.Response(404, html="<h1>Not found</h1>")
        media_type, text = found
        return httpx.Response(200, content=text.encode(), headers={"Content-Type": media_type})


def as_html(markdown: str) -> str:
    """A spec as people write it into a page: its front matter as a block of code, then headings and paragraphs."""
    front, body = split(markdown)
    code = f'<div class="code panel"><pre class="code-yaml">{html.escape(front)}</pre></div>' if front else ""
    return code + "\n".join(
        f"<h1>{html.escape(line[2:])}</h1>" if line.startswith("# ") else f"<p>{html.escape(line)}</p>"
        for line in body.splitlines()
        if line.strip()
    )


def split(markdown: str) -> tuple[str, str]:
    """The front matter and the rest."""
    found = re.match(r"---\n(.*?)---\n(.*)", markdown, re.DOTALL)
    return (found[1], found[2]) if found else ("", markdown)


@dataclass
class FakeJira(FakeServer):
    """Issues and their search: Cloud's REST v3, or Data Center's v2. Two issues a page. developer.atlassian.com."""

    host: str = "acme.atlassian.net"
    data_center: bool = False
    jql: str = 'labels = "spec"'
    issues: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    last_token: str | None = None

    def answer(self, request: httpx.Request) -> httpx.Response:
        pair = base64.b64encode(f"bot@example.com:{TOKEN}".encode()).decode()
        expected = f"Bearer {TOKEN}" if self.data_center else f"Basic {pair}"
        if request.headers.get("Authorization") != expected:
            raise Refused(401, {"errorMessages": ["Client must be authenticated to access this resource."]})
        api = f"/rest/api/{2 if self.data_center else 3}"
        match request.url.path.removeprefix(api).strip("/").split("/"):
            case ["myself"]:
                return httpx.Response(200, json={"self": "…", "active": True, "displayName": "Bot", "timeZone": "UTC"})
            case ["search"] if self.data_center:
                return self._search(request)
            case ["search", "jql"] if not self.data_center:
                return self._search(request)
            case ["issue", key] if key in self.issues:
                query = query_of(request, known=("fields", "expand", "properties"))
                return httpx.Response(200, json=self._issue(key, query))
        raise Refused(404, {"errorMessages": ["Issue does not exist or you do not have permission to see it."]})

    def _search(self, request: httpx.Request) -> httpx.Response:
        where = "startAt" if self.data_center else "nextPageToken"
        query = query_of(request, known=("jql", "fields", "expand", "maxResults", where), needed=("jql", "fields"))
        if query["jql"] != self.jql:
            raise Refused(400, {"errorMessages": ["Error in the JQL Query."]})
        keys, size = list(self.issues), min(int(query["maxResults"]), 2)
        start = int(query.get(where, "0"))
        found: dict[str, Any] = {"issues": [self._issue(key, query) for key in keys[start : start + size]]}
        if self.data_center:
            found |= {"expand": "schema,names", "startAt": start, "maxResults": size, "total": len(keys)}
        else:
            more = start + size < len(keys)
            found |= {"isLast": not more, "nextPageToken": str(start + size) if more else self.last_token}
        return httpx.Response(200, json=found)

    def _issue(self, key: str, query: dict[str, str]) -> dict[str, Any]:
        summary, description = self.issues[key]
        found: dict[str, Any] = {"expand": "renderedFields,names", "id": "1", "self": "…", "key": key}
        # Cloud's v3 has the description itself as a document, and Data Center as its own markup: neither is HTML.
        document = {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": []}]}
        fields = {"summary": summary, "description": "h1. …" if self.data_center else document}
        if description is None:
            fields["description"] = None
        found["fields"] = {name: fields[name] for name in query.get("fields", "").split(",") if name in fields}
        if query.get("expand") == "renderedFields":
            found["renderedFields"] = {"summary": None, "description": description}
        return found


@dataclass
class FakeConfluence(FakeServer):
    """Pages in the storage format: Cloud's REST v2, or Data Center's. Two pages at a time. developer.atlassian.com."""

    host: str = "acme.atlassian.net"
    data_center: bool = False
    space: str = "ENG"
    pages: dict[str, tuple[str, str]] = field(default_factory=dict)
    trashed: set[str] = field(default_factory=set)

    def answer(self, request: httpx.Request) -> httpx.Response:
        pair = base64.b64encode(f"bot@example.com:{TOKEN}".encode()).decode()
        expected = f"Bearer {TOKEN}" if self.data_center else f"Basic {pair}"
        if request.headers.get("Authorization") != expected:
            raise Refused(401, {"errors": [{"status": 401, "code": "UNAUTHORIZED"}]})
        return self._data_center(request) if self.data_center else self._cloud(request)

    def _cloud(self, request: httpx.Request) -> httpx.Response:
        match request.url.path.split("/"):
            case ["", "wiki", "api", "v2", "spaces"]:
                keys = query_of(request, known=("keys", "limit"))["keys"]
                space = {"id": "65", "key": keys, "name": "Engineering", "type": "global", "status": "current"}
                space |= {
                    "authorId": "1",
                    "homepageId": "9",
                    "description": None,
                    "icon": None,
                    "_links": {"webui": "…"},
                }
                base = {"base": f"https://{self.host}/wiki"}
                return httpx.Response(200, json={"results": [space] if keys == self.space else [], "_links": base})
            case ["", "wiki", "api", "v2", "spaces", "65", "pages"]:
                query = query_of(request, known=("body-format", "status", "limit", "cursor"), needed=("body-format",))
                start, size = int(query.get("cursor", "0")), min(int(query["limit"]), 2)
                names = list(self.pages)
                shown = [self._page(name) for name in names[start : start + size]]
                found: dict[str, Any] = {"results": shown, "_links": {"base": f"https://{self.host}/wiki"}}
                if start + size < len(names):
                    following = f"body-format=storage&status=current&limit={size}&cursor={start + size}"
                    found["_links"]["next"] = f"/wiki/api/v2/spaces/65/pages?{following}"
                return httpx.Response(200, json=found)
            case ["", "wiki", "api", "v2", "pages", name] if name in self.pages:
                assert query_of(request, known=("body-format",))["body-format"] == "storage"
                return httpx.Response(200, json=self._page(name))
        raise Refused(404, {"errors": [{"status": 404, "code": "NOT_FOUND"}]})

    def _data_center(self, request: httpx.Request) -> httpx.Response:
        match request.url.path.split("/"):
            case ["", "rest", "api", "content"]:
                query = query_of(request, known=("spaceKey", "type", "expand", "limit", "start"), needed=("spaceKey",))
                start, size = int(query.get("start", "0")), min(int(query["limit"]), 2)
                names = list(self.pages) if query["spaceKey"] == self.space else []
                shown = [self._page(name) for name in names[start : start + size]]
                links = {"self": "…", "base": f"https://{self.host}", "context": ""}
                found: dict[str, Any] = {"results": shown, "start": start, "limit": size, "size": len(shown)}
                found["_links"] = links
                if start + size < len(names):
                    rest = f"spaceKey={self.space}&type=page&expand=body.storage&limit={size}&start={start + size}"
                    found["_links"]["next"] = f"/rest/api/content?{rest}"
                return httpx.Response(200, json=found)
            case ["", "rest", "api", "content", name] if name in self.pages:
                query_of(request, known=("expand",), needed=("expand",))
                return httpx.Response(200, json=self._page(name))
        raise Refused(404, {"statusCode": 404, "message": "No content found with id"})

    def _page(self, name: str) -> dict[str, Any]:
        title, value = self.pages[name]
        found: dict[str, Any] = {
            "id": name,
            "status": "trashed" if name in self.trashed else "current",
            "title": title,
            "_links": {
                "webui": f"/spaces/{self.space}/pages/{name}/{title.replace(' ', '+')}",
                "tinyui": "/x/BAAJ",
            },
        }
        storage = {"value": value, "representation": "storage"}
        if self.data_center:
            kept = {"_expandable": {"webresource": "", "content": f"/rest/api/content/{name}"}}
            body = {"storage": storage | kept, "_expandable": {"editor": "", "view": "", "export_view": ""}}
            more = {"type": "page", "extensions": {"position": "none"}, "_expandable": {"ancestors": "", "space": "…"}}
            return found | {"body": body, **more}
        version = {"createdAt": "2026-03-01T19:05:00.000Z", "message": "", "number": 1, "minorEdit": False}
        ids = {"spaceId": "65", "parentId": None, "parentType": None, "position": None, "lastOwnerId": None}
        return found | ids | {"authorId": "1", "ownerId": "1", "version": version, "body": {"storage": storage}}


def as_storage(markdown: str) -> str:
    """A spec as Confluence stores what people write."""
    front, body = split(markdown)
    macro = (
        '<ac:structured-macro ac:name="code" ac:schema-version="1" ac:macro-id="1">'
        '<ac:parameter ac:name="language">yaml</ac:parameter>'
        f"<ac:plain-text-body><![CDATA[{front}]]></ac:plain-text-body></ac:structured-macro>"
    )
    return (macro if front else "") + as_html(body)


@dataclass
class FakeNotion(FakeServer):
    """A data source's pages and their blocks, two at a time. developers.notion.com/reference, version 2025-09-03."""

    host: str = "api.notion.com"
    source: str = "0123456789abcdef0123456789abcdef"
    pages: dict[str, dict[str, Any]] = field(default_factory=dict)
    blocks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    properties: dict[str, str] = field(
        default_factory=lambda: {"Name": "title", "Flag": "rich_text", "State": "status", "By": "created_by"}
    )
    beside: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise _notions_refusal(401, "unauthorized")
        if request.headers.get("Notion-Version") != "2025-09-03":
            raise _notions_refusal(400, "missing_version")
        match request.method, request.url.path.split("/"):
            case "POST", ["", "v1", "data_sources", self.source, "query"]:
                return self._query(json.loads(request.content))
            case "GET", ["", "v1", "data_sources", self.source]:
                return httpx.Response(200, json=self._schema())
            case "GET", ["", "v1", "pages", page] if page.replace("-", "") in self.pages:
                return httpx.Response(200, json=self.pages[page.replace("-", "")] | {"request_id": REQUEST_ID})
            case "GET", ["", "v1", "blocks", block, "children"] if block.replace("-", "") in self.blocks:
                query = query_of(request, known=("page_size", "start_cursor"))
                return self._paged(self.blocks[block.replace("-", "")], query, "block")
        raise _notions_refusal(404, "object_not_found")

    def _schema(self) -> dict[str, Any]:
        """The data source itself: what a column is beyond its type is an object, empty for text."""
        columns = {
            name: {"id": "title" if kind == "title" else "f%5C", "name": name, "description": None, "type": kind}
            | {kind: {"options": []} if kind in ("select", "status") else {}}
            for name, kind in self.properties.items()
        }
        return _notions("data_source", self.source) | {
            "title": _rich_text("Specs"),
            "description": [],
            "parent": {"type": "database_id", "database_id": _hyphenated("d" * 32)},
            "database_parent": {"type": "workspace", "workspace": True},
            "is_inline": False,
            "properties": columns,
            "icon": None,
            "cover": None,
            "url": f"https://www.notion.so/{self.source}",
            "public_url": None,
            "request_id": REQUEST_ID,
        }

    def _query(self, body: dict[str, Any]) -> httpx.Response:
        if set(body) - {"page_size", "start_cursor", "filter", "sorts"}:
            raise _notions_refusal(400, "validation_error")
        found = [*self.pages.values(), *self.beside]
        if wanted := body.get("filter"):
            # A filter names its property's type; another is refused.
            kind = self.properties.get(wanted["property"], "")
            if set(wanted) != {"property", kind}:
                raise _notions_refusal(400, "validation_error")
            flag = wanted[kind]["equals"]
            found = [page for page in found if "url" in page and _flag_of(page, wanted["property"]) == flag]
        size = str(min(int(body["page_size"]), 100))
        cursor = {"start_cursor": body["start_cursor"]} if "start_cursor" in body else {}
        return self._paged(found, {"page_size": size, **cursor}, "page_or_data_source")

    @staticmethod
    def _paged(found: list[dict[str, Any]], query: dict[str, str], kind: str) -> httpx.Response:
        start, size = int(query.get("start_cursor", "0")), min(int(query["page_size"]), 2)
        more = start + size < len(found)
        listed = {
            "object": "list",
            "results": found[start : start + size],
            "next_cursor": str(start + size) if more else None,
            "has_more": more,
            "type": kind,
            kind: {},
            "request_id": REQUEST_ID,
        }
        return httpx.Response(200, json=listed)

    def put(self, page: str, flag: str, title: str, blocks: list[dict[str, Any]], *, in_trash: bool = False) -> None:
        """Add a page, or replace it."""
        shown = {"icon": None, "cover": None, "public_url": None, "is_archived": False, "is_locked": False}
        self.pages[page] = _notions("page", page, in_trash=in_trash) | {
            **shown,
            "parent": {"type": "data_source_id", "data_source_id": self.source, "database_id": "d" * 32},
            "url": f"https://www.notion.so/{title.replace(' ', '-')}-{page}",
            "properties": {
                "Name": {"id": "title", "type": "title", "title": _rich_text(title)},
                "Flag": {"id": "f%5C", "type": "rich_text", "rich_text": _rich_text(flag)},
                "State": {"id": "s", "type": "status", "status": {"id": "1", "name": "Done", "color": "green"}},
                "By": {"id": "b", "type": "created_by", "created_by": {"object": "user", "id": "u"}},
                "Size": {"id": "n", "type": "number", "number": None},
                "Titles": {
                    "id": "r",
                    "type": "rollup",
                    "rollup": {"type": "array", "function": "show_original", "array": []},
                },
            },
        }
        self.blocks[page] = blocks


REQUEST_ID = "b6a2c9f0-3a1e-4a3a-9d0e-1f2a3b4c5d6e"


def _notions_refusal(status: int, code: str) -> Refused:
    said = {"object": "error", "status": status, "code": code, "message": "In words.", "request_id": REQUEST_ID}
    return Refused(status, said)


def _notions(kind: str, object_id: str, *, in_trash: bool = False) -> dict[str, Any]:
    """What every object of Notion's has."""
    somebody, at = {"object": "user", "id": _hyphenated("e" * 32)}, "2026-03-01T19:05:00.000Z"
    return {
        "object": kind,
        "id": _hyphenated(object_id),
        "created_time": at,
        "last_edited_time": at,
        "created_by": somebody,
        "last_edited_by": somebody,
        "in_trash": in_trash,
        "archived": in_trash,
    }


def _hyphenated(object_id: str) -> str:
    """As Notion writes an id, whichever way it is given."""
    return str(uuid.UUID(object_id))


def _rich_text(text: str) -> list[dict[str, Any]]:
    """A text as Notion has it, in two parts where it has two words; none for an empty one."""
    plain = {"bold": False, "italic": False, "strikethrough": False, "underline": False, "code": False}
    return [
        {
            "type": "text",
            "text": {"content": part, "link": None},
            "annotations": plain | {"color": "default"},
            "plain_text": part,
            "href": None,
        }
        for part in re.split(r"(?<= )(?=\S)", text, maxsplit=1)
        if part
    ]


def _googles_refusal(status: int, reason: str, said: str) -> Refused:
    error = {"code": status, "message": said, "errors": [{"message": said, "domain": "global", "reason": reason}]}
    return Refused(status, {"error": error})


def _flag_of(page: dict[str, Any], name: str) -> str:
    given = page["properties"][name]
    return "".join(one["plain_text"] for one in given[given["type"]])


def block(kind: str, text: str = "", **more: Any) -> dict[str, Any]:
    """A block of Notion's."""
    return _notions("block", more.pop("id", "b" * 32)) | {
        "parent": {"type": "page_id", "page_id": _hyphenated("a" * 32)},
        "type": kind,
        "has_children": more.pop("has_children", False),
        kind: {"rich_text": _rich_text(text), "color": "default", **more},
    }


def as_blocks(markdown: str) -> list[dict[str, Any]]:
    """A spec as people write it in Notion."""
    front, body = split(markdown)
    code = [block("code", front.rstrip("\n"), language="yaml")] if front else []
    return code + [
        block("heading_1", line[2:]) if line.startswith("# ") else block("paragraph", line)
        for line in body.splitlines()
        if line.strip()
    ]


@dataclass
class FakeGoogle(FakeServer):
    """Drive's files and their export as text, two files a page. developers.google.com/drive, v3."""

    host: str = "www.googleapis.com"
    folder: str = "folder-of-the-specs"
    documents: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    exports: int = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise _googles_refusal(401, "authError", "Invalid Credentials")
        match request.url.path.removeprefix("/drive/v3/files").strip("/").split("/"):
            case [""]:
                return self._list(request)
            case [file_id, "export"] if file_id in self.documents:
                assert query_of(request, known=("mimeType",))["mimeType"] == "text/plain"
                self.exports += 1
                text = "\ufeff" + self.documents[file_id][1].replace("\n", "\r\n")
                return httpx.Response(200, content=text.encode(), headers={"Content-Type": "text/plain"})
            case [file_id] if file_id in self.documents or file_id == self.folder:
                query = query_of(request, known=("fields", "supportsAllDrives"), needed=("fields",))
                return httpx.Response(200, json=self._file(file_id, query["fields"]))
        raise _googles_refusal(404, "notFound", "File not found")

    def _list(self, request: httpx.Request) -> httpx.Response:
        known = ("q", "fields", "pageSize", "pageToken", "supportsAllDrives", "includeItemsFromAllDrives")
        query = query_of(request, known=known, needed=("q", "fields"))
        folder = re.fullmatch(r"'([^']+)' in parents and mimeType='[^']+' and trashed=false", query["q"])
        assert folder is not None
        names = list(self.documents) if folder[1] == self.folder else []
        start = int(query.get("pageToken", "0"))
        fields = re.fullmatch(r"nextPageToken,files\(([\w,]+)\)", query["fields"])
        assert fields is not None
        found: dict[str, Any] = {"files": [self._file(one, fields[1]) for one in names[start : start + 2]]}
        return httpx.Response(200, json=found | ({"nextPageToken": str(start + 2)} if start + 2 < len(names) else {}))

    def _file(self, file_id: str, fields: str) -> dict[str, Any]:
        """What is asked for of it, and nothing else."""
        name, _, version = self.documents.get(file_id, ("Specs", "", 1))
        kind = f"application/vnd.google-apps.{'folder' if file_id == self.folder else 'document'}"
        found = {"kind": "drive#file", "id": file_id, "name": name, "mimeType": kind}
        found |= {"version": str(version), "trashed": False}
        return {field: found[field] for field in fields.split(",")}

    def put(self, file_id: str, name: str, text: str) -> None:
        """Write a document; its version rises."""
        before = self.documents.get(file_id)
        self.documents[file_id] = name, text, 1 if before is None else before[2] + 1
