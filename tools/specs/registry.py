"""Spec sources by the name of their kind."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from tools.clock import Clock, SystemClock
from tools.specs import atlassian, github, gitlab, google_docs, notion, pages
from tools.specs.base import SpecSource
from tools.specs.fetching import Credentials, Fetcher, bearer
from tools.specs.folder import FolderSpecSource
from tools.specs.memory import MemorySpecSource
from tools.specs.options import BadSpecSource, SpecSourceOptions
from tools.specs.pinning import Bounds, place_of
from tools.specs.remote import Library, RemoteSpecSource, parsed

Show = Callable[[str], dict[str, str]]
"""How a token is shown to a vendor, as headers."""


@dataclass(frozen=True, slots=True)
class SpecParts:
    """What sources are made of besides their options. `transport` stands in for a network where there is none."""

    clock: Clock
    transport: httpx.AsyncBaseTransport | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Vendor:
    """How a vendor's library is made: where its API is, what it is sent, and how tokens are shown."""

    library: Callable[[SpecSourceOptions, Fetcher], Library]
    api: Callable[[SpecSourceOptions], str | None]
    show: Callable[[SpecSourceOptions], Show]
    headers: Mapping[str, str] | None = None
    hosts: Callable[[SpecSourceOptions], tuple[str, ...]] | None = None


def _bearer(_options: SpecSourceOptions) -> Show:
    return bearer


def _of_atlassian(options: SpecSourceOptions) -> Show:
    return lambda token: atlassian.authorization(options, token)


VENDORS: Mapping[str, Vendor] = {
    "github": Vendor(github.GitHubLibrary, github.api_of, _bearer, github.HEADERS),
    "gitlab": Vendor(
        gitlab.GitLabLibrary, lambda options: options.url or gitlab.PUBLIC, lambda _options: gitlab.authorization
    ),
    "https": Vendor(pages.PageLibrary, lambda options: options.url, _bearer, hosts=pages.hosts_of),
    "jira": Vendor(atlassian.JiraLibrary, lambda options: options.url, _of_atlassian),
    "confluence": Vendor(atlassian.ConfluenceLibrary, lambda options: options.url, _of_atlassian),
    "notion": Vendor(
        notion.NotionLibrary,
        lambda options: options.url or notion.API,
        _bearer,
        notion.HEADERS,
    ),
    "google_docs": Vendor(
        google_docs.GoogleDocsLibrary,
        lambda options: options.url or google_docs.API,
        _bearer,
        hosts=lambda _options: (google_docs.TOKENS_HOST,),
    ),
}


def create_spec_source(options: SpecSourceOptions, parts: SpecParts | None = None) -> SpecSource:
    """The spec source of that type. Raises BadSpecSource naming the key that is wrong."""
    options.check_fields()
    if options.type == "folder":
        return FolderSpecSource(Path(options.path or "specs"))
    if options.type == "memory":
        return MemorySpecSource()
    parts = parts or SpecParts(SystemClock())
    vendor = VENDORS[options.type]
    fetcher = _fetcher(options, vendor, parts)
    library = vendor.library(options, fetcher)
    for flag, address in options.flags.items():
        if (url := parsed(address)) is None or not library.has(url):
            raise BadSpecSource(f"The address of the flag {flag!r} is none of {library.place}.", field="flags")
    return RemoteSpecSource(library, fetcher, options.flags, parts.clock)


def _fetcher(options: SpecSourceOptions, vendor: Vendor, parts: SpecParts) -> Fetcher:
    api = vendor.api(options)
    own = () if api is None else (httpx.URL(api).host,)
    bounds = _bounds(options, (*own, *(vendor.hosts(options) if vendor.hosts is not None else ())))
    return Fetcher(
        bounds,
        origin=None if api is None else httpx.URL(api),
        credentials=_credentials(options, vendor, parts),
        headers=vendor.headers,
        clock=parts.clock,
        transport=parts.transport,
        sleep=parts.sleep,
    )


def _bounds(options: SpecSourceOptions, hosts: tuple[str, ...]) -> Bounds:
    named = [parsed(one) for one in (options.url, *options.pages, *options.flags.values()) if one is not None]
    return Bounds(
        tuple(dict.fromkeys(hosts)),
        options.networks,
        options.timeout,
        ca_file=options.ca_file,
        ports=frozenset(place_of(url) for url in named if url is not None),
    )


def _credentials(options: SpecSourceOptions, vendor: Vendor, parts: SpecParts) -> Credentials | None:
    """What shows the vendor who asks; None where nobody said."""
    given = (options.token, options.token_file, options.service_account_file)
    if sum(one is not None for one in given) > 1:
        raise BadSpecSource("Set a token, or one file that it comes from.", field="token_file")
    if options.service_account_file is not None:
        return google_docs.ServiceAccount(options.service_account_file, parts.clock).headers
    if options.token is None and options.token_file is None:
        return None
    show = vendor.show(options)

    async def credentials(_fetcher: Fetcher) -> Mapping[str, str]:
        secret = options.secret()
        return {} if secret is None else show(secret)

    return credentials
