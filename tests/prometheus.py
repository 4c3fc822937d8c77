"""A real Prometheus of a test's own, and a way to give it samples of any moment (its remote write protocol)."""

import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from tests.conftest import NEEDS_SERVERS

BINARY = "SLUICE_TEST_PROMETHEUS"
"""The program, where it is not on the path."""

STARTS_WITHIN_S = 60
BLOCK = 60_000

Series = tuple[Mapping[str, str], Sequence[tuple[int, float]]]
"""Labels with `__name__`, and samples: milliseconds since 1970 and a value."""


class Prometheus:
    """A server on a free port of this machine; `targets` are scraped every second, at that path."""

    def __init__(self, directory: Path, targets: Sequence[str] = (), path: str = "/metrics") -> None:
        self._directory = directory
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self._port: int = one.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        app = {"job_name": "app", "metrics_path": path, "static_configs": [{"targets": list(targets)}]}
        jobs = [app] if targets else []
        often = {"scrape_interval": "1s", "scrape_timeout": "900ms"}
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "prometheus.yml").write_text(yaml.safe_dump({"global": often, "scrape_configs": jobs}))

    def start(self) -> None:
        """Start it, or start it again on what it has stored."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    _program(),
                    f"--config.file={self._directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._directory / 'data'}",
                    "--storage.tsdb.retention.time=5y",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    "--web.enable-remote-write-receiver",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
            )
        for _ in range(STARTS_WITHIN_S * 20):
            try:
                if httpx.get(f"{self.url}/-/ready", timeout=1).is_success:
                    return
            except httpx.TransportError:
                pass
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError((self._directory / "log").read_text())

    def stop(self) -> None:
        """End it as a machine's failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def write(self, series: Iterable[Series]) -> None:
        """Add samples, each series' in the order of time."""
        body = _snappy(b"".join(_field(1, _time_series(*one)) for one in series))
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        response = httpx.post(f"{self.url}/api/v1/write", content=body, headers=headers, timeout=60)
        assert response.is_success, response.text


@contextmanager
def running(directory: Path, targets: Sequence[str] = (), path: str = "/metrics") -> Iterator[Prometheus]:
    """A server while the test runs; skips where there is no Prometheus, unless servers are demanded."""
    server = Prometheus(directory, targets, path)
    require_program()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def require_program() -> None:
    """Skip without Prometheus, or fail where servers are demanded."""
    if shutil.which(_program()) is None:
        missing = f"no Prometheus: it is not installed, and {BINARY} is not set"
        if os.environ.get(NEEDS_SERVERS):
            pytest.fail(missing)
        pytest.skip(missing)


def _program() -> str:
    return os.environ.get(BINARY) or "prometheus"


def _time_series(labels: Mapping[str, str], samples: Sequence[tuple[int, float]]) -> bytes:
    named = (_field(1, name.encode()) + _field(2, value.encode()) for name, value in sorted(labels.items()))
    values = (b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at) for at, value in samples)
    return b"".join([*(_field(1, one) for one in named), *(_field(2, one) for one in values)])


def _field(number: int, content: bytes) -> bytes:
    """A field of protocol buffers whose content has a length."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _snappy(content: bytes) -> bytes:
    """Snappy's block format, in literals only."""
    blocks = (content[i : i + BLOCK] for i in range(0, len(content), BLOCK))
    return _varint(len(content)) + b"".join(b"\xf4" + struct.pack("<H", len(one) - 1) + one for one in blocks)
