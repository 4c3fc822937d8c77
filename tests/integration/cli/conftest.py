"""The command line, run in this process as its entry point runs it, in a folder of its own."""

import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from bot import cli

SHOP = """
[policy]
approvers = ["UJONAS001", "UAIKO0001"]

[slack]
releases_channel = "CRELEASES"
alerts_channel = "CALERTS01"

[sources.shop]
url = "sqlite:///shop.db"

[metrics.errors]
source = "shop"
title = "Errors"
time_format = "epoch"
query = '''
SELECT variant, COUNT(*) AS exposures, SUM(failed) AS events, MAX(at) AS newest
FROM requests WHERE at >= :start AND at < :end GROUP BY variant
'''
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    status: int
    out: str
    err: str


Sluice = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that commands run in, without anybody's settings."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("SLUICE_"):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def sluice(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Sluice]:
    """Run `sluice` with these arguments."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["sluice", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return Ran(int(ended.value.code or 0), said.out, said.err)

    yield run
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


@pytest.fixture
def shop(folder: Path, sluice: Sluice) -> Path:
    """Settings, a migrated database, a flag and a day of traffic with 2 % errors."""
    (folder / "sluice.toml").write_text(SHOP, encoding="utf-8")
    (folder / "specs").mkdir()
    connection = sqlite3.connect(folder / "shop.db")
    connection.execute("CREATE TABLE requests (at REAL, variant TEXT, failed INTEGER)")
    now = time.time()
    rows = [(now - i % 86_000 - 60, "old", int(i % 50 == 0)) for i in range(40_000)]
    connection.executemany("INSERT INTO requests VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    assert sluice("migrate").status == 0
    assert sluice("flags", "create", "new-checkout", "--control", "old", "--treatment", "new").status == 0
    return folder
