"""A real InfluxDB of a test's own, and a way to give it points (its line protocol)."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import NEEDS_SERVERS

BINARY = "SLUICE_TEST_INFLUXDB"
"""The program, where it is not on the path."""

STARTS_WITHIN_S = 60
DATABASE = "shop"


class InfluxDb:
    """A server of the series 1 on free ports of this machine, with one database."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port, backups = (_free_port() for _ in range(2))
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "influxdb.conf").write_text(
            f"""
            reporting-disabled = true
            bind-address = "127.0.0.1:{backups}"
            [meta]
            dir = "{directory}/meta"
            [data]
            dir = "{directory}/data"
            wal-dir = "{directory}/wal"
            query-log-enabled = false
            [monitor]
            store-enabled = false
            [http]
            bind-address = "127.0.0.1:{self._port}"
            log-enabled = false
            """
        )

    def start(self) -> None:
        """Start it, and make the database."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program(), "run", "-config", str(self._directory / "influxdb.conf")], stdout=log, stderr=log
            )
        for _ in range(STARTS_WITHIN_S * 20):
            try:
                if httpx.post(f"{self.url}/query", data={"q": f"CREATE DATABASE {DATABASE}"}, timeout=5).is_success:
                    return
            except httpx.TransportError:
                pass
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError((self._directory / "log").read_text())

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def write(self, measurement: str, tags: Mapping[str, str], fields: Mapping[str, float], at: int) -> None:
        """Add a point; `at` is in nanoseconds since 1970."""
        named = "".join(f",{name}={_escaped(value)}" for name, value in tags.items())
        values = ",".join(f"{name}={value!r}" for name, value in fields.items())
        answer = httpx.post(
            f"{self.url}/write",
            params={"db": DATABASE, "precision": "ns"},
            content=f"{measurement}{named} {values} {at}".encode(),
        )
        assert answer.status_code == 204, answer.text


@contextmanager
def running(directory: Path) -> Iterator[InfluxDb]:
    """A server for as long as it is needed; skips the test where there is no program, unless one is demanded."""
    server = InfluxDb(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _program() -> str:
    found = os.environ.get(BINARY) or shutil.which("influxd")
    if found is None:
        if os.environ.get(NEEDS_SERVERS):
            raise AssertionError("there is no influxd on the path")
        pytest.skip(f"no InfluxDB: there is no influxd on the path, and {BINARY} is not set")
    return found


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _escaped(value: str) -> str:
    for sign in ",= ":
        value = value.replace(sign, f"\\{sign}")
    return value
