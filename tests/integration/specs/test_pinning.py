"""Real connections: to the address that was checked, with the name in the handshake and the certificate held to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tools.specs.base import SpecSourceUnavailable
from tools.specs.fetching import Fetcher
from tools.specs.pinning import Bounds, NotAllowedThere, PinnedTransport

NAME = "specs.test"
TEXT = ("text/plain",)


def certificate(folder: Path, name: str) -> Path:
    """A certificate of that name with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


class Server:
    """A web server on this machine, with what was asked of it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.names: list[str | None] = []
        self.heads: list[str] = []
        self.connections = 0
        self.port = 0

    async def serve(self) -> asyncio.Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            self.heads.append(head.decode())
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nhere")
            await writer.drain()
        writer.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(certificate(tmp_path, NAME))
    running = await made.serve()
    yield made
    running.close()


def fetcher(server: Server, host: str, networks: Sequence[str] = ("127.0.0.1/32",)) -> Fetcher:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    bounds = Bounds(
        (host,),
        tuple(map(ip_network, networks)),
        timedelta(seconds=10),
        ca_file=server.file,
        ports=frozenset({(host, server.port)}),
    )
    return Fetcher(bounds, transport=PinnedTransport(bounds, resolver=resolve))


async def test_the_name_is_in_the_handshake_and_the_connection_is_kept(server: Server) -> None:
    made = fetcher(server, NAME)
    for _ in range(3):
        found = await made.get(f"https://{NAME}:{server.port}/a", accept=TEXT)
        assert found.body == b"here"
    assert (server.names, server.connections) == ([NAME], 1)
    assert all(f"Host: {NAME}:{server.port}" in head for head in server.heads)
    await made.close()


async def test_a_certificate_of_another_name_is_refused(server: Server) -> None:
    made = fetcher(server, "other.test")
    with pytest.raises(SpecSourceUnavailable, match="can't be reached"):
        await made.get(f"https://other.test:{server.port}/a", accept=TEXT)
    assert not server.heads
    await made.close()


async def test_this_machine_is_not_asked_unless_it_is_named(server: Server) -> None:
    made = fetcher(server, NAME, networks=())
    with pytest.raises(NotAllowedThere):
        await made.get(f"https://{NAME}:{server.port}/a", accept=TEXT)
    made = Fetcher(Bounds(("localhost",), ports=frozenset({("localhost", server.port)})))
    with pytest.raises(NotAllowedThere):
        await made.get(f"https://localhost:{server.port}/a", accept=TEXT)
    assert server.connections == 0
    await made.close()
