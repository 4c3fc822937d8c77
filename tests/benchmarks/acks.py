"""How fast a slash command is acknowledged while agents work: the time in which Slack shows a person nothing.

Slack's workspace, Sluice and whoever types are three processes; the workspace takes the time, over Socket Mode.
"""

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest

from bot.demo.processes import Child, run
from bot.demo.world import child_environ
from bot.workspace import WorkspaceSettings
from tests.benchmarks.busy import AGENTS, FLAG, KIND
from tests.benchmarks.conftest import Figures

COMMANDS = 300
SECONDS_BETWEEN = 0.1
TEXTS = (f"status {FLAG}", "list", f"history {FLAG}", f"why {FLAG}", "help")
TARGET_MS = 100.0
READY_S = 30.0
MINUTES, REQUESTS, FAILED = 1440, 4000, 200

SPEC = f"""---
flag: {FLAG}
owner: payments
kpis:
  - {{metric: checkout_errors, direction: increase, margin: 2.0}}
---
# A checkout on one page
"""
SETTINGS = f"""
[slack]
releases_channel = "CRELEASES"
[http]
port = 0
[policy]
approvers = ["UJONAS001", "UAIKO0001"]
[jobs]
concurrency = {AGENTS + 4}
[sources.shop]
url = "sqlite:///telemetry.db"
[metrics.checkout_errors]
source = "shop"
title = "Failed checkouts"
time_format = "epoch"
query = '''
SELECT variant, SUM(exposures) AS exposures, SUM(events) AS events, MAX(at) AS newest
FROM requests WHERE flag = :flag AND at >= :start AND at < :end GROUP BY variant
'''
"""

pytestmark = pytest.mark.benchmark


async def test_acknowledgement(tmp_path: Path, figures: Figures) -> None:
    async with _office(tmp_path) as slack:
        waits = sorted(await asyncio.gather(*(_acknowledged(slack, number) for number in range(COMMANDS))))
        assert _jobs_running(tmp_path) == AGENTS
    what = f"ack of a slash command beside {AGENTS} agents"
    figures.add(f"{what}, p50 of {COMMANDS}", waits[COMMANDS // 2], "ms")
    figures.add(f"{what}, longest", waits[-1], "ms")
    figures.add(f"{what}, p99", waits[COMMANDS * 99 // 100], "ms", target=TARGET_MS)


async def _acknowledged(slack: httpx.AsyncClient, number: int) -> float:
    """Milliseconds until the command that is typed at its time, answered or not those before it, is acknowledged."""
    await asyncio.sleep(number * SECONDS_BETWEEN)
    order = {"user": "mira", "channel": "releases", "command": "/rollout", "text": TEXTS[number % len(TEXTS)]}
    outcome = (await slack.post("/control/command", json=order)).json()
    assert outcome["ok"], outcome
    return float(outcome["seconds"]) * 1000


@asynccontextmanager
async def _office(directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The workspace's control addresses; Sluice is connected to it, a plan is proposed, and every agent works."""
    sluice = str(Path(sys.executable).with_name("sluice"))
    _furnish(directory)
    workspace = Child("workspace", (sluice, "workspace"), directory, os.environ)
    try:
        await workspace.start()
        await _until(lambda: _says(workspace, "http://"))
        url = workspace.log.read_text().split()[0]
        environ = child_environ(os.environ, f"{url}/api/", WorkspaceSettings()) | {"PYTHONPATH": str(Path.cwd())}
        for arguments in (("migrate",), ("flags", "create", FLAG), ("plan", FLAG, "--propose")):
            await run("sluice", (sluice, *arguments), directory, environ, READY_S)
        busy = Child("busy", (sys.executable, "-m", "tests.benchmarks.busy"), directory, environ)
        async with httpx.AsyncClient(base_url=url, timeout=30.0, trust_env=False) as slack:
            try:
                await busy.start()
                await _until(lambda: _connected(slack, busy))
                await _until(lambda: _working(directory))
                yield slack
            finally:
                await busy.kill()
    finally:
        await workspace.stop()


def _furnish(directory: Path) -> None:
    (directory / "specs").mkdir()
    (directory / "specs" / f"{FLAG}.md").write_text(SPEC, encoding="utf-8")
    (directory / "sluice.toml").write_text(SETTINGS, encoding="utf-8")
    now = time.time()
    rows = [(FLAG, "off", now - 60 * minute, REQUESTS, FAILED) for minute in range(1, MINUTES)]
    with closing(sqlite3.connect(directory / "telemetry.db")) as shop, shop:
        shop.execute("CREATE TABLE requests (flag TEXT, variant TEXT, at REAL, exposures INT, events INT)")
        shop.execute("CREATE INDEX ix_requests ON requests (flag, at)")
        shop.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", rows)


def _jobs_running(directory: Path) -> int:
    with closing(sqlite3.connect(directory / "sluice.db")) as database:
        query = "SELECT COUNT(*) FROM jobs WHERE kind = ? AND status = 'running'"
        return int(database.execute(query, (KIND,)).fetchone()[0])


async def _says(child: Child, what: str) -> bool:
    child.check()
    return what in child.log.read_text()


async def _connected(slack: httpx.AsyncClient, busy: Child) -> bool:
    busy.check()
    return bool((await slack.get("/control/connections")).json()["connections"])


async def _working(directory: Path) -> bool:
    return _jobs_running(directory) == AGENTS


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(READY_S):
        while not await holds():
            await asyncio.sleep(0.05)
