"""`sluice demo --headless` as anyone runs it: a process, its output, its exit status."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.demo import story

pytestmark = pytest.mark.alone

SLUICE = Path(sys.executable).with_name("sluice")
LIMIT_S = 90.0
PROC = Path("/proc")
KEYS = [
    "outcome",
    "stages",
    "promoted_to",
    "rolled_back",
    "breach_to_readback_s",
    "approvals",
    "shop_requests",
    "slack_calls",
    "audit_events",
    "audit_ok",
]


def _processes_in(directory: Path) -> list[str]:
    """The command lines of processes that work in or below the directory; none where the system does not tell."""
    found = []
    for entry in PROC.iterdir() if PROC.is_dir() else ():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(directory):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.timeout(180)
async def test_the_headless_demo_keeps_its_promises(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        SLUICE, "demo", "--headless", cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(LIMIT_S):
        output, complaint = await process.communicate()
    said = output.decode()
    assert process.returncode == 0, said + complaint.decode()

    figures: dict[str, Any] = json.loads(said.splitlines()[-1])
    assert list(figures) == KEYS
    assert figures["outcome"] == "rolled_back"
    assert figures["stages"] == [10, 25, 50]
    assert figures["promoted_to"] == 50
    assert figures["rolled_back"] is True
    assert 0 < figures["breach_to_readback_s"] < 5
    assert figures["approvals"] == 2
    assert figures["shop_requests"] > 1_000
    assert figures["slack_calls"] > 10
    assert figures["audit_events"] > 10
    assert figures["audit_ok"] is True
    assert _processes_in(tmp_path) == []
    assert list((tmp_path / ".demo").iterdir()) == []


@pytest.mark.timeout(120)
async def test_the_demo_with_people_stops_everything_on_ctrl_c(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        SLUICE, "demo", cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        said = b""
        while b"Ctrl-C" not in said:
            line = await process.stdout.readline()
            assert line, said.decode()
            said += line
        assert b"http://127.0.0.1:" in said
        assert len(_processes_in(tmp_path)) >= 3 or not PROC.is_dir()
        process.send_signal(signal.SIGINT)
        _, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    assert complaint == b""
    assert _processes_in(tmp_path) == []
    assert list((tmp_path / ".demo").iterdir()) == []


@pytest.mark.timeout(60)
async def test_a_promise_that_is_not_kept_is_said_and_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quiet_logs: None
) -> None:
    monkeypatch.setattr(story, "HEADLESS_LIMIT_S", 2.0)

    assert await story.run(headless=True, root=tmp_path / "demo") == 1

    said = capsys.readouterr().out.splitlines()
    figures = json.loads(said[-1])
    assert list(figures) == KEYS
    assert (figures["outcome"], figures["rolled_back"], figures["audit_ok"]) == ("failed", False, False)
    assert "NOT KEPT: The story took longer than 2 s." in " ".join(said)
    assert _processes_in(tmp_path) == []
    (kept,) = (tmp_path / "demo").iterdir()
    assert (kept / "sluice.toml").exists()


@pytest.fixture
def quiet_logs() -> Iterator[None]:
    """Put back the root logger's level, which the story changes."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)
