"""Connections to hosts that the settings allow, at the very addresses that were checked.

A name is resolved once for each request, every address that it has must be one that a spec may be read from, and the
connection goes to the very address that was checked; Host, SNI and the certificate's check stay with the name. That
closes the gap in which a name resolves to one address when it is checked and to another when it is used.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx

from tools.errors import ConfigurationError
from tools.specs.base import SpecSourceUnavailable
from tools.specs.networks import Network, is_reachable

LARGEST = 4 * 1024 * 1024
"""Bytes of an answer, as they come and after decompression."""
CONNECTIONS = 4
PORTS = {"https": 443, "http": 80}
_HOST = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,62})\.)*[a-z0-9]([a-z0-9-]{0,62})|\[?[0-9a-f:.]+\]?", re.IGNORECASE)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host and a port to the addresses that the host has."""
Opener = Callable[[], httpx.AsyncBaseTransport]


class NotAllowedThere(SpecSourceUnavailable):
    """The address is on no list: nothing was asked there."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where requests may go, and how much and how long an answer may be.

    `hosts` are names, `*.example.com` for every name below one; `networks` those special networks that a host may be in
    all the same. `ports` are hosts with a port other than that of https at which they may be asked too. `timeout`
    bounds each fetch with all its redirects and retries.
    """

    hosts: tuple[str, ...]
    networks: tuple[Network, ...] = ()
    timeout: timedelta = timedelta(seconds=15)
    largest: int = LARGEST
    ca_file: Path | None = None
    ports: frozenset[tuple[str, int | None]] = frozenset()

    def __post_init__(self) -> None:
        for host in self.hosts:
            if _HOST.fullmatch(host) is None:
                raise ConfigurationError(f"{host!r} is no host: write a name such as specs.example.com.")

    def allow(self, host: str) -> bool:
        """Whether the host is on the list."""
        name = host.lower().rstrip(".")
        return any(
            name.endswith(one[1:]) if one.startswith("*.") else name == one
            for one in (listed.lower().rstrip(".") for listed in self.hosts)
        )

    def allow_port(self, url: httpx.URL) -> bool:
        """Whether a host may be asked at the address's port: other services of the host are nobody's to reach."""
        place = place_of(url)
        return place[1] == PORTS["https"] or place in self.ports


def place_of(url: httpx.URL) -> tuple[str, int | None]:
    """The host and the port that an address leads to."""
    return url.host.lower().rstrip("."), url.port or PORTS.get(url.scheme)


async def resolve(host: str, port: int) -> Sequence[str]:
    """The host's addresses, as this machine resolves it."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class PinnedTransport(httpx.AsyncBaseTransport):
    """Connects to addresses that were checked, in the name of the host.

    Each host has connections of its own: those of one pool are told apart by address, so that two hosts at one address
    would share a connection whose certificate was checked for one of them.
    """

    def __init__(self, bounds: Bounds, *, resolver: Resolve = resolve, opener: Opener | None = None) -> None:
        self._bounds = bounds
        self._resolve = resolver
        self._open = opener or _opener(bounds.ca_file)
        self._by_host: dict[str, httpx.AsyncBaseTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises NotAllowedThere for an address that nothing may be read from."""
        host = request.url.host
        addresses = await self._addresses(host, request.url.port or PORTS[request.url.scheme])
        if host not in self._by_host:
            self._by_host[host] = self._open()
        for number, address in enumerate(addresses, start=1):
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await self._by_host[host].handle_async_request(pinned)
            except httpx.ConnectError:
                # Nothing was sent; the host may answer at its next address, such as that of the other IP version.
                if number == len(addresses):
                    raise
        raise httpx.ConnectError(f"{host} has no address")

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._by_host.values():
            await transport.aclose()
        self._by_host.clear()

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolve(host, port)
        except OSError:
            raise httpx.ConnectError(f"{host} is not known") from None
        bad = [one for one in addresses if not is_reachable(one, self._bounds.networks)]
        if bad:
            raise NotAllowedThere(
                f"{host} leads into a private or special network, from which no specs are read. Where that is right, "
                "name the network in the source's `networks`."
            )
        return addresses


def _opener(ca_file: Path | None) -> Opener:
    context = _trusted(ca_file)

    def opened() -> httpx.AsyncBaseTransport:
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        # A proxy would resolve the name once more, so the environment's is left out.
        return httpx.AsyncHTTPTransport(verify=context, limits=limits, trust_env=False)

    return opened


def _trusted(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError:
        raise ConfigurationError(
            f"{ca_file} has no certificates; name the file of whoever signed the host's."
        ) from None
