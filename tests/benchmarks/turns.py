"""What a turn of a conversation costs beside the model: from a person's message to the answer that Slack is given.

The model and Slack answer at once, so what is measured is Sluice: reading the event, the rows, the graph, a tool call,
the answer's blocks. The database is a file with every commit on disk.
"""

import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agent.model import ModelOptions
from agent.scripted import ScriptedModel
from bot.bootstrap import running_services
from bot.clients import OneClient
from bot.listeners.conversing import Talk
from bot.services import Services
from bot.settings import Settings
from bot.threads import Heard, Threads
from tests.benchmarks.conftest import Figures
from tests.unit.voice.slack import Channel
from tools.flags.base import FlagRef
from tools.flags.embedded import EmbeddedFlagService
from tools.records.database import Database
from tools.records.migrate import migrate

TURNS, WARM_UP = 200, 20
TARGET_MS = 50.0
FLAG = "new-checkout"

pytestmark = pytest.mark.benchmark


async def test_own_overhead_of_a_turn(tmp_path: Path, figures: Figures) -> None:
    async with _services(tmp_path) as services:
        talk = Talk(services, OneClient(Channel()))  # type: ignore[arg-type]
        threads = Threads(services.database, services.clock)
        walls, works = list[float](), list[float]()
        for number in range(WARM_UP + TURNS):
            began, worked = time.perf_counter(), time.process_time()
            await _turn(talk, threads, number)
            walls.append((time.perf_counter() - began) * 1000)
            works.append((time.process_time() - worked) * 1000)
    kept, busy = sorted(walls[WARM_UP:]), sorted(works[WARM_UP:])
    what = f"a turn with a tool call, beside the model and Slack, of {TURNS}"
    figures.add(f"{what}: p50", kept[TURNS // 2], "ms")
    figures.add(f"{what}: processor time, p50", busy[TURNS // 2], "ms")
    figures.add(f"{what}: p95", kept[TURNS * 95 // 100], "ms", target=TARGET_MS)


async def _turn(talk: Talk, threads: Threads, number: int) -> None:
    ts = f"{1_780_000_000 + number}.000100"
    heard = Heard("T1", "C1", ts, ts, "U0MIRA", f"how is {FLAG} doing, number {number}?")
    conversation_id = await threads.hear(heard)
    await talk.go_on({"conversation": conversation_id})


@asynccontextmanager
async def _services(directory: Path) -> AsyncIterator[Services]:
    url = f"sqlite:///{directory / 'sluice.db'}"
    database = Database(url)
    await migrate(database)
    await database.close()
    (directory / "specs").mkdir()
    with closing(sqlite3.connect(directory / "shop.db")) as shop, shop:
        shop.execute("CREATE TABLE requests (flag TEXT, at REAL)")
    sections: dict[str, Any] = {
        "database": {"url": url},
        "specs": {"path": directory / "specs"},
        "jobs": {"type": "memory"},
    }
    settings = Settings(**sections).model_copy(update={"model": ModelOptions(name="scripted")})
    model = ScriptedModel(lines=_lines)
    async with running_services(settings, opened=lambda: model) as services:
        assert isinstance(services.flags, EmbeddedFlagService)
        for flag in (FLAG, "one-click", "search-v3"):
            await services.flags.define(FlagRef(flag, "production"), "off", "on")
        yield services


def _lines(messages: Sequence[BaseMessage]) -> AIMessage:
    """A tool call first, then an answer."""
    if isinstance(messages[-1], ToolMessage):
        return AIMessage(f"{FLAG} serves nobody yet.\nPropose a plan, and people approve it.")
    return AIMessage("", tool_calls=[{"id": "call", "name": "rollout_status", "args": {"flag": FLAG}}])
