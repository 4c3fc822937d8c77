"""How soon Slack is acknowledged while one process holds a conversation in each of 200 threads at once.

Slack's workspace and Sluice are two processes; the workspace takes the time of every event and command, over Socket
Mode, while people go on typing.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.demo.processes import Child, run
from bot.demo.world import child_environ
from bot.workspace import RunningWorkspace, WorkspaceSettings, running_workspace
from bot.workspace.records import Message
from tests.benchmarks.acks import SETTINGS
from tests.benchmarks.conftest import Figures
from tests.benchmarks.thinking import DONE

THREADS, FLAG = 200, "new-checkout"
COMMANDS_EVERY_S = 0.25
TARGET_MS = 1000.0
READY_S, ANSWERED_S = 30.0, 180.0

pytestmark = pytest.mark.benchmark


async def test_acknowledgements_beside_conversations(tmp_path: Path, figures: Figures) -> None:
    async with _office(tmp_path) as slack:
        asked = [slack.people.say("CRELEASES", "mira", f"<@USLUICE01> how is {FLAG}, {n}?") for n in range(THREADS)]
        typing = asyncio.create_task(_type(slack))
        most = await _until(lambda: _answered(slack, asked), ANSWERED_S)
        typing.cancel()
        waits = sorted(seconds * 1000 for seconds in slack.courier.waits)
    assert most == THREADS
    assert len(waits) > THREADS
    what = f"ack of an event or command while {THREADS} threads converse"
    figures.add(f"{what}, p50 of {len(waits)}", waits[len(waits) // 2], "ms")
    figures.add(f"{what}, p99", waits[len(waits) * 99 // 100], "ms")
    figures.add(f"{what}, longest", waits[-1], "ms", target=TARGET_MS)


async def _type(slack: RunningWorkspace) -> None:
    """Somebody types commands, and goes on in threads, until cancelled."""
    while True:
        outcome = await slack.people.command("CRELEASES", "jonas", "/rollout", "list")
        assert outcome.ok, outcome
        await asyncio.sleep(COMMANDS_EVERY_S)


def _answered(slack: RunningWorkspace, asked: list[Message]) -> int:
    """How many threads have their answer."""
    threads = {message.ts for message in asked}
    said = slack.workspace.messages["CRELEASES"].values()
    return len({one.thread_ts for one in said if one.thread_ts in threads and DONE in str(one.text)})


async def _until(count: Callable[[], int], within_s: float) -> int:
    """Wait until the count is that of the threads; what it is in the end."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while count() < THREADS and loop.time() < end:
        await asyncio.sleep(0.2)
    return count()


@asynccontextmanager
async def _office(directory: Path) -> AsyncIterator[RunningWorkspace]:
    """The workspace, with Sluice connected to it."""
    sluice = str(Path(sys.executable).with_name("sluice"))
    (directory / "specs").mkdir()
    (directory / "sluice.toml").write_text(SETTINGS + '[model]\nname = "slow"\n', encoding="utf-8")
    async with running_workspace() as slack:
        environ = child_environ(os.environ, f"{slack.url}/api/", WorkspaceSettings())
        environ |= {"PYTHONPATH": str(Path.cwd()), "SLUICE_JOBS_CONCURRENCY": str(THREADS)}
        for arguments in (("migrate",), ("flags", "create", FLAG)):
            await run("sluice", (sluice, *arguments), directory, environ, READY_S)
        served = Child("sluice", (sys.executable, "-m", "tests.benchmarks.thinking"), directory, environ)
        try:
            await served.start()
            await _connected(slack, served)
            yield slack
        finally:
            await served.stop()


async def _connected(slack: RunningWorkspace, served: Child) -> None:
    async with asyncio.timeout(READY_S):
        while not slack.sockets.connections:
            served.check()
            await asyncio.sleep(0.05)
